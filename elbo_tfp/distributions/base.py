"""The base of the package's own distributions."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class Base(tfd.Distribution):
    """What the package's own distributions share: a known event shape, no options.

    Subclasses give `_log_prob` and `_sample_n`; the batch shape is that of the
    parameters named by `_parameter_properties`, or `_batch_shape` says it.

    Args:
        parameters: dict of what the subclass was made from.
        dtype: of samples.
        event_shape: of one sample, static.
        reparameterized: whether samples carry gradients.
        name: of the distribution.
    """

    def __init__(self, parameters, dtype, event_shape, reparameterized, name):
        self._event = tf.TensorShape(event_shape)
        kinds = tfd.NOT_REPARAMETERIZED, tfd.FULLY_REPARAMETERIZED
        super().__init__(
            dtype=dtype,
            reparameterization_type=kinds[reparameterized],
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self):
        return self._event

    def _event_shape_tensor(self):
        return tf.constant(self._event.as_list(), tf.int32)
