"""One rule for a whole number, one for a real one, and one form of message.

Wrong input becomes a `ValueError` that says what was expected, what came and what to
do. NumPy's numbers are numbers everywhere; booleans are none.
"""

from __future__ import annotations

import numbers
import operator

import numpy as np
import tensorflow as tf


def wrong(expected: str, got, remedy: str = "") -> ValueError:
    """The error to raise: "expected ...; got .... Do this."""
    text = f"expected {expected}; got {got}."
    return ValueError(f"{text} {remedy}".rstrip())


def whole(name: str, value, least: int = 1, remedy: str = "") -> int:
    """`value` as an int, at least `least`.

    Raises:
        ValueError: if it is no whole number (a float is none, nor a bool), or smaller.
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        what = {1: "a positive int", 0: "an int >= 0"}.get(least, f"an int >= {least}")
        raise wrong(f"{name} to be {what}", repr(value), remedy)
    return number


def real(name: str, value, interval: str = "(0, inf)", remedy: str = "") -> float:
    """`value` as a float in an interval such as `"(0, 1]"`.

    Raises:
        ValueError: if it is no real number, not finite where the end is open, or
            outside.
    """
    plain = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = plain and (value > low or interval[0] == "[" and value == low)
    below = plain and (value < high or interval[-1] == "]" and value == high)
    if not (above and below):
        what = {"(0, inf)": "a positive number", "[0, inf)": "a number >= 0"}
        expected = what.get(interval, f"a number in {interval}")
        raise wrong(f"{name} to be {expected}", repr(value), remedy)
    return float(value)


def number(value, dtype) -> tf.Tensor:
    """A number as a tensor of this dtype, to the last digit that the user wrote.

    `tf.cast(0.3, tf.float64)` goes by float32: it is 0.30000001192.
    """
    if isinstance(value, numbers.Real):
        return tf.constant(value, dtype)
    return tf.cast(value, dtype)


def at_run_time(value: tf.Tensor, shape, message: str) -> tf.Tensor:
    """`value`, checked to have `shape` where that was not known beforehand.

    XLA ignores assertions, and TensorFlow's graph optimizer drops a reshape (even with
    the assertion in front of it); a concatenation with nothing is checked by both.

    Args:
        value: a tensor whose static shape is not known in full.
        shape: the shape it must have, a list or an integer tensor.
        message: of the error, `tf.errors.InvalidArgumentError`.
    """
    same = tf.debugging.assert_equal(tf.shape(value), shape, message)
    nothing = tf.zeros(tf.concat([[0], shape], 0), value.dtype)
    with tf.control_dependencies([same]):
        return tf.concat([value[tf.newaxis], nothing], 0)[0]
