"""Numbers per datum with their noise, and the mean of them with its two errors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Average(NamedTuple):
    """A mean over data, with the error that more draws and more data would lower."""

    value: float
    """The mean, nats per datum."""
    noise_error: float
    """Its Monte Carlo standard error, these data being given, nats."""
    data_error: float
    """Its standard error as a mean over the population, from the spread over data
    (which contains the noise), nats; NaN for one datum."""

    def __sub__(self, other: Average) -> Average:
        """The difference of two averages over independent data."""
        return Average(
            self.value - other.value,
            math.hypot(self.noise_error, other.noise_error),
            math.hypot(self.data_error, other.data_error),
        )

    def __str__(self) -> str:
        return (
            f"{self.value:.4f} +- {self.noise_error:.4f} (noise) "
            f"+- {self.data_error:.4f} (data)"
        )


class PerDatum(NamedTuple):
    """One number per datum, in nats, with its Monte Carlo error."""

    value: np.ndarray
    """`[B]`, float64, nats."""
    standard_error: np.ndarray
    """Its Monte Carlo error, `[B]`, nats; no smaller than `rounding`."""
    rounding: np.ndarray | float = 0.0
    """What rounding may do to it, nats; it does not average out over data."""

    @property
    def mean(self) -> Average:
        """The mean over the data with both its errors."""
        num = len(self.value)
        # the draws of different data are independent: se^2 of a mean = sum se^2 / B^2
        noise = math.sqrt(np.sum(self.standard_error**2)) / num
        noise = max(noise, float(np.mean(self.rounding)))
        # s / sqrt(B)
        data = self.value.std(ddof=1) / math.sqrt(num) if num > 1 else math.nan
        return Average(float(self.value.mean()), noise, float(data))


def mean_of(samples, rounding) -> PerDatum:
    """The mean of samples `[S, B]` per datum.

    Args:
        samples: independent along the first axis; S >= 2.
        rounding: the error that rounding may leave, `[B]`, as `rounding_of` says.
    """
    samples = np.asarray(samples, np.float64)
    error = samples.std(0, ddof=1) / math.sqrt(len(samples))
    return PerDatum(samples.mean(0), np.maximum(error, rounding), rounding)


def log_mean_of(log_weights, rounding) -> PerDatum:
    """log (1 / S) sum_s w_s per datum, with its error by the delta method."""
    top, weights = _relative(log_weights)
    mean = weights.mean(0)
    error = weights.std(0, ddof=1) / (mean * math.sqrt(len(weights)))
    return PerDatum(top + np.log(mean), np.maximum(error, rounding), rounding)


def jensen_gap_of(log_weights, rounding) -> PerDatum:
    """log mean w - mean log w per datum, from the same draws: never negative."""
    log_weights = np.asarray(log_weights, np.float64)
    top, weights = _relative(log_weights)
    mean = weights.mean(0)
    gap = top + np.log(mean) - log_weights.mean(0)
    # delta method: the gap moves with the mean of w / E[w] - log w
    influence = weights / mean - log_weights
    error = influence.std(0, ddof=1) / math.sqrt(len(weights))
    return PerDatum(gap, np.maximum(error, rounding), rounding)


def effective_sample_size(log_weights) -> np.ndarray:
    """(sum w)^2 / sum w^2, `[B]`."""
    _, weights = _relative(log_weights)
    return weights.sum(0) ** 2 / (weights**2).sum(0)


def rounding_of(log_weights) -> np.ndarray:
    """What rounding may do to a sum of a few log-densities, `[B]`, nats."""
    eps = np.finfo(np.asarray(log_weights).dtype).eps
    return 4 * eps * (1 + np.abs(np.asarray(log_weights, np.float64)).mean(0))


def _relative(log_weights):
    log_weights = np.asarray(log_weights, np.float64)
    top = log_weights.max(0)
    return top, np.exp(log_weights - top)
