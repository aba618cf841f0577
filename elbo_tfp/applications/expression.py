"""Which genes differ between two groups of cells, at a stated error rate.

Two questions have two answers. *Do pairs of cells differ?* Draws of z from q say so.
*Do the groups differ?* q is not enough: it knows the error of z, which a mean over many
cells averages away, and not that of the decoder, which it does not. So the counts of
the group have the last word: each gene's share is the decoder's times a factor, whose
posterior is a Gamma.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.applications.folds import median, prior, surest
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed


class Expression(NamedTuple):
    """What two groups of cells say about every gene."""

    log2_fold: np.ndarray
    """Median log2 ratio of shares, first group over second, `[G]`."""
    probability: np.ndarray
    """That the ratio of pairs or groups is beyond `delta`, either way, `[G]`."""
    chosen: np.ndarray
    """The genes reported, `[G]` booleans."""
    expected_error: float
    """Mean probability that a reported gene is none: what the model states."""


def differential_expression(
    model,
    first,
    second,
    *,
    cells=None,
    delta: float = 0.5,
    error: float = 0.05,
    num_pairs=2_000,
    seed,
) -> Expression:
    """Genes whose share differs by more than `delta` doublings, at a stated error rate.

    With `cells` the question is about the groups. The share of a gene is the decoder's
    mean over the group, times a factor that the group's counts decide; how common folds
    of each size are is learned from all genes. Without, it is about pairs of cells, one
    of each group: probabilities of pairs are near one half for many genes whose groups
    differ for certain, and no error rate of statements about groups.

    All are read in all batches, and shares averaged, so that a batch makes no
    difference. Genes are reported from the surest down, as long as the mean probability
    that a reported one is none stays below `error`.

    Args:
        model: a `CellModel`.
        first: q(z | x) of the first group, `encoder(data)`.
        second: of the second.
        cells: the data of both groups, a pair, of which `first` and `second` are the q.
        delta: in log2 units, positive.
        error: the rate that the report states, between 0 and 1.
        num_pairs: of cells, or draws of both groups.
        seed: int, pair of ints or integer tensor; stateless.

    Raises:
        ValueError: if the model has no shares, or `cells` are not those of the q, or
            given for likelihood "log_normal_counts", which has no closed mean.

    Source: pairs of cells: Boyeau et al. (2019); Lopez et al. (2018).
    """
    real("delta", delta), real("error", error, "(0, 1)"), whole("num_pairs", num_pairs)
    if not hasattr(model, "shares"):
        raise wrong(
            "the model of a count_vae",
            type(model).__name__,
            "It knows shares of genes.",
        )
    given, seeds = (first, second), split_seed(seed)
    if cells is None:
        pairs = zip(given, seeds, strict=True)
        logs = [np.log2(_shares(model, q, num_pairs, s)) for q, s in pairs]
        ratio = logs[0] - logs[1]
        weight = np.ones_like(ratio)
    else:
        groups = zip(given, _both(cells), seeds, strict=True)
        logs = [
            np.log2(_group(model, *each[:2], num_pairs, each[2])) for each in groups
        ]
        ratio = logs[0] - logs[1]
        weight = prior(ratio, min(0.1, delta / 5))
    p = np.average(np.abs(ratio) > delta, 0, weight)
    return Expression(median(ratio, weight), p, *surest(p, error))


def _both(cells):
    if not isinstance(cells, tuple | list) or len(cells) != 2:
        raise wrong(
            "cells of both groups, a pair", type(cells).__name__, "Pass (a, b)."
        )
    return cells


def _shares(model, q, num, seed):
    """Of single cells, read in every batch, `[num, G]`."""
    cells = q.batch_shape[0]
    z = q.sample(-(-num // cells), seed=seed)
    z = tf.gather(
        tf.reshape(z, [-1, z.shape[-1]]),
        _rng(seed).permutation(z.shape[0] * cells)[:num],
    )
    return _everywhere(model, z)


def _group(model, q, data, num, seed):
    """Draws of a group's mean shares, read in every batch, `[num, G]`."""
    data = dict(data) if isinstance(data, dict) else {"x": data}
    cells, kind = q.batch_shape[0], np.asarray(data.get("x")).dtype
    shape = np.shape(data.get("x"))
    if len(shape) != 2 or shape[0] != cells or kind != q.dtype.as_numpy_dtype:
        raise wrong(
            f"the {cells} cells of q, counts [{cells}, genes] of {q.dtype.name}",
            f"{shape} of {kind}",
            "q is encoder(cells), of the same cells.",
        )
    model.log_joint(data)  # checks them
    z = q.sample(seed=seed)
    at = model.likelihood_at(data, z).distribution
    try:
        genes = at.mean().shape[-1]
    except NotImplementedError:
        raise wrong(
            "a likelihood with a mean and a variance",
            type(at).__name__,
            "Leave cells out, or fit another likelihood.",
        ) from None
    if shape[1] != genes:
        raise wrong(f"the model's {genes} genes", f"{shape[1]} genes", "Pass all.")
    total, mean, variance = (
        np.sum(np.asarray(part, np.float64), 0)
        for part in (data["x"], at.mean(), at.variance())
    )
    # counts vary `excess` times as much as Poisson's, and are worth so much less:
    # factor ~ Gamma(1/2, 1/2), total / excess ~ Poisson(factor * mean / excess)
    excess = np.maximum(variance, 1e-12) / np.maximum(mean, 1e-12)
    shape, rate = total / excess + 0.5, mean / excess + 0.5
    factor = _rng(seed).gamma(shape, 1 / rate, (num, len(shape)))
    return np.maximum(_everywhere(model, z).mean(0) * factor, 1e-12)


def _everywhere(model, z):
    every = [model.shares(z, batch) for batch in range(model.num_batches)]
    return np.maximum(np.mean(every, 0), 1e-12)


def _rng(seed):
    return np.random.default_rng(as_seed(seed).numpy().view(np.uint32).tolist())
