"""A Gaussian latent in whose value the likelihood's mean is affine, integrated out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.marginals.base import (
    Marginal,
    log_prior_of_kept,
    part_distributions,
    prior_of_kept,
    some_latents,
)
from elbo_tfp.marginals.latents import Latents, repeat

tfd = tfp.distributions
MULTIVARIATE = (
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalFullCovariance,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)


def linear_gaussian(model, name=None) -> Marginal:
    """Integrates z_2 ~ N(m, P) out of x ~ N(W z_2 + b, R): x ~ N(W m + b, W P W' + R).

    All of m, P, W, b and R may depend on the other latents. W and b are found by
    evaluating the likelihood's mean at zero and at the unit vectors, so that nothing
    but the model itself is needed.

    Args:
        model: a `LatentVariableModel`; a prior over several latents is a TFP joint
            distribution in which nothing else depends on the named latent.
        name: the latent to integrate; None if there is only one. Scalar or vector.

    Returns:
        A `Marginal` over the latents that remain. Its `conditional(z, x)` is the exact
        Gaussian p(z_2 | z_1, x).

    Raises:
        ValueError: if the latent or the data are not Gaussian, the mean is not affine
            in the latent, the covariance depends on it, or another latent does.

    Source: Bishop (2006), equations 2.113 to 2.117.
    """
    latents = Latents(model, name)
    if len(latents.integrated) > 1:
        raise ValueError(
            f"expected one latent to integrate; got {latents.integrated}. Integrate "
            "them one after the other: linear_gaussian(linear_gaussian(model, a), b)."
        )
    parts = _Parts(model, latents)
    parts.check()

    prior = prior_of_kept(model, latents, parts.dtype, parts.log_prior_of_kept)
    return Marginal(model, latents, prior, parts.likelihood, parts.conditional)


class _Parts:
    """m, P, W, b and R at given other latents, and what follows from them."""

    def __init__(self, model, latents):
        self._model, self._latents = model, latents
        (self._name,) = latents.integrated
        self._event = latents.parts(latents.template)[self._name]
        if self._event.rank > 1:
            raise ValueError(
                "expected a scalar or vector latent; got event shape "
                f"{self._event}. Reshape it inside the likelihood."
            )
        self._size = self._event.num_elements()
        self.dtype = latents.parts(model.prior.dtype)[self._name]

    def prior_of_latent(self, kept):
        """The distribution of z_2 given z_1, with mean m and covariance P."""
        given = kept if self._latents.kept else None
        return part_distributions(self._model.prior, self._latents, given)[self._name]

    def log_prior_of_kept(self, kept, at=0.0):
        lead, static = self._latents.lead(kept)
        latent = self.prior_of_latent(kept)
        value = tf.fill(tf.concat([lead, self._event], 0), tf.cast(at, latent.dtype))
        value = tf.ensure_shape(value, static + self._event)
        whole = self._latents.merge(kept, value)
        return log_prior_of_kept(self._model.prior, self._latents, whole)

    def affine(self, kept, shared, points):
        """Means `[M, S, B, D]` and covariance of x at M values of z_2."""
        values = tf.reshape(points, [points.shape[0], *self._event])
        whole = self._latents.spread(kept, {self._name: values})
        shared = [repeat(w, points.shape[0]) for w in shared]
        x = self._model.likelihood(whole, *shared)
        mean, covariance = moments(x, "likelihood")
        lead, static = self._latents.lead(kept)
        shape = tf.concat([[points.shape[0]], lead, [mean.shape[-1]]], 0)
        mean = tf.broadcast_to(mean, shape)
        mean = tf.ensure_shape(mean, [points.shape[0], *static, mean.shape[-1]])
        return mean, covariance, x.event_shape

    def solved(self, kept, shared):
        """b + W m, its covariance S, W P, m and P, and the event shape of x."""
        mean, prior_cov = moments(self.prior_of_latent(kept), self._name)
        points = tf.pad(tf.eye(self._size, dtype=mean.dtype), [[1, 0], [0, 0]])
        at, noise, event = self.affine(kept, shared, points)
        noise = noise[0] if noise.shape.rank > 2 else noise
        offset = at[0]
        # W's columns: mean at the unit vectors minus mean at zero
        weights = tf.einsum("m...d->...dm", at[1:] - offset)
        cross = tf.matmul(weights, prior_cov)
        total = tf.matmul(cross, weights, transpose_b=True) + noise
        return (
            offset + tf.linalg.matvec(weights, mean),
            total,
            cross,
            mean,
            prior_cov,
            event,
        )

    def likelihood(self, kept, *shared):
        """p(x | z_1) = N(x; W m + b, W P W' + R)."""
        loc, total, _, _, _, event = self.solved(kept, shared)
        return _normal(loc, total, event)

    def conditional(self, z, x):
        """p(z_2 | z_1, x) = N(m + G' (x - b - W m), P - G' W P), with G = S^-1 W P."""
        loc, total, cross, mean, prior_cov, event = self.solved(z[0], z[1:])
        x = x[..., tf.newaxis] if event.rank == 0 else x
        root = tf.linalg.cholesky(total)
        gain = tf.linalg.cholesky_solve(root, cross)
        moved = tf.linalg.matvec(gain, x - loc, transpose_a=True)
        covariance = prior_cov - tf.matmul(gain, cross, transpose_a=True)
        covariance = (covariance + tf.linalg.matrix_transpose(covariance)) / 2
        return _normal(mean + moved, covariance, self._event)

    def check(self):
        """Raises ValueError where the model is not linear and Gaussian in z_2."""
        kept, shared = some_latents(self._model, self._latents)
        moments(self.prior_of_latent(kept), self._name)
        zero = tf.zeros([1, self._size], self.dtype)
        rows = np.random.default_rng(0).standard_normal([3, self._size])
        points = tf.concat([zero, tf.constant(rows, zero.dtype)], 0)
        mean, covariance, event = self.affine(kept, shared, points)
        if event.rank > 1:
            raise ValueError(
                f"expected scalar or vector data; got event shape {event}."
            )
        units = tf.concat([zero, tf.eye(self._size, dtype=zero.dtype)], 0)
        at = self.affine(kept, shared, units)[0]
        line = at[0] + tf.einsum("mk,k...d->m...d", points, at[1:] - at[0])
        limit = 1e-3 if zero.dtype == tf.float32 else 1e-8
        self._check_same(mean, line, limit, "the likelihood's mean is not affine in")
        if covariance.shape.rank > 2:
            first = tf.broadcast_to(covariance[:1], tf.shape(covariance))
            self._check_same(
                covariance, first, limit, "the likelihood's covariance depends on"
            )
        if self._latents.kept:
            ends = [self.log_prior_of_kept(kept, at) for at in (0.0, 1.0)]
            self._check_same(*ends, limit, "another latent depends on")

    def _check_same(self, one, other, limit, what):
        scale = 1 + float(tf.reduce_max(tf.abs(other)))
        gap = float(tf.reduce_max(tf.abs(one - other)))
        if not gap <= limit * scale:
            raise ValueError(
                f"expected a model that is linear and Gaussian in {self._name!r}; got "
                f"one in which {what} {self._name!r} (by {gap:.3g}). Integrate another "
                "latent, or approximate this one with q."
            )


def moments(distribution, name):
    """(mean `[..., D]`, covariance `[..., D, D]`) of a Gaussian, scalar or vector."""
    base = distribution
    while isinstance(base, (tfd.Independent, tfd.Sample)):
        base = base.distribution
    full = isinstance(base, MULTIVARIATE)
    if not full and not isinstance(base, tfd.Normal):
        raise ValueError(
            f"expected a Gaussian for {name!r} (tfd.Normal, Independent or Sample of "
            f"it, or a MultivariateNormal); got {type(base).__name__}."
        )
    if full and base is distribution:
        return distribution.mean(), distribution.covariance()
    mean, variance = distribution.mean(), distribution.variance()
    if distribution.event_shape.rank == 0:
        mean, variance = mean[..., tf.newaxis], variance[..., tf.newaxis]
    return mean, tf.linalg.diag(variance)


def _normal(loc, covariance, event):
    if event.rank == 0:
        return tfd.Normal(loc[..., 0], tf.sqrt(covariance[..., 0, 0]))
    return tfd.MultivariateNormalTriL(loc, tf.linalg.cholesky(covariance))
