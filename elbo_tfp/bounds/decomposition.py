"""Reconstruction against rate, with the rate in closed form wherever theory has one."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.bounds.monte_carlo import standard_error as _standard_error
from elbo_tfp.draws import draw

tfd = tfp.distributions


class Decomposition(NamedTuple):
    """ELBO = reconstruction - KL, per datum."""

    elbo: tf.Tensor
    """The evidence lower bound, `[B]`, nats."""
    reconstruction: tf.Tensor
    """E_q[log p(x | z)], `[B]`, nats (a log-density for continuous data)."""
    kl: tf.Tensor
    """KL(q || prior), the rate, `[B]`, nats."""
    standard_error: tf.Tensor
    """Monte Carlo error of `elbo`, `[B]`, nats; NaN for a single sample."""
    kl_is_exact: bool
    """Whether `kl` is a closed form, so that only the reconstruction is sampled."""


def decompose(model, surrogate_posterior, x, sample_size=1, *, seed) -> Decomposition:
    """Splits the ELBO of each datum into reconstruction and rate.

    Args:
        model: a `LatentVariableModel` without a global prior.
        surrogate_posterior: q(z | x), batch shape `[B]`.
        x: data, `[B]` + event.
        sample_size: number of samples S.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `Decomposition`, each number `[B]`, nats. Its `elbo` can be fitted as it is.

    Raises:
        ValueError: if `model` does not know its parts, and as `draw`.
    """
    if not hasattr(model, "log_joint"):
        raise ValueError(
            "expected a LatentVariableModel, whose prior and likelihood are known "
            f"apart; got {type(model).__name__}. A bare target has no decomposition."
        )
    draws = draw(model.log_joint(x), surrogate_posterior, sample_size, seed=seed)
    kl = analytic_kl(surrogate_posterior, model.prior)
    exact = kl is not None
    # form 1: E[log p(x | z)] - KL(q || p), only the first term is sampled
    log_weights = draws.log_likelihood - kl if exact else draws.log_weights
    several = log_weights.shape[0] is None or log_weights.shape[0] > 1
    elbo = tf.reduce_mean(log_weights, 0)
    return Decomposition(
        elbo=elbo,
        reconstruction=tf.reduce_mean(draws.log_likelihood, 0),
        kl=kl if exact else tf.reduce_mean(draws.log_q - draws.log_prior, 0),
        standard_error=_standard_error(log_weights) if several else elbo * float("nan"),
        kl_is_exact=exact,
    )


def analytic_kl(q, p):
    """KL(q || p) in closed form, one number per batch element, nats; None if unknown.

    `Independent` and `Sample` are unwrapped first, and diagonal Gaussians are read as
    independent normals, since TFP registers no such pairs.

    Args:
        q: a distribution or a `Family`.
        p: a distribution of the same event shape; its batch shape broadcasts to q's.
    """
    q, p = getattr(q, "current", q), getattr(p, "current", p)
    if not isinstance(q, tfd.Distribution) or not isinstance(p, tfd.Distribution):
        return None
    if not _plain(q) or not _plain(p) or q.event_shape != p.event_shape:
        return None
    (base_q, ndims_q), (base_p, ndims_p) = _factors(q), _factors(p)
    if ndims_q < ndims_p:
        base_p, ndims_p = _joined(base_p, ndims_p, base_q.event_shape)
        base_q = _dense(base_q)
    elif ndims_p < ndims_q:
        base_q, ndims_q = _joined(base_q, ndims_q, base_p.event_shape)
        base_p = _dense(base_p)
    if ndims_q != ndims_p or base_q is None or base_p is None:
        return None
    return _summed(base_q, base_p, ndims_q)


def _plain(distribution):
    """One tensor event (no joint distribution) of known rank."""
    return getattr(distribution.event_shape, "rank", None) is not None


def _factors(distribution):
    """A base whose last `ndims` batch dimensions are independent factors."""
    if isinstance(distribution, tfd.Independent):
        base, inner = _factors(distribution.distribution)
        outer = (
            distribution.event_shape.rank - distribution.distribution.event_shape.rank
        )
        return base, inner + outer
    if isinstance(distribution, tfd.Sample) and distribution.batch_shape.rank == 0:
        base, inner = _factors(distribution.distribution)
        outer = (
            distribution.event_shape.rank - distribution.distribution.event_shape.rank
        )
        return base, inner + outer
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.mean(), distribution.stddev()), 1
    return distribution, 0


_DENSE = (
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalFullCovariance,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)


def _dense(base):
    """A Gaussian of any covariance with an explicit triangular factor; else None."""
    if not isinstance(base, _DENSE):
        return None
    # Sigma = L L'
    return tfd.MultivariateNormalTriL(
        base.mean(), tf.linalg.cholesky(base.covariance())
    )


def _joined(base, ndims, event_shape):
    """Independent normals as one diagonal Gaussian; (None, 0) if they are not normals."""
    if not isinstance(base, tfd.Normal) or event_shape.rank != 1:
        return None, 0
    shape = tf.broadcast_static_shape(base.batch_shape, event_shape)
    loc, scale = (tf.broadcast_to(v, shape) for v in (base.loc, base.scale))
    return tfd.MultivariateNormalTriL(loc, tf.linalg.diag(scale)), ndims - 1


def _summed(base_q, base_p, ndims):
    try:
        kl = tfd.kl_divergence(base_q, base_p)
    except NotImplementedError:
        return None
    shape = tf.broadcast_dynamic_shape(tf.shape(kl), base_q.batch_shape_tensor())
    # KL(prod_d q_d || prod_d p_d) = sum_d KL(q_d || p_d)
    return tf.reduce_sum(tf.broadcast_to(kl, shape), list(range(-ndims, 0)))
