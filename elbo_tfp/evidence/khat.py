"""k-hat: whether importance weights have a mean one can trust."""

from __future__ import annotations

import numpy as np

from elbo_tfp.types import Draws


def k_hat(draws) -> np.ndarray:
    """The shape of the tail of the importance weights, `[B]`.

    Below 0.5 the weights have a variance; below 0.7 importance sampling from q, and q
    as an approximation, are of use; above it they are not, whatever the ELBO says. It
    needs no exact answer. It sees only where q draws: a hump that q never visits does
    not show. Weights that are equal up to rounding, as those of an exact q, have no
    tail: -inf.

    Args:
        draws: `Draws` or log-weights `[S, B]` (or `[S]`), with at least 100 samples;
            1,000 and more make it stable.

    Raises:
        ValueError: if `arviz-stats` is missing, there are too few samples, or a
            log-weight is NaN.

    Source: Yao, Vehtari, Simpson and Gelman (2018), algorithm 1; Vehtari et al.
    (2024).
    """
    log_weights = draws.log_weights if isinstance(draws, Draws) else draws
    log_weights = np.asarray(log_weights)
    dtype = log_weights.dtype if log_weights.dtype.kind == "f" else np.float64
    log_weights = log_weights.astype(np.float64)
    if log_weights.ndim == 0 or log_weights.shape[0] < 100:
        raise ValueError(
            "expected at least 100 samples along the first axis to fit a tail; got "
            f"log-weights of shape {log_weights.shape}. Draw with sample_size=1_000."
        )
    if np.isnan(log_weights).any():
        raise ValueError("expected log-weights without NaN; got some.")
    flat = _flat(log_weights, np.finfo(dtype).eps)
    # the tail's shape needs ratios only: the largest weight becomes one
    weights = np.exp(log_weights - log_weights.max(0))
    ramp = np.linspace(0, 1, len(weights)).reshape([-1] + [1] * flat.ndim)
    weights = np.where(flat, ramp, weights)[np.newaxis]  # a tail for the fit to take
    found = _pareto_khat()(weights, chain_axis=0, draw_axis=1, r_eff=1, tail="right")
    return np.where(flat, -np.inf, found)


def _flat(log_weights, eps):
    """Whether the tail of the weights is constant up to rounding, `[B]`."""
    tail = min(int(3 * len(log_weights) ** 0.5), len(log_weights) // 5)
    low, high = np.partition(log_weights, [-tail - 1, -1], 0)[[-tail - 1, -1]]
    # a log-weight is a difference of larger numbers: 8 units in the last place
    return high - low <= 8 * eps * np.maximum(np.abs(high), 1)


def _pareto_khat():
    try:
        from arviz_stats.base import array_stats
    except ImportError as error:
        raise ValueError(
            "expected the package arviz-stats, which fits the Pareto tail; it is not "
            "installed. Run: pip install arviz-stats"
        ) from error
    return array_stats.pareto_khat
