"""A chunk of steps as one compiled loop, cached on the objective.

The loop has a dynamic trip count, so chunks of any length, other seeds and other
data of the same shape share one compilation. Nothing that changes between calls may
look like a compile-time constant to XLA: the step and the seed are therefore carried
through the loop instead of being read from an argument.
"""

from __future__ import annotations

import re
import types
import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import optimizers
from elbo_tfp.fitting.step import Metrics, Options, Step, trace_step
from elbo_tfp.types import fold_in

_ATTRIBUTE = "_elbo_tfp_programs"
_CACHE_SIZE = 8
_STRIDE = 0x3779


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
        self.step, self.pick, self.capacity = step, pick, capacity
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
        self._loop = tf.function(
            self._chunk, autograph=False, jit_compile=self.compiled or None
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

    def _chunk(self, count, first, seed, weights, inputs):
        outputs = self.step.function.structured_outputs[1]
        arrays = tf.nest.map_structure(self._array, outputs)

        def body(i, step, carried, finite, arrays):
            # the seed, recovered from what the loop carries (see the module's top)
            base = carried - i * _STRIDE
            descent, metrics = self.step.function(
                self.pick(inputs, i), fold_in(base, step), step, tf.gather(weights, i)
            )
            self.optimizer.apply(list(descent), list(self.step.trained))
            arrays = tf.nest.map_structure(
                lambda array, part: array.write(i, part), arrays, metrics
            )
            finite = tf.math.is_finite(metrics.value + metrics.elbo)
            return i + 1, step + 1, carried + _STRIDE, finite, arrays

        i, _, _, finite, arrays = tf.while_loop(
            lambda i, step, carried, finite, arrays: (i < count) & finite,
            body,
            (tf.constant(0), first, seed, tf.constant(True), arrays),
        )
        for v in (*self.step.trained, *self.moments):
            if v.dtype.is_floating:
                finite &= tf.reduce_all(tf.math.is_finite(v))
        stacked = tf.nest.map_structure(lambda array: array.stack(), arrays)
        return i, finite, stacked

    def _array(self, output):
        return tf.TensorArray(output.dtype, self.capacity, element_shape=output.shape)


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


def program_for(objective, feed, options: Options, optimizer, chosen, settings):
    """The compiled loop of an objective, from its cache if it is there.

    Args:
        objective: the callable.
        feed: where the batches come from.
        options: what is compiled into a step.
        optimizer: a Keras optimizer, used as a recipe.
        chosen: the variables to train, or None to find them.
        settings: the pair `(capacity, jit_compile)`.
    """
    capacity, jit_compile = settings
    seen = _referenced(objective)
    spec = str(feed.spec), type(feed).__name__
    chosen_ids = chosen and tuple(map(id, chosen))
    key = (options, spec, optimizers.recipe(optimizer), chosen_ids, settings)
    key = (key, tuple(map(_identity, seen)))
    cache = _cache(objective)
    if key in cache:
        program, kept = cache.pop(key)
    else:
        step = trace_step(objective, feed.spec, options, chosen)
        own = optimizers.clone(optimizer)
        program = Program(step, own, feed.pick, capacity, jit_compile)
        kept = (seen, optimizer)
        while len(cache) >= _CACHE_SIZE:
            cache.pop(next(iter(cache)))
    cache[key] = (program, kept)
    return program


def _cache(objective) -> dict:
    """The dict of programs that lives and dies with the objective."""
    owner = getattr(objective, "__self__", objective)
    try:
        store = owner.__dict__.setdefault(_ATTRIBUTE, {})
    except (AttributeError, TypeError):
        return {}
    return store.setdefault(getattr(objective, "__name__", None), {})


def _referenced(objective) -> list[Any]:
    """What a function refers to by name: if that changes, it must be traced again."""
    seen, queue, values = set(), [objective], []
    scope = getattr(getattr(objective, "__func__", objective), "__globals__", None)
    while queue:
        function = queue.pop()
        function = getattr(function, "__func__", function)
        if not isinstance(function, types.FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        if function.__globals__ is not scope:
            continue
        found = [c.cell_contents for c in function.__closure__ or () if _filled(c)]
        names = function.__code__.co_names
        found += [scope[name] for name in names if name in scope]
        values += found
        queue += found
    return values


def _filled(cell) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _identity(value):
    plain = isinstance(value, (int, float, str, bool, type(None), np.number))
    return (type(value), value) if plain else id(value)
