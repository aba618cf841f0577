"""One name for equal graphs: counters out of the names, numbers out of the graph.

TensorFlow counts names up in a process, so two traces of one function differ. Here
nodes and functions are named by their order, what a function captured and its constant
arrays of real numbers become arguments, and what is left has a fingerprint.
"""

from __future__ import annotations

import hashlib

import tensorflow as tf


def canonical(func_graph):
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
