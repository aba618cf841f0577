"""Normal draws: the same numbers eagerly and compiled, and the right law."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from elbo_tfp import families
from elbo_tfp.distributions import normal
from elbo_tfp.ground import seeds
from tests.statistics import says

tfd = tfp.distributions
SEED = tf.constant([3, -4])
F64 = tf.float64
FAMILIES = {
    "mean_field": lambda: families.mean_field(3, batch_shape=[2], seed=0, dtype=F64),
    "full_rank": lambda: families.full_rank(3, batch_shape=[2], seed=0, dtype=F64),
    "low_rank": lambda: families.low_rank(3, 2, batch_shape=[2], seed=0, dtype=F64),
    "mixture": lambda: families.mixture(2, 3, batch_shape=[2], seed=0, dtype=F64),
    "full mixture": lambda: families.mixture(
        2, 3, covariance="full", seed=0, dtype=F64
    ),
    "flow": lambda: families.flow(2, seed=0, dtype=F64),
}


def everywhere(function, *arguments):
    """What a function gives eagerly, in a graph and under XLA."""
    return [
        tf.nest.map_structure(lambda t: t.numpy(), run(*arguments))
        for run in (
            function,
            tf.function(function, autograph=False),
            tf.function(function, autograph=False, jit_compile=True),
        )
    ]


@pytest.mark.parametrize("dtype", [tf.float32, F64])
def test_draws_are_the_same_compiled(dtype):
    def draws(seed):
        uniform = seeds.uniform([50_000], seed, dtype)
        return seeds.standard_normal([50_000], seed, dtype), uniform

    eager, graph, compiled = everywhere(draws, SEED)
    for one, other, third in zip(eager, graph, compiled, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, third, atol=5e-5 if dtype != F64 else 1e-9)
    assert eager[1].min() > 0 and eager[1].max() < 1
    assert stats.kstest(eager[0], "norm").pvalue > 1e-3
    assert stats.kstest(eager[1], "uniform").pvalue > 1e-3


def test_seeds_are_the_same_compiled():
    def keys(seed):
        return [*seeds.split_seed(seed, 3), seeds.fold_in(seed, 5)]

    one, *others = everywhere(keys, SEED)
    for other in others:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_the_same_compiled(name):
    q = FAMILIES[name]()
    one, *others = everywhere(
        lambda seed: q.experimental_sample_and_log_prob((4, 5), seed=seed), SEED
    )
    for other in others:
        np.testing.assert_allclose(one[0], other[0], atol=1e-8)
        np.testing.assert_allclose(one[1], other[1], atol=1e-7)
    np.testing.assert_allclose(q.log_prob(one[0]), one[1], atol=1e-8)
    np.testing.assert_array_equal(q.sample((4, 5), seed=SEED), one[0])


def test_an_int_a_vector_and_no_sample_shape():
    for name, make in FAMILIES.items():
        q = make()
        members = q.batch_shape + q.event_shape
        assert q.sample(seed=0).shape == members, name
        assert q.sample(3, seed=0).shape == [3, *members]
        assert q.sample(tf.constant([3, 2]), seed=0).shape == [3, 2, *members]


def test_the_covariance_of_low_rank_draws():
    q = families.low_rank(3, 2, scale=[0.5, 1.0, 2.0], dtype=F64, seed=3)
    z = q.sample(100_000, seed=0).numpy()
    white = np.linalg.solve(
        np.linalg.cholesky(q.covariance()), (z - q.mean().numpy()).T
    )
    # the standard error of an entry is at most sqrt(2 / 100,000)
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=5 * 4.5e-3)


def test_draws_need_a_seed():
    with says("expected seed", "got None", "seed=0"):
        normal.Normal(0.0, 1.0).sample(3)


def test_gradients_through_a_bernoulli_at_zero():
    """max(l, 0) + log1p(exp(-|l|)) would give 0 or 1 there, where 1/2 is right."""
    from elbo_tfp.distributions.counts import Bernoulli

    logits = tf.constant([-200.0, -3.0, 0.0, 2.0, 90.0])
    for x in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = Bernoulli(logits, dtype=tf.float32).log_prob(x)
        exact = -np.logaddexp(0, np.float64(logits) * (1 - 2 * x))
        np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-6)
        slope = x - 1 / (1 + np.exp(-np.float64(logits)))
        np.testing.assert_allclose(tape.gradient(value, logits), slope, atol=1e-6)
    off = Bernoulli(logits).log_prob([0.5, 2, -1, 16, np.nan])
    assert np.isneginf(off).all()
    made = Bernoulli(probs=[0.0, 1.0], dtype=tf.float32)
    np.testing.assert_array_equal(made.log_prob([0.0, 1.0]), [0, 0])
