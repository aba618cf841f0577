"""Chapter 20's figure against messages passed one by one, in both languages."""

import numpy as np
import pytest

from elbo_tfp.show.interactive import ring_of_devices
from tests.show.movable import in_javascript, in_python

TIMES = {"row": 4.0, "fixed": 70.0, "message": 25.0}
POSITIONS = [
    {"log_rows": rows, "log_send": send}
    for rows, send in ((1.0, 1.0), (3.0, 2.5), (4.5, 4.0), (1.5, 5.0))
]


def seconds(devices, rows, send):
    """One step: every device computes, then parts go round the ring twice."""
    time = TIMES["fixed"] + TIMES["row"] * rows / devices
    for _ in ("reduce", "gather"):
        for _ in range(int(devices) - 1):
            time += send / devices + TIMES["message"]
    return time


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_those_of_a_ring(run):
    found = run(ring_of_devices(**TIMES), POSITIONS)
    for position, numbers in zip(POSITIONS, found, strict=True):
        rows, send = 10 ** position["log_rows"], 10 ** position["log_send"]
        times = np.array([seconds(r, rows, send) for r in range(1, 3_000)])
        assert numbers["two"] == pytest.approx(times[0] / times[1])
        assert numbers["eight"] == pytest.approx(times[0] / times[7])
        # a number of devices that is no whole number is at most a little better
        assert abs(numbers["most"] - (1 + np.argmin(times))) <= 1
        assert numbers["best"] >= times[0] / times.min() - 1e-12
        assert numbers["best"] < 1.07 * times[0] / times.min()


def test_a_small_batch_is_slower_on_two():
    small = ring_of_devices(**TIMES).values(log_rows=1.0, log_send=4.0)
    assert small["two"] < 0.1
    assert small["most"] == 1
    assert small["best"] == 1


@pytest.mark.parametrize("name", TIMES)
def test_errors(name):
    with pytest.raises(ValueError, match="row > 0, fixed > 0 and message > 0; got"):
        ring_of_devices(**{**TIMES, name: 0.0})


def test_a_start_off_its_slider():
    with pytest.raises(ValueError, match="'log_send' to start between 1.0 and 6.0"):
        ring_of_devices(log_send=7.0)
