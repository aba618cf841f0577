"""Conjugate latents, integrated out: the posterior has the form of the prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.counts import is_count
from elbo_tfp.marginals.base import (
    Marginal,
    beside,
    log_prior_of_kept,
    part_distributions,
    prior_of_kept,
    some_latents,
)
from elbo_tfp.marginals.compound import Compound
from elbo_tfp.marginals.latents import Latents
from elbo_tfp.marginals.linear import MULTIVARIATE, linear_gaussian

tfd = tfp.distributions


def conjugate(model, name=None) -> Marginal:
    """Integrates a latent z_2 whose prior is conjugate to the likelihood.

    Known pairs, with z_1 the other latents, on which everything else may depend:

        z_2 ~ Gamma(a, b),   x ~ Poisson(c z_2):   z_2 | x ~ Gamma(a + x, b + c)
        z_2 ~ Beta(a, b),    x ~ Binomial(n, z_2): z_2 | x ~ Beta(a + x, b + n - x)
        z_2 ~ Normal(m, P),  x ~ Normal(W z_2 + b, R): as in `linear_gaussian`

    so that x given z_1 is negative binomial, beta-binomial or normal. Exponential
    counts as Gamma and Bernoulli as Binomial. z_2 may be an array of
    independent entries, and each entry may stand behind several data: then the event
    shape of x is that of z_2 followed by the repetitions.

    Args:
        model: a `LatentVariableModel`; a prior over several latents is a TFP joint
            distribution in which nothing else depends on the named latent.
        name: the latent to integrate; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain. Its `conditional(z, x)` is the exact
        p(z_2 | z_1, x), a distribution of the prior's kind.

    Raises:
        ValueError: if prior and likelihood are no known pair (the message lists them),
            the likelihood is of the right kind but not proportional to z_2, the event
            shapes do not fit, or another latent depends on z_2.

    Source: Bernardo and Smith (1994), section 5.2 and appendix A.
    """
    latents = Latents(model, name)
    if len(latents.integrated) > 1:
        raise ValueError(
            f"expected one latent to integrate; got {latents.integrated}. Integrate "
            "them one after the other: conjugate(conjugate(model, a), b)."
        )
    parts = _Parts(model, latents)
    if parts.is_gaussian:
        return linear_gaussian(model, name)
    parts.check()

    prior = prior_of_kept(model, latents, parts.dtype, parts.log_prior_of_kept)
    return Marginal(
        model, latents, prior, parts.likelihood, parts.conditional, _not_counts
    )


def _not_counts(x):
    """What is wrong with data that are no counts, or None."""
    # TFP gives fractions a density, unless asked not to
    bad = tf.math.count_nonzero(~is_count(math.inf)(tf.cast(x, tf.float64)))
    return f"whole numbers >= 0; got {bad} of {tf.size(x)} others" if bad else None


class _Pair(NamedTuple):
    """Two kinds of distributions, and how data move the first."""

    prior: type
    likelihoods: tuple
    counts: Callable
    """prior -> its two parameters."""
    slope: Callable
    """likelihood -> what must be proportional to z."""
    rest: Callable
    """(likelihood, slope at z = 1, x) -> what data add to the second parameter."""


def _trials(likelihood, x):
    return getattr(likelihood, "total_count", tf.ones([], x.dtype))


_PAIRS = (
    _Pair(
        tfd.Gamma,
        (tfd.Poisson,),
        # the rate, also where a log-rate was given: E z = a / b
        lambda prior: (prior.concentration, prior.concentration / prior.mean()),
        lambda likelihood: likelihood.mean(),
        # a + sum x, b + sum c
        lambda likelihood, slope, x: slope,
    ),
    _Pair(
        tfd.Beta,
        (tfd.Binomial, tfd.Bernoulli),
        lambda prior: (prior.concentration1, prior.concentration0),
        lambda likelihood: likelihood.probs_parameter(),
        # a + sum x, b + sum (n - x)
        lambda likelihood, slope, x: _trials(likelihood, x) - x,
    ),
)
_KNOWN = "Gamma-Poisson, Beta-Binomial, Beta-Bernoulli and Normal-Normal"


class _Parts:
    """Prior, likelihood and posterior of z_2 at given other latents."""

    def __init__(self, model, latents):
        self._model, self._latents = model, latents
        (self._name,) = latents.integrated
        self._event = latents.parts(latents.template)[self._name]
        self.dtype = latents.parts(model.prior.dtype)[self._name]
        kept, shared = some_latents(model, latents)
        prior, seen = self.at(kept, shared, self.half(kept))
        found = [_entries(prior)[0], _scalar(seen)]
        self._kinds = [type(d).__name__ for d in found]
        gaussian = (tfd.Normal, *MULTIVARIATE)
        self.is_gaussian = all(isinstance(d, gaussian) for d in found)
        self._pair = next(
            (
                p
                for p in _PAIRS
                if all(map(isinstance, found, (p.prior, p.likelihoods)))
            ),
            None,
        )

    def half(self, kept):
        """z_2 = 1/2 everywhere, `[S, B]` + event: inside the support of every pair."""
        lead, static = self._latents.lead(kept)
        half = tf.fill(tf.concat([lead, self._event], 0), tf.cast(0.5, self.dtype))
        return tf.ensure_shape(half, static + self._event)

    def at(self, kept, shared, value):
        """p(z_2 | z_1) and p(x | z_1, z_2) at this z_2."""
        whole = self._latents.merge(kept, value)
        parts = part_distributions(self._model.prior, self._latents, whole=whole)
        return parts[self._name], self._model.likelihood(whole, *shared)

    def log_prior_of_kept(self, kept, value=None):
        """log p(z_1), `[S, B]`, nats; the value matters only to a check."""
        value = self.half(kept) if value is None else value
        whole = self._latents.merge(kept, value)
        return log_prior_of_kept(self._model.prior, self._latents, whole)

    def likelihood(self, kept, *shared):
        """p(x | z_1)."""

        def given(value):
            return self.at(*beside(self._latents, kept, shared, value), value)[1]

        half = self.half(kept)
        return Compound(
            self.at(kept, shared, half)[0],
            given,
            lambda x: self.conditional((kept, *shared), x),
            half,
        )

    def conditional(self, z, x):
        """p(z_2 | z_1, x): of the prior's kind, its parameters moved by the data."""
        kept, *shared = z
        half = self.half(kept)
        prior, seen = self.at(kept, shared, half)
        base, axes = _entries(prior)
        first, second = (_with_axes(p, axes) for p in self._pair.counts(base))
        x = tf.cast(x, self.dtype)
        rest = self._pair.rest(_scalar(seen), self._slope(seen), x)
        repeats = list(range(-(seen.event_shape.rank - self._event.rank), 0))
        zero = tf.zeros_like(half)
        moved = self._pair.prior(
            zero + first + tf.reduce_sum(x, repeats),
            zero + second + tf.reduce_sum(rest + tf.zeros_like(x), repeats),
        )
        return tfd.Independent(moved, self._event.rank)

    def check(self):
        """Raises ValueError where prior and likelihood are not a known pair."""
        if self._pair is None:
            raise ValueError(
                f"expected a conjugate pair of prior and likelihood, one of {_KNOWN}; "
                f"got {'-'.join(self._kinds)} for {self._name!r}. Sum or integrate it "
                "by another marginal, or approximate it with q."
            )
        kept, shared = some_latents(self._model, self._latents)
        half = self.half(kept)
        seen = self.at(kept, shared, half)[1]
        if seen.event_shape[: self._event.rank] != self._event:
            raise ValueError(
                f"expected data whose event shape starts with that of {self._name!r}, "
                f"{self._event}, and goes on with repetitions; got {seen.event_shape}. "
                "Transpose the data, or give every datum its own entry."
            )
        uniform = np.random.default_rng(0).uniform(0.1, 0.9, half.shape)
        value = tf.constant(uniform, self.dtype)
        other = self.at(kept, shared, value)[1]
        repeats = seen.event_shape.rank - self._event.rank
        line = self._slope(seen) * _with_axes(value, repeats)
        found = self._pair.slope(_scalar(other))
        self._check_same(found, line, "the likelihood is not proportional to it")
        trials = [_trials(_scalar(d), value) for d in (seen, other)]
        self._check_same(*trials, "the number of trials depends on it")
        if self._pair.prior is tfd.Beta:
            one = tf.ones([], self.dtype)
            self._check_same(self._slope(seen), one, "the probability is not it alone")
        if self._latents.kept:
            ends = [self.log_prior_of_kept(kept, v) for v in (half, value)]
            self._check_same(*ends, "another latent depends on it")

    def _slope(self, seen):
        """What data are proportional to, at z_2 = 1 (it is `seen` at 1/2)."""
        return self._pair.slope(_scalar(seen)) / 0.5

    def _check_same(self, one, other, what):
        limit = 1e-4 if self.dtype == tf.float32 else 1e-9
        one, other = tf.cast(one, self.dtype), tf.cast(other, self.dtype)
        gap = float(tf.reduce_max(tf.abs(one - other)))
        if not gap <= limit * (1 + float(tf.reduce_max(tf.abs(other)))):
            raise ValueError(
                f"expected {self._name!r} to be conjugate, {'-'.join(self._kinds)}; "
                f"got a model in which {what} (by {gap:.3g}). Known: {_KNOWN}, with a "
                "rate c z or a probability z; approximate other latents with q."
            )


def _entries(prior):
    """The distribution of one entry, and the axes that its parameters lack."""
    axes = 0
    while isinstance(prior, (tfd.Independent, tfd.Sample)):
        if isinstance(prior, tfd.Sample):
            if prior.distribution.event_shape.rank:
                break  # its copies lead the event: no axes to append
            axes += prior.event_shape.rank - prior.distribution.event_shape.rank
        prior = prior.distribution
    return prior, axes


def _scalar(likelihood):
    """The distribution of one entry of the data."""
    while isinstance(likelihood, tfd.Independent):
        likelihood = likelihood.distribution
    return likelihood


def _with_axes(parameter, axes):
    return parameter[(..., *[tf.newaxis] * axes)] if axes else parameter
