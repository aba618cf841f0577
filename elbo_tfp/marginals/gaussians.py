"""Means and covariances of Gaussians, and what is left of one that is partly hidden."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.wrappers import unwrap
from elbo_tfp.marginals.shapes import ShapedLike

tfd = tfp.distributions
MULTIVARIATE = (
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalFullCovariance,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)


def moments(distribution, name):
    """(mean `[..., D]`, covariance `[..., D, D]`) of a Gaussian, scalar or vector."""
    base = unwrap(distribution).base
    if not isinstance(base, (tfd.Normal, *MULTIVARIATE)):
        raise wrong(
            f"a Gaussian for {name!r} (tfd.Normal, Independent or Sample of it, or a "
            "MultivariateNormal)",
            type(base).__name__,
        )
    if isinstance(base, MULTIVARIATE) and base is distribution:
        return distribution.mean(), distribution.covariance()
    mean, variance = distribution.mean(), distribution.variance()
    if distribution.event_shape.rank == 0:
        mean, variance = mean[..., tf.newaxis], variance[..., tf.newaxis]
    return mean, tf.linalg.diag(variance)


class PartlySeen(ShapedLike):
    """A distribution of data of which some coordinates are hidden.

    Args:
        distribution: of all of them; the hidden ones are N(0, 1), apart from the rest.
        seen: True where a coordinate is seen; broadcasts to batch + event.
    """

    def __init__(self, distribution, seen):
        super().__init__(distribution, {"distribution": distribution, "seen": seen})
        self.distribution, self.seen = distribution, seen

    def shown(self, x):
        """x, with zero where nothing is seen (NaN is as good as any other value)."""
        return tf.where(self.seen, x, tf.zeros([], self.dtype))

    def _log_prob(self, x):
        events = list(range(-self.event_shape.rank, 0))
        hidden = tf.reduce_sum(tf.cast(~self.seen, self.dtype), events)
        # log N(x_seen, 0) - log N(0; 0, 1) for each that is hidden
        unit = math.log(2 * math.pi) / 2
        return self.distribution.log_prob(self.shown(x)) + unit * hidden

    def _sample_n(self, n, seed=None):
        return self.shown(self.distribution.sample(n, seed=seed))

    def _mean(self):
        return self.distribution.mean()


def unmasked(x):
    """x without the `tfd.Masked` in it, and where it is seen, batch + event (or None).

    The mask may hide single coordinates, or events such as the steps of a series.
    """
    if isinstance(x, PartlySeen):
        return x.distribution, x.seen
    masked = unwrap(x, samples=False).base
    seen = getattr(masked, "validity_mask", None)
    if seen is None:
        return x, None
    seen, inner = tf.convert_to_tensor(seen), masked.event_shape
    seen = tf.reshape(seen, tf.concat([tf.shape(seen), tf.ones_like(inner)], 0))
    shape = tf.concat([x.batch_shape_tensor(), x.event_shape_tensor()], 0)
    outer = x.event_shape.rank - inner.rank
    plain = masked.distribution
    plain = tfd.Independent(plain, outer) if outer else plain
    return plain, tf.broadcast_to(seen, shape)


def hidden_apart(mean, covariance, seen):
    """Mean and covariance with N(0, 1), apart from the rest, for what is not seen."""
    if seen is None:
        return mean, covariance
    both = seen[..., tf.newaxis] & seen[..., tf.newaxis, :]
    unit = tf.eye(covariance.shape[-1], dtype=covariance.dtype)
    return tf.where(seen, mean, tf.zeros_like(mean)), tf.where(both, covariance, unit)
