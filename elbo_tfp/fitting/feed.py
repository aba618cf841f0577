"""Data for the compiled loop: nothing, all of it, minibatches, or a stream.

A feed lives on the Python side; inside the compiled loop only its `pick` is used, a
pure function of a chunk's tensors. Which data step t sees depends on the seed and t
alone, so no chunking can change it.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

CAPACITY = 1000
"""Steps in one call of the compiled loop, at most, where steps read minibatches."""


class NoData:
    """An objective without data."""

    num_data = batch_size = None
    spec = None
    capacity = 4 * CAPACITY

    def inputs(self, first: int, count: int, capacity: int):
        """The tensors of the chunk that starts at step `first`."""
        return ()

    @staticmethod
    def pick(inputs, i):
        """The batch of the chunk's step `i`, in the graph."""
        return None


class FullBatch(NoData):
    """All data at every step."""

    def __init__(self, data):
        self.data = data
        self.num_data = self.batch_size = length(data)
        self.spec = specs(data, self.batch_size)

    def inputs(self, first: int, count: int, capacity: int):
        """The data."""
        return self.data

    @staticmethod
    def pick(inputs, i):
        """The data."""
        return inputs


class Minibatches(NoData):
    """A fresh permutation every epoch, cut into batches that may straddle epochs.

    Every datum is used once per epoch, whatever the batch size.
    """

    capacity = CAPACITY

    def __init__(self, data, batch_size: int, seed: tuple[int, int]):
        self.data = data
        self.num_data = length(data)
        self.batch_size = batch_size
        self.spec = specs(data, batch_size)
        self._order = functools.lru_cache(2)(
            functools.partial(permutation, self.num_data, seed)
        )

    def indices(self, first: int, count: int) -> np.ndarray:
        """Rows of steps `first` to `first + count - 1`, `[count, batch_size]`."""
        start, stop = first * self.batch_size, (first + count) * self.batch_size
        n = self.num_data
        epochs = range(start // n, -(-stop // n))
        rows = np.concatenate([self._order(e) for e in epochs])
        offset = start - epochs.start * n
        return rows[offset : offset + stop - start].reshape(count, self.batch_size)

    def inputs(self, first: int, count: int, capacity: int):
        """The data and the chunk's row numbers, padded to `capacity` steps."""
        rows = np.zeros([capacity, self.batch_size], np.int32)
        if count:
            rows[:count] = self.indices(first, count)
        return self.data, tf.constant(rows)

    @staticmethod
    def pick(inputs, i):
        """The rows of step `i`, gathered on the device."""
        data, indices = inputs
        rows = tf.gather(indices, i)
        return tf.nest.map_structure(lambda part: tf.gather(part, rows), data)


def permutation(num_data: int, seed: tuple[int, int], epoch: int) -> np.ndarray:
    """The order of the data in one epoch, from raw Philox bits, `[num_data]`."""
    key = np.array([np.int64(seed[0]), np.int64(seed[1])]).astype(np.uint32)
    words = np.array([key[0].astype(np.uint64) << np.uint64(32) | key[1], epoch])
    bits = np.random.Philox(key=words.astype(np.uint64)).random_raw(num_data)
    return np.argsort(bits, kind="stable").astype(np.int32)


def length(data) -> int:
    """The common first dimension of all parts."""
    return tf.nest.flatten(data)[0].shape[0]


def specs(data, batch_size: int):
    """The `TensorSpec` of one batch."""
    return tf.nest.map_structure(
        lambda part: tf.TensorSpec([batch_size, *part.shape[1:]], part.dtype), data
    )


def as_tensors(data, name: str = "data"):
    """Tensors from arrays, checked: not empty, equally long, finite.

    Raises:
        ValueError: naming the part and what is wrong with it.
    """
    if isinstance(data, list):
        data = np.asarray(data)
    data = tf.nest.map_structure(functools.partial(_part, name), data)
    parts = tf.nest.flatten(data)
    if not parts:
        raise ValueError(f"{name} has no parts: {data!r}. Leave it out or pass arrays.")
    lengths = [part.shape[0] for part in parts]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"expected all parts of {name} to have the same length; got {lengths}."
        )
    if not lengths[0]:
        raise ValueError(f"{name} is empty: its shape is {tuple(parts[0].shape)}.")
    for part in parts:
        check_finite(part, name)
    return data


def check_finite(part, name: str) -> None:
    """Raises `ValueError` if a floating-point array has NaN or infinite entries."""
    values = np.asarray(part)
    if not np.issubdtype(values.dtype, np.floating):
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if bad.any():
        raise ValueError(
            f"{name} has NaN or infinite entries in {bad.sum()} of {len(bad)} rows, "
            f"first in row {np.argmax(bad)}. Drop those rows, or model what is missing."
        )


def _part(name: str, part) -> tf.Tensor:
    try:
        tensor = tf.convert_to_tensor(part)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected {name} to be an array or a tuple or dict of arrays, with data "
            f"along the first axis; got {type(part).__name__}."
        ) from error
    kind = tensor.dtype
    if not (kind.is_floating or kind.is_integer or kind.is_bool):
        raise ValueError(f"expected {name} to be numbers; got {tensor.dtype.name}.")
    if tensor.shape.rank == 0:
        raise ValueError(
            f"expected {name} to have data along its first axis; got one number. "
            "Constants belong in the objective's closure."
        )
    return tensor
