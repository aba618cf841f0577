"""The numbers of chapter 1's figure against a grid and its laws, in both languages."""

import numpy as np
import pytest

from elbo_tfp.show.interactive import dimensions_and_error
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"d": 1, "mean": 0.5, "scale": 0.7},
    {"d": 10, "mean": 0.4, "scale": 0.8},
    {"d": 40, "mean": 0.0, "scale": 1.0},
    {"d": 60, "mean": 1.5, "scale": 0.55},
]


def moment(mean, scale):
    """E_q[w^2] / p(x)^2 of one coordinate at x = 1, on a grid."""
    z, h = np.linspace(-40, 40, 80_001, retstep=True)
    log_p = -(z**2) / 2 - (1 - z) ** 2 / 2 - np.log(2 * np.pi)
    log_q = -((z - mean) ** 2) / 2 / scale**2 - np.log(scale * np.sqrt(2 * np.pi))
    log_evidence = -np.log(4 * np.pi) / 2 - 0.25
    return h * np.exp(2 * log_p - log_q - 2 * log_evidence).sum()


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_the_laws(run):
    for at, found in zip(
        POSITIONS, run(dimensions_and_error(), POSITIONS), strict=True
    ):
        d, r = at["d"], moment(at["mean"], at["scale"])
        assert found["own"] == pytest.approx(r, rel=1e-9)
        assert found["prior"] == pytest.approx(moment(0.0, 1.0), rel=1e-9)
        # S draws err by sqrt((r^d - 1) / S): a tenth takes 100 (r^d - 1), at least one
        draws = max(1, 100 * (r**d - 1))
        assert found["ours"] == pytest.approx(np.log10(draws), rel=1e-6, abs=1e-9)
        polled = max(1, 100 * (moment(0.0, 1.0) ** d - 1))
        assert found["polled"] == pytest.approx(np.log10(polled), rel=1e-6)
        assert found["grid"] == pytest.approx(d * np.log10(9))


def test_with_the_prior_as_q_both_cost_the_same():
    found = dimensions_and_error().values(d=20, mean=0.0, scale=1.0)
    assert found["ours"] == pytest.approx(found["polled"])


def test_errors():
    with pytest.raises(ValueError, match="'d' to start between 1.0 and 60.0.*got 61"):
        dimensions_and_error(61)
    with pytest.raises(ValueError, match="'scale' to start.*got 0.5"):
        dimensions_and_error(scale=0.5)
