"""The numbers of chapter 15's figure against SciPy, in Python and in JavaScript."""

import numpy as np
import pytest
from scipy import integrate, stats

from elbo_tfp.show.interactive import lost_above
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"t": t, "above": a, "below": b}
    for t, a, b in [(0.5, 0.8, 0.2), (-2, 0.95, 0), (2, 0, 0.95), (1.3, 0.4, 0.4)]
]


def moment(power, t, above, below):
    """E[x^power; observed], by quadrature on either side."""

    def value(x):
        return x**power * stats.norm.pdf(x)

    low = integrate.quad(value, -12, t, epsabs=1e-12)[0]
    high = integrate.quad(value, t, 12, epsabs=1e-12)[0]
    return (1 - below) * low + (1 - above) * high


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_quadrature(run):
    for position, found in zip(POSITIONS, run(lost_above(), POSITIONS), strict=True):
        share, first, second = (moment(k, **position) for k in range(3))
        assert found["lost"] == pytest.approx(1 - share, abs=1e-10)
        assert found["mean"] == pytest.approx(first / share, abs=1e-10)
        spread = np.sqrt(second / share - (first / share) ** 2)
        assert found["spread"] == pytest.approx(spread, abs=1e-10)


def test_equal_probabilities_leave_no_bias():
    found = lost_above().values(t=1.0, above=0.7, below=0.7)
    assert found["mean"] == pytest.approx(0, abs=1e-12)
    assert found["spread"] == pytest.approx(1, abs=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="'t' to start between -2.0 and 2.0.*got 3"):
        lost_above(3)
