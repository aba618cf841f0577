"""Who is told that networks are in training."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground.training import call, training

X = tf.ones([2, 3])


def told(x, training="not told"):
    return tf.constant(str(training))


def asks_nothing(x):
    return 2 * x


@pytest.mark.parametrize("flag", [True, False])
def test_a_callable_that_asks_is_told(flag):
    with training(flag):
        assert call(told, X).numpy().decode() == str(flag)
        assert call(functools.partial(told), X).numpy().decode() == str(flag)
    assert call(told, X, flag).numpy().decode() == str(flag)


def test_an_argument_goes_before_the_block_and_the_block_ends():
    with training(True):
        assert call(told, X, False).numpy().decode() == "False"
        with training(False):
            assert call(told, X).numpy().decode() == "False"
        assert call(told, X).numpy().decode() == "True"
    assert call(told, X).numpy().decode() == "not told"


def test_the_block_ends_with_an_error_too():
    with pytest.raises(RuntimeError), training(True):
        raise RuntimeError
    assert call(told, X).numpy().decode() == "not told"


def test_who_cannot_be_told_is_not():
    with training(True):
        np.testing.assert_array_equal(call(asks_nothing, X), 2 * X)
        np.testing.assert_array_equal(call(abs, -X), X)
        assert call(str, X) == str(X)  # no signature to read


def test_a_layer_is_told_though_its_call_does_not_show_it():
    drops = keras.Sequential([keras.layers.Dropout(0.999999, seed=0)])
    with training(True):
        np.testing.assert_array_equal(call(drops, X), 0 * X)
    with training(False):
        np.testing.assert_array_equal(call(drops, X), X)


def test_half_precision_comes_as_float32():
    with training(True):
        assert call(lambda x: tf.cast(x, tf.bfloat16), X).dtype == tf.float32
    assert call(lambda x: tf.cast(x, tf.float16), X).dtype == tf.float32
    assert call(lambda x: tf.cast(x, tf.float64), X).dtype == tf.float64
