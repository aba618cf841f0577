"""Trajectories of states and actions, and the bit that says they were optimal."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed

tfd = tfp.distributions


class Trajectories(tfd.Distribution):
    """s_1 from the start, a_t from the policy, s_{t+1} from the dynamics.

    A sample is whole numbers `[..., T, 2]`: the state and the action of each step.
    What cannot happen has logit minus infinity. The log-density is differentiable in
    all logits, the samples are not.

    Args:
        initial: logits of the first state, `[S]`.
        policy: logits of the action given step and state, `[T, S, A]`.
        transitions: logits of the next state, `[S, A, S]`, or `[T - 1, S, A, S]` if
            they change with time.
        name: of the distribution.

    Raises:
        ValueError: if the shapes do not fit together, or the dtypes differ.
    """

    def __init__(self, initial, policy, transitions, *, name="Trajectories"):
        parameters = {"initial": initial, "policy": policy, "transitions": transitions}
        tables = [tf.convert_to_tensor(t) for t in (initial, policy, transitions)]
        _check_tables(*tables)
        self._initial, self._policy, self._transitions = (
            tf.math.log_softmax(table) for table in tables
        )
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @property
    def initial(self):
        """Probabilities of the first state, `[S]`."""
        return tf.exp(self._initial)

    @property
    def policy(self):
        """Probabilities of the action given step and state, `[T, S, A]`."""
        return tf.exp(self._policy)

    @property
    def transitions(self):
        """Probabilities of the next state, `[S, A, S]` or `[T - 1, S, A, S]`."""
        return tf.exp(self._transitions)

    def _log_prob(self, z):
        _, states, actions = self._policy.shape
        if not z.dtype.is_integer:
            raise wrong("trajectories of whole numbers", z.dtype.name, "Cast them.")
        z = tf.cast(z, tf.int32)
        s, a, t = z[..., 0], z[..., 1], tf.range(self._policy.shape[0])
        cell = s * actions + a
        moves = self._row(cell[..., :-1], t[:-1]) * states + s[..., 1:]
        # log q = log q(s_1) + sum_t log q(a_t | s_t) + sum_t log q(s_{t+1} | s_t, a_t)
        chosen = _entries(self._policy, t * states * actions + cell)
        moved = _entries(self._transitions, moves)
        first = tf.gather(self._initial, s[..., 0])
        return first + tf.reduce_sum(chosen, -1) + tf.reduce_sum(moved, -1)

    def _sample_n(self, n, seed=None):
        steps, states, actions = self._policy.shape
        tables = (self._policy, self._transitions)
        choose, move = (_cumulative(table, table.shape[-1]) for table in tables)
        start = _cumulative(self._initial, states)
        seeds, dtype = split_seed(seed), self._policy.dtype
        u, v = (tf.random.stateless_uniform([steps, n], s, dtype=dtype) for s in seeds)

        path = []
        for t in range(steps):
            if t:
                before = self._row(path[-2] * actions + path[-1], t - 1)
                start = tf.gather(move, before)
            state = _invert(start, u[t])
            path += [state, _invert(tf.gather(choose, t * states + state), v[t])]
        return tf.reshape(tf.stack(path, -1), [n, steps, 2])

    def _row(self, cell, t):
        """The row of the transitions' table for state and action `cell` at step t."""
        if self._transitions.shape.rank == 3:
            return cell
        return t * self._policy.shape[1] * self._policy.shape[2] + cell

    def _batch_shape(self):
        return tf.TensorShape([])

    def _batch_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _event_shape(self):
        return tf.TensorShape([self._policy.shape[0], 2])

    def _event_shape_tensor(self):
        return tf.constant([self._policy.shape[0], 2])


class Optimality(tfd.Distribution):
    """One bit that says "all steps were optimal": 1 has log-probability `log_factor`.

    It is made to be observed. A factor above one is no probability; bounds are then
    off by a constant that no trajectory can change.

    Args:
        log_factor: the log-probability of 1, one number per trajectory, nats.
    """

    def __init__(self, log_factor):
        self._log_factor = log_factor
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"log_factor": log_factor},
        )

    def _log_prob(self, x):
        return self._log_factor + tf.zeros_like(x, self._log_factor.dtype)

    def _sample_n(self, n, seed=None):
        raise wrong(
            "optimality to be observed",
            "a request to draw it",
            "Draw trajectories by model.prior.sample, and keep each with its factor.",
        )

    def _batch_shape(self):
        return self._log_factor.shape

    def _batch_shape_tensor(self):
        return tf.shape(self._log_factor)

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)


def _entries(table, index):
    return tf.gather(tf.reshape(table, [-1]), index)


def _cumulative(logits, size):
    """Rows of cumulative probabilities that end at exactly one, `[rows, size]`."""
    total = tf.cumsum(tf.reshape(tf.exp(logits), [-1, size]), axis=-1)
    return total / total[:, -1:]


def _invert(cumulative, u):
    """The first outcome whose cumulative probability exceeds u, never one of mass 0."""
    passed = cumulative <= u[:, tf.newaxis]
    return tf.reduce_sum(tf.cast(passed, tf.int32), -1)


def _check_tables(*tables):
    initial, policy, transitions = (table.shape.as_list() for table in tables)
    steps, states, actions = policy if len(policy) == 3 else (0, 0, 0)
    moves = [states, actions, states]
    fits = transitions in (moves, [steps - 1, *moves]) and initial == [states]
    if not steps or not fits:
        raise wrong(
            "logits [S], [T, S, A] and [S, A, S] (or [T - 1, S, A, S]) of the start, "
            "the policy and the dynamics",
            f"{initial}, {policy} and {transitions}",
            "Give one row per state; T is the number of actions.",
        )
    names = [table.dtype.name for table in tables]
    if len(set(names)) > 1:
        names = ", ".join(names)
        raise wrong("logits of one dtype", names, "Precision is never cast silently.")
