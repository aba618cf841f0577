"""The doubly reparameterized gradient: importance samples without the score of q."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import draws as _draws
from elbo_tfp.gradients.common import (
    both_sizes,
    estimate,
    objective,
    require_reparameterized,
)
from elbo_tfp.gradients.pathwise import along_path, slope_in_z
from elbo_tfp.types import Estimate


def doubly_reparameterized(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
) -> Estimate:
    """The gradient of the importance-weighted bound with q's score reparameterized too.

    q's parameters get the squares of the normalised weights, and no score; the
    model's parameters get the weights themselves, as in the plain gradient. Unbiased
    for both at every K. Near the posterior its signal-to-noise ratio rises with K where
    the plain gradient's falls; far from it the variance can be larger than the plain
    one's. At K = 1 it is `sticking_the_landing`.

    **Requires:** a reparameterized q and a target differentiable in z.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K; 1 climbs the ELBO, more the weighted bound.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if q is not reparameterized, and as `draw`.

    Source: Tucker, Lawson, Gu and Maddison (2019), equation 8.
    """
    require_reparameterized(surrogate_posterior, "doubly_reparameterized")
    sizes = both_sizes(sample_size, importance_sample_size)
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    draws, slope = slope_in_z(
        target, surrogate_posterior, z, sizes, lambda d: d.log_weights
    )
    share = tf.stop_gradient(tf.nn.softmax(draws.log_weights, axis=1))
    # d/d phi = sum_k share_k^2 (d log w_k / d z_k) dz_k / d phi
    path = tf.reduce_sum(tf.square(share) * along_path(slope, z, draws), 1)
    # d/d theta = sum_k share_k d log p(x, z_k) / d theta: the bound's own, z fixed
    model = objective(draws._replace(log_q=tf.stop_gradient(draws.log_q)))
    return estimate(draws, tf.reduce_mean(path, 0) + model)
