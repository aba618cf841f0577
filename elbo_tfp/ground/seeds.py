"""Stateless seeds: the same seed gives the same numbers, every time."""

from __future__ import annotations

import math
import numbers

import numpy as np
import tensorflow as tf


def as_seed(seed) -> tf.Tensor:
    """A stateless seed, `[2]` int32, from an int, a pair of ints or a tensor.

    Args:
        seed: an int (any that fits in 64 bits), a pair of ints, or an integer
            tensor of shape `[2]`.

    Raises:
        ValueError: if `seed` is missing or has another form.
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        number = int(seed)
        if not -(2**63) <= number < 2**64:
            raise ValueError(_SEED_HELP.format(seed))
        halves = np.array([number >> 32 & _LOW, number & _LOW], np.uint32)
        return tf.constant(halves.view(np.int32))
    try:
        tensor = tf.convert_to_tensor(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(_SEED_HELP.format(seed)) from error
    if not tensor.dtype.is_integer or tensor.shape.rank not in (None, 0, 1):
        raise ValueError(_SEED_HELP.format(seed))
    if tensor.shape.rank == 0:
        # high and low half, as for a Python int
        return tf.bitcast(tf.cast(tensor, tf.int64), tf.int32)[::-1]
    if not tensor.shape.is_compatible_with([2]):
        raise ValueError(_SEED_HELP.format(seed))
    return tf.cast(tensor, tf.int32)


_LOW = 0xFFFFFFFF


_SEED_HELP = (
    "expected seed to be an int, a pair of ints or an integer tensor of shape [2]; "
    "got {!r}. Seeds are stateless here: pass seed=0, say, and the same numbers come "
    "back every time."
)


def split_seed(seed, n: int = 2) -> list[tf.Tensor]:
    """`n` independent stateless seeds made from one."""
    seeds = tf.random.split(as_seed(seed), num=n, alg="philox")
    return tf.unstack(seeds, num=n)


def fold_in(seed, data) -> tf.Tensor:
    """The seed number `data` of the family that `seed` starts."""
    return tf.random.fold_in(as_seed(seed), tf.cast(data, tf.int32), alg="philox")


def uniform(shape, seed, dtype=tf.float32) -> tf.Tensor:
    """Uniform numbers between 0 and 1, neither of which occurs.

    TensorFlow turns random bits into other numbers when XLA compiles it; here the bits
    become numbers by a rule of our own, the same eagerly and compiled.

    Args:
        shape: of the result, full and static where XLA is to be quick.
        seed: as `as_seed` takes it.
        dtype: floating type.
    """
    return 0.5 + 0.5 * _odd(shape, as_seed(seed), tf.as_dtype(dtype))


def standard_normal(shape, seed, dtype=tf.float32) -> tf.Tensor:
    """Numbers from N(0, 1), the same eagerly and compiled up to rounding.

    Args:
        shape: of the result, full and static where XLA is to be quick.
        seed: as `as_seed` takes it.
        dtype: floating type.
    """
    u = _odd(shape, as_seed(seed), tf.as_dtype(dtype))
    # z = sqrt(2) erfinv(u), from the side of 0 on which no digit is lost
    return -math.sqrt(2) * tf.sign(u) * tf.math.erfinv(-tf.abs(u))


def _odd(shape, seed, dtype):
    """Odd multiples of 2^-23 (2^-52) between -1 and 1, all equally likely."""
    wide = dtype == tf.float64
    kind, digits = (tf.int64, 52) if wide else (tf.int32, 23)
    bits = tf.random.stateless_uniform(shape, seed, None, None, kind, alg="philox")
    whole = tf.bitwise.right_shift(bits, tf.constant(8 * kind.size - digits, kind))
    number = tf.cast(whole, tf.float64 if wide else tf.float32) + 0.5
    return tf.cast(number * 2.0 ** (1 - digits), dtype)
