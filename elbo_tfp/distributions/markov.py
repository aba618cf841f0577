"""A Gaussian whose parts follow each other in time."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.base import Base
from elbo_tfp.distributions.normal import (
    MultivariateNormalTriL,
    log_standard_normal,
    noise,
)
from elbo_tfp.ground.checks import wrong

tfd = tfp.distributions


class MarkovGaussian(Base):
    """A path z_1 ... z_T in which each step hangs on the one before.

        z_t = m_t + A_t (z_t-1 - m_t-1) + L_t epsilon_t,    epsilon_t ~ N(0, I)

    Every Gaussian with a block tridiagonal precision is one. A draw takes log T rounds
    (a parallel scan), the density one.

    Args:
        loc: m, `[..., T, K]`.
        coupling: A, `[..., T, K, K]`; A_1 is not used.
        scale_tril: L, `[..., T, K, K]`, lower triangular, of positive diagonal.
        name: of the distribution.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    def __init__(self, loc, coupling, scale_tril, *, name="MarkovGaussian"):
        self.loc, self.coupling, self.scale_tril = tables = [
            tf.convert_to_tensor(t) for t in (loc, coupling, scale_tril)
        ]
        sizes = tables[0].shape[-2:]
        square = [*sizes, sizes[-1]]
        if any(t.shape[-3:] != square for t in tables[1:]):
            raise wrong(
                "loc [..., T, K], coupling and scale_tril [..., T, K, K]",
                ", ".join(str(t.shape) for t in tables),
                "A scalar state has K = 1.",
            )
        parameters = {"loc": loc, "coupling": coupling, "scale_tril": scale_tril}
        super().__init__(parameters, tables[0].dtype, sizes, True, name)

    def given(self, step, previous=None):
        """q(z_t | z_t-1), of event shape `[K]`.

        Args:
            step: t, counted from 0; an int or an integer tensor.
            previous: z_t-1, `[..., K]`; None at step 0, which has none.
        """
        loc, scale = (
            tf.gather(table, step, axis=axis)
            for table, axis in ((self.loc, -2), (self.scale_tril, -3))
        )
        if previous is not None:
            away = previous - tf.gather(self.loc, step - 1, axis=-2)
            loc += tf.linalg.matvec(tf.gather(self.coupling, step, axis=-3), away)
        return MultivariateNormalTriL(loc, scale_tril=scale)

    def _log_prob(self, z):
        u = z - self.loc
        before = tf.pad(
            u[..., :-1, :], [[0, 0]] * (u.shape.rank - 2) + [[1, 0], [0, 0]]
        )
        left, epsilon = u - tf.linalg.matvec(self.coupling, before), []
        for k in range(self.loc.shape[-1]):  # XLA is slow to solve many small systems
            # epsilon_t = L_t^-1 (u_t - A_t u_t-1), u = z - m, by forward substitution
            row = self.scale_tril[..., k, :]
            known = [row[..., j] * epsilon[j] for j in range(k)]
            epsilon.append((left[..., k] - sum(known)) / row[..., k])
        epsilon = tf.stack(epsilon, -1)
        return self._log_density(epsilon)

    def _log_density(self, epsilon):
        # log q(z) = sum_t log N(epsilon_t; 0, I) - log |L_t|
        log_det = tf.math.log(tf.linalg.diag_part(self.scale_tril))
        return tf.reduce_sum(log_standard_normal(epsilon) - log_det, [-2, -1])

    def _sample_n(self, n, seed=None):
        return self._sample_and_log_prob([n], seed)[0]

    def _sample_and_log_prob(self, sample_shape, seed):
        epsilon = noise(self, sample_shape, seed)
        u = tf.linalg.matvec(self.scale_tril, epsilon)
        # u_t = A_t u_t-1 + L_t epsilon_t
        return self.loc + _recurrence(self.coupling, u), self._log_density(epsilon)

    def _mean(self):
        return self.loc

    def _variance(self):
        return tf.linalg.diag_part(self.marginal_covariance())

    def marginal_covariance(self):
        """The covariance of each z_t, `[..., T, K, K]`."""
        own = tf.matmul(self.scale_tril, self.scale_tril, transpose_b=True)

        def follow(first, then):
            (a, v), (b, w) = first, then
            # V_t = A_t V_t-1 A_t' + L_t L_t'
            through = tf.matmul(tf.matmul(b, v), b, transpose_b=True)
            return tf.matmul(b, a), through + w

        return _scan(follow, (self.coupling, own), -3)

    def _entropy(self):
        log_det = tf.math.log(tf.linalg.diag_part(self.scale_tril))
        size = self.loc.shape[-2:].num_elements()
        return tf.reduce_sum(log_det, [-2, -1]) + 0.5 * size * math.log(
            2 * math.pi * math.e
        )

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()

    def _batch_shape(self):
        return self.loc.shape[:-2]

    def _batch_shape_tensor(self):
        return tf.shape(self.loc)[:-2]


def _recurrence(coupling, u):
    """u_t <- A_t u_t-1 + u_t along the axis before the last."""

    def follow(first, then):
        (a, v), (b, w) = first, then
        return tf.matmul(b, a), tf.linalg.matvec(b, v) + w

    lead = u.shape.rank - coupling.shape.rank + 1
    coupling = tf.reshape(coupling, tf.concat([[1] * lead, tf.shape(coupling)], 0))
    return _scan(follow, (coupling, u), (-3, -2))


def _scan(follow, parts, axes):
    """The last of what `follow` makes of all prefixes; time leads meanwhile."""
    axes = (axes,) * len(parts) if isinstance(axes, int) else axes
    turned = tuple(_moved(t, axis, 0) for t, axis in zip(parts, axes, strict=True))
    return _moved(tfp.math.scan_associative(follow, turned)[-1], 0, axes[-1])


def _moved(t, source, target):
    order = list(range(t.shape.rank))
    order.insert(target % t.shape.rank, order.pop(source))
    return tf.transpose(t, order)
