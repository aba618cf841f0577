"""Reconstruction against rate, with the rate in closed form where TFP knows one."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.bounds.monte_carlo import standard_error
from elbo_tfp.draws import draw, lead_shape
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.structures import per_datum
from elbo_tfp.ground.wrappers import SAMPLE, unwrap

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
    global_kl: tf.Tensor | None = None
    """KL(q || prior) of the latent that all data share, nats: a scalar, of which `kl`
    of each datum holds the share 1/N. None without such a latent."""


def decompose(
    model, surrogate_posterior, x, sample_size=1, *, num_data=None, seed
) -> Decomposition:
    """Splits the ELBO of each datum into reconstruction and rate.

    With a latent w that all data share, each of the N data carries 1/N of its rate, so
    that the sum over a whole data set is the bound on all of it.

    Args:
        model: a `LatentVariableModel`.
        surrogate_posterior: q(z | x), batch shape `[B]`; with a global prior as in
            `draw`: the pair `(q of z, q of w)`, or the latter alone.
        x: data, `[B]` + event.
        sample_size: number of samples S, or a tuple; all of them are averaged.
        num_data: N, as in `model.log_joint`: with a global prior only.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `Decomposition`, each number `[B]`, nats. Its `elbo` can be fitted as it is.

    Raises:
        ValueError: if `model` does not know its parts, and as `draw` and `log_joint`.
    """
    if not hasattr(model, "log_joint"):
        raise wrong(
            "a LatentVariableModel, whose prior and likelihood are known apart",
            type(model).__name__,
            "A bare target has no decomposition.",
        )
    target = model.log_joint(x, num_data=num_data)
    draws = draw(target, surrogate_posterior, sample_size, seed=seed)
    axes = tuple(range(len(lead_shape(sample_size))))
    kl, shared = _rates(model, surrogate_posterior, draws)
    exact = kl is not None
    # the KL form: E[log p(x | z)] - KL(q || p), only the first term is sampled
    log_weights = draws.log_likelihood - kl if exact else draws.log_weights
    several = math.prod(lead_shape(sample_size)) > 1
    elbo = tf.reduce_mean(log_weights, axes)
    return Decomposition(
        elbo=elbo,
        reconstruction=tf.reduce_mean(draws.log_likelihood, axes),
        kl=kl if exact else tf.reduce_mean(draws.log_q - draws.log_prior, axes),
        standard_error=standard_error(log_weights, axis=axes)
        if several
        else tf.fill(tf.shape(elbo), tf.cast(float("nan"), elbo.dtype)),
        kl_is_exact=exact,
        global_kl=shared,
    )


def _rates(model, q, draws):
    """The rate of each datum `[B]`, None if it must be sampled, and that of w."""
    if model.global_prior is None:
        return analytic_kl(q, model.prior), None
    local, q_shared = q if model.has_local else (None, q)
    shared = exact = analytic_kl(q_shared, model.global_prior)
    if exact is None:
        w = draws.z[1]
        shared = tf.reduce_mean(q_shared.log_prob(w) - model.global_prior.log_prob(w))
    if exact is None or model.prior_needs_global:
        return None, shared
    kl = tf.zeros_like(draws.log_q[0]) if local is None else None
    kl = analytic_kl(local, model.prior) if kl is None else kl
    # log w of a datum: its own terms, and 1 / N of those of w
    return None if kl is None else per_datum(kl, shared, draws.num_data), shared


def analytic_kl(q, p):
    """KL(q || p) in closed form, one number per batch element, nats; None if unknown.

    `Independent` and `Sample` are unwrapped first, and diagonal Gaussians are read as
    independent normals, since TFP registers no such pairs.

    Args:
        q: a distribution or a `Family`.
        p: a distribution of the same event shape; its batch shape broadcasts to q's.
    """
    q, p = getattr(q, "current", q), getattr(p, "current", p)
    if not (_is_plain(q) and _is_plain(p)) or q.event_shape != p.event_shape:
        return None
    if tf.broadcast_static_shape(q.batch_shape, p.batch_shape) != q.batch_shape:
        return None
    (base_q, ndims_q), (base_p, ndims_p) = _factors(q), _factors(p)
    if ndims_q < ndims_p:
        base_p, ndims_p = _joined(base_p, ndims_p, base_q.event_shape)
    elif ndims_p < ndims_q:
        base_q, ndims_q = _joined(base_q, ndims_q, base_p.event_shape)
    if ndims_q != ndims_p:
        return None
    try:
        kl = tfd.kl_divergence(base_q, base_p)
    except NotImplementedError:
        return None
    # KL(prod_d q_d || prod_d p_d) = sum_d KL(q_d || p_d), over all of the event's d
    factors = q.event_shape[:ndims_q]
    kl = tf.broadcast_to(kl, tf.concat([q.batch_shape_tensor(), factors], 0))
    return tf.reduce_sum(kl, list(range(-ndims_q, 0)))


def _is_plain(distribution):
    """A distribution (not a joint one) whose event is one tensor of known shape."""
    return (
        isinstance(distribution, tfd.Distribution)
        and getattr(distribution.event_shape, "is_fully_defined", bool)()
    )


def _factors(distribution):
    """A base whose last `ndims` batch dimensions are independent factors.

    Those dimensions may be missing from the base, whose one factor then repeats.
    """
    distribution, ndims, _ = unwrap(distribution, samples=False)
    if isinstance(distribution, SAMPLE) and not distribution.batch_shape.rank:
        base, inner = _factors(distribution.distribution)
        ndims += distribution.event_shape.rank
        return base, ndims + inner - distribution.distribution.event_shape.rank
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.mean(), distribution.stddev()), ndims + 1
    if isinstance(distribution, tfd.MultivariateNormalDiagPlusLowRankCovariance):
        # Sigma = L L'
        factor = tf.linalg.cholesky(distribution.covariance())
        return tfd.MultivariateNormalTriL(distribution.mean(), factor), ndims
    return distribution, ndims


def _joined(base, ndims, event_shape):
    """Independent normals as one diagonal Gaussian; (base, -1) if they are not that."""
    if not isinstance(base, tfd.Normal) or event_shape.rank != 1:
        return base, -1
    shape = tf.broadcast_static_shape(base.batch_shape, event_shape)
    loc, scale = (tf.broadcast_to(v, shape) for v in (base.loc, base.scale))
    return tfd.MultivariateNormalTriL(loc, tf.linalg.diag(scale)), ndims - 1
