"""Batches from a `tf.data.Dataset`, for data that do not fit in memory."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import feed
from elbo_tfp.ground import structures

_BYTES_PER_CHUNK = 2**25


class Stream(feed.NoData):
    """A dataset's rows in its order, over and over, in batches of one size.

    What is left at the end of an epoch is filled up from the next one, so every row is
    used. A chunk's batches are stacked on the host and read one by one by the
    compiled loop.

    Args:
        dataset: of data, or of batches of data.
        batch_size: rows per step; None if the dataset is of batches already.
    """

    num_data = None

    def __init__(self, dataset: tf.data.Dataset, batch_size: int | None):
        first = dataset
        if batch_size is not None:
            first = dataset.batch(batch_size, drop_remainder=True)
        first = next(iter(first.as_numpy_iterator()), None)
        if first is None:
            raise ValueError(
                "data is empty: the dataset yields no full batch. Check batch_size and "
                "whether the dataset has been used up."
            )
        self._first = feed.checked(first)
        self.batch_size = size = structures.batch_size(self._first)
        self.spec = structures.specs(self._first, size)
        nbytes = sum(np.asarray(part).nbytes for part in tf.nest.flatten(first))
        self.capacity = max(1, min(feed.CAPACITY, _BYTES_PER_CHUNK // max(1, nbytes)))
        again = dataset.repeat()
        batched = again.rebatch if batch_size is None else again.batch
        self._dataset = batched(size, drop_remainder=True)
        self._batches, self._at = None, None

    def inputs(self, first: int, count: int, capacity: int):
        """The chunk's batches, stacked and padded to `capacity` steps."""
        stacked = tf.nest.map_structure(
            lambda s: np.zeros([capacity, *s.shape], s.dtype.as_numpy_dtype), self.spec
        )
        for i, batch in enumerate(self._take(first, count)):
            for to, part in zip(*map(tf.nest.flatten, (stacked, batch)), strict=True):
                to[i] = part
        taken = tf.nest.map_structure(lambda part: tf.constant(part[:count]), stacked)
        if count and not feed.all_finite(taken):
            structures.check_finite(taken, f"data (steps from {first})")
        return tf.nest.map_structure(tf.constant, stacked)

    def trial(self):
        """The first batch."""
        return self._first

    def _take(self, first: int, count: int):
        if not count:
            return ()
        if self._at != first:
            self._batches = self._dataset.skip(first).as_numpy_iterator()
        self._at = first + count
        return itertools.islice(self._batches, count)

    @staticmethod
    def pick(inputs, i):
        """Batch number `i` of the chunk."""
        return structures.rows(inputs, i)
