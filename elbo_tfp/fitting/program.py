"""A chunk of steps as one compiled loop, cached on the objective.

The loop has a dynamic trip count, so chunks of any length, other seeds and other
data of the same shape share one compilation. Nothing that changes between calls may
look like a compile-time constant to XLA: the step and its seed are therefore carried
through the loop, each step looking up the seed of the next, instead of being read from
an argument.
"""

from __future__ import annotations

import functools
import re
import warnings
from typing import NamedTuple

import tensorflow as tf

from elbo_tfp.fitting import optimizers
from elbo_tfp.fitting.step import Metrics, Step


class Chunk(NamedTuple):
    """What one call of the compiled loop gives back."""

    done: int
    """Number of steps taken; fewer than asked for if a bound was not finite."""
    finite: bool
    """Whether every bound and, at the end, every trained variable is finite."""
    metrics: Metrics
    """Stacked over the steps taken."""


class Program:
    """One objective's step, its optimizer and their compiled loop."""

    def __init__(self, step: Step, optimizer, pick, capacity: int, jit_compile: bool):
        self.step, self.pick = step, pick
        self.capacity = min(capacity, _fitting(step.function.structured_outputs[1]))
        self.optimizer = optimizer
        with tf.init_scope():
            if not optimizer.built:
                optimizer.build(list(step.trained))
        self.moments = tuple(optimizers.variables(optimizer))
        self.state = (*step.captured, *self.moments)
        self.fresh = read(self.moments)
        self.compiled = jit_compile
        self.ready = False
        self.evaluators = {}
        self.seconds_per_step = None
        self._jit()

    def _jit(self):
        # a partial: TensorFlow counts retracings by code object and would warn
        chunk = functools.partial(self._chunk)
        self._loop = tf.function(
            chunk, autograph=False, jit_compile=self.compiled or None
        )

    def prepare(self, arguments) -> None:
        """Traces and compiles; a graph that XLA refuses becomes a plain one."""
        try:
            self._loop(tf.constant(0), *arguments)
        except tf.errors.OpError as error:
            if not self.compiled:
                raise
            self.compiled = False
            self._jit()
            self._loop(tf.constant(0), *arguments)
            warnings.warn(_FALLBACK.format(_culprit(error)), stacklevel=3)
        self.ready = True

    def run(self, count: int, arguments) -> Chunk:
        """Takes `count` steps (fewer if a bound is not finite)."""
        done, finite, stacked = self._loop(tf.constant(count), *arguments)
        done = int(done)
        cut = tf.nest.map_structure(lambda part: part.numpy()[:done], stacked)
        return Chunk(done, bool(finite), cut)

    def _chunk(self, count, first, seeds, weights, inputs):
        outputs = self.step.function.structured_outputs[1]
        arrays = tf.nest.map_structure(self._array, outputs)

        def body(i, step, seed, finite, arrays):
            descent, metrics = self.step.function(
                self.pick(inputs, i), seed, step, tf.gather(weights, i)
            )
            self.optimizer.apply(list(descent), list(self.step.trained))
            arrays = tf.nest.map_structure(
                lambda array, part: array.write(i, part), arrays, metrics
            )
            finite = tf.math.is_finite(metrics.value + metrics.elbo)
            following = tf.gather(seeds, tf.minimum(i + 1, self.capacity - 1))
            return i + 1, step + 1, following, finite, arrays

        i, _, _, finite, arrays = tf.while_loop(
            lambda i, step, seed, finite, arrays: (i < count) & finite,
            body,
            (tf.constant(0), first, seeds[0], tf.constant(True), arrays),
        )
        for v in (*self.step.trained, *self.moments):
            if v.dtype.is_floating:
                finite &= tf.reduce_all(tf.math.is_finite(v))
        stacked = tf.nest.map_structure(lambda array: array.stack(), arrays)
        return i, finite, stacked

    def _array(self, output):
        return tf.TensorArray(output.dtype, self.capacity, element_shape=output.shape)


def _fitting(outputs) -> int:
    """How many steps' records fit in memory."""
    outputs = tf.nest.flatten(outputs)
    nbytes = sum(part.dtype.size * (part.shape.num_elements() or 1) for part in outputs)
    return max(1, _BYTES_PER_CALL // nbytes)


_BYTES_PER_CALL = 2**26
_FALLBACK = (
    "XLA cannot compile this objective ({}); fit runs it as a plain TensorFlow graph, "
    "which is slower. Pass jit_compile=False to say that this is meant."
)


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


def read(variables) -> tuple:
    """The values of variables; buffers are shared until a variable changes."""
    return tuple(v.read_value() for v in variables)


def write(variables, values) -> None:
    """Assigns values to variables."""
    for v, value in zip(variables, values, strict=True):
        v.assign(value)
