"""The numbers of chapter 18's figure against SciPy, in Python and in JavaScript."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from elbo_tfp.show.interactive import food_size
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"u": u, "mean": m, "scale": s}
    for u, m, s in [(2, 1.5, 0.3), (0, 0.4, 0.05), (6, 2.45, 0.2), (3.35, 4, 1)]
]


def log_joint(u, v):
    return stats.norm(3, 1).logpdf(v) + stats.norm(v**2, 1).logpdf(u)


def exact(u, m, s):
    """(log p(u), ELBO, mode), by quadrature, three-node moments and bisection."""
    area = integrate.quad(lambda v: np.exp(log_joint(u, v)), -9, 9, limit=400)[0]
    # Gauss-Hermite with six nodes is exact for a polynomial of degree four
    nodes, mass = np.polynomial.hermite_e.hermegauss(6)
    mean = mass @ log_joint(u, m + s * nodes) / mass.sum()
    mode = optimize.brentq(lambda v: 2 * v**3 + (1 - 2 * u) * v - 3, 0.5, 4)
    return np.log(area), mean + stats.norm(0, s).entropy(), mode


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_quadrature(run):
    for position, found in zip(POSITIONS, run(food_size(), POSITIONS), strict=True):
        u, m, s = position.values()
        evidence, elbo, mode = exact(u, m, s)
        assert found["log_evidence"] == pytest.approx(evidence, abs=1e-8)
        assert found["elbo"] == pytest.approx(elbo, abs=1e-8)
        assert found["gap"] == pytest.approx(evidence - elbo, abs=1e-8)
        assert found["point"] == pytest.approx(log_joint(u, m), abs=1e-12)
        assert found["mode"] == pytest.approx(mode, abs=1e-9)
        curvature = 6 * mode**2 + 1 - 2 * u
        assert found["laplace"] == pytest.approx(curvature**-0.5, abs=1e-9)


def test_start_is_fact_fourteen():
    found = food_size().values()
    assert found["mode"] == pytest.approx(1.5674684, abs=5e-8)
    assert found["log_evidence"] == pytest.approx(-3.236757, abs=5e-7)
    assert found["point"] > found["log_evidence"] > found["elbo"]


def test_errors():
    with pytest.raises(ValueError, match="'u' to start between 0.0 and 6.0.*got 7"):
        food_size(7)
