"""Gaussians that draw once, in full, and the same numbers eagerly and compiled.

They are TFP's in everything but the draw: `tfd.Normal` splits seeds on the way to a
sample, and XLA gives it other numbers than the same call gives eagerly.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import standard_normal

tfd = tfp.distributions


class Normal(tfd.Normal):
    """TFP's normal; a sample comes with its density at no further cost."""

    # no __init__: TFP logs a page of warning about every subclass that has one

    def _sample_n(self, n, seed=None):
        return self.loc + self.scale * noise(self, [n], seed)

    def _sample_and_log_prob(self, sample_shape, seed):
        epsilon = noise(self, sample_shape, seed)
        # log N(loc + scale epsilon) = log N(epsilon) - log scale
        log_prob = log_standard_normal(epsilon) - tf.math.log(self.scale)
        return self.loc + self.scale * epsilon, log_prob


class MultivariateNormalTriL(tfd.MultivariateNormalTriL):
    """TFP's full Gaussian, likewise."""

    def _call_sample_n(self, sample_shape, seed):
        return self._sample_and_log_prob(sample_shape, seed)[0]

    def _sample_and_log_prob(self, sample_shape, seed):
        epsilon = noise(self, sample_shape, seed)
        scale = self.scale_tril
        # z = loc + L epsilon, log q(z) = log N(epsilon) - log |L|
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(scale)), -1)
        log_prob = tf.reduce_sum(log_standard_normal(epsilon), -1) - log_det
        return self.loc + tf.linalg.matvec(scale, epsilon), log_prob


class MultivariateNormalLowRank(tfd.MultivariateNormalDiagPlusLowRankCovariance):
    """TFP's diagonal plus low rank, likewise."""

    def _sample_n(self, n, seed=None):
        factor = self.cov_perturb_factor
        size, rank = factor.shape[-2:]
        epsilon = noise(self, [n], seed, size + rank)
        # z = loc + d epsilon_1 + U epsilon_2
        own = tf.sqrt(self.cov_diag_factor) * epsilon[..., :size]
        return self.loc + own + tf.linalg.matvec(factor, epsilon[..., size:])


def noise(distribution, sample_shape, seed, size=None) -> tf.Tensor:
    """epsilon ~ N(0, I) for every sample, member and dimension of a distribution.

    Args:
        distribution: whose batch, event shape and dtype count.
        sample_shape: of the samples.
        seed: int, pair of ints or tensor.
        size: numbers per member, if not one per dimension of the event.
    """
    event = distribution.event_shape if size is None else tf.TensorShape([size])
    shape, static = full_shape(distribution, sample_shape, event)
    epsilon = standard_normal(shape, seed, distribution.dtype)
    epsilon.set_shape(static)
    return epsilon


def full_shape(distribution, sample_shape, event):
    """Samples + members + event: as static as it can be, and what is known of it."""
    known = tf.get_static_value(tf.cast(sample_shape, tf.int32))
    static = tf.TensorShape(None if known is None else np.reshape(known, -1))
    static = static.concatenate(distribution.batch_shape).concatenate(event)
    if static.is_fully_defined():
        return static, static
    lead = tf.reshape(tf.cast(sample_shape, tf.int32), [-1])
    members = distribution.batch_shape_tensor()
    return tf.concat([lead, members, tf.TensorShape(event).as_list()], 0), static


def log_standard_normal(epsilon) -> tf.Tensor:
    """log N(epsilon; 0, 1), elementwise, nats."""
    return -0.5 * (tf.square(epsilon) + math.log(2 * math.pi))
