"""Families as priors: normalized, trained in a compiled fit, swapped in one call."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import families
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions
RNG = np.random.default_rng(0)
X = RNG.normal(size=[6, 3])
Z = RNG.normal(size=[1, 6, 2])
WEIGHTS = RNG.normal(size=[2, 3])


def encoder():
    weights = tf.Variable(np.random.default_rng(1).normal(size=[3, 4]))
    return families.Encoder(
        lambda x: tf.tanh(x) @ weights, families.mean_field(2, dtype=tf.float64)
    )


def priors():
    """Every trainable prior, a little beside its start."""
    found = {
        "mixture": families.mixture(2, 3, dtype=tf.float64, seed=0),
        "student_t": families.student_t(2, df=3.0, dtype=tf.float64, seed=1),
        "flow": families.flow(
            2, num_layers=1, hidden=(5,), num_bins=4, dtype=tf.float64, seed=2
        ),
        "vamp_prior": families.vamp_prior(encoder(), X[:2], low=-3.0, high=3.0),
    }
    for prior in found.values():
        for i, v in enumerate(prior.trainable_variables):
            noise = tf.random.stateless_normal(v.shape, [3, i], dtype=v.dtype)
            v.assign_add(0.2 * noise)
    return found


def linear(prior):
    return et.LatentVariableModel(
        prior,
        lambda z: tfd.Independent(
            tfd.Normal(tf.linalg.matvec(WEIGHTS.T, z), np.float64(0.5)), 1
        ),
    )


@pytest.mark.parametrize("name", priors())
def test_every_prior_integrates_to_one(name):
    # z = sinh(t), whose steps grow with the tails
    t, step = np.linspace(-9, 9, 361, retstep=True)
    grid = np.stack(np.meshgrid(np.sinh(t), np.sinh(t)), -1)
    area = np.cosh(t)[:, None] * np.cosh(t) * step**2
    total = np.sum(np.exp(priors()[name].log_prob(grid)) * area)
    np.testing.assert_allclose(total, 1, atol=2e-4)


def test_gradients_reach_every_prior_inside_a_compiled_fit():
    """One step of plain ascent moves each variable by the gradient taken eagerly."""
    import keras

    found = priors()
    models = [linear(prior) for prior in found.values()]
    shared = tf.Variable(Z)

    def objective(batch):
        return tf.add_n([model.log_joint(batch)(shared)[0] for model in models])

    variables = [v for prior in found.values() for v in prior.trainable_variables]
    before = [v.numpy() for v in variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(objective(tf.constant(X)))
    gradients = tape.gradient(total, variables)
    result = et.fit(
        objective,
        num_steps=1,
        data=X,
        optimizer=keras.optimizers.SGD(0.5),
        seed=0,
        progress=False,
    )
    assert result.compiled
    trained = {id(v) for v in result.variables}
    for v, old, gradient in zip(variables, before, gradients, strict=True):
        assert id(v) in trained and np.abs(gradient).max() > 1e-4, v.name
        np.testing.assert_allclose(v - old, 0.5 * gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", priors())
def test_a_model_under_every_prior_simulates_and_scores(name):
    prior = priors()[name]
    model = linear(tfd.MultivariateNormalDiag(np.zeros(2))).with_prior(prior)
    z, x = model.sample(4_000, seed=0)
    assert z.shape == (4_000, 2) and x.shape == (4_000, 3)
    inside = np.all(np.abs(z) < 1, 1)
    t, step = np.linspace(-1, 1, 401, retstep=True)
    middle = (t[1:] + t[:-1]) / 2
    grid = np.stack(np.meshgrid(middle, middle), -1)
    mass = np.sum(np.exp(prior.log_prob(grid))) * step**2
    assert_mean(inside, mass, fault=0.07)
    joint = model.joint()
    both = {"z": Z[0], "x": X}
    close(joint.log_prob(both), model.log_joint(X)(tf.constant(Z[0])))
    np.testing.assert_array_equal(joint.sample(seed=(0, 1))["z"].shape, [2])


def test_a_fitted_vae_under_another_prior_keeps_its_decoder():
    likelihood = et.models.gaussian(3, dtype=tf.float64)
    model, encoder = et.models.vae(
        3, 2, hidden=(4,), likelihood=likelihood, dtype=tf.float64, seed=0
    )
    mixture = families.mixture(2, 3, dtype=tf.float64, seed=0)
    swapped = model.with_prior(mixture)
    assert swapped.prior is mixture
    close(swapped.likelihood(Z).mean(), model.likelihood(Z).mean())
    target = swapped.log_joint(X)
    old, new = (m.log_joint(X).log_parts(tf.constant(Z)) for m in (model, swapped))
    close(new[0], old[0])
    close(new[1], mixture.log_prob(Z))
    assert target.model is swapped
    vamp = families.vamp_prior(encoder, X[:2], low=-4.0, high=4.0)
    aggregated = families.aggregated_posterior(encoder, X)
    for prior in (vamp, aggregated, lambda: mixture.current):
        parts = et.bounds.decompose(model.with_prior(prior), encoder(X), X, 3, seed=0)
        assert parts.kl.shape == [6] and not parts.kl_is_exact
        # the same draws of z: only the rate has changed
        same = et.bounds.decompose(model, encoder(X), X, 3, seed=0)
        close(parts.reconstruction, same.reconstruction)


def test_a_prior_that_does_not_fit_the_decoder():
    model = linear(tfd.MultivariateNormalDiag(np.zeros(2)))
    with says("prior of event shape (2,)", "float64", "got (3,)"):
        model.with_prior(families.mixture(3, 2, dtype=tf.float64, seed=0))
    with says("prior of event shape (2,)", "got ()", "tfd.Independent"):
        model.with_prior(tfd.Normal(np.zeros(2), 1.0))
    with says("prior of event shape (2,)", "float64", "float32", "pass dtype="):
        model.with_prior(lambda: families.student_t(2))
    with says("expected prior to be a distribution"):
        model.with_prior(3.0)
    discrete = et.LatentVariableModel(tfd.OneHotCategorical([0.0, 0.0]), lambda z: z)
    relaxed = tfd.RelaxedOneHotCategorical(1.0, logits=[0.0, 0.0])
    assert discrete.with_prior(relaxed).prior is relaxed
