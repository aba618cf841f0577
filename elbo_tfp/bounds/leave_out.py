"""Sums of weights without each sample in turn: what the others say."""

from __future__ import annotations

import tensorflow as tf


def logsumexp_of_others(log_weights, axis=0) -> tf.Tensor:
    """log sum_{j != k} w_j for every k, `[K, B]`, in O(K) time and memory.

    A difference, log(sum - w_k), would lose all digits where w_k dominates; sums from
    both ends do not.

    Args:
        log_weights: `[K, B]` with K >= 2, nats.
        axis: the axis of the K samples, which stays.
    """
    before = tf.math.cumulative_logsumexp(log_weights, axis, exclusive=True)
    after = tf.math.cumulative_logsumexp(
        log_weights, axis, exclusive=True, reverse=True
    )
    # log sum_{j != k} w_j = log(sum_{j < k} w_j + sum_{j > k} w_j)
    return tf.reduce_logsumexp(tf.stack([before, after]), 0)
