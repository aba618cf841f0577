"""Sums and profiles of an integrand on a grid per datum, a slab at a time."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.compiled import compiled


class Grid:
    """Points u = c + s sinh(t) per dimension, and the integrand at them.

    Args:
        problem: a `Problem`.
        space: its `Coordinates`, of 1 to 3 dimensions.
        jit_compile: whether to compile with XLA.
    """

    def __init__(self, problem, space, jit_compile):
        self._problem, self._space, self._jit = problem, space, jit_compile
        self._size, self._runs = space.size, {}

    def sums(self, points, *place):
        """log of the sum, of the sum over every other point, and profiles.

        Args:
            points: per dimension.
            *place: centre, scale and both ends of t, each `[B, d]`.

        Returns:
            `[B]`, `[B]` and `[d, n, B]`, NumPy: a dimension's profile is the
            integrand's maximum over the other dimensions, log.
        """
        data = self._problem.data
        place = [tf.constant(v, self._space.dtype) for v in place]
        if points not in self._runs:  # nothing can change while one evidence is found
            program = self._scan(points)
            self._runs[points] = compiled(program, data, *place, jit_compile=self._jit)
        return [tensor.numpy() for tensor in self._runs[points](data, *place)]

    def _scan(self, points):
        inner = max(1, self._size - 1)
        outer = points if self._size > 1 else 1
        mesh = _mesh(np.linspace(0, 1, points), inner).reshape(-1, inner)
        even = _mesh(np.arange(points) % 2 == 0, inner).all(-1).reshape(-1)
        batch, dtype = self._problem.batch, self._space.dtype
        lowest = tf.constant(-np.inf, dtype)

        def scan(data, centre, scale, low, high):
            problem = self._problem.on(data)
            none = tf.fill(batch, lowest)
            profiles = tf.fill([inner, points, *batch], lowest)
            first = tf.fill([outer, *batch], lowest)

            def body(number, total, half, first, profiles):
                rows = self._rows(mesh, number, points)
                value = self._integrand(problem, rows, centre, scale, low, high)
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

    def _rows(self, mesh, number, points):
        """The points of slab `number` in the unit cube, `[n, 1, ..., d]`."""
        rows = tf.constant(mesh, self._space.dtype)
        if self._size > 1:
            tick = tf.cast(number, rows.dtype) / (points - 1)
            rows = tf.concat([tf.fill([len(mesh), 1], tick), rows], 1)
        ones = [1] * len(self._problem.batch)
        return tf.reshape(rows, [len(mesh), *ones, self._size])

    def _integrand(self, problem, rows, centre, scale, low, high):
        t = low + (high - low) * rows
        # u = c + s sinh(t), du = s cosh(t) dt
        u = centre + scale * tf.sinh(t)
        log_du = tf.reduce_sum(tf.math.log(scale * tf.cosh(t)), -1)
        z, log_dz = self._space.to_z(u)
        value = problem.log_joint(z) + log_dz + log_du
        lowest = tf.constant(-np.inf, value.dtype)
        return tf.where(tf.math.is_nan(value), lowest, value)


def _mesh(ticks, size):
    return np.stack(np.meshgrid(*[ticks] * size, indexing="ij"), -1)


def _logaddexp(a, b):
    return tf.reduce_logsumexp(tf.stack([a, b]), 0)
