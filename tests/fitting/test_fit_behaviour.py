"""`fit`: state, shards, streams, interrupts, compilations, restarts."""

import os
import signal
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.fitting import Checkpoint, EarlyStopping, HoldOut, fit
from elbo_tfp.fitting.run import steps_per_call
from elbo_tfp.fitting.seeding import step_seeds
from elbo_tfp.ground.seeds import fold_in

DATA = np.random.default_rng(0).normal(1.0, 1.0, [12, 2]).astype(np.float32)


def sgd(rate=0.05):
    return keras.optimizers.SGD(rate)


def quadratic():
    v = tf.Variable([0.0, 0.0], name="v")

    def objective(batch, seed):
        noise = tf.random.stateless_normal([batch.shape[0], 2], seed)
        return -tf.reduce_sum((batch + 0.1 * noise - v) ** 2, -1)

    return objective, v


@pytest.mark.parametrize("seed", [(0, 3), (-5, 2**31 - 1), (-(2**31), -1)])
def test_seeds_on_the_host_are_those_of_fold_in(seed):
    expected = [
        [fold_in(fold_in(np.int32(seed), step), r) for r in range(3)]
        for step in range(7, 12)
    ]
    np.testing.assert_array_equal(step_seeds(seed, 7, 5, 3), expected)


def test_shards_are_what_replicas_would_compute():
    objective, v = quadratic()
    result = fit(objective, num_steps=3, data=DATA, seed=5, shards=3, optimizer=sgd())
    other = tf.zeros([2])

    @tf.function(jit_compile=True)
    def replica(part, seed, value):
        with tf.GradientTape() as tape:
            tape.watch(value)
            noise = tf.random.stateless_normal([4, 2], seed)
            bound = -tf.reduce_sum((part + 0.1 * noise - value) ** 2, -1)
            mean = tf.reduce_mean(bound)
        return bound, tape.gradient(mean, value)

    for step in range(3):
        seeds = [fold_in(fold_in(5, step), r) for r in range(3)]
        parts = [DATA[4 * r : 4 * r + 4] for r in range(3)]
        out = [replica(p, s, other) for p, s in zip(parts, seeds, strict=True)]
        bounds = np.concatenate([bound for bound, _ in out])
        np.testing.assert_allclose(result.elbo[step], bounds.mean(), rtol=1e-6)
        error = bounds.std(ddof=1) / np.sqrt(12)
        np.testing.assert_allclose(result.standard_error[step], error, rtol=1e-5)
        other = other + 0.05 * sum(g for _, g in out) / 3
    np.testing.assert_allclose(v, other, rtol=1e-6)


def test_stateful_layers_are_captured_and_frozen_ones_left_alone():
    network = keras.Sequential(
        [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    head = keras.layers.Dense(1)
    dropout = keras.layers.Dropout(0.5, seed=1)
    frozen = keras.layers.Dense(2)
    for layer, width in ((network, 2), (head, 3), (frozen, 2)):
        layer.build([None, width])
    frozen.trainable = False

    def objective(batch, training):
        h = network(frozen(batch), training=training)
        return -tf.reduce_sum(head(dropout(h, training=training)) ** 2, -1)

    before = [v.numpy() for v in frozen.variables]
    moments = [v.numpy() for v in network.layers[1].non_trainable_variables]
    keywords = {"data": DATA, "batch_size": 4, "seed": 0, "optimizer": sgd(0.01)}
    result = fit(objective, num_steps=6, **keywords, held_out=HoldOut(DATA, 1))
    trained = {id(v) for v in result.variables}
    assert trained == {
        id(v.value) for v in network.trainable_variables + head.trainable_variables
    }
    for now, then in zip(frozen.variables, before, strict=True):
        np.testing.assert_array_equal(now.value, then)
    layer = network.layers[1]
    moved = [v.numpy() for v in layer.non_trainable_variables]
    assert all(np.any(a != b) for a, b in zip(moved, moments, strict=True))
    captured = {id(v) for v in result.state.variables}
    assert {id(v.value) for v in layer.non_trainable_variables} <= captured
    assert id(dropout.seed_generator.state.value) in captured
    # a continuation restores all of it, and held-out evaluations leave no mark
    for v in layer.non_trainable_variables:
        v.assign(v * 0 + 7)
    second = fit(objective, num_steps=3, **{**keywords, "seed": None}, init=result)
    after = second.state.values
    result.state.variables[0].assign(result.state.values[0])
    for v, value in zip(result.state.variables, result.state.values, strict=True):
        v.assign(value)
    again = fit(objective, num_steps=3, **{**keywords, "seed": None}, init=result)
    for a, b in zip(after, again.state.values, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(second.elbo, again.elbo)


def test_trainable_variables_freeze_the_others():
    objective, v = quadratic()
    w = tf.Variable(1.0, name="w")

    def both(batch, seed):
        return objective(batch, seed) * w

    result = fit(
        both, num_steps=2, data=DATA, seed=0, trainable_variables=[v], optimizer=sgd()
    )
    assert [x is v for x in result.variables] == [True]
    assert w.numpy() == 1.0 and np.any(v.numpy() != 0)


def test_held_out_is_paired_unweighted_and_not_training():
    v = tf.Variable(0.0)
    seen = []

    def objective(batch, seed, kl_weight, training):
        seen.append(training)
        noise = tf.random.stateless_normal([batch.shape[0]], seed)
        return v - kl_weight * 2.0 + noise + 0.0 * batch[:, 0]

    result = fit(
        objective,
        num_steps=6,
        data=DATA,
        batch_size=4,
        seed=0,
        kl_schedule=0.5,
        held_out=HoldOut(DATA[:9], every=2),
        optimizer=sgd(0.25),
    )
    np.testing.assert_array_equal(result.held_out.step, [2, 4, 6])
    # the same noise each time, so evaluations differ by the change of v alone
    np.testing.assert_allclose(np.diff(result.held_out.elbo), 0.5, rtol=1e-5)
    assert np.ptp(result.held_out.standard_error) < 1e-6
    noise = result.held_out.elbo[0] - 0.5 + 2.0
    assert abs(noise) < 4 / np.sqrt(9)
    assert set(seen) == {True, False}
    # the trace is un-annealed too: value - 2, not value - 1
    np.testing.assert_allclose(result.elbo.mean(), 0.625 - 2.0, atol=4 / np.sqrt(24))


def test_a_stream_feeds_the_same_batches_under_any_chunking():
    rows = np.arange(10, dtype=np.float32)
    v = tf.Variable(0.0)

    def objective(batch):
        return v * 0.0 + batch

    dataset = tf.data.Dataset.from_tensor_slices(rows)
    # rows 8 and 9 are followed by 0 and 1 of the next epoch
    expected = [1.5, 5.5, 4.5, 3.5, 7.5]
    for data, size in ((dataset, 4), (dataset.batch(4), None)):
        for steps in (None, 2):
            with steps_per_call(steps):
                result = fit(objective, num_steps=5, data=data, batch_size=size, seed=0)
            np.testing.assert_allclose(result.elbo, expected)
    first = fit(objective, num_steps=3, data=dataset, batch_size=4, seed=0)
    rest = fit(objective, num_steps=2, data=dataset, batch_size=4, init=first)
    np.testing.assert_allclose(rest.elbo, expected)


def test_a_stream_is_checked():
    v = tf.Variable(0.0)
    rows = np.float32([1, 2, np.nan, 4])
    bad = tf.data.Dataset.from_tensor_slices(rows)
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit(lambda batch: v * batch, num_steps=4, data=bad, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="no full batch"):
        fit(lambda batch: v * batch, num_steps=4, data=bad, batch_size=5, seed=0)


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal, also where the run was started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_returns_what_there_is(tmp_path, ctrl_c):
    v = tf.Variable(0.0)

    def objective(seed):
        return -(v**2) + tf.reduce_sum(tf.random.stateless_normal([100, 100], seed))

    fit(objective, num_steps=1, seed=0)

    def press():
        while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    result = fit(objective, num_steps=10**7, seed=0, checkpoint=tmp_path)
    assert result.interrupted
    assert 0 < result.steps == len(result.elbo) < 10**7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    more = fit(objective, num_steps=5, init=result)
    assert more.steps == result.steps + 5 and not more.interrupted
    kept = fit(
        objective,
        num_steps=result.steps,
        seed=0,
        checkpoint=Checkpoint(tmp_path, every=10**6, resume=True),
    )
    np.testing.assert_array_equal(kept.elbo, result.elbo)


def test_what_an_evaluation_changes_is_put_back():
    v, calls = tf.Variable(0.0), tf.Variable(0.0, trainable=False)

    def objective(batch, seed):
        calls.assign_add(1.0)
        return 0.0 * batch[:, 0] + v

    keywords = {"data": DATA, "seed": 0, "optimizer": sgd(0.25)}
    held_out = HoldOut(DATA[:1], every=2)
    result = fit(objective, num_steps=4, held_out=held_out, **keywords)
    assert calls.numpy() == 4.0 and v.numpy() == 1.0
    np.testing.assert_array_equal(result.held_out.elbo, [0.5, 1.0])
    # one datum has no spread
    assert np.isnan(result.held_out.standard_error).all()


def test_convergence_by_default_ends_a_fit():
    objective, _ = quadratic()
    keywords = {"num_steps": 20_000, "data": DATA, "seed": 0, "optimizer": sgd()}
    stopped = fit(objective, convergence_criterion=True, **keywords)
    assert stopped.converged and 1_000 < stopped.steps < 20_000


def test_early_stopping_needs_held_out_data():
    objective, _ = quadratic()
    with pytest.raises(ValueError, match="pass held_out="):
        fit(
            objective,
            num_steps=5,
            data=DATA,
            seed=0,
            convergence_criterion=EarlyStopping(),
        )


def test_an_op_that_xla_refuses_falls_back_with_its_name():
    v = tf.Variable(0.5)

    def objective(seed):
        draws = tfp.distributions.NegativeBinomial(5.0, probs=0.5).sample(3, seed=seed)
        return -(v**2) + 0.0 * tf.reduce_mean(draws)

    with pytest.warns(UserWarning, match=r"XLA cannot compile .*op \w+.*jit_compile"):
        result = fit(objective, num_steps=3, seed=0, optimizer=sgd(0.1))
    assert not result.compiled
    np.testing.assert_allclose(v, 0.5 * 0.8**3, rtol=1e-6)
    plain = fit(objective, num_steps=3, seed=0, optimizer=sgd(0.1), jit_compile=False)
    assert not plain.compiled


@pytest.mark.parametrize(
    "name",
    ["Adadelta", "Adagrad", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion"]
    + ["Nadam", "RMSprop"],
)
def test_keras_optimizers_work(name):
    v = tf.Variable([0.3, -0.4], dtype=tf.float64)
    optimizer = getattr(keras.optimizers, name)(0.01)
    fit(lambda: -tf.reduce_sum(v**2), num_steps=4, seed=0, optimizer=optimizer)
    w = tf.Variable([0.3, -0.4], dtype=tf.float64)
    again = getattr(keras.optimizers, name)(0.01)
    for _ in range(4):
        again.apply([2 * w], [w])
    np.testing.assert_allclose(v, w, rtol=1e-6)
    assert not optimizer.built  # a recipe, left as it was


def test_schedules_and_custom_optimizers():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    v = tf.Variable(0.0)
    fit(lambda: v, num_steps=4, seed=0, optimizer=keras.optimizers.SGD(rate))
    np.testing.assert_allclose(v, 0.5 + 0.5 + 0.25 + 0.25)

    class Doubled(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(2.0 * gradient, variable, learning_rate)

    own = Doubled(0.5, momentum=0.5)
    for _ in range(2):
        v.assign(0.0)
        fit(lambda: v + 0.0, num_steps=2, seed=0, optimizer=own)
        # 1, then 1 + momentum 0.5: the second fit starts without momentum
        np.testing.assert_allclose(v, 1.0 + 1.5)
