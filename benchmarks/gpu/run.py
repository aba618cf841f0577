"""Runs exported programs through JAX, which compiles StableHLO for what it has.

    python benchmarks/gpu/run.py FOLDER [name ...]     compares with TensorFlow
    python benchmarks/gpu/run.py FOLDER --time name    a worker of harness.py

It imports neither TensorFlow nor the package.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"  # else JAX halves what comes in as 64 bits
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import jax
import numpy as np
from jaxlib import _jax

CHUNK = {"small": 2_000, "large": 500, "big": 100, "schools": 4_000, "flow": 1_000}
"""Steps of a short timed run of a fit; an estimator is one call."""
COUNT, SEEDS, ROWS = 0, 2, 5
"""Places among a chunk's parameters."""


class Program:
    """A program on the first device, with its inputs."""

    def __init__(self, path: Path):
        device, client = jax.devices()[0], jax.devices()[0].client
        arrays = np.load(path.with_suffix(".npz"))
        both = [[arrays[n] for n in arrays.files if n[: len(k)] == k] for k in KINDS]
        self.inputs, self.outputs = both
        self._run = client.compile_and_load(
            path.with_suffix(".mlir").read_text(),
            _jax.DeviceList((device,)),
            _jax.CompileOptions(),
        )

    def load(self):
        """Moves the inputs to the device."""
        self._there = [jax.device_put(a) for a in self.inputs]

    def __call__(self) -> list:
        """All results, when they are there."""
        return jax.block_until_ready(self._run.execute(self._there))


KINDS = "in", "out"


def compare(path: Path) -> float:
    """The largest difference from TensorFlow's results, each on its own scale."""
    program = Program(path)
    program.load()
    worst = 0.0
    for mine, theirs in zip(program(), program.outputs, strict=True):
        mine = np.asarray(mine)
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        if theirs.dtype.kind != "f":
            assert np.array_equal(mine, theirs), "whole numbers differ"
            continue
        assert np.array_equal(np.isfinite(mine), np.isfinite(theirs))
        known = np.isfinite(theirs)
        scale = max(1.0, np.max(np.abs(theirs[known]), initial=0))
        off = np.max(np.abs(mine - theirs)[known], initial=0) / scale
        worst = max(worst, float(off))
    return worst


def timed(path: Path):
    """A run for `harness.serve`: a chunk of a fit, or one call of an estimator."""
    program, rng = Program(path), np.random.default_rng(0)
    steps = CHUNK.get(path.name, 0) * int(os.environ["BENCH_LENGTH"])
    if steps:
        inputs = program.inputs
        steps = min(steps, len(inputs[SEEDS]))
        inputs[COUNT] = np.int32(steps)
        inputs[SEEDS] = rng.integers(2**30, size=inputs[SEEDS].shape, dtype=np.int32)
        if len(inputs) > ROWS and inputs[ROWS].dtype == np.int32:
            last = len(inputs[ROWS - 1])
            inputs[ROWS] = rng.integers(last, size=inputs[ROWS].shape, dtype=np.int32)
    program.load()

    def run():
        found = program()
        if not steps:
            return 1, [float(np.mean(found[0]))]
        done, finite, elbo = found[:3]
        assert int(done) == steps and bool(finite)
        return steps, np.asarray(elbo)[:steps]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--time", help="serve timed runs of this program")
    asked = parser.parse_args()
    if asked.time:
        kind = jax.devices()[0].device_kind
        harness.serve(timed(asked.folder / asked.time), device=kind)
        return
    names = asked.names or sorted(f.stem for f in asked.folder.glob("*.mlir"))
    print(json.dumps({name: compare(asked.folder / name) for name in names}))


if __name__ == "__main__":
    main()
