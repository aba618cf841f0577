"""Score-function gradients: for any q with a differentiable log-density, discrete too.

They never look through the samples, so q need not be reparameterized. The price is
variance, which a baseline pays back in part.
"""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp import bounds
from elbo_tfp import draws as _draws
from elbo_tfp.gradients.common import (
    both_sizes,
    estimate,
    is_number,
    objective,
    of_each,
    only,
)
from elbo_tfp.ground.checks import number, wrong
from elbo_tfp.types import Estimate


def score_function(
    target,
    surrogate_posterior,
    *,
    sample_size=1,
    importance_sample_size=1,
    seed,
    kl_weight=1.0,
    free_bits=0.0,
    baseline=0.0,
    bound=None,
) -> Estimate:
    """The gradient (f - b) grad log q(z), with f the log-weight and b a baseline.

    **Requires:** a q whose log-density is differentiable in its parameters, and a
    baseline that does not depend on the samples. Neither a reparameterized q nor a
    target differentiable in z is needed.

    Args:
        target: as in `draw`.
        surrogate_posterior: q; the gradient reaches its parameters and the model's.
        sample_size: S, the number of independent estimates that are averaged.
        importance_sample_size: K; more than 1 climbs the importance-weighted bound.
        seed: int, pair of ints or integer tensor; stateless.
        kl_weight: factor of the rate term (K = 1 only).
        free_bits: floor of the rate, nats per datum (K = 1 only).
        baseline: b, a number or `[B]`, nats; a constant as far as gradients go.
        bound: what is climbed instead, any function of `Draws` `[K, B]` that returns
            `[B]`.

    Returns:
        An `Estimate`, each field `[B]`, nats.

    Raises:
        ValueError: if K > 1 is combined with a KL weight or free bits, and as `draw`.

    Source: Williams (1992), theorem 1; Paisley, Blei and Jordan (2012), equation 4;
    K > 1: Mnih and Rezende (2016), equation 5.
    """
    sizes = both_sizes(sample_size, importance_sample_size)
    draws = _detached(target, surrogate_posterior, sizes, seed)
    if bound is None and sizes[1] == 1:
        log_q = tf.stop_gradient(draws.log_q)
        signal = _signal(draws._replace(log_q=log_q), kl_weight, free_bits)[:, 0]
    else:
        objective(draws, bound, kl_weight, free_bits)  # raises if a weight is asked for
        signal = of_each(draws, bound)
    # grad E[f] = E[(f - b) grad sum_k log q(z_k) + grad f]
    score = tf.reduce_sum(_log_q_in_full(draws, target, surrogate_posterior), 1)
    centred = tf.stop_gradient(signal - number(baseline, signal.dtype))
    surrogate = tf.reduce_mean(centred * score + signal, 0)
    return estimate(draws, surrogate, bound, kl_weight, free_bits)


def leave_one_out(
    target,
    surrogate_posterior,
    *,
    sample_size=2,
    importance_sample_size=1,
    seed,
    kl_weight=1.0,
    free_bits=0.0,
    bound=None,
) -> Estimate:
    """The score-function gradient, each sample's baseline being the others' mean.

    The other samples know how large f is at this datum and know nothing of this
    sample, so the variance falls and the gradient stays unbiased. No network, no
    moving average and no tuning is involved.

    **Requires:** a q whose log-density is differentiable in its parameters,
    S >= 2 samples and K = 1: of one sample every bound is `bounds.elbo`, the only one
    that may be named.

    Args, returns: as `score_function`.

    Raises:
        ValueError: if `sample_size` is 1 or `importance_sample_size` is not, and as
            `draw`.

    Source: Kool, van Hoof and Welling (2019), equation 6, the ELBO's counterpart of
    Mnih and Rezende (2016), equation 7.
    """
    sizes = both_sizes(sample_size, importance_sample_size)
    only(bound, bounds.elbo, "leave_one_out", "this baseline is the ELBO's")
    if sizes[0] < 2:
        raise wrong(
            "sample_size of at least 2: each sample's baseline is the mean of the "
            "others",
            sizes[0],
            "Pass sample_size=2, or use score_function.",
        )
    if sizes[1] != 1:
        raise wrong(
            "importance_sample_size=1: this baseline is the ELBO's",
            sizes[1],
            "Raise sample_size instead, or use vimco.",
        )
    draws = _detached(target, surrogate_posterior, sizes, seed)
    log_q = tf.stop_gradient(draws.log_q)
    signal = _signal(draws._replace(log_q=log_q), kl_weight, free_bits)
    # f_s - mean of f over the other samples = S / (S - 1) (f_s - mean f)
    centred = signal - tf.reduce_mean(signal, 0, keepdims=True)
    centred = tf.stop_gradient(centred * (sizes[0] / (sizes[0] - 1)))
    score = _log_q_in_full(draws, target, surrogate_posterior)
    surrogate = tf.reduce_mean(centred * score + signal, (0, 1))
    return estimate(draws, surrogate, None, kl_weight, free_bits)


def _detached(target, surrogate_posterior, sizes, seed):
    """Draws whose samples carry no gradient: it reaches only the log-densities."""
    z, _ = _draws.sample(target, surrogate_posterior, sizes, seed)
    z = tf.nest.map_structure(tf.stop_gradient, z)
    return _draws.evaluate(target, surrogate_posterior, z, sizes)


def _signal(draws, kl_weight, free_bits):
    """f per sample, `[S, K, B]`, nats: log p(x | z) + beta (log p(z) - log q(z))."""
    if is_number(kl_weight, 1.0) and is_number(free_bits, 0.0):
        return draws.log_weights
    bounds.elbo(draws, kl_weight=kl_weight, free_bits=free_bits)  # checks
    rate = draws.log_q - draws.log_prior
    beta = number(kl_weight, rate.dtype)
    if not is_number(free_bits, 0.0):
        # below the floor the rate exerts no pull
        beta *= tf.cast(
            tf.reduce_mean(rate) > number(free_bits, rate.dtype), rate.dtype
        )
    return draws.log_likelihood - beta * rate


def _log_q_in_full(draws, target, surrogate_posterior):
    """log q of everything a datum's f depends on, `[S, K, B]`."""
    if draws.num_data is None:
        return draws.log_q
    return _draws.log_q_in_full(target, surrogate_posterior, draws.z)
