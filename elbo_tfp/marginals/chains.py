"""What `kalman` and `forward` share: a Markov chain among the latents, laid open."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.wrappers import INDEPENDENT
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.latents import moved, named_parts, prior_given
from elbo_tfp.marginals.priors import part_distributions

tfd = tfp.distributions


class Chained(Marginal):
    """A marginal over a `tfd.MarkovChain`, seen along chosen paths; abstract too.

    Raises:
        ValueError: if several latents are named, or the latent is no Markov chain.
    """

    def __init__(self, model, name):
        super().__init__(model, name)
        self.name = self._only(
            "chain",
            "Put them into one state, or integrate one and keep the others.",
        )
        self._expected = f"a chain {self.name!r} that can be integrated exactly"
        self.event = self._latents.events()[self.name]
        found = part_distributions(prior_given(model), self._latents)[self.name]
        if not isinstance(found, tfd.MarkovChain) or self.event.num_elements() is None:
            raise wrong(
                f"the latent {self.name!r} to be a tfd.MarkovChain of fixed length",
                f"{type(found).__name__} of event shape {self.event}",
            )
        self.steps = self.event[0]
        self.dtype = named_parts(prior_given(model).dtype)[self.name]

    def _log_prior(self, rest):
        return self._log_prior_apart(rest, tf.zeros(self.event, self.dtype))

    def along(self, rest, paths):
        """Moves and data along M paths `[M, T]` + state, at every z_1.

        Returns:
            The distribution of the first state, batch `[M, S, B]`; of each later state
            given the one before, batch `[T - 1, M, S, B]`; and p(x | z).
        """
        parts, x = self._among(rest, {self.name: paths})
        whole = self._latents.spread(rest[0], {self.name: paths})
        states = moved(named_parts(whole)[self.name], -self.event.rank, 0)
        chain = parts[self.name]
        moves = chain.transition_fn(tf.range(self.steps - 1), states[:-1])
        return chain.initial_state_prior, moves, x

    def constant(self, states):
        """Paths that stay in one state: `[M]` + state -> `[M, T]` + state."""
        return tf.repeat(states[:, tf.newaxis], self.steps, 1)

    def of_one_step(self, x):
        """Of the distribution of a series, `T` + event: that of each step, batch `T`.

        Raises:
            ValueError: if its first event dimension is not independent steps.
        """
        event = x.event_shape
        if not isinstance(x, INDEPENDENT) or event[0] != self.steps:
            raise wrong(
                "the likelihood of a series, tfd.Independent over a first event "
                f"dimension of T={self.steps} steps",
                f"{type(x).__name__} with event shape {event}",
            )
        rest = event.rank - 1 - x.distribution.event_shape.rank
        return tfd.Independent(x.distribution, rest) if rest else x.distribution

    def log_posterior(self, path, rest, x):
        """log p(path | z_1, x) = log p(path) + log p(x | path) - log p(x), nats."""
        path = tf.convert_to_tensor(path)
        parts, likelihood = self._at(self._beside(rest, path), path)
        log_joint = parts[self.name].log_prob(path) + likelihood.log_prob(x)
        return log_joint - self._given(rest).log_prob(x)

    def check_kept(self, rest, paths):
        """Raises ValueError if the prior of another latent depends on the chain."""
        if self._latents.kept:
            ends = [self._log_prior_apart(rest, path) for path in paths[:2]]
            self._same(*ends, f"another latent depends on {self.name!r}")
