"""Models whose setting changes between calls, and one whose data are a structure."""

import types
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et

tfd = tfp.distributions

PLACES = ("dict", "attribute", "list", "array", "namespace", "closure", "global")
NUMBER = 1.0


def kept(place, value=1.0):
    """(a function that reads the number, a function that changes it)."""
    entries, numbers, array = {"a": {"b": value}}, [value], np.full(1, value)
    holder = types.SimpleNamespace(inner=types.SimpleNamespace(scale=value))
    free = value
    globals().update(NUMBER=value)

    class Owner:
        scale = value

    owner = Owner()

    def rebind(new):
        nonlocal free
        free = new

    return {
        "dict": (lambda: entries["a"]["b"], lambda v: entries["a"].update(b=v)),
        "attribute": (lambda: owner.scale, lambda v: setattr(owner, "scale", v)),
        "list": (lambda: numbers[0], lambda v: numbers.__setitem__(0, v)),
        "array": (lambda: array[0], lambda v: array.fill(v)),
        "namespace": (
            lambda: holder.inner.scale,
            lambda v: setattr(holder.inner, "scale", v),
        ),
        "closure": (lambda: free, rebind),
        "global": (lambda: NUMBER, lambda v: globals().update(NUMBER=v)),
    }[place]


def model_of(read, size=None):
    """z ~ N(0, 1), x ~ N(z, s) with s = read(); vectors of `size`, or scalars."""

    def product(distribution):
        return tfd.Independent(distribution, 1) if size else distribution

    zero = tf.zeros([size] if size else [], tf.float64)
    one = tf.ones([], tf.float64)
    return et.LatentVariableModel(
        product(tfd.Normal(zero, one)),
        lambda z: product(tfd.Normal(z, tf.constant(read(), tf.float64))),
    )


class Offset:
    """z ~ N(0, 1), x ~ N(z + offset, 1); a datum is {"x": ..., "offset": ...}.

    Args:
        size: of vectors; None for scalars.
    """

    global_prior = None

    def __init__(self, size=None):
        self._plain = model_of(lambda: 1.0, size)
        self.prior = self._plain.prior

    def log_joint(self, x, num_data=None):
        return _OffsetTarget(
            tf.nest.map_structure(tf.convert_to_tensor, x), self._plain
        )


class _OffsetTarget(NamedTuple):
    x: Any
    plain: Any
    num_data: Any = None

    def log_parts(self, z, sample_ndims=None):
        x = self.x["x"] - self.x["offset"]
        return self.plain.log_joint(x).log_parts(z, sample_ndims)

    def __call__(self, z):
        return sum(self.log_parts(z))
