"""Bounds by Monte Carlo: the ELBO, its importance-weighted kin, and their error."""

from __future__ import annotations

import numbers

import tensorflow as tf

from elbo_tfp.ground.checks import number, whole, wrong
from elbo_tfp.types import Draws


def elbo(draws, *, kl_weight=1.0, free_bits=0.0, axis=0) -> tf.Tensor:
    """The evidence lower bound, `[B]`, nats: the mean log-weight.

    Guaranteed: its expectation is at most log p(x), with equality if and only if q is
    the posterior. A `kl_weight` other than 1, or `free_bits`, gives another objective;
    it is a lower bound on log p(x) only if the weight is at least 1.

    Args:
        draws: `Draws`, or log-weights `[S, B]` (then no weights are possible).
        kl_weight: beta, the factor of the rate term; a number or scalar tensor.
        free_bits: the rate, in nats per datum averaged over the batch, below which it
            exerts no pull (the name is Kingma's; the unit is nats).
        axis: the sample axis to average over, or a tuple of axes.

    Raises:
        ValueError: if weights are asked of draws whose likelihood and prior are not
            known apart, or a weight is not one finite number >= 0.

    Source: Jordan et al. (1999); beta: Higgins et al. (2017); free bits: Kingma et al.
    (2016), equation 15, with one group that holds all latents.
    """
    log_weights = _log_weights(draws, axis)
    if not (_is(kl_weight, 1.0) and _is(free_bits, 0.0)):
        return _weighted(draws, kl_weight, free_bits, axis)
    # L = E_q[log p(x, z) - log q(z)]
    return tf.reduce_mean(log_weights, axis)


def iwae(draws, *, axis=0) -> tf.Tensor:
    """The importance-weighted bound, nats: log of the mean weight over `axis`.

    Guaranteed: its expectation is at most log p(x) and rises with the number of
    samples K along `axis`; at K = 1 it is the ELBO.

    Args:
        draws: `Draws`, or log-weights `[K, B]`; `[S, K, B]` with `axis=1`.
        axis: the axis (or axes) of the importance samples, which is reduced. Further
            sample axes stay: average them to get an estimate of the same bound.

    Raises:
        ValueError: if the draws carry a global latent, whose weights are spread over
            the data: a mean of such weights per datum bounds nothing.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    log_weights = local_log_weights(draws, axis)
    log_sum = tf.reduce_logsumexp(log_weights, axis)
    num = tf.cast(tf.size(log_weights) // tf.size(log_sum), log_weights.dtype)
    # L_K = E[log (1 / K) sum_k w_k], by log-sum-exp
    return log_sum - tf.math.log(num)


def standard_error(draws, *, axis=0) -> tf.Tensor:
    """The Monte Carlo error of `elbo` per datum, `[B]`, nats.

    It says how far the number moves with another seed, not how it would move with
    other data: report the two errors of a data-set mean apart.

    Args:
        draws: `Draws` or log-weights `[S, B]` with S >= 2 independent samples.
        axis: the sample axis, or a tuple of axes.

    Raises:
        ValueError: if there is one sample only: its error is unknown.
    """
    log_weights = _log_weights(draws, axis)
    deviation = tf.math.reduce_std(log_weights, axis)
    num = tf.size(log_weights) // tf.size(deviation)
    size = tf.get_static_value(num)
    if size is not None and size < 2:
        expected = "at least 2 samples: the error of a single one is unknown"
        raise wrong(expected, size, "Pass sample_size=2 or more to draw.")
    # s / sqrt(S), with s^2 the unbiased variance (S - 1 in the denominator)
    return deviation / tf.sqrt(tf.cast(num - 1, deviation.dtype))


def local_log_weights(draws, axis=0) -> tf.Tensor:
    """The log-weights of draws that share no latent between data, `[K, B]`, nats.

    Raises:
        ValueError: if the draws carry a global latent, or have no such axis.
    """
    log_weights = _log_weights(draws, axis)
    if isinstance(draws, Draws) and draws.num_data is not None:
        raise wrong(
            "draws without a global latent",
            f"num_data={draws.num_data}",
            "Averaging weights of which each datum holds a share 1 / num_data is no "
            "bound. Use elbo.",
        )
    return log_weights


def _weighted(draws, kl_weight, free_bits, axis):
    """The objective with a factor and a floor on the rate, `[B]`, nats."""
    if not isinstance(draws, Draws) or draws.log_prior is None:
        raise wrong(
            "draws that know log p(x | z) and log p(z) apart, since kl_weight or "
            "free_bits was given",
            "a bare target or bare log-weights",
            "Draw from model.log_joint(x) of a LatentVariableModel.",
        )
    _check_factor(kl_weight, "kl_weight")
    _check_factor(free_bits, "free_bits")
    reconstruction = tf.reduce_mean(draws.log_likelihood, axis)
    # rate = E_q[log q(z) - log p(z)]
    rate = tf.reduce_mean(draws.log_q - draws.log_prior, axis)
    if not _is(free_bits, 0.0):
        floor = number(free_bits, rate.dtype)
        # max(floor, batch mean of the rate), per datum: below it, no gradient
        rate = tf.where(tf.reduce_mean(rate) > floor, rate, tf.zeros_like(rate) + floor)
    # L_beta = E_q[log p(x | z)] - beta * rate
    return reconstruction - number(kl_weight, rate.dtype) * rate


def _log_weights(draws, axis):
    log_weights = draws.log_weights if isinstance(draws, Draws) else draws
    log_weights = tf.convert_to_tensor(log_weights)
    if not log_weights.dtype.is_floating or 0 in (
        log_weights.shape.rank,
        log_weights.shape.num_elements(),
    ):
        raise wrong(
            "Draws or floating log-weights with a sample axis, not empty",
            f"dtype {log_weights.dtype.name} and shape {log_weights.shape}",
        )
    rank = log_weights.shape.rank
    for one in axis if isinstance(axis, (tuple, list)) else [axis]:
        known = one is not None and rank is not None
        if known and whole("axis", one, -rank) >= rank:
            raise wrong(f"an axis of {rank}", one, "The first is 0.")
    return log_weights


def _check_factor(value, name):
    outside = isinstance(value, numbers.Real) and not 0 <= value < float("inf")
    if outside or tf.TensorShape(getattr(value, "shape", ())).rank:
        raise wrong(f"{name} to be one finite number >= 0", repr(value))


def _is(value, number):
    return isinstance(value, numbers.Real) and value == number
