"""Pathwise gradients: through the samples, with and without the score of q."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import draws as _draws
from elbo_tfp.bounds import elbo
from elbo_tfp.gradients.common import (
    both_sizes,
    estimate,
    is_number,
    objective,
    only,
    require_reparameterized,
)
from elbo_tfp.ground.checks import number, wrong
from elbo_tfp.types import Estimate


def reparameterized(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
    kl_weight=1.0,
    free_bits=0.0,
    bound=None,
) -> Estimate:
    """The gradient through z(epsilon, phi) and through every log-density.

    **Requires:** a reparameterized q and a target differentiable in z.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K; 1 climbs the ELBO, more the importance-weighted one.
        seed: int, pair of ints or integer tensor; stateless.
        kl_weight: factor of the rate term (K = 1 only).
        free_bits: floor of the rate, nats per datum (K = 1 only).
        bound: what is climbed instead, any function of `Draws` `[K, B]` that returns
            `[B]`, such as `lambda draws: bounds.renyi(draws, alpha=0.5)`.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if q is not reparameterized, and as `draw`.

    Source: Kingma and Welling (2014), equation 6; K > 1: Burda et al. (2016).
    """
    require_reparameterized(surrogate_posterior, "reparameterized")
    sizes = both_sizes(sample_size, importance_sample_size)
    draws = _draws.draw(target, surrogate_posterior, sizes, seed=seed)
    climbed = bound, kl_weight, free_bits
    return estimate(draws, objective(draws, *climbed), *climbed)


def sticking_the_landing(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
    kl_weight=1.0,
    bound=None,
) -> Estimate:
    """The reparameterized gradient without the score of q: zero at the posterior.

    The score has mean zero, so leaving it out keeps the gradient unbiased; where q is
    the exact posterior every single sample's gradient vanishes. Far from it the
    variance can be larger.

    **Requires:** a reparameterized q, a target differentiable in z, and K = 1 (with
    more importance samples the score has another mean and the gradient is biased). The
    only bound it climbs is therefore `bounds.elbo`.

    Args, returns: as `reparameterized`.

    Raises:
        ValueError: if `importance_sample_size` is not 1, if q is not reparameterized,
            and as `draw`.

    Source: Roeder, Wu and Duvenaud (2017), equation 7.
    """
    require_reparameterized(surrogate_posterior, "sticking_the_landing")
    reason = "elsewhere the score of q, which it leaves out, has another mean"
    only(bound, elbo, "sticking_the_landing", reason)
    sizes = both_sizes(sample_size, importance_sample_size)
    if sizes[1] != 1:
        raise wrong(
            "importance_sample_size=1: sticking the landing is biased for K > 1",
            sizes[1],
            "Use doubly_reparameterized.",
        )
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    draws, slope = slope_in_z(
        target, surrogate_posterior, z, sizes, lambda d: weighted(d, kl_weight)
    )
    # d/d phi = (d log w / d z) dz / d phi; d/d theta = d log p(x, z) / d theta, z fixed
    model = weighted(draws._replace(log_q=tf.stop_gradient(draws.log_q)), kl_weight)
    surrogate = along_path(slope, z, draws) + model
    return estimate(draws, tf.reduce_mean(surrogate, (0, 1)), None, kl_weight)


def slope_in_z(target, surrogate_posterior, z, sizes, of):
    """Draws at fixed samples, and the gradient of `of(draws)` with respect to z there.

    The samples are detached and passed through an identity: the first keeps the path
    apart from the score, the second keeps a bijector's cache from hiding d log q / dz.

    Returns:
        `Draws` in which gradients reach the model and q's parameters but not z, and a
        structure like z of constants.
    """
    fixed = tf.nest.map_structure(lambda t: tf.identity(tf.stop_gradient(t)), z)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tf.nest.flatten(fixed))
        draws = _draws.evaluate(target, surrogate_posterior, fixed, sizes)
        value = of(draws)
    slope = tape.gradient(value, fixed, unconnected_gradients="zero")
    return draws, tf.nest.map_structure(tf.stop_gradient, slope)


def along_path(slope, z, draws):
    """<slope, z> per sample and datum, `[S, K, B]`; its gradient: slope dz / d phi."""
    if draws.num_data is None:
        return _inner(slope, z, draws.log_q.shape.rank)
    local, shared = (
        _inner(s, t, rank)
        for s, t, rank in zip(slope, z, (draws.log_q.shape.rank, 2), strict=True)
    )
    # the shared slope is a sum over the batch: every datum carries an equal part
    size = tf.cast(tf.shape(draws.log_q)[-1], shared.dtype)
    return local + shared[..., tf.newaxis] / size


def weighted(draws, kl_weight):
    """log p(x | z) + beta (log p(z) - log q(z)) per sample, nats."""
    if is_number(kl_weight, 1.0):
        return draws.log_weights
    if draws.log_prior is None:
        return elbo(draws, kl_weight=kl_weight)  # raises, and says why
    beta = number(kl_weight, draws.log_q.dtype)
    return draws.log_likelihood + beta * (draws.log_prior - draws.log_q)


def _inner(slope, z, rank):
    products = [
        tf.reduce_sum(s * t, list(range(rank, t.shape.rank)))
        for s, t in zip(tf.nest.flatten(slope), tf.nest.flatten(z), strict=True)
    ]
    return tf.add_n(products)
