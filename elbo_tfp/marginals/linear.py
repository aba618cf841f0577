"""A Gaussian latent in whose value the likelihood's mean is affine, integrated out."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.marginals.base import STEP, Marginal, centre_of
from elbo_tfp.marginals.gaussians import PartlySeen, hidden_apart, moments, unmasked
from elbo_tfp.marginals.latents import named_parts, prior_given
from elbo_tfp.marginals.pinned import takes_pins

tfd = tfp.distributions


@takes_pins
def linear_gaussian(model, name=None) -> Marginal:
    """Integrates z_2 ~ N(m, P) out of x ~ N(W z_2 + b, R): x ~ N(W m + b, W P W' + R).

    All of m, P, W, b and R may depend on the other latents. W and b are found by
    evaluating the likelihood's mean near m and some way from it along each axis, so
    that nothing but the model itself is needed. Coordinates of x that `tfd.Masked`
    hides are left out exactly.

    Args:
        model: a `LatentVariableModel`, or a joint distribution with its data pinned; a
            prior over several latents is a TFP joint distribution in which nothing else
            depends on the named latent.
        name: the latent to integrate; None if there is only one. Scalar or vector.

    Returns:
        A `Marginal` over the latents that remain; with a pin, its target. Its
        `conditional(z, x)` is the exact Gaussian p(z_2 | z_1, x).

    Raises:
        ValueError: if the latent or the data are not Gaussian, the mean is not affine
            in the latent, the covariance depends on it, or another latent does.

    Source: Bishop (2006), equations 2.113 to 2.117.
    """
    return LinearGaussian(model, name)


@final
class LinearGaussian(Marginal):
    """The marginal over one Gaussian vector."""

    def __init__(self, model, name):
        super().__init__(model, name)
        self.name = self._only(
            "latent",
            "Integrate them one after the other: "
            "linear_gaussian(linear_gaussian(model, a), b).",
        )
        self._expected = f"a model that is linear and Gaussian in {self.name!r}"
        self._event = self._latents.events()[self.name]
        if self._event.rank > 1:
            raise wrong(
                "a scalar or vector latent",
                f"event shape {self._event}",
                "Reshape it inside the likelihood.",
            )
        self._size = self._event.num_elements()
        self.dtype = named_parts(prior_given(model).dtype)[self.name]
        self._check(self._examples())

    def _log_prior(self, rest):
        return self._log_prior_apart(rest, tf.zeros(self._event, self.dtype))

    def _given(self, rest):
        # p(x | z_1) = N(x; W m + b, W P W' + R)
        found = self._solved(rest)
        likelihood = _normal(found.loc, found.total, found.event)
        if found.seen is None:
            return likelihood
        seen = found.seen if found.event.rank else found.seen[..., 0]
        return PartlySeen(likelihood, seen)

    def _conditional(self, rest, x):
        # p(z_2 | z_1, x) = N(m + G' (x - b - W m), P - G' W P), with G = S^-1 W P
        found = self._solved(rest)
        x = x[..., tf.newaxis] if found.event.rank == 0 else x
        x = x if found.seen is None else tf.where(found.seen, x, tf.zeros_like(x))
        gain = tf.linalg.cholesky_solve(tf.linalg.cholesky(found.total), found.cross)
        moved = tf.linalg.matvec(gain, x - found.loc, transpose_a=True)
        covariance = found.prior_cov - tf.matmul(gain, found.cross, transpose_a=True)
        covariance = (covariance + tf.linalg.matrix_transpose(covariance)) / 2
        return _normal(found.mean + moved, covariance, self._event)

    def _affine(self, rest, points):
        """p(z_2), and of x at M values of z_2 the means, covariance, mask and event."""
        count = points.shape[0]
        values = tf.reshape(points, [count, *self._event])
        parts, x = self._among(rest, {self.name: values})
        plain, seen = unmasked(x)
        if seen is not None and x.event_shape.rank == 0:
            seen = seen[..., tf.newaxis]
        mean, covariance = hidden_apart(*moments(plain, "likelihood"), seen)
        lead, static = self._latents.lead(rest[0])
        mean = tf.broadcast_to(mean, tf.concat([[count], lead, mean.shape[-1:]], 0))
        mean = tf.ensure_shape(mean, [count, *static, mean.shape[-1]])
        return parts[self.name], mean, covariance, seen, x.event_shape

    def _points(self, rest):
        """Near the prior's mean, `[k]`, and from there a step along each axis."""
        zero = {self.name: tf.zeros([1, *self._event], self.dtype)}
        mean, _ = moments(self._among(rest, zero)[0][self.name], self.name)
        centre = centre_of(mean)
        steps = tf.pad(tf.eye(self._size, dtype=self.dtype), [[1, 0], [0, 0]])
        return centre, centre + STEP * steps

    def _solved(self, rest):
        centre, points = self._points(rest)
        prior, at, noise, seen, event = self._affine(rest, points)
        mean, prior_cov = moments(prior, self.name)
        if prior.batch_shape.rank:  # the same at all points
            mean, prior_cov = mean[0], prior_cov[0]
        noise = noise[0] if noise.shape.rank > 2 else noise
        offset = at[0]
        # W's columns: the mean a step along each axis minus the mean at the centre
        weights = tf.einsum("m...d->...dm", at[1:] - offset) / STEP
        cross = tf.matmul(weights, prior_cov)
        return _Solved(
            loc=offset + tf.linalg.matvec(weights, mean - centre),
            total=tf.matmul(cross, weights, transpose_b=True) + noise,
            cross=cross,
            mean=mean,
            prior_cov=prior_cov,
            seen=seen if seen is None or seen.shape.rank < at.shape.rank else seen[0],
            event=event,
        )

    def _check(self, rest):
        """Raises ValueError where the model is not linear and Gaussian in z_2."""
        centre, steps = self._points(rest)
        rows = np.random.default_rng(0).standard_normal([4, self._size])
        points = centre + tf.constant(rows * [[0], [1], [1], [1]], self.dtype)
        _, mean, covariance, _, event = self._affine(rest, points)
        if event.rank > 1:
            raise wrong("scalar or vector data", f"event shape {event}")
        at = self._affine(rest, steps)[1]
        away = (points - centre) / STEP
        line = at[0] + tf.einsum("mk,k...d->m...d", away, at[1:] - at[0])
        ends = repr(self.name)
        what = f"the likelihood's mean is not affine in {ends}"
        self._same(mean, line, what, centre)
        if covariance.shape.rank > 2:
            first = tf.broadcast_to(covariance[:1], tf.shape(covariance))
            what = f"the likelihood's covariance depends on {ends}"
            self._same(covariance, first, what)
        if self._latents.kept:
            both = tf.zeros(self._event, self.dtype), tf.ones(self._event, self.dtype)
            both = [self._log_prior_apart(rest, value) for value in both]
            self._same(*both, f"another latent depends on {ends}")


class _Solved(NamedTuple):
    """What follows from m, P, W, b and R at given other latents."""

    loc: tf.Tensor
    """b + W m."""
    total: tf.Tensor
    """S = W P W' + R."""
    cross: tf.Tensor
    """W P."""
    mean: tf.Tensor
    """m."""
    prior_cov: tf.Tensor
    """P."""
    seen: tf.Tensor | None
    """Where the data are seen, `[S, B, D]`."""
    event: tf.TensorShape
    """Of one datum."""


def _normal(loc, covariance, event):
    if event.rank == 0:
        return tfd.Normal(loc[..., 0], tf.sqrt(covariance[..., 0, 0]))
    return tfd.MultivariateNormalTriL(loc, tf.linalg.cholesky(covariance))
