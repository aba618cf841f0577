"""Batches from files or a `tf.data.Dataset`, for data that do not fit in memory."""

from __future__ import annotations

import itertools
import threading
import zlib
from typing import Protocol

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import feed
from elbo_tfp.ground import structures

_BYTES_PER_CHUNK = 2**23
"""Few, since what is freed in pieces of this size comes back to the system late."""
REPEATABLE = (
    "A dataset that is read anew must give the same rows: shuffle(..., seed=0, "
    "reshuffle_each_iteration=False), or data.write_shards and data.shards, which take "
    "a fresh order every epoch from the seed of the fit."
)


class Source(Protocol):
    """Data whose order `fit` chooses, such as `data.Shards`."""

    num_data: int
    """Rows in all."""
    checksum: int
    """Differs if other data are meant."""

    def batches(self, batch_size: int, *, seed, first: int) -> tf.data.Dataset:
        """Batches without end, from number `first` on; seed and number say what."""

    def explained(self, error) -> ValueError:
        """What a failure to read means."""


class Stream(feed.NoData):
    """Batches of one size, over and over; every row is used.

    A dataset keeps its order; what is left at the end of an epoch is filled up from
    the next one. A chunk's batches are stacked on the host and read one by one by the
    compiled loop; a thread reads those of the next chunk while one runs.

    Args:
        data: a `tf.data.Dataset` of data, or of batches; or a `Source`.
        batch_size: rows per step; None if the dataset is of batches already.
        seed: of the order of a `Source`.
    """

    def __init__(self, data, batch_size: int | None, seed=(0, 0)):
        self._data, self._seed, self._size = data, seed, batch_size
        self._is_source = not isinstance(data, tf.data.Dataset)
        self.num_data = data.num_data if self._is_source else None
        self.checksum = data.checksum if self._is_source else 0
        batches = self._reading(self._once())
        first = next(batches, None)
        if first is None:
            raise ValueError(
                "data is empty: the dataset yields no full batch. Check batch_size and "
                "whether the dataset has been used up."
            )
        self._first = feed.checked(first)
        self.batch_size = self._size = structures.batch_size(self._first)
        self.spec = structures.specs(self._first, self.batch_size)
        nbytes = sum(np.asarray(part).nbytes for part in tf.nest.flatten(first))
        self.capacity = max(1, min(feed.CAPACITY, _BYTES_PER_CHUNK // max(1, nbytes)))
        self._endless = None if self._is_source else self._repeated(batch_size)
        self._batches, self._at, self._ahead, self._last = None, None, None, None
        if self._is_source:  # what was opened for a first look serves on
            self._batches, self._at = itertools.chain([first], batches), 0

    def inputs(self, first: int, count: int, capacity: int):
        """The chunk's batches, stacked and padded to `capacity` steps."""
        found, made = self._take(first, count, capacity) if count else ([], None)
        made = self._stacked(found, capacity) if made is None else made
        if not feed.all_finite(made):
            taken = tf.nest.map_structure(lambda part: part[:count], made)
            structures.check_finite(taken, f"data (steps from {first})")
        return made

    def _stacked(self, batches, capacity: int):
        stacked = tf.nest.map_structure(
            lambda s: np.zeros([capacity, *s.shape], s.dtype.as_numpy_dtype), self.spec
        )
        for i, batch in enumerate(batches):
            for to, part in zip(*map(tf.nest.flatten, (stacked, batch)), strict=True):
                to[i] = part
        return tf.nest.map_structure(tf.constant, stacked)

    def trial(self):
        """The first batch."""
        return self._first

    def mark(self, step: int) -> int | None:
        """A checksum of the batch before this step, if it is the last that was used."""
        return _checksum(self._last) if step and self._at == step else None

    def knows(self, step: int, mark: int | None) -> bool:
        """Whether the batch before this step is the one that was used then."""
        if mark is None or not step:
            return True
        self._restart(step - 1)
        self._take(step - 1, 1, 1)
        return _checksum(self._last) == mark

    def leave(self) -> None:
        """Stops reading ahead."""
        if self._ahead is not None:
            self._ahead.stop()
        self._batches, self._at, self._ahead = None, None, None

    def _take(self, first: int, count: int, capacity: int):
        """Batches from `first` on, and these stacked, if the thread has done so."""
        if self._at != first:
            self._restart(first)
        found, made = (
            ([], None) if self._ahead is None else self._ahead.ready(count, capacity)
        )
        found += itertools.islice(self._batches, max(0, count - len(found)))
        if len(found) < count:
            raise ValueError(
                f"the stream ended before step {first + count}: it can be read once "
                "only. Pass a dataset that can be repeated."
            )
        found, rest = found[:count], found[count:]
        self._at, self._last = first + count, found[-1]
        # the next chunk is most likely as long
        self._ahead = _Ahead(self._batches, rest, (count, capacity), self._stacked)
        return found, made

    def _restart(self, step: int) -> None:
        self.leave()
        if self._is_source:
            batches = self._data.batches(self._size, seed=self._seed, first=step)
        else:
            batches = self._endless.skip(step)
        self._batches, self._at = self._reading(batches), step

    def _reading(self, dataset):
        """The batches as arrays; a failure to read a source names its file."""
        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.OpError as error:
            if not self._is_source:
                raise
            raise self._data.explained(error) from error

    def _once(self) -> tf.data.Dataset:
        """Batches of a first look."""
        if self._is_source:
            return self._data.batches(self._size, seed=self._seed, first=0)
        if self._size is None:
            return self._data
        return self._data.batch(self._size, drop_remainder=True)

    def _repeated(self, batch_size) -> tf.data.Dataset:
        again = self._data.repeat()
        batched = again.rebatch if batch_size is None else again.batch
        return batched(self.batch_size, drop_remainder=True)

    @staticmethod
    def pick(inputs, i):
        """Batch number `i` of the chunk."""
        return structures.rows(inputs, i)


class _Ahead(threading.Thread):
    """Reads and stacks further batches while a chunk runs."""

    def __init__(self, batches, found: list, expected: tuple, stacked):
        super().__init__(daemon=True)
        self._source, self._found, self._expected = batches, found, expected
        self._make, self._made, self._error = stacked, None, None
        self._stopped = False
        self.start()

    def run(self):
        """Reads until there are as many as expected."""
        try:
            count, capacity = self._expected
            missing = max(0, count - len(self._found))
            for batch in itertools.islice(self._source, missing):
                self._found.append(batch)
                if self._stopped:
                    return
            if len(self._found) == count:
                self._made = self._make(self._found, capacity)
        except BaseException as error:  # raised where the batches are asked for
            self._error = error

    def ready(self, *asked):
        """What was read, and that stacked if so many were; raises what went wrong.

        Args:
            *asked: steps of the chunk, and its capacity.
        """
        self.join()
        if self._error is not None and len(self._found) < asked[0]:
            raise self._error
        return self._found, self._made if asked == self._expected else None

    def stop(self) -> None:
        """Ends after the batch that is being read."""
        self._stopped = True
        self.join()


def _checksum(batch) -> int:
    found = 0
    for part in tf.nest.flatten(batch):
        found = zlib.crc32(np.ascontiguousarray(part).tobytes(), found)
    return found
