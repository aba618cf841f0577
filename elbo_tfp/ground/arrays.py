"""One array as a tensor, without losing what it meant: or a plain error.

What NumPy or TensorFlow would turn into numbers that nobody meant is refused: the
fill values of a masked array, text, objects, ragged and sparse arrays, missing
values of a table. Types are kept: integers stay integers, float64 stays.
"""

from __future__ import annotations

import numbers

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import wrong

_ONE = "an array of numbers"
_MASK = 'pass {"x": values with any number there, "mask": True where observed}'


def as_array(value, name: str) -> tf.Tensor:
    """`value` as a tensor of numbers, not empty.

    Args:
        value: a NumPy array, a tensor, a variable, a pandas table or column, a number,
            or a list of numbers, nested as deep as it has dimensions.
        name: of the data, for messages.

    Raises:
        ValueError: if it is no array of numbers, or would lose its meaning as one.
    """
    _refuse_containers(value, name)
    _refuse_empty(getattr(value, "shape", None), name)
    if isinstance(value, (list, tuple)):
        _refuse_lists(value, name)
    elif hasattr(value, "iloc"):
        value = _table(value, name)
    if isinstance(value, (np.ndarray, np.generic)):
        value = _numpy(value, name)
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise wrong(
            f"{name} to be {_ONE}, or a tuple or dict of such arrays",
            f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip(),
            f"TensorFlow says: {reason}",
        ) from error
    kind = tensor.dtype
    if not (kind.is_floating or kind.is_integer or kind.is_bool):
        raise wrong(f"{name} to be numbers", kind.name, _TEXT)
    _refuse_empty(tensor.shape, name)
    return tensor


def _refuse_empty(shape, name):
    if 0 in tuple(shape or ()):
        raise wrong(
            f"{name} to hold at least one datum",
            f"an empty array of shape {shape}",
            "A bound of nothing is no number.",
        )


_TEXT = "Code categories and text as whole numbers, and complex numbers as pairs."


def refuse_masked(value: np.ma.MaskedArray, name: str) -> None:
    """Raises ValueError if an entry is masked: its fill value is no data."""
    if np.ma.getmaskarray(value).any():
        raise wrong(
            f"{name} without masked entries, whose fill values are no data",
            f"a masked array with {np.ma.count_masked(value)} masked",
            f"For models.observed, {_MASK}: {{'x': a.filled(0), "
            "'mask': ~numpy.ma.getmaskarray(a)}.",
        )


def _refuse_containers(value, name):
    """Raises for what has other values, or other shapes, than it seems to have."""
    if isinstance(value, np.ma.MaskedArray):
        refuse_masked(value, name)
    if isinstance(value, tf.RaggedTensor):
        raise wrong(
            f"{name} to be {_ONE}",
            "a RaggedTensor, whose rows have several lengths",
            "Pad it, value.to_tensor(), and pass the lengths or a mask beside it.",
        )
    if isinstance(value, tf.SparseTensor):
        raise wrong(
            f"{name} to be a dense array", "a SparseTensor", "Use tf.sparse.to_dense."
        )
    if hasattr(value, "toarray"):
        raise wrong(
            f"{name} to be a dense array",
            f"a sparse {type(value).__name__}",
            "Use value.toarray(), for a batch of rows at a time if it is large.",
        )


def _refuse_lists(value, name):
    """Raises if a list holds arrays: are they the parts of a datum, or its rows?"""
    if any(part is None for part in value):
        raise wrong(f"{name} to be numbers", "a missing value (None)", _missing(name))
    if any(isinstance(part, dict) for part in value):
        raise wrong(
            f"{name} to be arrays", "a list of dicts", "Pass a dict of arrays, a tuple."
        )
    shapes = [_length(part) for part in value]
    if len(set(shapes)) > 1:
        raise wrong(
            f"{name} to be {_ONE}",
            f"a list whose parts have the lengths {_few(shapes)}",
            "Pad them to one length, and pass the lengths or a mask beside them; "
            "several arrays of one datum go into a tuple.",
        )
    arrays = [p for p in value if len(getattr(p, "shape", ())) > 0]
    if arrays:
        raise wrong(
            f"{name} to be {_ONE}",
            f"a list of {len(value)} arrays",
            "Pass a tuple (a, b) if they are parts of a datum, numpy.stack(list) if "
            "they are its rows.",
        )
    for part in value:
        _refuse_containers(part, name)
        if isinstance(part, (list, tuple)):
            _refuse_lists(part, name)


def _length(part):
    shape = getattr(part, "shape", None)
    if shape is not None:
        return shape[0] if len(shape) else None
    return len(part) if isinstance(part, (list, tuple)) else None


def _numpy(array, name):
    """A NumPy array in a type that TensorFlow knows."""
    if array.dtype.names:
        raise wrong(
            f"{name} to be {_ONE}",
            f"records with the fields {list(array.dtype.names)}",
            "Pass a dict of the fields, {name: array[name] ...}.",
        )
    if array.dtype.kind not in "OUS":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    parts = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    if any(np.ndim(v) for v in parts.flat):
        raise wrong(
            f"{name} to be {_ONE}",
            "an object array that holds arrays",
            "Pad series of several lengths to one, and pass the lengths or a mask.",
        )
    odd = [j for j, column in enumerate(parts.T) if not all(map(_is_number, column))]
    where = f"not all of columns {_few(odd)} are numbers" if odd else "all are numbers"
    raise wrong(
        f"{name} to be {_ONE}",
        f"an array of dtype {array.dtype}: {where}",
        f"Convert it column by column, array.astype(numpy.float32). {_missing(name)}",
    )


def _is_number(value):
    return isinstance(value, (numbers.Real, np.bool_)) and value == value


def _missing(name):
    return f"Drop the rows of {name} with missing values (None, NA), or {_MASK}."


def _table(table, name):
    """A pandas table or column as a NumPy array; missing numbers become NaN."""
    wide = table.ndim == 2
    columns = [table.iloc[:, j] for j in range(table.shape[1])] if wide else [table]
    arrays = [_column(column, name) for column in columns]
    return np.stack(arrays, 1) if wide else arrays[0]


def _column(column, name):
    kind, found = column.dtype, f"column {column.name!r}"
    if kind.kind not in "fiub":
        raise wrong(
            f"every column of {name} to be numbers", f"{found} of {kind}", _TEXT
        )
    missing = int(column.isna().sum())
    if missing and kind.kind != "f":
        raise wrong(
            f"{name} without missing values",
            f"{missing} missing (NA) in {found} of {kind}",
            _missing(name),
        )
    plain = getattr(kind, "numpy_dtype", getattr(kind, "subtype", kind))
    if missing:
        return column.to_numpy(dtype=plain, na_value=np.nan)
    return np.asarray(column, dtype=plain)


def _few(values):
    """The first of them, for a message."""
    values = list(values)
    return ", ".join(map(str, values[:5])) + (" ..." if len(values) > 5 else "")
