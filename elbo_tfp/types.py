"""What passes between the rooms: draws, estimates and seeds.

A *draw* holds samples of the surrogate posterior and the three log-densities that
every bound, gap and code length is made of. An *estimate* is what an optimiser
climbs. A *seed* is stateless: the same seed gives the same numbers, every time.
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Draws(NamedTuple):
    """Samples of the surrogate posterior with their log-densities.

    Shapes: samples lead, then the batch (one number per datum), then the event.
    With `sample_size=S` and a batch of `B` data each density is `[S, B]`; with a
    surrogate of scalar batch shape it is `[S]`; with `sample_size=(S, K)` it is
    `[S, K, B]`. Densities are in nats.
    """

    z: Any
    """The samples, a tensor or a structure of tensors, `[S, B, ...]`."""
    log_likelihood: tf.Tensor | None
    """log p(x | z), `[S, B]`; None if the target is a bare function."""
    log_prior: tf.Tensor | None
    """log p(z), `[S, B]`; None if the target is a bare function."""
    log_q: tf.Tensor
    """log q(z), `[S, B]`."""
    log_target: tf.Tensor | None = None
    """The value of a bare target, `[S, B]`; None if the two parts are known."""
    num_data: Any = None
    """The size of the data set that shares a global latent; else None."""

    @property
    def log_p(self) -> tf.Tensor:
        """log p(x, z), `[S, B]`, nats."""
        if self.log_likelihood is None:
            return self.log_target
        # log p(x, z) = log p(x | z) + log p(z)
        return self.log_likelihood + self.log_prior

    @property
    def log_weights(self) -> tf.Tensor:
        """log w = log p(x, z) - log q(z), `[S, B]`, nats."""
        return self.log_p - self.log_q


class Estimate(NamedTuple):
    """One Monte Carlo estimate of a bound, in nats, together with its gradient."""

    value: tf.Tensor
    """The bound that is climbed, `[B]`; with a KL weight, the weighted one."""
    surrogate: tf.Tensor
    """Equal to `value`; its gradient is the estimator's, `[B]`. Differentiate this."""
    elbo: tf.Tensor
    """The ELBO without weights, `[B]`: what a trace should show."""


def with_gradient_of(value: tf.Tensor, surrogate: tf.Tensor) -> tf.Tensor:
    """`value`, with the gradient of `surrogate`.

    Args:
        value: the number to report, any shape.
        surrogate: a tensor of the same shape whose gradient is wanted.

    Returns:
        A tensor that equals `value` to the last bit wherever `surrogate` is finite.

    Raises:
        ValueError: if the shapes differ, since broadcasting would repeat gradients.
    """
    if not value.shape.is_compatible_with(surrogate.shape):
        raise ValueError(
            f"expected a surrogate of the shape of its value, {value.shape}; got "
            f"{surrogate.shape}. Average both over the same axes."
        )
    # value + (s - stop(s)); the bracket is exactly zero in floating point
    return tf.stop_gradient(value) + (surrogate - tf.stop_gradient(surrogate))


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


def number(value, dtype) -> tf.Tensor:
    """A number as a tensor of this dtype, to the last digit that the user wrote.

    `tf.cast(0.3, tf.float64)` goes by float32: it is 0.30000001192.
    """
    if isinstance(value, numbers.Real):
        return tf.constant(value, dtype)
    return tf.cast(value, dtype)


def as_seed(seed) -> tf.Tensor:
    """A stateless seed, `[2]` int32, from an int, a pair of ints or a tensor.

    Args:
        seed: an int (any that fits in 64 bits), a pair of ints, or an integer
            tensor of shape `[2]`.

    Raises:
        ValueError: if `seed` is missing or has another form.
    """
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        number = int(seed)
        if not -(2**63) <= number < 2**64:
            raise ValueError(_SEED_HELP.format(seed))
        halves = np.array([number >> 32 & _LOW, number & _LOW], np.uint32)
        return tf.constant(halves.view(np.int32))
    try:
        tensor = tf.convert_to_tensor(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(_SEED_HELP.format(seed)) from error
    if not tensor.dtype.is_integer or tensor.shape.rank not in (None, 0, 1):
        raise ValueError(_SEED_HELP.format(seed))
    if tensor.shape.rank == 0:
        # high and low half, as for a Python int
        return tf.bitcast(tf.cast(tensor, tf.int64), tf.int32)[::-1]
    if not tensor.shape.is_compatible_with([2]):
        raise ValueError(_SEED_HELP.format(seed))
    return tf.cast(tensor, tf.int32)


_LOW = 0xFFFFFFFF


_SEED_HELP = (
    "expected seed to be an int, a pair of ints or an integer tensor of shape [2]; "
    "got {!r}. Seeds are stateless here: pass seed=0, say, and the same numbers come "
    "back every time."
)


def split_seed(seed, n: int = 2) -> list[tf.Tensor]:
    """`n` independent stateless seeds made from one."""
    return tf.unstack(tf.random.split(as_seed(seed), num=n), num=n)


def fold_in(seed, data) -> tf.Tensor:
    """The seed number `data` of the family that `seed` starts."""
    return tf.random.fold_in(as_seed(seed), tf.cast(data, tf.int32))


def at_run_time(value: tf.Tensor, shape, message: str) -> tf.Tensor:
    """`value`, checked to have `shape` where that was not known beforehand.

    XLA ignores assertions, and TensorFlow's graph optimizer drops a reshape (even with
    the assertion in front of it); a concatenation with nothing is checked by both.

    Args:
        value: a tensor whose static shape is not known in full.
        shape: the shape it must have, a list or an integer tensor.
        message: of the error, `tf.errors.InvalidArgumentError`.
    """
    same = tf.debugging.assert_equal(tf.shape(value), shape, message)
    nothing = tf.zeros(tf.concat([[0], shape], 0), value.dtype)
    with tf.control_dependencies([same]):
        return tf.concat([value[tf.newaxis], nothing], 0)[0]
