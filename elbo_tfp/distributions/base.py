"""The base of the package's own distributions, and how to look inside of TFP's."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Unwrapped(NamedTuple):
    """What is inside of `tfd.Independent` and `tfd.Sample`."""

    base: Any
    """The distribution inside; a family stands for its current member."""
    ndims: int
    """How many leading dimensions of the outer event are independent factors."""
    copies: tuple
    """The shape that `tfd.Sample` repeats, which is missing from the batch shape of
    `base`; `()` if there was none."""


def unwrap(distribution, samples=True) -> Unwrapped:
    """Looks through any number of `tfd.Independent` and, if asked to, `tfd.Sample`.

    Around a distribution that is no `CompositeTensor` TFP returns an `_Independent`, of
    which `tfd.Independent` is only a subclass: it is seen, too.

    Args:
        distribution: a TFP distribution or a family.
        samples: whether to look into `tfd.Sample`; else its copies stay in the base.

    Returns:
        An `Unwrapped`, whose base is the distribution itself if nothing is around it.
    """
    base = getattr(distribution, "current", distribution)
    outer, copies = base, ()
    kinds = ("Independent", "Sample") if samples else ("Independent",)
    while type(base).__name__.removeprefix("_") in kinds:
        inner = base.distribution
        if type(base).__name__.endswith("Sample"):
            new = base.event_shape.rank - inner.event_shape.rank
            copies += tuple(base.event_shape[:new])
        base = inner
    if base is outer:
        return Unwrapped(base, 0, ())
    return Unwrapped(base, outer.event_shape.rank - base.event_shape.rank, copies)
