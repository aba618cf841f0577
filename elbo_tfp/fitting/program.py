"""A chunk of steps as one compiled loop, and what a loop must offer to a fit.

The loop has a dynamic trip count, so chunks of any length, other seeds and other
data of the same shape share one compilation. Nothing that changes between calls may
look like a compile-time constant to XLA: the step and its seed are therefore carried
through the loop, each step looking up the seed of the next, instead of being read from
an argument.
"""

from __future__ import annotations

import re
import time
import warnings
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import optimizers
from elbo_tfp.fitting.state import write
from elbo_tfp.fitting.step import Metrics, Options, Step
from elbo_tfp.ground import compiled


class Chunk(NamedTuple):
    """What one call of the compiled loop gives back."""

    done: int
    """Number of steps taken; fewer than asked for if a bound was not finite."""
    finite: bool
    """Whether every bound and, at the end, every trained variable is finite."""
    metrics: Metrics
    """Stacked over the steps taken."""

    @classmethod
    def of(cls, done, finite, stacked) -> Chunk:
        """From what a loop returns, whose arrays are padded to its capacity."""
        done = int(done)
        cut = tf.nest.map_structure(lambda part: part.numpy()[:done], stacked)
        return cls(done, bool(finite), cut)


class Program(Protocol):
    """A compiled loop, on one device or several."""

    state: tuple
    """Every variable that steps read or change, the optimizer's included."""
    trained: tuple
    """Those that are trained."""
    outputs: Metrics
    """Specs of what one step records."""
    capacity: int
    """Steps in one call, at most; a chunk's arguments are padded to it."""
    compiled: bool
    """Whether it runs under XLA."""
    chief: bool
    """Whether this process writes the checkpoints."""

    def run(self, count: int, arguments) -> Chunk:
        """Takes `count` steps (fewer if a bound is not finite)."""

    def everyones(self, *numbers) -> np.ndarray:
        """These numbers of all processes, `[processes, numbers]`."""


class OneDevice:
    """A traced step, an optimizer and their compiled loop.

    What is compiled is shared with all equal programs (`ground.compiled`).

    Args:
        step: the traced step.
        options: what is built into it.
        optimizer: a Keras optimizer, of which the program uses a copy if it can.
        feed: where the batches come from.
        jit_compile: whether to use XLA, if it can.
    """

    chief = True

    def __init__(self, step: Step, options: Options, optimizer, feed, jit_compile):
        begin = time.perf_counter()
        self.step, self.trained = step, step.trained
        self.outputs = step.graph.outputs[1]
        self.capacity = min(feed.capacity, fitting(self.outputs))
        self._pick = feed.pick
        self.optimizer, self.moments, self._fresh = optimizers.start(
            optimizer, self.trained
        )
        self.state = (*step.graph.variables, *self.moments)
        nothing = tf.constant(0), *no_steps(options, feed, self.capacity)
        known = self._known() if options.trace_fn is None else None
        self._loop = compiled.compiled(
            self._chunk, *nothing, jit_compile=jit_compile, known=known
        )
        refused = self._loop.settle(*nothing)
        self.compiled = self._loop.jit_compile
        if refused is not None:
            warnings.warn(fallback(refused), stacklevel=3)
        seconds = step.seconds + time.perf_counter() - begin
        _warn_if_slow(seconds, step.graph.definition)

    def run(self, count: int, arguments) -> Chunk:
        """Takes `count` steps (fewer if a bound is not finite)."""
        return Chunk.of(*self._loop(tf.constant(count), *arguments))

    def everyones(self, *numbers) -> np.ndarray:
        """These numbers, `[1, numbers]`: there is one process."""
        return np.array([numbers], np.float64)

    def leave(self) -> None:
        """Puts an optimizer that could not be copied back as it came."""
        write(self.moments, self._fresh)

    def _known(self):
        """What determines the loop; None if an optimizer's code is not Keras' own."""
        update, graph = optimizers.update(self.optimizer, self.trained), self.step.graph
        if update is None:
            return None
        at = {id(v): i for i, v in enumerate(graph.variables)}
        mine = (*graph.variables, *(v.value for v in self.optimizer.variables))
        key = (
            (*graph.key, self.outputs, self._pick, self.capacity, *update),
            tuple(at[id(v)] for v in self.trained),
            tuple((v.dtype, *v.shape) for v in mine),
        )
        return compiled.Known(key, (*graph.captured, *(v.handle for v in mine)))

    def _chunk(self, count, first, seeds, weights, inputs):
        empty = arrays(self.outputs, self.capacity)
        # what the step captures enters here: in the loop it would become constants
        captured = [
            t if t.dtype in (tf.resource, tf.variant) else tf.identity(t)
            for t in self.step.graph.captured
        ]

        def body(i, step, seed, finite, arrays):
            arguments = self._pick(inputs, i), seed, step, tf.gather(weights, i)
            descent, metrics = self.step.graph(arguments, captured)
            # an update must not wait for a copy of what a later gradient still reads
            with tf.control_dependencies(descent):
                descent = [tf.identity(gradient) for gradient in descent]
                self.optimizer.apply(descent, list(self.trained))
            arrays = tf.nest.map_structure(
                lambda array, part: array.write(i, part), arrays, metrics
            )
            finite = tf.math.is_finite(metrics.value + metrics.elbo)
            following = tf.gather(seeds, tf.minimum(i + 1, self.capacity - 1))
            return i + 1, step + 1, following, finite, arrays

        i, _, _, finite, filled = tf.while_loop(
            lambda i, step, seed, finite, arrays: (i < count) & finite,
            body,
            (tf.constant(0), first, seeds[0], tf.constant(True), empty),
        )
        finite &= all_finite((*self.trained, *self.moments))
        stacked = tf.nest.map_structure(lambda array: array.stack(), filled)
        return i, finite, stacked


def no_steps(options: Options, feed, capacity: int):
    """The arguments of a chunk of no steps."""
    seeds = tf.zeros([capacity, options.shards, 2], tf.int32)
    weights = tf.ones([capacity], options.dtype)
    return tf.constant(0), seeds, weights, feed.inputs(0, 0, capacity)


def arrays(outputs, capacity: int):
    """Room for what `capacity` steps record, each as `outputs`."""
    return tf.nest.map_structure(
        lambda s: tf.TensorArray(s.dtype, capacity, element_shape=s.shape), outputs
    )


def all_finite(variables):
    """Whether all variables are finite, in the graph."""
    finite = tf.constant(True)
    for v in variables:
        if v.dtype.is_floating:
            # 0 v = 0, or NaN if v is not finite: one sum asks for all entries
            finite &= tf.equal(tf.reduce_sum(0.0 * v), 0.0)
    return finite


def fitting(outputs) -> int:
    """How many steps' records fit in memory."""
    outputs = tf.nest.flatten(outputs)
    nbytes = sum(part.dtype.size * (part.shape.num_elements() or 1) for part in outputs)
    return max(1, _BYTES_PER_CALL // nbytes)


_BYTES_PER_CALL = 2**26
_FALLBACK = (
    "XLA cannot compile this objective ({}); fit runs it as a plain TensorFlow graph, "
    "which is slower. Pass jit_compile=False to say that this is meant."
)


def fallback(refused) -> str:
    """What is said when XLA has refused."""
    return _FALLBACK.format(_culprit(refused))


def _culprit(error) -> str:
    """The op that XLA's message names."""
    message = str(error)
    for pattern in (
        r"unsupported operations[^:]*:\s*(?:\S+: )?(\w+)",
        r"No registered '(\w+)'",
        r"\(op: '?(\w+)",
        r"\{\{node ([^}]+)\}\}",
    ):
        match = re.search(pattern, message)
        if match:
            return f"op {match.group(1)}"
    return message.splitlines()[0][:200]


_PATIENCE = 30.0
"""Seconds of tracing and compiling after which a large graph is remarked on."""
_LARGE = 5_000
"""Nodes of a step's graph that are many; a VAE's step has some 300."""


def _warn_if_slow(seconds: float, graph) -> None:
    size = len(graph.node) + sum(len(f.node_def) for f in graph.library.function)
    if seconds > _PATIENCE and size > _LARGE:
        warnings.warn(
            f"the objective took {seconds:.0f} s to trace and compile: one step is a "
            f"graph of {size:,} operations. A Python loop over data or time is copied "
            "once per turn: write it as operations on whole arrays, or as "
            "tf.while_loop, tf.scan or tf.map_fn.",
            stacklevel=4,
        )
