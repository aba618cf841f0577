"""What a target is; its log-densities, and making sure of their shapes.

A shape mistake is an error, never a smaller number: what a target returns must have
one number per sample and datum, at this sample size and at another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from elbo_tfp.ground.checks import at_run_time, wrong
from elbo_tfp.ground.pins import watch_pins
from elbo_tfp.ground.precision import HALF

watch_pins()


class Target(NamedTuple):
    """z -> log p(x, z), in the one form that the rest of the package asks."""

    densities: Callable
    """`(z, sample_ndims) -> (log p(x | z), log p(z))`, or `(log p(x, z),)`, nats."""
    num_data: Any = None
    """The size of the data set that shares a global latent; else None."""
    nothing: Callable | None = None
    """Where the global latent is the only one: from `[S]` to zeros `[S, B]`."""
    has_parts: bool = False
    """Whether likelihood and prior are known apart."""

    def log_prob(self, z, sample_ndims=None):
        """log p(x, z), `[S, B]`, nats."""
        return sum(self.densities(z, sample_ndims))


def as_target(target) -> Target:
    """A target in one form.

    Args:
        target: a model's `log_joint(x)`, a pinned joint distribution or a function.

    Raises:
        ValueError: if it is none of these, or a pin has not the shape of its part.
    """
    if isinstance(target, Target):
        return target
    if hasattr(target, "log_parts"):
        num_data = getattr(target, "num_data", None)
        nothing = None if getattr(target, "has_local", True) else target.nothing
        return Target(target.log_parts, num_data, nothing, True)
    fn = getattr(target, "unnormalized_log_prob", target)
    if not callable(fn):
        raise wrong(
            "target to be model.log_joint(x), a pinned joint distribution or a "
            "function of z",
            type(target).__name__,
        )
    _check_pins(target)
    return Target(lambda z, _: (tf.convert_to_tensor(call_target(fn, z)),))


def _check_pins(target):
    """Raises ValueError if a pinned value would be repeated to fill its part."""
    pins = getattr(target, "pins", None)
    shapes = getattr(getattr(target, "distribution", None), "event_shape", None)
    if not isinstance(pins, dict) or shapes is None:
        return
    if hasattr(shapes, "_asdict"):
        shapes = shapes._asdict()
    if not isinstance(shapes, dict):
        return
    for name, value in pins.items():
        event = shapes.get(name)
        if not isinstance(event, tf.TensorShape) or event.rank is None:
            continue
        found = tf.TensorShape(getattr(value, "shape", tf.shape(value)))
        if found.rank is None:
            continue
        last = found[max(found.rank - event.rank, 0) :]
        if found.rank < event.rank or not last.is_compatible_with(event):
            raise wrong(
                f"the pin of {name!r} to have the shape of that part of the joint, "
                f"{event}",
                f"{found}",
                "A smaller value would be repeated and count several times. Pin all "
                "rows, or build the joint for as many as there are.",
            )


def log_densities(target, z, log_q, lead) -> list[tf.Tensor]:
    """log p(x | z) and log p(z), or the one value of a bare target.

    Args:
        target: a `Target`.
        z: samples, a tensor or a structure.
        log_q: log q(z), `lead` + `[B]`, nats.
        lead: the leading shape of the samples.

    Returns:
        Tensors of the shape and dtype of `log_q`, nats.

    Raises:
        ValueError: if the target's shapes or dtype differ from log q's, or agree with
            them only because sizes coincide.
    """
    densities = _densities(target, z, log_q, lead)
    if len(densities) > 1 and log_q.shape.rank > len(lead):
        return densities  # x has the batch dimension then: nothing can coincide
    others = _other_sample_size(target, z, log_q, lead)
    return [_tied(density, others) for density in densities]


def call_target(fn, z):
    """`fn(z)`; z is unpacked, by name or by position, only if the signature asks.

    Raises:
        ValueError: if `fn` requires several arguments that z does not have.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return fn(z)
    kinds, is_dict = {p.kind for p in parameters}, isinstance(z, dict)
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p.name for p in plain if p.default is p.empty]
    if not isinstance(z, (tuple, list, dict)):
        if len(required) > 1:
            raise ValueError(
                f"expected a target of one value, z; got one that requires {required}. "
                "A q with several parts, a joint distribution, gives each its part."
            )
        return fn(z)
    accepted = {p.name for p in plain if p.kind is not p.POSITIONAL_ONLY}
    names = set(z if is_dict else getattr(z, "_fields", ()))
    any_name = is_dict and inspect.Parameter.VAR_KEYWORD in kinds
    if names and set(required) <= names and (names <= accepted or any_name):
        return fn(**(z if is_dict else z._asdict()))
    if inspect.Parameter.VAR_POSITIONAL in kinds and not is_dict:
        return fn(*z)
    if len(required) < 2:
        return fn(z)
    if is_dict or not len(required) <= len(z) <= len(plain):
        raise ValueError(
            f"expected z to have the parts that the target requires, {required}; got "
            f"{sorted(names) or f'{len(z)} unnamed parts'}. Rename or reorder its "
            "arguments, or let it take z as one."
        )
    return fn(*z)


def _densities(target, z, log_q, lead):
    """log p(x | z) and log p(z), or the one value of a bare target; shapes checked."""
    try:
        densities = target.densities(z, len(lead))
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        if target.has_parts:
            raise
        raise ValueError(_failed(error, lead)) from error
    names = ("log p(x | z)", "log p(z)") if len(densities) > 1 else ("log p",)
    return [
        _same_shape(density, log_q, lead, name)
        for density, name in zip(densities, names, strict=True)
    ]


def _other_sample_size(target, z, log_q, lead):
    """Weighs fewer samples: shapes that agreed by chance then differ.

    A forgotten `reduce_sum` over N data gives `[N]`, which looks like `[S]` if S = N.
    Returns what must be computed too, where a graph leaves sizes open until it runs.
    """
    before = len(_operations())
    other = tuple(3 if n == 2 else 2 for n in lead)
    for axis, n in enumerate(other):
        z, log_q = tf.nest.map_structure(
            lambda t, rows=[0] * n, axis=axis: tf.gather(t, rows, axis=axis), (z, log_q)
        )
    try:
        densities = _densities(target, z, log_q, other)
    except ValueError as error:
        raise ValueError(
            f"expected a target that works for every sample_size; got one that fits "
            f"{list(lead)} but not {list(other)}, so sizes agree by chance: {_EXPECTED}"
        ) from error
    tensors = [t for op in _operations()[before:] for t in (*op.inputs, *op.outputs)]
    return [] if all(t.shape.is_fully_defined() for t in tensors) else densities


def _tied(value, others):
    """`value`, not to be had without `others`: a mere control dependency is dropped."""
    if not others:
        return value
    rows = [tf.reshape(value, [-1]), *(tf.reshape(d, [-1])[:1] for d in others)]
    flat = tf.concat(rows[:1] + [tf.stop_gradient(row) for row in rows[1:]], 0)
    return tf.reshape(flat[: -len(others)], tf.shape(value))


def _operations():
    if tf.executing_eagerly():
        return []
    return tf.compat.v1.get_default_graph().get_operations()


_EXPECTED = (
    "did you forget a reduce_sum in the target, or a tfd.Independent around a "
    "likelihood? A target returns one number per sample (and per datum of a batch)."
)


def _same_shape(value, log_q, lead, name):
    """`value`, once it has log q's dtype and shape; checked at run time if need be."""
    half = {value.dtype, log_q.dtype} & set(HALF)
    if half:
        raise wrong(
            "log-densities of float32 or float64",
            f"{half.pop().name}, in which a log-weight has two or three digits",
            "Cast what a mixed-precision network gives before it becomes a "
            "distribution: tf.cast(network(z), tf.float32).",
        )
    if value.dtype != log_q.dtype:
        raise ValueError(
            f"expected {name} of log q's dtype, {log_q.dtype.name}; got "
            f"{value.dtype.name}. Build q, model and data in one precision, which is "
            "never changed silently."
        )
    if not value.shape.is_compatible_with(log_q.shape):
        raise ValueError(
            f"expected {name} to have the shape of log q(z), {log_q.shape} = "
            f"{list(lead)} samples + batch {log_q.shape[len(lead) :]}; got "
            f"{value.shape}: {_EXPECTED} If the extra dimension is log q's, wrap the "
            "surrogate posterior in tfd.Independent instead."
        )
    if value.shape.is_fully_defined() and log_q.shape.is_fully_defined():
        return value
    return at_run_time(value, tf.shape(log_q), f"{name}: {_EXPECTED}")


def _failed(error, lead):
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return (
        f"expected a target that takes draws of leading shape {list(lead)}; it failed "
        f"with {type(error).__name__}: {first}. If its shapes do not broadcast against "
        f"z, it must sum over the data: {_EXPECTED}"
    )
