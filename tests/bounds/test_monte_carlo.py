"""ELBO, importance-weighted bound, weights, free bits and the Monte Carlo error."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp import bounds
from elbo_tfp.types import Draws
from tests import oracles
from tests.statistics import assert_mean, assert_within, close, says

tfd = tfp.distributions
F64 = tf.float64
WEIGHTS = tf.constant([[1.0, 2.0, 3.0], [3.0, 5.0, 2.0]])


def draws_of(log_likelihood, log_prior, log_q, **fields):
    parts = (tf.constant(part, F64) for part in (log_likelihood, log_prior, log_q))
    return Draws(None, *parts, **fields)


FIXED = draws_of([[-1.0, -2.0], [-3.0, -4.0]], [[-1, -2], [-2, -2]], [[0, 1], [1, 2]])
RATE = np.array([2.0, 3.5])


# on fixed draws, by hand


@pytest.mark.parametrize(
    "bound",
    [
        bounds.elbo,
        bounds.iwae,
        bounds.cubo,
        bounds.standard_error,
        lambda w, axis: bounds.renyi(w, 0.5, axis=axis),
        lambda w, axis: bounds.tvo(w, [0.0, 0.5, 1.0], axis=axis),
        et.evidence.jackknife,
    ],
)
def test_an_axis_that_is_not_there_is_named(bound):
    with says("an axis of 2", "got 2"):
        bound(WEIGHTS, axis=2)
    for axis in (-3, 0.5, "samples"):
        with says("axis to be an int >= -2"):
            bound(WEIGHTS, axis=axis)


def test_elbo_is_the_mean_weight_per_datum():
    close(bounds.elbo(WEIGHTS), [2, 3.5, 2.5])
    close(bounds.elbo(WEIGHTS, axis=(0, 1)), np.mean(WEIGHTS))
    close(bounds.elbo(FIXED), [-2 - RATE[0], -3 - RATE[1]])


def test_iwae_is_the_log_of_the_mean_weight():
    expected = np.log(np.exp(WEIGHTS).mean(0))
    close(bounds.iwae(WEIGHTS), expected)
    close(bounds.iwae(WEIGHTS[tf.newaxis], axis=1)[0], expected)
    close(bounds.iwae(WEIGHTS, axis=(0, 1)), np.log(np.exp(WEIGHTS).mean()))
    close(bounds.iwae(WEIGHTS, axis=-1), np.log(np.exp(WEIGHTS).mean(-1)))


def test_iwae_does_not_overflow_and_at_one_sample_is_the_elbo():
    close(bounds.iwae(tf.constant([1e4, 1e4])), 1e4)
    close(bounds.iwae(tf.constant([-1e4, -np.inf])), -1e4 - np.log(2))
    close(bounds.iwae(WEIGHTS[:1]), bounds.elbo(WEIGHTS[:1]))


def test_standard_error_divides_by_s_minus_one():
    log_weights = tf.constant([1.0, 2.0, 4.0, 5.0], F64)
    close(bounds.standard_error(log_weights), np.std(log_weights, ddof=1) / 2)
    square = tf.reshape(log_weights, [2, 2, 1])
    close(bounds.standard_error(square, axis=(0, 1)), [np.std(square, ddof=1) / 2])


@pytest.mark.parametrize("beta", [0.0, 0.3, 2, np.float32(0.5), tf.constant(0.5)])
def test_a_kl_weight_multiplies_the_rate_alone(beta):
    expected = np.array([-2, -3]) - float(beta) * RATE
    close(bounds.elbo(FIXED, kl_weight=beta), expected)


@pytest.mark.parametrize(
    ("floor", "rate"), [(2.0, RATE), (2.75, [2.75, 2.75]), (4.0, [4.0, 4.0])]
)
@pytest.mark.parametrize("kind", [float, tf.constant])
def test_free_bits_floor_the_batch_mean_of_the_rate(floor, rate, kind):
    """The batch mean of the rate is 2.75."""
    expected = np.array([-2, -3]) - 0.5 * np.array(rate)
    close(bounds.elbo(FIXED, kl_weight=0.5, free_bits=kind(floor)), expected)


@pytest.mark.parametrize(("floor", "pull"), [(2.74, -1.0), (2.75, 0.0), (2.76, 0.0)])
def test_free_bits_stop_the_gradient_of_the_rate_below_the_floor(floor, pull):
    shift = tf.Variable(0.0, dtype=F64)
    with tf.GradientTape() as tape:
        draws = FIXED._replace(
            log_q=FIXED.log_q + shift, log_likelihood=FIXED.log_likelihood + 3 * shift
        )
        bound = tf.reduce_mean(bounds.elbo(draws, free_bits=floor))
    close(tape.gradient(bound, shift), 3 + pull)


def test_free_bits_hide_an_infinite_rate_from_the_gradient_below_the_floor_only():
    draws = FIXED._replace(log_q=FIXED.log_q * -np.inf)
    shift = tf.Variable(0.0, dtype=F64)
    with tf.GradientTape() as tape:
        bound = bounds.elbo(draws._replace(log_q=draws.log_q + shift), free_bits=1.0)
    assert np.isfinite(tape.gradient(bound, shift))


# against exact answers


def standard(x=1.0):
    return et.models.normal_normal(dtype=F64).log_joint(tf.constant(x, F64))


def wide():
    return tfd.Normal(tf.constant(0.0, F64), 1.5)


def test_f2_the_elbo():
    assert f"{oracles.normal_normal(1.0)[0]:.6f}" == "-1.515512"
    exact = oracles.normal_normal_elbo(1.0, 0.0, 1.5)
    assert f"{exact:.6f}" == "-2.763473"
    draws = et.draw(standard(), wide(), 500_000, seed=0)
    error = float(bounds.standard_error(draws))
    estimate = float(bounds.elbo(draws))
    assert_within(estimate, error, exact, z=3, fault=0.03)
    assert abs(estimate - exact) < 0.005


@pytest.mark.parametrize(
    ("num", "exact", "rounding"),
    [(2, -1.88615, 2e-4), (5, -1.60427, 2e-4), (10, -1.55398, 2e-4)],
)
def test_f2_the_importance_weighted_bound(num, exact, rounding):
    draws = et.draw(standard(), wide(), (40_000, num), seed=num)
    values = bounds.iwae(draws, axis=1).numpy()
    error = values.std(ddof=1) / 200
    assert_within(values.mean(), np.hypot(error, rounding), exact, fault=0.1)


def test_f2_two_importance_samples_by_quadrature():
    def log_weight(z):
        joint = stats.norm.logpdf(z) + stats.norm.logpdf(1 - z)
        return joint - stats.norm(0, 1.5).logpdf(z)

    assert abs(oracles.iwae(log_weight, 0.0, 1.5, 2, points=150) - -1.88615) < 2e-4


def test_f2_the_gap_falls_as_one_over_k():
    """gap * 2 K / Var(w / p) tends to 1; at K = 1000 the next term is under 1%."""
    draws = et.draw(standard(), wide(), (2_000, 1_000), seed=0)
    log_mean = bounds.iwae(draws, axis=1).numpy() + 1.515512123
    # E[mean weight] = p, so adding mean / p - 1 keeps the mean and takes the noise
    values = (np.expm1(log_mean) - log_mean) * 2_000 / 0.693600
    error = np.hypot(values.std(ddof=1) / 2_000**0.5, 0.01)
    assert_within(values.mean(), error, 1.0, fault=0.4)


def test_f4_at_the_posterior_every_weight_is_the_evidence():
    q = et.models.normal_normal(dtype=F64).posterior(tf.constant(5.0, F64))
    draws = et.draw(standard(5.0), q, 1_000, seed=0)
    np.testing.assert_allclose(draws.log_weights, -7.515512123, atol=5e-10)
    np.testing.assert_allclose(bounds.elbo(draws), -7.515512123, atol=5e-10)
    np.testing.assert_allclose(bounds.iwae(draws), -7.515512123, atol=5e-10)
    assert float(bounds.standard_error(draws)) < 1e-14


def test_the_shares_of_a_global_latent_add_up_and_minibatches_are_unbiased():
    """The per-datum ELBOs add up to the ELBO; minibatches have it as their mean."""
    x = np.array([0.3, -1.0, 2.0, 0.5, 1.0, -0.2])
    model = et.LatentVariableModel(
        tfd.Normal(tf.constant(0.0, F64), 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0),
        global_prior=tfd.Normal(tf.constant(0.0, F64), 2.0),
    )
    loc, scale, shared = x / 3, np.full(6, 0.7), (0.4, 0.5)
    # E_q of every Gaussian term, and the entropies
    constant = np.log(2 * np.pi)
    local = -(constant + (x - loc - shared[0]) ** 2 + scale**2 + shared[1] ** 2) / 2
    local += -(constant + loc**2 + scale**2) / 2 + np.log(scale) + (constant + 1) / 2
    kl = oracles.gaussian_kl([shared[0]], [[shared[1] ** 2]], [0.0], [[4.0]])
    exact = local.sum() - kl
    q_global = tfd.Normal(*(tf.constant(v, F64) for v in shared))

    def elbos(rows, seed, size):
        q = tfd.Normal(tf.constant(loc[rows]), tf.constant(scale[rows]))
        target = model.log_joint(tf.constant(x[rows]), num_data=6)
        return et.draw(target, (q, q_global), size, seed=seed).log_weights.numpy()

    assert_mean(elbos(slice(None), 0, 20_000).sum(1), exact, fault=0.3)
    batches = [
        elbos(rows, i, 20_000) for i, rows in enumerate(np.split(np.arange(6), 3))
    ]
    means = np.stack([6 * batch.mean(1) for batch in batches], 1).mean(1)
    assert_mean(means, exact, fault=0.3)


# wrong use


@pytest.mark.parametrize("options", [{"kl_weight": 0.5}, {"free_bits": 1.0}])
@pytest.mark.parametrize(
    "draws", [WEIGHTS, Draws(None, None, None, WEIGHTS, log_target=WEIGHTS)]
)
def test_weights_need_the_two_parts(draws, options):
    with says("expected draws that know", "kl_weight or free_bits", "bare target"):
        bounds.elbo(draws, **options)


@pytest.mark.parametrize("name", ["kl_weight", "free_bits"])
@pytest.mark.parametrize(
    "value", [-0.1, float("nan"), float("inf"), tf.constant([1.0, 2.0]), np.float32(-1)]
)
def test_weights_are_one_finite_number(name, value):
    with says(f"expected {name} to be one finite number >= 0", "got"):
        bounds.elbo(FIXED, **{name: value})


@pytest.mark.parametrize("bound", [bounds.elbo, bounds.iwae, bounds.standard_error])
@pytest.mark.parametrize("value", [1.0, [1, 2], tf.zeros([0, 3])])
def test_log_weights_are_floats_with_a_sample_axis(bound, value):
    with says("expected Draws or floating log-weights", "dtype", "shape"):
        bound(value)


def test_one_sample_has_no_error():
    with says("at least 2 samples", "got 1", "sample_size=2"):
        bounds.standard_error(WEIGHTS[:1])
    unknown = tf.function(
        bounds.standard_error, input_signature=[tf.TensorSpec([None, 3])]
    )
    assert np.isnan(unknown(WEIGHTS[:1])).all()
    close(unknown(WEIGHTS), bounds.standard_error(WEIGHTS))


def test_weights_of_a_global_latent_have_no_importance_bound():
    with says("without a global latent", "1 / num_data", "Use elbo"):
        bounds.iwae(FIXED._replace(num_data=2))


def test_nan_is_not_hidden():
    for bound in (bounds.elbo, bounds.iwae, bounds.standard_error):
        assert np.isnan(bound(tf.constant([1.0, np.nan])))
