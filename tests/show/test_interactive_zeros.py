"""The numbers of chapter 19's figure against SciPy, in Python and in JavaScript."""

import pytest
from scipy import stats

from elbo_tfp.show.interactive import count_zeros
from tests.show.movable import in_javascript, in_python

POSITIONS = [{"power": p, "zero": z} for p, z in [(-2, 0), (-0.5, 0.2), (1, 0.9)]]


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_scipys(run):
    for position, found in zip(POSITIONS, run(count_zeros(), POSITIONS), strict=True):
        power, zero = position.values()
        d = stats.nbinom(10**-power, 1 / (1 + 10**power))
        assert found["poisson"] == pytest.approx(stats.poisson(1).pmf(0))
        assert found["binomial"] == pytest.approx(d.pmf(0), rel=1e-9)
        mixed = zero + (1 - zero) * d.pmf(0)
        assert found["inflated"] == pytest.approx(mixed, rel=1e-9)
        # E x^2 less the square of the mean, both of the mixture
        second = (1 - zero) * (d.var() + 1)
        assert found["variance"] == pytest.approx(second - (1 - zero) ** 2, rel=1e-9)


def test_errors():
    with pytest.raises(ValueError, match="'power' to start between"):
        count_zeros(3)
