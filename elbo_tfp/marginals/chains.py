"""What `kalman` and `forward` share: a Markov chain among the latents, laid open."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.marginals.base import (
    Marginal,
    beside,
    log_prior_of_kept,
    part_distributions,
    prior_of_kept,
    some_latents,
)
from elbo_tfp.marginals.latents import repeat

tfd = tfp.distributions


class Chain:
    """A `tfd.MarkovChain` among the latents of a model, seen along chosen paths.

    Args:
        model: a `LatentVariableModel`.
        latents: the `Latents` that name the chain, one name.

    Raises:
        ValueError: if several latents are named, or the latent is no Markov chain.
    """

    def __init__(self, model, latents):
        if len(latents.integrated) > 1:
            raise ValueError(
                f"expected one chain to integrate; got {latents.integrated}. Put them "
                "into one state, or integrate one and keep the others."
            )
        self.model, self.latents = model, latents
        (self.name,) = latents.integrated
        self.event = latents.parts(latents.template)[self.name]
        found = part_distributions(model.prior, latents)[self.name]
        if not isinstance(found, tfd.MarkovChain) or self.event.num_elements() is None:
            raise ValueError(
                f"expected the latent {self.name!r} to be a tfd.MarkovChain of fixed "
                f"length; got {type(found).__name__} of event shape {self.event}."
            )
        self.steps, self.dtype = self.event[0], found.dtype
        path = found.sample(seed=(0, 0))
        self.log_dtype = found.log_prob(path).dtype

    def marginal(self, likelihood, conditional):
        """The `Marginal` over what remains beside the chain."""
        prior = prior_of_kept(
            self.model, self.latents, self.log_dtype, self.log_prior_of_kept
        )
        return Marginal(self.model, self.latents, prior, likelihood, conditional)

    def log_prior_of_kept(self, kept, path=None):
        """log p(z_1), `[S, B]`, nats; the path matters only to a check."""
        lead, static = self.latents.lead(kept)
        path = tf.zeros(self.event, self.dtype) if path is None else path
        path = tf.broadcast_to(path, tf.concat([lead, self.event], 0))
        path = tf.ensure_shape(path, static + self.event)
        whole = self.latents.merge(kept, path)
        return log_prior_of_kept(self.model.prior, self.latents, whole)

    def at(self, whole, shared=()):
        """The chain's distribution and p(x | z), both given all latents."""
        parts = part_distributions(self.model.prior, self.latents, whole=whole)
        return parts[self.name], self.model.likelihood(whole, *shared)

    def along(self, kept, shared, paths):
        """Moves and data along M paths `[M, T]` + state, at every kept z.

        Returns:
            The chain, batch `[M, S, B]`; the distribution of each state after the
            first given the one before, batch `[T - 1, M, S, B]`; and p(x | z).
        """
        whole = self.latents.spread(kept, {self.name: paths})
        chain, x = self.at(whole, [repeat(w, paths.shape[0]) for w in shared])
        states = moved(self.latents.parts(whole)[self.name], -self.event.rank, 0)
        moves = chain.transition_fn(tf.range(self.steps - 1), states[:-1])
        return chain, moves, x

    def constant(self, states):
        """Paths that stay in one state: `[M]` + state -> `[M, T]` + state."""
        return tf.repeat(states[:, tf.newaxis], self.steps, 1)

    def log_posterior(self, path, z, x, log_evidence):
        """log p(path | z_1, x) = log p(path) + log p(x | path) - log p(x), nats."""
        path = tf.convert_to_tensor(path)
        kept, shared = beside(self.latents, z[0], z[1:], path)
        chain, likelihood = self.at(self.latents.merge(kept, path), shared)
        return chain.log_prob(path) + likelihood.log_prob(x) - log_evidence

    def some_latents(self):
        """Two draws of the other latents (and w), at which the model is examined."""
        return some_latents(self.model, self.latents)

    def check_kept(self, kept, paths):
        """Raises ValueError if the prior of another latent depends on the chain."""
        if self.latents.kept:
            ends = [self.log_prior_of_kept(kept, path) for path in paths[:2]]
            self.check_same(*ends, "another latent depends on")

    def check_same(self, one, other, what):
        """Raises ValueError, saying `what`, where two tensors differ."""
        if 0 in one.shape:
            return
        limit = 1e-3 if one.dtype == tf.float32 else 1e-8
        scale = 1 + float(tf.reduce_max(tf.abs(other)))
        gap = float(tf.reduce_max(tf.abs(one - other)))
        if not gap <= limit * scale:
            raise ValueError(
                f"expected a chain {self.name!r} that can be integrated exactly; got "
                f"a model in which {what} {self.name!r} (by {gap:.3g}). Integrate "
                "another latent, or approximate this one with q."
            )


def moved(tensor, source, target):
    """`tensor` with the axis `source` moved to `target`; negative ones as in NumPy."""
    rank = tensor.shape.rank
    order = list(range(rank))
    order.insert(target % rank, order.pop(source % rank))
    return tf.transpose(tensor, order)
