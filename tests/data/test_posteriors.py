"""Reference posteriors: their moments against answers that need no Stan."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.posteriors import problem
from elbo_tfp import data
from tests.statistics import says

NAMES = list(problem.SETTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_names(name):
    found = data.posteriordb(name)
    size = len(found.names)
    for moments in found[2:]:
        assert moments.shape == (size,) and np.isfinite(moments).all()
    assert (found.stddev > 0).all()
    # 10,000 draws, some of them repeated in effect
    ratio = found.mean_error / found.stddev
    assert ((ratio > 0.0099) & (ratio < 0.011)).all()
    assert all(value.dtype == np.float64 for value in found.data.values())


def test_eight_schools_are_the_integral_s():
    schools = data.eight_schools(dtype="float64")
    for name in NAMES[:2]:
        found = data.posteriordb(name)
        np.testing.assert_array_equal(found.data["y"], schools.y)
        np.testing.assert_array_equal(found.data["sigma"], schools.sigma)
        at = found.names.index("mu"), found.names.index("tau")
        # by quadrature: means of mu and tau, standard deviations
        off = found.mean[list(at)] - [4.39682, 3.59771]
        assert (abs(off) < 4 * found.mean_error[list(at)]).all()
        np.testing.assert_allclose(
            found.stddev[list(at)], [3.31770, 3.21996], rtol=0.03
        )


@pytest.mark.parametrize("name", NAMES[2:4])
def test_under_a_flat_prior_the_mean_is_that_of_least_squares(name):
    found, (x, y) = data.posteriordb(name), problem.regression(name)
    exact = np.linalg.lstsq(x, y, rcond=None)[0]
    off = (found.mean[:-1] - exact) / found.mean_error[:-1]
    assert (abs(off) < 4).all()
    # Student's t: residual variance over n - k - 2, scaled by (X' X)^-1
    squares = ((y - x @ exact) ** 2).sum() / (len(y) - x.shape[1] - 3)
    spread = (squares * np.diag(np.linalg.inv(x.T @ x))) ** 0.5
    np.testing.assert_allclose(found.stddev[:-1], spread, rtol=0.05)


def test_unknown_names():
    with says("expected one of eight_schools", "arK-arK", "got 'arK'"):
        data.posteriordb("arK")


def test_the_licence_is_kept():
    stored = json.loads(problem.STORED.read_text(encoding="utf-8"))
    assert "BSD 3-Clause" in stored["licence"] and "AS IS" in stored["licence"]
    assert "stan-dev/posteriordb at 28f8d3d" in stored["provenance"]


def test_the_stored_table():
    found = data.posteriordb_fits()
    root = Path(__file__).parents[2]
    path = root / "benchmarks" / "results" / "posteriordb.json"
    assert json.loads(path.read_text(encoding="utf-8")) == found
    rows = found["rows"]
    pairs = [(r["posterior"], r["family"]) for r in rows]
    assert pairs == [(n, f) for n in NAMES for f in ("mean_field", "full_rank")]
    for row in rows:
        assert row["difference"] > -4 * row["difference_error"], row
        assert row["elbo_error"] < 0.2 and row["numpyro_elbo_error"] < 1
    assert {"tensorflow", "numpyro"} <= set(found["environment"]["versions"])
