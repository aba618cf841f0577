"""Code lengths: units, errors, and what they mean."""

import math

import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
from elbo_tfp.codes import code_length
from tests.codes import toy
from tests.statistics import says

LOG_WEIGHTS = tf.constant([[-1.0, -4.0], [-3.0, -4.0], [-2.0, -7.0]], tf.float64)


def test_units_by_hand():
    nats = code_length(LOG_WEIGHTS, unit="nats")
    np.testing.assert_allclose(nats.value, [2.0, 5.0])
    assert float(nats.mean) == 3.5 and nats.unit == "nats"
    # errors: sd 1 and sqrt(3) over sqrt(3); sd of (2, 5) over sqrt(2)
    np.testing.assert_allclose(nats.noise_error, math.sqrt(1 / 3 + 1) / 2)
    np.testing.assert_allclose(nats.data_error, 1.5)
    bits = code_length(LOG_WEIGHTS)
    np.testing.assert_allclose(bits.value, np.array([2.0, 5.0]) / math.log(2))
    np.testing.assert_allclose(bits.noise_error, nats.noise_error / math.log(2))
    dims = code_length(LOG_WEIGHTS, unit="bits_per_dim", num_dims=10)
    np.testing.assert_allclose(dims.value * 10, bits.value)
    np.testing.assert_allclose(dims.data_error * 10, bits.data_error)
    assert dims.unit == "bits_per_dim"


def test_one_datum_has_no_data_error():
    length = code_length(LOG_WEIGHTS[:, :1])
    assert np.isnan(length.data_error) and np.isfinite(length.noise_error)


def test_draws_are_read_as_log_weights():
    x = toy.data(5).astype("float32")
    draws = et.draw(toy.model().log_joint(x), toy.encoder(x), 7, seed=0)
    length = code_length(draws, unit="nats")
    np.testing.assert_allclose(length.value, -et.bounds.elbo(draws))


WRONG = [
    ({"unit": "bytes"}, ('"nats", "bits"', "'bytes'")),
    ({"unit": "bits_per_dim"}, ("num_dims", "None")),
    ({"unit": "bits", "num_dims": 3}, ("num_dims", "with no other")),
    ({"unit": "bits_per_dim", "num_dims": 0}, ("positive int", "0")),
    ({"unit": "bits_per_dim", "num_dims": 2.5}, ("positive int", "2.5")),
    ({"unit": "bits_per_dim", "num_dims": True}, ("positive int", "True")),
]


@pytest.mark.parametrize("kwargs,message", WRONG)
def test_wrong_units(kwargs, message):
    with says(*message):
        code_length(LOG_WEIGHTS, **kwargs)


def test_wrong_shapes():
    with says("[S, B]", "(3,)"):
        code_length(LOG_WEIGHTS[:, 0])
    with says("at least 2 samples"):
        code_length(LOG_WEIGHTS[:1])
