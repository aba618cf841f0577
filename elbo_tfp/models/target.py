"""The target z -> log p(x, z) of a model at given data, with its shapes checked.

It is longer than most modules: most of it is what is said of data that do not fit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from elbo_tfp.ground.checks import at_run_time, wrong
from elbo_tfp.ground.structures import batch_size, per_datum
from elbo_tfp.models.support import impossible_data, none_outside, of_possible_latents


class LogJoint(NamedTuple):
    """The target z -> log p(x, z), which also knows its parts."""

    model: Any
    """The `LatentVariableModel`."""
    x: Any
    """The data, `[B]` + event; a structure of tensors where the model takes one."""
    num_data: int | None = None
    """The size of the data set that shares the global latent; else None."""

    def __call__(self, z):
        """log p(x, z), nats, one number per sample and datum."""
        log_likelihood, log_prior = self.log_parts(z)
        return log_likelihood + log_prior

    def prior(self, w=None):
        """p(z) at these data: batch shape `[]`, `[B]` (conditional) or `[S, 1]` (w)."""
        return self.model.prior_at(self.x, w)

    def likelihood(self, *z):
        """p(x | z) at these data, batch shape `[S, B]`."""
        return self.model.likelihood_at(self.x, *z)

    @property
    def has_local(self) -> bool:
        """Whether there are latents of each datum, not only the global one."""
        return self.model.has_local

    def nothing(self, log_shared):
        """Zeros `[S, B]`, what no local latents weigh; `log_shared` is `[S]`."""
        size = batch_size(self.x, "x")
        rows = tf.shape(tf.nest.flatten(self.x)[0])[:1]
        zeros = tf.zeros(tf.concat([tf.shape(log_shared), rows], 0), log_shared.dtype)
        return tf.ensure_shape(zeros, [*log_shared.shape, size])

    def log_parts(self, z, sample_ndims=None):
        """(log p(x | z), log p(z)), both `[S, B]`, nats.

        Args:
            z: latents `[S, B]` + event; with a global prior the pair `(z, w)`, w being
                `[S]` + event (and z without meaning, if the model has no local ones).
            sample_ndims: the number of leading sample dimensions, if known.

        Raises:
            ValueError: if x does not have one datum per `likelihood(z).event_shape`,
                or z not the prior's event shape.
        """
        if self.num_data is None:
            log_prior = _log_prior(self.prior(), z, sample_ndims, "prior")
            return self._log_likelihood(log_prior, sample_ndims, z), log_prior
        local, w = z
        shared = self.model.global_prior
        log_shared = _log_prior(shared, w, sample_ndims, "global_prior")
        log_prior = self.nothing(log_shared)
        if self.has_local:
            # given w, the prior has the samples' dimensions too
            ndims = 0 if self.model.prior_needs_global else sample_ndims
            log_prior = _log_prior(self.prior(w), local, ndims, "prior")
        log_prior = per_datum(log_prior, log_shared, self.num_data)
        latents = (local, w) if self.has_local else (w,)
        return self._log_likelihood(log_prior, sample_ndims, *latents), log_prior

    def _log_likelihood(self, log_prior, sample_ndims, *z):
        likelihood = self.likelihood(*z)
        if not hasattr(likelihood, "event_shape"):
            raise ValueError(
                "expected likelihood(z) to return a distribution over x; got "
                f"{type(likelihood).__name__}."
            )
        x = self._checked_x(likelihood, log_prior, sample_ndims)
        bad = impossible_data(likelihood, x)
        try:
            log_likelihood = likelihood.log_prob(x)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(self._mismatch(likelihood, log_prior, error)) from error
        if not log_likelihood.shape.is_compatible_with(log_prior.shape):
            raise ValueError(self._mismatch(likelihood, log_prior))
        return none_outside(log_likelihood, likelihood, bad)

    def _checked_x(self, likelihood, log_prior, sample_ndims):
        """x, of the likelihood's dtype and of shape B + event: nothing broadcasts."""
        events = event_shape_of(likelihood)
        x = scored(self.x, events)
        dtypes, static = likelihood.dtype, tf.nest.flatten(events)
        known = all(t.shape.is_fully_defined() for t in tf.nest.flatten(x))
        dynamic = static
        if not (known and log_prior.shape.is_fully_defined()):
            dynamic = tf.nest.flatten(likelihood.event_shape_tensor())
        parts = [
            self._checked_part(likelihood, log_prior, sample_ndims, *part)
            for part in zip(
                *map(tf.nest.flatten, (x, dtypes)), static, dynamic, strict=True
            )
        ]
        return tf.nest.pack_sequence_as(x, parts)

    def _checked_part(self, likelihood, log_prior, sample_ndims, x, dtype, event, size):
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
        shape = tf.concat([batch, size], 0)
        return at_run_time(x, shape, self._mismatch(likelihood, log_prior))

    def _mismatch(self, likelihood, log_prior, error=""):
        shapes = tf.nest.map_structure(lambda part: part.shape, self.x)
        return (
            "expected log p(x | z) to give one number per sample and datum, as log p(z)"
            f" of shape {log_prior.shape}; got x of shape {shapes} under a "
            f"likelihood of batch shape {likelihood.batch_shape} and event shape "
            f"{likelihood.event_shape}. One datum is one likelihood event: wrap the "
            "likelihood (or the prior) in tfd.Independent if a dimension belongs to "
            "the datum, give q one row per datum, and use global_prior for a latent "
            f"that all data share. {error}"
        )


def scored(x, events):
    """The part of the data that a likelihood of these event shapes is a density of.

    Args:
        x: data; of a dict, the part "x" is meant, if the event has no names of its own.
        events: the event shape, or a structure of shapes.

    Raises:
        ValueError: if x has not that structure.
    """
    names = set(events) if isinstance(events, dict) else ()
    if isinstance(x, dict) and names and names <= set(x):
        return {name: x[name] for name in events}
    part = x["x"] if isinstance(x, dict) and "x" in x else x
    try:
        tf.nest.assert_same_structure(part, events, check_types=False)
    except (ValueError, TypeError) as error:
        got = f"{type(part).__name__} with {len(part)} parts"
        if isinstance(part, dict):
            got = f"dict with the parts {sorted(map(str, part))}"
        raise wrong(
            f"x of the structure of the likelihood's event, {events}",
            f"a {got}",
            'Name what is modelled "x" and a condition "given" in a dict, for '
            "models.ConditionalModel; for one array pass a list or an array.",
        ) from error
    return part


def event_shape_of(likelihood):
    """The event shape, also where TFP gives it as a tensor only (Autoregressive)."""
    event = likelihood.event_shape
    if not isinstance(event, tf.TensorShape):
        return event
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
    return of_possible_latents(log_prior, prior, z)


def _misfit(prior, z, name, error=""):
    shapes = [f"{part.shape} {part.dtype.name}" for part in tf.nest.flatten(z)]
    return (
        f"expected one event of the {name} per sample and datum, event shape "
        f"{prior.event_shape}, batch shape {prior.batch_shape} and dtype "
        f"{prior.dtype}; got z of shape {', '.join(shapes)}. Give q the event shape "
        f"and dtype of the {name}, and wrap a {name} of several independent parts in "
        f"tfd.Independent. {error}"
    )
