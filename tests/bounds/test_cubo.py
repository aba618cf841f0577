"""`bounds.cubo`: power means by hand, and what the estimate does not certify."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et

tfd = tfp.distributions
LOG_WEIGHTS = np.random.default_rng(2).normal(-4.0, 1.0, [6, 3])


def by_hand(log_weights, order):
    return np.log(np.mean(np.exp(log_weights) ** order, 0)) / order


@pytest.mark.parametrize("order", [1, 1.5, 2, 5])
def test_is_the_power_mean(order):
    found = et.bounds.cubo(LOG_WEIGHTS, order)
    np.testing.assert_allclose(found, by_hand(LOG_WEIGHTS, order), rtol=1e-12)


def test_default_order_is_2_and_order_1_is_iwae():
    np.testing.assert_array_equal(
        et.bounds.cubo(LOG_WEIGHTS), et.bounds.cubo(LOG_WEIGHTS, 2)
    )
    np.testing.assert_allclose(
        et.bounds.cubo(LOG_WEIGHTS, 1), et.bounds.iwae(LOG_WEIGHTS), rtol=1e-14
    )


def test_rises_with_the_order_up_to_the_largest_weight():
    bounds = [et.bounds.cubo(LOG_WEIGHTS, n) for n in (1, 1.2, 2, 3, 10)]
    assert (np.diff(bounds, axis=0) > 0).all()
    np.testing.assert_allclose(
        et.bounds.cubo(LOG_WEIGHTS, 1e9), LOG_WEIGHTS.max(0), atol=1e-8
    )


def test_exact_value_for_gaussians():
    # z ~ N(0, 1), x | z ~ N(z, 1), x = 1, q = N(0, 2.25): E_q[w^2] = p^2 (1 + .6936)
    model = et.models.normal_normal(dtype=tf.float64)
    q = tfd.Normal(np.float64(0.0), np.float64(1.5))
    z = q.quantile((np.arange(200_000) + 0.5) / 200_000)
    log_weights = (model.log_joint(np.float64(1.0))(z) - q.log_prob(z))[:, None]
    exact = -1.515512 + 0.5 * np.log(1.6936)
    np.testing.assert_allclose(et.bounds.cubo(log_weights), [exact], atol=5e-6)


def test_the_estimate_alone_certifies_nothing():
    # a q that misses half of the posterior: N(2, .4^2) for humps at -2 and 2
    humps = tfd.Mixture(
        tfd.Categorical(probs=np.array([0.5, 0.5])),
        [tfd.Normal(np.float64(m), np.float64(0.4)) for m in (-2.0, 2.0)],
    )
    q = tfd.Normal(np.float64(2.0), np.float64(0.4))
    draws = et.draw(humps.log_prob, q, (100, 1_000), seed=0)
    estimates = et.bounds.cubo(draws, axis=1).numpy()
    # log p = 0, CUBO_2 is infinite for practical purposes, every estimate says -log 2
    assert (estimates < -0.6).all()


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_stable_at_large_log_weights(shift):
    moved = et.bounds.cubo(LOG_WEIGHTS + shift, 3)
    np.testing.assert_allclose(moved - shift, by_hand(LOG_WEIGHTS, 3), atol=1e-10)
    spread = LOG_WEIGHTS.astype(np.float32) * 1e4
    found = et.bounds.cubo(spread).numpy()
    wide = et.bounds.cubo(spread.astype(np.float64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wide, rtol=1e-6)


def test_reduces_the_axis_it_is_told_and_compiles():
    x = tf.constant(np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS]))
    compiled = tf.function(
        lambda x: et.bounds.cubo(x, axis=1), autograph=False, jit_compile=True
    )
    found = compiled(x)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[1], by_hand(2 * LOG_WEIGHTS, 2), rtol=1e-12)


@pytest.mark.parametrize("order", [0.5, 0, -2])
def test_below_order_1_it_is_another_bound(order):
    with pytest.raises(ValueError, match=f"order >= 1; got .*alpha={1 - order:g}"):
        et.bounds.cubo(LOG_WEIGHTS, order)


@pytest.mark.parametrize("order", [np.nan, np.inf, "2", None, True])
def test_order_is_a_finite_number(order):
    with pytest.raises(ValueError, match="expected order to be a finite number; got"):
        et.bounds.cubo(LOG_WEIGHTS, order)


def test_reduces_several_axes_at_once():
    x = np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS])
    found = et.bounds.cubo(x, 2, axis=(0, 1))
    flat = x.reshape([-1, x.shape[-1]])
    np.testing.assert_allclose(found, by_hand(flat, 2), rtol=1e-12)


def test_no_global_latents():
    draws = et.Draws(None, None, None, LOG_WEIGHTS, -LOG_WEIGHTS, num_data=10)
    with pytest.raises(ValueError, match="without a global latent"):
        et.bounds.cubo(draws)
