"""One step of a walk: Hamiltonian Monte Carlo between q and log p(x, z)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Steps(NamedTuple):
    """Frozen tuning of the Hamiltonian transitions."""

    size: tf.Tensor
    """Step size per temperature and datum, `[T, B]`."""
    scale: tf.Tensor
    """Scale per temperature, datum and dimension, `[T, B, d]`."""


class Point(NamedTuple):
    """Where a walk stands, and both log-densities with their gradients there."""

    u: tf.Tensor
    """Unconstrained coordinates, `[S, B, d]`."""
    log_start: tf.Tensor
    """log q, `[S, B]`, nats."""
    log_end: tf.Tensor
    """log p(x, z), `[S, B]`, nats."""
    slope_start: tf.Tensor
    """Gradient of `log_start`, `[S, B, d]`."""
    slope_end: tf.Tensor
    """Gradient of `log_end`, `[S, B, d]`."""

    def log_density(self, beta):
        """The annealed log-density, nats."""
        # log f_beta = (1 - beta) log q(z) + beta log p(x, z), unless one is -inf
        return self.log_start + beta * (self.log_end - self.log_start)

    def slope(self, beta):
        """Its gradient."""
        return self.slope_start + beta * (self.slope_end - self.slope_start)


def point_at(u, problem, space) -> Point:
    """Both log-densities of a problem at u, with their gradients."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(u)
        z, log_dz = space.to_z(u)
        log_start = problem.start.log_prob(z) + log_dz
        log_end = problem.log_joint(z) + log_dz
    slopes = [tape.gradient(v, u) for v in (log_start, log_end)]
    slopes = [tf.zeros_like(u) if s is None else s for s in slopes]
    return Point(u, log_start, log_end, *slopes)


def transition(at, point, beta, tuned, num_leapfrog_steps, seed):
    """A step that leaves f_beta invariant.

    Args:
        at: a function from u to a `Point`.
        point: where the walk stands.
        beta: the inverse temperature.
        tuned: the `Steps` of this temperature, `[B]` and `[B, d]`.
        num_leapfrog_steps: an int.
        seed: stateless.

    Returns:
        The new `Point`, and the mean acceptance, `[B]`.
    """
    momentum_seed, step_seed, accept_seed = tf.unstack(tf.random.split(seed, 3))
    shape, dtype = tf.shape(point.u), point.u.dtype
    momentum = tf.random.stateless_normal(shape, momentum_seed, dtype=dtype)
    spread = tf.random.stateless_uniform([], step_seed, 0.8, 1.2, dtype=dtype)
    step = (spread * tuned.size)[..., tf.newaxis] * tuned.scale

    def leap(i, new, momentum):
        momentum += 0.5 * step * new.slope(beta)
        new = at(new.u + step * momentum)
        return i + 1, new, momentum + 0.5 * step * new.slope(beta)

    _, new, end = tf.while_loop(
        lambda i, *_: i < num_leapfrog_steps, leap, (tf.constant(0), point, momentum)
    )
    # accept with probability min(1, f(u') N(v') / f(u) N(v))
    energy = 0.5 * tf.reduce_sum(tf.square(end) - tf.square(momentum), -1)
    log_ratio = new.log_density(beta) - point.log_density(beta) - energy
    never = tf.constant(-np.inf, dtype)
    log_ratio = tf.where(tf.math.is_nan(log_ratio), never, log_ratio)
    draw = tf.random.stateless_uniform(tf.shape(log_ratio), accept_seed, dtype=dtype)
    moved = tf.math.log(draw) < log_ratio
    rows = moved[..., tf.newaxis]
    chosen = (
        tf.where(rows if n.shape.rank > moved.shape.rank else moved, n, o)
        for n, o in zip(new, point, strict=True)
    )
    return Point(*chosen), tf.reduce_mean(tf.minimum(tf.exp(log_ratio), 1.0), 0)
