"""The score-function gradient of importance-weighted bounds, with local baselines."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import bounds
from elbo_tfp import draws as _draws
from elbo_tfp.bounds.leave_out import logsumexp_of_others
from elbo_tfp.gradients.common import both_sizes, estimate, only
from elbo_tfp.ground.checks import wrong
from elbo_tfp.types import Estimate


def vimco(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=2,
    seed,
    bound=None,
) -> Estimate:
    """The score-function gradient in which each sample is credited with what it adds.

    The credit of sample k is the bound less the bound with w_k replaced by the
    geometric mean of the others' weights. That baseline does not depend on sample k, so
    the gradient stays unbiased for q and for the model.

    **Requires:** a q whose log-density is differentiable in its parameters (discrete q
    welcome), and K >= 2. Nothing is differentiated in z.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K, at least 2.
        seed: int, pair of ints or integer tensor; stateless.
        bound: `bounds.iwae`, the only one whose credit this is.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if `importance_sample_size` is 1 (no other sample to learn from),
            and as `draw` and `bounds.iwae`.

    Source: Mnih and Rezende (2016), equations 7, 8 and 10.
    """
    only(bound, bounds.iwae, "vimco", "its credit is that of a mean weight")
    sizes = both_sizes(sample_size, importance_sample_size)
    if sizes[1] < 2:
        raise wrong(
            "importance_sample_size of at least 2: each sample's baseline comes from "
            "the others",
            sizes[1],
            "Use leave_one_out for the ELBO.",
        )
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    z = tf.nest.map_structure(tf.stop_gradient, z)
    draws = _draws.evaluate(target, surrogate_posterior, z, sizes)
    value = bounds.iwae(draws, axis=1)
    credit = tf.stop_gradient(_credit(draws.log_weights, axis=1))
    # grad E[L_K] = E[sum_k credit_k grad log q(z_k) + grad L_K at fixed samples]
    surrogate = tf.reduce_sum(credit * draws.log_q, 1) + value
    return estimate(draws, tf.reduce_mean(surrogate, 0))


def _credit(log_weights, axis):
    """What each sample adds to the bound, same shape, nats."""
    size = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    # differences only: weights relative to the largest keep their digits
    log_weights -= tf.reduce_max(log_weights, axis, keepdims=True)
    total = tf.reduce_sum(log_weights, axis, keepdims=True)
    # log of the geometric mean of the others
    stand_in = (total - log_weights) / (size - 1)
    others = logsumexp_of_others(log_weights, axis)
    # credit_k = log sum_j w_j - log(sum_{j != k} w_j + stand-in_k)
    return tf.reduce_logsumexp(log_weights, axis, keepdims=True) - tf.reduce_logsumexp(
        tf.stack([others, stand_in]), 0
    )
