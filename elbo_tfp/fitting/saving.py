"""`save` and `load`: a fitted model and its encoder in one file, checked by a probe."""

from __future__ import annotations

import contextlib
import functools
import types
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground import files
from elbo_tfp.ground.compiled import traced

_KIND = "saved model"
_SEED = (0, 0)


def save(path, *, x=None, probe=None, **parts) -> None:
    """Saves the variables of fitted parts, with numbers to recognise them by.

        et.save("vae.npz", model=model, encoder=encoder, x=x_test[:4])

    A part is a model, a distribution, an encoder or any function of x. Everything is
    saved that it reads when it is called or that it holds: Keras networks with their
    moments and seeds, distributions, closures. By default z is drawn with a fixed seed
    and log q(z | x) and log p(x, z) are computed; what they give is stored.

    Args:
        path: the file to write, atomically; no pickles in it.
        x: a few data for the probe, an array or a tuple or dict of arrays; stored.
        probe: a function of no arguments that reads every variable and returns
            tensors; replaces the default probe. `load` needs the same one.
        **parts: what is saved, each under a name of your choice.

    Raises:
        ValueError: if there is nothing to save, or a part that cannot be: it is named.
        OSError: if the disk is full; an older file is then intact.
    """
    found = _probe(parts, x, probe)
    arrays = {f"variable/{i:05d}": v.numpy() for i, v in enumerate(found.variables)}
    arrays |= {f"probe/{i:05d}": np.asarray(n) for i, n in enumerate(found.numbers)}
    layout, leaves = _flatten(x)
    arrays |= {f"x/{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    header = {
        "parts": sorted(parts),
        "counts": found.counts,
        "x": layout,
        "own_probe": probe is not None,
    }
    files.write(path, _KIND, header, arrays)


def load(path, *, probe=None, **parts) -> None:
    """Restores what `save` wrote into freshly built parts.

        et.load("vae.npz", model=model, encoder=encoder)

    Variables are matched by order, never by name (Keras counts names up per process).
    Then the probe runs again: if its numbers are not those stored, the parts were
    built differently, and their old values are put back.

    Args:
        path: the file.
        probe: the probe given to `save`, if one was.
        **parts: the parts, under the names used when saving.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or foreign, or does not fit the parts.
    """
    header, arrays = files.read(path, _KIND)
    if sorted(parts) != header["parts"]:
        raise ValueError(
            f"{path} holds the parts {header['parts']}; got {sorted(parts)}."
        )
    if header["own_probe"] != (probe is not None):
        how = "with" if header["own_probe"] else "without"
        raise ValueError(f"{path} was saved {how} probe=; load it the same way.")
    x = _pack(header["x"], _group(arrays, "x"))
    found = _probe(parts, x, probe)
    variables, values = found.variables, _group(arrays, "variable")
    expected = _group(arrays, "probe")
    _check_counts(path, found.counts, header["counts"])
    _check_shapes(path, variables, values)
    before = [v.numpy() for v in variables]
    _assign(variables, values)
    numbers = _probe(parts, x, probe).numbers
    if not _same(numbers, expected):
        _assign(variables, before)
        raise ValueError(
            f"{path} does not fit: with its values the probe gives "
            f"{_show(numbers)}, when saved it gave {_show(expected)}. The parts have "
            "variables of the same shapes but are built differently (another order, "
            "activation, prior or likelihood). Their values are as before."
        )


class _Found(NamedTuple):
    """What the parts hold."""

    variables: list
    numbers: list
    counts: dict


def _probe(parts: dict, x, probe) -> _Found:
    """Every variable of every part, and the probe's numbers."""
    if not parts and probe is None:
        raise ValueError("name the parts to save, as in save(path, model=model).")
    variables, numbers, counts = {}, [], {}
    if probe is not None:
        runs = {"": probe, **dict.fromkeys(sorted(parts))}
    else:
        runs = {name: _default_probe(name, parts, x) for name in sorted(parts)}
    for name, run in runs.items():
        own = [] if run is None else list(traced(run).variables)
        if run is not None:
            numbers += [np.asarray(n) for n in tf.nest.flatten(run())]
        own += held(parts.get(name))
        known = len(variables)
        variables |= {id(v): v for v in own if id(v) not in variables}
        counts[name] = len(variables) - known
    if not variables:
        raise ValueError(
            "the probe reads no variable: there is nothing to save. Distributions "
            "built once from a variable's value have lost it."
        )
    return _Found(list(variables.values()), numbers, counts)


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


def _check_counts(path, mine: dict, theirs: dict) -> None:
    for name in mine:
        if mine[name] != theirs.get(name):
            raise ValueError(
                f"{path} holds other variables: the parts have {sum(mine.values())} of "
                f"them, the file {sum(theirs.values())}; {name or 'the probe'} has "
                f"{mine[name]}, in the file {theirs.get(name)}. Build the parts as "
                "they were when saved."
            )


def _check_shapes(path, variables, values) -> None:
    expected = [(tuple(v.shape), v.dtype.name) for v in variables]
    found = [(value.shape, value.dtype.name) for value in values]
    for i, (mine, theirs) in enumerate(zip(expected, found, strict=True)):
        if mine != theirs:
            raise ValueError(
                f"{path} holds other variables: number {i} is {mine[1]} {mine[0]}, in "
                f"the file {theirs[1]} {theirs[0]}. Build the parts as they were when "
                "saved."
            )


def _same(found, expected) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=_tolerance(b), atol=_tolerance(b))
        for a, b in zip(found, expected, strict=True)
    )


def _tolerance(numbers) -> float:
    """Room for another machine's rounding."""
    if not np.issubdtype(numbers.dtype, np.floating):
        return 0.0
    return 1e3 * float(np.finfo(numbers.dtype).eps)


def _assign(variables, values) -> None:
    for v, value in zip(variables, values, strict=True):
        v.assign(value)


def _show(numbers) -> str:
    return str([float(np.ravel(n)[0]) for n in numbers if np.size(n)])


def _group(arrays: dict, name: str) -> list[np.ndarray]:
    return [arrays[key] for key in sorted(arrays) if key.split("/")[0] == name]


def _flatten(x):
    if x is None:
        return None, []
    if isinstance(x, dict):
        return sorted(x), [x[key] for key in sorted(x)]
    if isinstance(x, (tuple, list)):
        return len(x), list(x)
    return "array", [x]


def _pack(layout, leaves):
    leaves = [tf.constant(leaf) for leaf in leaves]
    if layout is None:
        return None
    if layout == "array":
        return leaves[0]
    if isinstance(layout, int):
        return tuple(leaves)
    return dict(zip(layout, leaves, strict=True))
