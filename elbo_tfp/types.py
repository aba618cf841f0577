"""What passes between the rooms: draws and estimates.

A *draw* holds samples of the surrogate posterior and the three log-densities that
every bound, gap and code length is made of. An *estimate* is what an optimiser
climbs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
