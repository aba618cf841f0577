"""Finite latents, summed out in log space."""

from __future__ import annotations

from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import whole as whole_number
from elbo_tfp.ground.wrappers import INDEPENDENT, SAMPLE
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.latents import moved, named_parts, prior_given
from elbo_tfp.marginals.mixtures import OverStates, StateMixture
from elbo_tfp.marginals.pinned import takes_pins
from elbo_tfp.marginals.priors import part_distributions
from elbo_tfp.marginals.supports import discrete_names, scalar_states, states_of

tfd = tfp.distributions


@takes_pins
def enumerate_discrete(
    model, names=None, *, support=None, max_states=100_000
) -> Marginal:
    """Sums finite latents out: p(x, z) = sum over k of p(x, z, k).

    All combinations of the states of the named latents are evaluated at once, so that
    memory and time are those of the model times their number. One latent of N
    independent entries, each of which shows in its own entry of the data alone (the
    class of every datum, say), is summed entry by entry: N K terms instead of K^N.

    Args:
        model: a `LatentVariableModel`, or a joint distribution with its data pinned; a
            prior over several latents is a TFP joint distribution, in any order (z may
            depend on k and k on z).
        names: the latents to sum out, one name or several; None means every latent of
            an integer or boolean type (or the only one there is).
        support: name -> array `[M]` + event of states, for distributions whose support
            is finite but not known to the package.
        max_states: the largest number of combinations to enumerate.

    Returns:
        A `Marginal` over the latents that remain; with a pin, its target. Its
        `conditional(z, x)` is p(k | z, x), with `logits` `[S, B, M]`, or `[S, B, N, K]`
        entry by entry, `states`, `sample` and `log_prob`.

    Raises:
        ValueError: if a support is infinite or unknown, there are more than
            `max_states` combinations (the message says how many), or a name is wrong.
    """
    max_states = whole_number("max_states", max_states)
    names = discrete_names(prior_given(model)) if names is None else names
    if not support:
        entries = Entries(model, names)
        if entries.is_apart():
            return entries
    return Enumerated(model, names, support or {}, max_states)


@final
class Enumerated(Marginal):
    """The marginal over all combinations of states."""

    def __init__(self, model, names, support, max_states):
        super().__init__(model, names)
        parts = part_distributions(prior_given(model), self._latents)
        parts = {n: parts[n] for n in self._latents.integrated}
        states = states_of(parts, support, max_states)
        self._states = {n: tf.constant(v, parts[n].dtype) for n, v in states.items()}

    def _log_states(self, rest):
        """log p(z, k) for every state k, `[M, S, B]`, nats."""
        prior = prior_given(self.integrated_from, rest[1:])
        return prior.log_prob(self._latents.spread(rest[0], self._states))

    def _log_prior(self, rest):
        # log p(z) = log sum_k p(z, k)
        return tf.reduce_logsumexp(self._log_states(rest), 0)

    def _given(self, rest):
        components = self._among(rest, self._states)[1]
        return StateMixture(self._log_states(rest), components)

    def _conditional(self, rest, x):
        # p(k | z, x) is proportional to p(z, k) p(x | z, k)
        return OverStates(self._given(rest).state_logits(x), self._states)


@final
class Entries(Marginal):
    """The marginal over one vector of independent entries, summed one by one."""

    def __init__(self, model, names):
        super().__init__(model, names)
        self.name = self._latents.integrated[0]
        self._event = self._latents.events()[self.name]
        self.dtype = named_parts(prior_given(model).dtype)[self.name]

    def is_apart(self):
        """Whether this is exact: entries independent a priori and in the data."""
        rest = self._examples()
        prior = part_distributions(prior_given(self.integrated_from), self._latents)
        prior = prior[self.name]
        vector = isinstance(prior, (INDEPENDENT, SAMPLE))
        if len(self._latents.integrated) > 1 or not vector or self._event.rank != 1:
            return False
        states = scalar_states(prior.distribution, self.name)
        self._states = {self.name: tf.constant(states, self.dtype)}
        index = np.random.default_rng(0).integers(len(states), size=[3, self._event[0]])
        values = tf.gather(self._states[self.name], index)
        x = self._among(rest, {self.name: values})[1]
        if not isinstance(x, INDEPENDENT) or x.event_shape[0] != self._event[0]:
            return False
        data = x.sample(seed=(0, 2))[0]
        by_state = self._by_entry(rest)[1].log_prob(data)
        chosen = tf.one_hot(index, len(states), dtype=by_state.dtype)
        told = tf.einsum("k...n,mnk->m...", by_state, chosen)
        same = [(x.log_prob(data), told)]
        if self._latents.kept:
            same += [[self._log_prior_apart(rest, v) for v in values[:2]]]
        return all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in same)

    def _by_entry(self, rest):
        """log p(k_n), `[K, S, B, N]`, and p(x_n | k_n) of that batch shape."""
        states, count = self._states[self.name], self._event[0]
        parts, x = self._among(rest, {self.name: tf.repeat(states[:, None], count, 1)})
        prior, lead = parts[self.name], self._latents.lead(rest[0])[0]
        value = tf.fill(tf.concat([[1], lead, [count]], 0), tf.ones([], self.dtype))
        value *= tf.reshape(states, [-1] + [1] * (value.shape.rank - 1))
        if isinstance(prior, SAMPLE):
            logits = moved(prior.distribution.log_prob(moved(value, -1, 0)), 0, -1)
        else:
            logits = prior.distribution.log_prob(value)
        inner = x.event_shape.rank - 1 - x.distribution.event_shape.rank
        x = tfd.Independent(x.distribution, inner) if inner else x.distribution
        return logits, x

    def _log_prior(self, rest):
        return self._log_prior_apart(rest, tf.gather(self._states[self.name], 0))

    def _given(self, rest):
        # log p(x) = sum_n log sum_k p(k_n) p(x_n | k_n)
        return tfd.Independent(StateMixture(*self._by_entry(rest)), 1)

    def _conditional(self, rest, x):
        logits = self._given(rest).distribution.state_logits(x)
        return OverStates(logits, self._states, apart=True)
