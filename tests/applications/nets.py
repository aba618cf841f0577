"""The networks that the tests of this room share."""

import numpy as np
import tensorflow as tf

from elbo_tfp import applications as ap

RNG = np.random.default_rng(1)
W = [RNG.normal(size=(6, 4)), RNG.normal(size=(4, 2))]
B, S = [0.1, 0.2, 0.3], [0.5, 0.7, 1.2]
X = RNG.normal(size=(5, 6))


def food(dtype="float64"):
    """F14: v ~ N(3, 1), u given v ~ N(v^2, 1), u = 2."""
    net = ap.hierarchy([np.ones([1, 1], dtype)], [tf.square], [1, 1], biases=[0.0, 3.0])
    return net, np.full([1, 1], 2, dtype)


def network(activations=(tf.sigmoid, tf.tanh), dtype="float64"):
    return ap.hierarchy([w.astype(dtype) for w in W], activations, S, biases=B)
