"""The window and the noise: expected traces, averaged by hand."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from elbo_tfp.show.interactive import window_and_noise

POSITIONS = [{"log_steps": n, "noise": s} for n in (2.5, 3.5) for s in (0.1, 2)]


def in_python(figure):
    return [figure.values(**p) for p in POSITIONS]


def in_javascript(figure):
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    code = f"{json.dumps(POSITIONS)}.map({figure.script()})"
    command = ["node", "-e", f"console.log(JSON.stringify({code}))"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_the_rise_is_that_of_the_trace(run):
    for position, found in zip(POSITIONS, run(window_and_noise()), strict=True):
        t, step = np.linspace(0, 10 ** position["log_steps"], 300_001, retstep=True)
        trace = -5 * np.exp(-(t[:-1] + step / 2) / 300)
        _, before, after = trace.reshape(3, -1).mean(1)
        assert found["rise"] == pytest.approx(after - before, abs=1e-7)
        error = position["noise"] * (6 / 10 ** position["log_steps"]) ** 0.5
        assert found["error"] == pytest.approx(error, rel=1e-9)


def test_wrong_numbers():
    with pytest.raises(ValueError, match="gap > 0"):
        window_and_noise(gap=0)
