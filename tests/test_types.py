"""Draws and estimates."""

import numpy as np
import tensorflow as tf

from elbo_tfp import types
from tests.statistics import says

SHARED = tf.constant([1.0, 2.0])


def test_log_p_and_log_weights_are_sums_of_parts():
    parts = [tf.constant([[v]]) for v in (1.0, 2.0, 4.0)]
    draws = types.Draws(None, *parts)
    assert float(draws.log_p[0, 0]) == 3.0
    assert float(draws.log_weights[0, 0]) == -1.0
    bare = types.Draws(None, None, None, parts[2], log_target=parts[0])
    assert float(bare.log_weights[0, 0]) == -3.0


def test_a_surrogate_lends_its_gradient_only():
    a = tf.Variable([0.1, 3.0])
    with tf.GradientTape() as tape:
        both = types.with_gradient_of(tf.sin(a), 7 * a)
    np.testing.assert_array_equal(both, tf.sin(a))
    np.testing.assert_array_equal(tape.gradient(both, a), [7, 7])


def test_a_surrogate_of_another_shape_would_repeat_its_gradient():
    with says("expected", "(2,)", "got ()", "same axes"):
        types.with_gradient_of(SHARED, SHARED[0])
