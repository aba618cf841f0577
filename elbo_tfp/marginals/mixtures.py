"""Distributions over states that are listed one by one, and mixtures over them."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.hidden import picked
from elbo_tfp.marginals.latents import moved, pack, unpack
from elbo_tfp.marginals.shapes import ShapedLike

tfd = tfp.distributions


class StateMixture(ShapedLike):
    """p(x | z) = sum over k of p(k | z) p(x | z, k), states leading.

    Args:
        logits: log p(z, k), `[M, S, B]`; normalised over the states here.
        components: p(x | z, k), batch shape `[M, S, B]`.
    """

    def __init__(self, logits, components):
        super().__init__(components, {"logits": logits, "components": components}, 1)
        self._log_weights = logits - tf.reduce_logsumexp(logits, 0)
        self._components = components

    def state_logits(self, x):
        """log p(k | z) + log p(x | z, k), `[M, S, B]`."""
        return self._log_weights + self._components.log_prob(x)

    def _log_prob(self, x):
        # log p(x | z) = log sum_k p(k | z) p(x | z, k)
        return tf.reduce_logsumexp(self.state_logits(x), 0)

    def _mean(self):
        weights = tf.exp(self._log_weights)
        ones = tf.ones([self._components.event_shape.rank], tf.int32)
        weights = tf.reshape(weights, tf.concat([tf.shape(weights), ones], 0))
        return tf.reduce_sum(weights * self._components.mean(), 0)

    def _sample_n(self, n, seed):
        state_seed, x_seed = split_seed(seed)
        logits = moved(self._log_weights, 0, -1)
        state = tfd.Categorical(logits=logits).sample(n, seed=state_seed)
        return picked(self._components.sample(n, seed=x_seed), state)


class OverStates:
    """A distribution over enumerated states of one or several latents.

    Args:
        logits: unnormalised log-probabilities, `[M, S, B]`; of N entries that are
            independent of each other `[M, S, B, N]`.
        values: name -> the M states, `[M]` + event (of one entry).
        apart: whether there are entries.
    """

    def __init__(self, logits, values, apart=False):
        # log-probabilities [S, B, M], normalised
        self.logits = tf.nn.log_softmax(moved(logits, 0, -1))
        self._names, self._values, self._apart = list(values), values, apart
        self.states = pack(self._names, values)
        self.batch_shape = self.logits.shape[: -2 if apart else -1]

    def sample(self, sample_shape=(), *, seed):
        """Draws: a tensor for one latent, a structure by name for several."""
        index = tfd.Categorical(logits=self.logits).sample(
            sample_shape, seed=split_seed(seed, 1)[0]
        )
        drawn = {n: tf.gather(v, index) for n, v in self._values.items()}
        return pack(self._names, drawn)

    def log_prob(self, value):
        """log p of states as `sample` gives them, `[..., S, B]`, nats."""
        same = True
        for name, part in unpack(self._names, value).items():
            states = self._values[name]
            equal = tf.equal(tf.expand_dims(part, -states.shape.rank), states)
            axes = list(range(1 - states.shape.rank, 0))
            same &= tf.reduce_all(equal, axes) if axes else equal
        lowest = tf.constant(-math.inf, self.logits.dtype)
        log_p = tf.reduce_max(tf.where(same, self.logits, lowest), -1)
        return tf.reduce_sum(log_p, -1) if self._apart else log_p
