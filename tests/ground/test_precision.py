"""TF32: off unless asked for, in every compiled program, and put back afterwards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.ground import compiled, precision

tfd = tfp.distributions
flag = tf.config.experimental.tensor_float_32_execution_enabled
switch = tf.config.experimental.enable_tensor_float_32_execution
X = np.float32([[0.5, 1.0], [-1.0, 0.2]])


@pytest.fixture(autouse=True)
def switched_on():
    """The flag as someone else left it; nothing here may change that."""
    switch(True)
    compiled.clear()
    yield
    assert flag()
    switch(False)


@pytest.fixture
def seen(monkeypatch):
    """The flag at each run of a program."""
    found, runner = [], compiled._runner

    def watched(*given):
        run = runner(*given)
        return lambda *flat: found.append(flag()) or run(*flat)

    monkeypatch.setattr(compiled, "_runner", watched)
    return found


def test_importing_switches_it_off():
    code = (
        "import tensorflow as tf, elbo_tfp;"
        "print(tf.config.experimental.tensor_float_32_execution_enabled())"
    )
    here = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here)
    assert done.stdout.split()[-1] == "False"


def model_and_q():
    model = et.models.linear_gaussian(tf.constant([[1.0], [0.5]]), noise_scale=0.7)
    return model, et.families.mean_field(1, batch_shape=[2])


def evidence():
    model, q = model_and_q()
    et.evidence.estimate(model, X, surrogate_posterior=q, sample_size=500, seed=0)


def climb():
    model, q = model_and_q()

    def bound(seed):
        return et.gradients.reparameterized(model.log_joint(X), q, seed=seed)

    et.fit(bound, num_steps=2, seed=0)


def annealed():
    model, q = model_and_q()
    method = et.evidence.Annealed(num_temperatures=3, sample_size=2)
    et.evidence.estimate(model, X, method, surrogate_posterior=q, seed=0)


def refined():
    model, _ = model_and_q()
    family = et.families.mean_field(1)
    encoder = et.Encoder(tf.zeros_like, family)
    et.gaps.refine(encoder, model, X, num_steps=3, max_rounds=1, seed=0)


def variance():
    model, q = model_and_q()
    target, variables = model.log_joint(X), [q.free_parameters]
    estimator = et.gradients.reparameterized
    et.gradients.per_sample(estimator, target, q, variables, num_samples=3, seed=0)


ROOMS = {
    "evidence": evidence,
    "annealed": annealed,
    "fitting": climb,
    "gaps": refined,
    "gradients": variance,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("room", ROOMS)
def test_every_room_runs_in_full_unless_asked(room, seen):
    ROOMS[room]()
    assert seen and not any(seen) and flag()
    full = len(seen)
    with et.fitting.tf32():
        ROOMS[room]()
    assert len(seen) > full and any(seen[full:]) and flag()


def test_held_out_bounds_are_in_full_also_while_a_network_trains_in_tf32(seen):
    v = tf.Variable(0.0)
    with et.fitting.tf32():
        et.fit(
            lambda batch: -tf.square(batch - v),
            num_steps=4,
            data=X[:, 0],
            seed=0,
            held_out=et.fitting.HoldOut(X[:, 1], every=2),
        )
    assert {True, False} == set(seen)


def test_programs_are_not_shared_across_precisions(seen):
    def product(x):
        return x @ x

    def run():
        return compiled.compiled(product, tf.constant(X))(tf.constant(X))

    run(), run()
    assert compiled.count() == 1
    with precision.tf32():
        inside = compiled.compiled(product, tf.constant(X))
        assert compiled.count() == 2
        with precision.tf32(False):
            run()
    # a program keeps the precision that it was made for, wherever it is called
    inside(tf.constant(X))
    assert seen == [False, False, False, True] and compiled.count() == 2


def test_an_error_puts_the_flag_back():
    switch(True)
    with pytest.raises(ZeroDivisionError), precision.running(False):
        assert not flag()
        raise ZeroDivisionError
    assert flag()
    with pytest.raises(ZeroDivisionError), precision.tf32():
        raise ZeroDivisionError
    assert not precision.allowed()


def mixed(policy, units):
    import keras

    return keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(units, dtype=policy)], name="mixed"
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_networks_give_log_weights_in_float32(policy):
    network, decoder = mixed(policy, 4), mixed(policy, 2)
    assert network(X).dtype.name == policy.removeprefix("mixed_")
    encoder = et.Encoder(network, et.families.mean_field(2))
    likelihood = et.models.likelihoods.gaussian(2)
    prior = tfd.Independent(tfd.Normal(tf.zeros(2), tf.ones(2)), 1)

    def decode(z):
        flat = decoder(tf.reshape(z, [-1, 2]))
        return likelihood(tf.reshape(flat, tf.shape(z)))

    model = et.models.LatentVariableModel(prior, decode)
    draws = et.draw(model.log_joint(X), encoder(X), 3, seed=0)
    assert draws.log_weights.dtype == draws.z.dtype == tf.float32
    # the numbers are those of the 16-bit outputs, seen in float32
    loc, raw = np.split(network(X).numpy().astype("float32"), 2, -1)
    q = tfd.Independent(tfd.Normal(loc, et.families.base.positive(tf.constant(raw))), 1)
    np.testing.assert_allclose(draws.log_q, q.log_prob(draws.z), rtol=1e-5, atol=1e-5)

    def bound(batch, seed):
        target = model.log_joint(batch)
        return et.gradients.reparameterized(target, encoder(batch), seed=seed)

    trained = et.fit(bound, num_steps=3, data=X, seed=0)
    assert trained.elbo.dtype == np.float32 and np.isfinite(trained.elbo).all()


def test_a_density_in_half_precision_is_refused():
    def half(dtype):
        q = tfd.Normal(tf.zeros([2], dtype), tf.ones([], dtype))
        return et.draw(lambda z: q.log_prob(z), q, 3, seed=0)

    for dtype in (tf.float16, tf.bfloat16):
        with pytest.raises(ValueError, match=f"float32 or float64; got {dtype.name}.*"):
            half(dtype)
    assert half(tf.float64).log_q.dtype == tf.float64


def test_a_vae_takes_a_mixed_policy():
    for make in (et.models.vae, et.models.convolutional_vae):
        shape = 2 if make is et.models.vae else (4, 4)
        model, encoder = make(shape, 2, dtype="mixed_bfloat16", seed=0)
        wide, _ = make(shape, 2, seed=0)
        x = np.ones([3, *np.atleast_1d(shape)], np.float32)
        x[0] = 0
        draws = et.draw(model.log_joint(x), encoder(x), 5, seed=1)
        assert draws.log_weights.dtype == tf.float32
        there = et.draw(wide.log_joint(x), encoder(x), 5, seed=1).log_likelihood
        gap = np.abs(draws.log_likelihood - there).max()
        assert 0 < gap < 0.5  # rounded, but not another network
