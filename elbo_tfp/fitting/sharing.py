"""What the replicas and the workers of a strategy must share, checked.

A model with copies on all replicas, an optimizer that can serve them, and workers that
start alike and stay.
"""

from __future__ import annotations

import contextlib
import inspect
import zlib

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import checkpoint, optimizers
from elbo_tfp.fitting.step import Step
from elbo_tfp.ground.checks import wrong


def checked(strategy):
    """A strategy that `fit` knows; made here, if it is a class or a function.

    Raises:
        ValueError: if it is anything else.
        RuntimeError: if workers cannot be connected any more.
    """
    if callable(strategy):
        try:
            strategy = strategy()
        except RuntimeError as error:
            if "program startup" not in str(error):
                raise
            raise RuntimeError(_TOO_LATE.format(error)) from error
    known = tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy
    if not isinstance(strategy, known):
        raise wrong(
            "strategy to be a tf.distribute.MirroredStrategy or "
            "MultiWorkerMirroredStrategy",
            type(strategy).__name__,
            "Leave it out to use one device.",
        )
    return strategy


_TOO_LATE = (
    "expected the strategy to be made before any TensorFlow operation; got one that "
    "ran earlier, so that workers can no longer be connected ({}). Make the strategy "
    "at the top of the program, before any tensor, variable, layer or optimizer."
)


def build(make, strategy):
    """The objective that `make()` returns, with its variables on every replica.

    Raises:
        ValueError: if `make` takes arguments, as an objective does.
    """
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise wrong(
            "a function of no arguments, which makes the model and returns the "
            "objective, since strategy was given",
            f"{make!r} ({error})",
            "Write def build(): model = ...; return objective.",
        ) from error
    with strategy.scope(), workers_alive():
        return make()


@contextlib.contextmanager
def workers_alive():
    """Turns what TensorFlow says when a worker has gone into a `RuntimeError`."""
    try:
        yield
    except _GONE as error:
        lines = error.message.splitlines()
        told = [line for line in lines if line.startswith("Collective")]
        raise RuntimeError(_ALONE.format((told or lines)[-1])) from error


_GONE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)
_ALONE = (
    "expected every worker to stay until the end of the fit; got no answer from one of "
    "them ({}). Start all workers again: with checkpoint=Checkpoint(folder, "
    "resume=True) the fit goes on from the last checkpoint."
)


def check_variables(step: Step, strategy) -> None:
    """Raises `ValueError` if a variable has no copy on every replica, or changes."""
    outside = [
        v.name.removesuffix(":0")
        for v in step.graph.variables
        if not strategy.extended.variable_created_in_scope(v)
    ]
    if outside:
        raise wrong(
            "every variable to be made inside build(), where the strategy copies it to "
            "all replicas",
            f"{', '.join(outside)} from outside",
            "Make models, encoders and layers inside build() and give layers their "
            "input shape, so that they make their variables there.",
        )
    graph = step.graph.definition
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    if any(node.op.startswith("Assign") for node in nodes):
        raise wrong(
            "an objective that changes no variable by itself",
            "one that assigns to a variable at every step",
            "BatchNormalization's moments and the seeds of Keras' Dropout would differ "
            "between replicas: use LayerNormalization, or leave strategy out.",
        )


def check_optimizer(optimizer) -> None:
    """Raises `ValueError` if an optimizer's update does not work on replicas."""
    if not optimizers.recipe(optimizer):
        raise wrong(
            "an optimizer that several devices can share",
            f"{optimizer!r}, which cannot be copied",
            "Use one of Keras' own, or leave strategy out.",
        )


def check_decay(plain, variables, optimizer, trained) -> None:
    """Raises `ValueError` if weights decay that should not, or the other way round."""
    decays = [plain._use_weight_decay(v) for v in variables]
    if decays != [optimizer._use_weight_decay(v) for v in trained]:
        raise wrong(
            "weights that do not decay to be given by name, with strategy",
            "a list of variables",
            "Write optimizer.exclude_from_weight_decay(var_names=[...]).",
        )


def marks(run, mark) -> dict:
    """What all workers must have in common, by name.

    Args:
        run: a fit before its next step.
        mark: what it fits, as for a checkpoint's fingerprint.
    """
    feed, plan = mark[0], run.plan
    events = [event and event.every for event in (plan.held_out, plan.save)]
    return {
        **checkpoint.fingerprint(*mark),
        "seed": str(plan.seed),
        "num_steps": str(plan.num_steps),
        "step": str(run.step),
        "frequency of evaluations or checkpoints": str(events),
        "first batch": feed.trial(),
        "value of the variables": run.values(),
    }


def check_same(program, marks: dict) -> None:
    """Raises `ValueError` unless all workers start alike.

    Args:
        program: a loop on several devices.
        marks: what must be equal, as text or arrays, by name.
    """
    found = program.everyones(*map(_checksum, marks.values()))
    other = [
        name
        for name, column in zip(marks, found.T, strict=True)
        if len(set(column)) > 1
    ]
    if other:
        raise wrong(
            "all workers to start alike",
            f"another {', '.join(other)} on some of them",
            "Give every worker the same arguments and all of the data; a folder of "
            "checkpoints must be one that all of them see.",
        )


def _checksum(mark) -> int:
    """Equal for equal texts and arrays."""
    checksum = 0
    for part in tf.nest.flatten(mark):
        part = part if tf.is_tensor(part) else str(part)
        checksum = zlib.crc32(np.asarray(part).tobytes(), checksum)
    return checksum
