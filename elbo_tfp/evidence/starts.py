"""Where draws and walks start: the prior once per datum, or a q with quick noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import as_seed, split_seed

tfd = tfp.distributions


class Repeated:
    """A distribution of scalar batch shape, one independent copy per datum."""

    def __init__(self, distribution, batch):
        self._distribution, self._batch = distribution, batch

    def sample(self, sample_shape=(), *, seed):
        """Draws `sample_shape + B`."""
        shape = tf.TensorShape(sample_shape).as_list()
        return self._distribution.sample([*shape, *self._batch], seed=as_seed(seed))

    def log_prob(self, z):
        """Log-density, nats."""
        return self._distribution.log_prob(z)


class Pair(NamedTuple):
    """q of the local z, batch shape `[N]`, and q of the w that all share, as one q.

    It is a pair for `draw` at a model with a global prior, too.
    """

    local: Any
    """q(z), batch shape `[N]`."""
    shared: Any
    """q(w), of scalar batch shape."""

    @classmethod
    def of(cls, pair):
        """From the pair (q of z, q of w).

        Raises:
            ValueError: if it is no pair.
        """
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            return cls(*pair)
        raise wrong(
            "surrogate_posterior to be the pair (q of z, q of the global latent)",
            type(pair).__name__,
            "Pass (encoder(x), q_global).",
        )

    def sample(self, sample_shape=(), *, seed):
        """Draws `[w, z]`."""
        seeds = split_seed(seed)
        pair = zip((self.shared, self.local), seeds, strict=True)
        return [q.sample(sample_shape, seed=s) for q, s in pair]

    def log_prob(self, parts):
        """Log-density, nats."""
        w, z = parts
        # log q(w) + sum_n log q(z_n)
        local = tf.reduce_sum(self.local.log_prob(z), -1)
        return self.shared.log_prob(w) + local

    @property
    def dtype(self):
        """Of w and z."""
        return [self.shared.dtype, self.local.dtype]


class Plate:
    """p(w) prod_n p(z_n | w), of [w, all z]; `local(w)` has batch shape `[..., 1]`."""

    def __init__(self, shared, local, num):
        self._shared, self._local, self._num = shared, local, num

    def sample(self, sample_shape=(), *, seed):
        """Draws `[w, z]`."""
        w_seed, z_seed = split_seed(seed)
        w = self._shared.sample(sample_shape, seed=w_seed)
        z = self._local(w).sample(self._num, seed=z_seed)
        # [N, S, 1] + event -> [S, N] + event
        lead = len(tf.TensorShape(sample_shape))
        z = tf.squeeze(z, lead + 1)
        order = [*range(1, lead + 1), 0, *range(lead + 1, z.shape.rank)]
        return [w, tf.transpose(z, order)]

    def log_prob(self, parts):
        """Log-density, nats."""
        w, z = parts
        # log p(w) + sum_n log p(z_n | w)
        local = tf.reduce_sum(self._local(w).log_prob(z), -1)
        return self._shared.log_prob(w) + local


def quick(q, jit_compile):
    """q, with quicker noise where it is a product of normals under XLA."""
    plain = isinstance(q, tfd.Independent) and isinstance(q.distribution, tfd.Normal)
    return _QuickNormals(q) if plain and jit_compile else q


class _QuickNormals:
    """Independent normals whose noise comes from Threefry.

    Compiled for a CPU, TensorFlow's default generator takes three to four times as
    long, and drawing is half of the work. Threefry has no kernel outside XLA.
    """

    def __init__(self, distribution):
        self._distribution, self.log_prob = distribution, distribution.log_prob

    def sample(self, sample_shape, *, seed):
        """Draws `sample_shape` + batch + event."""
        base = self._distribution.distribution
        loc, scale = base.loc, base.scale
        batch = tf.broadcast_dynamic_shape(tf.shape(loc), tf.shape(scale))
        static = tf.broadcast_static_shape(loc.shape, scale.shape)
        shape = tf.concat([sample_shape, batch], 0)
        noise = tf.random.stateless_normal(
            shape, as_seed(seed), dtype=loc.dtype, alg="threefry"
        )
        return loc + scale * tf.ensure_shape(noise, [*sample_shape, *static])
