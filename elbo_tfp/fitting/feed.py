"""Data for the compiled loop: nothing, all of it, minibatches, or a stream.

A feed lives on the Python side; inside the compiled loop only its `pick` is used, a
pure function of a chunk's tensors. Which data step t sees depends on the seed and t
alone, so no chunking can change it.
"""

from __future__ import annotations

import functools
import threading

import numpy as np
import tensorflow as tf

from elbo_tfp.ground import structures

CAPACITY = 4000
"""Steps in one call of the compiled loop, at most."""
_BYTES = 2**24
"""Row numbers in one call, at most."""


class NoData:
    """An objective without data."""

    num_data = batch_size = None
    spec = ()
    capacity = CAPACITY

    def inputs(self, first: int, count: int, capacity: int):
        """The tensors of the chunk that starts at step `first`."""
        return ()

    def trial(self):
        """A batch for a first look."""
        return ()

    def mark(self, step: int):
        """What tells the last batch from others, where that is not the seed's work."""

    def knows(self, step: int, mark) -> bool:
        """Whether the batches up to this step are those of that mark."""
        return True

    def leave(self) -> None:
        """Ends whatever goes on beside the fit."""

    @staticmethod
    def pick(inputs, i):
        """The batch of the chunk's step `i`, in the graph."""
        return ()


class FullBatch(NoData):
    """All data at every step."""

    def __init__(self, data):
        self.data = data
        self.num_data = self.batch_size = structures.batch_size(data)
        self.spec = structures.specs(data, self.batch_size)

    def inputs(self, first: int, count: int, capacity: int):
        """The data."""
        return self.data

    def trial(self):
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

    def __init__(self, data, batch_size: int, seed: tuple[int, int]):
        self.data = data
        self.num_data = structures.batch_size(data)
        self.batch_size = batch_size
        self.spec = structures.specs(data, batch_size)
        self.capacity = max(1, min(CAPACITY, _BYTES // (4 * batch_size)))
        self._order = functools.lru_cache(2)(
            functools.partial(permutation, self.num_data, seed)
        )
        self._ahead = None

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
            rows[:count] = self._prepared(first, count)
            # the next chunk is most likely as long: its rows are drawn meanwhile
            self._ahead = _Ahead(self.indices, first + count, count)
        return self.data, tf.constant(rows)

    def _prepared(self, first: int, count: int) -> np.ndarray:
        rows = None if self._ahead is None else self._ahead.rows(first, count)
        return self.indices(first, count) if rows is None else rows

    def trial(self):
        """A batch with the data that hold the smallest and the largest numbers."""
        extremes = []
        for part in map(np.asarray, tf.nest.flatten(self.data)):
            if part.size and part.dtype != bool:
                width = part.size // len(part)
                extremes += [part.argmin() // width, part.argmax() // width]
        rows = np.concatenate([np.unique(extremes), self.indices(0, 1)[0]])
        return structures.rows(self.data, rows[: self.batch_size].astype(np.int32))

    @staticmethod
    def pick(inputs, i):
        """The rows of step `i`, gathered on the device."""
        data, indices = inputs
        return structures.rows(data, tf.gather(indices, i))


class _Ahead(threading.Thread):
    """Computes a chunk's rows while another chunk runs."""

    def __init__(self, indices, first: int, count: int):
        super().__init__(daemon=True)
        self._asked, self._indices, self._found = (first, count), indices, None
        self.start()

    def run(self):
        """Computes them."""
        self._found = self._indices(*self._asked)

    def rows(self, first: int, count: int):
        """Those of steps `first` to `first + count - 1`; None if others were asked."""
        self.join()
        if first != self._asked[0] or count > self._asked[1] or self._found is None:
            return None
        return self._found[:count]


def permutation(num_data: int, seed: tuple[int, int], epoch: int) -> np.ndarray:
    """The order of the data in one epoch, from raw Philox bits, `[num_data]`."""
    key = np.array([np.int64(seed[0]), np.int64(seed[1])]).astype(np.uint32)
    words = np.array([key[0].astype(np.uint64) << np.uint64(32) | key[1], epoch])
    bits = np.random.Philox(key=words.astype(np.uint64)).random_raw(num_data)
    return np.argsort(bits).astype(np.int32)


def checked(data, name: str = "data"):
    """Tensors from arrays, equally long and finite (where there is no mask).

    Raises:
        ValueError: naming the part and what is wrong with it.
    """
    data = structures.as_data(data, name)
    structures.batch_size(data, name)
    if not all_finite(data):
        structures.check_finite(data, name)
    return data


def all_finite(data) -> bool:
    """Whether all is finite at a glance: a sum is, only if its terms are."""
    parts = [
        p for p in map(np.asarray, tf.nest.flatten(data)) if p.dtype.kind not in "biu"
    ]
    return all(np.isfinite(part.sum()) for part in parts)
