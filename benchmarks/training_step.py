"""Training steps side by side: two VAEs, eight schools, and TFP-built surrogates.

    python benchmarks/training_step.py [--rounds 5] [--problem small] [--threads 2]

Every library solves the same problem (steps/problem.py) in the fastest form that its
documentation shows, in a process of its own; runs are interleaved (harness.py). A run
is one call of the library's training loop. VAEs and eight schools are run short and
five times as long: the difference gives the time of a step, its remainder "call ms",
what a call costs by itself (elbo_tfp traces its objective at each). "first s" is what
the first call costs beyond its steps: tracing and compiling. "ratio" is the median over
rounds of a library's time / elbo_tfp's: above 1, elbo_tfp is faster. The ELBO says
whether all did the same work; not all have taken equally many steps when it is read.

All libraries get as many threads; the VAEs and eight schools are run with one and with
two. In the last two problems a run is a whole fit, compiling included.
"""

from __future__ import annotations

import argparse
import json

import harness

VAE = {
    "elbo_tfp": (harness.OURS, "elbo_tfp", ""),
    "JAX, optax": (harness.PEERS, "jax", ""),
    "NumPyro SVI": (harness.PEERS, "numpyro", ""),
    "Pyro SVI": (harness.PEERS, "pyro", ""),
    "Pyro SVI, JitTrace_ELBO": (harness.PEERS, "pyro", "jit"),
    "PyTorch": (harness.PEERS, "torch", "fused"),
    "PyTorch, torch.compile": (harness.PEERS, "torch", "compiled"),
    "Keras fit": (harness.OURS, "keras", ""),
    "TFP minimize": (harness.OURS, "tfp", ""),
}
SCHOOLS = {name: row for name, row in VAE.items() if name != "TFP minimize"}
SURROGATE = {
    "elbo_tfp": (harness.OURS, "surrogate", "fit"),
    "TFP fit_surrogate_posterior, XLA": (harness.OURS, "surrogate", "jit"),
    "TFP fit_surrogate_posterior": (harness.OURS, "surrogate", "graph"),
}
PROBLEMS = {
    "small": VAE,
    "large": {
        **VAE,
        "matrix products, PyTorch": (harness.PEERS, "torch", "products"),
        "matrix products, TensorFlow": (harness.OURS, "tfp", "products"),
        "matrix products, XLA": (harness.OURS, "tfp", "products-xla"),
    },
    "schools": {
        **SCHOOLS,
        "elbo_tfp, mean_field_for(joint)": (harness.OURS, "elbo_tfp", "joint"),
        "NumPyro svi.run": (harness.PEERS, "numpyro", "run"),
        "TFP fit_surrogate_posterior": (harness.OURS, "tfp", ""),
    },
    "joint": SURROGATE,
    "autobatched": SURROGATE,
}
TITLES = {
    "small": "VAE 64-64-2, batch 100",
    "large": "VAE 784-400-20, batch 128",
    "schools": "Eight schools, mean-field, 16 samples",
    "joint": "Surrogate built by TFP for a joint; 10,000 steps, compiling included",
    "autobatched": "The same for an AutoBatched joint",
}


LENGTHS = (1, 5)
"""Of a short and a long run, in parts of steps."""


def measure(problem: str, chosen, rounds: int, threads: int) -> dict:
    """All runs of one problem, with the environment they were made in."""
    workers, lengths = [], (1,) if PROBLEMS[problem] is SURROGATE else LENGTHS
    try:
        for name, (python, script, variant) in PROBLEMS[problem].items():
            if not chosen or any(part in name for part in (*chosen, "elbo_tfp")):
                asked = (python, script, (problem, variant), threads)
                workers += [w for n in lengths for w in _start(name, *asked, n)]
        found = harness.environment(workers)
        runs = harness.interleave(workers, rounds, _say)
    finally:
        for worker in workers:
            worker.close()
    if lengths is LENGTHS:
        runs = {
            name: harness.beyond(short, runs[f"{name}, long"])
            for name, short in runs.items()
            if f"{name}, long" in runs
        }
    runs = {name: [run._asdict() for run in done] for name, done in runs.items()}
    return {"environment": {**found, "threads": threads}, "runs": runs}


def _say(line: str) -> None:
    print(line, flush=True)


def _start(name, python, script, arguments, threads, length) -> list:
    name = name if length == 1 else f"{name}, long"
    script = harness.HERE / "steps" / f"with_{script}.py"
    try:
        return [harness.Worker(name, python, script, arguments, threads, length)]
    except (OSError, RuntimeError) as error:
        _say(f"  left out: {name}: {error}")
        return []


def report(problem: str, measured: dict) -> str:
    """A table with its title."""
    runs = {n: [harness.Run(**r) for r in rs] for n, rs in measured["runs"].items()}
    table = harness.table(harness.summarize(runs, "elbo_tfp"))
    return f"\n{TITLES[problem]}\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, action="append", help="default 1 and 2")
    parser.add_argument("--problem", choices=PROBLEMS, action="append")
    parser.add_argument("--library", action="append", help="part of a name; repeatable")
    parser.add_argument("--save", default="training_step", help="name of the JSON")
    asked = parser.parse_args()
    path = harness.HERE / "results" / f"{asked.save}.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    for problem in asked.problem or PROBLEMS:
        whole = PROBLEMS[problem] is SURROGATE
        for threads in asked.threads or ([1] if whole else [1, 2]):
            print(f"\n{problem}, {threads} threads:", flush=True)
            found = measure(problem, asked.library, asked.rounds, threads)
            print(harness.describe(found["environment"]))
            print(report(problem, found), flush=True)
            stored[f"{problem}, threads {threads}"] = found
            harness.save(asked.save, stored)


if __name__ == "__main__":
    main()
