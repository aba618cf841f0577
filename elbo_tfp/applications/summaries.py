"""What a posterior says about each part of z, with the noise of saying so."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import as_seed, split_seed


class PartSummary(NamedTuple):
    """One part of z under q, elementwise, float64, in the part's own space."""

    mean: np.ndarray
    """E_q[z], of the part's shape."""
    stddev: np.ndarray
    """Standard deviation of z under q."""
    quantiles: np.ndarray
    """`[Q]` + the part's shape, in the order in which they were asked for."""
    mean_error: np.ndarray
    """Monte Carlo standard error of `mean`; means nothing if q has no variance."""
    stddev_error: np.ndarray
    """Of `stddev`, by the delta method."""
    quantile_errors: np.ndarray
    """Of `quantiles`, from order statistics."""


def posterior_summary(
    surrogate_posterior, *, sample_size=4_000, quantiles=(0.05, 0.5, 0.95), seed
):
    """Mean, standard deviation and quantiles of every part of z under q.

    Args:
        surrogate_posterior: q: a family, a TFP distribution or joint distribution, any
            object with `sample`, a pair (q of z, q of the global latent), or what
            `gaps.refine` returned.
        sample_size: number of draws S, at least 2.
        quantiles: levels between 0 and 1, at least one.
        seed: int, pair of ints or tensor.

    Returns:
        The structure of z, with a `PartSummary` for each of its tensors; for a pair, a
        pair of them. Numbers are in the support of z, not in coordinates of q.

    Raises:
        ValueError: if q cannot be sampled (an encoder must be called on x first), its
            samples are not finite, or a size or level is out of range.
    """
    q = getattr(surrogate_posterior, "surrogate_posterior", surrogate_posterior)
    if isinstance(q, (tuple, list)):
        options = {"sample_size": sample_size, "quantiles": quantiles}
        pairs = zip(q, split_seed(seed, len(q)), strict=True)
        return tuple(posterior_summary(one, seed=s, **options) for one, s in pairs)
    whole("sample_size", sample_size, 2)
    if np.ndim(quantiles) != 1 or not len(quantiles):
        raise wrong("quantiles to be a list of levels", repr(quantiles), "[0.5], say.")
    levels = [real("each of quantiles", level, "(0, 1)") for level in quantiles]
    if not hasattr(q, "sample"):
        raise wrong(
            "a surrogate posterior with `sample`",
            type(q).__name__,
            "Call an encoder on x first: posterior_summary(encoder(x)).",
        )
    # TFP's own samplers take an int for a stateful seed
    z = q.sample(sample_size, seed=as_seed(seed))
    return tf.nest.map_structure(lambda part: _part(part, levels), z)


def _part(samples, levels):
    z = np.asarray(samples, np.float64)
    bad = np.count_nonzero(~np.isfinite(z))
    if bad:
        raise wrong(
            "finite samples of q",
            f"{bad} of {z.size} that are not",
            "Look at q's parameters: it may have diverged.",
        )
    size, mean, stddev = len(z), z.mean(0), z.std(0, ddof=1)
    fourth = ((z - mean) ** 4).mean(0)
    # Var(s^2) = (m_4 - s^4) / S, and ds = d(s^2) / (2 s)
    spread = np.sqrt(np.maximum(fourth - stddev**4, 0) / size)
    stddev_error = spread / np.maximum(2 * stddev, np.finfo(float).tiny)
    found = [_quantile(z, level) for level in levels]
    values, errors = (np.stack([pair[i] for pair in found]) for i in (0, 1))
    mean_error = stddev / math.sqrt(size)
    return PartSummary(mean, stddev, values, mean_error, stddev_error, errors)


def _quantile(z, level):
    """A quantile, and half the distance between those one error of its rank away."""
    # the share of samples below has standard deviation sqrt(p (1 - p) / S)
    step = math.sqrt(level * (1 - level) / len(z))
    ends = max(level - step, 0.0), level, min(level + step, 1.0)
    below, value, above = np.quantile(z, ends, axis=0)
    return value, (above - below) / 2
