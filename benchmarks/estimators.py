"""Gradient estimators side by side: cost per gradient, and variance per second.

    .venv/bin/python benchmarks/estimators.py [--rounds 5] [--seconds 2] [--case iwae]

Three problems, the same numbers everywhere (`peers/problem.py`): the
importance-weighted bound of a linear-Gaussian model, a mixture whose classes are summed
out, and a model of binary latents that only score-function estimators can climb. Each
library runs in a process of its own, the processes of a round one after the other, and
the rounds interleave the libraries, so that a busy machine slows all alike. A process
compiles, warms up, then times its library's fastest loop 20 times, of which the
quickest counts, and measures the variance of the gradients.

What counts is the work that buys precision, `variance * seconds per gradient`: the
seconds needed for a gradient of unit variance. Columns give medians over the rounds
and the ratio of each row to the best row of elbo_tfp (above 1: elbo_tfp is better).
Peers that are not installed are skipped; requirements.txt beside this file names them,
and .venv-bench is where they are looked for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {
    "elbo_tfp": sys.executable,
    "tfp": sys.executable,
    "numpyro": str(HERE.parent / ".venv-bench/bin/python"),
    "pyro": str(HERE.parent / ".venv-bench/bin/python"),
}
CASES = ("iwae", "enum", "score")


def run_peer(library: str, case: str, seconds: float, seed: int) -> list[dict]:
    """What one process of `library` measures on `case`; empty if it cannot run."""
    python = PEERS[library] if Path(PEERS[library]).exists() else sys.executable
    paths = [str(HERE / "peers"), str(HERE.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    script = str(HERE / "peers" / f"with_{library}.py")
    command = [python, script, case, str(seconds), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"  {library} on {case}: skipped ({last[:100]})", flush=True)
        return []
    return [
        json.loads(line[1:]) for line in done.stdout.splitlines() if line[:1] == "@"
    ]


def table(measured: dict) -> str:
    """Medians over the rounds and ratios to the best row of elbo_tfp."""
    rows = []
    for (library, name), runs in measured.items():
        cost = statistics.median(r["seconds"] for r in runs)
        variance = statistics.median(r["variance"] for r in runs)
        work = statistics.median(r["seconds"] * r["variance"] for r in runs)
        rows.append((library, name, cost, variance, work))
    ours = [row for row in rows if row[0] == "elbo_tfp"]
    cheapest, best = min(r[2] for r in ours), min(r[4] for r in ours)
    head = "library   estimator                us/gradient  variance  cost x  work x"
    lines = [
        f"{library:9} {name:24} {1e6 * cost:11.1f} {variance:9.3g}"
        f" {cost / cheapest:7.2f} {work / best:7.2f}"
        for library, name, cost, variance, work in sorted(rows, key=lambda r: r[4])
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--out", type=Path, help="where to store every number, JSON")
    arguments = parser.parse_args()
    stored = {}
    for case in arguments.case or CASES:
        measured, missing = defaultdict(list), set()
        for seed in range(arguments.rounds):
            for library in PEERS:
                if library in missing:
                    continue
                found = run_peer(library, case, arguments.seconds, seed)
                if not found:
                    missing.add(library)
                for result in found:
                    measured[library, result["name"]].append(result)
        print(f"\n{case}\n{table(measured)}", flush=True)
        stored[case] = {" / ".join(key): runs for key, runs in measured.items()}
    if arguments.out:
        arguments.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
