"""The gap of one Gaussian against two humps, in Python and in JavaScript."""

import numpy as np
import pytest
from scipy import optimize, stats

from elbo_tfp.show.interactive import two_humps
from tests.show.movable import in_javascript, in_python

POSITIONS = [
    {"m": m, "mean": u, "scale": s}
    for m, u, s in [(2.6, 0, 2), (3.5, 3.5, 1), (0.5, -4.5, 0.5), (4, 0, 4)]
]


def gap(m, mean, scale):
    z = np.linspace(mean - 12 * scale, mean + 12 * scale, 40_001)
    q = stats.norm(mean, scale)
    log_p = np.logaddexp(*(stats.norm.logpdf(z, c, 1) for c in (-m, m))) - np.log(2)
    return np.sum(q.pdf(z) * (q.logpdf(z) - log_p)) * (z[1] - z[0])


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_gap_is_the_divergence_to_a_hundredth_of_a_nat(run):
    for position, found in zip(POSITIONS, run(two_humps(), POSITIONS), strict=True):
        assert found["gap"] == pytest.approx(gap(**position), abs=0.01)


def test_its_valleys_are_those_of_the_chapter():
    figure = two_humps()
    for m, start in [(2.6, 2.6), (2.6, 0.0), (3.2, 3.2)]:
        best = optimize.minimize(
            lambda v, m=m: figure.values(m=m, mean=v[0], scale=v[1])["gap"],
            [start, 1.2],
            method="Nelder-Mead",
        )
        assert abs(best.x[0] - start) < 0.5  # it stayed in its own valley
        exact = optimize.minimize(lambda v, m=m: gap(m, *v), best.x)
        assert best.fun == pytest.approx(exact.fun, abs=0.005)


def test_error():
    with pytest.raises(ValueError, match="'m' to start between 0.5 and 4.0"):
        two_humps(4.5)
