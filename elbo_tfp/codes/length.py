"""A bound as a code length, in three units, with both of its errors."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from elbo_tfp import bounds
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.types import Draws


class CodeLength(NamedTuple):
    """What it costs to send each datum; lower is better."""

    value: tf.Tensor
    """Code length per datum, `[B]`, in `unit`."""
    mean: tf.Tensor
    """Its mean over the data, scalar, in `unit`."""
    noise_error: tf.Tensor
    """Standard error of `mean` from sampling z: it shrinks with sample_size."""
    data_error: tf.Tensor
    """Standard error of `mean` from the choice of data: it shrinks with more data.
    It includes what the sampling noise adds to the spread. NaN for one datum."""
    unit: str
    """`nats`, `bits` or `bits_per_dim`."""


def code_length(
    draws, *, unit: str = "bits", num_dims: int | None = None
) -> CodeLength:
    """-ELBO of each datum as a code length.

    For discrete data this is what bits-back coding pays on average. For continuous data
    the ELBO is a density: the number is relative to the unit in which x is measured,
    and may be negative. Discretise the data before you compare it with a file.

    Args:
        draws: `Draws` (or log-weights) `[S, B]`; S >= 2, so that the noise is known.
        unit: "nats", "bits" (nats / log 2), or "bits_per_dim" (bits / `num_dims`).
        num_dims: dimensions of one datum, for instance pixels; needed for
            "bits_per_dim".

    Raises:
        ValueError: for another unit, a missing or superfluous `num_dims`, a single
            sample, or draws without a batch dimension.
    """
    scale = _per_nat(unit, num_dims)
    log_weights = draws.log_weights if isinstance(draws, Draws) else draws
    log_weights = tf.convert_to_tensor(log_weights)
    if log_weights.shape.rank != 2:
        raise wrong(
            "draws [S, B], S samples of B data",
            f"log-weights of shape {log_weights.shape}",
            "Draw with an int sample_size and a batch of data.",
        )
    # bits = -ELBO / log 2
    value = -bounds.elbo(log_weights) * scale
    noise = bounds.standard_error(log_weights) * scale
    size = tf.cast(tf.size(value), value.dtype)
    several = tf.where(size > 1, size - 1, float("nan"))
    return CodeLength(
        value=value,
        mean=tf.reduce_mean(value),
        # independent noise per datum: sqrt(sum_n se_n^2) / N
        noise_error=tf.norm(noise) / size,
        data_error=tf.math.reduce_std(value) / tf.sqrt(several),
        unit=unit,
    )


def _per_nat(unit, num_dims) -> float:
    if unit not in ("nats", "bits", "bits_per_dim"):
        raise wrong('unit "nats", "bits" or "bits_per_dim"', repr(unit))
    if (num_dims is not None) != (unit == "bits_per_dim"):
        raise wrong(
            'num_dims, the dimensions of one datum, with unit="bits_per_dim" and with '
            "no other",
            f"unit={unit!r} and num_dims={num_dims!r}",
        )
    if unit == "nats":
        return 1.0
    if num_dims is None:
        return 1 / math.log(2)
    return 1 / (whole("num_dims", num_dims) * math.log(2))
