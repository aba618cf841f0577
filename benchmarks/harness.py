"""Timings that can be compared: one process per library, runs interleaved.

A `Worker` is a process of one library, in that library's own interpreter. It builds its
problem, then waits; told to, it makes one run and says how long that took. `interleave`
asks the workers in turn, A B C A B C, so that whatever else the machine does slows all
alike; the others sleep meanwhile. Ratios are taken within a round and their median is
reported, so drift between rounds cancels. A worker's first run, which traces and
compiles, is kept apart.

Only the standard library is used here, since every interpreter imports this file.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = str(ROOT / ".venv/bin/python")
PEERS = os.environ.get("BENCH_PEERS", str(ROOT / ".venv-bench/bin/python"))
PACKAGES = (
    *("tensorflow", "tensorflow-probability", "keras", "tf-keras", "numpy"),
    *("jax", "jaxlib", "optax", "numpyro", "pyro-ppl", "torch"),
    *("scipy", "scikit-learn", "statsmodels"),
)


class Run(NamedTuple):
    """One run of one library."""

    steps: int
    """How many steps it took."""
    seconds: float
    """Elapsed time."""
    cpu_seconds: float
    """Time on processors, summed over threads."""
    elbo: float
    """Mean of the bound over the last half of the run, nats: a check, not a score."""
    call: float = 0.0
    """Elapsed seconds of the call beyond its steps, where that is measured."""


class Summary(NamedTuple):
    """What is reported of one library."""

    name: str
    first: float
    """Seconds of the first run beyond a later one: tracing and compiling."""
    median: float
    """Median microseconds per step, elapsed."""
    best: float
    """Least microseconds per step over the runs, elapsed."""
    cpu: float
    """Median microseconds per step, on processors."""
    call: float
    """Median milliseconds of a later call beyond its steps; 0 if not measured."""
    ratio: float
    """Median over rounds of this library's time / the reference's."""
    best_ratio: float
    """This library's least time / the reference's."""
    elbo: float
    """The last run's ELBO, nats."""


# -- the worker's side ---------------------------------------------------------------


def serve(run, **more) -> None:
    """Makes a run whenever a line comes in; `run()` returns (steps, bound per step).

    `more` is told beside the versions: the device, say.
    """
    say({"ready": True, "versions": versions() | more})
    for _ in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        steps, elbo = run()
        seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        tail = [float(value) for value in elbo[-max(1, len(elbo) // 2) :]]
        say(Run(steps, seconds, cpu, sum(tail) / len(tail))._asdict())


def versions() -> dict:
    """The versions of what matters and is installed in this interpreter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def say(message: dict) -> None:
    """Tells the parent; what a library prints beside is not heard."""
    print("@" + json.dumps(message), flush=True)


# -- the parent's side ---------------------------------------------------------------


class Worker:
    """A process that waits and runs; started at once."""

    def __init__(self, name, python, script, arguments=(), threads=2, length=1):
        self.name, self.versions = name, {}
        command = [python, str(script), *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            text=True,
            env=_environment(threads, length),
        )
        try:
            self.versions = self._listen()["versions"]
        except RuntimeError:
            self.close()
            raise

    def run(self) -> Run:
        """One run. Raises `RuntimeError` if the process has died."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Run(**self._listen())

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _listen(self) -> dict:
        for line in self._process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise RuntimeError(f"{self.name} stopped; its error stands above.")


def ask(python, script, arguments=(), threads=2) -> tuple[list, dict]:
    """Runs a script to its end; what it said, and its versions.

    Raises:
        RuntimeError: if the interpreter is absent or the script fails, with the last
            line of its error.
    """
    command = [str(python), str(script), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env=_environment(threads, 1), capture_output=True, text=True
        )
    except OSError as error:
        raise RuntimeError(f"{python} cannot be run: {error}") from error
    if done.returncode:
        last = done.stderr.strip().splitlines() or ["no error was printed"]
        raise RuntimeError(f"{Path(script).name} failed: {last[-1]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("@")]
    *found, end = [json.loads(line[1:]) for line in lines]
    return found, end["versions"]


def _environment(threads: int, length: int) -> dict:
    """The same threads and length of runs for all; our folders on the path."""
    limits = ("OMP", "MKL", "OPENBLAS", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    names = [name if "TF" in name else f"{name}_NUM" for name in limits]
    paths = os.pathsep.join([str(HERE), str(ROOT)])
    return {
        **os.environ,
        **{f"{name}_THREADS": str(threads) for name in names},
        "NPROC": str(threads),  # JAX's pool
        "BENCH_THREADS": str(threads),
        "BENCH_LENGTH": str(length),
        "PYTHONPATH": paths,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TQDM_DISABLE": "1",
    }


def interleave(workers, rounds: int, say=print) -> dict[str, list[Run]]:
    """All runs of all workers, the first one included, by name.

    A worker that fails is named and left out; the others go on.
    """
    runs, alive = {worker.name: [] for worker in workers}, list(workers)
    for number in range(rounds + 1):
        for worker in list(alive):
            try:
                runs[worker.name].append(worker.run())
            except (RuntimeError, OSError) as error:
                say(f"  left out: {worker.name}: {error}")
                alive.remove(worker)
                runs.pop(worker.name)
        say(f"  round {number} of {rounds} {'(first calls)' if not number else ''}")
    return runs


def beyond(short: list[Run], long: list[Run]) -> list[Run]:
    """What the steps cost that a long run has beyond a short one, round by round.

    What a call costs by itself (tracing, tables, a state that is read and written) is
    in both runs and drops out; it is the remainder of the short one. The first run,
    which compiles, stays the short one's.
    """
    found = [short[0]]
    for less, more in zip(short[1:], long[1:], strict=True):
        steps, seconds = more.steps - less.steps, more.seconds - less.seconds
        call = less.seconds - less.steps * seconds / steps
        cpu = more.cpu_seconds - less.cpu_seconds
        found.append(Run(steps, seconds, cpu, more.elbo, call))
    return found


def summarize(runs: dict[str, list[Run]], reference: str) -> list[Summary]:
    """Medians and ratios, the quickest first; each list's first run is set apart.

    Args:
        runs: at least two runs per library, as many for each.
        reference: the library whose time is 1.
    """
    per_step = {
        name: [run.seconds / run.steps for run in done[1:]]
        for name, done in runs.items()
    }
    base = per_step[reference]
    summaries = []
    for name, done in runs.items():
        times = per_step[name]
        median = statistics.median(times)
        ratios = [mine / its for mine, its in zip(times, base, strict=True)]
        cpu = statistics.median(run.cpu_seconds / run.steps for run in done[1:])
        summaries.append(
            Summary(
                name=name,
                first=max(0.0, done[0].seconds - median * done[0].steps),
                median=1e6 * median,
                best=1e6 * min(times),
                cpu=1e6 * cpu,
                call=1e3 * statistics.median(run.call for run in done[1:]),
                ratio=statistics.median(ratios),
                best_ratio=min(times) / min(base),
                elbo=done[-1].elbo,
            )
        )
    return sorted(summaries, key=lambda s: s.median)


def table(summaries: list[Summary]) -> str:
    """The summaries as aligned text."""
    head = (
        f"{'library':34} {'first s':>8} {'us/step':>9} {'least':>9} {'on cpu':>9}"
        f" {'call ms':>8} {'ratio':>7} {'of least':>8} {'ELBO':>9}"
    )
    lines = [
        f"{s.name:34} {s.first:8.2f} {s.median:9.1f} {s.best:9.1f} {s.cpu:9.1f}"
        f" {s.call:8.1f} {s.ratio:7.2f} {s.best_ratio:8.2f} {s.elbo:9.3f}"
        for s in summaries
    ]
    return "\n".join([head, *lines])


def environment(workers=()) -> dict:
    """What the numbers depend on: processor, cores, load, versions, date."""
    found = {}
    for worker in workers:
        found |= worker.versions
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": found,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def describe(found: dict) -> str:
    """The environment in two lines."""
    packages = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
    return (
        f"{found['date']}, {found['processor']}, {found['cores']} cores, "
        f"load {found['load']}, {found['system']}\n{packages}"
    )


def save(name: str, content: dict) -> Path:
    """Writes results/<name>.json and says where."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
