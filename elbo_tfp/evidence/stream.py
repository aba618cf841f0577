"""The mean of many weights, in log space, a chunk at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import fold_in


class Mean(NamedTuple):
    """The mean of K weights per datum."""

    log_mean: tf.Tensor
    """log (1 / K) sum_k w_k, `[B]`, nats."""
    standard_error: tf.Tensor
    """Its error by the delta method, `[B]`, nats; NaN for K = 1."""
    effective_sample_size: tf.Tensor
    """(sum w)^2 / sum w^2, `[B]`."""


def log_mean(
    log_weights,
    like,
    sample_size,
    chunk_size,
    seed,
    jit_compile=True,
    *,
    arguments=(),
):
    """Averages weights in constant memory.

    Args:
        log_weights: a function `(seed, size, *arguments) -> (log-weights [size, B],
            aside)`, where `aside` is `[B]`, to be averaged over chunks, or None.
        like: the `tf.TensorSpec` of one row of log-weights, `[B]`.
        sample_size: K.
        chunk_size: how many weights are made at once; the last chunk is cut.
        seed: stateless; chunk number i uses `fold_in(seed, i)`.
        jit_compile: whether to compile with XLA.
        arguments: tensors, or structures of them, that one compiled program serves.

    Returns:
        A `Mean`, and the average of `aside`.

    Raises:
        ValueError: if a log-weight is NaN or plus infinity.
    """
    chunks = -(-sample_size // chunk_size)
    lowest = tf.constant(-np.inf, like.dtype)

    def program(seed, *arguments):
        def body(number, top, first, second, total):
            found, aside = log_weights(fold_in(seed, number), chunk_size, *arguments)
            found = tf.ensure_shape(found, [chunk_size, *like.shape])
            own = number * chunk_size + tf.range(chunk_size) < sample_size
            own = tf.reshape(own, [-1, *[1] * like.shape.rank])
            sums = _merged(top, first, second, tf.where(own, found, lowest))
            return number + 1, *sums, total + (zero if aside is None else aside)

        zero = tf.zeros(like.shape, like.dtype)
        state = (tf.constant(0), zero + lowest, zero, zero, zero)
        *_, top, first, second, total = tf.while_loop(
            lambda number, *_: number < chunks, body, state
        )
        return top, first, second, total / chunks

    run = compiled(program, seed, *arguments, jit_compile=jit_compile)
    *sums, aside = run(seed, *arguments)
    return _finished(*sums, sample_size), aside


def _merged(top, first, second, found):
    """Sums of w and w^2 relative to the largest weight so far."""
    new = tf.maximum(top, tf.reduce_max(found, 0))
    # a datum whose weights are all zero so far keeps a shift of zero
    shift = tf.where(new > -np.inf, new, tf.zeros_like(new))
    old = tf.exp(top - shift)
    weights = tf.exp(found - shift)
    first = first * old + tf.reduce_sum(weights, 0)
    second = second * old**2 + tf.reduce_sum(tf.square(weights), 0)
    return new, first, second


def _finished(top, first, second, sample_size) -> Mean:
    bad = int(tf.math.count_nonzero(~tf.math.is_finite(first) | (top == np.inf)))
    if bad:
        raise ValueError(
            f"expected finite log-weights; got NaN or infinity for {bad} of "
            f"{tf.size(first)} data. Check the model's log-density where q draws."
        )
    num = tf.cast(sample_size, first.dtype)
    # log (1 / K) sum_k w_k
    log_p = top + tf.math.log(first) - tf.math.log(num)
    size = tf.math.divide_no_nan(tf.square(first), second)
    # delta method: sd(w) / (mean(w) sqrt(K)), with K - 1 in the variance
    variance = (num / size - 1) / (num - 1)
    return Mean(log_p, tf.sqrt(tf.maximum(variance, 0 * variance)), size)
