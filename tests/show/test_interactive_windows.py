"""The window and the noise: expected traces, averaged by hand."""

import numpy as np
import pytest

from elbo_tfp.show.interactive import window_and_noise
from tests.show.movable import in_javascript, in_python

POSITIONS = [{"log_steps": n, "noise": s} for n in (2.5, 3.5) for s in (0.1, 2)]


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_the_rise_is_that_of_the_trace(run):
    for position, found in zip(
        POSITIONS, run(window_and_noise(), POSITIONS), strict=True
    ):
        t, step = np.linspace(0, 10 ** position["log_steps"], 300_001, retstep=True)
        trace = -5 * np.exp(-(t[:-1] + step / 2) / 300)
        _, before, after = trace.reshape(3, -1).mean(1)
        assert found["rise"] == pytest.approx(after - before, abs=1e-7)
        error = position["noise"] * (6 / 10 ** position["log_steps"]) ** 0.5
        assert found["error"] == pytest.approx(error, rel=1e-9)


def test_wrong_numbers():
    with pytest.raises(ValueError, match="gap > 0"):
        window_and_noise(gap=0)
