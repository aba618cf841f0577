"""What every estimator shares: its arguments, its value, its bound, its checks."""

from __future__ import annotations

import numbers

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import bounds
from elbo_tfp.draws import lead_shape
from elbo_tfp.ground.checks import wrong
from elbo_tfp.types import Draws, Estimate, with_gradient_of


def both_sizes(sample_size, importance_sample_size) -> tuple[int, int]:
    """(S, K), checked: S outer samples of a bound on K importance samples each."""
    return (
        *lead_shape(sample_size),
        *lead_shape(importance_sample_size),
    )


def objective(draws: Draws, bound=None, kl_weight=1.0, free_bits=0.0) -> tf.Tensor:
    """The bound that is climbed, `[B]`, nats, from draws `[S, K, B]`.

    Raises:
        ValueError: if K > 1, or a bound of one's own, is combined with a KL weight or
            free bits.
    """
    plain = is_number(kl_weight, 1.0) and is_number(free_bits, 0.0)
    if bound is None and draws.log_q.shape[1] == 1:
        return bounds.elbo(draws, kl_weight=kl_weight, free_bits=free_bits, axis=(0, 1))
    if not plain:
        what = "importance_sample_size > 1" if bound is None else "bound="
        raise wrong(
            f"kl_weight=1 and free_bits=0 with {what}: such a bound has no rate term "
            "to weigh",
            f"kl_weight={kl_weight}, free_bits={free_bits}",
            "A weight of your own goes into the bound: "
            "lambda draws: bounds.elbo(draws, kl_weight=2.0).",
        )
    return tf.reduce_mean(of_each(draws, bound), 0)


def of_each(draws: Draws, bound=None) -> tf.Tensor:
    """The bound on each K importance samples, `[S, B]`, nats; `iwae` if none is named.

    Args:
        draws: densities `[S, K, B]`.
        bound: a function of `Draws` of densities `[K, S, B]`, samples leading.

    Raises:
        ValueError: if it does not return one number per datum (and outer sample).
    """
    if bound is None:
        return bounds.iwae(draws, axis=1)
    parts = draws._asdict()
    num_data = parts.pop("num_data")
    turned = Draws(**tf.nest.map_structure(_swapped, parts), num_data=num_data)
    return one_per_datum(bound, turned, turned.log_q.shape[1:])


def one_per_datum(bound, draws, shape) -> tf.Tensor:
    """`bound(draws)`, checked to reduce the leading samples and nothing else."""
    value = bound(draws) if callable(bound) else bound
    found = getattr(value, "shape", None)
    if not callable(bound) or found is None or not shape.is_compatible_with(found):
        raise wrong(
            "bound to be a function of Draws that reduces their leading sample axis "
            f"and returns one number per datum, here {shape}",
            repr(bound) if found is None else f"shape {found}",
            "Write bound=lambda draws: bounds.renyi(draws, alpha=0.5).",
        )
    return value


def only(bound, allowed, name, reason):
    """Raises ValueError, with the reason, if `name` is asked to climb another bound."""
    if bound is not None and bound is not allowed:
        raise wrong(
            f"bound=bounds.{allowed.__name__} for {name}: {reason}",
            repr(bound),
            "Use reparameterized, doubly_reparameterized or score_function, which "
            "climb any bound.",
        )


def estimate(
    draws: Draws, surrogate, bound=None, kl_weight=1.0, free_bits=0.0
) -> Estimate:
    """The `Estimate` whose value comes from the draws and whose gradient is given."""
    value = tf.stop_gradient(objective(draws, bound, kl_weight, free_bits))
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
        raise wrong(
            f"a reparameterized surrogate posterior for {name}",
            "one whose samples have no gradient (discrete, or TFP knows no pathwise "
            "sampler)",
            "Use gradients.leave_one_out or score_function, or sum a discrete latent "
            "out.",
        )


def is_number(value, number) -> bool:
    """Whether `value` is this plain number (and not a tensor that may equal it)."""
    return isinstance(value, numbers.Real) and value == number


def _swapped(tensor):
    """`[S, K, ...]` as `[K, S, ...]`; None stays."""
    if tensor is None:
        return None
    rank = tensor.shape.rank
    return tf.transpose(tensor, [1, 0, *range(2, rank)])
