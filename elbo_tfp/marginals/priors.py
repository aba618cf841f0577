"""The prior of the latents that remain, out of the joint prior of all."""

from __future__ import annotations

import inspect

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.latents import named_parts, pack

tfd = tfp.distributions


def part_distributions(prior, latents, whole=None):
    """name -> distribution of each part given the parts before it, at this z."""
    if latents.is_single:
        return {latents.names[0]: prior}
    if not hasattr(prior, "sample_distributions"):
        raise wrong(
            "the prior of several latents to be a TFP joint distribution",
            type(prior).__name__,
        )
    return named_parts(prior.sample_distributions(seed=(0, 0), value=whole)[0])


def plain_prior(prior, latents):
    """p(z_1) as a distribution of its own, where no part of it needs z_2; else None."""
    if type(prior) is not tfd.JointDistributionNamed:
        return None
    makers = {n: prior.model[n] for n in latents.kept}
    parents = {
        n: () if isinstance(m, tfd.Distribution) else inspect.signature(m).parameters
        for n, m in makers.items()
    }
    if any(set(p) & set(latents.integrated) for p in parents.values()):
        return None
    if len(makers) > 1:
        return tfd.JointDistributionNamed(makers)
    (name,) = makers
    built = parents[name] == () and makers[name]
    return built or None


class KeptPrior:
    """p(z_1), from the joint prior of all parts and a formula for its log-density.

    Args:
        prior: the joint prior.
        latents: which parts remain.
        log_prob: a callable from z_1, `[S, B]` + event, to log p(z_1), `[S, B]`.
    """

    def __init__(self, prior, latents, log_prob):
        self._prior, self._latents, self.log_prob = prior, latents, log_prob
        self.event_shape = latents.keep(prior.event_shape)
        self.dtype = latents.keep(prior.dtype)
        self.batch_shape = tf.TensorShape([])
        self.reparameterization_type = tfd.NOT_REPARAMETERIZED

    def sample(self, sample_shape=(), *, seed):
        """Draws of the whole, of which z_1 is kept."""
        draws = self._prior.sample(sample_shape, seed=split_seed(seed, 1)[0])
        return self._latents.keep(draws)

    def experimental_default_event_space_bijector(self):
        """One bijector per part, onto its support."""
        parts = part_distributions(self._prior, self._latents)
        maps = {
            n: parts[n].experimental_default_event_space_bijector()
            for n in self._latents.kept
        }
        packed = pack(self._latents.kept, maps)
        return packed if len(maps) == 1 else tfp.bijectors.JointMap(packed)
