"""Pathwise gradients against derivatives of integrals, by quadrature in float64."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import families
from tests import oracles
from tests.statistics import assert_mean

tfd = tfp.distributions


def _grid(size, points, width=11.0):
    axis = np.linspace(-width, width, points)
    grid = np.stack(np.meshgrid(*[axis] * size, indexing="ij"), -1)
    return tf.constant(grid.reshape(-1, size)), (axis[1] - axis[0]) ** size


def _height(z):
    return tf.sin(1.3 * z[..., 0] + 0.5) * z[..., -1] ** 3 + z[..., 0] * z[..., -1]


@pytest.mark.parametrize(
    ("size", "covariance", "points"),
    [(1, "diagonal", 401), (2, "diagonal", 111), (2, "full", 111)],
)
def test_pathwise_gradient_is_the_derivative_of_the_mean(size, covariance, points):
    """integral of q(z) <dh/dz, dz/dphi> = d/dphi integral of q(z) h(z), to 1e-6."""
    q = families.mixture(size, 2, covariance=covariance, dtype=tf.float64, seed=1)
    rng = np.random.default_rng(0)
    at = q.free_parameters.numpy() + 0.3 * rng.standard_normal(q.parameters_size)
    z, cell = _grid(size, points)

    def mean(parameters):
        return np.sum(np.exp(q(parameters).log_prob(z)) * _height(z)) * cell

    with tf.GradientTape() as tape:
        parameters = tf.constant(at)
        tape.watch(parameters)
        member = q(parameters)
        # the grid's points, weighed by q, as if they had been sampled
        weight = tf.stop_gradient(tf.exp(member.log_prob(z))) * cell
        total = tf.reduce_sum(weight * _height(member.with_path(z)))
    pathwise = tape.gradient(total, parameters)
    np.testing.assert_allclose(total, mean(at), rtol=1e-12)
    np.testing.assert_allclose(pathwise, oracles.difference(mean, at), atol=1e-6)
    assert np.median(np.abs(pathwise)) > 0.05


def test_three_dimensions_with_full_covariance_by_monte_carlo():
    q = families.mixture(3, 2, covariance="full", dtype=tf.float64, seed=4)
    at = q.free_parameters.numpy() + 0.2 * np.sin(np.arange(q.parameters_size))
    rows = tf.Variable(tf.tile(at[None], [40_000, 1]))
    with tf.GradientTape() as tape:
        z = q(rows).sample(seed=0)
        value = tf.reduce_sum(z**2 * [1.0, -0.5, 2.0], -1) + z[..., 0] * z[..., 2]
    gradient = tape.gradient(value, rows).numpy()

    def exact(parameters):
        member = q(parameters)
        mean, cov = member.mean().numpy(), member.covariance().numpy()
        second = cov + np.outer(mean, mean)
        return np.diag(second) @ [1.0, -0.5, 2.0] + second[0, 2]

    assert_mean(gradient, oracles.difference(exact, at), fault=0.25)


def test_samples_follow_the_density():
    q = families.mixture(1, 2, loc=[[-2.0], [3.0]], scale=[[0.5], [1.0]])
    q.free_parameters[0].assign(1.0)
    z = q.sample(20_000, seed=0).numpy().ravel()
    weight = 1 / (1 + np.exp(-1.0))
    exact = (np.exp(q.log_prob([[0.0]])), q.mean())
    assert np.all(np.isfinite(exact))
    assert_mean(z < 0.5, weight + (1 - weight) * 0.0062, fault=0.05)
    assert_mean(z, q.mean().numpy()[0], fault=0.2)


def test_sampling_leaves_the_value_alone_in_float32():
    q = families.mixture(2, 2, covariance="full", seed=0)
    member = q.current
    z = member.sample(100, seed=0)
    again = tf.stop_gradient(z)
    np.testing.assert_array_equal(member.with_path(again), again)


def test_student_gradient_of_df_loc_and_scale():
    q = families.student_t(1, df=3.0, loc=0.5, scale=1.5, dtype=tf.float64)
    at = q.free_parameters.numpy()
    z, w = np.linspace(-400, 400, 400_001)[:, None], 0.002

    def exact(parameters):
        return np.sum(np.exp(q(parameters).log_prob(z)) * np.log1p(z[:, 0] ** 2)) * w

    rows = tf.Variable(tf.tile(at[None], [40_000, 1]))
    with tf.GradientTape() as tape:
        value = tf.math.log1p(q(rows).sample(seed=0)[..., 0] ** 2)
    gradient = tape.gradient(value, rows).numpy()
    assert_mean(gradient, oracles.difference(exact, at, step=1e-4), fault=0.06)


@pytest.mark.parametrize("kind", ["spline", "inverse_autoregressive"])
def test_flow_gradient_is_the_finite_difference_at_fixed_noise(kind):
    q = families.flow(2, kind, dtype=tf.float64, seed=0, hidden=(6,), num_bins=4)
    for i, v in enumerate(q.trainable_variables):
        v.assign_add(0.3 * tf.random.stateless_normal(v.shape, [5, i], dtype=v.dtype))

    def value():
        z, log_q = q.experimental_sample_and_log_prob(16, seed=1)
        return tf.reduce_mean(log_q + _height(z) + q.log_prob(0.9 * z))

    with tf.GradientTape() as tape:
        total = value()
    gradients = tape.gradient(total, q.trainable_variables)
    # along one random direction per variable
    for i, (v, g) in enumerate(zip(q.trainable_variables, gradients, strict=True)):
        way = tf.random.stateless_normal(v.shape, [9, i], dtype=v.dtype)
        ends = []
        for step in (1e-6, -1e-6):
            start = tf.identity(v)
            v.assign_add(step * way)
            ends.append(value())
            v.assign(start)
        difference = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(tf.reduce_sum(g * way), difference, atol=2e-7)
