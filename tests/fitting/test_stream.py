"""Streams: read ahead while a chunk runs, and the same batches after a resume."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import Checkpoint, NonFiniteError, fit, run
from elbo_tfp.fitting.stream import Stream

ROWS = np.arange(40, dtype=np.float32)


def dataset():
    return tf.data.Dataset.from_tensor_slices(ROWS)


def climb(v, data, steps, **given):
    given = {"seed": 0, "batch_size": 4, **given}
    return fit(lambda batch: v * 0.0 + batch, num_steps=steps, data=data, **given)


def test_batches_read_ahead_are_the_batches_of_the_order():
    feed, at = Stream(dataset(), 4), 0
    # the next chunk is as long, shorter, longer; what was read too much is kept
    for count in (3, 3, 2, 1, 5, 0, 4):
        found = feed.inputs(at, count, 5)[:count]
        meant = np.arange(4 * at, 4 * (at + count)) % 40
        np.testing.assert_array_equal(np.ravel(found), meant)
        at += count
    # another capacity, and one step as expected
    feed.inputs(at, 1, 1)
    assert feed.inputs(at + 1, 1, 5).shape == [5, 4]
    # a jump back, as after an error
    np.testing.assert_array_equal(feed.inputs(2, 1, 5)[0], ROWS[8:12])
    feed.leave()


def test_the_next_chunk_is_read_while_this_one_runs():
    taken = []

    def slow():
        for row in ROWS:
            taken.append(row)
            time.sleep(0.01)
            yield row

    data = tf.data.Dataset.from_generator(slow, output_signature=tf.TensorSpec([]))
    feed = Stream(data, 4)
    feed.inputs(0, 2, 2)
    before = len(taken)
    time.sleep(0.5)  # the device is busy
    assert len(taken) >= before + 8 - 1
    begin = time.perf_counter()
    np.testing.assert_array_equal(np.ravel(feed.inputs(2, 2, 2)), ROWS[8:16])
    assert time.perf_counter() - begin < 0.06  # reading takes 0.08 s
    feed.leave()


def test_no_thread_is_left_behind():
    before = threading.active_count()
    v = tf.Variable(0.0)
    climb(v, dataset(), 20)
    assert threading.active_count() <= before


def test_an_error_in_the_thread_is_raised_where_its_batches_are_asked_for():
    bad = dataset().map(lambda x: tf.debugging.check_numerics(x / (x - 30.0), "bad"))
    feed = Stream(bad.map(tf.abs), 4)
    feed.inputs(0, 4, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad"):
        feed.inputs(4, 4, 4)
    feed.leave()


def test_a_stream_that_ends_is_an_error():
    once = iter(range(10))
    data = tf.data.Dataset.from_generator(
        lambda: once, output_signature=tf.TensorSpec([], tf.int32)
    )
    feed = Stream(data, 2)  # the first look takes a batch
    feed.inputs(0, 3, 3)
    with pytest.raises(ValueError, match="ended before step 6"):
        feed.inputs(3, 3, 3)


def test_a_stream_that_repeats_itself_is_resumed_and_another_one_refused(tmp_path):
    v = tf.Variable(0.0)
    good = dataset().shuffle(40, seed=1, reshuffle_each_iteration=False)
    whole = climb(v, good, 13)
    first = Checkpoint(tmp_path / "a", every=5, resume=True)
    climb(v, good, 8, checkpoint=first)
    np.testing.assert_array_equal(climb(v, good, 13, checkpoint=first).elbo, whole.elbo)
    # another order than that of the first eight steps
    bad = dataset().shuffle(40, seed=2, reshuffle_each_iteration=False)
    with pytest.raises(ValueError, match="gives other batches.*reshuffle_each"):
        climb(v, bad, 20, checkpoint=first)


def test_going_on_with_another_order_is_said(recwarn):
    v = tf.Variable(0.0)
    data = dataset().shuffle(40, seed=1)
    first = climb(v, data, 8)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="not one longer fit"):
        climb(v, data, 8, init=first, seed=None)


def test_an_error_within_a_chunk_does_not_make_the_stream_another():
    v = tf.Variable(0.0)
    data = tf.data.Dataset.from_tensor_slices(ROWS)

    def objective(batch, step):
        return v * 0.0 + batch + tf.where(step == 5, np.float32("nan"), 0.0)

    given = {"data": data, "batch_size": 4}
    with run.steps_per_call(8), pytest.raises(NonFiniteError) as caught:
        fit(objective, num_steps=8, seed=0, **given)
    state = caught.value.result.state
    assert state.step == 5 and state.mark is None
