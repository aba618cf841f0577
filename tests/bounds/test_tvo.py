"""`bounds.tvo`: left sums by hand, between ELBO and IWAE on every draw."""

import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et

LOG_WEIGHTS = np.random.default_rng(1).normal(3.0, 2.0, [7, 4])


def by_hand(log_weights, points):
    total = 0.0
    for left, right in zip(points[:-1], points[1:], strict=True):
        weights = np.exp(left * log_weights)
        mean = (weights * log_weights).sum(0) / weights.sum(0)
        total = total + (right - left) * mean
    return total


@pytest.mark.parametrize(
    "points", [[0, 1], [0, 0.5, 1], (0, 1e-3, 0.1, 1), np.linspace(0, 1, 9)]
)
def test_is_the_left_sum(points):
    found = et.bounds.tvo(LOG_WEIGHTS, points)
    np.testing.assert_allclose(found, by_hand(LOG_WEIGHTS, points), rtol=1e-12)


def test_one_rectangle_is_the_elbo():
    np.testing.assert_allclose(
        et.bounds.tvo(LOG_WEIGHTS, [0, 1]), et.bounds.elbo(LOG_WEIGHTS), rtol=1e-14
    )


def test_its_limit_is_iwae():
    # the error of a left sum of n rectangles is (f(1) - f(0)) / (2 n)
    found = et.bounds.tvo(LOG_WEIGHTS, np.linspace(0, 1, 101))
    slack = et.bounds.iwae(LOG_WEIGHTS) - found
    assert (slack.numpy() > 0).all()
    assert (slack.numpy() < (LOG_WEIGHTS.max(0) - LOG_WEIGHTS.mean(0)) / 200).all()


def test_rises_with_every_point_added():
    sums = [
        et.bounds.tvo(LOG_WEIGHTS, points)
        for points in ([0, 1], [0, 0.3, 1], [0, 0.1, 0.3, 1], [0, 0.1, 0.3, 0.9, 1])
    ]
    sums.append(et.bounds.iwae(LOG_WEIGHTS))
    assert (np.diff(sums, axis=0) > 0).all()


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_stable_at_large_log_weights(shift):
    points = [0, 0.01, 0.2, 1]
    moved = et.bounds.tvo(LOG_WEIGHTS + shift, points)
    np.testing.assert_allclose(moved - shift, by_hand(LOG_WEIGHTS, points), atol=1e-10)
    spread = (LOG_WEIGHTS * 1e4).astype(np.float32)
    found = et.bounds.tvo(spread, points).numpy()
    wide = et.bounds.tvo(spread.astype(np.float64), points)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wide, rtol=1e-6)


@pytest.mark.parametrize("centre", [0.0, -100.0, -5_000.0])
def test_float32_loses_no_more_than_its_own_digits(centre):
    x = np.random.default_rng(0).normal(size=(300, 2), scale=3.0) + centre
    x, points = x.astype(np.float32), np.linspace(0, 1, 11)
    wide = et.bounds.tvo(x.astype(np.float64), points)
    np.testing.assert_allclose(et.bounds.tvo(x, points), wide, rtol=1.2e-7, atol=1e-5)


def test_a_weight_of_zero():
    x = np.array([[0.0, -np.inf, 1.0], [-np.inf, -np.inf, 1.0]])
    for points in ([0, 1], [0, 0.5, 1]):
        found = et.bounds.tvo(x, points)
        np.testing.assert_array_equal(found, [-np.inf, -np.inf, 1.0])


def test_gradient_by_finite_differences():
    points = [0, 0.2, 0.7, 1]
    x = tf.constant(LOG_WEIGHTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        bound = et.bounds.tvo(x, points)
    step = np.zeros_like(LOG_WEIGHTS)
    step[2] = 1e-6
    ends = [by_hand(LOG_WEIGHTS + s, points) for s in (step, -step)]
    slope = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(tape.gradient(bound, x)[2], slope, atol=1e-8)


def test_reduces_the_axis_it_is_told_and_compiles():
    x = tf.constant(np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS]))
    compiled = tf.function(
        lambda x: et.bounds.tvo(x, [0, 0.5, 1], axis=1),
        autograph=False,
        jit_compile=True,
    )
    found = compiled(x)
    assert found.shape == (2, 4)
    np.testing.assert_allclose(found[1], by_hand(2 * LOG_WEIGHTS, [0, 0.5, 1]))


@pytest.mark.parametrize(
    "points",
    [[0, 0.5], [0.1, 1], [0, 0.5, 0.5, 1], [0, 0.7, 0.3, 1], [1], 5, "ab", [[0, 1]]],
)
def test_the_partition_goes_from_0_to_1(points):
    with pytest.raises(ValueError, match="expected partition to increase from 0 to 1"):
        et.bounds.tvo(LOG_WEIGHTS, points)


def test_reduces_several_axes_at_once():
    x = np.stack([LOG_WEIGHTS, 2 * LOG_WEIGHTS])
    found = et.bounds.tvo(x, [0, 0.5, 1], axis=(0, 1))
    flat = x.reshape([-1, x.shape[-1]])
    np.testing.assert_allclose(found, by_hand(flat, [0, 0.5, 1]), rtol=1e-12)


def test_no_global_latents():
    draws = et.Draws(None, None, None, LOG_WEIGHTS, -LOG_WEIGHTS, num_data=10)
    with pytest.raises(ValueError, match="without a global latent"):
        et.bounds.tvo(draws, [0, 1])
