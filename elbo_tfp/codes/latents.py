"""Latents off and on the stack, each in a window around the mean of its q.

A stack coder gives every value of a table a share of at least 2^-24. On one table of
4,096 grid points for all latents, one z in 4,096 would come off from anywhere on the
grid, and its pixels would cost hundreds of bits. So a window is only as wide as the
scale asks for, and latents of like scale are coded together.
"""

from __future__ import annotations

import functools

import numpy as np

_DEVIATIONS = 6  # at least; up to 12, since windows grow by powers of two


class OutOfWindow(Exception):
    """A z that no sender could have taken from this q."""


def groups(scale: np.ndarray, grid: int) -> list[tuple[int, np.ndarray]]:
    """(half-width of the window, indices) of latents of like scale, finest first."""
    # scale = m 2^e with 1/2 <= m < 1, exactly
    exponents = np.maximum(np.frexp(scale)[1], 0)
    return [
        (min(_DEVIATIONS * 2 ** int(e), grid // 2 - 1), np.flatnonzero(exponents == e))
        for e in np.unique(exponents)
    ]


def pop(coder, mean: np.ndarray, scale: np.ndarray, grid: int) -> np.ndarray:
    """Takes z `[n]` off the stack with q: -log2 q bits come back."""
    z = np.empty(len(mean), np.int32)
    for half, rows in groups(scale, grid):
        centre = _centre(mean[rows], half, grid)
        model = _gaussian(half)
        z[rows] = centre + coder.decode(model, mean[rows] - centre, scale[rows])
    return z


def push(coder, z: np.ndarray, mean: np.ndarray, scale: np.ndarray, grid: int) -> None:
    """Puts back what `pop` took.

    Raises:
        OutOfWindow: if `pop` could not have given this z.
    """
    for half, rows in reversed(groups(scale, grid)):
        centre = _centre(mean[rows], half, grid)
        offset = z[rows] - centre
        if np.any(np.abs(offset) > half):
            raise OutOfWindow
        model = _gaussian(half)
        coder.encode_reverse(offset, model, mean[rows] - centre, scale[rows])


def _centre(mean, half, grid) -> np.ndarray:
    """The grid point nearest to the mean whose window lies on the grid."""
    low, high = -(grid // 2) + half, grid // 2 - 1 - half
    return np.clip(np.round(mean), low, max(low, high)).astype(np.int32)


@functools.lru_cache
def _gaussian(half: int):
    import constriction

    return constriction.stream.model.QuantizedGaussian(-half, half)
