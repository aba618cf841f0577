"""What a datum is made of, and what one datum counts.

Data are one array, or a dict, tuple or NamedTuple of arrays whose first axis is the
batch. Some names in a dict are reserved: "x" (what is modelled), "given" (a
condition), "mask" (True where x is observed), "lengths" (of ragged series), "library"
and "batch" (of cells).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.arrays import as_array
from elbo_tfp.ground.checks import number, wrong


def as_data(value, name: str = "data"):
    """Tensors from arrays, in the structure that they came in.

    Args:
        value: an array, or a dict, tuple or NamedTuple of such (nested, if need be).
            A list is one array. Types are kept.
        name: of the data, for messages.

    Raises:
        ValueError: naming the part, what is wrong with it and what to do: not numbers,
            empty, ragged, sparse, masked, a list of arrays, missing values.
    """
    if isinstance(value, (Mapping, tuple)) and not value:
        raise wrong(f"{name} to have parts", repr(value), "Leave it out.")
    if isinstance(value, Mapping):
        return {k: as_data(part, f"{name}[{k!r}]") for k, part in value.items()}
    if not isinstance(value, tuple):
        return as_array(value, name)
    fields = getattr(value, "_fields", ())
    labels = [f".{f}" for f in fields] or [f"[{i}]" for i in range(len(value))]
    parts = [as_data(p, name + at) for p, at in zip(value, labels, strict=True)]
    return type(value)(*parts) if fields else tuple(parts)


def batch_size(data, name: str = "data"):
    """The number of data: the common length of all parts, or None if unknown yet.

    Raises:
        ValueError: if a part is a single number, or parts differ in length.
    """
    parts = tf.nest.flatten(data)
    if any(part.shape.rank == 0 for part in parts):
        raise wrong(
            f"{name} to have data along the first axis",
            "one number",
            "Constants belong in a closure; one array may be a list, not a tuple.",
        )
    lengths = [part.shape[0] if part.shape.rank else None for part in parts]
    known = {n for n in lengths if n is not None}
    if len(known) > 1:
        raise wrong(
            f"all parts of {name} to have the same length",
            lengths,
            "A part has one row per datum: repeat what all data share, or leave it to "
            "a closure.",
        )
    return known.pop() if known else None


def rows(data, indices):
    """The data with these numbers.

    Args:
        data: a structure of tensors.
        indices: an integer tensor (any shape, which replaces the first axis) or a
            slice.
    """
    if isinstance(indices, slice):
        return tf.nest.map_structure(lambda part: part[indices], data)
    return tf.nest.map_structure(lambda part: tf.gather(part, indices), data)


def specs(data, size):
    """The `TensorSpec` of a batch of `size` (or None) data."""
    return tf.nest.map_structure(
        lambda part: tf.TensorSpec([size, *part.shape[1:]], part.dtype), data
    )


def check_finite(data, name: str = "data", *, infinite: bool = False) -> None:
    """Raises ValueError if values are missing; under a "mask" only observed ones count.

    Args:
        data: a structure of tensors; those without values yet (in a graph) pass.
        name: of the data.
        infinite: whether infinite values may be.
    """
    if isinstance(data, Mapping):
        mask = data.get("mask")
        for key, part in data.items():
            if key == "x" and mask is not None:
                check_mask(data, name)
                part = tf.where(mask, part, tf.zeros_like(part))
            check_finite(part, f"{name}[{key!r}]", infinite=infinite)
    elif isinstance(data, tuple):
        for i, part in enumerate(data):
            check_finite(part, f"{name}[{i}]", infinite=infinite)
    elif data.dtype.is_floating and tf.is_tensor(data) and hasattr(data, "numpy"):
        _check_values(data, name, infinite)


def check_mask(data, name: str = "data") -> None:
    """Raises ValueError unless `data["mask"]` is boolean and has the shape of x."""
    x, mask = data["x"], data["mask"]
    if mask.dtype != tf.bool:
        raise wrong(
            f"{name}['mask'] to be bool, True where x is observed",
            mask.dtype.name,
            "Compare it, mask == 1, and mind which of the two means observed.",
        )
    if tf.is_tensor(x) and mask.shape.is_compatible_with(x.shape):
        return
    shape = x.shape if tf.is_tensor(x) else tf.nest.map_structure(lambda t: t.shape, x)
    raise wrong(
        f"{name}['mask'] of the shape of x, {shape}",
        mask.shape,
        "Repeat a mask that data or channels share: numpy.broadcast_to(mask, x.shape).",
    )


def filled(data):
    """The data with zeros where the "mask", if there is one, says "not observed"."""
    if not isinstance(data, Mapping) or "mask" not in data:
        return data
    x, mask = data["x"], data["mask"]
    return {**data, "x": tf.where(mask, x, tf.zeros_like(x))}


def _check_values(part, name, infinite):
    values = part.numpy()
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if not bad.any():
        return
    rows_ = np.flatnonzero(bad.reshape(len(values), -1).any(1)) if bad.ndim else [0]
    columns = np.flatnonzero(bad.any(0)) if bad.ndim == 2 else []
    where = f", columns {columns[:5].tolist()}" if len(columns) else ""
    raise wrong(
        f"{name} without NaN or infinite values"
        if not infinite
        else f"{name} without NaN",
        f"{bad.sum()} of {bad.size} values, in {len(rows_)} rows, first in row "
        f"{rows_[0]}{where}",
        'Drop those rows, or mask what is missing: models.observed takes {"x": ..., '
        '"mask": True where observed}.',
    )


def per_datum(local: tf.Tensor, shared: tf.Tensor, num_data) -> tf.Tensor:
    """The share of one datum: its local part plus the global part / `num_data`.

    Args:
        local: `[S, B]`, nats.
        shared: `[S]`, the log-density of the latent that all data share, nats.
        num_data: the size N of the whole data set.

    Returns:
        `[S, B]`, nats.

    Raises:
        ValueError: if the shapes are not `[S, B]` and `[S]`.
    """
    ranks = local.shape.rank, shared.shape.rank
    if None not in ranks and ranks[0] != ranks[1] + 1:
        raise ValueError(
            "expected local terms [S, B] and global terms [S], one latent w for all "
            f"data; got {local.shape} and {shared.shape}. Give q of the local z a row "
            "per datum (B = 1 too), and the global prior and its q no batch shape."
        )
    # l_n + g / N, so that the sum over all n counts g once
    return local + shared[..., tf.newaxis] / number(num_data, shared.dtype)
