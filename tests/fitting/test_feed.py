"""Minibatches: every datum once per epoch, a fresh order each time, stateless."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting.feed import (
    FullBatch,
    Minibatches,
    NoData,
    checked,
    permutation,
)
from elbo_tfp.fitting.stream import Stream


def test_every_epoch_is_a_fresh_permutation_and_batches_straddle_them():
    feed = Minibatches(tf.range(10), 4, (0, 7))
    rows = feed.indices(0, 10).reshape(4, 10)
    for epoch in range(4):
        np.testing.assert_array_equal(np.sort(rows[epoch]), np.arange(10))
        np.testing.assert_array_equal(rows[epoch], permutation(10, (0, 7), epoch))
    assert len({tuple(order) for order in rows}) == 4
    np.testing.assert_array_equal(feed.indices(3, 4), feed.indices(0, 10)[3:7])
    np.testing.assert_array_equal(feed.indices(9, 1), feed.indices(0, 10)[9:])


def test_permutations_depend_on_both_halves_of_the_seed():
    seeds = [(0, 1), (1, 0), (0, 2), (-1, 1), (0, -1)]
    orders = {tuple(permutation(50, seed, 0)) for seed in seeds}
    assert len(orders) == len(seeds)
    # pinned: another NumPy, another machine, the same order
    np.testing.assert_array_equal(permutation(8, (0, 1), 2), PINNED)


PINNED = [4, 2, 0, 6, 1, 5, 7, 3]


def test_permutations_are_uniform():
    # 2,000 orders of 3: each of the 6 is expected 333 times, standard error 17
    orders = [tuple(permutation(3, (0, 5), epoch)) for epoch in range(2000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6 and max(abs(c - 2000 / 6) for c in counts) < 4 * 17


def test_inputs_are_padded_to_one_shape():
    feed = Minibatches(tf.range(10), 4, (0, 7))
    data, rows = feed.inputs(2, 3, 5)
    assert rows.shape == [5, 4] and rows.dtype == tf.int32
    np.testing.assert_array_equal(rows[:3], feed.indices(2, 3))
    np.testing.assert_array_equal(rows[3:], 0)
    np.testing.assert_array_equal(feed.inputs(0, 0, 5)[1], np.zeros([5, 4]))
    batch = feed.pick((data, rows), tf.constant(1))
    np.testing.assert_array_equal(batch, feed.indices(3, 1)[0])


def test_rows_drawn_ahead_are_the_same_rows():
    feed, other = (
        Minibatches(tf.range(10), 4, (0, 7)),
        Minibatches(tf.range(10), 4, (0, 7)),
    )
    at = 0
    # the next chunk is as long, shorter, longer; then one that nobody expected
    for count in (3, 3, 2, 5):
        rows = feed.inputs(at, count, 5)[1]
        np.testing.assert_array_equal(rows[:count], other.indices(at, count))
        at += count
    np.testing.assert_array_equal(feed.inputs(1, 3, 5)[1][:3], other.indices(1, 3))


def test_the_first_look_sees_the_extremes():
    data = np.arange(40, dtype=np.float32).reshape(20, 2)
    data[13, 1], data[4, 0] = 99.0, -99.0
    batch = Minibatches(tf.constant(data), 3, (0, 0)).trial()
    assert batch.shape == [3, 2]
    assert {99.0, -99.0} <= set(np.ravel(batch))


def test_structures_are_kept():
    data = checked({"x": np.ones([5, 2]), "y": (np.arange(5), np.zeros(5, bool))})
    feed = Minibatches(data, 3, (0, 0))
    assert feed.num_data == 5 and feed.batch_size == 3
    assert feed.spec["x"] == tf.TensorSpec([3, 2], tf.float64)
    assert feed.spec["y"][1] == tf.TensorSpec([3], tf.bool)
    batch = feed.pick(feed.inputs(0, 1, 1), 0)
    np.testing.assert_array_equal(batch["y"][0], feed.indices(0, 1)[0])
    whole = FullBatch(data)
    assert whole.num_data == whole.batch_size == 5
    assert whole.pick(whole.inputs(3, 1, 1), 0) is data
    assert NoData().inputs(0, 1, 1) == NoData.pick((), 0) == NoData().trial() == ()


def test_a_stream_limits_its_chunks_to_the_memory():
    wide = tf.data.Dataset.from_tensors(np.zeros([2**18], np.float32)).repeat(2)
    assert Stream(wide, 2).capacity == 4  # 2 MiB a batch, 8 MiB a chunk
    assert Stream(tf.data.Dataset.range(4), 2).capacity == 4000


@pytest.mark.parametrize("count", [0, 2])
def test_a_stream_stacks_and_pads(count):
    feed = Stream(tf.data.Dataset.range(6), 2)
    stacked = feed.inputs(0, count, 3)
    assert stacked.shape == [3, 2]
    np.testing.assert_array_equal(stacked[:count], np.array([[0, 1], [2, 3]])[:count])
    np.testing.assert_array_equal(feed.inputs(1, 1, 3)[0], [2, 3])
    np.testing.assert_array_equal(feed.inputs(2, 2, 3)[:2], [[4, 5], [0, 1]])
