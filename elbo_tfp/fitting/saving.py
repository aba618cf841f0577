"""`save` and `load`: a fitted model and its encoder in one file, checked by a probe."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting.step import captured_variables
from elbo_tfp.ground import files

_KIND = "saved model"
_SEED = (0, 0)


def save(path, *, x=None, probe=None, **parts) -> None:
    """Saves the variables of fitted parts, with a number to recognise them by.

        et.save("vae.npz", model=model, encoder=encoder, x=x_test[:4])

    Variables are found by running a probe: everything it reads is saved, whether it
    belongs to a Keras network, a distribution or a closure. By default the probe
    draws z from the encoder at `x` (or from a surrogate posterior) with a fixed seed
    and computes log q(z | x) and the model's log p(x, z). What it gives is stored.

    Args:
        path: the file to write, atomically; no pickles in it.
        x: a few data for the probe, an array or a tuple or dict of arrays; stored.
        probe: a function of no arguments that reads every variable and returns
            tensors; replaces the default probe. `load` needs the same one.
        **parts: what is saved, each under a name of your choice.

    Raises:
        ValueError: if there is nothing to save or to probe with.
        OSError: if the disk is full; an older file is then intact.
    """
    variables, numbers = _probe(parts, x, probe)
    arrays = {f"variable/{i:05d}": v.numpy() for i, v in enumerate(variables)}
    arrays |= {f"probe/{i:05d}": np.asarray(n) for i, n in enumerate(numbers)}
    layout, leaves = _flatten(x)
    arrays |= {f"x/{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    header = {"parts": sorted(parts), "x": layout, "own_probe": probe is not None}
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
    variables, _ = _probe(parts, x, probe)
    values, expected = _group(arrays, "variable"), _group(arrays, "probe")
    _check_shapes(path, variables, values)
    before = [v.numpy() for v in variables]
    _assign(variables, values)
    _, found = _probe(parts, x, probe)
    if not _same(found, expected):
        _assign(variables, before)
        raise ValueError(
            f"{path} does not fit: with its values the probe gives "
            f"{_show(found)}, when saved it gave {_show(expected)}. The parts have "
            "variables of the same shapes but are built differently (another order, "
            "activation, prior or likelihood). Their values are as before."
        )


def _probe(parts: dict, x, probe):
    """The variables that the probe reads, and its numbers."""
    if not parts and probe is None:
        raise ValueError("name the parts to save, as in save(path, model=model).")
    run = probe if probe is not None else lambda: default_probe(parts, x)
    concrete = tf.function(run, autograph=False).get_concrete_function()
    variables = list(captured_variables(concrete))
    known = {id(v) for v in variables}
    for name in sorted(parts):
        for v in getattr(parts[name], "variables", ()):
            v = v if isinstance(v, tf.Variable) else v.value
            if id(v) not in known:
                known.add(id(v))
                variables.append(v)
    if not variables:
        raise ValueError(
            "the probe reads no variable: there is nothing to save. Distributions "
            "built once from a variable's value have lost it."
        )
    return variables, [n.numpy() for n in tf.nest.flatten(concrete())]


def default_probe(parts: dict, x):
    """Numbers that depend on every part: log q(z | x) and log p(x, z), nats."""
    model, q, encoder = None, None, None
    for name in sorted(parts):
        part = parts[name]
        if hasattr(part, "log_joint"):
            model = part
        elif hasattr(part, "sample") and hasattr(part, "log_prob"):
            q = part
        elif callable(part):
            encoder = part
    if encoder is not None:
        if x is None:
            raise ValueError("an encoder is probed at data: pass x=, a few rows.")
        q = encoder(x)
        if not hasattr(q, "log_prob"):
            return q
    if q is None and model is not None:
        z, x = model.sample(2, _SEED)
        return model.log_joint(x)(z)
    if q is None:
        raise ValueError(
            f"no default probe for {sorted(parts)}: expected a model with log_joint, a "
            "distribution or an encoder. Pass probe=, a function that reads every "
            "variable and returns numbers."
        )
    z = q.sample(seed=_SEED)
    if model is None or x is None:
        return q.log_prob(z)
    return q.log_prob(z), model.log_joint(x)(z)


def _check_shapes(path, variables, values) -> None:
    expected = [(tuple(v.shape), v.dtype.name) for v in variables]
    found = [(value.shape, value.dtype.name) for value in values]
    if expected != found:
        raise ValueError(
            f"{path} holds other variables: {_difference(expected, found)}. Build the "
            "parts as they were when saved."
        )


def _difference(expected, found) -> str:
    if len(expected) != len(found):
        return f"the parts have {len(expected)} of them, the file {len(found)}"
    pairs = enumerate(zip(expected, found, strict=True))
    i, (mine, theirs) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    return f"number {i} is {mine[1]} {mine[0]}, in the file {theirs[1]} {theirs[0]}"


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
