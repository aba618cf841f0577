"""Equal graphs have one name, whatever TensorFlow counted before; others another."""

import re
import types

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground.canonical import canonical

X = tf.TensorSpec([3])


def graph(function, *like):
    return tf.function(function, autograph=False).get_concrete_function(*like).graph


def key(function, *like):
    return canonical(graph(function, *(like or [X])))[2]


def changed(of, change):
    """The graph with another definition, which TensorFlow could have given it."""
    definition = of.as_graph_def()
    change(definition)
    return types.SimpleNamespace(
        as_graph_def=lambda: definition, inputs=of.inputs, outputs=of.outputs
    )


def rich(scope="scope", argument="a"):
    """Loops, branches, calls, gradients, effects and constants of every kind."""

    @tf.custom_gradient
    def squared(x):
        return x * x, lambda up: up * 2 * x

    body = {
        "a": lambda a: tf.nn.relu(squared(a)),
        "b": lambda b: tf.nn.relu(squared(b)),
    }
    variable = tf.Variable(2.0)
    inner = tf.function(body[argument], autograph=False)

    def turn(i, total):
        variable.assign_add(1.0)
        tf.print("in the loop")
        variable.assign_add(tf.reduce_sum(total))
        signed = tf.cond(i > 1, lambda: total, lambda: -total)
        return i + 1, signed * variable * [1.0, 2.0, 3.0]

    def function(x):
        with tf.name_scope(scope), tf.GradientTape() as tape:
            tape.watch(x)
            ready = [tf.constant([5.0, 6.0]), tf.print("one"), tf.print("two")]
            with tf.control_dependencies(ready):
                y = inner(x) * [1.0, 2.0, 3.0] + 3.0
            y = tf.while_loop(lambda i, _: i < 3, turn, (0, y))[1]
            y = tf.cond(y[0] > 0, lambda: y * 2, lambda: y * 3)
            y = tf.switch_case(
                tf.constant(1), [lambda: y, lambda: inner(y), lambda: -y]
            )
        return y, tape.gradient(y, x)

    return function


def canonical_text(of):
    definition, lifted, key = canonical(of)
    return definition.SerializeToString(deterministic=True), len(lifted), key


def test_two_traces_are_one_whatever_scopes_and_arguments_are_called():
    first = canonical_text(graph(rich(), X))
    assert canonical_text(graph(rich("another"), X)) == first
    assert canonical_text(graph(rich(argument="b"), X)) == first


def reverse_library(definition):
    functions = list(definition.library.function)[::-1]
    del definition.library.function[:]
    definition.library.function.extend(functions)


def reverse_waiting(definition):
    bodies = [definition.node, *(f.node_def for f in definition.library.function)]
    for node in (node for body in bodies for node in body):
        waits = [i for i in node.input if i[0] == "^"]
        node.input[:] = [i for i in node.input if i[0] != "^"] + waits[::-1]


def call_nobody(definition):
    other = definition.library.function.add()
    other.CopyFrom(definition.library.function[0])
    other.signature.name = "unused_77"
    definition.library.gradient.add(function_name="unused_77", gradient_func="g_78")


def number_everything(definition):
    attributes = [a for node in definition.node for a in node.attr.values()]
    name = next(a.func.name for a in attributes if a.func.name)
    for f in definition.library.function:
        f.attr["backward_function_name"].s = name.encode()
        for i in range(len(f.signature.input_arg)):
            f.arg_attr[i].attr["_user_specified_name"].s = b"name_77"
            f.resource_arg_unique_id[i] = 77
    for node in definition.node:
        node.experimental_debug_info.original_node_names.append("node_77")
        node.attr["_gradient_op_type"].s = b"CustomGradient-77"
        node.attr["_class"].list.s.append(b"loc:@node_77")


@pytest.mark.parametrize(
    "change", [reverse_library, reverse_waiting, call_nobody, number_everything]
)
def test_what_tensorflow_takes_from_a_set_or_counts_changes_nothing(change):
    traced = graph(rich(), X)
    assert canonical_text(changed(traced, change)) == canonical_text(traced)


def test_names_tell_the_place_and_functions_of_other_graphs_have_others():
    definition, _, (digest, inputs, outputs) = canonical(graph(rich(), X))
    assert inputs[0] == "n0" and all(re.fullmatch(r"n\d+:0", o) for o in outputs)
    names = [f.signature.name for f in definition.library.function]
    parts = [name.partition("_") for name in names]
    assert [head for head, *_ in parts] == [f"f{i}" for i in range(len(names))]
    assert all(digest.startswith(rest) and len(rest) > 15 for *_, rest in parts)
    called = set()
    for nodes in (definition.node, *(f.node_def for f in definition.library.function)):
        for node in nodes:
            assert re.fullmatch(r"n\d+", node.name)
            for a in node.attr.values():
                called |= {f.name for f in (a.func, *a.list.func) if f.name}
    assert called == set(names)
    for f in definition.library.function:
        arguments = [a.name for a in f.signature.input_arg]
        assert arguments == [f"a{i}" for i in range(len(arguments))]
        results = [a.name for a in f.signature.output_arg]
        assert results == [f"r{i}" for i in range(len(results))] and {*f.ret} == {
            *results
        }
        waits = list(f.signature.control_output)
        assert dict(f.control_ret) == {name: name for name in waits}
        assert waits == sorted(waits)
    assert any(f.control_ret for f in definition.library.function)


def test_constant_arrays_of_real_numbers_are_lifted_and_numbers_and_integers_are_not():
    whole, table = np.int32([1, 2, 3]), np.float64([[1.5, 2.5]])

    def function(x):
        return x * [1.0, 2.0, 3.0] * 7.0, whole + 1, tf.constant(table) * 3.0

    definition, lifted, (_, inputs, outputs) = canonical(graph(function, X))
    assert [v.numpy().tolist() for v in lifted] == [[1.0, 2.0, 3.0], [[1.5, 2.5]]]
    assert [v.dtype for v in lifted] == [tf.float32, tf.float64]
    assert len(inputs) == 3 and None not in inputs and len(outputs) == 3
    left = {node.name for node in definition.node}
    assert left.isdisjoint(inputs) and {o.split(":")[0] for o in outputs} <= left


def test_captured_numbers_are_arguments_and_captured_integers_stay():
    number, size = tf.constant(7.0), tf.constant(2)
    of = graph(lambda x: (tf.fill([size], x[0] * number), size), X)
    definition, lifted, (_, inputs, _) = canonical(of)
    kept = [n.attr["value"].tensor.int_val for n in definition.node if n.op == "Const"]
    assert [2] in kept and not lifted
    assert len(inputs) == 3 and inputs[0] and sorted(inputs[1:], key=bool)[0] is None
    assert sum(name is not None for name in inputs) == 2


def test_what_is_not_read_is_no_input():
    _, lifted, (_, inputs, _) = canonical(graph(lambda x, unused: x + 1.0, X, X))
    assert inputs == ("n0", None) and lifted == []


def test_nothing_waits_for_an_argument_but_for_effects_it_does():
    def function(x):
        with tf.control_dependencies([tf.constant([5.0, 6.0]), tf.print("one")]):
            return tf.constant(3.0) + x

    definition, _, _ = canonical(graph(function, X))
    ops = {node.name: node.op for node in definition.node}
    waits = [i[1:] for n in definition.node for i in n.input if i[0] == "^"]
    assert {ops[name] for name in waits} == {"PrintV2", "NoOp"}
    inputs = [i.split(":")[0] for n in definition.node for i in n.input if i[0] != "^"]
    assert len([i for i in inputs if i not in ops]) == 1  # x


def test_weights_do_not_change_the_key():
    assert key(lambda x: x * [1.0, 2.0, 3.0]) == key(lambda x: x * [3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x * [1.0, 2.0, 3.0], lambda x: x * [[1.0, 2.0, 3.0]]),
        (lambda x: x * 2.0, lambda x: x * 3.0),
        (lambda x: x[tf.constant(1)], lambda x: x[tf.constant(2)]),
        (lambda x: tf.nn.relu(x), lambda x: tf.nn.elu(x)),
        (lambda x: (x, x + 1.0), lambda x: (x + 1.0, x)),
        [lambda x, n=n: tf.map_fn(lambda v: v * n, x) for n in (2, 3)],
        (
            lambda x: tf.cond(x[0] > 0, lambda: x, lambda: -x),
            lambda x: tf.cond(x[0] > 0, lambda: -x, lambda: x),
        ),
    ],
)  # fmt: skip
def test_other_graphs_have_other_keys(one, other):
    assert key(one) == key(one) != key(other)
