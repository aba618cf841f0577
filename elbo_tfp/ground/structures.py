"""What a datum is made of, and what one datum counts."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp.ground.checks import number


def per_datum(local: tf.Tensor, shared: tf.Tensor, num_data) -> tf.Tensor:
    """The share of one datum: its local part plus the global part / `num_data`.

    Args:
        local: `[S, B]`, nats.
        shared: `[S]`, the log-density of the latent that all data share, nats.
        num_data: the size N of the whole data set.

    Returns:
        `[S, B]`, nats.

    Raises:
        ValueError: if the shapes are not `[S, B]` and `[S]`.
    """
    ranks = local.shape.rank, shared.shape.rank
    if None not in ranks and ranks[0] != ranks[1] + 1:
        raise ValueError(
            "expected local terms [S, B] and global terms [S], one latent w for all "
            f"data; got {local.shape} and {shared.shape}. Give q of the local z a row "
            "per datum (B = 1 too), and the global prior and its q no batch shape."
        )
    # l_n + g / N, so that the sum over all n counts g once
    return local + shared[..., tf.newaxis] / number(num_data, shared.dtype)
