"""Batches from a `tf.data.Dataset`, for data that do not fit in memory."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import feed

_BYTES_PER_CHUNK = 2**25


class Stream(feed.NoData):
    """A dataset's batches, in the dataset's order, over and over.

    Partial batches at the end of an epoch are left out. A chunk's batches are stacked
    on the host and read one by one by the compiled loop.
    """

    num_data = None

    def __init__(self, dataset: tf.data.Dataset, batch_size: int | None):
        if batch_size is not None:
            dataset = dataset.batch(batch_size, drop_remainder=True)
        first = next(iter(dataset.as_numpy_iterator()), None)
        if first is None:
            raise ValueError(
                "data is empty: the dataset yields no full batch. Check batch_size and "
                "whether the dataset has been used up."
            )
        first = feed.as_tensors(first)
        self.batch_size = size = feed.length(first)
        self.spec = feed.specs(first, size)
        nbytes = sum(np.asarray(part).nbytes for part in tf.nest.flatten(first))
        self.capacity = max(1, min(feed.CAPACITY, _BYTES_PER_CHUNK // max(1, nbytes)))
        self._dataset = dataset.filter(
            lambda *parts: tf.shape(tf.nest.flatten(parts)[0])[0] == size
        )
        self._batches, self._at = None, None

    def inputs(self, first: int, count: int, capacity: int):
        """The chunk's batches, stacked and padded to `capacity` steps."""
        stacked = tf.nest.map_structure(
            lambda s: np.zeros([capacity, *s.shape], s.dtype.as_numpy_dtype), self.spec
        )
        for i, batch in enumerate(self._take(first, count)):
            for to, part in zip(*map(tf.nest.flatten, (stacked, batch)), strict=True):
                to[i] = part
        for part in tf.nest.flatten(stacked):
            if count:
                feed.check_finite(part[:count], f"data (steps from {first})")
        return tf.nest.map_structure(tf.constant, stacked)

    def _take(self, first: int, count: int):
        if not count:
            return ()
        if self._at != first:
            endless = self._dataset.repeat().skip(first)
            self._batches = endless.as_numpy_iterator()
        self._at = first + count
        return itertools.islice(self._batches, count)

    @staticmethod
    def pick(inputs, i):
        """Batch number `i` of the chunk."""
        return tf.nest.map_structure(lambda part: tf.gather(part, i), inputs)
