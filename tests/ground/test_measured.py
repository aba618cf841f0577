"""Numbers with their noise, against the textbook formulas and against repetition."""

import math

import numpy as np
import pytest

from elbo_tfp.ground.measured import (
    Average,
    PerDatum,
    effective_sample_size,
    jensen_gap_of,
    log_mean_of,
    mean_of,
    rounding_of,
)

RNG = np.random.default_rng(0)
NONE = np.zeros(3)


def test_the_mean_of_samples_has_the_error_of_a_mean():
    samples = RNG.normal(size=(50, 3)) * [1, 2, 3]
    found = mean_of(samples, NONE)
    np.testing.assert_allclose(found.value, samples.mean(0), rtol=1e-12)
    expected = samples.std(0, ddof=1) / 50**0.5
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-12)


def test_the_mean_over_data_has_two_errors():
    found = PerDatum(np.array([1.0, 2.0, 6.0]), np.array([0.3, 0.4, 1.2])).mean
    assert found.value == 3.0
    # sqrt(.3^2 + .4^2 + 1.2^2) / 3
    assert found.noise_error == pytest.approx(1.3 / 3)
    assert found.data_error == pytest.approx(math.sqrt(7) / math.sqrt(3))


def test_two_data_have_a_spread_and_one_has_none():
    two = PerDatum(np.array([1.0, 3.0]), np.zeros(2)).mean
    assert two.data_error == pytest.approx(1.0)
    assert math.isnan(PerDatum(np.array([1.0]), np.zeros(1)).mean.data_error)


def test_rounding_does_not_average_out():
    many = np.full(100, 1e-3)
    found = PerDatum(RNG.normal(size=100), many, many).mean
    assert found.noise_error == pytest.approx(1e-3)


@pytest.mark.parametrize("of", [mean_of, log_mean_of, jensen_gap_of])
def test_no_error_is_below_rounding(of):
    found = of(np.zeros((10, 3)), np.array([1e-3, 1e-2, 1e-1]))
    np.testing.assert_array_equal(found.standard_error, [1e-3, 1e-2, 1e-1])
    np.testing.assert_array_equal(found.rounding, [1e-3, 1e-2, 1e-1])


@pytest.mark.parametrize("of", [log_mean_of, jensen_gap_of])
def test_the_delta_method_gives_the_spread_over_repetitions(of):
    runs = [of(RNG.normal(size=(400, 2)) * [0.5, 1.0], 0.0) for _ in range(400)]
    spread = np.std([run.value for run in runs], axis=0)
    stated = np.mean([run.standard_error for run in runs], axis=0)
    np.testing.assert_allclose(stated, spread, rtol=0.15)


def test_log_means_and_gaps_are_those_of_the_weights():
    log_w = RNG.normal(size=(20, 3)) * 2 + [0, -900, 900]
    direct = np.log(np.mean(np.exp(log_w - [0, -900, 900]), 0)) + [0, -900, 900]
    np.testing.assert_allclose(log_mean_of(log_w, 0.0).value, direct, atol=1e-12)
    gap = jensen_gap_of(log_w, 0.0).value
    np.testing.assert_allclose(gap, direct - log_w.mean(0), atol=1e-12)


def test_the_effective_sample_size_counts_equal_weights():
    log_w = np.log([[1.0, 1.0], [1.0, 3.0], [1e-300, 1e-300]]) - 800
    np.testing.assert_allclose(effective_sample_size(log_w), [2, 16 / 10])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rounding_grows_with_the_precision_and_the_size(kind):
    log_w = np.array([[0.0, 100.0], [0.0, -300.0]], kind)
    expected = 4 * np.finfo(kind).eps * np.array([1.0, 201.0])
    np.testing.assert_allclose(rounding_of(log_w), expected)


def test_differences_add_their_errors_in_squares():
    found = Average(3.0, 0.3, 5.0) - Average(1.0, 0.4, 12.0)
    assert found == (2.0, 0.5, 13.0)
    assert str(found) == "2.0000 +- 0.5000 (noise) +- 13.0000 (data)"
