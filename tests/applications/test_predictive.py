"""Predictive checks and comparisons against SciPy and formulas by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp.applications import compare, posterior_predictive
from elbo_tfp.applications.predictive import PredictiveCheck
from tests.statistics import says

tfd = tfp.distributions


def test_the_p_value_is_that_of_the_predictive_distribution():
    """Mean of N replicated data: normal with mean x / 2 and variance 1.5 / N."""
    model, x = et.models.normal_normal(dtype=tf.float64), np.linspace(-1, 2, 40)
    found = posterior_predictive(
        model, model.posterior, x, np.mean, sample_size=4_000, seed=0
    )
    exact = stats.norm(x.mean() / 2, (1.5 / 40) ** 0.5).sf(x.mean())
    assert found.observed == pytest.approx(x.mean())
    assert abs(found.p_value - exact) < 4 * found.standard_error
    assert found.standard_error == pytest.approx(
        (exact * (1 - exact) / 4_000) ** 0.5, rel=0.1
    )


def test_a_misfit_shows():
    model, x = et.models.normal_normal(dtype=tf.float64), np.linspace(-30, 30, 20)
    found = posterior_predictive(model, model.posterior, x, np.std, seed=0)
    assert found.p_value < 0.01
    with pytest.raises(ValueError, match="one number"):
        posterior_predictive(model, model.posterior, x, lambda t: t, seed=0)


def test_an_error_is_not_zero_at_the_ends():
    """The count of 50 coins that never fall spreads like that of one in 52."""
    none, every = (PredictiveCheck(0.0, np.full(50, value)) for value in (-1.0, 1.0))
    assert (none.p_value, every.p_value) == (0, 1)
    hand = (1 / 52 * 51 / 52 / 50) ** 0.5
    assert none.standard_error == pytest.approx(hand)
    assert every.standard_error == pytest.approx(hand)
    # two errors reach a p-value that 50 replications miss half of the time
    assert 2 * hand > 1 - 0.5 ** (1 / 50)


def test_a_statistic_that_is_no_number_and_data_in_parts_are_named():
    model, x = et.models.normal_normal(dtype=tf.float64), np.linspace(-1, 2, 40)

    def check(x, statistic):
        posterior_predictive(model, model.posterior, x, statistic, seed=0)

    with says("a statistic that is a number", "NaN of x"):
        check(x, lambda v: np.nan)
    with says("a statistic that is a number", "NaN of replication 0"):
        check(x, lambda v: np.mean(v) if v is x else np.nan)
    for parts in ({"x": x}, (x, x)):
        with says("x to be one array", f"a {type(parts).__name__}"):
            check(parts, np.mean)


def test_a_paired_comparison_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a = rng.normal(-80, 10, 50)
    b = a - rng.normal(0.3, 0.5, 50)
    found, known = compare(a, b), stats.ttest_rel(a, b)
    assert found.difference / found.standard_error == pytest.approx(known.statistic)
    assert found.decided and found.unpaired_error > 10 * found.standard_error
    assert compare(b, a).difference == -found.difference


@pytest.mark.parametrize(
    "pair", [([1.0], [2.0]), ([1, 2], [1, 2, 3]), ([1, np.nan], [1, 2])]
)
def test_wrong_comparisons(pair):
    with pytest.raises(ValueError, match="one shape"):
        compare(*pair)
