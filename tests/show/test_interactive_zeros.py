"""The numbers of chapter 19's figure against SciPy, in Python and in JavaScript."""

import json
import shutil
import subprocess

import pytest
from scipy import stats

from elbo_tfp.show.interactive import count_zeros

POSITIONS = [{"power": p, "zero": z} for p, z in [(-2, 0), (-0.5, 0.2), (1, 0.9)]]


def in_python(figure):
    return [figure.values(**p) for p in POSITIONS]


def in_javascript(figure):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    code = (
        f"console.log(JSON.stringify({json.dumps(POSITIONS)}.map({figure.script()})))"
    )
    ran = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_scipys(run):
    for position, found in zip(POSITIONS, run(count_zeros()), strict=True):
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
