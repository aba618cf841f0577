"""Likelihoods: the output of a network in, a distribution over one datum out.

`likelihood(parameters)` takes `[..., parameters_size]` and returns a distribution
whose event is one datum. Any network whose last layer has `parameters_size` units
can stand in front of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions import counts, genes
from elbo_tfp.families.base import positive
from elbo_tfp.ground.checks import number
from elbo_tfp.ground.precision import in_full

tfd = tfp.distributions


class Likelihood(NamedTuple):
    """A map from unconstrained parameters to the distribution of one datum."""

    build: Callable
    """From heads, a list of tensors `[...]` + `event_shape`, to a distribution."""
    num_heads: int
    """How many numbers describe one dimension of the datum."""
    event_shape: tuple[int, ...]
    """The shape of one datum."""
    support: Callable
    """From x to booleans: can this value occur?"""
    largest: float = 1.0
    """The size of a typical large value; encoders divide by it."""
    values: str = "finite numbers"
    """The support in words, for error messages."""
    variables: tuple[Any, ...] = ()
    """Variables of its own, beside the network's."""

    @property
    def parameters_size(self) -> int:
        """Units that the network in front must have."""
        return self.num_heads * math.prod(self.event_shape)

    def __call__(self, parameters):
        """The distribution of one datum, batch shape `[...]`.

        Args:
            parameters: `[..., parameters_size]`, unconstrained; half precision, of a
                mixed-precision network, becomes float32.

        Raises:
            ValueError: if the last dimension is not `parameters_size`.
        """
        parameters = in_full(tf.convert_to_tensor(parameters))
        if parameters.shape.rank == 0 or parameters.shape[-1] != self.parameters_size:
            raise ValueError(
                f"expected parameters [..., {self.parameters_size}] for data of shape "
                f"{list(self.event_shape)}; got shape {parameters.shape}. End the "
                "network with Dense(likelihood.parameters_size)."
            )
        shape = tf.concat([tf.shape(parameters)[:-1], self.event_shape], 0)
        static = [*parameters.shape[:-1], *self.event_shape]
        heads = [
            tf.ensure_shape(tf.reshape(part, shape), static)
            for part in tf.split(parameters, self.num_heads, -1)
        ]
        return tfd.Independent(self.build(*heads), len(self.event_shape))

    def problem(self, x) -> str | None:
        """What is wrong with these values, or None if all of them can occur."""
        x = tf.convert_to_tensor(x)
        bad = int(tf.math.count_nonzero(~self.support(x)))
        return None if not bad else f"{self.values}; got {bad} of {tf.size(x)} others"


def bernoulli(event_shape) -> Likelihood:
    """Pixels that are 0 or 1; parameters are logits.

    Greyscale values between 0 and 1 are no Bernoulli data: their "likelihood" is not
    normalized and bounds nothing. Use `binomial` for counts.

    Args:
        event_shape: shape of one datum, an int or a tuple.
    """

    def build(logits):
        return counts.Bernoulli(logits, dtype=logits.dtype)

    shape = _shape(event_shape)
    return Likelihood(build, 1, shape, counts.is_count(1), values="0s and 1s")


def binomial(event_shape, total_count: int) -> Likelihood:
    """Counts from 0 to `total_count`; parameters are logits.

    Args:
        event_shape: shape of one datum, an int or a tuple.
        total_count: n, the largest value.
    """
    n = _count(total_count)
    return Likelihood(
        lambda logits: counts.Binomial(n, logits),
        *(1, _shape(event_shape), counts.is_count(n), float(n), _counts_up_to(n)),
    )


def beta_binomial(event_shape, total_count: int) -> Likelihood:
    """Counts whose probability varies; parameters are logits and a raw dispersion.

    The probability is Beta with mean `sigmoid(logits)` and total concentration
    1 / dispersion; dispersion 0 is the binomial, large dispersion puts all mass on 0
    and `total_count`, as ink on paper does.

    Args:
        event_shape: shape of one datum, an int or a tuple.
        total_count: n, the largest value.
    """
    n = _count(total_count)
    return Likelihood(
        lambda logits, raw: counts.BetaBinomial(n, logits, positive(raw)),
        *(2, _shape(event_shape), counts.is_count(n), float(n), _counts_up_to(n)),
    )


def gaussian(event_shape, scale=1.0, *, dtype=tf.float32) -> Likelihood:
    """Real numbers; parameters are means and, if asked for, raw scales.

    Args:
        event_shape: shape of one datum, an int or a tuple.
        scale: a positive number keeps the standard deviation fixed; "shared" trains
            one for all dimensions; "per_dimension" asks the network for each.
        dtype: of the shared scale's variable.

    Raises:
        ValueError: if `scale` is none of these.
    """
    shape = _shape(event_shape)
    fields = {"event_shape": shape, "support": tf.math.is_finite}
    if scale == "per_dimension":
        return Likelihood(lambda m, raw: tfd.Normal(m, positive(raw)), 2, **fields)
    if scale == "shared":
        raw_scale = tf.Variable(tf.zeros([], dtype), name="raw_scale")
        return Likelihood(
            lambda m: tfd.Normal(m, positive(raw_scale)),
            *(1, *fields.values()),
            variables=(raw_scale,),
        )
    if isinstance(scale, str) or not scale > 0:
        raise ValueError(
            "expected scale to be a positive number, 'shared' or 'per_dimension'; got "
            f"{scale!r}."
        )
    return Likelihood(lambda m: tfd.Normal(m, number(scale, m.dtype)), 1, **fields)


def discretized_logistic(event_shape, num_values: int) -> Likelihood:
    """Ordered values 0 to `num_values` - 1; parameters are means and raw scales.

    A logistic density cut into unit bins, whose first and last bin take the tails
    (Kingma et al. 2016). Raw parameters of 0 give its centre and a fifth of its range.

    Args:
        event_shape: shape of one datum, an int or a tuple.
        num_values: how many values there are, at least 2.
    """
    top = _count(num_values, "num_values", 2) - 1

    def build(raw_loc, raw_scale):
        loc = 0.5 * top * (1 + raw_loc)
        return counts.DiscretizedLogistic(loc, 0.2 * top * positive(raw_scale), top)

    return Likelihood(
        build,
        *(2, _shape(event_shape), counts.is_count(top), float(top), _counts_up_to(top)),
    )


def poisson(event_shape) -> Likelihood:
    """Counts without an upper end; parameters are log means.

    Args:
        event_shape: shape of one datum, an int or a tuple.
    """
    return _unbounded(lambda log_mean: genes.Poisson(tf.exp(log_mean)), 1, event_shape)


def negative_binomial(event_shape) -> Likelihood:
    """Counts of variance mean + dispersion mean^2; log means and raw dispersions.

    Args:
        event_shape: shape of one datum, an int or a tuple.
    """

    def build(log_mean, raw):
        return genes.NegativeBinomial(tf.exp(log_mean), positive(raw))

    return _unbounded(build, 2, event_shape)


def zero_inflated_negative_binomial(event_shape) -> Likelihood:
    """As `negative_binomial`, with further zeros; the third head is their logit.

    Args:
        event_shape: shape of one datum, an int or a tuple.
    """

    def build(log_mean, raw, zero_logits):
        mean, dispersion = tf.exp(log_mean), positive(raw)
        return genes.ZeroInflatedNegativeBinomial(mean, dispersion, zero_logits)

    return _unbounded(build, 3, event_shape)


def log_normal_counts(event_shape) -> Likelihood:
    """A Gaussian on log(1 + x) as a mass on counts; log means and raw scales.

    Args:
        event_shape: shape of one datum, an int or a tuple.
    """

    def build(log_mean, raw):
        return genes.LogNormalCounts(tf.exp(log_mean), positive(raw))

    return _unbounded(build, 2, event_shape)


def _unbounded(build, num_heads, event_shape) -> Likelihood:
    support = counts.is_count(2.0**24)  # beyond it float32 has gaps
    return Likelihood(
        build, num_heads, _shape(event_shape), support, values="whole numbers from 0"
    )


def _shape(event_shape) -> tuple[int, ...]:
    sizes = event_shape if isinstance(event_shape, (tuple, list)) else (event_shape,)
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            "expected the shape of one datum, a positive int or a tuple of them; got "
            f"{event_shape!r}."
        )
    return tuple(sizes)


def _count(value, name="total_count", least=1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"expected {name} to be an int of at least {least}; got {value!r}."
        )
    return value


def _counts_up_to(n) -> str:
    return f"whole numbers from 0 to {n}"
