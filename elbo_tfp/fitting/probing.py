"""What the parts of a saved model hold, and numbers to recognise them by."""

from __future__ import annotations

import contextlib
import functools
import types
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.compiled import traced

_SEED = (0, 0)


class Found(NamedTuple):
    """What the parts hold."""

    variables: list
    numbers: list
    counts: dict
    read: list
    """Those of the variables that the probes read."""


def probed(parts: dict, x, probe) -> Found:
    """Every variable of every part, and the probe's numbers."""
    if not parts and probe is None:
        raise ValueError("name the parts to save, as in save(path, model=model).")
    variables, numbers, counts, read = {}, [], {}, []
    if probe is not None:
        runs = {"": probe, **dict.fromkeys(sorted(parts))}
    else:
        runs = {name: _default_probe(name, parts, x) for name in sorted(parts)}
    for name, run in runs.items():
        own = [] if run is None else [*traced(run).variables]
        numbers += [] if run is None else _numbers(run)
        read += own
        own += held(parts.get(name))
        known = len(variables)
        variables |= {id(v): v for v in own if id(v) not in variables}
        counts[name] = len(variables) - known
    if not variables:
        raise ValueError(
            "the probe reads no variable: there is nothing to save. Distributions "
            "built once from a variable's value have lost it."
        )
    return Found(list(variables.values()), numbers, counts, read)


def of_first_edition(parts: dict, x, probe) -> Found:
    """The same as the first edition found it: by one probe of the last of each kind."""
    run = probe if probe is not None else lambda: _first_probe(parts, x)
    variables = {id(v): v for v in traced(run).variables}
    for name in sorted(parts):
        own = getattr(parts[name], "variables", ())
        own = [v if isinstance(v, tf.Variable) else v.value for v in own]
        variables |= {id(v): v for v in own if id(v) not in variables}
    variables = list(variables.values())
    return Found(variables, _numbers(run), {"": len(variables)}, variables)


def _first_probe(parts, x):
    """log q(z | x) and log p(x, z) at one z, nats."""
    models = [parts[n] for n in sorted(parts) if hasattr(parts[n], "log_joint")]
    others = [parts[n] for n in sorted(parts) if not hasattr(parts[n], "log_joint")]
    q = ([None] + [part for part in others if _is_distribution(part)])[-1]
    functions = [part for part in others if not _is_distribution(part)]
    if functions:
        q = functions[-1](x)
        if not hasattr(q, "log_prob"):
            return q
    z = _as_tfp(q).sample(seed=_SEED)
    if not models or x is None:
        return q.log_prob(z)
    return q.log_prob(z), models[-1].log_joint(x)(z)


def _as_tfp(q):
    """The same as a class of TFP's, which the first edition's families were."""
    home = next(c for c in type(q).__mro__ if c.__module__.startswith("tensorflow_"))
    if home is type(q) and not hasattr(q, "reinterpreted_batch_ndims"):
        return q
    changed = dict(q.parameters)
    if hasattr(q, "reinterpreted_batch_ndims"):
        changed["distribution"] = _as_tfp(q.distribution)
    return home(**changed)


def _numbers(run) -> list:
    return [np.asarray(n) for n in tf.nest.flatten(run())]


def _default_probe(name: str, parts: dict, x):
    """A function that gives numbers which depend on the part of this name, in nats."""
    part = parts[name]
    if hasattr(part, "log_joint"):
        return lambda: _of_model(part, parts, x)
    if _is_distribution(part):
        return lambda: part.log_prob(part.sample(seed=_SEED))
    if not callable(part):
        raise ValueError(
            f"no default probe for ['{name}']: expected a model with log_joint, a "
            f"distribution or an encoder; got {type(part).__name__}. Pass probe=, a "
            "function that reads every variable and returns numbers."
        )
    if x is None:
        raise ValueError(
            f"{name} is a function, an encoder say, and is probed at data: pass x=, a "
            "few rows."
        )
    return lambda: _of_function(part, x)


def _of_function(function, x):
    q = function(x)
    return q.log_prob(q.sample(seed=_SEED)) if _is_distribution(q) else q


def _of_model(model, parts, x):
    """log p(x, z) at the z of the first q of the same latents, or of the model."""
    if x is None and hasattr(model, "sample"):
        z, x = model.sample(2, seed=_SEED)
        return model.log_joint(x)(z)
    others = (parts[n] for n in sorted(parts) if not hasattr(parts[n], "log_joint"))
    for part in others:
        q = part if _is_distribution(part) else part(x)
        if _is_distribution(q):
            with contextlib.suppress(ValueError):  # latents of another model
                return model.log_joint(x)(q.sample(seed=_SEED))
    z, _ = model.sample(len(tf.nest.flatten(x)[0]), seed=_SEED)
    return model.log_joint(x)(z)


def _is_distribution(part) -> bool:
    return hasattr(part, "sample") and hasattr(part, "log_prob")


_PLAIN = (type, types.ModuleType, str, bytes, np.ndarray, tf.Tensor, tf.TensorShape)


def held(thing, seen=None) -> list:
    """The variables that an object holds, itself, in its fields or in its closure."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, _PLAIN):
        return []
    seen[id(thing)] = thing
    if isinstance(thing, tf.Variable):
        return [thing]
    return [v for inner in _inside(thing) for v in held(inner, seen)]


def _inside(thing) -> list:
    """What an object is made of."""
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        # Keras layers and TFP distributions know; some of those cannot say
        return [v if isinstance(v, tf.Variable) else v.value for v in thing.variables]
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (tuple, list)):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.FunctionType):
        return [thing.__defaults__, *map(_content, thing.__closure__ or ())]
    return list(getattr(thing, "__dict__", {}).values())


def _content(cell):
    with contextlib.suppress(ValueError):  # an empty cell
        return cell.cell_contents
