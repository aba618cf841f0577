"""NaN: found, named and undone, wherever it starts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import NonFiniteError, fit
from elbo_tfp.fitting.run import steps_per_call


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate)


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("bad", [0, 3, 9])
def test_a_bound_that_is_not_finite(bad, steps):
    v = tf.Variable(1.0, name="v")

    def objective(step):
        return v + tf.where(step < bad, 0.0, tf.where(step > 0, np.nan, -np.inf))

    with (
        pytest.raises(NonFiniteError, match=f"step {bad}: the bound was") as caught,
        steps_per_call(steps),
    ):
        fit(objective, num_steps=10, seed=0, optimizer=sgd())
    error = caught.value
    assert error.step == bad and error.result.steps == bad
    np.testing.assert_allclose(v, 1.0 + 0.1 * bad, rtol=1e-6)
    np.testing.assert_allclose(error.result.elbo, 1.0 + 0.1 * np.arange(bad), rtol=1e-6)
    # the fit can go on from there, with another objective or data
    assert error.result.state.step == bad


def test_a_gradient_at_the_very_last_step_counts():
    v = tf.Variable([0.0, 3.0], name="slope")
    w = tf.Variable(1.0, name="other")

    def objective(step):
        gap = tf.cast(tf.maximum(4 - step, 0), tf.float32)
        return tf.sqrt(gap * v[1]) + w

    text = (
        "step 4: the bound was finite .*, but not its update; .*made slope non-finite"
    )
    with pytest.raises(NonFiniteError, match=text) as caught:
        fit(objective, num_steps=5, seed=0, optimizer=sgd())
    assert caught.value.variables == ("slope",)
    assert np.isfinite(v.numpy()).all()
    np.testing.assert_allclose(w, 1.4, rtol=1e-6)


def test_an_optimizer_that_overflows_is_noticed():
    v = tf.Variable(0.0, name="v")

    def objective(step):
        # the squared gradient overflows, Adam's step does not: 1e30 / sqrt(inf) = 0
        return v * tf.where(step == 2, 1e30, 1.0)

    with pytest.raises(NonFiniteError, match="step 2: .*but not its update"):
        fit(objective, num_steps=6, seed=0, optimizer=keras.optimizers.Adam(0.1))
    assert np.isfinite(v.numpy())


def test_state_that_is_not_trained_goes_back_too():
    v = tf.Variable(1.0, name="v")
    count = tf.Variable(0.0, trainable=False)

    def objective(step):
        count.assign_add(1.0)
        return v + tf.where(step < 6, 0.0, np.nan)

    with pytest.raises(NonFiniteError):
        fit(objective, num_steps=10, seed=0, optimizer=sgd())
    assert count.numpy() == 6.0
