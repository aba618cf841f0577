"""Compiled programs of the package as StableHLO, with what went in and came out.

`ground.compiled` is the one door to XLA, so what passes through it while a public call
runs is what the package computes. `record` listens there. A program is exported for
the CPU, since `experimental_get_compiler_ir(platform_name="GPU")` refuses variables;
StableHLO does not depend on the device. Its parameters are the arguments, then what
was captured; variables that change come back behind the outputs.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from elbo_tfp.ground import compiled


class Exported(NamedTuple):
    """One call of a compiled program."""

    text: str
    """StableHLO."""
    inputs: list
    """NumPy arrays, one per parameter."""
    outputs: list
    """NumPy arrays, one per result; empty if the program was not run."""


class Enough(Exception):
    """Ends a call whose program was exported and need not run."""


def record(call, dry=False) -> list[Exported]:
    """The programs that run in `call()`, one per graph; of equal ones the last call.

    Args:
        call: a function without arguments.
        dry: whether to export the first program only and run none.
    """
    found, run = {}, compiled.Compiled.__call__

    def listening(program, *arguments):
        graph, flat = program._graph, tf.nest.flatten(arguments)
        exported = Exported(_text(graph, flat), _inputs(graph, flat), [])
        found[graph.key] = exported
        if dry:
            raise Enough
        returned = run(program, *arguments)
        after = _inputs(graph, flat)
        flat = [t.numpy() for t in tf.nest.flatten(returned) if t is not None]
        changed = [after[i] for i in _aliases(exported.text)]
        found[graph.key] = exported._replace(
            text=clean(exported.text), outputs=[*flat, *changed]
        )
        return returned

    with mock.patch.object(compiled.Compiled, "__call__", listening):
        try:
            call()
        except Enough:
            return [e._replace(text=clean(e.text)) for e in found.values()]
    return list(found.values())


def _text(graph, flat) -> str:
    def program(*flat):
        return compiled._imported(graph.definition, graph.key, *flat, *graph.captured)

    function = tf.function(program, autograph=False, jit_compile=True)
    return function.experimental_get_compiler_ir(*flat)(stage="stablehlo")


def _inputs(graph, flat) -> list:
    """The values of arguments, then of what was captured; XLA drops what is empty."""
    names = graph.key[1][len(flat) :]
    used = [t for name, t in zip(names, graph.captured, strict=True) if name]
    values = [_value(t).numpy() for t in (*flat, *used)]
    return [value for value in values if value.size]


def _value(tensor):
    if tensor.dtype != tf.resource:
        return tensor
    dtype = tensor._handle_data.shape_and_type[0].dtype
    return tf.raw_ops.ReadVariableOp(resource=tensor, dtype=dtype)


def _aliases(text) -> list[int]:
    """Which parameters are variables that change, in the order of their results."""
    return [int(number) for number in re.findall(r"parameter_number = (\d+)", text)]


def clean(text: str) -> str:
    """Without attributes and operations that StableHLO alone has not."""
    line = r"^(module @\S+) attributes .* \{$"
    text = re.sub(line, r"\1 {", text, flags=re.MULTILINE)
    text = re.sub(r" \{mhlo\.frontend_attributes = \{[^}]*\}\}", "", text)
    # a copy, which XLA inserts where it wants one
    copy = r"(%\S+) = mhlo\.copy (%\S+) : (tensor<[^>]*>)"
    return re.sub(copy, r"\1 = stablehlo.reshape \2 : (\3) -> \3", text)


def foreign(text: str) -> set[str]:
    """Operations that are not known to run on a GPU; `custom_call` is one."""
    used = re.findall(r'(?:= |^\s+)"?([a-z_]+\.[a-z_0-9]+)', text, re.MULTILINE)
    return set(used) - KERNELS


def parameters(text: str) -> list[tuple[int, ...]]:
    """The shape of each parameter of a program."""
    head = re.search(r"func\.func (?:public )?@main\((.*?)\) ->", text, re.DOTALL)[1]
    kinds = re.findall(r"%arg\d+: tensor<([^>]*)>", head)
    return [tuple(map(int, kind.split("x")[:-1])) for kind in kinds]


def save(exported: Exported, path) -> None:
    """Writes `path`.mlir and `path`.npz."""
    path.with_suffix(".mlir").write_text(exported.text)
    arrays = {f"in{i}": a for i, a in enumerate(exported.inputs)}
    arrays |= {f"out{i}": np.asarray(a) for i, a in enumerate(exported.outputs)}
    np.savez(path.with_suffix(".npz"), **arrays)


_NAMES = """
abs add and atan2 bitcast_convert broadcast_in_dim case cbrt ceil cholesky clamp
compare complex concatenate constant convert convolution cosine count_leading_zeros
divide dot dot_general dynamic_slice dynamic_update_slice exponential
exponential_minus_one fft floor gather get_dimension_size get_tuple_element if imag iota
is_finite log log_plus_one logistic map maximum minimum multiply negate not
optimization_barrier or pad popcnt power real reduce reduce_precision reduce_window
remainder reshape return reverse rng_bit_generator round_nearest_afz
round_nearest_even rsqrt scatter select select_and_scatter set_dimension_size
shift_left shift_right_arithmetic shift_right_logical sign sine slice sort sqrt subtract
tan tanh transpose triangular_solve tuple while xor
"""
KERNELS = {f"stablehlo.{name}" for name in _NAMES.split()} | {"func.func", "func.call"}
"""What XLA compiles for a GPU; transfers to the host and calls of its code are not."""
