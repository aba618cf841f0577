"""The yardsticks: evidence and posterior against SciPy, quadrature and eigenvalues."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from tests import oracles
from tests.statistics import close, says

tfd = tfp.distributions
F64 = tf.float64
X = np.array([1.0, -2.0, 0.5])
WEIGHTS = np.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]])


def identity_holds(model, x, samples=5):
    """log p(x) = log p(x, z) - log p(z | x) at any z, to 1e-10 in float64."""
    x = tf.constant(x, F64)
    posterior = model.posterior(x)
    z = posterior.sample(samples, seed=(0, 0))
    found = model.log_joint(x)(z) - posterior.log_prob(z)
    np.testing.assert_allclose(found, [model.log_evidence(x)] * samples, atol=1e-10)


def test_normal_normal():
    model = et.models.normal_normal(0.5, 2.0, 0.7, dtype=F64)
    evidence, mean, scale = oracles.normal_normal(X, 0.5, 2.0, 0.7)
    close(model.log_evidence(tf.constant(X)), evidence)
    posterior = model.posterior(tf.constant(X))
    close(posterior.mean(), mean)
    close(posterior.stddev(), np.full(3, scale))
    identity_holds(model, X)
    assert (
        model.prior.dtype == F64 and et.models.normal_normal().prior.dtype == "float32"
    )


def test_f2_and_f4_to_the_printed_digits():
    model = et.models.normal_normal(dtype=F64)
    assert f"{model.log_evidence(tf.constant(1.0, F64)):.6f}" == "-1.515512"
    assert f"{model.log_evidence(tf.constant(5.0, F64)):.9f}" == "-7.515512123"


@pytest.mark.parametrize("a, b, x", [(2, 1e-6, 1.6e7), (1e6, 1e3, 1e3), (0.5, 1e6, 0)])
def test_gamma_poisson_in_float32_far_from_one(a, b, x):
    found = et.models.gamma_poisson(a, b).log_evidence(np.float32([x]))
    exact = stats.nbinom.logpmf(x, a, b / (1 + b))
    np.testing.assert_allclose(found, [exact], rtol=1e-6)


def test_gamma_poisson():
    model = et.models.gamma_poisson(2.0, 3.0, dtype=F64)
    x = np.array([0.0, 1.0, 4.0])
    close(model.log_evidence(tf.constant(x)), stats.nbinom(2, 3 / 4).logpmf(x))
    close(model.posterior(tf.constant(x)).mean(), (2 + x) / 4)
    identity_holds(model, x)


@pytest.mark.parametrize("noise", [0.7, [0.7, 0.4, 1.1]])
@pytest.mark.parametrize("bias", [0.0, [1.0, 2.0, 3.0]])
def test_linear_gaussian(noise, bias):
    model = et.models.linear_gaussian(WEIGHTS, bias, noise)
    covariance = WEIGHTS @ WEIGHTS.T + np.eye(3) * np.square(noise)
    exact = stats.multivariate_normal(np.zeros(3) + bias, covariance)
    rows = np.stack([X, X + 1])
    np.testing.assert_allclose(model.log_evidence(rows), exact.logpdf(rows), rtol=1e-12)
    gain = WEIGHTS.T @ np.linalg.inv(covariance)
    posterior = model.posterior(rows)
    np.testing.assert_allclose(posterior.mean(), (rows - bias) @ gain.T, rtol=1e-10)
    expected = np.eye(2) - gain @ WEIGHTS
    np.testing.assert_allclose(posterior.covariance()[0], expected, rtol=1e-10)
    identity_holds(model, rows)
    identity_holds(model, X)


def test_variables_stay_trainable():
    import keras

    for weights in (tf.Variable(WEIGHTS), keras.Variable(WEIGHTS, dtype="float64")):
        noise = tf.Variable(0.7, dtype=F64)
        model = et.models.linear_gaussian(weights, noise_scale=noise)
        with tf.GradientTape() as tape:
            density = model.log_joint(X)(tf.ones(2, F64))
        inner = weights if isinstance(weights, tf.Variable) else weights.value
        variables = inner, noise
        assert all(g is not None for g in tape.gradient(density, variables))
    loc = tf.Variable(0.3)
    with tf.GradientTape() as tape:
        density = et.models.normal_normal(loc).log_evidence(1.0)
    close(tape.gradient(density, loc), 0.35)


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1, 2]], np.ones([2, 2, 2])])
def test_weights_are_a_matrix_of_floats(bad):
    with says("expected weights of shape [D, k]", "floating", "got shape", "dtype"):
        et.models.linear_gaussian(np.array(bad) if isinstance(bad, list) else bad)


@pytest.mark.parametrize("x", [np.ones([4, 1]), np.ones([4, 2]), np.float64(1.0)])
@pytest.mark.parametrize("name", ["log_evidence", "posterior"])
def test_exact_answers_do_not_broadcast_x(x, name):
    model = et.models.linear_gaussian(WEIGHTS)
    with says("expected x of shape [..., 3]", str(x.shape)):
        getattr(model, name)(x)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: et.models.normal_normal(0.0, v), "prior_scale"),
        (lambda v: et.models.normal_normal(0.0, 1.0, v), "noise_scale"),
        (lambda v: et.models.gamma_poisson(v), "concentration"),
        (lambda v: et.models.gamma_poisson(1.0, v), "rate"),
        (lambda v: et.models.linear_gaussian(WEIGHTS, 0.0, v), "noise_scale"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_scales_are_positive(make, name, value):
    with says(f"expected {name} > 0", f"got {value}"):
        make(value)


# probabilistic PCA (F6)


def test_f6_the_maximum_likelihood():
    x = et.data.iris()
    model = et.models.probabilistic_pca(x, 2)
    exact, noise = oracles.probabilistic_pca(x, 2)
    assert f"{exact:.6f}" == "-404.962780" and f"{noise:.8f}" == "0.05068215"
    assert f"{float(tf.reduce_sum(model.log_evidence(x))):.6f}" == "-404.962780"
    found = model.likelihood(tf.zeros(2, F64)).variance().numpy()
    np.testing.assert_allclose(found, np.full(4, noise), rtol=1e-12)


@pytest.mark.parametrize(
    ("noise", "active", "elbo"),
    [(0.05, 3, -2.643303), (0.1, 2, -2.886170), (0.5, 1, -4.195999), (5, 0, -7.348877)],
)
def test_f6_units_below_the_noise_are_off(noise, active, elbo):
    x = et.data.iris()
    model = et.models.probabilistic_pca(x, 4, noise_variance=noise)
    assert f"{float(tf.reduce_mean(model.log_evidence(x))):.6f}" == f"{elbo:.6f}"
    means = model.posterior(x).mean().numpy()
    assert (means.std(0) > 1e-8).sum() == active
    # Var_x E[z | x] = 1 - sigma^2 / lambda
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    expected = np.maximum(1 - noise / values, 0)
    np.testing.assert_allclose(means.var(0), expected, atol=1e-12)


def test_no_other_model_of_this_size_is_more_likely():
    x = et.data.iris()
    best = tf.reduce_sum(et.models.probabilistic_pca(x, 2).log_evidence(x))
    z = et.models.probabilistic_pca(x, 2)
    weights = (
        z.likelihood(tf.eye(2, dtype=F64)).mean()
        - z.likelihood(tf.zeros(2, F64)).mean()
    )
    for seed in range(5):
        nudge = 0.02 * np.random.default_rng(seed).normal(size=(4, 2))
        other = et.models.linear_gaussian(
            tf.transpose(weights) + nudge, x.mean(0), 0.05068215**0.5
        )
        assert tf.reduce_sum(other.log_evidence(x)) < best


def test_the_dtype_is_that_of_the_data():
    x = et.data.iris(dtype="float32")
    assert et.models.probabilistic_pca(x, 2).log_evidence(x).dtype == tf.float32


@pytest.mark.parametrize(
    "x", [np.ones(4), np.ones([1, 4]), np.ones([5, 4], int), np.full([5, 4], np.nan)]
)
def test_data_are_a_finite_matrix(x):
    with says("expected data [N, D] of finite floats", str(x.shape), str(x.dtype)):
        et.models.probabilistic_pca(x, 1)


@pytest.mark.parametrize(
    ("size", "options", "largest"),
    [(0, {}, 3), (4, {}, 3), (5, {"noise_variance": 0.1}, 4)],
)
def test_latent_sizes_leave_room_for_noise(size, options, largest):
    with says(f"latent_size between 1 and {largest}", f"got {size}"):
        et.models.probabilistic_pca(et.data.iris(), size, **options)


@pytest.mark.parametrize(
    "options", [{}, {"noise_variance": 0.0}, {"noise_variance": -1}]
)
def test_noise_is_positive(options):
    flat = np.random.default_rng(0).normal(size=[9, 1]) * [1.0, 2.0, 3.0]
    with says("expected a positive noise variance", "smaller"):
        et.models.probabilistic_pca(flat, 1, **options)
