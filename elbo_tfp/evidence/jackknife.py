"""The jackknife: importance-weighted evidence with its leading bias removed."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.bounds.leave_out import logsumexp_of_others
from elbo_tfp.bounds.monte_carlo import local_log_weights
from elbo_tfp.ground.checks import whole, wrong


def jackknife(draws, order=1, *, axis=0) -> tf.Tensor:
    """The jackknife-corrected importance-weighted evidence, nats: no bound.

    The importance-weighted bound lies below log p(x) by c_1 / K + c_2 / K^2 + ...; the
    correction removes the first `order` terms, so that the bias falls as
    K^-(order + 1) where the weights have enough moments. What is left has either sign,
    so that the expectation may exceed log p(x), and the variance grows with the order.

    Args:
        draws: `Draws`, or log-weights `[K, B]`; `[S, K, B]` with `axis=1`.
        order: 0 (`bounds.iwae`), 1 or 2; 2 needs memory for K^2 numbers per datum.
        axis: the axis of the K importance samples, which is reduced.

    Returns:
        `[B]` (`[S, B]`), in the dtype of the draws, computed in float64; -inf where
        every weight is 0. With one positive weight alone no correction is possible,
        and the formula gives inf or NaN.

    Raises:
        ValueError: if `order` is not 0, 1 or 2, there are not more than `order`
            samples, `axis` is not an int, or the draws carry a global latent.

    Source: Nowozin (2018), equations 6 and 7.
    """
    log_weights = local_log_weights(draws)
    if isinstance(order, bool) or order not in (0, 1, 2):
        raise ValueError(f"expected order 0, 1 or 2; got {order!r}.")
    rank = log_weights.shape.rank
    axis = whole("axis", axis, -rank, "One axis is reduced.")
    if axis >= rank:
        raise wrong(f"an axis of {rank}", axis, "The first is 0.")
    size = int(log_weights.shape[axis])
    if size <= order:
        raise ValueError(
            f"expected more than {order} samples for a jackknife of order {order}; got "
            f"{size}. Pass a larger sample_size to draw."
        )
    dtype, log_weights = log_weights.dtype, _samples_first(log_weights, axis)
    # the factors of the order K^m would multiply float32's rounding
    log_weights = tf.cast(log_weights, tf.float64)
    means = (_without_none, _without_one, _without_two)[: order + 1]
    # J_m = sum_{j <= m} (-1)^j (K - j)^m / ((m - j)! j!) mean of L_{K - j}
    total = tf.add_n(
        [
            weight * mean(log_weights)
            for weight, mean in zip(_WEIGHTS[order](size), means, strict=True)
        ]
    )
    none = tf.reduce_all(tf.equal(log_weights, float("-inf")), 0)
    return tf.cast(tf.where(none, tf.constant(-np.inf, tf.float64), total), dtype)


_WEIGHTS = {
    0: lambda k: [1.0],
    1: lambda k: [k, -(k - 1)],
    2: lambda k: [k**2 / 2, -((k - 1) ** 2), (k - 2) ** 2 / 2],
}


def _samples_first(log_weights, axis):
    axis = axis % log_weights.shape.rank
    rest = [i for i in range(log_weights.shape.rank) if i != axis]
    return tf.transpose(log_weights, [axis, *rest])


def _without_none(log_weights):
    # log (1 / K) sum_k w_k
    return tf.reduce_logsumexp(log_weights, 0) - _log(log_weights.shape[0], log_weights)


def _without_one(log_weights):
    """The mean of the K bounds that leave one sample out."""
    others = logsumexp_of_others(log_weights)
    return tf.reduce_mean(others, 0) - _log(log_weights.shape[0] - 1, log_weights)


def _without_two(log_weights):
    """The mean of the K (K - 1) / 2 bounds that leave two samples out."""
    size = log_weights.shape[0]
    out = tf.cast(tf.eye(size), tf.bool)
    out = tf.reshape(out, [size, size] + [1] * (log_weights.shape.rank - 1))
    gone = tf.constant(float("-inf"), log_weights.dtype)
    # row i: the weights without i; then without each j of the rest in turn
    others = logsumexp_of_others(tf.where(out, gone, log_weights[tf.newaxis]), 1)
    pairs = tf.where(out, tf.zeros_like(others), others)
    total = tf.reduce_sum(pairs, (0, 1)) / (size * (size - 1))
    return total - _log(size - 2, log_weights)


def _log(number, like):
    return tf.math.log(tf.cast(number, like.dtype))
