"""The target z -> log p(x, z) of a model at given data, with its shapes checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from elbo_tfp.ground.checks import at_run_time
from elbo_tfp.ground.structures import per_datum


class LogJoint(NamedTuple):
    """The target z -> log p(x, z), which also knows its parts."""

    model: Any
    """The `LatentVariableModel`."""
    x: tf.Tensor
    """The data, `[B]` + event."""
    num_data: int | None = None
    """The size of the data set that shares the global latent; else None."""

    def __call__(self, z):
        """log p(x, z), nats, one number per sample and datum."""
        log_likelihood, log_prior = self.log_parts(z)
        return log_likelihood + log_prior

    def log_parts(self, z, sample_ndims=None):
        """(log p(x | z), log p(z)), both `[S, B]`, nats.

        Args:
            z: latents `[S, B]` + event; with a global prior the pair `(z, w)`.
            sample_ndims: the number of leading sample dimensions, if known.

        Raises:
            ValueError: if x does not have one datum per `likelihood(z).event_shape`,
                or z not the prior's event shape.
        """
        model = self.model
        if self.num_data is None:
            log_prior = _log_prior(model.prior, z, sample_ndims, "prior")
            return self._log_likelihood(log_prior, sample_ndims, z), log_prior
        z, w = z
        log_prior = _log_prior(model.prior, z, sample_ndims, "prior")
        log_shared = _log_prior(model.global_prior, w, sample_ndims, "global_prior")
        log_prior = per_datum(log_prior, log_shared, self.num_data)
        return self._log_likelihood(log_prior, sample_ndims, z, w), log_prior

    def _log_likelihood(self, log_prior, sample_ndims, *z):
        likelihood = self.model.likelihood(*z)
        if not hasattr(likelihood, "event_shape"):
            raise ValueError(
                "expected likelihood(z) to return a distribution over x; got "
                f"{type(likelihood).__name__}."
            )
        x = self._checked_x(likelihood, log_prior, sample_ndims)
        try:
            log_likelihood = likelihood.log_prob(x)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(self._mismatch(likelihood, log_prior, error)) from error
        if not log_likelihood.shape.is_compatible_with(log_prior.shape):
            raise ValueError(self._mismatch(likelihood, log_prior))
        return log_likelihood

    def _checked_x(self, likelihood, log_prior, sample_ndims):
        """x, of the likelihood's dtype and of shape B + event: nothing broadcasts."""
        x, event, dtype = self.x, event_shape_of(likelihood), likelihood.dtype
        if getattr(dtype, "is_floating", False) and x.dtype != dtype:
            raise ValueError(
                f"expected x of the likelihood's dtype {dtype.name}; got "
                f"{x.dtype.name}. Cast x: precision is never changed silently."
            )
        batch_ndims, rank = x.shape.rank - event.rank, log_prior.shape.rank
        known = batch_ndims if sample_ndims is None else rank - sample_ndims
        shape = log_prior.shape[max(rank - batch_ndims, 0) :] + event
        if batch_ndims != known or not x.shape.is_compatible_with(shape):
            raise ValueError(self._mismatch(likelihood, log_prior))
        if x.shape.is_fully_defined() and shape.is_fully_defined():
            return x
        batch = tf.shape(log_prior)[rank - batch_ndims :]
        shape = tf.concat([batch, likelihood.event_shape_tensor()], 0)
        return at_run_time(x, shape, self._mismatch(likelihood, log_prior))

    def _mismatch(self, likelihood, log_prior, error=""):
        return (
            "expected log p(x | z) to give one number per sample and datum, as log p(z)"
            f" of shape {log_prior.shape}; got x of shape {self.x.shape} under a "
            f"likelihood of batch shape {likelihood.batch_shape} and event shape "
            f"{likelihood.event_shape}. One datum is one likelihood event: wrap the "
            "likelihood (or the prior) in tfd.Independent if a dimension belongs to "
            "the datum, give q one row per datum, and use global_prior for a latent "
            f"that all data share. {error}"
        )


def checked_data(x, support=None) -> tf.Tensor:
    """x as a tensor of known rank, not empty; possible, as far as one can see now.

    Args:
        x: data.
        support: as in `LatentVariableModel`; asked in eager mode only.

    Raises:
        ValueError: if it is.
    """
    x = tf.convert_to_tensor(x)
    if x.shape.rank is None or x.shape.num_elements() == 0:
        raise ValueError(
            "expected at least one datum and an x of known rank; got x of shape "
            f"{x.shape}. A bound of nothing is no number."
        )
    if tf.executing_eagerly() and x.dtype.is_floating:
        bad = int(tf.math.count_nonzero(tf.math.is_nan(x)))
        if bad:
            raise ValueError(
                f"expected data without NaN; got {bad} of {tf.size(x)} values. Drop or "
                "mask them: a bound of NaN data is NaN."
            )
    found = support(x) if support is not None and tf.executing_eagerly() else None
    if found:
        raise ValueError(
            f"expected data that the likelihood can give: {found}. Rescale, round or "
            "binarise them, or choose another likelihood."
        )
    return x


def event_shape_of(likelihood):
    """The event shape, also where TFP gives it as a tensor only (Autoregressive)."""
    event = likelihood.event_shape
    if event.rank is None:
        event = tf.get_static_value(likelihood.event_shape_tensor())
        if event is None:
            raise ValueError(
                "expected a likelihood whose event shape is known beforehand; got "
                f"{likelihood}. Build it from arrays of known shape."
            )
    return tf.TensorShape(event)


def _log_prior(prior, z, sample_ndims, name):
    """log p(z), once z is known to be one event of the prior per sample and datum."""
    z = tf.nest.map_structure(tf.convert_to_tensor, z)
    try:
        log_prior = prior.log_prob(z)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(_misfit(prior, z, name, error)) from error
    events, parts = tf.nest.flatten(prior.event_shape), tf.nest.flatten(z)
    fits = len(events) == len(parts) and all(
        part.shape.is_compatible_with(log_prior.shape + event)
        for event, part in zip(events, parts, strict=True)
    )
    batches = [s.rank or 0 for s in tf.nest.flatten(prior.batch_shape)]
    if not fits or max(batches) > log_prior.shape.rank - (sample_ndims or 0):
        raise ValueError(_misfit(prior, z, name))
    return log_prior


def _misfit(prior, z, name, error=""):
    shapes = [f"{part.shape} {part.dtype.name}" for part in tf.nest.flatten(z)]
    return (
        f"expected one event of the {name} per sample and datum, event shape "
        f"{prior.event_shape}, batch shape {prior.batch_shape} and dtype "
        f"{prior.dtype}; got z of shape {', '.join(shapes)}. Give q the event shape "
        f"and dtype of the {name}, and wrap a {name} of several independent parts in "
        f"tfd.Independent. {error}"
    )
