"""Which genes differ between two groups of cells, by draws from their posteriors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed


class Expression(NamedTuple):
    """What two groups of cells say about every gene."""

    log2_fold: np.ndarray
    """Median log2 ratio of shares, first group over second, `[G]`."""
    probability: np.ndarray
    """That the ratio of a pair of cells is beyond `delta`, either way, `[G]`."""
    chosen: np.ndarray
    """The genes reported, `[G]` booleans."""
    expected_error: float
    """Mean probability that a reported gene is none: what the model states."""


def differential_expression(
    model,
    first,
    second,
    *,
    delta: float = 0.5,
    error: float = 0.05,
    num_pairs=2_000,
    seed,
) -> Expression:
    """Genes whose share differs by more than `delta` doublings, at a stated error rate.

    Pairs of cells are drawn, one of each group, and z of each from its posterior. Both
    are read in all batches, and shares averaged, so that a batch makes no difference.
    Genes are reported from the surest down, as long as the mean probability that a
    reported one is none stays below `error`. That rate is the model's own statement.

    Args:
        model: a `CellModel`.
        first: q(z | x) of the first group, `encoder(data)`.
        second: of the second.
        delta: in log2 units, positive.
        error: the rate that the report states, between 0 and 1.
        num_pairs: of cells.
        seed: int, pair of ints or integer tensor; stateless.

    Source: Boyeau et al. (2019); Lopez et al. (2018).
    """
    real("delta", delta), real("error", error, "(0, 1)"), whole("num_pairs", num_pairs)
    if not hasattr(model, "shares"):
        raise wrong(
            "the model of a count_vae",
            type(model).__name__,
            "It knows shares of genes.",
        )
    logs = [
        np.log2(_shares(model, q, num_pairs, s))
        for q, s in zip((first, second), split_seed(seed), strict=True)
    ]
    ratio = logs[0] - logs[1]
    p = np.mean(np.abs(ratio) > delta, 0)
    order = np.argsort(-p, kind="stable")
    # expected share of errors among the k surest: a mean of numbers that rise
    stated = np.cumsum(1 - p[order]) / np.arange(1, len(p) + 1)
    count = int(np.sum(stated <= error))
    chosen = np.zeros(len(p), bool)
    chosen[order[:count]] = True
    expected = float(stated[count - 1]) if count else 0.0
    return Expression(np.median(ratio, 0), p, chosen, expected)


def _shares(model, q, num, seed):
    rng = np.random.default_rng(as_seed(seed).numpy().view(np.uint32).tolist())
    cells = q.batch_shape[0]
    z = q.sample(-(-num // cells), seed=seed)
    z = tf.gather(
        tf.reshape(z, [-1, z.shape[-1]]), rng.permutation(z.shape[0] * cells)[:num]
    )
    every = [model.shares(z, batch) for batch in range(model.num_batches)]
    return np.maximum(np.mean(every, 0), 1e-12)
