"""Programs exported for a GPU: nothing in them is the host's, and JAX agrees."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import harness
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import export
from benchmarks.steps import problem
from elbo_tfp.ground import compiled

NAMES = "small", "schools", "flow", "evidence", "refine", "kalman"
jax = pytest.mark.skipif(
    not Path(harness.PEERS).exists(), reason="no .venv-bench here (make bench makes it)"
)


def export_to(folder, *more):
    script = str(harness.HERE / "gpu/programs.py")
    command = [harness.sys.executable, script, str(folder), *more]
    subprocess.run(command, check=True, env=harness._environment(2, 1))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dry")
    export_to(folder, *NAMES, "--dry")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_program_is_the_hosts(programs, name):
    text = (programs / f"{name}.mlir").read_text()
    assert export.foreign(text) == set()
    assert "stablehlo." in text
    arrays = np.load(programs / f"{name}.npz")
    assert [arrays[n].shape for n in arrays.files] == export.parameters(text)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("    %3 = stablehlo.custom_call @callback(%2) : x", "stablehlo.custom_call"),
        ('    %3, %4 = "stablehlo.infeed"(%2) : x', "stablehlo.infeed"),
        ("    %3 = chlo.top_k(%2, k = 2) : x", "chlo.top_k"),
    ],
)
def test_what_is_the_hosts_is_named(line, named):
    fine = "  func.func @main() {\n    %2 = stablehlo.add %0, %1 : x\n"
    assert export.foreign(fine) == set()
    assert export.foreign(fine + line) == {named}


def test_variables_follow_arguments_and_come_back():
    v = tf.Variable([1.0, 2.0, 3.0])
    empty, two = tf.zeros([0]), tf.constant(2.0)

    def add(x):
        v.assign_add(tf.fill([3], x) + tf.reduce_sum(empty))
        return 10 * x

    found = export.record(lambda: compiled.compiled(add, two)(two))
    (program,) = found
    assert export.parameters(program.text) == [(), (3,)]
    for mine, right in zip(program.inputs, (2.0, [1, 2, 3]), strict=True):
        np.testing.assert_array_equal(mine, right)
    for mine, right in zip(program.outputs, (20.0, [3, 4, 5]), strict=True):
        np.testing.assert_array_equal(mine, right)


@jax
def test_jax_gives_the_numbers_of_tensorflow(tmp_path):
    export_to(tmp_path, "schools", "evidence", "kalman")
    found = gpu.compare(tmp_path)
    assert set(found) == {"schools", "evidence", "kalman"}
    assert max(found.values()) < 5e-5
    # another answer is seen
    arrays = dict(np.load(tmp_path / "kalman.npz"))
    arrays["out0"] = arrays["out0"] * 1.001
    np.savez(tmp_path / "kalman.npz", **arrays)
    assert gpu.compare(tmp_path)["kalman"] == pytest.approx(1e-3, rel=0.01)


def test_no_gpu_is_said(monkeypatch, capsys):
    monkeypatch.setattr(harness.sys, "argv", ["gpu", "--program", "kalman"])
    monkeypatch.setattr(gpu, "device", lambda: ("cpu", "cpu"))
    monkeypatch.setattr(gpu, "export", lambda folder, names: None)
    monkeypatch.setattr(gpu, "compare", lambda folder: {"kalman": 0.0})
    monkeypatch.setattr(gpu, "measure", None)
    gpu.main()
    assert "no GPU here: JAX sees cpu. Nothing was timed." in capsys.readouterr().out


def test_the_big_network():
    shapes = [w.shape for w in problem.weights(problem.SIZES["big"])[::2]]
    wide = 2_048
    assert shapes[:3] == [(784, wide), (wide, wide), (wide, 128)]
    assert shapes[3:] == [(64, wide), (wide, wide), (wide, 784)]
