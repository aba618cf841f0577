"""Does the model make data like these, and which of two models does it better?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from elbo_tfp.ground.arrays import as_array
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
        """Of the p-value, from the number S of replications.

        Of k of them, sqrt(p (1 - p) / S) at p = (k + 1) / (S + 2): about 1 / S, not 0,
        where all replications or none exceed the data (Agresti and Coull 1998).
        """
        size = len(self.replicated)
        p = (self.p_value * size + 1) / (size + 2)
        return math.sqrt(p * (1 - p) / size)


def posterior_predictive(model, encoder, x, statistic, *, sample_size=200, seed):
    """A posterior predictive check: z from q(z | x), then x_rep from p(x | z).

    The data are used twice, so p-values gather around 1/2: a small one is a misfit,
    a middling one is no proof of fit.

    Args:
        model: a `LatentVariableModel` without a global prior.
        encoder: a callable x -> q.
        x: data, `[N]` + event, one array.
        statistic: a callable from data, as NumPy `[N]` + event, to one number.
        sample_size: number of replications.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `PredictiveCheck`.

    Raises:
        ValueError: if the model has a global prior, the data are no single array, or
            the statistic is not one number or NaN.

    Source: Gelman, Meng and Stern (1996), section 2.
    """
    whole("sample_size", sample_size)
    if model.global_prior is not None:
        raise wrong("a model without a global prior", "one", "Fix the shared latent.")
    if isinstance(x, (Mapping, tuple)):
        raise wrong(
            "x to be one array",
            f"a {type(x).__name__}",
            "Data in parts are not replicated: draw z from q, x from the likelihood, "
            "and compare your statistic by hand.",
        )
    z_seed, x_seed = split_seed(seed)
    z = encoder(as_array(x, "x")).sample(sample_size, seed=z_seed)
    made = model.likelihood(z).sample(seed=x_seed).numpy()
    return PredictiveCheck(
        _number(statistic(np.asarray(x)), "x"),
        np.array(
            [_number(statistic(one), f"replication {i}") for i, one in enumerate(made)]
        ),
    )


def _number(value, of: str) -> float:
    value = np.asarray(value)
    if value.size != 1:
        raise wrong("a statistic that is one number", f"shape {value.shape}")
    if np.isnan(value).any():
        raise wrong(
            "a statistic that is a number", f"NaN of {of}", "It exceeds nothing."
        )
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
