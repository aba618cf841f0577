"""Does the model make data like these, and which of two models does it better?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import split_seed


class PredictiveCheck(NamedTuple):
    """A statistic of the data beside the same of replicated data."""

    observed: float
    """T(x)."""
    replicated: np.ndarray
    """T(x_rep) of each replication, `[S]`."""

    @property
    def p_value(self) -> float:
        """Share of replications with T(x_rep) >= T(x); near 0 or 1 is a misfit."""
        return float(np.mean(self.replicated >= self.observed))

    @property
    def standard_error(self) -> float:
        """Of the p-value, from the number of replications."""
        p = self.p_value
        return math.sqrt(p * (1 - p) / len(self.replicated))


def posterior_predictive(model, encoder, x, statistic, *, sample_size=200, seed):
    """A posterior predictive check: z from q(z | x), then x_rep from p(x | z).

    The data are used twice, so p-values gather around 1/2: a small one is a misfit,
    a middling one is no proof of fit.

    Args:
        model: a `LatentVariableModel` without a global prior.
        encoder: a callable x -> q.
        x: data, `[N]` + event.
        statistic: a callable from data, as NumPy `[N]` + event, to one number.
        sample_size: number of replications.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `PredictiveCheck`.

    Raises:
        ValueError: if the model has a global prior or the statistic is not one number.

    Source: Gelman, Meng and Stern (1996), section 2.
    """
    whole("sample_size", sample_size)
    if model.global_prior is not None:
        raise wrong("a model without a global prior", "one", "Fix the shared latent.")
    z_seed, x_seed = split_seed(seed)
    z = encoder(tf.convert_to_tensor(x)).sample(sample_size, seed=z_seed)
    made = model.likelihood(z).sample(seed=x_seed).numpy()
    return PredictiveCheck(
        _number(statistic(np.asarray(x))),
        np.array([_number(statistic(one)) for one in made]),
    )


def _number(value) -> float:
    value = np.asarray(value)
    if value.size != 1:
        raise wrong("a statistic that is one number", f"shape {value.shape}")
    return float(value.reshape(()))


class Comparison(NamedTuple):
    """First minus second, datum by datum."""

    difference: float
    """Mean difference, nats per datum; positive if the first model is better."""
    standard_error: float
    """Of that mean over the population, from the spread of the differences."""
    unpaired_error: float
    """What it would be if one forgot that the data are the same."""

    @property
    def decided(self) -> bool:
        """Whether the difference is more than two errors from zero."""
        return abs(self.difference) > 2 * self.standard_error


def compare(first, second) -> Comparison:
    """Compares two models on the same data.

    Args:
        first: one number per datum, `[N]`, nats: an ELBO, a bound or an evidence, of
            held-out data; or a `gaps.PerDatum`.
        second: the same of another model. Bounds with different gaps compare model and
            inference together.

    Raises:
        ValueError: if the two are not of one shape `[N]`, N >= 2, and finite.
    """
    a, b = (np.asarray(getattr(v, "value", v), np.float64) for v in (first, second))
    finite = np.isfinite(a).all() and np.isfinite(b).all()
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2 or not finite:
        raise wrong("finite numbers of one shape [N], N >= 2", f"{a.shape}, {b.shape}")
    error = (a - b).std(ddof=1) / math.sqrt(len(a))
    apart = math.hypot(a.std(ddof=1), b.std(ddof=1)) / math.sqrt(len(a))
    return Comparison(float((a - b).mean()), float(error), apart)
