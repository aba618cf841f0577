"""Seeds have one form, and repeat."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from elbo_tfp.ground import seeds
from tests.statistics import assert_mean, says


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


@pytest.mark.parametrize(("dtype", "digits"), [(tf.float32, 24), (tf.float64, 53)])
def test_uniform_numbers_are_the_odd_multiples_between_0_and_1(dtype, digits):
    u = seeds.uniform([2000, 2], 0, dtype)
    assert u.dtype == dtype and u.shape == (2000, 2)
    odd = u.numpy().astype(np.float64) * 2.0**digits
    assert np.all(odd % 2 == 1) and odd.min() > 0 and odd.max() < 2.0**digits
    assert np.unique(odd).size > 3990
    assert_mean(np.ravel(u), 0.5, fault=0.05)
    assert_mean(np.ravel(u) > 0.75, 0.25, fault=0.06)
    assert_mean(np.ravel(odd) // 2 % 2, 0.5, fault=0.07)  # the last digit too
    assert np.ravel(u).min() < 1e-2 and np.ravel(u).max() > 1 - 1e-2


@pytest.mark.parametrize(("dtype", "rtol"), [(tf.float32, 1e-5), (tf.float64, 1e-12)])
def test_normal_numbers_are_the_quantiles_of_uniform_ones(dtype, rtol):
    u, z = (f([3000], 0, dtype) for f in (seeds.uniform, seeds.standard_normal))
    expected = scipy.stats.norm.ppf(np.float64(u))
    assert z.dtype == dtype and z.shape == (3000,)
    np.testing.assert_allclose(z, expected, rtol=rtol, atol=1e-6 * rtol)


def test_numbers_are_float32_unless_asked_and_the_same_in_a_graph():
    for make in (seeds.uniform, seeds.standard_normal):
        eager = make([5], 3)
        assert eager.dtype == tf.float32
        graph = tf.function(lambda s, make=make: make([5], s))(tf.constant([0, 3]))
        np.testing.assert_array_equal(graph, eager)
        assert not np.array_equal(make([5], 4), eager)
