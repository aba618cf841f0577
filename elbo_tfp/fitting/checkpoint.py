"""Checkpoints of a fit: one file, and a resume that is identical to the bit."""

from __future__ import annotations

import dataclasses
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import optimizers, stream
from elbo_tfp.fitting.results import FitResult, FitState, HeldOut
from elbo_tfp.ground import files
from elbo_tfp.ground.checks import whole, wrong

_NAME = "checkpoint.npz"
_KIND = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where and how often a fit is saved: `fit(checkpoint=Checkpoint(folder, 500))`."""

    folder: Any
    """Folder for one file, replaced atomically."""
    every: int | None = None
    """Steps between two savings; default a tenth of the fit."""
    resume: bool = False
    """Whether to go on from the file, if there is one; the result is that of an
    uninterrupted fit, to the bit."""

    def __post_init__(self):
        if not isinstance(self.folder, (str, os.PathLike)):
            raise wrong("checkpoint's folder to be a path", repr(self.folder))
        if self.every is not None:
            whole("checkpoint's every", self.every)


class Checkpoints:
    """Writes and reads the checkpoint of one fit."""

    def __init__(self, asked: Checkpoint, num_steps: int, fingerprint: dict):
        self.path = Path(asked.folder) / _NAME
        self.every = max(1, num_steps // 10) if asked.every is None else asked.every
        self.fingerprint = fingerprint
        files.clean(self.path)
        if self.path.exists() and not asked.resume:
            raise ValueError(
                f"{self.path} holds a checkpoint. Pass Checkpoint(..., resume=True) to "
                "go on from it, or another folder to start anew."
            )

    def __call__(self, run) -> None:
        """Saves a run, if this process is the one to do it.

        A disk that is full costs the checkpoint, not the fit.
        """
        if not run.program.chief:
            return
        header = {
            "fingerprint": self.fingerprint,
            "step": run.step,
            "seed": list(run.plan.seed),
            "stopped": run.stop,
            "seconds": run.seconds,
            "best_at": run.watch.memory[3],
            "mark": run.plan.feed.mark(run.step),
        }
        try:
            files.write(self.path, _KIND, header, _arrays(run))
        except OSError as error:
            warnings.warn(
                f"the checkpoint of step {run.step} could not be written ({error}); "
                f"{self.path} is as it was, and the fit goes on.",
                stacklevel=4,
            )

    def restore(self, run) -> None:
        """Puts a run where its checkpoint left it, if there is one.

        Raises:
            ValueError: if the file is damaged or belongs to another fit.
        """
        if not self.path.exists():
            return
        header, arrays = files.read(self.path, _KIND)
        self._check(header, run.plan)
        if not run.plan.feed.knows(header["step"], header.get("mark")):
            raise ValueError(
                f"the stream gives other batches than the fit that {self.path} "
                f"belongs to has seen: it would be another fit. {stream.REPEATABLE}"
            )
        run.restore(_result(run, header, arrays))
        run.stop = header["stopped"]

    def _check(self, header: dict, plan) -> None:
        found = {**header["fingerprint"], "seed": header["seed"]}
        expected = {**self.fingerprint, "seed": list(plan.seed)}
        wrong = [
            f"{name} was {found.get(name)} and is {expected[name]}"
            for name in expected
            if found.get(name) != expected[name]
        ]
        if wrong:
            raise ValueError(
                f"{self.path} belongs to another fit: {'; '.join(wrong)}. Use another "
                "folder."
            )
        if header["step"] > plan.num_steps:
            raise ValueError(
                f"{self.path} is at step {header['step']}, beyond num_steps="
                f"{plan.num_steps}. num_steps counts all steps, saved ones included."
            )


def fingerprint(source, options, optimizer) -> dict:
    """What must be the same for a resumed fit to be the same fit."""
    data = getattr(source, "data", None)
    checksum = getattr(source, "checksum", 0)
    for part in tf.nest.flatten(data) if data is not None else ():
        checksum = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, checksum)
    return {
        "optimizer": optimizers.recipe(optimizer),
        "optimizer's class": type(optimizer).__name__,
        "batch_size": options.batch_size,
        "num_data": options.num_data,
        "shards": options.shards,
        "checksum of the data": checksum,
    }


def _arrays(run) -> dict[str, np.ndarray]:
    elbo_best, later, best, _ = run.watch.memory
    groups = {
        "state": [v.numpy() for v in run.program.state],
        "history": tf.nest.flatten(run.trace()) if run.chunks else [],
        "weights": [np.concatenate(run.weights)] if run.weights else [],
        "held_out": [np.array(part) for part in zip(*run.held_out, strict=True)],
        "best": [value.numpy() for value in best or ()],
        "best_elbo": [] if elbo_best is None else [elbo_best],
        "later": list(later),
    }
    return {
        f"{name}/{i:05d}": np.asarray(array)
        for name, group in groups.items()
        for i, array in enumerate(group)
    }


def _result(run, header: dict, arrays: dict) -> FitResult:
    def group(name):
        return [arrays[k] for k in sorted(arrays) if k.split("/")[0] == name]

    outputs = run.program.outputs._replace(value=())
    history = tf.nest.pack_sequence_as(outputs, group("history"))
    best = tuple(map(tf.constant, group("best"))) or None
    best_elbo = (group("best_elbo") or [None])[0]
    memory = (best_elbo, group("later"), best, header["best_at"])
    values = tuple(map(tf.constant, group("state")))
    seed = tuple(header["seed"])
    step, mark = header["step"], header.get("mark")
    state = FitState(run.program.state, values, step, seed, memory, mark)
    held_out, weights = group("held_out"), group("weights")
    error = history.standard_error
    return run.result()._replace(
        elbo=history.elbo,
        standard_error=None if isinstance(error, tuple) else error,
        trace=history.trace,
        held_out=HeldOut(*held_out) if held_out else None,
        kl_weight=weights[0] if weights else None,
        seconds=header["seconds"],
        state=state,
    )
