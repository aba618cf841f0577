"""The numbers of chapter 13's figure against SciPy, in Python and in JavaScript."""

import numpy as np
import pytest
from scipy import integrate, stats

from elbo_tfp.show.interactive import two_answers
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"d": d, "w": w} for d, w in [(1.5, 0.5), (0, 0.3), (2, 0.05), (0.85, 0.9)]
]


def expected(d, w, log_q):
    """E log q(x) under the truth, by quadrature."""

    def integrand(x):
        density = w * stats.norm(d, 0.4).pdf(x) + (1 - w) * stats.norm(-d, 0.4).pdf(x)
        return density * log_q(x, density)

    return integrate.quad(integrand, -7, 7, points=[-d, d], limit=200)[0]


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_quadrature(run):
    for position, found in zip(POSITIONS, run(two_answers(), POSITIONS), strict=True):
        d, w = position.values()
        truth = expected(d, w, lambda x, p: np.log(p) if p > 0 else 0.0)
        mean = expected(d, w, lambda x, p: x)
        scale = (expected(d, w, lambda x, p: x**2) - mean**2) ** 0.5
        log_q = stats.norm(mean, scale).logpdf
        regression = expected(d, w, lambda x, p, log_q=log_q: log_q(x))
        assert found["truth"] == pytest.approx(truth, abs=1e-7)
        assert found["mean"] == pytest.approx(mean, abs=1e-8)
        assert found["scale"] == pytest.approx(scale, abs=1e-8)
        assert found["regression"] == pytest.approx(regression, abs=1e-7)
        assert found["loss"] == pytest.approx(truth - regression, abs=1e-7)
    assert found["loss"] > 0


def test_errors():
    with pytest.raises(ValueError, match="'d' to start between 0.0 and 2.0.*got 3"):
        two_answers(3)
