"""Student-t: one more parameter per dimension, for tails heavier than a Gaussian's."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.student import StudentT
from elbo_tfp.families.base import Family, positive, raw_of_positive
from elbo_tfp.families.gaussian import _start

tfd = tfp.distributions


def student_t(
    event_size: int,
    *,
    df=5.0,
    loc=0.0,
    scale=1.0,
    batch_shape=(),
    dtype=tf.float32,
    seed=None,
) -> Family:
    """Independent Student-t dimensions with trainable degrees of freedom.

    As q it covers a posterior whose tails would make a Gaussian's importance weights
    unbounded; as a prior it forgives outlying latents. Draws have no rejection, and
    their gradient is pathwise (`distributions.StudentT`).

    Args:
        event_size: D, the number of latent dimensions.
        df: where the degrees of freedom start, scalar or `[D]`, positive. Moments of
            order `df` and above do not exist: under a Gaussian target the ELBO is
            minus infinity for `df <= 2`.
        loc: where the locations start, scalar or `[D]`.
        scale: where the scales start, scalar or `[D]`, positive; the standard deviation
            is `scale * sqrt(df / (df - 2))`.
        batch_shape: one independent member per element, for instance `[N]` for N data.
        dtype: floating type.
        seed: None starts exactly there; otherwise a little beside it.

    Returns:
        A `Family` of event shape `[D]` with 3 D parameters per member.

    Raises:
        ValueError: if `event_size` is not a positive int, or `df` or `scale` is not
            positive.

    Source: Bailey (1994), the draw.
    """
    loc, raw_scale = _start(event_size, loc, scale, dtype)
    df = tf.convert_to_tensor(df, dtype)
    if not bool(tf.reduce_all(df > 0)):
        raise ValueError(f"expected df (degrees of freedom) > 0; got {df.numpy()}.")
    raw_df = tf.broadcast_to(raw_of_positive(df), [event_size])
    start = tf.concat([raw_df, loc, raw_scale], -1)
    return Family(
        _student_t, start, batch_shape=batch_shape, seed=seed, name="student_t"
    )


def _student_t(parameters):
    raw_df, loc, raw_scale = tf.split(parameters, 3, -1)
    return tfd.Independent(StudentT(positive(raw_df), loc, positive(raw_scale)), 1)
