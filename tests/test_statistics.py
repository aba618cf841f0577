"""The instruments measure: an oracle or helper that cannot fail tests nothing."""

import numpy as np
import pytest
from scipy import stats

from tests import oracles
from tests.statistics import assert_mean, assert_within, close, says


def test_a_biased_mean_is_seen():
    samples = np.random.default_rng(0).normal(size=10_000)
    assert_mean(samples, 0.0, fault=0.1)
    with pytest.raises(AssertionError, match="standard errors away"):
        assert_mean(samples + 0.1, 0.0, fault=0.1)


def test_a_test_without_power_is_refused():
    samples = np.random.default_rng(0).normal(size=100)
    with pytest.raises(AssertionError, match="no power"):
        assert_mean(samples, 0.0, fault=0.1)


def test_nan_is_not_within():
    with pytest.raises(AssertionError):
        assert_within(np.nan, 0.1, 0.0, fault=10)


def test_close_depends_on_the_dtype():
    close(np.float32(1 + 1e-6), 1.0)
    with pytest.raises(AssertionError):
        close(np.float64(1 + 1e-6), 1.0)


def test_says_needs_all_parts_in_order():
    with says("one", "two"):
        raise ValueError("one\nand two")
    with pytest.raises(AssertionError), says("two", "one"):
        raise ValueError("one and two")


def test_oracles_agree_with_each_other():
    evidence, mean, scale = oracles.normal_normal(1.0)
    gap = oracles.gaussian_kl([0.2], [[0.3]], [mean], [[scale**2]])
    elbo = oracles.normal_normal_elbo(1.0, 0.2, 0.3**0.5)
    np.testing.assert_allclose(elbo + gap, evidence, rtol=1e-14)
    kl = oracles.continuous_kl(stats.norm(0.2, 0.3**0.5), stats.norm(mean, scale))
    np.testing.assert_allclose(kl, gap, rtol=1e-9)

    def log_weight(z):
        joint = stats.norm.logpdf(z) + stats.norm.logpdf(1 - z)
        return joint - stats.norm(0.2, 0.3**0.5).logpdf(z)

    one = oracles.iwae(log_weight, 0.2, 0.3**0.5, 1)
    np.testing.assert_allclose(one, elbo, rtol=1e-12)
    assert one < oracles.iwae(log_weight, 0.2, 0.3**0.5, 2) < evidence


def test_enumeration_of_a_product_factorises():
    log_odds = np.array([0.3, -1.0])
    log_prior = -2 * np.log(2)
    found = oracles.mixture_evidence(lambda b: b @ log_odds, lambda b: log_prior, 2)
    np.testing.assert_allclose(found, np.log((1 + np.exp(log_odds)) / 2).sum())


def test_difference_is_the_gradient():
    slope = oracles.difference(lambda v: np.sin(v).sum(), [0.1, 2.0])
    np.testing.assert_allclose(slope, np.cos([0.1, 2.0]), rtol=1e-8)
