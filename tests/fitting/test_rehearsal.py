"""One eager step first: what XLA would not notice, and nothing is changed by it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.fitting import fit

tfd = tfp.distributions
DATA = np.random.default_rng(0).normal(5.0, 3.0, [64, 4]).astype(np.float32)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_an_index_out_of_range_is_seen_wherever_it_is(batch_size):
    codes = np.zeros(40, np.int32)
    codes[33] = 3
    v = tf.Variable([1.0, 2.0, 3.0])

    def objective(batch):
        return tf.gather(v, batch)

    with pytest.raises(ValueError, match=r"= 3 is not in \[0, 3\).*XLA"):
        fit(objective, num_steps=2, data=codes, batch_size=batch_size, seed=0)
    np.testing.assert_array_equal(v, [1, 2, 3])
    fit(objective, num_steps=2, data=codes // 2, batch_size=batch_size, seed=0)


def test_an_assertion_counts_and_what_it_changed_is_put_back():
    v, calls = tf.Variable(1.0), tf.Variable(0.0, trainable=False)

    def objective(batch):
        calls.assign_add(1.0)
        tf.debugging.assert_less(batch, 3.0, "too large")
        return v * batch

    with pytest.raises(ValueError, match="too large"):
        fit(objective, num_steps=2, data=np.float32([1, 2, 4]), seed=0)
    assert calls.numpy() == 0.0
    fit(objective, num_steps=2, data=np.float32([1, 2]), seed=0)
    assert calls.numpy() == 2.0


def test_it_changes_no_number_of_stateful_layers():
    def trained(steps):
        norm = keras.layers.BatchNormalization(momentum=0.5)
        dropout = keras.layers.Dropout(0.5, seed=0)
        norm.build([None, 4])

        def objective(batch, training):
            h = dropout(norm(batch, training=training), training=training)
            return -tf.reduce_mean(h**2, -1)

        zero = keras.optimizers.SGD(0.0)
        for n in steps:
            fit(objective, num_steps=n, data=DATA, seed=0, optimizer=zero)
        return norm.moving_mean.numpy(), dropout.seed_generator.state.numpy()

    for once, twice in zip(trained([2]), trained([1, 1]), strict=True):
        np.testing.assert_array_equal(once, twice)
    mean = DATA.mean(0)
    np.testing.assert_allclose(trained([2])[0], 0.75 * mean, rtol=1e-5)


def encoder_with(*layers):
    family = et.families.mean_field(2)
    layers = [*layers, keras.layers.Dense(family.parameters_size)]
    return et.Encoder(keras.Sequential(layers), family)


MODEL = et.LatentVariableModel(
    tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2)),
    lambda z: tfd.Independent(tfd.Normal(tf.concat([z, z], -1) + 5.0, 3.0), 1),
)


def climb(encoder, data=DATA, **keywords):
    def objective(batch, seed):
        target, q = MODEL.log_joint(batch), encoder(batch)
        return et.gradients.reparameterized(target, q, seed=seed)

    return fit(objective, data=data, seed=0, **{"num_steps": 40, **keywords})


def test_training_reaches_the_network_of_an_encoder():
    norm = keras.layers.BatchNormalization(momentum=0.5)
    dropout = keras.layers.Dropout(0.5, seed=0)
    encoder = encoder_with(norm, dropout)
    climb(encoder)
    np.testing.assert_allclose(norm.moving_mean, DATA.mean(0), rtol=1e-3)
    # and nowhere else: the same q twice
    np.testing.assert_array_equal(encoder(DATA).mean(), encoder(DATA).mean())
    state = dropout.seed_generator.state.numpy()
    assert np.any(encoder(DATA, training=True).mean() != encoder(DATA).mean())
    assert np.any(dropout.seed_generator.state.numpy() != state)


def test_moments_that_stand_still_are_a_warning():
    norm = keras.layers.BatchNormalization()

    def objective(batch):
        return -tf.reduce_mean(norm(batch) ** 2, -1)

    with pytest.warns(UserWarning, match="moving_mean .*training=True"):
        fit(objective, num_steps=2, data=DATA, seed=0)


def test_a_failed_call_spoils_no_later_one():
    encoder = encoder_with(keras.layers.Dense(8, activation="tanh"))
    with pytest.raises(ValueError, match="float64"):
        climb(encoder, DATA.astype(np.float64), num_steps=2)
    before = encoder(DATA).mean().numpy()
    assert np.ptp(before) > 0
    climb(encoder, num_steps=2)
    assert np.any(encoder(DATA).mean() != before)


def test_a_variable_made_at_every_call_is_refused():
    def objective(batch):
        return tf.Variable(1.0, name="lost") * batch[:, 0]

    with pytest.raises(ValueError, match=r"makes a new variable \(lost\) at every"):
        fit(objective, num_steps=2, data=DATA, seed=0)


def test_a_frozen_layer_of_tf_keras_stays():
    tf_keras = pytest.importorskip("tf_keras")
    first, second = tf_keras.layers.Dense(3), tf_keras.layers.Dense(1)
    second(first(DATA))
    first.trainable = False
    kernels = first.kernel.numpy(), second.kernel.numpy()
    result = fit(
        lambda batch: -(second(first(batch))[:, 0] ** 2),
        num_steps=2,
        data=DATA,
        seed=0,
    )
    np.testing.assert_array_equal(first.kernel, kernels[0])
    assert np.any(second.kernel.numpy() != kernels[1]) and len(result.variables) == 2


def test_a_scalar_on_minibatches_without_num_data_is_a_warning():
    v = tf.Variable(0.0)

    def total(batch):
        return -tf.reduce_sum((batch[:, 0] - v) ** 2)

    keywords = {"num_steps": 1, "data": DATA, "seed": 0}
    with pytest.warns(UserWarning, match="feeds 8 of 64 rows.*num_data / batch size"):
        fit(total, batch_size=8, **keywords)
    fit(total, **keywords)
    fit(lambda batch, num_data: num_data * total(batch), batch_size=8, **keywords)
    fit(lambda batch: -((batch[:, 0] - v) ** 2), batch_size=8, **keywords)


def test_structures_flow_through(tmp_path):
    v = tf.Variable(0.0)
    data = {"x": DATA, "mask": DATA > 5.0, "given": (np.arange(64), DATA[:, 0])}

    def objective(batch, seed):
        x = tf.where(batch["mask"], batch["x"], v)
        return -tf.reduce_sum(x, -1) + batch["given"][1] * 0.0

    keywords = {"num_steps": 3, "seed": 0, "held_out": data, "checkpoint": tmp_path}
    fit(objective, data=data, batch_size=8, **keywords)
    share = -(DATA <= 5.0).sum() / 64
    slope = fit(
        objective,
        num_steps=1,
        data=tf.data.Dataset.from_tensor_slices(data).batch(64),
        seed=0,
        trace_fn=lambda traced: traced.gradients[0],
    )
    np.testing.assert_allclose(slope.trace, [share], rtol=1e-6)
