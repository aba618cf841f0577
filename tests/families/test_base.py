"""A family: variables of its own, and every other member by its parameters."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families import Encoder, Family, mean_field
from elbo_tfp.families.base import positive, raw_of_positive
from tests.statistics import close, says

tfd = tfp.distributions


def normals(parameters):
    loc, raw = tf.split(parameters, 2, -1)
    return tfd.Independent(tfd.Normal(loc, positive(raw)), 1)


START = [0.5, -1.0, 0.0, 0.3]


def test_without_a_seed_it_starts_exactly_at_the_start():
    q = Family(normals, START)
    np.testing.assert_array_equal(q.free_parameters, np.float32(START))
    assert q.parameters_size == 4 and len(q.trainable_variables) == 1


def test_a_seed_moves_the_start_a_little_and_repeatably():
    one, again, other = (
        Family(normals, START, seed=s).free_parameters for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    moved = np.abs(one - np.float32(START))
    assert (moved > 0).all() and moved.max() < 0.5 and not np.array_equal(one, other)
    still = Family(normals, START, seed=0, jitter=0.0).free_parameters
    np.testing.assert_array_equal(still, np.float32(START))


def test_members_of_a_batch_have_parameters_of_their_own():
    q = Family(normals, START, batch_shape=(3,), seed=0)
    assert q.free_parameters.shape == (3, 4) and q.batch_shape == (3,)
    assert len(np.unique(q.free_parameters[:, 0])) == 3


@pytest.mark.parametrize("batch_shape", [3, None, "3"])
def test_a_batch_shape_is_a_tuple(batch_shape):
    with says("expected batch_shape to be a tuple", f"got {batch_shape!r}"):
        Family(normals, START, batch_shape=batch_shape)


def test_it_behaves_as_the_distribution_that_its_variables_name():
    q = Family(normals, START)
    member = normals(tf.constant(START))
    close(q.mean(), member.mean())
    assert q.event_shape == (2,) and q.batch_shape == () and q.dtype == tf.float32
    assert q.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    z = q.sample((3, 5), seed=1)
    assert z.shape == (3, 5, 2)
    np.testing.assert_array_equal(z, q.sample((3, 5), seed=(0, 1)))
    close(q.log_prob(z), member.log_prob(z))
    again, density = q.experimental_sample_and_log_prob((3, 5), seed=1)
    np.testing.assert_array_equal(z, again)
    close(density, member.log_prob(z))
    q.free_parameters.assign(tf.zeros(4))
    close(q.mean(), [0, 0])


@pytest.mark.parametrize("name", ["_missing", "missing"])
def test_what_neither_has_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(Family(normals, START), name)


def test_an_unfinished_family_does_not_recurse():
    with pytest.raises(AttributeError):
        _ = Family.__new__(Family).mean


@pytest.mark.parametrize("shape", [(), (3,), (5, 2), (4, 1)])
def test_parameters_of_another_size_are_an_error(shape):
    with says(
        "expected parameters [..., 4]",
        "'q'",
        f"got shape {tf.TensorShape(shape)}",
        "Dense",
    ):
        Family(normals, START)(tf.zeros(shape))


def test_whole_numbers_are_no_parameters():
    with says("parameters of a floating dtype", "'q'", "got int32", "Cast the data"):
        Family(normals, START)(tf.zeros([5, 4], tf.int32))


def test_positive_maps_zero_to_one_and_inverts():
    close(positive(tf.constant(0.0)), 1.0)
    for dtype in (tf.float32, tf.float64):
        values = tf.constant([1e-6, 0.1, 1.0, 10.0, 1e4], dtype)
        np.testing.assert_allclose(positive(raw_of_positive(values)), values, rtol=1e-5)


# encoders


def test_an_encoder_is_family_of_network():
    family = mean_field(2)
    encoder = Encoder(lambda x: tf.concat([x, 0 * x], -1), family)
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    q = encoder(x)
    close(q.mean(), x)
    close(q.stddev(), tf.ones_like(x))
    assert q.batch_shape == (2,) and encoder.family is family


def test_a_network_of_another_size_is_an_error():
    with says(
        "expected parameters [..., 4]",
        "mean_field",
        "(2, 2)",
        "Dense(family.parameters_size)",
    ):
        Encoder(lambda x: x, mean_field(2))(tf.zeros([2, 2]))
