"""Figures that chapters draw."""

import matplotlib
import numpy as np
import pytest

from elbo_tfp.show import plots

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    matplotlib.pyplot.close("all")


def test_band_draws_the_median_between_percentiles():
    values = np.stack([np.arange(101.0), 10 + np.arange(101.0)])
    ax = plots.band([1, 2], values, label="repeats")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [50, 60])
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 5 and corners[:, 1].max() == 105
    assert ax.lines[0].get_label() == "repeats"


def test_band_takes_other_percentiles_and_the_colour_of_its_line():
    ax = plots.band([0], [np.arange(101.0)], low=25, high=75, color="red")
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 25 and corners[:, 1].max() == 75
    assert ax.lines[0].get_color() == "red"


@pytest.mark.parametrize("shape", [(3,), (2, 5), (3, 1), (3, 5, 2)])
def test_band_wants_a_row_of_repeats_per_x(shape):
    with pytest.raises(ValueError, match=r"N = 3, one row of at least 2 repeats"):
        plots.band([1, 2, 3], np.zeros(shape))


def test_against_exact_has_a_diagonal_and_one_marker_per_estimate():
    exact = np.array([-3.0, -1.0, -2.0])
    ax = plots.against_exact(exact, {"a": exact - 1, "b": exact})
    *estimates, diagonal = ax.lines
    assert [line.get_label() for line in estimates] == ["a", "b"]
    np.testing.assert_array_equal(estimates[0].get_ydata(), exact - 1)
    assert len({line.get_marker() for line in estimates}) == 2
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [-3, -1]


def test_against_exact_names_the_estimate_that_does_not_fit():
    with pytest.raises(ValueError, match=r"shape \(3,\).*got \(2,\) for 'short'"):
        plots.against_exact(np.zeros(3), {"short": np.zeros(2)})


def test_against_exact_draws_five_estimates_at_most():
    many = {str(i): np.zeros(2) for i in range(6)}
    with pytest.raises(ValueError, match="at most five estimates; got 6"):
        plots.against_exact(np.zeros(2), many)
