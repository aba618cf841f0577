"""Data that a likelihood cannot give have probability zero, or are an error."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from tests.statistics import says

tfd = tfp.distributions
PRIOR = tfd.Normal(0.0, 1.0)


def repeated(make, size=3):
    """A likelihood of `size` independent values, logits all z."""

    def likelihood(z):
        return tfd.Independent(make(tf.stack([z] * size, -1)), 1)

    return likelihood


CASES = {
    "bernoulli": (repeated(lambda a: tfd.Bernoulli(a)), [0, 1, 1], [0, 255, 1]),
    "grey": (repeated(lambda a: tfd.Bernoulli(a)), [0.0, 1, 1], [0, 0.5, 1]),
    "signs": (repeated(lambda a: tfd.Bernoulli(a)), [0, 1, 1], [-1, 1, 1]),
    "poisson": (repeated(lambda a: tfd.Poisson(log_rate=a)), [0.0, 3, 9], [0, 1.5, 2]),
    "negative": (
        repeated(lambda a: tfd.NegativeBinomial(3.0, a)), [0.0, 3, 9], [0, -1, 2],
    ),
    "geometric": (repeated(lambda a: tfd.Geometric(a)), [0.0, 3, 9], [0, 0.1, 2]),
    "binomial": (
        repeated(lambda a: tfd.Binomial(4.0, a)), [0.0, 3, 4], [0, 5, 2],
    ),
    "categorical": (
        repeated(lambda a: tfd.Categorical(tf.stack([a, -a], -1))),
        *([0, 1, 1], [0, 2, 1]),
    ),
    "exponential": (
        repeated(lambda a: tfd.Exponential(tf.exp(a))), [0.0, 3, 9], [0, -1, 2],
    ),
    "gamma": (
        repeated(lambda a: tfd.Gamma(1.0, tf.exp(a))), [0.5, 3, 9], [1, -1, 2],
    ),
    "beta": (repeated(lambda a: tfd.Beta(tf.exp(a), 1.0)), [0.5, 0.1, 1], [0.5, 2, 1]),
    "log-normal": (
        repeated(lambda a: tfd.LogNormal(a, 1.0)), [0.5, 3, 9], [1, -1, 2],
    ),
    "mixture": (
        repeated(
            lambda a: tfd.MixtureSameFamily(
                tfd.Categorical([0.0, 0.0]), tfd.Poisson(log_rate=tf.stack([a, -a], -1))
            )
        ),
        [0.0, 3, 9],
        [0, 1.5, 2],
    ),
    "sample": (
        lambda z: tfd.Sample(tfd.Poisson(log_rate=z), 3), [0.0, 3, 9], [0, 0.5, 2],
    ),
    "multinomial": (
        lambda z: tfd.Multinomial(4.0, tf.stack([z, -z, z], -1)),
        [0.0, 3, 1],
        [0.2, 0.3, 0.5],
    ),
    "other total": (
        lambda z: tfd.Multinomial(4.0, tf.stack([z, -z, z], -1)),
        *([0.0, 3, 1], [0, 3, 2]),
    ),
    "one-hot": (
        lambda z: tfd.OneHotCategorical(tf.stack([z, -z, z], -1), dtype=tf.float32),
        [0.0, 1, 0],
        [0, 0.5, 0.5],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_impossible_values(name):
    likelihood, good, bad = CASES[name]
    floats = name == "grey" or any(isinstance(v, float) for v in good)
    dtype = np.float32 if floats else np.int32
    good, bad = np.array([good], dtype), np.array([bad], dtype)
    model, z = et.LatentVariableModel(PRIOR, likelihood), tf.constant([[0.1], [-0.4]])
    right = model.log_joint(good).log_parts(z)[0]
    np.testing.assert_array_equal(right, likelihood(z).log_prob(good))
    assert np.isfinite(right).all()
    with says("expected data that a", "can give", "others among", "Rescale"):
        model.log_joint(bad).log_parts(z)
    both = np.concatenate([good, bad])
    z = tf.repeat(z, 2, 1)

    @tf.function(jit_compile=True, autograph=False)
    def compiled(x):
        return model.log_joint(x).log_parts(z)[0]

    found = compiled(both)
    np.testing.assert_allclose(found[:, 0], right[:, 0], rtol=1e-4)
    assert np.all(np.isneginf(found[:, 1]))


def test_totals_of_each_datum():
    x, totals = np.float32([2, 5]), tf.constant([2.0, 4.0])
    model = et.LatentVariableModel(PRIOR, lambda z: tfd.Binomial(totals, z))
    with says("from 0 to total_count", "1 others among 2", "from 2 to 5"):
        model.log_joint(x).log_parts(tf.zeros([3, 2]))
    model.log_joint(x - np.float32([0, 1])).log_parts(tf.zeros([3, 2]))


def test_a_latent_outside_the_prior_has_no_mass():
    prior = tfd.Exponential(1.0)
    model = et.LatentVariableModel(prior, lambda z: tfd.Normal(z, 1.0))
    _, log_prior = model.log_joint([0.0, 0.0]).log_parts(tf.constant([[-1.0, 1.0]]))
    np.testing.assert_array_equal(log_prior, [[-np.inf, -1.0]])
