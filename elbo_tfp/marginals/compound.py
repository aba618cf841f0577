"""The distribution of data whose conjugate latent was integrated out."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.shapes import ShapedLike

tfd = tfp.distributions


class Compound(ShapedLike):
    """x with a conjugate z_2 integrated out.

    Args:
        prior: p(z_2 | z_1).
        likelihood: a callable from z_2 to p(x | z_1, z_2).
        posterior: a callable from x to p(z_2 | z_1, x).
        at: some z_2, for the shapes.

    Source: Besag (1989), "A candidate's formula".
    """

    def __init__(self, prior, likelihood, posterior, at):
        self._likelihood, self._posterior = likelihood, posterior
        example = likelihood(at)
        self._prior = tfd.BatchBroadcast(prior, example.batch_shape_tensor())
        super().__init__(example, {"prior": prior})

    def _log_prob(self, x):
        posterior = self._posterior(x)
        z = tf.stop_gradient(posterior.mean())
        # log p(x) = log p(z) + log p(x | z) - log p(z | x), at any z
        joint = self._prior.log_prob(z) + self._likelihood(z).log_prob(x)
        return joint - posterior.log_prob(z)

    def _sample_n(self, n, seed=None):
        z_seed, x_seed = split_seed(seed)
        z = self._prior.sample(n, seed=z_seed)
        return self._likelihood(z).sample(seed=x_seed)

    def _mean(self):
        return self._likelihood(self._prior.mean()).mean()
