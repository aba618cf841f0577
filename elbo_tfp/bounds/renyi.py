"""Renyi's family of bounds: power means of the weights, from the worst to the mean."""

from __future__ import annotations

import math

import tensorflow as tf

from elbo_tfp.bounds.monte_carlo import local_log_weights
from elbo_tfp.ground.checks import wrong


def renyi(draws, alpha, *, axis=0) -> tf.Tensor:
    """The variational Renyi bound of order `alpha` >= 0, nats.

    Guaranteed, for every alpha >= 0 and every number K of samples: the expectation of
    this number is at most log p(x), since on each set of draws it is the logarithm of
    a power mean of the weights with exponent 1 - alpha <= 1, never above `iwae`. It
    falls as alpha rises; alpha = 0 is `iwae`, alpha = 1 the ELBO. With K the estimate
    moves towards L_alpha, from below for alpha < 1, from above for alpha > 1, and
    without limit if E_q[w^(1 - alpha)] does not exist (L_alpha is then minus infinity).

    For alpha < 0, L_alpha lies above log p(x) but its estimate lies below L_alpha in
    expectation, so it bounds nothing: an error here. `cubo(draws, order=1 - alpha)` is
    the same number under the name that says so.

    Args:
        draws: `Draws`, or log-weights `[K, B]`; `[S, K, B]` with `axis=1`.
        alpha: the order, a finite number >= 0.
        axis: the axis (or axes) of the importance samples, which is reduced.

    Raises:
        ValueError: if `alpha` is negative or no finite number, or the draws carry a
            global latent.

    Source: Li and Turner (2016), equations 6 and 10.
    """
    log_weights = local_log_weights(draws, axis)
    alpha = finite_number(alpha, "alpha")
    if alpha < 0:
        remedy = (
            "Below 0 the Renyi bound lies above the evidence but its Monte Carlo "
            f"estimate bounds nothing: use cubo(draws, order={1 - alpha:g}), and read "
            "there what it can certify."
        )
        raise wrong("alpha >= 0", alpha, remedy)
    # L_alpha = 1 / (1 - alpha) log E_q[w^(1 - alpha)]
    return log_power_mean(log_weights, 1 - alpha, axis)


def log_power_mean(log_weights, power: float, axis=0) -> tf.Tensor:
    """log of the power mean of the weights, stable for large and small exponents.

    Args:
        log_weights: `[K, B]`, nats.
        power: the exponent r, any finite number; 0 gives the geometric mean.
        axis: reduced.
    """
    if power == 0:
        return tf.reduce_mean(log_weights, axis)
    extreme = tf.reduce_max if power > 0 else tf.reduce_min
    shift = tf.stop_gradient(extreme(log_weights, axis, keepdims=True))
    shift = tf.where(tf.math.is_finite(shift), shift, tf.zeros_like(shift))
    scaled = power * (log_weights - shift)
    # (1 / r) log mean exp(r log w); log1p of the mean of expm1 where r is so small
    # that the mean is close to 1
    excess = tf.reduce_mean(tf.math.expm1(scaled), axis)
    near_one = tf.abs(excess) < 0.5
    num = tf.cast(tf.size(scaled) // tf.size(excess), scaled.dtype)
    log_mean = tf.where(
        near_one,
        tf.math.log1p(tf.where(near_one, excess, tf.zeros_like(excess))),
        tf.reduce_logsumexp(scaled, axis) - tf.math.log(num),
    )
    return tf.reshape(shift, tf.shape(log_mean)) + log_mean / power


def finite_number(value, name: str) -> float:
    """`value` as a float. Raises ValueError if it is no finite number."""
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise wrong(f"{name} to be a finite number", repr(value))
    return number
