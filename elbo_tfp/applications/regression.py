"""Linear regression, exact: the posterior after a task, and its best independent q."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import real, wrong

tfd = tfp.distributions


def regress(prior, features, y, *, noise=1.0) -> tfd.MultivariateNormalTriL:
    """The exact posterior of linear regression, y ~ N(features w, noise^2).

    Args:
        prior: a Gaussian over w, event shape `[D]`; an earlier posterior, for instance.
        features: `[N, D]`.
        y: `[N]`.
        noise: standard deviation of y, positive.

    Raises:
        ValueError: if the shapes do not fit, or the task is empty.
    """
    noise = real("noise", noise)
    features, y = (tf.convert_to_tensor(v, prior.dtype) for v in (features, y))
    size = prior.event_shape[-1] if prior.event_shape.rank else None
    if y.shape.rank != 1 or features.shape != [len(y), size] or not len(y):
        raise wrong(
            f"features [N, {size}] and y [N] of at least one row",
            f"shapes {features.shape} and {y.shape}",
        )
    before = tf.linalg.inv(_covariance(prior))
    # precision = prior's + X'X / noise^2
    precision = before + tf.matmul(features, features, transpose_a=True) / noise**2
    pull = tf.linalg.matvec(before, prior.mean())
    pull += tf.linalg.matvec(features, y, transpose_a=True) / noise**2
    mean = tf.linalg.solve(precision, pull[:, tf.newaxis])[:, 0]
    return tfd.MultivariateNormalTriL(
        mean, tf.linalg.cholesky(tf.linalg.inv(precision))
    )


def restrict(posterior) -> tfd.MultivariateNormalTriL:
    """The best independent Gaussian by exclusive KL: mean kept, precision's diagonal.

    Args:
        posterior: a Gaussian of event shape `[D]`.

    Raises:
        ValueError: for another event shape.

    Source: Bishop (2006), equations 10.10 to 10.15.
    """
    if len(posterior.event_shape) != 1:
        raise wrong(
            "a Gaussian of event shape [D]",
            f"event shape {posterior.event_shape}",
            "One weight needs no restriction; wrap several in tfd.Independent.",
        )
    # Var_q(w_d) = 1 / precision_dd
    precision = tf.linalg.inv(_covariance(posterior))
    scale = 1 / tf.sqrt(tf.linalg.diag_part(precision))
    return tfd.MultivariateNormalTriL(posterior.mean(), tf.linalg.diag(scale))


def _covariance(gaussian):
    try:
        return gaussian.covariance()
    except NotImplementedError:
        return tf.linalg.diag(gaussian.variance())
