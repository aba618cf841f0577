"""x log y with its derivative in x, which TensorFlow's has not at x = 0.

TFP writes the density of Beta, Gamma, Dirichlet, Weibull and Kumaraswamy with
`xlogy(concentration - 1, z)`. TensorFlow takes 0 log y = 0 for a constant there, so at
concentration 1, where everybody starts, the score loses its term log z.
"""

from __future__ import annotations

import contextlib
import threading

import tensorflow as tf
from tensorflow_probability.python.distributions import beta

_math = beta.tf.math
"""The module in which TFP looks these functions up; users' code sees another one."""
_theirs = _math.xlogy, _math.xlog1py
_lock, _depth = threading.RLock(), [0]


@contextlib.contextmanager
def exact_xlogy():
    """TFP's densities written inside have their whole derivative."""
    with _lock:
        _depth[0] += 1
        _math.xlogy, _math.xlog1py = _xlogy, _xlog1py
    try:
        yield
    finally:
        with _lock:
            _depth[0] -= 1
            if not _depth[0]:
                _math.xlogy, _math.xlog1py = _theirs


def _xlogy(x, y, name=None):
    return _completed(_theirs[0], tf.math.log, x, y, name)


def _xlog1py(x, y, name=None):
    return _completed(_theirs[1], tf.math.log1p, x, y, name)


def _completed(function, log, x, y, name):
    if not tf.is_tensor(x):
        return function(x, y, name=name)  # a number has no derivative

    @tf.custom_gradient
    def completed(x, y):
        def gradient(upstream):
            # d (x log y) / dx = log y, at x = 0 too (unless log y is not finite there)
            slope = log(y)
            usable = tf.math.is_finite(slope) | (x != 0)
            in_x = upstream * tf.where(usable, slope, tf.zeros_like(slope))
            inner = y if log is tf.math.log else 1 + y
            return in_x, upstream * tf.math.divide_no_nan(x, inner)

        return function(x, y, name=name), gradient

    y = tf.convert_to_tensor(y, x.dtype)
    shape = tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y))
    static = tf.broadcast_static_shape(x.shape, y.shape)
    x, y = (tf.ensure_shape(tf.broadcast_to(t, shape), static) for t in (x, y))
    return completed(x, y)
