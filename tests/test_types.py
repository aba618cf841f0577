"""Draws, estimates, seeds and the run-time check of shapes."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp import types
from tests.statistics import says

SHARED = tf.constant([1.0, 2.0])


def test_log_p_and_log_weights_are_sums_of_parts():
    parts = [tf.constant([[v]]) for v in (1.0, 2.0, 4.0)]
    draws = types.Draws(None, *parts)
    assert float(draws.log_p[0, 0]) == 3.0
    assert float(draws.log_weights[0, 0]) == -1.0
    bare = types.Draws(None, None, None, parts[2], log_target=parts[0])
    assert float(bare.log_weights[0, 0]) == -3.0


def test_a_surrogate_lends_its_gradient_only():
    a = tf.Variable([0.1, 3.0])
    with tf.GradientTape() as tape:
        both = types.with_gradient_of(tf.sin(a), 7 * a)
    np.testing.assert_array_equal(both, tf.sin(a))
    np.testing.assert_array_equal(tape.gradient(both, a), [7, 7])


def test_a_surrogate_of_another_shape_would_repeat_its_gradient():
    with says("expected", "(2,)", "got ()", "same axes"):
        types.with_gradient_of(SHARED, SHARED[0])


def test_the_global_part_is_counted_once_over_the_data():
    local = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    share = types.per_datum(local, SHARED, 3)
    np.testing.assert_allclose(tf.reduce_sum(share, 1), [6 + 1, 15 + 2], rtol=1e-6)


@pytest.mark.parametrize("local", [SHARED, tf.zeros([2, 1, 3])])
def test_the_global_part_must_not_broadcast(local):
    with says("[S, B]", "[S]", str(local.shape), "(2,)", "row per datum"):
        types.per_datum(local, SHARED, 3)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (5, [0, 5]),
        (np.int32(5), [0, 5]),
        (np.uint64(5), [0, 5]),
        (2**32 + 7, [1, 7]),
        (-1, [-1, -1]),
        (2**64 - 1, [-1, -1]),
        (-(2**63), [-(2**31), 0]),
        (tf.constant(5), [0, 5]),
        (tf.constant(2**32 + 7, tf.int64), [1, 7]),
        (tf.constant(-1), [-1, -1]),
        ((3, 4), [3, 4]),
        (np.array([3, 4]), [3, 4]),
        (tf.constant([3, 4], tf.int64), [3, 4]),
    ],
)
def test_seeds_have_one_form(seed, expected):
    result = types.as_seed(seed)
    assert result.dtype == tf.int32
    assert result.numpy().tolist() == expected


@pytest.mark.parametrize(
    "seed",
    [None, True, np.bool_(True), 1.0, "1", [1, 2, 3], [[1, 2]], (1.0, 2.0)]
    + [2**64, -(2**63) - 1, object(), tf.constant(0.5)],
    ids=lambda seed: type(seed).__name__,  # repr holds an address
)
def test_other_seeds_are_errors(seed):
    with says("expected seed", "int", "shape [2]", "got", "seed=0"):
        types.as_seed(seed)


def test_seeds_inside_a_graph_are_the_same():
    traced = tf.function(lambda s: types.as_seed(s))
    np.testing.assert_array_equal(traced(tf.constant(5)), types.as_seed(5))
    unknown = tf.function(
        types.as_seed, input_signature=[tf.TensorSpec(None, tf.int32)]
    )
    np.testing.assert_array_equal(unknown(tf.constant([3, 4])), [3, 4])


@pytest.mark.parametrize("value", [0.3, np.float64(0.3), tf.constant(0.3, tf.float64)])
def test_numbers_keep_every_digit(value):
    assert types.number(value, tf.float64).numpy() == 0.3
    assert types.number(3, tf.float32).dtype == tf.float32
    local = tf.zeros([1, 1], tf.float64)
    share = types.per_datum(local, tf.ones([1], tf.float64), value)
    assert share.numpy().item() == 1 / 0.3


def test_split_and_folded_seeds_differ_and_repeat():
    a, b, c = types.split_seed(0, 3)
    seeds = [a, b, c, types.fold_in(0, 0), types.fold_in(0, 1), types.as_seed(0)]
    assert len({tuple(s.numpy()) for s in seeds}) == 6
    np.testing.assert_array_equal(types.split_seed(0, 3)[2], c)
    assert len(types.split_seed(0)) == 2
    step = tf.constant(1, tf.int64)
    np.testing.assert_array_equal(types.fold_in((0, 0), step), types.fold_in(0, 1))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("spec", [[None], [5]])
def test_shapes_are_checked_at_run_time(jit_compile, spec):
    """TensorFlow's graph optimizer drops a reshape, XLA an assertion."""

    def check(x, like):
        return types.at_run_time(x, tf.shape(like), "five!") * tf.ones([3, 5])

    signature = [tf.TensorSpec([None]), tf.TensorSpec(spec)]
    check = tf.function(
        check, input_signature=signature, jit_compile=jit_compile, autograph=False
    )
    np.testing.assert_array_equal(check(tf.range(5.0), tf.zeros(5))[2], np.arange(5))
    for size in (1, 3):
        expected = None if jit_compile else "five!"
        with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
            check(tf.ones(size), tf.zeros(5))
