"""Stateless seeds: the same seed gives the same numbers, every time."""

from __future__ import annotations

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
    return tf.unstack(tf.random.split(as_seed(seed), num=n), num=n)


def fold_in(seed, data) -> tf.Tensor:
    """The seed number `data` of the family that `seed` starts."""
    return tf.random.fold_in(as_seed(seed), tf.cast(data, tf.int32))
