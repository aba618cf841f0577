"""Several devices: the numbers of one, and what cannot be shared is refused."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import free_ports

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
        timeout=500,
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
        ("kind", "MultiWorkerMirroredStrategy; got _DefaultDistributionStrategy"),
        ("own optimizer", "several devices can share; got .* cannot be copied"),
    ],
)
def test_what_replicas_cannot_share_is_refused(mirrored, name, text):
    kind, said = mirrored["faults"][name]
    assert kind == "ValueError", said
    assert re.search(text, said), said


class Workers:
    """Two processes on the loopback interface; none is left behind."""

    def __init__(self, folder, arguments):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        self.files = [folder / f"{'-'.join(arguments)}-{i}.log" for i in range(2)]
        self.processes = []
        for i, file in enumerate(self.files):
            task = {"type": "worker", "index": i}
            config = {"cluster": {"worker": addresses}, "task": task}
            command = [
                sys.executable,
                "-m",
                "tests.fitting.workers",
                folder,
                *arguments,
            ]
            names = environment(TF_CONFIG=json.dumps(config))
            with file.open("w") as out:
                process = subprocess.Popen(
                    command, env=names, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
                )
            self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def said(self, i):
        """All that worker `i` has said so far, by name."""
        found = {}
        for line in self.files[i].read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                found |= json.loads(line)
        return found

    def wait(self, i, name, seconds):
        """What worker `i` says under this name, and after how many seconds."""
        begin = time.time()
        while time.time() - begin < seconds:
            if name in self.said(i):
                return self.said(i)[name], time.time() - begin
            time.sleep(0.05)
        raise AssertionError(f"no {name}: {self.files[i].read_text()[-4000:]}")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Two workers fit until one is killed; two others resume, and the chief is."""
    folder, found = tmp_path_factory.mktemp("workers"), {}
    for victim, arguments in ((1, ("1",)), (0, ("0", "resume"))):
        with Workers(folder, arguments) as two:
            two.wait(victim, "ready", 500)
            two.processes[victim].kill()
            error, seconds = two.wait(1 - victim, "error", 40)
            found[victim] = two.said(0), two.said(1), error, seconds
    return found


def test_workers_resume_to_the_numbers_of_one_device(workers, mirrored):
    first, second, _, _ = workers[0]
    assert_close(first["resumed"], mirrored["alone"])
    assert first["resumed"] == second["resumed"]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_worker_is_a_named_error_within_30_seconds(workers, victim):
    _, _, (kind, text), seconds = workers[victim]
    assert kind == "RuntimeError", text
    assert "every worker to stay until the end of the fit" in text
    assert "resume=True" in text
    assert seconds < 30


def test_workers_that_start_apart_are_refused(workers):
    for each in workers[0][:2]:
        kind, text = each["apart"]
        assert kind == "ValueError"
        assert "all workers to start alike; got another seed" in text


def test_a_strategy_made_too_late_says_what_to_do(mirrored):
    kind, said = mirrored["too late"]
    assert kind == "RuntimeError"
    assert "the strategy to be made before any TensorFlow operation" in said
    assert "Make the strategy at the top of the program" in said
