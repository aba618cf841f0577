"""Gaussian families: independent, full covariance, diagonal plus low rank."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions import normal
from elbo_tfp.families.base import Family, positive, raw_of_positive

tfd = tfp.distributions


def mean_field(
    event_size: int, *, loc=0.0, scale=1.0, batch_shape=(), dtype=tf.float32, seed=None
) -> Family:
    """N(loc, diag(scale^2)): every latent dimension on its own.

    Args:
        event_size: D, the number of latent dimensions.
        loc: where the means start, scalar or `[D]`.
        scale: where the standard deviations start, scalar or `[D]`, positive.
        batch_shape: one independent member per element, for instance `[N]` for N data.
        dtype: floating type.
        seed: None starts exactly at `loc` and `scale`; otherwise a little beside it.

    Returns:
        A `Family` of event shape `[D]` with 2 D parameters per member.

    Raises:
        ValueError: if `event_size` is not a positive int or `scale` is not positive.
    """
    start = tf.concat(_start(event_size, loc, scale, dtype), -1)
    return Family(
        _mean_field, start, batch_shape=batch_shape, seed=seed, name="mean_field"
    )


def full_rank(
    event_size: int, *, loc=0.0, scale=1.0, batch_shape=(), dtype=tf.float32, seed=None
) -> Family:
    """N(loc, L L'), L lower triangular with a positive diagonal.

    The entries beside the diagonal are trained in units of their row's diagonal, so
    that one learning rate suits dimensions of any size.

    Args, returns and errors as `mean_field`; D + D (D + 1) / 2 parameters per member.
    """
    loc, raw_scale = _start(event_size, loc, scale, dtype)
    below = tf.zeros([event_size * (event_size - 1) // 2], dtype)

    def build(parameters):
        mean, raw, rest = tf.split(parameters, [event_size, event_size, -1], -1)
        # L = diag(s) (I + N), N strictly lower triangular
        tril = scaled_tril(positive(raw), rest, event_size)
        return normal.MultivariateNormalTriL(mean, scale_tril=tril)

    start = tf.concat([loc, raw_scale, below], -1)
    return Family(build, start, batch_shape=batch_shape, seed=seed, name="full_rank")


def low_rank(
    event_size: int,
    rank: int = 1,
    *,
    loc=0.0,
    scale=1.0,
    batch_shape=(),
    dtype=tf.float32,
    seed=None,
) -> Family:
    """N(loc, diag(scale^2) + U U') with U of shape `[D, rank]`.

    The rows of U are trained in units of `scale`.

    Args, returns and errors as `mean_field`; (2 + rank) D parameters per member. With
    `seed=None` U starts at 0, where its gradient vanishes: pass a seed.
    """
    loc, raw_scale = _start(event_size, loc, scale, dtype)
    if not hasattr(rank, "__index__") or not 1 <= rank <= event_size:
        raise ValueError(f"expected rank between 1 and {event_size}; got {rank}.")

    def build(parameters):
        mean, raw, factor = tf.split(parameters, [event_size, event_size, -1], -1)
        shape = tf.concat([tf.shape(factor)[:-1], [event_size, rank]], 0)
        factor = tf.ensure_shape(
            tf.reshape(factor, shape), [*factor.shape[:-1], event_size, rank]
        )
        scale = positive(raw)
        # covariance = diag(scale^2) + U U', U = diag(scale) V
        factor *= scale[..., tf.newaxis]
        return normal.MultivariateNormalLowRank(mean, tf.square(scale), factor)

    start = tf.concat([loc, raw_scale, tf.zeros([event_size * rank], dtype)], -1)
    return Family(build, start, batch_shape=batch_shape, seed=seed, name="low_rank")


def _mean_field(parameters):
    loc, raw = tf.split(parameters, 2, -1)
    return tfd.Independent(normal.Normal(loc, positive(raw)), 1)


def scaled_tril(scale, below, size):
    """diag(scale) (I + N), N strictly lower triangular with the entries `below`."""
    if size == 1:
        return scale[..., tf.newaxis]
    # fill_triangular gives [size - 1, size - 1]; shift it one row down
    inner = tfp.math.fill_triangular(below)
    pad = [[0, 0]] * (inner.shape.rank - 2)
    unit = tf.pad(inner, [*pad, [1, 0], [0, 1]]) + tf.eye(size, dtype=below.dtype)
    return scale[..., tf.newaxis] * unit


def _start(event_size, loc, scale, dtype):
    if not hasattr(event_size, "__index__") or int(event_size) < 1:
        raise ValueError(
            "expected event_size, the number of latent dimensions, to be a positive "
            f"int; got {event_size!r}."
        )
    loc, scale = np.asarray(loc), np.asarray(scale)
    fits = {loc.shape, scale.shape} <= {(), (1,), (int(event_size),)}
    if not fits or not np.isfinite(loc).all() or not (scale > 0).all():
        raise ValueError(
            f"expected loc and scale (a standard deviation, > 0) to be scalars or of "
            f"shape [{event_size}]; got {loc} and {scale}."
        )
    scale = tf.convert_to_tensor(scale, dtype)
    return [
        tf.fill([event_size], tf.zeros([], dtype)) + tf.convert_to_tensor(loc, dtype),
        tf.fill([event_size], tf.zeros([], dtype)) + raw_of_positive(scale),
    ]
