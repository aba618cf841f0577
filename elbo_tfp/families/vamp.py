"""VampPrior: the encoder's own q, at inputs that are learned."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.families.aggregated import EncodedMixture

_EDGE = 0.01


def vamp_prior(encoder, pseudo_inputs, *, low, high) -> VampPrior:
    """p(z) = 1/K sum_k q(z | u_k) with trainable pseudo-inputs u_k.

    The best prior for a given encoder is its aggregated posterior, a mixture over all
    data. K pseudo-inputs stand in for them. Gradients reach the pseudo-inputs and the
    encoder's own weights, which it shares with the posteriors.

    The pseudo-inputs stay in the data's range, u = low + (high - low) sigmoid(raw).
    Values that start at its edge are moved inside by a hundredth of it, since a
    sigmoid reaches its ends only at infinity.

    Args:
        encoder: an `Encoder`, or any callable from x to the distribution q(z | x).
        pseudo_inputs: where they start, `[K]` + event of x: K data are a good choice.
        low: smallest value that data may have, a scalar or of the event's shape.
        high: largest such value, likewise.

    Returns:
        A distribution to be passed as `prior` or to `model.with_prior`; its variable
        is in `trainable_variables`, the current inputs in `pseudo_inputs`.

    Raises:
        ValueError: if a pseudo-input starts outside of the range, `low` is above
            `high`, or as `aggregated_posterior`.

    Source: Tomczak and Welling (2018), section 3.
    """
    start = tf.convert_to_tensor(pseudo_inputs)
    if not start.dtype.is_floating or not start.shape.rank:
        raise ValueError(
            "expected pseudo_inputs of a floating dtype and shape [K] + event of x; "
            f"got {start.dtype.name} of shape {start.shape}."
        )
    low, high = (_bound(v, start, name) for v, name in ((low, "low"), (high, "high")))
    _check_range(start.numpy(), low, high)
    width = np.where(high > low, high - low, 1)
    share = np.clip((start.numpy() - low) / width, _EDGE, 1 - _EDGE)
    # raw = logit of the share of the range
    raw = tf.Variable(np.log(share) - np.log1p(-share), name="raw_pseudo_inputs")
    return VampPrior(encoder, raw, tf.constant(low), tf.constant(high))


class VampPrior(EncodedMixture):
    """The mixture of q(z | u_k) over pseudo-inputs within a range.

    Args:
        encoder: callable from `[K, ...]` to a distribution of batch shape `[K]`.
        raw: variable `[K, ...]`, unconstrained.
        low: lower end of the range.
        high: upper end of the range.
    """

    def __init__(self, encoder, raw, low, high, name="VampPrior"):
        self._raw, self._low, self._high = raw, low, high
        super().__init__(encoder, lambda: self.pseudo_inputs, name=name)
        ends = {"raw": raw, "low": low, "high": high}
        self._parameters = {"encoder": self._encode, **ends, "name": name}

    @property
    def pseudo_inputs(self):
        """u, `[K]` + event of x, within the range."""
        # u = low + (high - low) sigmoid(raw)
        return self._low + (self._high - self._low) * tf.sigmoid(self._raw)


def _bound(value, start, name):
    value = np.asarray(value, start.dtype.as_numpy_dtype)
    event = tuple(start.shape[1:])
    if value.shape not in ((), event) or not np.isfinite(value).all():
        raise ValueError(
            f"expected {name}, an end of the data's range, to be a finite scalar or of "
            f"the shape of one datum, {event}; got {value!r}."
        )
    return value


def _check_range(start, low, high):
    if np.any(low > high):
        raise ValueError(f"expected low <= high; got low={low} and high={high}.")
    # NaN compares False with everything: it is outside, too
    outside = ~((start >= low) & (start <= high))
    if outside.any():
        raise ValueError(
            f"expected pseudo-inputs to start within the data's range, {np.min(low)} "
            f"to {np.max(high)}; got {outside.sum()} of {outside.size} values outside "
            f"of it, from {start.min()} to {start.max()}. Start them at data, "
            "pseudo_inputs=x_train[:K], or correct low and high."
        )
