"""Several devices: the numbers of one, and what cannot be shared is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ROUNDING = {"rtol": 2e-5, "atol": 2e-5}
"""Float32, 12 steps; a shard's noise in another place moves the ELBO by 0.1."""


def environment(**more):
    names = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    names.pop("TF_CONFIG", None)
    return {**names, **more}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What came of the fits on two logical processors."""
    command = [sys.executable, "-m", "tests.fitting.mirrored"]
    folder = tmp_path_factory.mktemp("mirrored")
    done = subprocess.run(
        [*command, str(folder)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(
            found[name], expected[name], **ROUNDING, err_msg=name
        )


def test_two_replicas_give_the_numbers_of_one_device(mirrored):
    assert_close(mirrored["several"], mirrored["alone"])
    assert mirrored["copies apart"] == 0.0


def test_what_was_trained_on_two_devices_loads_on_one_and_on_two(mirrored):
    np.testing.assert_allclose(mirrored["loaded"], mirrored["saved"], rtol=1e-6)
    first, second = mirrored["loaded copies"]
    assert first == second > 0.0


def test_a_resumed_fit_is_the_uninterrupted_one(mirrored):
    assert mirrored["resumed"] == mirrored["several"]


def test_a_step_that_is_not_finite_is_undone(mirrored):
    step, steps, text = mirrored["not finite"]
    assert (step, steps) == (3, 3)
    assert text.startswith("step 3: the bound was nan")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("outside", r"made inside build\(\), .* got outside from outside"),
        ("late", "got .*kernel.* from outside"),
        ("moving", "an objective that changes no variable by itself"),
        ("no build", "a function of no arguments"),
        ("no objective", "expected objective to be callable"),
        ("shards", "a multiple of the number of replicas, 2; got 3"),
        ("batch", "the batch, 7 rows, to be equal shards; got 2 shards"),
        ("rows", "the batch, 29 rows, to be equal shards; got 2 shards"),
        ("kind", "MirroredStrategy; got _DefaultDistributionStrategy"),
        ("own optimizer", "several devices can share; got .* cannot be copied"),
        ("accumulation", "several devices can share; got gradient_accumulation_steps"),
    ],
)
def test_what_replicas_cannot_share_is_refused(mirrored, name, text):
    kind, said = mirrored["faults"][name]
    assert kind == "ValueError", said
    assert re.search(text, said), said
