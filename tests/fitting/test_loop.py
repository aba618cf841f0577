"""`fit`: the numbers of the loop, whatever the chunks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import NonFiniteError, fit, program
from elbo_tfp.fitting.run import steps_per_call
from elbo_tfp.ground.seeds import fold_in
from elbo_tfp.types import Estimate

DATA = np.random.default_rng(0).normal(3.0, 2.0, [20, 2])


def problem(dtype=tf.float64):
    """A bound of one variable with noise, and the variable."""
    loc = tf.Variable(tf.zeros([2], dtype), name="loc")

    def objective(seed, batch):
        noise = tf.random.stateless_normal([2], seed, dtype=dtype)
        return -tf.reduce_sum((batch - loc - 0.1 * noise) ** 2, -1)

    return objective, loc


SHARED = problem()


def run(steps=30, **keywords):
    objective, loc = SHARED
    loc.assign(tf.zeros_like(loc))
    keywords = {
        "data": DATA,
        "batch_size": 6,
        "seed": 3,
        "optimizer": keras.optimizers.Adam(0.1),
        **keywords,
    }
    return fit(objective, num_steps=steps, **keywords), loc


def test_steps_are_those_of_a_plain_python_loop():
    result, loc = run(steps=12)
    trained = loc.numpy()
    batches = _batches(12)
    objective, other = problem()
    optimizer = keras.optimizers.Adam(0.1)

    @tf.function(jit_compile=True)  # XLA's normal draws are not the eager ones
    def gradient(seed, batch):
        with tf.GradientTape() as tape:
            bound = objective(seed, batch)
            loss = -tf.reduce_mean(bound)
        return bound, loss, tape.gradient(loss, other)

    for step, rows in enumerate(batches):
        # the documented rule: fold_in(fold_in(seed, step), shard)
        seed = fold_in(fold_in(3, step), 0)
        bound, loss, descent = gradient(seed, DATA[rows])
        np.testing.assert_allclose(result.elbo[step], -loss, rtol=1e-12)
        error = np.std(bound, ddof=1) / np.sqrt(6)
        np.testing.assert_allclose(result.standard_error[step], error, rtol=1e-10)
        optimizer.apply([descent], [other])
    np.testing.assert_allclose(trained, other, rtol=1e-12)


def _batches(steps):
    """The rows of each step, learnt by letting the data be row numbers."""
    v = tf.Variable(0.0)
    rows = fit(
        lambda batch, seed: v * tf.cast(batch, tf.float32),
        num_steps=steps,
        data=np.arange(20),
        batch_size=6,
        seed=3,
        trace_fn=lambda traced: traced.gradients,
        optimizer=keras.optimizers.SGD(0.0),
    )
    assert rows.trace[0].shape == (steps,)
    from elbo_tfp.fitting.feed import Minibatches

    feed = Minibatches(tf.range(20), 6, (0, 3))
    rows_ = feed.indices(0, steps)
    np.testing.assert_allclose(rows.trace[0], rows_.mean(1), rtol=1e-6)
    return rows_


@pytest.mark.parametrize("steps", [1, 7])
def test_chunks_change_nothing(steps):
    whole, loc = run()
    expected = loc.numpy()
    with steps_per_call(steps):
        cut, _ = run()
    np.testing.assert_array_equal(whole.elbo, cut.elbo)
    np.testing.assert_array_equal(expected, loc)


def test_continuing_is_one_longer_fit():
    whole, loc = run(steps=30)
    expected = loc.numpy()
    first, other = run(steps=11)
    other.assign([7.0, 7.0])  # the result holds the state, not the variables
    second = fit(
        SHARED[0],
        num_steps=19,
        data=DATA,
        batch_size=6,
        optimizer=keras.optimizers.Adam(0.1),
        init=first,
    )
    assert second.steps == 30
    np.testing.assert_array_equal(whole.elbo, second.elbo)
    np.testing.assert_array_equal(whole.standard_error, second.standard_error)
    np.testing.assert_array_equal(expected, other)


def test_nan_names_step_and_variable_and_keeps_the_last_finite_state():
    v = tf.Variable([0.0, 1.0], name="slope")

    def objective(step):
        # the value is finite at step 13, its gradient is not
        gap = tf.cast(tf.maximum(13 - step, 0), tf.float32)
        return tf.sqrt(gap * tf.reduce_sum(v**2)) - 1.0

    with pytest.raises(NonFiniteError, match="step 13: .*slope") as caught:
        fit(objective, num_steps=50, seed=0)
    kept = v.numpy()
    assert caught.value.step == 13
    assert caught.value.variables == ("slope",)
    assert caught.value.result.steps == 13
    v.assign([0.0, 1.0])
    fit(objective, num_steps=13, seed=0)
    np.testing.assert_array_equal(kept, v)


def test_estimate_is_climbed_by_its_surrogate_and_traced_by_its_elbo():
    v = tf.Variable(0.5)

    def objective(kl_weight):
        return Estimate(value=v * kl_weight, surrogate=2.0 * v, elbo=v)

    result = fit(
        objective,
        num_steps=3,
        seed=0,
        kl_schedule=0.25,
        optimizer=keras.optimizers.SGD(0.1),
    )
    np.testing.assert_allclose(result.elbo, [0.5, 0.7, 0.9], rtol=1e-6)
    np.testing.assert_allclose(result.kl_weight, 0.25)


def test_large_traces_shorten_the_calls_not_the_fit(monkeypatch):
    monkeypatch.setattr(program, "_BYTES_PER_CALL", 200)
    v = tf.Variable(tf.zeros([8]))

    def objective():
        return tf.reduce_sum(v[:1])

    calls = []
    run = program.OneDevice.run

    def counted(self, count, arguments):
        calls.append(count)
        return run(self, count, arguments)

    monkeypatch.setattr(program.OneDevice, "run", counted)
    result = fit(
        objective,
        num_steps=20,
        seed=0,
        optimizer=keras.optimizers.SGD(1.0),
        trace_fn=lambda traced: (traced.parameters[0], traced.step),
    )
    assert result.trace[0].shape == (20, 8)
    np.testing.assert_array_equal(result.trace[0][:, 0], np.arange(20))
    np.testing.assert_array_equal(result.trace[1], np.arange(20))
    # elbo, value, 8 numbers and a step of 4 bytes each: 44 bytes a step
    assert calls == [200 // 44] * 5


def test_what_weight_decay_leaves_out_stays_out():
    free, kept = (tf.Variable(1.0, name=name) for name in ("free", "kept"))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kept"])
    fit(
        lambda: 0.0 * (free + kept),
        num_steps=3,
        seed=0,
        optimizer=optimizer,
        progress=False,
    )
    assert float(kept) == 1.0 and float(free) < 0.9
