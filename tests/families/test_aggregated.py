"""The aggregated posterior and the VampPrior against mixtures written out by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import families
from elbo_tfp.families import aggregated
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions
FAMILY = families.mean_field(2, dtype=tf.float64)
RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, [7, 3])
Z = RNG.normal(size=[4, 5, 2])


class Network(tf.Module):
    """x [N, 3] -> parameters [N, 4]; also counts the rows that it was asked for."""

    def __init__(self):
        self.weights = tf.Variable(0.5 * np.random.default_rng(1).normal(size=[3, 4]))
        self.rows = []

    def __call__(self, x):
        self.rows.append(x.shape[0])
        return tf.tanh(x) @ self.weights


@pytest.fixture
def encoder():
    return families.Encoder(Network(), FAMILY)


def by_hand(encoder, x, z):
    """log 1/N sum_n prod_d N(z_d; m_nd, s_nd^2), datum by datum in NumPy."""
    q = encoder(x)
    m, s = q.mean().numpy(), q.stddev().numpy()
    total = 0
    for n in range(len(x)):
        u = (z - m[n]) / s[n]
        total += np.exp(-0.5 * np.sum(u**2, -1)) / np.prod(s[n])
    return np.log(total / len(x) / (2 * np.pi))


def integral(distribution, width=10.0, points=301):
    axis = np.linspace(-width, width, points)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return np.sum(np.exp(distribution.log_prob(grid))) * (axis[1] - axis[0]) ** 2


def test_aggregated_posterior_is_the_mixture_of_all_posteriors(encoder):
    q = families.aggregated_posterior(encoder, X)
    np.testing.assert_allclose(q.log_prob(Z), by_hand(encoder, X, Z), rtol=1e-12)
    assert q.event_shape == [2] and q.batch_shape == [] and q.dtype == tf.float64
    np.testing.assert_array_equal(q.event_shape_tensor(), [2])
    assert q.batch_shape_tensor().shape == [0]
    assert q.reparameterization_type == tfd.NOT_REPARAMETERIZED
    np.testing.assert_allclose(integral(q), 1, atol=1e-9)


def test_one_datum_is_its_own_posterior(encoder):
    one = families.aggregated_posterior(encoder, X[:1])
    close(one.log_prob(Z), encoder(X[:1]).log_prob(Z[..., None, :])[..., 0])


@pytest.mark.parametrize(
    "limit, most", [(1, 1), (39, 1), (80, 2), (120, 3), (279, 4), (280, 7)]
)
def test_pieces_of_the_data_give_the_same_sum_and_fit_the_limit(
    encoder, monkeypatch, limit, most
):
    monkeypatch.setattr(aggregated, "_NUMBERS_PER_CHUNK", limit)
    q = families.aggregated_posterior(encoder, X)
    rows = encoder.network.rows
    del rows[:]
    found = q.log_prob(Z)
    # 4 x 5 x 2 numbers of z, against a piece of the data at a time
    assert max(rows) == most and sum(rows) < len(X) + most
    np.testing.assert_allclose(found, by_hand(encoder, X, Z), rtol=1e-12)


def test_xla_gives_the_same_density_and_gradient_and_also_samples(encoder, monkeypatch):
    def both(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            log_q = q.log_prob(z)
        return log_q, tape.gradient(log_q, z)

    q, z = families.aggregated_posterior(encoder, X), tf.constant(Z)
    whole = both(z)
    monkeypatch.setattr(aggregated, "_NUMBERS_PER_CHUNK", 80)
    pieces, compiled = both(z), tf.function(both, jit_compile=True)(z)
    for one, other, third in zip(whole, pieces, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(one, third, rtol=1e-12, atol=1e-13)
    sample = tf.function(lambda seed: q.sample([2, 3], seed=seed), jit_compile=True)
    drawn = sample(tf.constant([0, 1])).numpy()
    assert drawn.shape == (2, 3, 2) and len(np.unique(drawn)) == 12


def test_a_size_that_is_only_known_later(encoder):
    q = families.aggregated_posterior(encoder, X)
    log_prob = tf.function(q.log_prob, autograph=False).get_concrete_function(
        tf.TensorSpec([None, 2], tf.float64)
    )
    close(log_prob(tf.constant(Z[0])), q.log_prob(Z[0]))
    sample = tf.function(lambda n: q.sample(n, seed=0), autograph=False)
    np.testing.assert_array_equal(sample(tf.constant(3)), q.sample(3, seed=0))


def test_samples_have_the_mixture_s_moments(encoder):
    q = families.aggregated_posterior(encoder, X)
    member = encoder(X)
    mean = member.mean().numpy().mean(0)
    second = (member.variance() + member.mean() ** 2).numpy().mean(0)
    close(q.mean(), mean)
    close(q.variance(), second - mean**2)
    z = q.sample(20_000, seed=0).numpy()
    assert_mean(z, mean, fault=0.15)
    assert_mean(z**2, second, fault=0.5)
    # every datum has its turn equally often
    assert_mean(-by_hand(encoder, X, z), _entropy(q), fault=0.1)
    np.testing.assert_array_equal(z, q.sample(20_000, seed=0))


def _entropy(q):
    axis = np.linspace(-12, 12, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_q = q.log_prob(grid).numpy()
    return -np.sum(np.exp(log_q) * log_q) * (axis[1] - axis[0]) ** 2


def test_the_encoder_is_read_afresh(encoder):
    q = families.aggregated_posterior(encoder, X)
    before = q.log_prob(Z).numpy()
    encoder.network.weights.assign_add(tf.ones([3, 4], tf.float64))
    np.testing.assert_allclose(q.log_prob(Z), by_hand(encoder, X, Z), rtol=1e-12)
    assert np.abs(q.log_prob(Z) - before).max() > 0.1


def test_a_copy_is_the_same_distribution(encoder):
    vamp = families.vamp_prior(encoder, X[:3], low=-2.0, high=2.0)
    for q in (families.aggregated_posterior(encoder, X), vamp):
        again = q.copy(name="Again")
        assert type(again) is type(q) and again.name == "Again"
        close(again.log_prob(Z), q.log_prob(Z))
    np.testing.assert_array_equal(again.pseudo_inputs, vamp.pseudo_inputs)
    assert [v.name for v in vamp.trainable_variables] == ["raw_pseudo_inputs:0"]


def test_latents_without_dimensions_and_encoders_that_are_functions():
    x = np.array([-1.0, 2.0])
    q = families.aggregated_posterior(lambda x: tfd.Normal(x, 0.5 * tf.ones_like(x)), x)
    z = np.array([[0.0, 1.0, 2.0]])
    exact = [tfd.Normal(m, np.float64(0.5)).prob(z) for m in x]
    close(q.log_prob(z), np.log(np.mean(exact, 0)))
    assert q.sample([2, 3], seed=0).shape == [2, 3]


def test_what_is_no_encoder(encoder):
    with says("expected encoder to be", "callable", "got int"):
        families.aggregated_posterior(3, X)
    with says("at least one datum", "(0, 3)"):
        families.aggregated_posterior(encoder, X[:0])
    with says("at least one datum", "()"):
        families.aggregated_posterior(encoder, np.float64(1))
    with says("one distribution per datum", "(7,)", "got (7, 2)", "Independent"):
        families.aggregated_posterior(lambda x: tfd.Normal(x[:, :2], 1.0), X)
    with says("one distribution per datum", "EagerTensor", "Encoder(network, family)"):
        families.aggregated_posterior(encoder.network, X)
    with says("data without NaN", "3 of 21"):
        families.aggregated_posterior(
            encoder, np.where(np.arange(7)[:, None], X, np.nan)
        )
    with says("z of event shape (2,)", "got shape (5, 3)"):
        families.aggregated_posterior(encoder, X).log_prob(np.zeros([5, 3]))


def test_vamp_prior_is_the_mixture_at_its_pseudo_inputs(encoder):
    prior = families.vamp_prior(encoder, X[:3], low=-2.0, high=2.0)
    np.testing.assert_allclose(prior.pseudo_inputs, X[:3], atol=1e-14)
    np.testing.assert_allclose(
        prior.log_prob(Z), by_hand(encoder, X[:3], Z), rtol=1e-12
    )
    np.testing.assert_allclose(integral(prior), 1, atol=1e-9)
    moved = np.array([[-9.0, 0.0, 1.0], [40.0, -40.0, 0.3], [0.1, 0.2, 0.3]])
    prior.trainable_variables[0].assign(moved)
    inputs = -2 + 4 / (1 + np.exp(-moved))
    close(prior.pseudo_inputs, inputs)
    np.testing.assert_allclose(
        prior.log_prob(Z), by_hand(encoder, inputs, Z), rtol=1e-12
    )


def test_pseudo_inputs_stay_in_the_range_wherever_training_takes_them(encoder):
    low, high = np.array([-2.0, 0.0, 1.0]), np.array([2.0, 16.0, 1.0])
    start = np.array([[-2.0, 16.0, 1.0], [0.5, 4.0, 1.0]])
    prior = families.vamp_prior(encoder, start, low=low, high=high)
    # the edge is a hundredth of the range away; a constant feature stays constant
    close(prior.pseudo_inputs, [[-1.96, 15.84, 1.0], [0.5, 4.0, 1.0]])
    (raw,) = prior.trainable_variables
    for way in (-1e3, 1e3):
        raw.assign(tf.fill([2, 3], np.float64(way)))
        inputs = prior.pseudo_inputs.numpy()
        assert (inputs >= low).all() and (inputs <= high).all()
        assert np.isfinite(prior.log_prob(Z)).all()


def test_gradients_reach_pseudo_inputs_and_encoder(encoder):
    prior = families.vamp_prior(encoder, X[:3], low=-2.0, high=2.0)
    (raw,) = prior.trainable_variables
    variables = raw, encoder.network.weights
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(prior.log_prob(Z))
    for v, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        step = np.zeros(v.shape)
        step[0, 1], kept = 1e-5, v.numpy()
        ends = []
        for sign in (1, -1):
            v.assign(kept + sign * step)
            ends.append(float(tf.reduce_sum(prior.log_prob(Z))))
        v.assign(kept)
        exact = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient[0, 1], exact, rtol=1e-6)
        assert abs(exact) > 0.01


def test_pseudo_inputs_that_cannot_be(encoder):
    def build(start=X, low=-2.0, high=2.0):
        return families.vamp_prior(encoder, start, low=low, high=high)

    outside = X.copy()
    outside[0, 0], outside[1, 1] = 2.5, -7.0
    with says("within the data's range, -2.0 to 2.0", "2 of 21", "-7.0 to 2.5", "[:K]"):
        build(outside)
    outside[:] = np.nan
    with says("within the data's range", "21 of 21"):
        build(outside)
    with says("expected low <= high", "low=3.0", "high=2.0"):
        build(low=3.0)
    with says("expected high, an end", "finite scalar", "(3,)", "[2., 2.]"):
        build(high=[2.0, 2.0])
    with says("expected low, an end", "inf"):
        build(low=-np.inf)
    with says("floating dtype and shape [K]", "int64"):
        build(np.zeros([2, 3], int))
    with says("floating dtype and shape [K]", "()"):
        build(np.float64(1.0))
    with says("at least one datum", "(0, 3)"):
        build(X[:0])
