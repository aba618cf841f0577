"""Figures: what is drawn, on which axes, and in colours one can tell apart."""

import matplotlib as mpl
import numpy as np
import pytest
import tensorflow_probability as tfp

mpl.use("Agg")

from matplotlib import pyplot as plt

from elbo_tfp.show import plots
from tests.statistics import says

tfd = tfp.distributions


@pytest.fixture(autouse=True)
def closed():
    with mpl.rc_context():
        yield
    plt.close("all")


def luminance(colour):
    channels = np.array(mpl.colors.to_rgb(colour))
    low = channels <= 0.04045
    linear = np.where(low, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("name", plots.COLORS)
def test_lines_have_contrast_on_white(name):
    assert 1.05 / (luminance(plots.COLORS[name]) + 0.05) >= 3


def test_series_differ_in_dash_too():
    assert len(plots.DASHES) == len(plots.COLORS) == len(set(map(str, plots.DASHES)))
    plots.use_style()
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()
    assert set(cycle["color"]) == set(plots.COLORS.values())
    assert cycle["linestyle"] == plots.DASHES
    assert not mpl.rcParams["axes.spines.top"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_density_draws_the_density(dtype):
    distribution = tfd.Normal(dtype(1), dtype(2))
    ax = plots.density(distribution, -3, 5, num=50, label="q", color="red")
    (line,) = ax.lines
    x, y = line.get_data()
    assert len(x) == 50 and x[0] == -3 and x[-1] == 5
    np.testing.assert_allclose(
        y, np.exp(distribution.log_prob(x.astype(dtype))), rtol=1e-6
    )
    assert line.get_label() == "q" and line.get_color() == "red"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z", "density")


def test_figures_draw_on_given_axes_or_on_new_ones():
    ax = plt.subplots()[1]
    assert plots.density(tfd.Normal(0.0, 1.0), -1, 1, ax=ax) is ax
    assert plots.density(tfd.Normal(0.0, 1.0), -1, 1) is not ax
    assert plots.density.__name__ == "density" and plots.density.__doc__


@pytest.mark.parametrize("rows", [1, 2])
def test_images_lie_side_by_side(rows):
    x = np.arange(4 * 6.0).reshape(4, 6)
    ax = plots.images(x, shape=(2, 3), rows=rows, largest=23, gap=1)
    sheet = ax.images[0].get_array()
    columns = 4 // rows
    assert sheet.shape == (2 * rows + rows - 1, 3 * columns + columns - 1)
    np.testing.assert_array_equal(sheet[:2, :3], x[0].reshape(2, 3))
    np.testing.assert_array_equal(sheet[-2:, -3:], x[3].reshape(2, 3))
    assert (sheet[:, 3] == 0).all()
    assert ax.images[0].get_clim() == (0, 23) and not ax.axison


def test_images_may_have_their_shape():
    assert plots.images(np.ones([2, 8, 8])).images[0].get_array().shape == (8, 17)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (np.ones([3, 64]), {"rows": 2}),
        (np.ones([64, 63]), {}),
        (np.ones([2, 784]), {}),
        (np.float64(1.0), {}),
    ],
)
def test_images_that_do_not_fit_are_an_error(x, options):
    with says(
        "expected images [N, 64]", "multiple of rows", f"got shape {x.shape}", "shape="
    ):
        plots.images(x, **options)
