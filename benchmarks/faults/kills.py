"""SIGKILL at any moment: what was saved stays whole, what resumes ends the same.

Each victim is forked from a process that has imported TensorFlow and run no operation.
It says on a pipe what it has read and written, so the killer knows what must be there.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from benchmarks.faults import work
from elbo_tfp.ground import files

PATIENCE = 120.0
"""Seconds to wait for a victim to say something."""


class Victim:
    """A forked process that runs `task(say)`."""

    def __init__(self, task):
        self._pipe, end = os.pipe()
        self.said, self.pid = b"", os.fork()
        if self.pid == 0:
            try:
                task(lambda text: os.write(end, f"{text}\n".encode()))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(end)

    def listen(self, enough, patience=PATIENCE) -> bool:
        """Waits until `enough(lines)`; False if the victim ended before."""
        end = time.monotonic() + patience
        while not enough(self.lines):
            ready, _, _ = select.select([self._pipe], [], [], 0.5)
            more = os.read(self._pipe, 65536) if ready else b""
            self.said += more
            if (ready and not more) or time.monotonic() > end:
                return False
        return True

    @property
    def lines(self) -> list[list[str]]:
        """What it said, as words, whole lines only."""
        return [line.split() for line in self.said.decode().split("\n")[:-1]]

    def kill(self) -> int:
        """Kills it and hears it out; its exit status, -9 if the kill came in time."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it has ended; the rest of what it said is kept."""
        self.listen(lambda _: False, patience=1e9)
        os.close(self._pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def parts(folder) -> list[Path]:
    """What is half-written in a folder."""
    return list(Path(folder).glob(".*.part"))


def moment(folder, rng) -> None:
    """Waits a random time; every second time, until a file is being written."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, 0.2))
        return
    end = time.monotonic() + 5
    while not parts(folder) and time.monotonic() < end:
        time.sleep(1e-4)
    time.sleep(rng.choice([0, 1e-3, 3e-3]))


def of_writer(make, kills: int, seed: int = 0) -> dict:
    """Kills a process that overwrites one file with numbered states, again and again.

    Each start reads what the one before left: it must be the last state that was
    acknowledged, or the one whose writing was not acknowledged any more.
    """
    rng, last, half, begun = np.random.default_rng(seed), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"

        def task(say):
            writer = make()
            number = writer.read(path) if path.exists() else 0
            say(f"read {number}")
            while True:
                number += 1
                writer.write(path, number)
                say(f"wrote {number}")

        for i in range(kills + 1):
            victim = Victim(task)
            if not victim.listen(lambda lines: len(lines) > 1):
                raise AssertionError(f"start {i}: it ended by itself: {victim.lines}")
            if i == kills:  # the last start reads what the last kill left
                victim.kill()
                _check_number(victim.lines, last)
                break
            moment(folder, rng)
            if victim.kill() != -signal.SIGKILL:
                raise AssertionError(f"start {i}: it ended by itself")
            _check_number(victim.lines, last)
            last = int(victim.lines[-1][1])
            half += bool(parts(folder))
            for left in parts(folder):
                left.unlink()
    seconds = round(time.monotonic() - begun)
    return {
        "kills": kills,
        "while writing": half,
        "states written": last,
        "whole after": kills,
        "seconds": seconds,
    }


def _check_number(lines, last):
    found = int(lines[0][1])
    if found not in (last, last + 1):
        raise AssertionError(f"state {last} was saved; {found} was found")


def of_fit(kills: int, seed: int = 0, size: int = 50_000) -> dict:
    """Kills one fit again and again; it goes on, and ends as if nobody had."""
    rng, saved, half, begun = np.random.default_rng(seed), [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit" / "checkpoint.npz"

        def task(say):
            per_call = int(np.random.default_rng(os.getpid()).integers(1, 40))
            work.climb(path.parent, 10**6, size=size, per_call=per_call)

        for i in range(kills):
            victim, stamp = Victim(task), _stamp(path)
            early = rng.random() < 0.1  # before it has saved anything of its own
            if early:
                time.sleep(rng.uniform(0, 2))
            else:
                _wait_for(lambda s=stamp: _stamp(path) != s)
                moment(path.parent, rng)
            if victim.kill() != -signal.SIGKILL:
                raise AssertionError(f"start {i}: it ended by itself")
            half += bool(parts(path.parent))
            if path.exists():
                saved.append(files.read(path, "checkpoint"))
        total = saved[-1][0]["step"] + 75
        results = [_in_child(place, total, size, folder) for place in (path, None)]
    resumed, undisturbed = results
    for name, value in undisturbed.items():
        if not np.array_equal(resumed[name], value):
            raise AssertionError(f"{name} is not that of an undisturbed fit")
    for header, arrays in saved:
        _check_state(header["step"], arrays, undisturbed)
    return {
        "kills": kills,
        "while writing": half,
        "steps": total,
        "checkpoints exact": len(saved),
        "resumed to the bit": True,
        "seconds": round(time.monotonic() - begun),
    }


def _check_state(step, arrays, undisturbed):
    # the trace holds what a step began with: that of `step` is the state after it
    expected, shape = undisturbed["trace"][step], undisturbed["state"].shape
    places = [a[:3] for a in arrays.values() if a.shape == shape]
    exact = any(np.array_equal(place, expected) for place in places)
    if step % work.EVERY or not exact:
        raise AssertionError(f"the checkpoint of step {step} is not that step's state")


def _in_child(path, total, size, folder) -> dict:
    """The end of a fit, resumed from `path` or undisturbed, as arrays."""
    out = Path(folder) / "end.npz"

    def task(say):
        found = work.climb(path and path.parent, total, size=size)
        state = {f"state {i}": v.numpy() for i, v in enumerate(found.state.values)}
        named = {"elbo": found.elbo, "trace": found.trace, **state}
        named["held out"] = np.array(found.held_out)
        np.savez(out, state=found.variables[0].numpy(), **named)

    if Victim(task).wait():
        raise AssertionError("the fit failed: its error stands above")
    with np.load(out) as found:
        return dict(found)


def _stamp(path):
    return path.stat().st_mtime_ns if path.exists() else None


def _wait_for(what):
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            raise AssertionError("no checkpoint within two minutes")
        time.sleep(0.01)
