"""The hierarchy as a model: its density by hand, its draws, its errors."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import elbo_tfp as et
from elbo_tfp.applications import hierarchy
from tests.statistics import assert_mean, close, says

RNG = np.random.default_rng(0)
W = [RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2))]
B = [np.array([0.1, 0.2, -0.3]), np.array([-0.4, 0.0]), np.array([0.5, 1.0])]
S = [0.5, 0.7, 1.2]


@pytest.fixture(scope="module")
def net():
    return hierarchy(W, [tf.sigmoid, tf.tanh], S, biases=B)


def by_hand(x, z):
    """log p(x | x_1) and log p(x_2) + log p(x_1 | x_2) by SciPy, z = (x_2, x_1)."""
    top, low = z[..., :2], z[..., 2:]
    middle = np.tanh(top @ W[1].T + B[1])
    below = 1 / (1 + np.exp(-(low @ W[0].T + B[0])))
    prior = stats.norm(B[2], S[2]).logpdf(top) + stats.norm(middle, S[1]).logpdf(low)
    return stats.norm(below, S[0]).logpdf(x).sum(-1), prior.sum(-1)


def test_densities_are_those_by_hand(net):
    x, z = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 4, 4))
    log_likelihood, log_prior = by_hand(x, z)
    found = net.model().log_joint(x).log_parts(tf.constant(z))
    close(found[0], log_likelihood)
    close(found[1], log_prior)
    assert net.sizes == (3, 2, 2)
    close(net.split(z)[0], z[..., 2:])
    close(net.split(z)[1], z[..., :2])


def test_draws_have_the_density(net):
    z = net.model().prior.sample(40_000, seed=(0, 1)).numpy()
    middle = np.tanh(z[:, :2] @ W[1].T + B[1])
    assert_mean(z[:, :2], B[2], fault=0.06)
    assert_mean((z[:, :2] - B[2]) ** 2, S[2] ** 2, fault=0.1)
    assert_mean(z[:, 2:] - middle, 0, fault=0.03)
    assert_mean((z[:, 2:] - middle) ** 2, S[1] ** 2, fault=0.03)
    close(net.model().prior.sample(40_000, seed=(0, 1)), z)


def test_draw_and_evidence_take_its_model():
    net = hierarchy(
        [np.array([[1.5]]), np.array([[0.8]])], [None, None], [0.5, 0.7, 1.2]
    )
    x = np.array([[0.3], [-2.0]])
    exact = et.evidence.estimate(net.model(), x, method="quadrature").estimate
    spread = np.sqrt(0.5**2 + 1.5**2 * (0.7**2 + 0.8**2 * 1.2**2))
    np.testing.assert_allclose(exact, stats.norm(0, spread).logpdf(x[:, 0]), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_become_variables_of_their_dtype(dtype):
    net = hierarchy([np.ones([2, 1], dtype)], [None], [1, np.float32(2)], biases=[1, 0])
    assert all(hasattr(v, "assign") for v in (*net.weights, *net.biases))
    assert {v.dtype for v in (*net.weights, *net.biases)} == {tf.as_dtype(dtype)}
    close(net.biases[0], np.ones(2))
    fixed = tf.ones([2, 1], dtype)
    assert hierarchy([fixed], [None], [1.0, 1.0]).weights[0] is fixed


ONE = np.ones([2, 3])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([ONE, np.ones([2, 2])], [None] * 2, [1, 1, 1]), ["that chain", "(2, 3), (2"]),
        (([], [], [1.0]), ["that chain", "shapes []"]),
        (([np.ones(3)], [None], [1, 1]), ["that chain", "(3,)"]),
        (([np.ones([2, 2], int)], [None], [1, 1]), ["one floating dtype", "int64"]),
        (
            ([ONE, np.ones([3, 2], "float32")], [None] * 2, [1, 1, 1]),
            ["one floating dtype", "float64", "float32"],
        ),
        (([ONE], [None], [1, 0.0]), ["scales to be a positive number", "0.0"]),
        (([ONE], [None], [1, -1]), ["scales to be a positive number", "-1"]),
        (([ONE], [None], [1, np.nan]), ["scales to be a positive number", "nan"]),
        (([ONE], [None], [1.0]), ["2 scales", "got 1", "the top layer"]),
        (([ONE], [None, None], [1, 1]), ["1 activations", "got 2"]),
        (([ONE], [tf.nn.softmax], [1, 1]), ["element by element", "softmax"]),
        (([ONE], ["tanh"], [1, 1]), ["element by element", "tanh"]),
    ],
)
def test_what_does_not_fit_is_an_error(arguments, words):
    with says(*words):
        hierarchy(*arguments)


def test_biases_that_do_not_fit_are_errors():
    with says("2 biases", "got 1"):
        hierarchy([ONE], [None], [1, 1], biases=[0])
    with says("bias of shape [2] and dtype float64", "(3,)"):
        hierarchy([ONE], [None], [1, 1], biases=[tf.zeros(3, tf.float64), 0])
