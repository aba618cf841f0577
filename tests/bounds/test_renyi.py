"""`bounds.renyi`: power means by hand, Li and Turner's values by quadrature, errors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.bounds.renyi import log_power_mean

tfd = tfp.distributions
LOG_WEIGHTS = np.random.default_rng(0).normal(-2.0, 1.5, [6, 3])
ALPHAS = [0, 0.1, 0.5, 0.9, 1, 1.5, 2, 4, 30]


def by_hand(log_weights, alpha):
    if alpha == 1:
        return log_weights.mean(0)
    return np.log(np.mean(np.exp(log_weights) ** (1 - alpha), 0)) / (1 - alpha)


def quantile_draws(scale_squared, num, loc=0.2, x=1.0):
    """Quadrature: midpoints in probability, all of equal weight, `[num, 1]`."""
    model = et.models.normal_normal(dtype=tf.float64)
    q = tfd.Normal(np.float64(loc), np.float64(scale_squared) ** 0.5)
    z = q.quantile((np.arange(num) + 0.5) / num)[:, None]
    return model.log_joint(np.array([x]))(z) - q.log_prob(z)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_is_the_power_mean(alpha):
    found = et.bounds.renyi(LOG_WEIGHTS, alpha)
    np.testing.assert_allclose(found, by_hand(LOG_WEIGHTS, alpha), rtol=1e-12)


def test_its_ends_are_iwae_and_elbo():
    np.testing.assert_allclose(
        et.bounds.renyi(LOG_WEIGHTS, 0), et.bounds.iwae(LOG_WEIGHTS), rtol=1e-14
    )
    np.testing.assert_array_equal(
        et.bounds.renyi(LOG_WEIGHTS, 1.0), et.bounds.elbo(LOG_WEIGHTS)
    )
    far = et.bounds.renyi(LOG_WEIGHTS, 1e9)
    np.testing.assert_allclose(far, LOG_WEIGHTS.min(0), atol=1e-8)


@pytest.mark.parametrize(
    ("alpha", "exact"),
    [
        (0, -1.515512),
        (0.25, -1.565284),
        (0.5, -1.604031),
        (1, -1.660925),
        (2, -1.73126),
    ],
)
def test_values_of_the_one_dimensional_gaussian(alpha, exact):
    # an independent quadrature gave `exact`; ours misses a tail of q, which matters
    # where the weights grow there (alpha < 1) and not otherwise
    found = et.bounds.renyi(quantile_draws(0.3, 400_000), alpha)
    np.testing.assert_allclose(found, [exact], atol=3e-4 if alpha < 0.5 else 2e-5)


def test_falls_without_limit_where_the_moment_does_not_exist():
    coarse, fine = (
        float(et.bounds.renyi(quantile_draws(0.8, num), 3.0)[0])
        for num in (1_000, 1_000_000)
    )
    # w^-2 q grows as exp(z^2 / 8), so the mean as num^(1/5); the bound falls by half
    # the mean's log
    assert fine < coarse - 0.3
    tame = [
        float(et.bounds.renyi(quantile_draws(0.8, num), 1.5)[0])
        for num in (1_000, 1_000_000)
    ]
    assert abs(tame[1] - tame[0]) < 0.01


def test_falls_with_alpha_on_every_draw():
    bounds = np.array([et.bounds.renyi(LOG_WEIGHTS, a) for a in ALPHAS])
    assert (np.diff(bounds, axis=0) < 0).all()


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 2, 7])
@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_stable_at_large_log_weights(alpha, shift):
    moved = et.bounds.renyi(LOG_WEIGHTS + shift, alpha)
    np.testing.assert_allclose(moved - shift, by_hand(LOG_WEIGHTS, alpha), atol=1e-10)
    spread = LOG_WEIGHTS.astype(np.float32) * 1e4
    found = et.bounds.renyi(spread, alpha).numpy()
    assert found.dtype == np.float32
    wide = et.bounds.renyi(spread.astype(np.float64), alpha)
    np.testing.assert_allclose(found, wide, rtol=1e-6)


@pytest.mark.parametrize("step", [1e-3, 1e-5, 1e-7, -1e-7, -1e-5, -1e-3])
def test_smooth_at_one_in_single_precision(step):
    # L_alpha = mean - (alpha - 1) / 2 variance + ...
    x = LOG_WEIGHTS.astype(np.float32)
    expected = x.mean(0) - step / 2 * x.var(0)
    found = et.bounds.renyi(x, 1 + step)
    np.testing.assert_allclose(found, expected, atol=3e-6)


def test_many_samples_keep_their_digits():
    x = np.full([1_000_000, 1], -50.0, np.float32)
    x[0] = 0.0
    # one weight of 1 among a million of e^-50
    np.testing.assert_allclose(et.bounds.renyi(x, 0), [-np.log(1e6)], rtol=1e-6)


def test_a_weight_of_zero():
    x = np.array([[0.0], [-np.inf], [1.0]])
    root = 2 * np.log((1 + np.exp(0.5)) / 3)
    np.testing.assert_allclose(et.bounds.renyi(x, 0.5), [root])
    assert et.bounds.renyi(x, 2.0).numpy() == -np.inf
    assert et.bounds.renyi(np.full([2, 1], -np.inf), 0.5).numpy() == -np.inf


@pytest.mark.parametrize("alpha", [0, 0.3, 3.0, 1 + 1e-9])
def test_gradient_is_a_softmax(alpha):
    x = tf.constant(LOG_WEIGHTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        bound = et.bounds.renyi(x, alpha)
    # d L_alpha / d log w_k = w_k^(1 - alpha) / sum_j w_j^(1 - alpha)
    share = np.exp((1 - alpha) * LOG_WEIGHTS)
    expected = share / share.sum(0)
    np.testing.assert_allclose(tape.gradient(bound, x), expected, rtol=1e-7)


def test_reduces_the_axis_it_is_told_and_takes_draws():
    x = np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS])
    found = et.bounds.renyi(x, 0.4, axis=1)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[1], et.bounds.renyi(2 * LOG_WEIGHTS, 0.4))
    np.testing.assert_allclose(et.bounds.renyi(x, 0.4, axis=-2), found)
    model = et.models.normal_normal()
    q = tfd.Normal([0.0, 0.0], 1.0)
    draws = et.draw(model.log_joint([1.0, 2.0]), q, 5, seed=0)
    np.testing.assert_array_equal(
        et.bounds.renyi(draws, 2.0), et.bounds.renyi(draws.log_weights, 2.0)
    )


def test_compiles():
    compiled = tf.function(
        lambda x: et.bounds.renyi(x, 0.5), autograph=False, jit_compile=True
    )
    np.testing.assert_allclose(
        compiled(tf.constant(LOG_WEIGHTS)), by_hand(LOG_WEIGHTS, 0.5), rtol=1e-12
    )


def test_negative_alpha_bounds_nothing():
    with pytest.raises(ValueError, match=r"alpha >= 0; got -1.*cubo\(draws, order=2\)"):
        et.bounds.renyi(LOG_WEIGHTS, -1)
    # the number exists under its own name
    np.testing.assert_allclose(
        et.bounds.cubo(LOG_WEIGHTS, 2), by_hand(LOG_WEIGHTS, -1), rtol=1e-12
    )


@pytest.mark.parametrize("alpha", [np.nan, np.inf, "0.5", None, True, [0.5, 1.0]])
def test_alpha_is_a_finite_number(alpha):
    with pytest.raises(ValueError, match="expected alpha to be a finite number; got"):
        et.bounds.renyi(LOG_WEIGHTS, alpha)


def test_alpha_may_be_an_eager_tensor():
    np.testing.assert_array_equal(
        et.bounds.renyi(LOG_WEIGHTS, tf.constant(0.5)),
        et.bounds.renyi(LOG_WEIGHTS, 0.5),
    )


def test_reduces_several_axes_at_once():
    x = np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS])
    found = et.bounds.renyi(x, 0.4, axis=(0, 1))
    flat = x.reshape([-1, x.shape[-1]])
    np.testing.assert_allclose(found, by_hand(flat, 0.4), rtol=1e-12)


def test_no_global_latents():
    draws = et.Draws(None, None, None, LOG_WEIGHTS, -LOG_WEIGHTS, num_data=10)
    for alpha in (0.5, 1):
        with pytest.raises(ValueError, match="without a global latent"):
            et.bounds.renyi(draws, alpha)


def test_power_zero_is_the_geometric_mean():
    np.testing.assert_array_equal(log_power_mean(LOG_WEIGHTS, 0), LOG_WEIGHTS.mean(0))
