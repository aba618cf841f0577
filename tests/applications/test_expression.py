"""Differential expression: the stated rate is the mean of what is reported."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import applications
from elbo_tfp.applications import expression, folds

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


def group(totals, cells, a, seed):
    """Counts of cells whose shares are `totals`, negative binomial of dispersion a."""
    rng = np.random.default_rng(seed)
    mean = 900.0 * totals * rng.gamma(1 / a, a, (cells, len(totals)))
    return rng.poisson(mean).astype("float32")


def test_the_counts_of_a_group_have_the_last_word():
    # the decoder is untrained and knows nothing: all it says is overruled
    genes, cells, rng = 400, 300, np.random.default_rng(0)
    model, encoder = et.models.count_vae(genes, 2, seed=0)
    first, second = rng.dirichlet(np.ones(genes) * 3, 2)
    at = model.likelihood_at({"x": np.ones([1, genes], "float32")}, tf.zeros([1, 2]))
    a = float(at.distribution.at_dispersion[0, 0])
    data = [group(s, cells, a, i) for i, s in enumerate((first, second))]
    r = applications.differential_expression(
        model, *map(encoder, data), cells=data, num_pairs=1_000, seed=0
    )
    # by hand: variance of a log ratio of two totals, squared doublings
    mean = 900.0 * cells * np.stack([first, second])
    sd = np.sqrt(np.sum(1 / mean + a / cells, 0)) / np.log(2)
    z = (r.log2_fold - np.log2(first / second)) / sd
    # a root mean square of 400 has an error of 0.04
    assert abs(np.sqrt(np.mean(z**2)) - 1) < 0.15
    # and the probabilities: mean of |p - that of the Gaussian| over genes
    d = tfd.Normal(np.log2(first / second), np.sqrt(2) * sd)
    wanted = (d.cdf(-0.5) + 1 - d.cdf(0.5)).numpy()
    assert np.mean(np.abs(r.probability - wanted)) < 0.1
    share = np.mean(np.abs(np.log2(first / second))[r.chosen] <= 0.5)
    assert r.chosen.sum() > 50 and share < 0.12


def test_a_gene_that_was_never_seen_is_not_reported():
    model, encoder = et.models.count_vae(50, 2, seed=0)
    shares = np.r_[0.0, 0.0, np.ones(48)] / 48
    data = [group(shares, 200, 0.3, i) for i in (3, 4)]
    r = applications.differential_expression(
        model, *map(encoder, data), cells=data, seed=0
    )
    assert not r.chosen.any() and np.all(np.abs(r.log2_fold) < 0.5)


def test_the_prior_of_folds_keeps_the_stated_rate():
    # four of five genes a little below delta: an even prior reports too many of them
    wrong, even = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        fold = np.where(rng.random(300) < 0.8, 0.35, rng.normal(0, 2, 300))
        sd = rng.uniform(0.05, 0.3, 300)
        draws = rng.normal(rng.normal(fold, sd), sd, (1_000, 300))
        for kept, weight in (
            (wrong, folds.prior(draws, 0.1)),
            (even, np.ones_like(draws)),
        ):
            p = np.average(np.abs(draws) > 0.5, 0, weight)
            chosen, stated = folds.surest(p, 0.1)
            kept.append(np.mean(np.abs(fold[chosen]) <= 0.5) - stated)
    error = np.std(wrong) / 20**0.5
    assert error < 0.01 and abs(np.mean(wrong)) < 0.025
    assert np.mean(even) > 0.1


def test_surest_by_hand():
    chosen, stated = folds.surest(np.array([0.9, 1.0, 0.2, 0.99]), 0.05)
    assert list(chosen) == [True, True, False, True]
    assert abs(stated - 0.11 / 3) < 1e-12
    chosen, stated = folds.surest(np.array([0.5, 0.4]), 0.05)
    assert not chosen.any() and stated == 0


def test_the_median_by_hand():
    ratio = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 5.0]])
    np.testing.assert_array_equal(folds.median(ratio, np.ones([3, 2])), [2, 1])
    weight = np.array([[1.0, 1.0], [0.1, 1.0], [0.1, 9.0]])
    np.testing.assert_array_equal(folds.median(ratio, weight), [3, 5])


def test_cells_that_are_not_those_of_the_q_are_named():
    model, encoder = et.models.count_vae(5, 2, seed=0)
    x = np.ones([4, 5], "float32")
    q = encoder(x)
    for cells, message in (
        ((x[:3], x), r"the 4 cells of q.*got \(3, 5\)"),
        (x, "a pair"),
        ((x, -x), "negative"),
        ((x.astype("float64"), x), "of float64"),
        ((x[:, :3], x), "3 genes"),
        ((None, x), r"counts \[4, genes\] of float32"),
    ):
        with pytest.raises(ValueError, match=message):
            applications.differential_expression(model, q, q, cells=cells, seed=0)


def test_counts_without_a_mean_cannot_have_the_last_word():
    model, encoder = et.models.count_vae(5, 2, likelihood="log_normal_counts", seed=0)
    x = np.ones([4, 5], "float32")
    q = encoder(x)
    with pytest.raises(ValueError, match="a mean and a variance; got LogNormalCounts"):
        applications.differential_expression(model, q, q, cells=(x, x), seed=0)


def test_the_counts_of_a_group_are_worth_what_their_excess_leaves():
    model, encoder = et.models.count_vae(5, 2, seed=0)
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(0.3, 0.01, [40, 5]).astype("float32")
    q = encoder(x)
    drawn = expression._group(model, q, x, 40_000, 3)
    z = q.sample(seed=3)
    at = model.likelihood_at({"x": tf.constant(x)}, z).distribution
    mean = np.sum(at.mean(), 0, dtype=np.float64)
    excess = np.sum(at.variance(), 0, dtype=np.float64) / mean
    assert excess.min() > 5  # far from Poisson's
    # share * E Gamma(X / c + 1/2, M / c + 1/2)
    factor = (x.sum(0) / excess + 0.5) / (mean / excess + 0.5)
    share = np.mean(model.shares(z, 0), 0)
    error = drawn.std(0) / 200
    assert np.all(np.abs(drawn.mean(0) - share * factor) < 5 * error + 1e-6)
