"""The Gaussian chain against the dense Gaussian that it is."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from elbo_tfp.distributions import MarkovGaussian
from elbo_tfp.distributions.markov import _recurrence
from tests.statistics import close, says

B, T, K = 2, 5, 2


def near(found, exact):
    """Equal up to the rounding of the dense inverse."""
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-11)


def tables(dtype="float64"):
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(B, T, K))
    coupling = rng.normal(size=(B, T, K, K))
    scale = np.tril(rng.normal(size=(B, T, K, K)), -1) + np.eye(K) * [0.7, 1.3]
    return [t.astype(dtype) for t in (loc, coupling, scale)]


def dense(coupling, scale):
    """The covariance of one path, [T K, T K]."""
    # (I - A) u = L epsilon
    left, right = np.eye(T * K), np.zeros((T * K, T * K))
    for t in range(T):
        here = slice(t * K, (t + 1) * K)
        right[here, here] = scale[t]
        if t:
            left[here, (t - 1) * K : t * K] = -coupling[t]
    root = np.linalg.solve(left, right)
    return root @ root.T


def test_density_moments_and_entropy_are_those_of_the_dense_gaussian():
    loc, coupling, scale = tables()
    q = MarkovGaussian(loc, coupling, scale)
    z = np.random.default_rng(1).normal(size=(3, B, T, K))
    log_q, covariance = q.log_prob(z).numpy(), q.marginal_covariance().numpy()
    for b in range(B):
        cov = dense(coupling[b], scale[b])
        exact = stats.multivariate_normal(loc[b].ravel(), cov)
        near(log_q[:, b], exact.logpdf(z[:, b].reshape(3, -1)))
        near(q.entropy()[b], exact.entropy())
        blocks = cov.reshape(T, K, T, K)
        near(covariance[b], np.stack([blocks[t, :, t] for t in range(T)]))
    close(q.stddev(), np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)))
    close(q.mean(), loc)


def test_its_support_is_the_whole_space():
    q = MarkovGaussian(*tables())
    z = np.random.default_rng(1).normal(size=(B, T, K))
    close(q.experimental_default_event_space_bijector()(z), z)


def test_a_path_follows_the_recurrence():
    _, coupling, _ = tables()
    u = np.random.default_rng(2).normal(size=(4, B, T, K))
    found, path = _recurrence(tf.constant(coupling), tf.constant(u)).numpy(), []
    for t in range(T):
        path.append(u[..., t, :])
        if t:
            path[t] = path[t] + np.einsum("bij,sbj->sbi", coupling[:, t], path[t - 1])
    close(found, np.stack(path, -2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_come_with_their_density(dtype):
    q = MarkovGaussian(*tables(dtype))
    z, log_q = q.experimental_sample_and_log_prob([7, 3], seed=(0, 1))
    assert z.shape == [7, 3, B, T, K] and log_q.shape == [7, 3, B]
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-4)
    draw = tf.function(lambda seed: q.sample([7, 3], seed=seed), jit_compile=True)
    np.testing.assert_allclose(draw(tf.constant([0, 1])), z, rtol=1e-4, atol=1e-5)


def test_steps_given_the_one_before_make_up_the_path():
    q = MarkovGaussian(*tables())
    z = q.sample(6, seed=3)
    log_q = q.given(0).log_prob(z[..., 0, :])
    for t in range(1, T):
        log_q += q.given(tf.constant(t), z[..., t - 1, :]).log_prob(z[..., t, :])
    close(log_q, q.log_prob(z))


def test_shapes_that_do_not_fit():
    loc, coupling, scale = tables()
    with says("coupling and scale_tril [..., T, K, K]", "(2, 4, 2, 2)", "K = 1"):
        MarkovGaussian(loc, coupling[:, 1:], scale)
