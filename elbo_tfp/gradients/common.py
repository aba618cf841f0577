"""What every estimator shares: its arguments, its value, its checks."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import bounds
from elbo_tfp.draws import lead_shape
from elbo_tfp.types import Draws, Estimate, with_gradient_of


def both_sizes(sample_size, importance_sample_size) -> tuple[int, int]:
    """(S, K), checked: S outer samples of a bound on K importance samples each."""
    return (
        *lead_shape(sample_size),
        *lead_shape(importance_sample_size),
    )


def objective(draws: Draws, kl_weight=1.0, free_bits=0.0) -> tf.Tensor:
    """The bound that is climbed, `[B]`, nats, from draws `[S, K, B]`.

    Raises:
        ValueError: if K > 1 is combined with a KL weight or free bits.
    """
    if draws.log_q.shape[1] == 1:
        return bounds.elbo(draws, kl_weight=kl_weight, free_bits=free_bits, axis=(0, 1))
    if not (is_number(kl_weight, 1.0) and is_number(free_bits, 0.0)):
        raise ValueError(
            "expected kl_weight=1 and free_bits=0 with importance_sample_size > 1: the "
            "importance-weighted bound has no rate term to weigh; got "
            f"kl_weight={kl_weight}, free_bits={free_bits}."
        )
    return tf.reduce_mean(bounds.iwae(draws, axis=1), 0)


def estimate(draws: Draws, surrogate, kl_weight=1.0, free_bits=0.0) -> Estimate:
    """The `Estimate` whose value comes from the draws and whose gradient is given."""
    value = tf.stop_gradient(objective(draws, kl_weight, free_bits))
    elbo = tf.stop_gradient(bounds.elbo(draws, axis=(0, 1)))
    return Estimate(value, with_gradient_of(value, surrogate), elbo)


def require_reparameterized(surrogate_posterior, name):
    """Raises ValueError if q's samples carry no gradient to its parameters."""
    kinds = tf.nest.flatten(
        getattr(surrogate_posterior, "reparameterization_type", None)
        if not isinstance(surrogate_posterior, (tuple, list))
        else [getattr(q, "reparameterization_type", None) for q in surrogate_posterior]
    )
    if any(kind == tfp.distributions.NOT_REPARAMETERIZED for kind in kinds):
        raise ValueError(
            f"expected a reparameterized surrogate posterior for {name}; got one "
            "whose samples have no gradient (discrete, or TFP knows no pathwise "
            "sampler). Use gradients.leave_one_out or score_function, or sum a "
            "discrete latent out."
        )


def is_number(value, number) -> bool:
    """Whether `value` is this plain number (and not a tensor that may equal it)."""
    return isinstance(value, (int, float)) and value == number
