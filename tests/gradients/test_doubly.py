"""`doubly_reparameterized`: by hand, by quadrature, against a frozen copy of q."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.gradients import (
    doubly_reparameterized,
    reparameterized,
    sticking_the_landing,
)
from elbo_tfp.ground.seeds import as_seed
from tests.statistics import assert_mean, says

tfd, tfb = tfp.distributions, tfp.bijectors
ONE = np.float64(1.0)


def trainable_normal(prior_loc):
    """z ~ N(variable, 1), x | z ~ N(z, 1)."""
    return et.LatentVariableModel(
        lambda: tfd.Normal(prior_loc, ONE), lambda z: tfd.Normal(z, ONE)
    )


class AtNodes:
    """A normal q that 'samples' at given standard normal numbers."""

    reparameterization_type = tfd.FULLY_REPARAMETERIZED

    def __init__(self, loc, scale, nodes):
        self.loc, self.scale, self.nodes = loc, scale, tf.constant(nodes)

    def sample(self, sample_shape, seed=None):
        return self.loc + self.scale * self.nodes

    def log_prob(self, z):
        return tfd.Normal(self.loc, self.scale).log_prob(z)


def gradients(estimator, target, q, variables, **sizes):
    with tf.GradientTape() as tape:
        found = estimator(target, q(), **sizes)
        bound = tf.reduce_sum(found.surrogate)
    return tape.gradient(bound, variables, unconnected_gradients="zero")


def test_hand_formula_on_a_fixed_draw():
    loc, raw, prior_loc = (tf.Variable(v, dtype=tf.float64) for v in (0.3, 0.8, -0.4))
    model, x = trainable_normal(prior_loc), np.float64(1.2)
    sizes = {"importance_sample_size": 3, "seed": 5}
    found = gradients(
        doubly_reparameterized,
        model.log_joint(x),
        lambda: tfd.Normal(loc, raw),
        [loc, raw, prior_loc],
        **sizes,
    )
    m, s, prior = 0.3, 0.8, -0.4
    draws = et.draw(model.log_joint(x), tfd.Normal(loc, raw), (1, 3), seed=5)
    z, w = draws.z.numpy()[0], np.exp(draws.log_weights.numpy()[0])
    share = w / w.sum()
    # d log w / d z = (m0 - z) + (x - z) + (z - m) / s^2
    slope = (prior - z) + (1.2 - z) + (z - m) / s**2
    by_hand = [
        np.sum(share**2 * slope),
        np.sum(share**2 * slope * (z - m) / s),
        np.sum(share * (z - prior)),
    ]
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)


BOUNDS = {
    "iwae": None,
    "elbo": et.bounds.elbo,
    "renyi of order 1/2": lambda w: et.bounds.renyi(w, alpha=0.5),
    "renyi of order 2": lambda w: et.bounds.renyi(w, alpha=2),
    "tvo": lambda w: et.bounds.tvo(w, [0, 0.3, 1]),
}


@pytest.mark.parametrize("climbed", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("estimator", [reparameterized, doubly_reparameterized])
def test_mean_gradient_by_quadrature_for_q_and_model(estimator, climbed):
    # Gauss-Hermite over both importance samples: no Monte Carlo error at all
    point = np.array([0.6, 0.7, -0.4])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    pairs = np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(1, 2, -1)
    mass = np.outer(weights, weights).ravel()
    x = np.full(mass.shape, 1.2)

    def estimate(point, estimator):
        loc, scale, prior_loc = tf.unstack(tf.convert_to_tensor(point))
        q = AtNodes(tf.fill(mass.shape, loc), tf.fill(mass.shape, scale), pairs)
        target = trainable_normal(prior_loc).log_joint(x)
        sizes = {"importance_sample_size": 2, "bound": climbed}
        return estimator(target, q, **sizes, seed=0)

    variable = tf.constant(point)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        bound = tf.reduce_sum(mass * estimate(variable, estimator).surrogate)
    found = tape.gradient(bound, variable).numpy()

    def exact(point):
        return np.sum(mass * estimate(point, reparameterized).value.numpy())

    steps = 1e-5 * np.eye(3)
    truth = [(exact(point + s) - exact(point - s)) / 2e-5 for s in steps]
    assert np.abs(truth).min() > 1e-3
    # the fault to catch multiplies the model's gradient by up to 5
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_mean_gradient_at_many_samples_is_that_of_iwae():
    # K = 8, one replicate per row, both estimators on the same noise
    rows = 60_000
    loc, log_scale, prior_loc = (
        tf.Variable(np.full(rows, v)) for v in (0.0, 0.3, -0.5)
    )
    target = trainable_normal(prior_loc).log_joint(np.full(rows, 1.0))
    variables = [loc, log_scale, prior_loc]
    plain, doubly = (
        gradients(
            estimator,
            target,
            lambda: tfd.Normal(loc, tf.exp(log_scale)),
            variables,
            importance_sample_size=8,
            seed=1,
        )
        for estimator in (reparameterized, doubly_reparameterized)
    )
    # q's: a paired difference; its error is a fraction of the gradient
    for ours, theirs in list(zip(doubly, plain, strict=True))[:2]:
        difference = (ours - theirs).numpy()
        assert_mean(difference, 0.0, fault=0.05)
        assert ours.numpy().std() < theirs.numpy().std()
    # the model's is the same number, sample by sample
    np.testing.assert_allclose(doubly[2], plain[2], rtol=1e-9)
    assert abs(plain[2].numpy().mean()) > 0.3


def test_one_sample_is_sticking_the_landing():
    loc, scale, prior_loc = (tf.Variable(v, dtype=tf.float64) for v in (0.3, 0.8, 0.1))
    target = trainable_normal(prior_loc).log_joint(np.array([1.0, 2.0]))
    doubly, sticking = (
        gradients(
            estimator,
            target,
            lambda: tfd.Normal([loc, loc], scale),
            [loc, scale, prior_loc],
            sample_size=3,
            seed=2,
        )
        for estimator in (doubly_reparameterized, sticking_the_landing)
    )
    np.testing.assert_allclose(doubly, sticking, rtol=1e-13)


@pytest.mark.parametrize("size", [1, 16])
def test_vanishes_at_the_posterior(size):
    model = et.models.normal_normal(dtype=tf.float64)
    loc, scale = tf.Variable(np.float64(2.5)), tf.Variable(np.float64(0.5) ** 0.5)
    found = gradients(
        doubly_reparameterized,
        model.log_joint(np.float64(5.0)),
        lambda: tfd.Normal(loc, scale),
        [loc, scale],
        importance_sample_size=size,
        seed=3,
    )
    assert np.abs(found).max() < 1e-14


def frozen_copy_gradient(target, build, parameters, size, seed):
    """The same estimator in another way: log w(z(phi), q frozen at phi)."""
    with tf.GradientTape() as tape:
        z = build(parameters).sample((1, size), seed=as_seed(seed))
        frozen = build([tf.stop_gradient(p) for p in parameters])
        z = tf.nest.map_structure(tf.identity, z)
        log_weights = target(z) - frozen.log_prob(z)
        share = tf.stop_gradient(tf.nn.softmax(log_weights, 1))
        bound = tf.reduce_sum(share**2 * log_weights)
    return tape.gradient(bound, parameters)


def lognormal(parameters):
    # built as a transformation, whose bijector remembers what it mapped
    return tfd.TransformedDistribution(tfd.Normal(*parameters), tfb.Exp())


def pair(parameters):
    loc, scale = parameters
    return tfd.JointDistributionNamed(
        {
            "w": lambda: tfd.Normal(loc, scale),
            "z": lambda w: tfd.Independent(
                tfd.Normal(w[..., None] * [1.0, 2.0], ONE), 1
            ),
        }
    )


def target_of_pair(z):
    return -0.5 * (z["w"] - 1) ** 2 - tf.reduce_sum((z["z"] - 0.5) ** 2, -1)


@pytest.mark.parametrize("case", ["transformed", "structured"])
def test_against_a_frozen_copy_of_q(case):
    parameters = [tf.Variable(v, dtype=tf.float64) for v in (0.4, 0.6)]
    if case == "transformed":
        build, rows = lognormal, np.float64(3.0)
        target = et.models.gamma_poisson(2.0, 0.7, dtype=tf.float64).log_joint(rows)
    else:
        build, target = pair, target_of_pair
    found = gradients(
        doubly_reparameterized,
        target,
        lambda: build(parameters),
        parameters,
        importance_sample_size=4,
        seed=9,
    )
    expected = frozen_copy_gradient(target, build, parameters, 4, 9)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.abs(expected).min() > 1e-3


def test_value_is_the_weighted_bound_and_finite_far_away():
    model = et.models.normal_normal(dtype=tf.float64)
    target = model.log_joint(np.array([1.0, 200.0]))
    loc = tf.Variable(np.zeros(2))
    found = doubly_reparameterized(
        target, tfd.Normal(loc, ONE), sample_size=2, importance_sample_size=3, seed=0
    )
    draws = et.draw(target, tfd.Normal(loc, ONE), (2, 3), seed=0)
    bound = tf.reduce_mean(et.bounds.iwae(draws, axis=1), 0)
    np.testing.assert_array_equal(found.value, bound)
    np.testing.assert_array_equal(found.surrogate, bound)
    np.testing.assert_allclose(found.elbo, tf.reduce_mean(draws.log_weights, (0, 1)))
    assert bound.numpy()[1] < -1e4
    (slope,) = gradients(
        doubly_reparameterized,
        target,
        lambda: tfd.Normal(loc, ONE),
        [loc],
        importance_sample_size=3,
        seed=0,
    )
    # where one weight has everything, d log w / d z = x - 2 z + (z - m) = 200 - z
    assert 190 < slope.numpy()[1] < 210


def test_compiles():
    loc = tf.Variable(np.zeros(2))
    target = et.models.normal_normal(dtype=tf.float64).log_joint(np.array([1.0, 2.0]))
    nodes = np.random.default_rng(0).standard_normal([1, 4, 2])

    def step():
        return gradients(
            doubly_reparameterized,
            target,
            lambda: AtNodes(loc, ONE, nodes),
            [loc],
            importance_sample_size=4,
            seed=0,
        )[0]

    compiled = tf.function(step, autograph=False, jit_compile=True)
    np.testing.assert_allclose(compiled(), step(), rtol=1e-12)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
def test_sizes_are_positive_ints(size):
    target = et.models.normal_normal().log_joint(1.0)
    q = tfd.Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="positive int"):
        doubly_reparameterized(target, q, importance_sample_size=size, seed=0)
    with pytest.raises(ValueError, match="positive int"):
        doubly_reparameterized(target, q, sample_size=size, seed=0)


def test_q_must_be_reparameterized():
    with pytest.raises(ValueError, match="reparameterized surrogate.*doubly"):
        doubly_reparameterized(
            lambda z: -z, tfd.Poisson(2.0), importance_sample_size=2, seed=0
        )


def test_a_global_latent_takes_one_sample():
    model = et.LatentVariableModel(
        tfd.Normal(0.0, 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0),
        global_prior=tfd.Normal(0.0, 1.0),
    )
    target = model.log_joint([1.0, 2.0], num_data=10)
    loc, shared = tf.Variable([0.5, 0.2]), tf.Variable(0.3)

    def q():
        return tfd.Normal(loc, 1.0), tfd.Normal(shared, 1.0)

    doubly, sticking = (
        gradients(e, target, q, [loc, shared], sample_size=4, seed=0)
        for e in (doubly_reparameterized, sticking_the_landing)
    )
    np.testing.assert_allclose(doubly[0], sticking[0], rtol=1e-5)
    np.testing.assert_allclose(doubly[1], sticking[1], rtol=1e-5)
    with pytest.raises(ValueError, match="without a global latent"):
        doubly_reparameterized(target, q(), importance_sample_size=2, seed=0)


def test_another_bound_at_the_posterior_has_no_gradient_for_q():
    # F4: every log-weight is log p(x), so that every power mean is, draw by draw
    loc, scale = (tf.Variable(v, dtype=tf.float64) for v in (2.5, 0.5**0.5))
    target = et.models.normal_normal(dtype=tf.float64).log_joint(np.float64(5.0))
    for bound in BOUNDS.values():
        found = gradients(
            doubly_reparameterized,
            target,
            lambda: tfd.Normal(loc, scale),
            [loc, scale],
            importance_sample_size=4,
            seed=0,
            bound=bound,
        )
        assert np.abs(found).max() < 1e-14


def test_a_bound_of_more_than_log_weights_is_refused():
    target = et.models.normal_normal(dtype=tf.float64).log_joint(np.ones(2))
    q = tfd.Normal(np.zeros(2), ONE)
    with says("bound of the log-weights alone", "log_likelihood", "reparameterized"):
        doubly_reparameterized(
            target, q, bound=lambda d: tf.reduce_mean(d.log_likelihood, 0), seed=0
        )
