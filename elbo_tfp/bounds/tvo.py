"""The thermodynamic variational objective: the evidence as an area, from below."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.bounds.monte_carlo import local_log_weights
from elbo_tfp.ground.checks import wrong


def tvo(draws, partition, *, axis=0) -> tf.Tensor:
    """The lower Riemann sum of thermodynamic integration, nats.

    log p(x) is the area under E_beta[log w] for beta from 0 to 1, where the expectation
    is over q reweighted by w^beta. The curve rises (its slope is the variance of
    log w), so a sum of left rectangles lies below the area.

    Guaranteed: the expectation of this number is at most log p(x), at every number of
    samples and for every partition, since on each set of draws it lies between `elbo`
    (the partition 0, 1) and `iwae` (its limit as the partition gets finer).

    Args:
        draws: `Draws`, or log-weights `[K, B]`; `[S, K, B]` with `axis=1`.
        partition: the points of the partition in increasing order, from 0 to 1, both
            included; for instance `[0, 0.1, 0.3, 1]`.
        axis: the axis (or axes) of the importance samples, which is reduced.

    Raises:
        ValueError: if `partition` does not increase from 0 to 1, or the draws carry a
            global latent.

    Source: Masrani, Le and Wood (2019), equations 7 and 13.
    """
    log_weights = local_log_weights(draws, axis)
    points = _points(partition)
    # weights add up to 1 up to rounding only, which a large log w would multiply
    top = tf.stop_gradient(tf.reduce_max(log_weights, axis, keepdims=True))
    top = tf.where(tf.math.is_finite(top), top, tf.zeros_like(top))
    log_weights -= top
    total = tf.zeros_like(tf.reduce_mean(log_weights, axis))
    for left, width in zip(points[:-1], np.diff(points), strict=True):
        beta = tf.cast(left, log_weights.dtype)
        # p_beta(z) is proportional to q(z) w(z)^beta
        tilted = tf.math.multiply_no_nan(log_weights, beta)
        weights = tf.exp(tilted - tf.reduce_logsumexp(tilted, axis, keepdims=True))
        # sum over the partition of (beta' - beta) E_beta[log w]
        area = tf.reduce_sum(tf.math.multiply_no_nan(log_weights, weights), axis)
        total += tf.cast(width, log_weights.dtype) * area
    # E_0[log w], the first of them, is -inf with any weight of 0
    impossible = tf.reduce_any(tf.equal(log_weights, float("-inf")), axis)
    total += tf.squeeze(top, axis)
    return tf.where(impossible, tf.constant(float("-inf"), total.dtype), total)


def _points(partition) -> np.ndarray:
    try:
        points = np.asarray(partition, np.float64)
    except (TypeError, ValueError):
        points = np.array(np.nan)
    ends = points.ndim == 1 and len(points) > 1 and points[0] == 0 and points[-1] == 1
    if not (ends and bool(np.all(np.diff(points) > 0))):
        what = "to increase from 0 to 1, both included, such as [0, 0.1, 0.3, 1]"
        raise wrong(f"partition {what}", repr(partition))
    return points
