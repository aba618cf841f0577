"""Trace every time, compile once: one cache of programs, which cannot go stale.

A cache keyed by the objects that a function names answers for the model as it *was*:
an entry of a dict or an attribute that changes keeps its id. Here the trace is the
truth. A function is traced at every call of `compiled` (0.1 to 0.2 s for a small VAE);
its graph gets names without counters and a fingerprint (some 6 ms), and the program of
an equal graph is used again. Whatever Python value was read is a constant of the
graph; variables, large tensors and constant arrays of real numbers are arguments. So
one architecture compiles once, whatever its weights, objects and seeds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

LIMIT = 64
"""Programs kept; the one unused for longest goes first."""

_programs: OrderedDict[tuple, Program] = OrderedDict()


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
        return _structured(self.outputs, _imported(self.definition, self.key, flat))


class Compiled:
    """A function as it was when it was traced, on a program that equal ones share."""

    def __init__(self, graph: Graph, program: Program, like):
        self._graph, self._program, self._like = graph, program, like

    def __call__(self, *arguments):
        """What the function returns for arguments like those it was traced for."""
        tf.nest.assert_same_structure(self._like, arguments)
        flat = tf.nest.flatten(arguments)
        found = self._program.run(*flat, *self._graph.captured)
        return _structured(self._graph.outputs, found)

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles the program."""
        return self._program.jit_compile

    def settle(self, *arguments) -> Exception | None:
        """Runs a program that has never run; what XLA refuses becomes a plain graph.

        Returns:
            What XLA said when it refused, now or earlier; None if all is well.
        """
        program = self._program
        if not program.settled:
            try:
                self(*arguments)
            except tf.errors.OpError as error:
                if not program.jit_compile:
                    raise
                program.refused, program.jit_compile = error, False
                program.run = _runner(self._graph, False)
            program.settled = True
        return program.refused


class Program:
    """A graph as a function of all its inputs, compiled when it first runs."""

    def __init__(self, graph: Graph, jit_compile: bool):
        self.jit_compile, self.run = jit_compile, _runner(graph, jit_compile)
        self.settled, self.refused = False, None


def compiled(function, *like, jit_compile: bool = True) -> Compiled:
    """`function` as it is now, traced here, as a compiled program.

    Args:
        function: of tensors or structures of them; what it returns is not
            differentiated. It may read and assign variables.
        *like: for every argument a tensor or `tf.TensorSpec`, or a structure.
        jit_compile: whether XLA compiles the program; else a TensorFlow graph.

    Returns:
        A callable of arguments like these, which returns what `function` does. It
        answers for what `function` read at the time of this call.
    """
    graph = traced(function, *like)
    key = (*graph.key, bool(jit_compile))
    if key not in _programs:
        while len(_programs) >= LIMIT:
            _programs.popitem(last=False)
        _programs[key] = Program(graph, bool(jit_compile))
    _programs.move_to_end(key)
    return Compiled(graph, _programs[key], like)


def clear() -> None:
    """Forgets all programs."""
    _programs.clear()


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
    concrete = tf.function(flat, autograph=False).get_concrete_function(*specs)
    found = iter(concrete.outputs)
    filled = [None if leaf is None else spec_of(next(found)) for leaf in leaves[1]]
    outputs = tf.nest.pack_sequence_as(leaves[0], filled)
    leaves.clear()
    by_handle = {id(v.handle): v for v in concrete.graph.variables}
    handles = [id(external) for external, _ in concrete.graph.captures]
    variables = tuple(by_handle[h] for h in handles if h in by_handle)
    definition, lifted, key = _canonical(concrete.graph)
    captured = (*concrete.captured_inputs, *lifted)
    return Graph(key, definition, captured, variables, outputs)


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

    def program(*flat):
        return _imported(definition, key, flat)

    return tf.function(program, autograph=False, jit_compile=jit_compile or None)


def _imported(definition, key, flat):
    _, inputs, outputs = key
    pairs = zip(inputs, flat, strict=True)
    here = tf.compat.v1.get_default_graph()
    mapped = {f"{name}:0": here.capture(value) for name, value in pairs if name}
    return tf.graph_util.import_graph_def(
        definition, input_map=mapped, return_elements=outputs, name=""
    )


def _canonical(func_graph):
    """The graph without counters in its names, its lifted constants, and its key."""
    graph = func_graph.as_graph_def()
    functions = _order_functions(graph)
    for f in graph.library.function:
        _rename_function(f, functions)
    names = _renamed(graph.node, functions)
    outputs = tuple(
        f"{names[t.op.name]}:{t.name.split(':')[1]}" for t in func_graph.outputs
    )
    inputs = [names[t.op.name] for t in func_graph.inputs]
    nodes = {node.name: node for node in graph.node}
    own = [name for name, node in nodes.items() if _is_real(node, 1)]
    lifted = [name for name in own if name not in inputs]
    values = [tf.make_ndarray(nodes[n].attr["value"].tensor) for n in lifted]
    for i, name in enumerate(inputs):
        # a small tensor that was captured: TensorFlow keeps it as a constant too
        if nodes[name].op == "Const" and not _is_real(nodes[name], 0):
            inputs[i] = None
    gone = {*inputs, *lifted} - {None}
    for name in gone:
        if nodes[name].op == "Const":
            shape = nodes[name].attr["value"].tensor.tensor_shape
            nodes[name].attr["_output_shapes"].list.shape.add().CopyFrom(shape)
            del nodes[name].attr["value"]
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()
    _without(graph, gone)
    _prefixed(graph, functions.values(), digest[:20])
    used = {i.partition(":")[0] for node in graph.node for i in node.input}
    inputs = tuple(name if name in used else None for name in (*inputs, *lifted))
    return graph, [tf.constant(v) for v in values], (digest, inputs, outputs)


def _order_functions(graph) -> dict[str, str]:
    """Puts the library into the order of its first calls, and names it so."""
    library = {f.signature.name: f for f in graph.library.function}
    names, queue = {}, [graph.node]
    while queue:
        for node in queue.pop(0):
            called = [f.name for _, a in sorted(node.attr.items()) for f in _called(a)]
            for name in (node.op, *called):
                if name in library and name not in names:
                    names[name] = f"f{len(names)}"
                    queue.append(library[name].node_def)
    kept = [library[name].SerializeToString() for name in names]
    del graph.library.function[:], graph.library.gradient[:]
    for text in kept:
        graph.library.function.add().ParseFromString(text)
    return names


def _is_real(node, least_rank) -> bool:
    """Whether a node is a constant of real numbers: data or weights.

    A number that was written stays a constant, since XLA simplifies with it; integers
    do, since they may be shapes or axes, which it must know.
    """
    if node.op != "Const":
        return False
    value = node.attr["value"].tensor
    rank = len(value.tensor_shape.dim)
    return tf.as_dtype(value.dtype).is_floating and rank >= least_rank


def _without(graph, gone) -> None:
    """Takes out what becomes an argument; nothing needs to wait for an argument."""
    kept = [node for node in graph.node if node.name not in gone]
    for node in kept:
        if any(i.startswith("^") for i in node.input):
            node.input[:] = [i for i in node.input if i[:1] != "^" or i[1:] not in gone]
    kept = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(kept)


def _prefixed(graph, functions, prefix) -> None:
    """Function names that are unique in the process, which knows one of each name."""
    unique = {name: f"{name}_{prefix}" for name in functions}
    for f in graph.library.function:
        f.signature.name = unique[f.signature.name]
        for node in f.node_def:
            _call(node, unique)
    for node in graph.node:
        _call(node, unique)


def _renamed(nodes, functions, arguments=None) -> dict[str, str]:
    names = {node.name: f"n{i}" for i, node in enumerate(nodes)}
    names.update(arguments or {})
    for node in nodes:
        node.name = names[node.name]
        found = [_reference(i, names) for i in node.input]
        # what a node waits for has no order: TensorFlow takes it from a set
        node.input[:] = sorted(found, key=lambda i: i if i[0] == "^" else "")
        node.ClearField("experimental_debug_info")
        _clean(node.attr, functions)
        _call(node, functions)
    return names


def _rename_function(f, functions) -> None:
    """One function of the library, its arguments and results included."""
    f.signature.name = functions[f.signature.name]
    _clean(f.attr, functions)
    arguments = {a.name: f"a{i}" for i, a in enumerate(f.signature.input_arg)}
    results = {a.name: f"r{i}" for i, a in enumerate(f.signature.output_arg)}
    for a in f.signature.input_arg:
        a.name = arguments[a.name]
    for a in f.signature.output_arg:
        a.name = results[a.name]
    names = _renamed(f.node_def, functions, arguments)
    ret = {results[key]: _reference(value, names) for key, value in f.ret.items()}
    waits = {names.get(v, v) for v in f.control_ret.values()}
    f.ret.clear()
    f.ret.update(ret)
    f.control_ret.clear()
    f.control_ret.update({name: name for name in waits})
    f.signature.control_output[:] = sorted(waits)
    f.arg_attr.clear()
    f.resource_arg_unique_id.clear()


def _call(node, functions) -> None:
    """Renames the functions that a node calls."""
    node.op = functions.get(node.op, node.op)
    for value in node.attr.values():
        for f in _called(value):
            f.name = functions.get(f.name, f.name)


def _called(value) -> list:
    """The functions that an attribute names."""
    own = [value.func] if value.HasField("func") else []
    return [*own, *value.list.func]


def _clean(attributes, functions) -> None:
    """Drops what carries counters and does not change the result."""
    for key in ("_gradient_op_type", "_class"):
        if key in attributes:
            del attributes[key]
    for key in list(attributes):
        if attributes[key].s.decode(errors="replace") in functions:
            del attributes[key]


def _reference(name, names):
    control = "^" if name.startswith("^") else ""
    head, colon, rest = name.removeprefix("^").partition(":")
    return control + names.get(head, head) + colon + rest
