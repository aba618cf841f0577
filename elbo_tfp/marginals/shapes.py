"""Distributions of data whose shapes are those of another distribution."""

from __future__ import annotations

import tensorflow_probability as tfp

tfd = tfp.distributions


class ShapedLike(tfd.Distribution):
    """A distribution of the shapes of another, less some leading batch axes.

    Args:
        other: the distribution whose shapes and dtype these are.
        parameters: what the subclass was built from.
        without: how many of the batch axes of `other` are summed out.
    """

    def __init__(self, other, parameters, without=0):
        self._other, self._without = other, without
        super().__init__(
            dtype=other.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=type(self).__name__,
        )

    def _batch_shape(self):
        return self._other.batch_shape[self._without :]

    def _batch_shape_tensor(self):
        return self._other.batch_shape_tensor()[self._without :]

    def _event_shape(self):
        return self._other.event_shape

    def _event_shape_tensor(self):
        return self._other.event_shape_tensor()
