"""Seeds have one form, and repeat."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground import seeds
from tests.statistics import says


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
    result = seeds.as_seed(seed)
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
        seeds.as_seed(seed)


def test_seeds_inside_a_graph_are_the_same():
    traced = tf.function(lambda s: seeds.as_seed(s))
    np.testing.assert_array_equal(traced(tf.constant(5)), seeds.as_seed(5))
    unknown = tf.function(
        seeds.as_seed, input_signature=[tf.TensorSpec(None, tf.int32)]
    )
    np.testing.assert_array_equal(unknown(tf.constant([3, 4])), [3, 4])


def test_split_and_folded_seeds_differ_and_repeat():
    a, b, c = seeds.split_seed(0, 3)
    found = [a, b, c, seeds.fold_in(0, 0), seeds.fold_in(0, 1), seeds.as_seed(0)]
    assert len({tuple(s.numpy()) for s in found}) == 6
    np.testing.assert_array_equal(seeds.split_seed(0, 3)[2], c)
    assert len(seeds.split_seed(0)) == 2
    step = tf.constant(1, tf.int64)
    np.testing.assert_array_equal(seeds.fold_in((0, 0), step), seeds.fold_in(0, 1))
