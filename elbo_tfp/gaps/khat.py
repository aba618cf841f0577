"""k-hat: whether importance weights have a mean one can trust."""

from __future__ import annotations

import numpy as np

from elbo_tfp.types import Draws


def k_hat(draws) -> np.ndarray:
    """The shape of the tail of the importance weights, `[B]`.

    Below 0.5 the weights have a variance; below 0.7 importance sampling from q, and q
    as an approximation, are of use; above it they are not, whatever the ELBO says. It
    needs no exact answer. It sees only where q draws: a hump that q never visits does
    not show.

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
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.ndim == 0 or log_weights.shape[0] < 100:
        raise ValueError(
            "expected at least 100 samples along the first axis to fit a tail; got "
            f"log-weights of shape {log_weights.shape}. Draw with sample_size=1_000."
        )
    if np.isnan(log_weights).any():
        raise ValueError("expected log-weights without NaN; got some.")
    # the tail's shape needs ratios only: the largest weight becomes one
    weights = np.exp(log_weights - log_weights.max(0))[np.newaxis]
    found = _pareto_khat()(weights, chain_axis=0, draw_axis=1, r_eff=1, tail="right")
    return np.asarray(found)


def _pareto_khat():
    try:
        from arviz_stats.base import array_stats
    except ImportError as error:
        raise ValueError(
            "expected the package arviz-stats, which fits the Pareto tail; it is not "
            "installed. Run: pip install arviz-stats"
        ) from error
    return array_stats.pareto_khat
