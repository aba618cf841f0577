"""Maps onto supports for which TFP's own measure another volume, or leave parts out.

Each log-determinant belongs to the density that TFP gives: over the first K - 1
coordinates of a simplex, the entries below the diagonal of a correlation matrix, the
surface of a sphere.
"""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

tfb = tfp.bijectors
_PROPERTIES = tfp.util.ParameterProperties


class _Map(tfb.Bijector):
    """A bijector without options between events of `ndims` dimensions."""

    ndims, grows = 1, 0

    def __init__(self, **parameters):
        super().__init__(
            forward_min_event_ndims=self.ndims,
            parameters=parameters,
            name=type(self).__name__,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward_event_shape(self, shape):
        return self._grown(shape, self.grows)

    def _inverse_event_shape(self, shape):
        return self._grown(shape, -self.grows)

    def _forward_event_shape_tensor(self, shape):
        return tf.concat([shape[:-1], shape[-1:] + self.grows], 0)

    def _inverse_event_shape_tensor(self, shape):
        return tf.concat([shape[:-1], shape[-1:] - self.grows], 0)

    def _grown(self, shape, by):
        if not self.grows or not shape.rank:
            return shape
        return shape[:-1].concatenate(None if shape[-1] is None else shape[-1] + by)


class Simplex(_Map):
    """y = softmax(u, 0), K - 1 coordinates of K shares; measured as a Dirichlet."""

    grows = 1

    def _forward(self, u):
        return tf.nn.softmax(_padded(u))

    def _inverse(self, y):
        log_y = tf.math.log(y)
        return log_y[..., :-1] - log_y[..., -1:]

    def _forward_log_det_jacobian(self, u):
        # |dy_1..K-1 / du| = prod_k y_k, all K of them
        return tf.reduce_sum(tf.nn.log_softmax(_padded(u)), -1)


class Sphere(_Map):
    """The stereographic projection: every unit vector but -e_1, which lies at infinity.

    A map by square roots of a simplex would reach positive coordinates only.
    """

    grows = 1

    def _forward(self, u):
        square = tf.reduce_sum(tf.square(u), -1, keepdims=True)
        return tf.concat([1 - square, 2 * u], -1) / (1 + square)

    def _inverse(self, y):
        return y[..., 1:] / (1 + y[..., :1])

    def _forward_log_det_jacobian(self, u):
        # surface element: (2 / (1 + |u|^2))^(n - 1)
        square = tf.reduce_sum(tf.square(u), -1)
        return u.shape[-1] * (math.log(2) - tf.math.log1p(square))


class CorrelationOuterProduct(_Map):
    """R = L L' of a factor with rows of length 1; measured below the diagonal."""

    ndims = 2

    def _forward(self, factor):
        product = tf.linalg.matmul(factor, factor, transpose_b=True)
        return tf.linalg.set_diag(product, tf.ones_like(factor[..., 0]))

    def _inverse(self, matrix):
        return tf.linalg.cholesky(matrix)

    def _forward_log_det_jacobian(self, factor):
        # dR_i / dL_i is triangular with diagonal L_11 ... L_jj, j < i
        below = tf.range(factor.shape[-1] - 1, -1, -1)
        diagonal = tf.math.log(tf.linalg.diag_part(factor))
        return tf.reduce_sum(tf.cast(below, factor.dtype) * diagonal, -1)


class Interval(_Map):
    """From the line onto (low, high), of which either or both ends may be infinite.

    Args:
        low: lower end, may be minus infinity.
        high: upper end, may be infinity.
    """

    ndims = 0

    def __init__(self, low, high):
        self._low, self._high = low, high
        super().__init__(low=low, high=high)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"low": _PROPERTIES(), "high": _PROPERTIES()}

    def _forward(self, u):
        low, high, only_low, only_high, both = self._ends()
        half = tf.where(only_low, low + tf.nn.softplus(u), high - tf.nn.softplus(u))
        inside = low + (high - low) * tf.sigmoid(u)
        return tf.where(both, inside, tf.where(only_low | only_high, half, u))

    def _inverse(self, z):
        low, high, only_low, only_high, both = self._ends()
        share = tf.where(both, (z - low) / (high - low), 0.5)
        away = tf.where(only_low, z - low, tf.where(only_high, high - z, 1.0))
        half = tfp.math.softplus_inverse(away)
        inside = tf.math.log(share) - tf.math.log1p(-share)
        return tf.where(both, inside, tf.where(only_low | only_high, half, z))

    def _forward_log_det_jacobian(self, u):
        low, high, only_low, only_high, both = self._ends()
        # softplus' = sigmoid; sigmoid' = sigmoid (1 - sigmoid)
        half = tf.where(only_low | only_high, tf.math.log_sigmoid(u), 0.0)
        inside = tf.math.log(high - low) + tf.math.log_sigmoid(u)
        return tf.where(both, inside + tf.math.log_sigmoid(-u), half)

    def _ends(self):
        """low and high, finite numbers everywhere, and which of them count."""
        low, high = map(tf.convert_to_tensor, (self._low, self._high))
        at, top = tf.math.is_finite(low), tf.math.is_finite(high)
        low = tf.where(at, low, tf.where(top, high - 1, 0.0))
        high = tf.where(top, high, low + 1)
        return low, high, at & ~top, top & ~at, at & top


def _padded(u):
    return tf.concat([u, tf.zeros_like(u[..., :1])], -1)
