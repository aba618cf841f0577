"""k-hat: whether importance weights have a mean one can trust."""

from __future__ import annotations

import numpy as np

from elbo_tfp.ground.checks import wrong
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
        ValueError: if there are too few samples, or a log-weight is NaN or infinite.

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
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any():
        raise wrong("log-weights without NaN and infinity", "some", "Check the model.")
    # M = floor(min(3 sqrt(S), S / 5)), as in the paper and ArviZ; R's loo rounds up
    size = min(int(3 * len(log_weights) ** 0.5), len(log_weights) // 5)
    ordered = np.sort(log_weights, 0)
    tail, cutoff = ordered[-size:], ordered[-size - 1]
    # a log-weight is a difference of larger numbers: 8 units in the last place
    rounding = 8 * np.finfo(dtype).eps * np.maximum(np.abs(tail[-1]), 1)
    flat = ~(tail[-1] - cutoff > rounding)
    with np.errstate(divide="ignore", invalid="ignore"):
        # log (w - cutoff), for weights that exp would make 0 or infinite
        above = tail + np.log(-np.expm1(cutoff - tail))
    above = np.where(tail > cutoff, above, -np.inf)
    found = [
        -np.inf if still else _shape(column)
        for still, column in zip(flat.ravel(), above.reshape(size, -1).T, strict=True)
    ]
    return np.reshape(found, flat.shape)


def _shape(log_x) -> float:
    """The shape of a generalized Pareto fit, given logs of its sorted exceedances.

    The posterior mean of Zhang and Stephens (2009) with a weak prior at 1/2, in which
    x enters only as log x: weights may differ by any factor.
    """
    quarter = int(len(log_x) / 4 + 0.5) - 1
    if log_x[quarter] == -np.inf:  # ties with the cutoff, as where most weights are 0
        log_x = log_x[log_x > -np.inf]
        if len(log_x) < 5:
            return np.inf
        quarter = int(len(log_x) / 4 + 0.5) - 1
    num, grid = len(log_x), 30 + int(len(log_x) ** 0.5)
    log_x = log_x - log_x[quarter]
    with np.errstate(divide="ignore"):
        rest = np.log(-np.expm1(log_x - log_x[-1]))
    # theta_i = 1 / max x - c_i, in units of the lower quartile
    c = (np.sqrt(grid / (np.arange(grid) + 0.5)) - 1) / 3

    def shape(c):
        # k = mean_j log(1 - theta x_j) = mean_j log(1 - x_j / max x + c x_j)
        return np.logaddexp(rest, np.log(c)[..., np.newaxis] + log_x).mean(-1)

    k, theta = shape(c), np.exp(-log_x[-1]) - c
    log_density = num * (np.log(-theta / k) - k - 1)
    weights = np.exp(log_density - log_density.max())
    best = np.sum(c * weights) / np.sum(weights)
    # as if ten more exceedances had said 1/2
    return (num * shape(best) + 10 * 0.5) / (num + 10)
