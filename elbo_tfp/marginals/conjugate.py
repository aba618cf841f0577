"""Conjugate latents, integrated out: the posterior has the form of the prior.

It is longer than most modules: each conjugate pair is a row of one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.counts import is_count
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.wrappers import INDEPENDENT, SAMPLE, unwrap
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.compound import Compound
from elbo_tfp.marginals.gaussians import MULTIVARIATE
from elbo_tfp.marginals.latents import named_parts, prior_given
from elbo_tfp.marginals.linear import linear_gaussian
from elbo_tfp.marginals.pinned import takes_pins

tfd, tfm = tfp.distributions, tfp.math


@takes_pins
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
        model: a `LatentVariableModel`, or a joint distribution with its data pinned; a
            prior over several latents is a TFP joint distribution in which nothing else
            depends on the named latent.
        name: the latent to integrate; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain; with a pin, its target. Its
        `conditional(z, x)` is the exact p(z_2 | z_1, x), a distribution of the prior's
        kind.

    Raises:
        ValueError: if prior and likelihood are no known pair (the message lists them),
            the likelihood is of the right kind but not proportional to z_2, the event
            shapes do not fit, or another latent depends on z_2.

    Source: Bernardo and Smith (1994), section 5.2 and appendix A.
    """
    found = Conjugate(model, name)
    if found.is_gaussian:
        return linear_gaussian(model, name)
    found.check()
    return found


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
    ratio: Callable
    """(a, b, s, t) -> log of the integral of z's kernel with data over that without."""
    measure: Callable
    """(likelihood, slope at z = 1, x) -> log p(x | z) without the kernel."""


def _trials(likelihood, x):
    total = getattr(likelihood, "total_count", tf.ones([], x.dtype))
    return tf.cast(total, x.dtype)


def _log_choices(n, x):
    log_choices = -tf.math.log1p(n) - tfm.lbeta(1 + x, 1 + n - x)
    return tf.where((x < 0) | (x > n), tf.cast(-math.inf, x.dtype), log_choices)


_PAIRS = (
    _Pair(
        tfd.Gamma,
        (tfd.Poisson,),
        lambda prior: (
            prior.concentration,
            tf.exp(prior.log_rate) if prior.rate is None else prior.rate,
        ),
        lambda likelihood: likelihood.mean(),
        # a + sum x, b + sum c
        lambda likelihood, slope, x: slope,
        # log Gamma(a + s) / Gamma(a) + a log b - (a + s) log(b + t)
        lambda a, b, s, t: (
            -tfm.log_gamma_difference(s, a)
            - a * tf.math.log1p(t / b)
            - tf.math.xlogy(s, b + t)
        ),
        # log c^x / x!
        lambda likelihood, slope, x: tf.math.xlogy(x, slope) - tf.math.lgamma(x + 1),
    ),
    _Pair(
        tfd.Beta,
        (tfd.Binomial, tfd.Bernoulli),
        lambda prior: (prior.concentration1, prior.concentration0),
        lambda likelihood: likelihood.probs_parameter(),
        # a + sum x, b + sum (n - x)
        lambda likelihood, slope, x: _trials(likelihood, x) - x,
        # log B(a + s, b + t) / B(a, b)
        lambda a, b, s, t: tfm.lbeta(a + s, b + t) - tfm.lbeta(a, b),
        # log n! / x! (n - x)!
        lambda likelihood, slope, x: _log_choices(_trials(likelihood, x), x),
    ),
)
_KNOWN = "Gamma-Poisson, Beta-Binomial, Beta-Bernoulli and Normal-Normal"


@final
class Conjugate(Marginal):
    """The marginal over a latent whose posterior is of its prior's kind."""

    def __init__(self, model, name):
        super().__init__(model, name, _not_counts)
        self.name = self._only(
            "latent",
            "Integrate them one after the other: conjugate(conjugate(model, a), b).",
        )
        self._event = self._latents.events()[self.name]
        self.dtype = named_parts(prior_given(model).dtype)[self.name]
        prior, seen = self._at_half(self._examples())
        found = _entries(prior)[0], _scalar(seen)
        self._kinds = "-".join(type(d).__name__ for d in found)
        self._expected = f"{self.name!r} to be conjugate, {self._kinds}"
        self._remedy = (
            f"Known: {_KNOWN}, with a rate c z or a probability z; approximate other "
            "latents with q."
        )
        gaussian = (tfd.Normal, *MULTIVARIATE)
        self.is_gaussian = all(isinstance(d, gaussian) for d in found)
        fits = [all(map(isinstance, found, (p.prior, p.likelihoods))) for p in _PAIRS]
        self._pair = _PAIRS[fits.index(True)] if any(fits) else None

    def _half(self, rest):
        """z_2 = 1/2 everywhere, `[S, B]` + event: inside the support of every pair."""
        lead, static = self._latents.lead(rest[0])
        half = tf.fill(tf.concat([lead, self._event], 0), tf.cast(0.5, self.dtype))
        return tf.ensure_shape(half, static + self._event)

    def _at_half(self, rest, value=None):
        """p(z_2 | z_1) and p(x | z_1, z_2) at z_2 = 1/2, or another value."""
        parts, seen = self._at(rest, self._half(rest) if value is None else value)
        return parts[self.name], seen

    def _log_prior(self, rest):
        return self._log_prior_apart(rest, self._half(rest))

    def _given(self, rest):
        return Compound(
            self._at_half(rest)[0],
            lambda value: self._at_half(self._beside(rest, value), value)[1],
            lambda x: self._log_mass(rest, x),
            self._half(rest),
        )

    def _conditional(self, rest, x):
        # of the prior's kind, its parameters moved by the data
        prior, added, _ = self._counted(rest, x, self.dtype)
        moved = self._pair.prior(prior[0] + added[0], prior[1] + added[1])
        return tfd.Independent(moved, self._event.rank)

    def _log_mass(self, rest, x):
        """log p(x | z_1): small differences of large numbers, so float64 inside."""
        prior, added, measure = self._counted(rest, x, tf.float64)
        log_mass = self._pair.ratio(*prior, *added) + measure
        log_mass = tf.reduce_sum(log_mass, list(range(-self._event.rank, 0)))
        return tf.cast(log_mass, self.dtype)

    def _counted(self, rest, x, dtype):
        """The prior's two parameters, what data add to them, and the log-measure.

        Each has the shape `[S, B]` + event of z_2: repetitions are summed.
        """
        prior, seen = self._at_half(rest)
        base, axes = _entries(prior)
        zero = tf.zeros_like(self._half(rest), dtype)
        before = [
            zero + _with_axes(tf.cast(p, dtype), axes) for p in self._pair.counts(base)
        ]
        x = tf.cast(x, dtype)
        given = _scalar(seen), tf.cast(self._slope(seen), dtype), x
        repeats = list(range(-(seen.event_shape.rank - self._event.rank), 0))
        *added, measure = (
            tf.reduce_sum(part + tf.zeros_like(x), repeats)
            for part in (x, self._pair.rest(*given), self._pair.measure(*given))
        )
        return before, added, measure

    def check(self):
        """Raises ValueError where prior and likelihood are not a known pair."""
        if self._pair is None:
            raise wrong(
                f"a conjugate pair of prior and likelihood, one of {_KNOWN}",
                f"{self._kinds} for {self.name!r}",
                "Sum or integrate it by another marginal, or approximate it with q.",
            )
        rest = self._examples()
        seen = self._at_half(rest)[1]
        if seen.event_shape[: self._event.rank] != self._event:
            raise wrong(
                f"data whose event shape starts with that of {self.name!r}, "
                f"{self._event}, and goes on with repetitions",
                seen.event_shape,
                "Transpose the data, or give every datum its own entry.",
            )
        shape = self._half(rest).shape
        value = np.random.default_rng(0).uniform(0.1, 0.9, shape)
        value = tf.constant(value, self.dtype)
        other = self._at_half(rest, value)[1]
        line = self._slope(seen) * _with_axes(
            value, seen.event_shape.rank - self._event.rank
        )
        found = self._pair.slope(_scalar(other))
        self._same(found, line, "the likelihood is not proportional to it")
        trials = [_trials(_scalar(d), value) for d in (seen, other)]
        trials = [tf.cast(n, self.dtype) for n in trials]
        self._same(*trials, "the number of trials depends on it")
        if self._pair.prior is tfd.Beta:
            one = tf.ones([], self.dtype)
            self._same(self._slope(seen), one, "the probability is not it alone")
        if self._latents.kept:
            ends = [self._log_prior_apart(rest, v) for v in (self._half(rest), value)]
            self._same(*ends, "another latent depends on it")

    def _slope(self, seen):
        """What data are proportional to, at z_2 = 1 (it is `seen` at 1/2)."""
        return self._pair.slope(_scalar(seen)) / 0.5


def _entries(prior):
    """The distribution of one entry, and the axes that its parameters lack."""
    axes = 0
    while isinstance(prior, (INDEPENDENT, SAMPLE)):
        if isinstance(prior, SAMPLE):
            if prior.distribution.event_shape.rank:
                break  # its copies lead the event: no axes to append
            axes += prior.event_shape.rank - prior.distribution.event_shape.rank
        prior = prior.distribution
    return prior, axes


def _scalar(likelihood):
    """The distribution of one entry of the data."""
    return unwrap(likelihood, samples=False).base


def _with_axes(parameter, axes):
    return parameter[(..., *[tf.newaxis] * axes)] if axes else parameter
