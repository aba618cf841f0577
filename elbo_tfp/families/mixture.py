"""Mixtures of Gaussians with pathwise gradients, the weights' included."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.normal import full_shape, log_standard_normal, noise
from elbo_tfp.families.base import Family, positive, raw_of_positive
from elbo_tfp.families.gaussian import _start, scaled_tril
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed, uniform

tfd = tfp.distributions


def mixture(
    event_size: int,
    num_components: int = 2,
    *,
    covariance="diagonal",
    loc=0.0,
    scale=1.0,
    batch_shape=(),
    dtype=tf.float32,
    seed=None,
) -> Family:
    """sum_k w_k N(m_k, L_k L_k'): several humps, each with its own width.

    The gradient is *pathwise*, by implicit differentiation of the conditional
    distribution functions, not stratified: every sample carries a gradient to the
    weights, means and scales of all components, so that any estimator and any bound
    can use the family. Its price: moving mass from one hump to another means moving
    it through the valley between them, so the variance of the weights' gradient grows
    without bound as the humps separate. Where the weights must be exact, average many
    samples or use `gradients.leave_one_out`. Second derivatives are not right.

    Args:
        event_size: D, the number of latent dimensions.
        num_components: K.
        covariance: `"diagonal"` or `"full"`, of each component.
        loc: where the means start: scalar, `[D]`, or `[K, D]` for each component.
        scale: where the standard deviations start, same shapes, positive.
        batch_shape: one independent member per element, for instance `[N]` for N data.
        dtype: floating type.
        seed: spreads the means by one `scale` around `loc` unless `loc` is `[K, D]`.
            With None components that start alike stay alike: give one or the other.

    Returns:
        A `Family` of event shape `[D]`; K (1 + 2 D) parameters per member, and
        K D (D - 1) / 2 more with full covariances.

    Raises:
        ValueError: if a size is not a positive int, `scale` is not positive, or
            `covariance` is unknown.

    Source: Figurnov, Mohamed and Mnih (2018), equation 5; Graves (2016).
    """
    _check(num_components, covariance)
    start = _starts(event_size, num_components, loc, scale, dtype, batch_shape, seed)
    below = event_size * (event_size - 1) // 2 if covariance == "full" else 0
    logits, rest = (
        tf.zeros([*start.shape[:-1], num_components * n], dtype) for n in (1, below)
    )
    sizes = [num_components * n for n in (1, event_size, event_size, below)]

    def build(parameters):
        logits, *parts = tf.split(parameters, sizes, -1)
        loc, raw, rest = (_per_component(p, num_components) for p in parts)
        tril = (
            scaled_tril(positive(raw), rest, event_size)
            if below
            else tf.linalg.diag(positive(raw))
        )
        return PathwiseMixture(logits, loc, tril, covariance == "full")

    start = tf.concat([logits, start, rest], -1)
    return Family(build, start, batch_shape=batch_shape, name="mixture")


class PathwiseMixture(tfd.MixtureSameFamily):
    """A mixture of Gaussians whose samples carry implicit pathwise gradients.

    Args:
        logits: of the weights, `[..., K]`.
        loc: means, `[..., K, D]`.
        tril: lower triangular factors of the covariances, `[..., K, D, D]`.
        full: whether anything stands below the diagonals.
    """

    def __init__(self, logits, loc, tril, full=True, name="PathwiseMixture"):
        parameters = dict(locals())
        self._loc, self._tril, self._full = loc, tril, full
        scale = tf.linalg.diag_part(tril)
        components = (
            tfd.MultivariateNormalTriL(loc, tril)
            if full
            else tfd.Independent(tfd.Normal(loc, scale), 1)
        )
        super().__init__(tfd.Categorical(logits=logits), components, name=name)
        self._parameters, self._logits = parameters, logits

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        ndims = {"logits": 1, "loc": 2, "tril": 3}
        return {
            k: tfp.util.ParameterProperties(event_ndims=n) for k, n in ndims.items()
        }

    @property
    def reparameterization_type(self):
        """Fully reparameterized, although a component is chosen on the way."""
        return tfd.FULLY_REPARAMETERIZED

    def _sample_n(self, n, seed):
        which, seed = split_seed(seed)
        u = uniform(full_shape(self, [n], ())[0], which, self.dtype)[..., tf.newaxis]
        edges = tf.cumsum(tf.nn.softmax(self._logits), -1)[..., :-1]
        k = tf.math.count_nonzero(u > edges, -1)
        chosen = tf.one_hot(k, self._logits.shape[-1], dtype=self.dtype)
        # k ~ w, z = m_k + L_k epsilon
        loc = tf.einsum("...k,...kd->...d", chosen, self._loc)
        tril = tf.einsum("...k,...kde->...de", chosen, self._tril)
        z = loc + tf.linalg.matvec(tril, noise(self, [n], seed))
        return self.with_path(tf.stop_gradient(z))

    def with_path(self, z):
        """z, with dz / dphi such that every F(z_d | z_<d; phi) stays where it is."""
        # u_k = L_k^-1 (z - m_k), so that log N_k(z_d | z_<d) = log N(u_kd) - log L_kdd
        inverse = self._inverse_tril()
        u = tf.linalg.matvec(inverse, z[..., tf.newaxis, :] - self._loc)
        log_scale = tf.math.log(tf.linalg.diag_part(self._tril))
        log_terms = log_standard_normal(u) - log_scale
        # r_kd = p(k | z_<d), proportional to w_k prod_{j<d} N_k(z_j | z_<j)
        log_r = tf.cumsum(log_terms, -1, exclusive=True)
        r = tf.nn.softmax(log_r + tf.nn.log_softmax(self._logits)[..., tf.newaxis], -2)
        # F_d = F(z_d | z_<d) = sum_k r_kd Phi(u_kd)
        cdf = tf.reduce_sum(r * _normal_cdf(u), -2)
        slope = tf.stop_gradient(self._slope(u, r, cdf, inverse))
        # dz / dphi = - (dF / dz)^-1 dF / dphi
        moved = (cdf - tf.stop_gradient(cdf))[..., tf.newaxis]
        return z - tf.linalg.triangular_solve(slope, moved)[..., 0]

    def _slope(self, u, r, cdf, inverse):
        """dF / dz, lower triangular: `[..., D, D]`."""
        # through Phi: sum_k r_kd N(u_kd) du_kd / dz_j
        direct = tf.einsum(
            "...kd,...kdj->...dj", r * tf.exp(log_standard_normal(u)), inverse
        )
        # through r: sum_k r_kd (Phi(u_kd) - F_d) dlog r_kd / dz_j
        rows = u[..., tf.newaxis] * inverse
        slope_r = -tf.cumsum(rows, -2, exclusive=True)
        centred = r * (_normal_cdf(u) - cdf[..., tf.newaxis, :])
        return direct + tf.einsum("...kd,...kdj->...dj", centred, slope_r)

    def _inverse_tril(self):
        if self._full:
            unit = tf.eye(self._tril.shape[-1], dtype=self.dtype)
            unit = tf.broadcast_to(unit, tf.shape(self._tril))
            return tf.linalg.triangular_solve(self._tril, unit)
        return tf.linalg.diag(1 / tf.linalg.diag_part(self._tril))


def _normal_cdf(u):
    # Phi(u) = erfc(-u / sqrt 2) / 2
    return 0.5 * tf.math.erfc(-u / math.sqrt(2.0))


def _per_component(flat, num_components):
    size = flat.shape[-1] // num_components
    shape = tf.concat([tf.shape(flat)[:-1], [num_components, size]], 0)
    return tf.ensure_shape(
        tf.reshape(flat, shape), [*flat.shape[:-1], num_components, size]
    )


def _starts(event_size, num_components, loc, scale, dtype, batch_shape, seed):
    loc, scale = tf.convert_to_tensor(loc, dtype), tf.convert_to_tensor(scale, dtype)
    # the checks of a single Gaussian hold for each component
    _start(event_size, tf.reshape(loc, [-1])[0], tf.reduce_min(scale), dtype)
    shape = [*tuple(batch_shape), num_components, event_size]
    spread = seed is not None and loc.shape.rank < 2
    loc, scale = tf.broadcast_to(loc, shape), tf.broadcast_to(scale, shape)
    if spread:
        loc += scale * tf.random.stateless_normal(shape, as_seed(seed), dtype=dtype)
    flat = [*tuple(batch_shape), num_components * event_size]
    return tf.concat(
        [tf.reshape(loc, flat), tf.reshape(raw_of_positive(scale), flat)], -1
    )


def _check(num_components, covariance):
    whole("num_components, the number of Gaussians,", num_components)
    if covariance not in ("diagonal", "full"):
        raise wrong('covariance to be "diagonal" or "full"', repr(covariance))
