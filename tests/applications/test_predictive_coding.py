"""Predictive coding against closed forms, quadrature and autodiff."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import applications as ap
from elbo_tfp.applications.energy import energy
from tests.applications.nets import RNG, B, S, W, X, food, network
from tests.statistics import says

tfd = tfp.distributions


def linear_posterior(x):
    """Mean and covariance of z = (x_2, x_1) given x, by the joint covariance."""
    prior = np.zeros([6, 6])
    prior[:2, :2] = S[2] ** 2 * np.eye(2)
    prior[2:, :2] = W[1] @ prior[:2, :2]
    prior[:2, 2:] = prior[2:, :2].T
    prior[2:, 2:] = W[1] @ prior[:2, 2:] + S[1] ** 2 * np.eye(4)
    mean = np.concatenate([np.full(2, B[2]), W[1] @ np.full(2, B[2]) + B[1]])
    down = np.concatenate([np.zeros([6, 2]), W[0]], 1)
    gain = np.linalg.solve(
        down @ prior @ down.T + S[0] ** 2 * np.eye(6), down @ prior
    ).T
    return mean + (x - down @ mean - B[0]) @ gain.T, prior - gain @ down @ prior


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fact_fourteen(dtype):
    net, u = food(dtype)
    rest = ap.relax(net, u, num_steps=500, step_size=0.05)
    limit = 1e-6 if dtype == "float32" else 5e-8
    assert rest.z.numpy()[0, 0] == pytest.approx(1.5674684, abs=limit)
    assert rest.z.dtype == rest.energy.dtype == tf.as_dtype(dtype)
    assert float(rest.force[0]) < 2e-5
    q = ap.laplace(net, u, rest.z)
    mode = rest.z.numpy()[0, 0]
    assert float(q.stddev()[0, 0]) == pytest.approx((6 * mode**2 - 3) ** -0.5, rel=1e-5)
    near = ap.laplace(net, u, rest.z, gauss_newton=True)
    expected = (4 * mode**2 + 1) ** -0.5
    assert float(near.stddev()[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_the_fixed_point_is_the_posterior_mean_of_a_linear_model():
    net = network([None, None])
    mean, cov = linear_posterior(X)
    for momentum, steps in [(0.0, 6_000), (0.8, 2_000)]:
        rest = ap.relax(net, X, num_steps=steps, step_size=0.01, momentum=momentum)
        np.testing.assert_allclose(rest.z, mean, rtol=0, atol=1e-9)
    for gauss_newton in (False, True):
        q = ap.laplace(net, X, rest.z, gauss_newton=gauss_newton)
        np.testing.assert_allclose(q.covariance()[0], cov, rtol=0, atol=1e-10)


def test_who_is_at_rest_stays_there():
    net = network([None, None])
    mean, _ = linear_posterior(X)
    start = tf.convert_to_tensor(mean)
    rest = ap.relax(net, X, num_steps=50, step_size=0.01, start=start)
    # the energy may rise by its own rounding, and that is no error
    np.testing.assert_allclose(rest.z, mean, rtol=0, atol=1e-9)


def flat(tensors):
    return [np.ravel(t) for t in tensors]


@pytest.mark.parametrize("draws", [None, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_learning_step_is_the_gradient_of_the_bound(draws, dtype):
    net, x = network(dtype=dtype), X.astype(dtype)
    z = ap.relax(net, x, num_steps=2_000, step_size=0.01).z
    if draws:
        z = ap.laplace(net, x, z, gauss_newton=True).sample(draws, seed=(0, 1))
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(net.model().log_joint(x)(z))
    truth = tape.gradient(bound, [*net.weights, *net.biases])
    local = ap.local_gradients(net, x, z)
    limit = 1e-5 if dtype == "float32" else 1e-12
    for found, exact in zip(
        flat([*local.weights, *local.biases]), flat(truth), strict=True
    ):
        size = np.linalg.norm(exact)
        assert np.linalg.norm(found - exact) <= limit * size
        assert found @ exact / np.linalg.norm(found) / size > 1 - limit


def test_the_learning_step_raises_what_a_point_keeps_at_its_optimum():
    """The envelope theorem: d/dW max_z log p(x, z), by differences, is Hebb's rule."""
    net = network()

    def best():
        rest = ap.relax(net, X, num_steps=8_000, step_size=0.01, momentum=0.9)
        assert np.max(rest.force) < 1e-9
        return rest.z, -np.mean(rest.energy)

    local = ap.local_gradients(net, X, best()[0])
    for w, gradient in zip(net.weights, local.weights, strict=True):
        direction, start, values = RNG.normal(size=w.shape), w.numpy(), []
        for sign in (1, -1):
            w.assign(start + sign * 1e-5 * direction)
            values.append(best()[1])
        w.assign(start)
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx(np.sum(gradient * direction), rel=1e-5)


@pytest.mark.parametrize("covariance", [None, 0.3, "laplace"])
def test_fit_climbs_by_hebbs_rule(covariance):
    net = network(dtype="float32")
    x, seed = X.astype("float32"), tf.constant([0, 5])
    settings = {"num_steps": 300, "step_size": 0.01}
    objective = ap.local_objective(net, covariance, **settings)
    with tf.GradientTape() as tape:
        found = objective(seed, x)
        mean = tf.reduce_mean(found.surrogate)
    gradients = tape.gradient(mean, [*net.weights, *net.biases])
    z, entropy = ap.relax(net, x, **settings).z, 0.0
    if covariance is not None:
        q = tfd.MultivariateNormalDiag(z, tf.fill([6], 0.3))
        if covariance == "laplace":
            q = ap.laplace(net, x, z, gauss_newton=True)
        z, entropy = q.sample(seed=seed), q.entropy()
    local = ap.local_gradients(net, x, z)
    for g, exact in zip(gradients, [*local.weights, *local.biases], strict=True):
        np.testing.assert_allclose(g, exact, rtol=1e-3, atol=1e-4)
    kept = entropy - energy(net, x, z)
    np.testing.assert_allclose(found.value, kept, rtol=1e-4)
    np.testing.assert_allclose(found.elbo, found.value)
    np.testing.assert_allclose(found.surrogate, found.value)


def test_fit_learns_and_compiles():
    net, x = network(dtype="float32"), X.astype("float32")
    objective = ap.local_objective(net, 0.3, num_steps=20, step_size=0.01)
    done = et.fit(
        objective, num_steps=60, data=x, seed=0, optimizer=keras.optimizers.Adam(0.03)
    )
    assert np.mean(done.elbo[-10:]) > np.mean(done.elbo[:10]) + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step_size": 1.0}, ["step_size at which the energy falls", "1.0", "5 of 5"]),
        ({"step_size": 0.0}, ["step_size to be a positive number", "0.0"]),
        ({"step_size": -0.1}, ["step_size to be a positive number"]),
        ({"num_steps": 0}, ["num_steps to be a positive int", "0"]),
        ({"num_steps": 1.5}, ["num_steps to be a positive int", "1.5"]),
        ({"momentum": 1.0}, ["momentum", "[0, 1)", "1.0"]),
        ({"x": X[:, :5]}, ["data [B, 6] of dtype float64", "(5, 5)"]),
        ({"x": X[0]}, ["data [B, 6]", "(6,)"]),
        ({"x": X[:0]}, ["data [B, 6]", "(0, 6)"]),
        ({"x": X.astype("float32")}, ["dtype float64", "float32"]),
        ({"x": np.where(X > 1, np.nan, X)}, ["finite data", "values", "Drop"]),
        ({"x": np.where(X > 1, np.inf, X)}, ["finite data", "values"]),
        ({"start": np.zeros([5, 5])}, ["start [5, 6]", "(5, 5)"]),
    ],
)
def test_wrong_input_of_relax(change, words):
    with says(*words):
        ap.relax(network(), **({"x": X} | change))


def test_the_step_that_the_error_names_works():
    net = network([None, None])
    with pytest.raises(ValueError, match="try step_size=") as caught:
        ap.relax(net, X, step_size=2.0)
    named = float(str(caught.value).split("step_size=")[1].split(" ")[0])
    assert np.all(ap.relax(net, X, step_size=named, num_steps=50).force < 100)


def test_in_a_graph_a_step_too_large_gives_nan():
    net = network()
    run = tf.function(lambda x: ap.relax(net, x, step_size=1.0).z, jit_compile=True)
    assert np.isnan(run(tf.constant(X))).all()
    objective = ap.local_objective(net, num_steps=50, step_size=1.0)
    with pytest.raises((ValueError, et.fitting.NonFiniteError)):
        et.fit(objective, num_steps=3, data=X, seed=0)


def test_the_covariance_of_an_objective_is_checked():
    with says("covariance to be a positive number", "0.0"):
        ap.local_objective(network(), 0.0)
    with says("covariance to be a positive number", "full"):
        ap.local_objective(network(), "full")
