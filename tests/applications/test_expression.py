"""Differential expression: the stated rate is the mean of what is reported."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import applications

tfd = tfp.distributions


class Toy:
    """Shares known from z: gene 0 doubles with z, gene 1 makes room, gene 2 is flat."""

    num_batches = 2

    def shares(self, z, batch):
        up = 0.2 * 2.0 ** z[..., 0]
        return tf.stack([up, 0.9 - up, 0.1 + 0 * up], -1)


def at(mean, scale=0.01):
    return tfd.MultivariateNormalDiag([[mean]] * 3, [scale])


def test_a_doubled_gene_is_reported_and_a_flat_one_is_not():
    r = applications.differential_expression(
        Toy(), at(1.0), at(0.0), num_pairs=100, seed=0
    )
    np.testing.assert_allclose(r.log2_fold, [1, np.log2(0.5 / 0.7), 0], atol=0.02)
    assert list(r.chosen) == [True, False, False] and r.expected_error == 0


def test_the_probability_is_that_of_pairs():
    r = applications.differential_expression(
        Toy(), at(0.5, 0.3), at(0.0, 0.3), error=0.6, num_pairs=20_000, seed=1
    )
    # z - z' ~ N(0.5, 0.18), beyond 0.5 either way
    d = tfd.Normal(0.5, 0.18**0.5)
    wanted = 0.5 + d.cdf(-0.5).numpy()
    assert abs(r.probability[0] - wanted) < 0.015
    assert r.chosen[0] and r.expected_error <= 0.6
    none = applications.differential_expression(
        Toy(), at(0.5, 0.3), at(0.0, 0.3), error=0.1, num_pairs=500, seed=1
    )
    assert not none.chosen.any()


def test_a_model_without_shares_is_named():
    plain = et.models.vae(4, 2, seed=0)
    q = plain.encoder(np.zeros([3, 4], np.float32))
    with pytest.raises(ValueError, match="count_vae"):
        applications.differential_expression(plain.model, q, q, seed=0)
