"""The doubly reparameterized gradient: importance samples without the score of q."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import draws as _draws
from elbo_tfp.bounds import elbo
from elbo_tfp.gradients.common import (
    both_sizes,
    estimate,
    objective,
    one_per_datum,
    require_reparameterized,
)
from elbo_tfp.gradients.pathwise import along_path, slope_in_z
from elbo_tfp.ground.checks import wrong
from elbo_tfp.types import Estimate


def doubly_reparameterized(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
    bound=None,
) -> Estimate:
    """The gradient of the importance-weighted bound with q's score reparameterized too.

    q's parameters get the squares of the normalised weights, and no score; the
    model's parameters get the weights themselves, as in the plain gradient. Unbiased
    for both at every K. Near the posterior its signal-to-noise ratio rises with K where
    the plain gradient's falls; far from it the variance can be larger than the plain
    one's. At K = 1 it is `sticking_the_landing`.

    Another bound f of the log-weights l has the same right: the square is then
    df / dl_k - d^2 f / dl_k^2, found by differentiating f twice (K^2 numbers a datum).

    **Requires:** a reparameterized q, a target differentiable in z, and a bound that
    can be told from the log-weights alone.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K; 1 climbs the ELBO, more the weighted bound.
        seed: int, pair of ints or integer tensor; stateless.
        bound: what is climbed instead, a function of log-weights `[K, B]`, such as
            `lambda w: bounds.renyi(w, alpha=0.5)`.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if q is not reparameterized, a bound needs more than log-weights, or
            one is given to draws with a global latent, and as `draw`.

    Source: Tucker, Lawson, Gu and Maddison (2019), equation 8.
    """
    require_reparameterized(surrogate_posterior, "doubly_reparameterized")
    sizes = both_sizes(sample_size, importance_sample_size)
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    draws, slope = slope_in_z(
        target, surrogate_posterior, z, sizes, lambda d: d.log_weights
    )
    share = tf.stop_gradient(_shares(bound, draws))
    # d/d phi = sum_k share_k^2 (d log w_k / d z_k) dz_k / d phi
    path = tf.reduce_sum(share * along_path(slope, z, draws), 1)
    # d/d theta = sum_k share_k d log p(x, z_k) / d theta: the bound's own, z fixed
    model = objective(draws._replace(log_q=tf.stop_gradient(draws.log_q)), bound)
    return estimate(draws, tf.reduce_mean(path, 0) + model, bound)


def _shares(bound, draws):
    """What multiplies each sample's slope, `[S, K, B]`."""
    log_weights = draws.log_weights
    if bound is None:
        return tf.square(tf.nn.softmax(log_weights, axis=1))
    if bound is elbo:
        return tf.ones_like(log_weights) / log_weights.shape[1]
    if draws.num_data is not None:
        raise wrong(
            "no bound= with a global latent, whose weights are spread over the data",
            repr(bound),
            "Climb the ELBO.",
        )
    samples = tf.einsum("sk...->ks...", log_weights)
    first, second = _slopes(bound, samples)
    # E[(df / dl_k) score of q] = E[(d^2 f / dl_k^2) (dl_k / dz_k) dz_k / d phi]
    return tf.einsum("ks...->sk...", first - second)


def _slopes(bound, log_weights):
    """df / dl_k and d^2 f / dl_k^2 of a bound f, `[K, S, B]`."""
    num = log_weights.shape[0]
    # K copies [K, K', S, B]: the k-th sample of the k-th copy gives the diagonal
    copies = tf.repeat(tf.stop_gradient(log_weights)[:, tf.newaxis], num, 1)
    with tf.GradientTape() as outer:
        outer.watch(copies)
        with tf.GradientTape() as inner:
            inner.watch(copies)
            value = _of_log_weights(bound, copies)
        slope = inner.gradient(value, copies, unconnected_gradients="zero")
        diagonal = tf.einsum("kk...->k...", slope)
    bend = outer.gradient(diagonal, copies, unconnected_gradients="zero")
    return diagonal, tf.einsum("kk...->k...", bend)


def _of_log_weights(bound, copies):
    try:
        return one_per_datum(bound, copies, copies.shape[1:])
    except AttributeError as error:
        raise wrong(
            "a bound of the log-weights alone for doubly_reparameterized",
            f"one that asks for more ({error})",
            "Use reparameterized, which climbs any function of Draws.",
        ) from error
