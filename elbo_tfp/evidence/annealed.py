"""Annealed importance sampling: walks between a start and the posterior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.stream import log_mean
from elbo_tfp.ground.seeds import split_seed

_PILOT_WALKS = 16
_WANTED, _GAIN = 0.75, 0.5


class Steps(NamedTuple):
    """Frozen tuning of the Hamiltonian transitions."""

    size: tf.Tensor
    """Step size per temperature and datum, `[T, B]`."""
    scale: tf.Tensor
    """Scale per temperature, datum and dimension, `[T, B, d]`."""


class _Point(NamedTuple):
    u: tf.Tensor
    log_start: tf.Tensor
    log_end: tf.Tensor
    slope_start: tf.Tensor
    slope_end: tf.Tensor

    def log_density(self, beta):
        # log f_beta = (1 - beta) log q(z) + beta log p(x, z), unless one is -inf
        return self.log_start + beta * (self.log_end - self.log_start)

    def slope(self, beta):
        return self.slope_start + beta * (self.slope_end - self.slope_start)


class Walks:
    """Walks along (1 - beta) log q + beta log p(x, z), in unconstrained coordinates.

    Args:
        problem: a `Problem`; its `start` is q.
        space: its `Coordinates`.
        num_temperatures: T.
        num_leapfrog_steps: of each transition.
        jit_compile: whether to compile with XLA.
    """

    def __init__(self, problem, space, num_temperatures, num_leapfrog_steps, jit):
        if num_temperatures < 2 or num_leapfrog_steps < 1:
            raise ValueError(
                "expected num_temperatures >= 2 and num_leapfrog_steps >= 1; got "
                f"{num_temperatures} and {num_leapfrog_steps}."
            )
        self.problem, self._space, self._jit = problem, space, jit
        self._leapfrogs = num_leapfrog_steps
        # beta_t on a sigmoid from 0 to 1, dense at both ends
        ramp = np.tanh(np.linspace(-2, 2, num_temperatures + 1))
        self._beta = (ramp - ramp[0]) / (ramp[-1] - ramp[0])

    def fixed(self, step_size) -> Steps:
        """The same step size at all temperatures."""
        shape = [len(self._beta) - 1, *self.problem.batch]
        size = tf.fill(shape, tf.cast(step_size, self._space.dtype))
        return Steps(size, tf.ones([*shape, self._space.size], self._space.dtype))

    def pilot(self, seed) -> Steps:
        """Step sizes whose acceptance was near 0.75 in a run of its own."""
        beta = tf.constant(self._beta, self._space.dtype)
        count = len(self._beta) - 1
        batch, size = self.problem.batch, self._space.size

        @tf.function(jit_compile=self._jit, autograph=False)
        def run(seed):
            start_seed, seed = split_seed(seed)
            point = self._at(self._drawn(_PILOT_WALKS, start_seed))
            scale = self._spread(point.u)
            step = tf.fill(batch, tf.cast(0.5 * size**-0.25, beta.dtype))
            sizes = tf.zeros([count, *batch], beta.dtype)
            scales = tf.ones([count, *batch, size], beta.dtype)

            def body(t, point, step, scale, sizes, scales):
                key = tf.random.fold_in(seed, t)
                tuned = Steps(step, scale)
                point, rate = self._transition(point, beta[t], tuned, key)
                step *= tf.exp(_GAIN * (rate - _WANTED))
                scale = 0.7 * scale + 0.3 * self._spread(point.u)
                sizes = tf.tensor_scatter_nd_update(sizes, [[t]], step[tf.newaxis])
                scales = tf.tensor_scatter_nd_update(scales, [[t]], scale[tf.newaxis])
                return t + 1, point, step, scale, sizes, scales

            state = (tf.constant(0), point, step, scale, sizes, scales)
            *_, sizes, scales = tf.while_loop(lambda t, *_: t < count, body, state)
            return Steps(sizes, scales)

        return run(seed)

    def run(self, steps, sample_size, chunk_size, seed, posterior_sample=None):
        """The mean weight of walks from q, or back to q from the posterior.

        Returns:
            A `Mean`: of p(x) on the way down, of 1 / p(x) on the way back.

        Raises:
            ValueError: if hardly any proposal is accepted for some datum.
        """
        begin = None if posterior_sample is None else self._exact(posterior_sample)
        mean, rate = log_mean(
            lambda seed, size: self._walk(steps, size, seed, begin),
            sample_size,
            chunk_size,
            seed,
            self._jit,
        )
        rate = rate.numpy()
        if np.any(rate < 0.01):
            raise ValueError(
                "annealed importance sampling rejected all its proposals for "
                f"{np.sum(rate < 0.01)} of {rate.size} data (acceptance "
                f"{rate.min():.2g}): walks that never move are plain importance "
                "sampling. Check that log p(x, z) and its gradient are finite, or pass "
                "a smaller step_size."
            )
        return mean

    def _walk(self, steps, size, seed, begin):
        """Log-weights `[size, B]` and the acceptance rate `[B]`."""
        beta = tf.constant(self._beta, self._space.dtype)
        last = len(self._beta) - 1
        start_seed, seed = split_seed(seed)
        if begin is None:
            u, order = self._drawn(size, start_seed), tf.range(1, last + 1)
        else:
            u = tf.broadcast_to(begin, [size, *begin.shape])
            order = tf.range(last - 1, -1, -1)
        came_from = -1 if begin is None else 1

        def body(i, log_weight, rate, point):
            t = tf.gather(order, i)
            # log w += (beta_t - beta_{t -+ 1}) (log p(x, z) - log q(z))
            gain = tf.gather(beta, t) - tf.gather(beta, t + came_from)
            log_weight += gain * (point.log_end - point.log_start)
            tuned = Steps(*(tf.gather(s, tf.minimum(t, last - 1)) for s in steps))
            key = tf.random.fold_in(seed, i)
            point, accepted = self._transition(point, tf.gather(beta, t), tuned, key)
            return i + 1, log_weight, rate + accepted, point

        point = self._at(u)
        zero = tf.zeros_like(point.log_end)
        rate = tf.zeros(zero.shape[1:], zero.dtype)
        # the transition after the last weight would change nothing: it is left out
        _, log_weight, rate, point = tf.while_loop(
            lambda i, *_: i < last - 1, body, (tf.constant(0), zero, rate, point)
        )
        gain = beta[last] - beta[last - 1] if begin is None else beta[0] - beta[1]
        log_weight += gain * (point.log_end - point.log_start)
        return log_weight, rate / (last - 1)

    def _transition(self, point, beta, tuned, seed):
        """One Hamiltonian step that leaves f_beta invariant, and its acceptance."""
        momentum_seed, step_seed, accept_seed = tf.unstack(tf.random.split(seed, 3))
        shape, dtype = tf.shape(point.u), point.u.dtype
        momentum = tf.random.stateless_normal(shape, momentum_seed, dtype=dtype)
        spread = tf.random.stateless_uniform([], step_seed, 0.8, 1.2, dtype=dtype)
        step = (spread * tuned.size)[..., tf.newaxis] * tuned.scale

        def leap(i, new, momentum):
            momentum += 0.5 * step * new.slope(beta)
            new = self._at(new.u + step * momentum)
            return i + 1, new, momentum + 0.5 * step * new.slope(beta)

        _, new, end = tf.while_loop(
            lambda i, *_: i < self._leapfrogs, leap, (tf.constant(0), point, momentum)
        )
        # accept with probability min(1, f(u') N(v') / f(u) N(v))
        energy = 0.5 * tf.reduce_sum(tf.square(end) - tf.square(momentum), -1)
        log_ratio = new.log_density(beta) - point.log_density(beta) - energy
        never = tf.constant(-np.inf, dtype)
        log_ratio = tf.where(tf.math.is_nan(log_ratio), never, log_ratio)
        draw = tf.random.stateless_uniform(
            tf.shape(log_ratio), accept_seed, dtype=dtype
        )
        moved = tf.math.log(draw) < log_ratio
        point = _chosen(moved, new, point)
        return point, tf.reduce_mean(tf.minimum(tf.exp(log_ratio), 1.0), 0)

    def _at(self, u):
        """Both log-densities at u, with their gradients."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(u)
            z, log_dz = self._space.to_z(u)
            log_start = self.problem.start.log_prob(z) + log_dz
            log_end = self.problem.log_joint(z) + log_dz
        slopes = [tape.gradient(v, u) for v in (log_start, log_end)]
        slopes = [tf.zeros_like(u) if s is None else s for s in slopes]
        return _Point(u, log_start, log_end, *slopes)

    def _drawn(self, size, seed):
        u = self._space.to_u(self.problem.start.sample(size, seed=seed))
        return tf.ensure_shape(u, [size, *self.problem.batch, self._space.size])

    def _exact(self, posterior_sample):
        u = self._space.to_u(posterior_sample)
        shape = [*self.problem.batch, self._space.size]
        if not u.shape.is_compatible_with(shape):
            raise ValueError(
                "expected posterior_sample to be one draw per datum, batch shape "
                f"{self.problem.batch}; got coordinates of shape {u.shape}, not "
                f"{shape}."
            )
        return u

    def _spread(self, u):
        return tf.math.reduce_std(u, 0) + tf.cast(1e-6, u.dtype)


def _chosen(moved, new, old):
    """`new` where `moved`, else `old`; gradients have one dimension more."""
    rows = moved[..., tf.newaxis]
    return _Point(
        *(
            tf.where(rows if n.shape.rank > moved.shape.rank else moved, n, o)
            for n, o in zip(new, old, strict=True)
        )
    )
