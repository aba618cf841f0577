"""One latent dimension at a time: q's marginals, their means and their rates."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.ground.wrappers import unwrap

tfd = tfp.distributions


def marginals(distribution):
    """The one-dimensional marginals of a distribution over vectors.

    Returns:
        A distribution of scalar events and batch shape `[..., D]`, or None if they are
        not known in closed form.
    """
    d = getattr(distribution, "current", distribution)
    base, ndims, copies = unwrap(d)
    if ndims and base.event_shape.rank == 0 and not copies:
        return base
    if copies and len(copies) == d.event_shape.rank:
        one = base[(..., *[tf.newaxis] * ndims)]
        return tfd.BatchBroadcast(one, d.batch_shape + d.event_shape)
    if isinstance(d, _GAUSSIANS):
        return tfd.Normal(d.mean(), d.stddev())
    if isinstance(d, tfd.MixtureSameFamily):
        parts = marginals(d.components_distribution)
        if isinstance(parts, tfd.Normal):
            # component and dimension change places: [..., K, D] -> [..., D, K]
            loc, scale = (tf.linalg.matrix_transpose(v) for v in _full(parts))
            logits = d.mixture_distribution.logits_parameter()[..., tf.newaxis, :]
            weights = tfd.Categorical(logits=logits + tf.zeros_like(loc))
            return tfd.MixtureSameFamily(weights, tfd.Normal(loc, scale))
    return None


_GAUSSIANS = (
    tfd.MultivariateNormalDiag,
    tfd.MultivariateNormalTriL,
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)


_REPEATED = tfd.BatchBroadcast


def kl_per_dimension(q, prior, sample_size, seed) -> np.ndarray | None:
    """KL(q_d || p_d) of the marginals, `[B, D]`, nats; None if they are not known.

    In closed form where there is one, else the mean over `sample_size` draws.
    """
    ours, theirs = marginals(q), marginals(prior)
    if ours is None or theirs is None:
        return None
    try:
        # of what a `tfd.Sample` repeats, once
        one = theirs.distribution if isinstance(theirs, _REPEATED) else theirs
        kl = tfd.kl_divergence(ours, one)
    except NotImplementedError:
        z = ours.sample(sample_size, seed=as_seed(seed))
        # E_q_d[log q_d(z) - log p_d(z)]
        kl = tf.reduce_mean(ours.log_prob(z) - theirs.log_prob(z), 0)
    return np.asarray(tf.broadcast_to(kl, ours.batch_shape), np.float64)


def posterior_means(q, sample_size, seed):
    """E_q[z] for every datum, `[B, D]`, and its Monte Carlo error (0 if exact)."""
    try:
        mean = np.asarray(q.mean(), np.float64)
        return mean, np.zeros_like(mean)
    except NotImplementedError:
        z = np.asarray(q.sample(sample_size, seed=as_seed(seed)), np.float64)
        return z.mean(0), z.std(0, ddof=1) / np.sqrt(sample_size)


def _full(normal):
    shape = normal.batch_shape
    return tf.broadcast_to(normal.loc, shape), tf.broadcast_to(normal.scale, shape)
