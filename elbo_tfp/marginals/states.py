"""Paths of Gaussian states given the data, and the moments they are made from."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.ground.wrappers import unwrap
from elbo_tfp.marginals.gaussians import MULTIVARIATE, hidden_apart, moments, unmasked
from elbo_tfp.marginals.latents import moved

tfd = tfp.distributions


class StatesGiven:
    """p(z_1 ... z_T | the other latents, x), a Gaussian over whole paths.

    Args:
        marginal: the `Kalman` it belongs to.
        rest: the other latents, `[S, B]` + event, and w if there is one.
        x: data, `[B, T]` or `[B, T, D]`.
    """

    def __init__(self, marginal, rest, x):
        self._marginal, self._rest, self._x = marginal, rest, x
        self._space, found, self._centre, offset = marginal.space(rest)
        series = x if found.event.rank == 2 else x[..., tf.newaxis]
        if found.seen is not None:
            series = tf.where(found.seen, series, tf.zeros_like(series))
        self._series = series - offset
        self.batch_shape, self.event_shape = self._space.batch_shape, marginal.event

    def sample(self, sample_shape=(), *, seed):
        """Paths, `sample_shape` + `[S, B, T]` + state: filter, then draw backwards.

        TFP's `posterior_sample` would smooth a simulated series for every draw.
        """
        offsets, gains, roots = self._backwards()
        extra = tf.cast(tf.reshape(sample_shape, [-1]), tf.int32)
        steps, lead = tf.split(tf.shape(offsets), [1, offsets.shape.rank - 1])
        shape, seed = tf.concat([steps, extra, lead], 0), split_seed(seed, 1)[0]
        noise = tf.random.stateless_normal(shape, seed, dtype=offsets.dtype)

        def before(later, step):
            offset, gain, root, e = step
            return offset + tf.linalg.matvec(gain, later) + tf.linalg.matvec(root, e)

        last = offsets[-1] + tf.linalg.matvec(roots[-1], noise[-1])
        steps = offsets[:-1], gains, roots[:-1], noise[:-1]
        earlier = tf.scan(before, steps, last, reverse=True)
        path = tf.concat([earlier, last[tf.newaxis]], 0)
        return self._as_states(moved(path, 0, -2) + self._centre)

    def _backwards(self):
        """z_t = offset_t + J_t z_t+1 + root_t noise, given the rest and x_1 ... x_t."""
        found, f, _, _ = self._marginal.matrices(self._rest)
        _, mean, cov, ahead, spread, _, _ = self._space.forward_filter(self._series)
        mean, ahead = moved(mean, -2, 0), moved(ahead, -2, 0)[:-1]
        cov, spread = moved(cov, -3, 0), moved(spread, -3, 0)[:-1]
        # J = P F' (F P F' + Q)^-1
        gain = tf.linalg.cholesky_solve(tf.linalg.cholesky(spread), f @ cov[:-1])
        gain = tf.linalg.matrix_transpose(gain)
        # Cov[z_t | z_t+1, x_1 ... x_t] = (I - J F) P (I - J F)' + J Q J'
        kept = tf.eye(f.shape[-1], dtype=f.dtype) - gain @ f
        left = tf.matmul(kept @ cov[:-1], kept, transpose_b=True)
        left += tf.matmul(gain @ found.moves[1], gain, transpose_b=True)
        offsets = mean[:-1] - tf.linalg.matvec(gain, ahead)
        roots = tf.linalg.cholesky(tf.concat([left, cov[-1:]], 0))
        return tf.concat([offsets, mean[-1:]], 0), gain, roots

    def log_prob(self, path):
        """log p(path | rest, x), nats, `[..., S, B]`."""
        return self._marginal.log_posterior(path, self._rest, self._x)

    def mean(self):
        """E[z_t | rest, x], `[S, B, T]` + state."""
        mean = self._space.posterior_marginals(self._series)[0]
        return self._as_states(mean + self._centre)

    def covariance(self):
        """Cov[z_t | rest, x] of each step by itself, `[S, B, T, k, k]`."""
        return self._space.posterior_marginals(self._series)[1]

    def stddev(self):
        """The standard deviation of each state, `[S, B, T]` + state."""
        return self._as_states(tf.sqrt(tf.linalg.diag_part(self.covariance())))

    def _as_states(self, path):
        return path if self.event_shape.rank == 2 else path[..., 0]


class Moments(NamedTuple):
    """Means `[..., k]` and covariances `[..., k, k]` along M paths."""

    start: tuple
    """Of the first state, `[M, S, B]`."""
    moves: tuple
    """Of each later state given the one before, `[T - 1, M, S, B]`."""
    data: tuple
    """Of the data of each step, `[T, M, S, B]`; N(0, 1) where they are hidden."""
    seen: Any
    """Where the data are seen, `[M, S, B, T, D]`; None if nothing is masked."""
    event: tf.TensorShape
    """Of one datum, `[T]` or `[T, D]`."""


def series_moments(chain, x, batch):
    """Mean `[M, S, B, T, D]`, covariance, and what is seen of independent steps.

    Raises:
        ValueError: if x is not Gaussian with one independent event per step.
    """
    x, seen = unmasked(x)
    base = unwrap(chain.of_one_step(x), samples=False).base
    known = isinstance(base, (tfd.Normal, *MULTIVARIATE))
    if not known or x.event_shape.rank > 2:
        raise wrong(
            f"the likelihood of a series of T={chain.steps} steps with a tfd.Normal or "
            "MultivariateNormal each",
            f"{type(base).__name__} with event shape {x.event_shape}",
        )
    shape = tf.concat([batch, [chain.steps]], 0)
    mean, covariance = full(chain.of_one_step(x), "likelihood", shape)
    if seen is not None:
        seen = seen if x.event_shape.rank == 2 else seen[..., tf.newaxis]
        seen = tf.broadcast_to(seen, tf.shape(mean))
    return *hidden_apart(mean, covariance, seen), seen


def full(distribution, name, batch):
    """Mean and covariance, broadcast to a batch shape."""
    mean, covariance = moments(distribution, name)
    size = mean.shape[-1]
    return (
        tf.broadcast_to(mean, tf.concat([batch, [size]], 0)),
        tf.broadcast_to(covariance, tf.concat([batch, [size, size]], 0)),
    )
