"""The numbers of chapter 14's figure against a long dense series, in both languages."""

import numpy as np
import pytest

from elbo_tfp.show.interactive import drifting_level
from tests.show.movable import in_javascript, in_python

POSITIONS = [{"u": u} for u in (-2.0, -1.0, 0.3, 1.0)]


def precision(steps, r):
    line = np.eye(steps, k=1) + np.eye(steps, k=-1)
    return (1 + 2 / r) * np.eye(steps) - line / r


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_a_long_series(run):
    for position, found in zip(
        POSITIONS, run(drifting_level(), POSITIONS), strict=True
    ):
        inner = precision(401, 10 ** position["u"])
        cov = np.linalg.inv(inner)
        deviation, memory = cov[200, 200] ** 0.5, cov[200, 201] / cov[200, 200]
        assert found["exact"] == pytest.approx(deviation, rel=1e-9)
        assert found["field"] == pytest.approx(inner[200, 200] ** -0.5, rel=1e-12)
        assert found["memory"] == pytest.approx(memory, rel=1e-9)
        assert found["ratio"] == pytest.approx(found["exact"] / found["field"])
        # one more year adds this much to the gap of the best mean field
        log_dets = [np.linalg.slogdet(inner[:n, :n])[1] for n in (400, 401)]
        one = (np.log(inner[0, 0]) - (log_dets[1] - log_dets[0])) / 2
        assert found["gap"] == pytest.approx(one, rel=1e-9)
        assert found["gap"] < found["most"] == pytest.approx(np.log(2) / 2)


def test_errors():
    with pytest.raises(ValueError, match="'u' to start between -2.0 and 1.0.*got 3"):
        drifting_level(3)
