"""`save` and `load`: a fitted model and its encoder in one file, checked by a probe."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import probing
from elbo_tfp.ground import files
from elbo_tfp.ground.checks import wrong

_KIND = "saved model"


def save(path, *, x=None, probe=None, **parts) -> None:
    """Saves the variables of fitted parts, with numbers to recognise them by.

        et.save("vae.npz", model=model, encoder=encoder, x=x_test[:4])

    A part is a model, a distribution, an encoder or any function of x. Everything is
    saved that it reads when it is called or that it holds: Keras networks with their
    moments and seeds, distributions, closures. By default z is drawn with a fixed seed
    and log q(z | x) and log p(x, z) are computed; what they give is stored.

    Args:
        path: the file to write, atomically; no pickles in it.
        x: a few data for the probe, an array or a tuple or dict of arrays (none of
            them nested); stored.
        probe: a function of no arguments that reads every variable and returns
            tensors; replaces the default probe. `load` needs the same one.
        **parts: what is saved, each under a name of your choice.

    Raises:
        ValueError: if there is nothing to save, a part that cannot be (it is named), or
            x is nested or a list of numbers.
        OSError: if the disk is full; an older file is then intact.
    """
    _check_parts(x)
    found = probing.probed(parts, x, probe)
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
    built differently, and their old values are put back. A file of the first edition
    loads too; what that did not save is a warning.

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
    values, expected = _group(arrays, "variable"), _group(arrays, "probe")
    run = probing.probed if "counts" in header else probing.of_first_edition
    found = run(parts, x, probe)
    _check_counts(path, found.counts, header.get("counts", {"": len(values)}))
    variables = found.variables
    _check_shapes(path, variables, values)
    before = [v.numpy() for v in variables]
    try:
        _assign(variables, values)
        numbers = run(parts, x, probe).numbers
    except BaseException:
        _assign(variables, before)
        raise
    if not _same(numbers, expected):
        _assign(variables, before)
        why = "" if "counts" in header else _FIRST
        raise ValueError(
            f"{path} does not fit: with its values the probe gives "
            f"{_show(numbers)}, when saved it gave {_show(expected)}. The parts have "
            "variables of the same shapes but are built differently (another order, "
            f"activation, prior or likelihood{why}). Their values are as before."
        )
    if "counts" not in header:
        _warn_of_missing(path, variables, probing.probed(parts, x, probe).read)


def _check_parts(x) -> None:
    leaves = _flatten(x)[1] if isinstance(x, (dict, tuple, list)) else []
    odd = [type(leaf).__name__ for leaf in leaves if not hasattr(leaf, "shape")]
    if odd:
        raise wrong(
            "x to be an array, or a tuple or dict of arrays",
            f"a {type(x).__name__} that holds a {odd[0]}",
            "Pass one array, numpy.asarray(x); for nested data probe= instead.",
        )


def _check_counts(path, mine: dict, theirs: dict) -> None:
    for name in mine:
        if mine[name] != theirs.get(name):
            raise ValueError(
                f"{path} holds other variables: the parts have {sum(mine.values())} of "
                f"them, the file {sum(theirs.values())}; {name or 'the probe'} has "
                f"{mine[name]}, in the file {theirs.get(name)}. Build the parts as "
                "they were when saved."
            )


_FIRST = (
    "; or their draws have changed since the first edition, which wrote the file: save "
    "it there again with a probe= that draws nothing"
)


def _warn_of_missing(path, loaded, variables) -> None:
    needed = {id(v) for v in variables}
    missing = len(needed - {id(v) for v in loaded})
    if missing:
        warnings.warn(
            f"{path} is of the first edition, which did not save {missing} of the "
            f"{len(needed)} variables of these parts: they are as they were.",
            stacklevel=3,
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
