"""The evidence as a sum over a grid that follows each datum's posterior."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.coordinates import coordinates
from elbo_tfp.evidence.grid import Grid
from elbo_tfp.ground.checks import whole, wrong

_POINTS = {1: 2_001, 2: 401, 3: 101}
_COARSE = {1: 401, 2: 81, 3: 41}
_REACH = 12.0
_NEAR, _ROUNDS = 5.0, 40


def integrate(problem, points=None, jit_compile=True):
    """log p(x), `[B]`, nats, by the trapezoidal rule in 1 to 3 dimensions.

    In each dimension u = c + s sinh(t): near the posterior's middle c the grid is
    fine, and with |t| up to 12 it reaches tails 80,000 scales away. c and s are found
    by zooming in on where the integrand is within 5 nats of its maximum.

    Args:
        problem: a `Problem`.
        points: per dimension.
        jit_compile: whether to compile with XLA.

    Raises:
        ValueError: if there are more than 3 dimensions, or the integrand is zero or
            not finite wherever one looks.
    """
    space = coordinates(problem.space)
    if space.size == 0:
        return problem.target.model.log_evidence(problem.data)
    if space.size not in _POINTS:
        raise wrong(
            "1 to 3 latent dimensions for quadrature",
            f"{space.size}: a grid of 100 points a side would have 10^{2 * space.size}",
            'Use "annealed", or integrate latents out first (elbo_tfp.marginals).',
        )
    points = _POINTS[space.size] if points is None else points
    points = whole("sample_size, the points per dimension,", points, 9)
    grid = Grid(problem, space, jit_compile)
    place = _place(grid, *_first_guess(problem, space), _COARSE[space.size])
    log_p, log_half, _ = grid.sums(points + 1 - points % 2, *place)
    moved = np.max(np.abs(log_p - log_half))
    if not moved < 0.05:
        warnings.warn(
            "quadrature has not converged: half as many points a side move it by up "
            f"to {moved:.2g} nats. Raise sample_size, the points per dimension.",
            stacklevel=4,
        )
    return tf.constant(log_p)


def _first_guess(problem, space):
    """The middle and half-width of the start's draws per dimension, `[B, d]`."""
    draw = problem.start.sample if problem.start else problem.space.sample_unpinned
    u = space.to_u(draw(512, seed=(0, 0))).numpy()
    u = np.broadcast_to(u, [512, *problem.batch, space.size])
    low, centre, high = np.quantile(u, [0.16, 0.5, 0.84], axis=0)
    dtype = space.dtype.as_numpy_dtype
    return centre.astype(dtype), np.maximum((high - low) / 2, 1e-3).astype(dtype)


def _place(grid, centre, scale, points):
    """Centre, scale and ends of t per datum and dimension, each `[B, d]`."""
    reach = np.full_like(centre, _REACH)
    for _ in range(_ROUNDS):
        profile = grid.sums(points, centre, scale, -reach, reach)[2]
        low, high = _ends(profile, _NEAR)
        ends = [centre + scale * np.sinh(t) for t in (low, high)]
        new, wide = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
        still = np.all(np.abs(new - centre) < 0.2 * scale)
        still &= np.all(np.abs(np.log(wide / scale)) < 0.2)
        centre, scale = new, wide
        if still:
            break
    profile = grid.sums(points, centre, scale, -reach, reach)[2]
    # beyond these ends the integrand is below rounding
    deep = -1.3 * np.log(np.finfo(profile.dtype).eps)
    low, high = _ends(profile, deep)
    step = 2 * _REACH / (points - 1)
    return centre, scale, low - step, high + step


def _ends(profile, depth):
    """Both t at which a profile is `depth` nats below its maximum, `[B, d]` each."""
    profile = np.moveaxis(profile, (0, 1), (-2, -1))  # [B, d, n]
    top = profile.max(-1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError(
            "expected log p(x, z) to be finite somewhere near the start; got -inf, "
            "inf or NaN everywhere for some datum. Pass a surrogate_posterior that "
            "overlaps the posterior, or check the data."
        )
    points = profile.shape[-1]
    t = np.linspace(-_REACH, _REACH, points)
    above = profile > top - depth
    first = above.argmax(-1)
    last = points - 1 - above[..., ::-1].argmax(-1)
    return (
        _crossing(profile, top - depth, t, first, -1),
        _crossing(profile, top - depth, t, last, 1),
    )


def _crossing(profile, level, t, index, way):
    beyond = np.clip(index + way, 0, len(t) - 1)
    here = np.take_along_axis(profile, index[..., None], -1)
    there = np.take_along_axis(profile, beyond[..., None], -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = ((here - level) / (here - there))[..., 0]
    share = np.where(np.isfinite(share) & (share > 0), np.minimum(share, 1), 0.5)
    return t[index] + share * (t[beyond] - t[index])
