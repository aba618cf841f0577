"""What draws of log2 ratios say about genes: their prior, medians, and a report."""

from __future__ import annotations

import numpy as np

_GENES = 10.0
"""Weight of the even part of the prior over folds, in genes."""
_ROUNDS = 20
"""Of expectation maximisation, from an even prior."""


def surest(probability, error: float) -> tuple[np.ndarray, float]:
    """The surest genes whose mean probability of being none stays below `error`.

    Args:
        probability: that a gene differs, `[G]`.
        error: between 0 and 1.

    Returns:
        The genes to report, `[G]` booleans, and the rate that is stated of them.
    """
    order = np.argsort(-probability, kind="stable")
    # expected share of errors among the k surest: a mean of numbers that rise
    stated = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    count = int(np.sum(stated <= error))
    chosen = np.zeros(len(order), bool)
    chosen[order[:count]] = True
    return chosen, float(stated[count - 1]) if count else 0.0


def prior(ratio, step):
    """Weights of draws `[R, G]` that were made under an even prior of folds.

    Most genes may not differ at all, or all by the same little that a few frequent
    genes take from the rest: the prior is a histogram over folds with cells of `step`,
    learned by expectation maximisation from all genes' draws, as Gaussians.

    Source: Stephens (2017), with a histogram in place of one hump.
    """
    middle, sd = ratio.mean(0)[:, None], np.maximum(ratio.std(0), step / 2)[:, None]
    reach = np.max(np.abs(middle)) + step
    grid = np.arange(-reach, reach + step, step)
    like = np.exp(-0.5 * ((middle - grid) / sd) ** 2)
    prior = np.full(len(grid), 1 / len(grid))
    for _ in range(_ROUNDS):
        post = like * prior
        post = np.sum(post / post.sum(1, keepdims=True), 0) + _GENES / len(grid)
        prior = post / post.sum()
    return np.interp(ratio, grid, prior)


def median(ratio, weight):
    """The median of each column of `ratio` under `weight`, both `[R, G]`."""
    order = np.argsort(ratio, 0)
    below = np.cumsum(np.take_along_axis(weight, order, 0), 0)
    half = np.argmax(below >= below[-1] / 2, 0)
    return np.take_along_axis(np.take_along_axis(ratio, order, 0), half[None], 0)[0]
