"""The evidence as a sum over a grid that follows each datum's posterior."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.problem import coordinates

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
    space = coordinates(problem)
    if space.size == 0:
        return problem.target.model.log_evidence(problem.target.x)
    if space.size not in _POINTS:
        raise ValueError(
            f"expected 1 to 3 latent dimensions for quadrature; got {space.size}: a "
            f"grid of 100 points a side would have 10^{2 * space.size}. Use "
            '"annealed", or integrate latents out first (elbo_tfp.marginals).'
        )
    points = points or _POINTS[space.size]
    if points < 9:
        raise ValueError(f"expected at least 9 points per dimension; got {points}.")
    grid = _Grid(problem, space, jit_compile)
    place = grid.place()
    log_p, log_half, _ = grid.sums(points + 1 - points % 2, *place)
    moved = np.max(np.abs(log_p - log_half))
    if not moved < 0.05:
        warnings.warn(
            "quadrature has not converged: half as many points a side move it by up "
            f"to {moved:.2g} nats. Raise sample_size, the points per dimension.",
            stacklevel=3,
        )
    return tf.constant(log_p)


class _Grid:
    """Sums and profiles of the integrand on a grid per datum."""

    def __init__(self, problem, space, jit_compile):
        self._problem, self._space, self._jit = problem, space, jit_compile
        self._size, self._programs = space.size, {}

    def place(self):
        """Centre, scale and ends of t per datum and dimension, each `[B, d]`."""
        centre, scale = self._first_guess()
        reach = np.full_like(centre, _REACH)
        points = _COARSE[self._size]
        for _ in range(_ROUNDS):
            profile = self.sums(points, centre, scale, -reach, reach)[2]
            low, high = _ends(profile, _NEAR)
            ends = [centre + scale * np.sinh(t) for t in (low, high)]
            new, wide = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
            still = np.all(np.abs(new - centre) < 0.2 * scale)
            still &= np.all(np.abs(np.log(wide / scale)) < 0.2)
            centre, scale = new, wide
            if still:
                break
        profile = self.sums(points, centre, scale, -reach, reach)[2]
        # beyond these ends the integrand is below rounding
        deep = -1.3 * np.log(np.finfo(profile.dtype).eps)
        low, high = _ends(profile, deep)
        step = 2 * _REACH / (points - 1)
        return centre, scale, low - step, high + step

    def sums(self, points, centre, scale, low, high):
        """log of the sum, of the sum over every other point, and profiles `[d, n, B]`.

        The profile of a dimension is the integrand's maximum over the others.
        """
        if points not in self._programs:
            self._programs[points] = tf.function(
                self._scan(points), jit_compile=self._jit, autograph=False
            )
        place = [tf.constant(v, self._space.dtype) for v in (centre, scale, low, high)]
        found = self._programs[points](*place)
        return [tensor.numpy() for tensor in found]

    def _first_guess(self):
        source = self._problem.start
        draw = source.sample if source else self._problem.space.sample_unpinned
        u = self._space.to_u(draw(512, seed=(0, 0))).numpy()
        u = np.broadcast_to(u, [512, *self._problem.batch, self._size])
        low, centre, high = np.quantile(u, [0.16, 0.5, 0.84], axis=0)
        dtype = self._space.dtype.as_numpy_dtype
        return centre.astype(dtype), np.maximum((high - low) / 2, 1e-3).astype(dtype)

    def _scan(self, points):
        inner = max(1, self._size - 1)
        outer = points if self._size > 1 else 1
        ticks = np.linspace(0, 1, points)
        mesh = np.stack(np.meshgrid(*[ticks] * inner, indexing="ij"), -1)
        even = np.stack(np.meshgrid(*[np.arange(points) % 2 == 0] * inner), 0).all(0)
        mesh, even = mesh.reshape(-1, inner), even.reshape(-1)
        batch, dtype = self._problem.batch, self._space.dtype

        def slab(number, centre, scale, low, high):
            rows = tf.constant(mesh, dtype)
            if self._size > 1:
                tick = tf.cast(number, dtype) / (points - 1)
                rows = tf.concat([tf.fill([len(mesh), 1], tick), rows], 1)
            shape = [len(mesh), *[1] * len(batch), self._size]
            t = low + (high - low) * tf.reshape(rows, shape)
            # u = c + s sinh(t), du = s cosh(t) dt
            u = centre + scale * tf.sinh(t)
            log_du = tf.reduce_sum(tf.math.log(scale * tf.cosh(t)), -1)
            z, log_dz = self._space.to_z(u)
            value = self._problem.log_joint(z) + log_dz + log_du
            lowest = tf.constant(-np.inf, dtype)
            return tf.where(tf.math.is_nan(value), lowest, value)

        def scan(centre, scale, low, high):
            none = tf.fill(batch, tf.constant(-np.inf, dtype))
            profiles = tf.fill([inner, points, *batch], tf.constant(-np.inf, dtype))
            first = tf.fill([outer, *batch], tf.constant(-np.inf, dtype))

            def body(number, total, half, first, profiles):
                value = slab(number, centre, scale, low, high)
                total = _logaddexp(total, tf.reduce_logsumexp(value, 0))
                some = tf.reduce_logsumexp(tf.boolean_mask(value, even), 0)
                half = tf.where(number % 2 == 0, _logaddexp(half, some), half)
                cube = tf.reshape(value, [*[points] * inner, *batch])
                found = [
                    tf.reduce_max(cube, [a for a in range(inner) if a != axis])
                    for axis in range(inner)
                ]
                best = tf.reduce_max(value, 0)[tf.newaxis]
                first = tf.tensor_scatter_nd_update(first, [[number]], best)
                return number + 1, total, half, first, tf.maximum(profiles, found)

            _, total, half, first, profiles = tf.while_loop(
                lambda number, *_: number < outer,
                body,
                (tf.constant(0), none, none, first, profiles),
            )
            if self._size > 1:
                profiles = tf.concat([first[tf.newaxis], profiles], 0)
            log_cell = tf.reduce_sum(tf.math.log((high - low) / (points - 1)), -1)
            twice = self._size * np.log(2.0)
            return total + log_cell, half + log_cell + twice, profiles

        return scan


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


def _logaddexp(a, b):
    return tf.reduce_logsumexp(tf.stack([a, b]), 0)
