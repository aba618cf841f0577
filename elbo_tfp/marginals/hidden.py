"""The distribution of a series whose hidden path of states is summed out."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.latents import moved
from elbo_tfp.marginals.shapes import ShapedLike

tfd = tfp.distributions


class HiddenSeries(ShapedLike):
    """x_1 ... x_T, seen through a Markov chain of K states k_1 ... k_T.

    `tfd.HiddenMarkovModel` says the same, but folds over steps whose number XLA does
    not know, so that its gradient does not compile; this one's does.

    Args:
        start: log p(k_1), `[S, B, K]`; -inf where a state cannot be.
        moves: log p(k_t+1 | k_t), `[T - 1, S, B, K, K]`, likewise.
        emitted: p(x_t | k_t), batch shape `[K, S, B, T]`.
        steps: T.
        states: the dtype of the states.
    """

    def __init__(self, start, moves, emitted, steps, states):
        super().__init__(emitted, {"start": start, "moves": moves, "emitted": emitted})
        self.start, self.moves, self.states = start, moves, states
        self._emitted, self._steps = emitted, steps

    def log_emitted(self, x):
        """log p(x_t | k_t), `[T, ..., S, B, K]`."""
        rank = self.start.shape.rank + 1
        extra = x.shape.rank - self._emitted.event_shape.rank - rank + 1
        x = tf.expand_dims(x, extra) if extra > 0 else x
        log_p = self._emitted.log_prob(x)
        more = max(log_p.shape.rank - rank, 0)
        shape = tf.concat([tf.shape(log_p)[:more], self._by_state()], 0)
        # known shapes stay known, or XLA could not differentiate a scan over them
        *lead, count = self.start.shape
        static = [*log_p.shape[:more], count, *lead, self._steps]
        log_p = tf.ensure_shape(tf.broadcast_to(log_p, shape), static)
        return moved(moved(log_p, -rank, -1), -2, 0)

    def messages(self, x):
        """log p(x_t ... x_T | k_t), `[T, ..., S, B, K]`, from the end."""
        return _later(self.moves, self.log_emitted(x))

    def before(self, x):
        """log p(k_t, x_1 ... x_t-1), `[T, ..., S, B, K]`, from the start."""
        return _earlier(self.start, self.moves, self.log_emitted(x))

    def _log_prob(self, x):
        emitted = self.log_emitted(x)
        start, moves = self.start + tf.zeros_like(emitted[0]), self.moves
        for _ in range(emitted.shape.rank - 1 - self.start.shape.rank):
            moves = tf.expand_dims(moves, 1)
        moves += tf.zeros_like(emitted[1:, ..., tf.newaxis])
        return log_sum_of_paths(start, moves, emitted)

    def _sample_n(self, n, seed=None):
        path_seed, x_seed = split_seed(seed)
        tilt = tf.zeros([self._steps], self.start.dtype)
        path = draw_path(self.start, self.moves, tilt, [n], path_seed, self.states)
        x = self._emitted.sample(n, seed=x_seed)
        events = self._emitted.event_shape_tensor()
        x = tf.broadcast_to(x, tf.concat([[n], self._by_state(), events], 0))
        return picked(x, path)

    def _mean(self):
        shape = tf.concat([[self._steps], tf.shape(self.start)], 0)
        nothing = tf.zeros(shape, self.start.dtype)
        # p(k_t), [K, S, B, T]
        chances = moved(
            moved(tf.exp(_earlier(self.start, self.moves, nothing)), 0, -2), -1, 0
        )
        shape = tf.concat([tf.shape(chances), [1] * self._emitted.event_shape.rank], 0)
        return tf.reduce_sum(tf.reshape(chances, shape) * self._emitted.mean(), 0)

    def _by_state(self):
        """The shape `[K, S, B, T]`."""
        *lead, count = tf.unstack(tf.shape(self.start))
        return tf.stack([count, *lead, self._steps])

    def _batch_shape(self):
        return self.start.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self.start)[:-1]

    def _event_shape(self):
        return tf.TensorShape([self._steps]) + self._emitted.event_shape

    def _event_shape_tensor(self):
        return tf.concat([[self._steps], self._emitted.event_shape_tensor()], 0)


@tf.custom_gradient
def log_sum_of_paths(start, moves, emitted):
    """log sum over paths of p(k) p(x | k), `[..., S, B]`, nats.

    Its gradient is what the data say of states and moves. Written down it takes two
    scans; derived, it would be a loop that XLA refuses to compile inside another. Data
    that no path can give have -inf, and a gradient of 0.

    Args:
        start: log p(k_1), `[..., S, B, K]`.
        moves: log p(k_t+1 | k_t), `[T - 1, ..., S, B, K, K]`.
        emitted: log p(x_t | k_t), `[T, ..., S, B, K]`.
    """
    later = _later(moves, emitted)
    # log p(x) = log sum_k p(k_1) p(x_1 ... x_T | k_1)
    total = _log_sum(start + later[0], -1)

    def gradient(upstream):
        earlier = _earlier(start, moves, emitted)
        known = tf.where(_never(total), tf.zeros_like(total), total)
        each = later - known[..., tf.newaxis]
        # p(k_t | x), and p(k_t, k_t+1 | x)
        states = tf.exp(earlier + each) * upstream[..., tf.newaxis]
        pairs = (earlier + emitted)[:-1, ..., tf.newaxis] + moves
        pairs = tf.exp(pairs + each[1:, ..., tf.newaxis, :])
        return states[0], pairs * upstream[..., tf.newaxis, tf.newaxis], states

    return total, gradient


def _later(moves, emitted):
    def step(later, now):
        # m_t(i) = p(x_t | i) sum_j P(i, j) m_t+1(j)
        move, log_p = now
        return log_p + _log_sum(move + later[..., tf.newaxis, :], -1)

    earlier = tf.scan(step, (moves, emitted[:-1]), emitted[-1], reverse=True)
    return tf.concat([earlier, emitted[-1:]], 0)


def _earlier(start, moves, emitted):
    def step(earlier, now):
        # b_t+1(j) = sum_i b_t(i) p(x_t | i) P(i, j)
        move, log_p = now
        return _log_sum((earlier + log_p)[..., tf.newaxis] + move, -2)

    first = start + tf.zeros_like(emitted[0])
    later = tf.scan(step, (moves, emitted[:-1]), first)
    return tf.concat([first[tf.newaxis], later], 0)


def _log_sum(log_p, axis):
    """log sum p along an axis; -inf, with a gradient of 0, where every p is 0."""
    never = tf.reduce_all(_never(log_p), axis, keepdims=True)
    total = tf.reduce_logsumexp(tf.where(never, tf.zeros_like(log_p), log_p), axis)
    return tf.where(tf.squeeze(never, axis), tf.cast(-math.inf, log_p.dtype), total)


def _never(log_p):
    return log_p == -math.inf


def draw_path(start, moves, tilt, extra, seed, dtype):
    """Paths of a chain whose moves into k_t have the log-weights tilt_t(k_t) besides.

    Args:
        start: as in `HiddenSeries`.
        moves: as in `HiddenSeries`.
        tilt: `[T, S, B, K]`.
        extra: the leading shape of the draws.
        seed: stateless.
        dtype: of the states.

    Returns:
        `extra + [S, B, T]`.
    """
    shape = tf.concat([tf.shape(tilt)[:1], extra, tf.shape(start)], 0)
    seed = split_seed(seed, 1)[0]
    noise = tfd.Gumbel(tf.zeros([], start.dtype), 1).sample(shape, seed=seed)

    def largest(log_weights):
        # the largest of log-weights plus Gumbel noise is a draw
        return tf.cast(tf.argmax(log_weights, -1, tf.int32), dtype)

    def step(now, after):
        move, weights, noise_t = after
        here = tf.one_hot(tf.cast(now, tf.int32), start.shape[-1], True, False)
        # the row of the state; as a product it would have 0 times -inf, which is NaN
        move = tf.reduce_sum(tf.where(here[..., tf.newaxis], move, 0), -2)
        return largest(move + weights + noise_t)

    first = largest(start + tilt[0] + noise[0])
    later = tf.scan(step, (moves, tilt[1:], noise[1:]), first)
    return moved(tf.concat([first[tf.newaxis], later], 0), 0, -1)


def picked(x, state):
    """Of every state's x, `[n, M, ...]` + event, the drawn one, `[n, ...]` + event."""
    rank = state.shape.rank
    return tf.gather(moved(x, 1, rank), state, axis=rank, batch_dims=rank)
