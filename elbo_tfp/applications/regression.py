"""Linear regression, exact: the posterior after a task, and its best independent q."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.arrays import as_array
from elbo_tfp.ground.checks import real, wrong
from elbo_tfp.ground.structures import check_finite

tfd = tfp.distributions


def regress(prior, features, y, *, noise=1.0) -> tfd.MultivariateNormalTriL:
    """The exact posterior of linear regression, y ~ N(features w, noise^2).

    Args:
        prior: a Gaussian over w, event shape `[D]`; an earlier posterior, for instance.
        features: `[N, D]`.
        y: `[N]`.
        noise: standard deviation of y, positive.

    Raises:
        ValueError: if the shapes do not fit, or the task is empty, masked or not
            finite.
    """
    noise = real("noise", noise)
    task = {"features": as_array(features, "features"), "y": as_array(y, "y")}
    check_finite(task, "task")
    features, y = map(_wide, task.values())
    size = prior.event_shape[-1] if prior.event_shape.rank else None
    if y.shape.rank != 1 or features.shape != [len(y), size]:
        raise wrong(
            f"features [N, {size}] and y [N]",
            f"shapes {features.shape} and {y.shape}",
        )
    before, mean = tf.linalg.inv(_covariance(prior)), _wide(prior.mean())
    # precision = prior's + X'X / noise^2
    precision = before + tf.matmul(features, features, transpose_a=True) / noise**2
    # the mean moves by what the old one leaves unexplained
    left = y - tf.linalg.matvec(features, mean)
    pull = tf.linalg.matvec(features, left, transpose_a=True) / noise**2
    covariance = tf.linalg.inv(precision)
    mean += tf.linalg.matvec(covariance, pull)
    return tfd.MultivariateNormalTriL(
        tf.cast(mean, prior.dtype),
        tf.cast(tf.linalg.cholesky(covariance), prior.dtype),
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
    scale = tf.cast(1 / tf.sqrt(tf.linalg.diag_part(precision)), posterior.dtype)
    return tfd.MultivariateNormalTriL(posterior.mean(), tf.linalg.diag(scale))


def _covariance(gaussian):
    """In float64: precisions of features far from zero have many digits to lose."""
    if isinstance(gaussian, tfd.MultivariateNormalLinearOperator):
        root = _wide(gaussian.scale.to_dense())
        return tf.matmul(root, root, transpose_b=True)
    try:
        return _wide(gaussian.covariance())
    except NotImplementedError:
        return tf.linalg.diag(_wide(gaussian.variance()))


def _wide(tensor):
    return tf.cast(tensor, tf.float64)
