"""Trace every time, compile once: one cache of programs, which cannot go stale.

A cache keyed by the objects that a function names answers for the model as it *was*:
an entry of a dict or an attribute that changes keeps its id. Here the trace is the
truth. A function is traced at every call of `compiled` (0.1 to 0.2 s for a small VAE);
its graph gets names without counters and a fingerprint (some 6 ms), and the program of
an equal graph is used again. Whatever Python value was read is a constant of the
graph; variables, large tensors and constant arrays of real numbers are arguments. So
one architecture compiles once, whatever its weights, objects and seeds. Programs run in
full float32, those made in a block of `precision.tf32` do not.

A function of the library's own that values determine (`Known`) is traced once for
equal values. That is the only exception, and it is keyed by values too.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.eager import context, record
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from elbo_tfp.ground import precision
from elbo_tfp.ground.canonical import canonical

LIMIT = 64
"""Programs kept; the one unused for longest goes first."""

_programs: OrderedDict[tuple, Program] = OrderedDict()
_traces: OrderedDict[tuple, tuple] = OrderedDict()


class Known(NamedTuple):
    """What determines a function besides its arguments: equals need no trace."""

    key: tuple
    """Hashable values, never ids: functions of equal keys compute the same."""
    captured: tuple
    """What it may read: tensors and handles of variables, in an order of the key's."""


class Graph(NamedTuple):
    """A function as it was when it was traced: what it computes, and on what."""

    key: tuple
    """Equal for graphs that compute the same of their inputs."""
    definition: Any
    captured: tuple
    """What it read besides its arguments: variables, tensors, constants of numbers."""
    variables: tuple
    """The variables among them, in the order in which it read them."""
    outputs: Any
    """What it returns, as specs."""

    def __call__(self, arguments, captured):
        """What it returns, as a part of the graph that is being traced.

        Args:
            arguments: a tuple like those it was traced for.
            captured: the tensors of the same name, or others in their place.
        """
        flat = (*tf.nest.flatten(arguments), *captured)
        return _structured(self.outputs, _imported(self.definition, self.key, *flat))


class Compiled:
    """A function as it was when it was traced, on a program that equal ones share."""

    def __init__(self, graph: Graph, program: Program, like):
        self._graph, self._program, self._like = graph, program, like

    def __call__(self, *arguments):
        """What the function returns for arguments like those it was traced for.

        A program that XLA refuses when it first runs becomes a plain graph.
        """
        tf.nest.assert_same_structure(self._like, arguments)
        flat = (*tf.nest.flatten(arguments), *self._graph.captured)
        program = self._program
        # an open tape would ask XLA for its gradient
        with record.stop_recording(), precision.running(program.tf32):
            try:
                found = program.run(*flat)
            except tf.errors.OpError as error:
                if program.settled or not program.jit_compile:
                    raise
                program.refused, program.jit_compile = error, False
                program.run = _runner(self._graph, False)
                found = program.run(*flat)
        program.settled = True
        return _structured(self._graph.outputs, found)

    def reading(self, other) -> Compiled:
        """The same program on other tensors: `other` of each that it captures."""
        captured = tuple(map(other, self._graph.captured))
        graph = self._graph._replace(captured=captured)
        return Compiled(graph, self._program, self._like)

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles the program."""
        return self._program.jit_compile

    def settle(self, *arguments) -> Exception | None:
        """Runs a program that has never run, to see whether XLA takes it.

        Returns:
            What XLA said when it refused, now or earlier; None if all is well.
        """
        if not self._program.settled:
            self(*arguments)
        return self._program.refused


class Program:
    """A graph as a function of all its inputs, compiled when it first runs."""

    def __init__(self, graph: Graph, jit_compile: bool):
        self.jit_compile, self.run = jit_compile, _runner(graph, jit_compile)
        self.tf32 = precision.allowed()
        self.settled, self.refused = False, None


def compiled(function, *like, jit_compile=True, known: Known | None = None) -> Compiled:
    """`function` as it is now, traced here, as a compiled program.

    Args:
        function: of tensors or structures of them; what it returns is not
            differentiated. It may read and assign variables.
        *like: for every argument a tensor or `tf.TensorSpec`, or a structure.
        jit_compile: whether XLA compiles the program; else a TensorFlow graph.
        known: what determines `function`, if that can be said; else it is traced.

    Returns:
        A callable of arguments like these, which returns what `function` does. It
        answers for what `function` read at the time of this call.
    """
    trace = traced if known is None else functools.partial(_recalled, known)
    graph = trace(function, *like)
    # XLA bakes the precision of a product into the program
    key = (*graph.key, bool(jit_compile), precision.allowed())
    program = _kept(_programs, key, lambda: Program(graph, bool(jit_compile)))
    return Compiled(graph, program, like)


def clear() -> None:
    """Forgets all programs."""
    _programs.clear()
    _traces.clear()


def count() -> int:
    """How many programs are kept."""
    return len(_programs)


def spec_of(value) -> tf.TensorSpec:
    """The spec of a tensor; a spec stays what it is."""
    if isinstance(value, tf.TensorSpec):
        return value
    value = tf.convert_to_tensor(value)
    return tf.TensorSpec(value.shape, value.dtype)


def traced(function, *like) -> Graph:
    """`function` as it is now, as a graph; arguments as in `compiled`."""
    leaves = []

    def flat(*arguments):
        with tf.variable_creator_scope(_made_at_once):
            returned = function(*tf.nest.pack_sequence_as(like, arguments))
        leaves[:] = [returned, tf.nest.flatten(returned)]
        return [tf.convert_to_tensor(leaf) for leaf in leaves[1] if leaf is not None]

    specs = [spec_of(leaf) for leaf in tf.nest.flatten(like)]
    flat = functools.partial(flat)  # TensorFlow counts retracings by code object
    concrete = tf.function(flat, autograph=False).get_concrete_function(*specs)
    found = iter(concrete.outputs)
    filled = [None if leaf is None else spec_of(next(found)) for leaf in leaves[1]]
    outputs = tf.nest.pack_sequence_as(leaves[0], filled)
    leaves.clear()
    by_handle = {id(v.handle): v for v in concrete.graph.variables}
    handles = [id(external) for external, _ in concrete.graph.captures]
    variables = tuple(undivided(by_handle[h]) for h in handles if h in by_handle)
    definition, lifted, key = canonical(concrete.graph)
    captured = (*concrete.captured_inputs, *lifted)
    return Graph(key, definition, captured, variables, outputs)


def undivided(variable):
    """The variable of a `tf.distribute` strategy that this one is a copy of, or it."""
    of = getattr(variable.handle, "_distributed_container", None)
    return variable if of is None else of()


def _recalled(known: Known, function, *like) -> Graph:
    """The graph of a known function, with what this one captures in its place."""
    specs = tuple(spec_of(leaf) for leaf in tf.nest.flatten(like))
    key = (known.key, specs)
    if key not in _traces:
        graph = traced(function, *like)
        at = {id(tensor): i for i, tensor in enumerate(known.captured)}
        places = [at.get(id(tensor)) for tensor in graph.captured]
        if None in places:  # it reads what is not said: it is not known
            return graph
        kept = graph._replace(captured=(), variables=()), places
        _kept(_traces, key, lambda: kept)
    graph, places = _kept(_traces, key, None)
    return graph._replace(captured=tuple(known.captured[i] for i in places))


def _kept(cache: OrderedDict, key, make):
    """The entry of this key, made if there is none; the oldest goes for it."""
    if key not in cache:
        while len(cache) >= LIMIT:
            cache.popitem(last=False)
        cache[key] = make()
    cache.move_to_end(key)
    return cache[key]


def _made_at_once(make, **options):
    """A variable made while tracing gets its value now, whatever comes of the trace."""
    start = options["initial_value"]
    if tf.is_symbolic_tensor(start):
        return make(**options)
    with tf.init_scope():
        return ResourceVariable(**options)


def _structured(outputs, found):
    """A list of tensors in the structure of `outputs`."""
    found = iter(found)
    leaves = [leaf and next(found) for leaf in tf.nest.flatten(outputs)]
    return tf.nest.pack_sequence_as(outputs, leaves)


def _runner(graph: Graph, jit_compile):
    """The graph as a function of its flat inputs."""
    definition, key = graph.definition, graph.key
    for f in definition.library.function:  # an import tells the graph of them, no more
        if not context.context().has_function(f.signature.name):
            context.context().add_function_def(f)

    # a partial: TensorFlow counts retracings by code object and would warn
    program = functools.partial(_imported, definition, key)
    return tf.function(program, autograph=False, jit_compile=jit_compile or None)


def _imported(definition, key, *flat):
    _, inputs, outputs = key
    pairs = zip(inputs, flat, strict=True)
    here = tf.compat.v1.get_default_graph()
    mapped = {f"{name}:0": here.capture(value) for name, value in pairs if name}
    return tf.graph_util.import_graph_def(
        definition, input_map=mapped, return_elements=outputs, name=""
    )
