"""How `fit` calls an objective, and what it accepts in return."""

from __future__ import annotations

import inspect

import tensorflow as tf

from elbo_tfp.types import Draws, Estimate

NAMES = ("seed", "batch", "step", "kl_weight", "num_data", "training")

_SIGNATURE_HELP = (
    "fit calls the objective with what its signature names among seed, batch, step, "
    "kl_weight, num_data and training"
)


def requested(objective) -> frozenset[str]:
    """The names among `NAMES` that the signature of `objective` asks for.

    Raises:
        ValueError: if it is not callable, or needs an argument that `fit` cannot give.
    """
    if not callable(objective):
        raise ValueError(
            f"expected objective to be callable; got {type(objective).__name__}. "
            f"{_SIGNATURE_HELP}."
        )
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the signature of {objective!r} cannot be read; wrap it in a function. "
            f"{_SIGNATURE_HELP}."
        ) from error
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return frozenset(NAMES)
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, _KW)]
    unknown = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind is not p.VAR_POSITIONAL
        and (p not in by_name or p.name not in NAMES)
    ]
    if unknown:
        raise ValueError(
            f"the objective asks for {', '.join(unknown)}; {_SIGNATURE_HELP}. Bind "
            "other arguments with a closure or functools.partial."
        )
    return frozenset(p.name for p in by_name) & frozenset(NAMES)


_KW = inspect.Parameter.KEYWORD_ONLY


def without_defaults(objective, names, kl_schedule, num_data, feed) -> frozenset:
    """`names` without the weight and the number of data that nobody gave.

    A parameter that has a default keeps it.
    """
    known = {
        "kl_weight": kl_schedule is not None,
        "num_data": num_data is not None or feed.num_data is not None,
    }
    parameters = inspect.signature(objective).parameters
    return frozenset(
        name
        for name in names
        if known.get(name, True)
        or (name in parameters and parameters[name].default is inspect.Parameter.empty)
    )


def as_estimate(returned, size: int | None) -> Estimate:
    """An `Estimate` from what the objective returned.

    Args:
        returned: an `Estimate`, a `[B]` bound or a scalar bound, to be raised.
        size: the number of data in this (part of a) batch, None without data.

    Raises:
        ValueError: if it is anything else, or has another shape.
    """
    if isinstance(returned, Estimate):
        parts = [tf.convert_to_tensor(part) for part in returned]
    elif returned is None or isinstance(returned, (Draws, tuple, list, dict)):
        raise ValueError(
            "expected the objective to return an Estimate or a bound in nats, one "
            f"number per datum; got {type(returned).__name__}. {_hint(returned)}"
        )
    else:
        parts = [tf.convert_to_tensor(returned)] * 3
    for name, part in zip(Estimate._fields, parts, strict=True):
        _check_part(name, part, size)
    return Estimate(*parts)


def _hint(returned) -> str:
    if returned is None:
        return "Is a `return` missing?"
    if isinstance(returned, Draws):
        return "Make a bound of the draws: return elbo_tfp.bounds.elbo(draws)."
    return "Return one tensor; extra quantities can be recorded with trace_fn."


def _check_part(name: str, part: tf.Tensor, size: int | None) -> None:
    shape = part.shape
    if not part.dtype.is_floating:
        raise ValueError(
            f"expected the objective's {name} to be floating point; got "
            f"{part.dtype.name}."
        )
    if shape.rank is not None and shape.rank > 1:
        raise ValueError(
            "expected the objective to return one number per datum, shape [B], or a "
            f"scalar; got {name} of shape {shape}. Average over samples first."
        )
    if size is not None and shape.rank == 1 and shape[0] not in (None, size):
        raise ValueError(
            f"expected the objective to return one number per datum, shape [{size}], "
            f"or a scalar; got {name} of shape {shape}. A sum over data or a missing "
            "mean over samples gives other lengths."
        )
