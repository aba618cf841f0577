"""Annealed importance sampling: walks between a start and the posterior."""

from __future__ import annotations

import copy

import numpy as np
import tensorflow as tf

from elbo_tfp.evidence.coordinates import coordinates
from elbo_tfp.evidence.hamiltonian import Steps, point_at, transition
from elbo_tfp.evidence.stream import log_mean
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import as_seed, split_seed

_PILOT_WALKS = 16
_WANTED, _GAIN = 0.75, 0.5


class Walks:
    """Walks along (1 - beta) log q + beta log p(x, z), in unconstrained coordinates.

    Args:
        problem: a `Problem`; its `start` is q.
        num_temperatures: T.
        num_leapfrog_steps: of each transition.
        jit_compile: whether to compile with XLA.
    """

    def __init__(self, problem, num_temperatures, num_leapfrog_steps, jit_compile):
        self.problem, self._space = problem, coordinates(problem.space)
        self._leapfrogs, self._jit = num_leapfrog_steps, jit_compile
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
        arguments = as_seed(seed), self.problem.data
        run = compiled(
            lambda seed, data: self._on(data)._tuned(seed),
            *arguments,
            jit_compile=self._jit,
        )
        return run(*arguments)

    def run(self, steps, sample_size, chunk_size, seed, posterior_sample=None):
        """The mean weight of walks from q, or back to q from the posterior.

        Returns:
            A `Mean`: of p(x) on the way down, of 1 / p(x) on the way back.

        Raises:
            ValueError: if hardly any proposal is accepted for some datum.
        """
        back = posterior_sample is not None
        begin = (self._exact(posterior_sample),) if back else ()

        def walk(seed, size, data, steps, *begin):
            return self._on(data)._walk(steps, size, seed, *begin)

        mean, rate = log_mean(
            walk,
            tf.TensorSpec(self.problem.batch, self._space.dtype),
            sample_size,
            chunk_size,
            seed,
            self._jit,
            arguments=(self.problem.data, steps, *begin),
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

    def _on(self, data):
        """The same walks with data that are arguments of a program."""
        walks = copy.copy(self)
        walks.problem = self.problem.on(data)
        return walks

    def _tuned(self, seed) -> Steps:
        beta = tf.constant(self._beta, self._space.dtype)
        count, shape = len(self._beta) - 1, [*self.problem.batch, self._space.size]
        start_seed, seed = split_seed(seed)
        point = self._at(self._drawn(_PILOT_WALKS, start_seed))
        step = tf.fill(shape[:-1], tf.cast(0.5 * shape[-1] ** -0.25, beta.dtype))
        sizes = tf.zeros([count, *shape[:-1]], beta.dtype)
        scales = tf.ones([count, *shape], beta.dtype)

        def body(t, point, step, scale, sizes, scales):
            key, tuned = tf.random.fold_in(seed, t), Steps(step, scale)
            point, rate = self._transition(point, beta[t], tuned, key)
            step *= tf.exp(_GAIN * (rate - _WANTED))
            scale = 0.7 * scale + 0.3 * _spread(point.u)
            sizes = tf.tensor_scatter_nd_update(sizes, [[t]], step[tf.newaxis])
            scales = tf.tensor_scatter_nd_update(scales, [[t]], scale[tf.newaxis])
            return t + 1, point, step, scale, sizes, scales

        state = (tf.constant(0), point, step, _spread(point.u), sizes, scales)
        *_, sizes, scales = tf.while_loop(lambda t, *_: t < count, body, state)
        return Steps(sizes, scales)

    def _walk(self, steps, size, seed, begin=None):
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
        return transition(self._at, point, beta, tuned, self._leapfrogs, seed)

    def _at(self, u):
        return point_at(u, self.problem, self._space)

    def _drawn(self, size, seed):
        u = self._space.to_u(self.problem.start.sample(size, seed=seed))
        return tf.ensure_shape(u, [size, *self.problem.batch, self._space.size])

    def _exact(self, posterior_sample):
        u = self._space.to_u(posterior_sample)
        shape = [*self.problem.batch, self._space.size]
        if not u.shape.is_compatible_with(shape):
            raise wrong(
                "posterior_sample to be one draw per datum, batch shape "
                f"{self.problem.batch}",
                f"coordinates of shape {u.shape}, not {shape}",
            )
        return u


def _spread(u):
    return tf.math.reduce_std(u, 0) + tf.cast(1e-6, u.dtype)
