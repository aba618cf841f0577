"""The distribution of data whose conjugate latent was integrated out."""

from __future__ import annotations

import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.shapes import ShapedLike

tfd = tfp.distributions


class Compound(ShapedLike):
    """x with a conjugate z_2 integrated out.

    Args:
        prior: p(z_2 | z_1).
        likelihood: a callable from z_2 to p(x | z_1, z_2).
        log_mass: a callable from x to log p(x | z_1).
        at: some z_2, for the shapes.
    """

    def __init__(self, prior, likelihood, log_mass, at):
        self._likelihood, self._log_mass = likelihood, log_mass
        example = likelihood(at)
        self._prior = tfd.BatchBroadcast(prior, example.batch_shape_tensor())
        super().__init__(example, {"prior": prior})

    def _log_prob(self, x):
        return self._log_mass(x)

    def _sample_n(self, n, seed=None):
        z_seed, x_seed = split_seed(seed)
        z = self._prior.sample(n, seed=z_seed)
        return self._likelihood(z).sample(seed=x_seed)

    def _mean(self):
        return self._likelihood(self._prior.mean()).mean()
