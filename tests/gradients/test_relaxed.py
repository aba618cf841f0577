"""`relaxed`: hard values, soft slopes by quadrature, an unbiased model gradient."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.gradients import relaxed
from elbo_tfp.gradients.relaxed import _Corners, _soften
from tests.statistics import assert_mean

tfd = tfp.distributions
LOGITS = np.array([0.2, -0.5, 1.1])


def bernoulli(logits):
    return tfd.Bernoulli(logits=logits, dtype=tf.float64)


def one_hot(logits):
    return tfd.OneHotCategorical(logits, dtype=tf.float64)


@pytest.fixture(scope="module")
def softened():
    q = one_hot(tf.constant(LOGITS))
    z = q.sample(20_000, seed=(0, 3))
    return q, z.numpy(), _soften(_Corners.of(q), z, 1.0, tf.constant([1, 2])).numpy()


def test_soft_samples_point_where_the_hard_ones_do(softened):
    _, z, soft = softened
    np.testing.assert_array_equal(soft.argmax(-1), z.argmax(-1))
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-12)


def test_the_noise_is_gumbels_and_knows_nothing_of_q(softened):
    _, _, soft = softened
    # log soft = log q + gumbel - constant: differences of two are logistic
    difference = np.log(soft[:, 0] / soft[:, 2]) - (LOGITS[0] - LOGITS[2])
    assert scipy.stats.kstest(difference, "logistic").pvalue > 1e-3
    difference = np.log(soft[:, 1] / soft[:, 0]) - (LOGITS[1] - LOGITS[0])
    assert scipy.stats.kstest(difference, "logistic").pvalue > 1e-3


def path_by_quadrature(logit, temperature, log_p_slope):
    """E[(d log w / d s)(d s / d logit)], s = sigmoid((logit + noise) / temperature)."""

    def integrand(noise):
        s = scipy.special.expit((logit + noise) / temperature)
        # log q(s) = s log q_1 + (1 - s) log q_0 has slope log q_1 - log q_0 = logit
        slope = log_p_slope(s) - logit
        return scipy.stats.logistic.pdf(noise) * slope * s * (1 - s) / temperature

    return scipy.integrate.quad(integrand, -40, 40, points=[-logit])[0]


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_gradient_for_q_is_the_relaxed_one(temperature):
    rows = 100_000
    logits = tf.Variable(np.full(rows, 0.4))
    with tf.GradientTape() as tape:
        found = relaxed(
            lambda z: -1.5 * (z - 0.3) ** 2,
            bernoulli(logits),
            seed=1,
            temperature=temperature,
        )
    slope = tape.gradient(found.surrogate, logits).numpy()
    exact = path_by_quadrature(0.4, temperature, lambda s: -3 * (s - 0.3))
    assert_mean(slope, exact, fault=0.05 * abs(exact))


def test_its_bias_goes_to_zero_with_the_temperature():
    # E_q[f] - log q at logit .4: d/d logit = q_1 q_0 (f(1) - f(0) - logit)
    q = 1 / (1 + np.exp(-0.4))
    truth = q * (1 - q) * (-1.5 * (0.49 - 0.09) - 0.4)
    bias = [
        path_by_quadrature(0.4, t, lambda s: -3 * (s - 0.3)) - truth
        for t in (1.0, 0.1, 0.03)
    ]
    assert (np.abs(bias)[1:] < np.abs(bias)[:-1] / 2).all()
    assert abs(bias[0]) > 0.05


def test_value_is_that_of_the_hard_samples():
    target = lambda z: -((z - 0.3) ** 2)  # noqa: E731
    q = bernoulli(tf.constant([0.2, -1.0], tf.float64))
    found = relaxed(target, q, sample_size=2, importance_sample_size=3, seed=5)
    draws = et.draw(target, q, (2, 3), seed=5)
    assert set(np.unique(draws.z)) <= {0.0, 1.0}
    bound = tf.reduce_mean(et.bounds.iwae(draws, axis=1), 0)
    np.testing.assert_array_equal(found.value, bound)
    np.testing.assert_array_equal(found.surrogate, bound)
    np.testing.assert_array_equal(found.elbo, tf.reduce_mean(draws.log_weights, (0, 1)))


@pytest.mark.parametrize("size", [1, 4])
def test_the_models_gradient_is_that_of_the_hard_bound(size):
    theta = tf.Variable(np.float64(0.7))
    q = bernoulli(tf.constant([0.2, -1.0], tf.float64))

    def target(z):
        return -theta * tf.exp(z)

    with tf.GradientTape(persistent=True) as tape:
        found = relaxed(target, q, sample_size=2, importance_sample_size=size, seed=5)
        draws = et.draw(target, q, (2, size), seed=5)
        bound = tf.reduce_mean(et.bounds.iwae(draws, axis=1), 0)
    np.testing.assert_allclose(
        tape.gradient(found.surrogate, theta), tape.gradient(bound, theta), rtol=1e-13
    )


def test_vanishes_at_the_posterior_of_a_linear_target():
    table = tf.constant([-1.0, 0.5, -0.2], tf.float64)
    for build, start, target in (
        (one_hot, table.numpy(), lambda z: tf.reduce_sum(z * table, -1) - 3.0),
        (bernoulli, np.array([0.7, -1.2]), lambda z: z * [0.7, -1.2] - 3.0),
    ):
        logits = tf.Variable(start)
        with tf.GradientTape() as tape:
            found = relaxed(target, build(logits), sample_size=5, seed=0)
        slope = tape.gradient(found.surrogate, logits)
        assert np.abs(slope).max() < 1e-14


def models_of_three_classes(prior):
    means = tf.constant([-1.0, 0.0, 2.0], tf.float64)

    def likelihood(z):
        return tfd.Normal(tf.reduce_sum(z * means, -1), np.float64(0.5))

    return et.LatentVariableModel(prior, likelihood)


@pytest.mark.parametrize("size", [1, 3])
def test_a_one_hot_prior_is_differentiated_too(size):
    # TFP's OneHotCategorical.log_prob stops the gradient in z: ours must not
    masses = tf.constant([0.1, 0.2, 0.7], tf.float64)
    model = models_of_three_classes(
        tfd.OneHotCategorical(probs=masses, dtype=tf.float64)
    )
    x = np.float64(0.4)

    def plain(z):
        log_prior = tf.reduce_sum(z * tf.math.log(masses), -1)
        return model.likelihood(z).log_prob(x) + log_prior

    logits = tf.Variable(LOGITS)
    slopes = []
    for target in (model.log_joint(x), plain):
        with tf.GradientTape() as tape:
            found = relaxed(
                target,
                one_hot(logits),
                sample_size=3,
                importance_sample_size=size,
                seed=1,
            )
        slopes.append(tape.gradient(found.surrogate, logits).numpy())
    np.testing.assert_allclose(*slopes, rtol=1e-10)
    assert np.abs(slopes[0]).max() > 0.05


def test_independent_bits_are_independent():
    # q over two bits as one event = the sum of two one-bit problems on the same noise
    logits = tf.Variable([[0.3, -0.4]], dtype=tf.float64)
    prior = tfd.Independent(bernoulli(tf.constant([0.1, 0.2], tf.float64)), 1)
    means = tf.constant([1.0, -2.0], tf.float64)
    model = et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z * means, np.float64(1.0)), 1)
    )
    x = np.array([[0.5, 0.5]])
    with tf.GradientTape() as tape:
        q = tfd.Independent(bernoulli(logits), 1)
        found = relaxed(model.log_joint(x), q, sample_size=4, seed=2)
    assert found.value.shape == (1,)
    together = tape.gradient(found.surrogate, logits).numpy()

    def apart(z):
        log_p = tfd.Normal(z * means, np.float64(1.0)).log_prob(x)
        return log_p + bernoulli(tf.constant([0.1, 0.2], tf.float64)).log_prob(z)

    with tf.GradientTape() as tape:
        found = relaxed(apart, bernoulli(logits), sample_size=4, seed=2)
    np.testing.assert_allclose(together, tape.gradient(found.surrogate, logits))


def test_finite_where_q_is_sure():
    logits = tf.Variable([40.0, -40.0])
    with tf.GradientTape() as tape:
        q = tfd.Bernoulli(logits=logits, dtype=tf.float32)
        found = relaxed(lambda z: -z, q, sample_size=100, seed=0, temperature=0.1)
    assert np.isfinite(tape.gradient(found.surrogate, logits)).all()


def test_compiles():
    # XLA draws other numbers, so means are compared
    logits = tf.Variable(np.tile(LOGITS, [4_000, 1])[:, np.newaxis])

    def step():
        with tf.GradientTape() as tape:
            found = relaxed(
                lambda z: z[..., 0, 0] ** 2,
                tfd.Independent(one_hot(logits), 1),
                importance_sample_size=2,
                seed=0,
            )
        return tape.gradient(found.surrogate, logits)

    compiled, eager = tf.function(step, autograph=False, jit_compile=True)(), step()
    error = np.std(eager, 0) * np.sqrt(2 / 4_000)
    assert (np.abs(np.mean(compiled, 0) - np.mean(eager, 0)) < 5 * error).all()
    assert error.max() < 0.02


@pytest.mark.parametrize(
    ("q", "got"),
    [
        (lambda: tfd.Categorical([0.0, 0.0]), "Categorical"),
        (lambda: tfd.Normal(0.0, 1.0), "Normal"),
        (lambda: tfd.Bernoulli(0.0), "Bernoulli of dtype int32"),
        (lambda: (tfd.Normal(0.0, 1.0), tfd.Normal(0.0, 1.0)), "tuple"),
    ],
)
def test_q_is_one_hot_or_bernoulli_of_floats(q, got):
    with pytest.raises(ValueError, match=f"of a floating dtype.*got {got}"):
        relaxed(lambda z: -z, q(), seed=0)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, "cold"])
def test_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        relaxed(
            lambda z: -z, bernoulli(tf.zeros([], tf.float64)), seed=0,
            temperature=temperature,
        )  # fmt: skip


def test_temperature_may_be_a_tensor():
    q = bernoulli(tf.constant(0.3, tf.float64))
    for temperature in (tf.constant(0.3), 0.3):
        relaxed(lambda z: -z, q, seed=0, temperature=temperature)


def test_a_pin_with_one_hot_parts_is_refused():
    joint = tfd.JointDistributionNamed(
        {
            "z": one_hot(tf.constant(LOGITS)),
            "x": lambda z: tfd.Normal(z[..., 0], np.float64(1.0)),
        }
    )
    pin = joint.experimental_pin(x=np.float64(0.5))
    with pytest.raises(ValueError, match="hidden"):
        relaxed(pin, one_hot(tf.constant(LOGITS)), seed=0)
