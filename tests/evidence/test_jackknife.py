"""`gaps.jackknife`: Nowozin's sums by brute force, the order of its bias exactly."""

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import elbo_tfp as et
from elbo_tfp.gaps import jackknife
from tests.statistics import says

LOG_WEIGHTS = np.random.default_rng(0).normal(0.5, 1.5, [6, 2])


def bound(log_weights):
    return scipy.special.logsumexp(log_weights, axis=0) - np.log(len(log_weights))


def by_hand(log_weights, order):
    size, total = len(log_weights), 0.0
    for j in range(order + 1):
        kept = [
            bound(log_weights[list(rows)])
            for rows in combinations(range(size), size - j)
        ]
        factor = (-1) ** j * (size - j) ** order
        factor /= math.factorial(order - j) * math.factorial(j)
        total = total + factor * np.mean(kept, 0)
    return total


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("size", [3, 6])
def test_is_the_sum_over_subsets(order, size):
    found = jackknife(LOG_WEIGHTS[:size], order)
    np.testing.assert_allclose(found, by_hand(LOG_WEIGHTS[:size], order), rtol=1e-11)


def test_default_order_is_1_and_order_0_is_iwae():
    np.testing.assert_array_equal(jackknife(LOG_WEIGHTS), jackknife(LOG_WEIGHTS, 1))
    np.testing.assert_allclose(
        jackknife(LOG_WEIGHTS, 0), et.bounds.iwae(LOG_WEIGHTS), rtol=1e-14
    )


def exact_bias(order, size, ratio):
    """Bias for weights that are 1 or `ratio` by a fair coin, over all outcomes."""
    heads = np.arange(size + 1)
    rows = np.arange(size)[:, None] < heads
    log_weights = np.where(rows, np.log(ratio), 0.0)
    mass = scipy.special.binom(size, heads) / 2.0**size
    return float(mass @ jackknife(log_weights, order).numpy()) - np.log((1 + ratio) / 2)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_bias_falls_as_the_order_says(order):
    # bias ~ c K^-(order + 1): doubling K divides it by 2^(order + 1)
    few, many = (exact_bias(order, size, 3.0) for size in (64, 128))
    np.testing.assert_allclose(np.log2(few / many), order + 1, atol=0.25)


def test_it_is_no_bound():
    # where IWAE lies below, the corrected number may lie above
    assert exact_bias(0, 8, 30.0) < -0.05
    assert exact_bias(1, 8, 30.0) > 0.02
    assert exact_bias(2, 4, 30.0) > 0.1


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_stable_at_large_log_weights(shift):
    moved = jackknife(LOG_WEIGHTS + shift, 2) - shift
    np.testing.assert_allclose(moved, by_hand(LOG_WEIGHTS, 2), atol=1e-9)
    spread = LOG_WEIGHTS * 1e4
    np.testing.assert_allclose(jackknife(spread, 1), by_hand(spread, 1), rtol=1e-11)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("centre", [0.0, -100.0, -5_000.0])
def test_float32_loses_no_more_than_its_own_digits(order, centre):
    x = np.random.default_rng(0).normal(size=(300, 2)) + centre
    x = x.astype(np.float32)
    found, exact = jackknife(x, order), jackknife(x.astype(np.float64), order)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, exact, rtol=1.2e-7, atol=1e-7)


def test_nothing_but_weights_of_zero():
    x = np.array([[-np.inf, 0.0]] * 3)
    for order in (0, 1, 2):
        np.testing.assert_allclose(jackknife(x, order), [-np.inf, 0.0], atol=1e-12)


@pytest.mark.parametrize("axis", [(0, 1), 0.0, None])
def test_the_axis_is_one(axis):
    with says("axis to be an int", f"got {axis!r}", "One axis"):
        jackknife(LOG_WEIGHTS, axis=axis)


def test_reduces_the_axis_it_is_told_takes_draws_and_compiles():
    x = np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS])
    compiled = tf.function(
        lambda x: jackknife(x, 2, axis=-2), autograph=False, jit_compile=True
    )
    found = compiled(tf.constant(x))
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found[1], by_hand(2 * LOG_WEIGHTS, 2), rtol=1e-11)
    draws = et.Draws(None, None, None, tf.constant(-x), tf.zeros_like(x))
    np.testing.assert_allclose(jackknife(draws, 2, axis=1), found, rtol=1e-11)


@pytest.mark.parametrize("order", [-1, 3, 1.5, "1", True, None])
def test_order_is_0_1_or_2(order):
    with pytest.raises(ValueError, match="expected order 0, 1 or 2; got"):
        jackknife(LOG_WEIGHTS, order)


@pytest.mark.parametrize("order", [1, 2])
def test_needs_more_samples_than_its_order(order):
    with pytest.raises(ValueError, match=f"more than {order} samples.*got {order}"):
        jackknife(LOG_WEIGHTS[:order], order)


def test_no_global_latents():
    draws = et.Draws(None, None, None, LOG_WEIGHTS, -LOG_WEIGHTS, num_data=10)
    with pytest.raises(ValueError, match="without a global latent"):
        jackknife(draws)


def test_an_axis_that_is_not_there():
    with says("an axis of 2", "got 9"):
        jackknife(np.zeros([5, 2]), axis=9)
