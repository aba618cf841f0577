"""Compiled programs of the package on a GPU, through JAX.

    python -m benchmarks.gpu [--rounds 5] [--program large ...]

Needs .venv (the package) and .venv-bench, which `make bench` makes, and there a JAX
that sees the GPU: `.venv-bench/bin/pip install "jax[cuda12]==0.10.2"`. TensorFlow only
exports, on the CPU, and needs no GPU.

Every program's numbers are compared with those of TensorFlow on the CPU, whatever JAX
runs on. On a GPU they are then timed, interleaved with a hand-written JAX scan, NumPyro
and the matrix products alone, and results/gpu.json is written with the device's name.
Matrix products are in the default precision of XLA for the device, for all alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness

HERE = Path(__file__).resolve().parent
FITS = "small", "large", "big", "schools", "flow"
OTHERS = "evidence", "refine", "kalman"
RIVALS = {
    "JAX, optax": ("jax", "", ("small", "large", "big", "schools")),
    "NumPyro SVI": ("numpyro", "", ("small", "large", "big", "schools", "evidence")),
    "matrix products, JAX": ("jax", "products", ("small", "large", "big")),
}
DEVICE = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='|')"


def device() -> tuple[str, str]:
    """What JAX runs on: platform and name."""
    found = subprocess.run(
        [harness.PEERS, "-c", DEVICE], capture_output=True, text=True, check=True
    )
    platform, name = found.stdout.strip().split("|")
    return platform, name


def export(folder: Path, names) -> None:
    """Exports the programs, with the package's interpreter."""
    script = str(HERE / "programs.py")
    subprocess.run(
        [harness.OURS, script, str(folder), *names],
        check=True,
        env=harness._environment(2, 1),
    )


def compare(folder: Path) -> dict:
    """Largest difference of each program from TensorFlow's numbers."""
    found = subprocess.run(
        [harness.PEERS, str(HERE / "run.py"), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


def measure(folder: Path, name: str, rounds: int) -> dict:
    """Runs of one program and of its rivals, interleaved; fits short and long."""
    lengths = (1, 5) if name in FITS else (1,)
    asked = {"elbo_tfp": (HERE / "run.py", (folder, "--time", name))}
    for rival, (script, variant, programs) in RIVALS.items():
        if name in programs:
            path = harness.HERE / "steps" / f"with_{script}.py"
            asked[rival] = path, (name, variant)
    workers = []
    try:
        for rival, (script, arguments) in asked.items():
            for n in lengths:
                own = f"{rival}, long" if n > 1 else rival
                workers.append(
                    harness.Worker(own, harness.PEERS, script, arguments, 2, n)
                )
        found = harness.environment(workers)
        runs = harness.interleave(workers, rounds)
    finally:
        for worker in workers:
            worker.close()
    if len(lengths) > 1:
        runs = {
            rival: harness.beyond(runs[rival], runs[f"{rival}, long"])
            for rival in asked
        }
    runs = {rival: [run._asdict() for run in done] for rival, done in runs.items()}
    return {"environment": found, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", choices=(*FITS, *OTHERS), action="append")
    asked = parser.parse_args()
    names = asked.program or (*FITS, *OTHERS)
    platform, kind = device()
    stored = {"device": kind, "difference": {}, "timed": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        export(folder, names)
        stored["difference"] = compare(folder)
        for name, off in stored["difference"].items():
            print(f"{name:10} largest difference from TensorFlow on a CPU: {off:.1e}")
        if platform not in ("gpu", "cuda", "rocm"):
            print(f"no GPU here: JAX sees {kind}. Nothing was timed.")
            return
        for name in names:
            stored["timed"][name] = measure(folder, name, asked.rounds)
            harness.save("gpu", stored)
            runs = stored["timed"][name]["runs"]
            runs = {n: [harness.Run(**r) for r in rs] for n, rs in runs.items()}
            print(f"\n{name}, {kind}")
            print(harness.table(harness.summarize(runs, "elbo_tfp")), flush=True)


if __name__ == "__main__":
    main()
