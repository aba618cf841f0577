"""Control as inference: a finite decision process as a latent-variable model.

The latent is a trajectory, drawn from the dynamics and a prior policy. What is observed
is one bit, "all steps were optimal", of probability exp(sum of rewards / temperature)
where rewards are at most zero. (Other rewards make it a factor: c more for each reward
adds c times the horizon to every value here, and changes no policy.) Values are in
units of reward: nats times the temperature. The class fills more than two pages, since
the true world and the optimist's are the same recursion, side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.distributions.trajectories import Optimality, Trajectories
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.models.latent import LatentVariableModel
from elbo_tfp.models.probabilities import probabilities, start_of, tables_of


class TrajectoryPosterior(NamedTuple):
    """p(trajectory | optimality): another policy, and other dynamics."""

    policy: tf.Tensor
    """p(a_t | s_t, optimality), `[T, S, A]`."""
    transitions: tf.Tensor
    """p(s_{t+1} | s_t, a_t, optimality), `[T - 1, S, A, S]`: the optimist's world."""
    initial: tf.Tensor
    """p(s_1 | optimality), `[S]`."""


class MarkovDecisionProcess:
    """S states, A actions, T decisions; rewards are the likelihood of optimality.

    Args:
        transitions: p(s' | s, a), `[S, A, S]`.
        rewards: r(s, a), `[S, A]`, finite.
        initial: p(s_1), `[S]`, or the number of the first state.
        horizon: T, the number of decisions, at least 1.
        prior_policy: p(a | s), `[S, A]` or `[T, S, A]`; None for equal chances. A zero
            forbids an action.
        temperature: alpha > 0, the price of one nat in units of reward.

    Raises:
        ValueError: if shapes or dtypes do not fit, probabilities are negative, not
            finite or do not sum to one, or rewards are not finite, or so large that
            their rounding reaches a thousandth of the temperature.

    Source: Todorov (2006); Kappen, Gomez and Opper (2012); Levine (2018), section 2.
    """

    def __init__(
        self,
        transitions,
        rewards,
        *,
        initial,
        horizon,
        prior_policy=None,
        temperature=1.0,
    ):
        self.horizon = whole("horizon", horizon, 1, "It is the number of decisions.")
        self.temperature = real("temperature", temperature)
        self.transitions, self.rewards = tables_of(transitions, rewards)
        self.initial = start_of(initial, self.transitions)
        if prior_policy is None:
            actions = self.rewards.shape[1]
            prior_policy = tf.ones_like(self.rewards) / actions
        self.prior_policy = self._by_step("prior_policy", prior_policy)
        _check_rounding(self.rewards, self.horizon, self.temperature)

    def soft_values(self) -> tf.Tensor:
        """V_t(s), `[T, S]`: the best that one can expect, less the price of the KL."""
        return self._backwards(self._expected)

    def soft_optimum(self) -> tf.Tensor:
        """The policy of the best ELBO under the true dynamics, `[T, S, A]`."""
        return self._greedy(self._expected)

    def optimistic_values(self) -> tf.Tensor:
        """W_t(s), `[T, S]`: log p(all is optimal from s_t = s on) times temperature."""
        return self._backwards(self._hoped)

    def posterior(self) -> TrajectoryPosterior:
        """The exact posterior given optimality."""
        values = self.optimistic_values()
        # p(s' | s, a, O) is proportional to p(s' | s, a) exp(W_{t+1}(s') / alpha)
        later = values[1:, tf.newaxis, tf.newaxis] / self.temperature
        transitions = tf.nn.softmax(tf.math.log(self.transitions) + later)
        first = tf.nn.softmax(self._log_start())
        return TrajectoryPosterior(self._greedy(self._hoped), transitions, first)

    def log_evidence(self) -> tf.Tensor:
        """log p(optimality) times temperature: alpha log E exp(sum r / alpha)."""
        return self.temperature * tf.reduce_logsumexp(self._log_start())

    def elbo(self, policy, transitions=None, initial=None) -> tf.Tensor:
        """E_q[sum r] - temperature KL(q || p), exact and differentiable; a scalar.

        Args:
            policy: q(a_t | s_t), `[T, S, A]` or `[S, A]`.
            transitions: q(s_{t+1} | s_t, a_t), `[T - 1, S, A, S]` or `[S, A, S]`; None
                for the true dynamics, the only ones that an agent can bring about.
            initial: q(s_1), `[S]`; None for the true start.

        Returns:
            The bound in units of reward; minus infinity where q does what p rules out.

        Raises:
            ValueError: if shapes do not fit, or rows are no probabilities.
        """
        first = self.values(policy, transitions)[0]
        start = self.initial if initial is None else start_of(initial, self.transitions)
        value = tf.reduce_sum(tf.math.multiply_no_nan(first, start))
        return value - self.temperature * _kl(start, self.initial)

    def values(self, policy, transitions=None, *, priced=True) -> tf.Tensor:
        """The ELBO from each step and state on, `[T, S]`.

        Args:
            policy: as in `elbo`.
            transitions: as in `elbo`.
            priced: False leaves the KL out: the plain expected sum of rewards.

        Raises:
            ValueError: as `elbo`.
        """
        q, moves, reward = self._by_step("policy", policy), None, self.rewards
        price = tf.constant(self.temperature * bool(priced), q.dtype)
        if transitions is not None:
            moves = self._moves_by_step(transitions)
            moved = _kl(moves, self.transitions)
            reward = reward - tf.math.multiply_no_nan(moved, price)
        gain = tf.reduce_sum(tf.math.multiply_no_nan(reward, q), -1)
        gain -= tf.math.multiply_no_nan(_kl(q, self.prior_policy), price)
        if moves is None:
            chain = tf.einsum("tsa,saj->tsj", q, self.transitions)
        else:
            chain = tf.einsum("tsa,tsaj->tsj", q, moves)

        value, values = tf.zeros_like(self.initial), []
        for t in reversed(range(self.horizon)):
            # V_t = E_q[r - alpha log(q / p)] + E_q[V_{t+1}]
            later = tf.math.multiply_no_nan(value, chain[t])
            value = gain[t] + tf.reduce_sum(later, -1)
            values.append(value)
        return tf.stack(values[::-1])

    def expected_return(self, policy) -> tf.Tensor:
        """E[sum of rewards] of a policy in the true world; nothing is paid for KL."""
        first = self.values(policy, priced=False)[0]
        return tf.reduce_sum(first * self.initial)

    def as_model(self) -> LatentVariableModel:
        """The model of a trajectory z, `[T, 2]`, and of its optimality, x = 1.

        For `draw`, `gradients` and `evidence`. Its bounds are in nats: those of this
        class divided by the temperature.
        """

        def log_evidence(x):
            return tf.fill(tf.shape(x), self.log_evidence() / self.temperature)

        return LatentVariableModel(
            self.trajectories(self.prior_policy),
            lambda z: Optimality(self._collected(z)),
            log_evidence=log_evidence,
            posterior=lambda x: self.trajectories(*self.posterior()),
            support=_only_optimality,
        )

    def trajectories(self, policy, transitions=None, initial=None) -> Trajectories:
        """The distribution of trajectories under probabilities as in `elbo`."""
        moves = self.transitions
        if transitions is not None:
            moves = self._moves_by_step(transitions)[:-1]
        start = self.initial if initial is None else start_of(initial, self.transitions)
        tables = start, self._by_step("policy", policy), moves
        return Trajectories(*(tf.math.log(table) for table in tables))

    def _collected(self, z):
        """sum_t r(s_t, a_t) / alpha of trajectories `[..., T, 2]`, nats."""
        z = tf.cast(z, tf.int32)
        cell = z[..., 0] * self.rewards.shape[1] + z[..., 1]
        rewards = tf.gather(tf.reshape(self.rewards, [-1]), cell)
        return tf.reduce_sum(rewards, -1) / self.temperature

    def _expected(self, later):
        # Q(s, a) = r + E[V(s')]
        return self.rewards + tf.einsum("saj,...j->...sa", self.transitions, later)

    def _hoped(self, later):
        # Q(s, a) = r + alpha log E exp(W(s') / alpha): as if the dynamics obeyed
        terms = later[..., tf.newaxis, tf.newaxis, :] / self.temperature
        terms += tf.math.log(self.transitions)
        return self.rewards + self.temperature * tf.reduce_logsumexp(terms, -1)

    def _backwards(self, worth):
        value, values = tf.zeros_like(self.initial), []
        for log_prior in reversed(tf.unstack(tf.math.log(self.prior_policy))):
            # V(s) = alpha log sum_a p(a | s) exp(Q(s, a) / alpha)
            terms = log_prior + worth(value) / self.temperature
            value = self.temperature * tf.reduce_logsumexp(terms, -1)
            values.append(value)
        return tf.stack(values[::-1])

    def _greedy(self, worth):
        # q(a | s) = p(a | s) exp((Q(s, a) - V(s)) / alpha)
        later = tf.pad(self._backwards(worth)[1:], [[0, 1], [0, 0]])
        log_prior = tf.math.log(self.prior_policy)
        return tf.nn.softmax(log_prior + worth(later) / self.temperature)

    def _log_start(self):
        return (
            tf.math.log(self.initial) + self.optimistic_values()[0] / self.temperature
        )

    def _by_step(self, name, policy):
        one = self.rewards.shape.as_list()
        shape = [self.horizon, *one]
        policy = probabilities(name, policy, self.rewards, [one, shape])
        return tf.broadcast_to(policy, shape)

    def _moves_by_step(self, transitions):
        """`[T, S, A, S]`; what follows the last action is the true world's."""
        one = self.transitions.shape.as_list()
        shape = [self.horizon - 1, *one]
        moves = probabilities("transitions", transitions, self.rewards, [one, shape])
        moves = tf.broadcast_to(moves, shape)
        return tf.concat([moves, self.transitions[tf.newaxis]], 0)


def _kl(q, p):
    """KL(q || p) over the last axis, nats; 0 log 0 is 0."""
    return tf.reduce_sum(tf.math.xlogy(q, q) - tf.math.xlogy(q, p), -1)


def _only_optimality(x):
    if bool(tf.reduce_all(x == 1)):
        return None
    return "x = 1, which says that all steps were optimal; got other values"


def _check_rounding(rewards, horizon, temperature):
    if not tf.executing_eagerly():
        return
    largest = float(np.max(np.abs(rewards)))
    most = 1e-3 * temperature / float(np.finfo(rewards.dtype.as_numpy_dtype).eps)
    if not largest * horizon <= most:
        raise wrong(
            f"rewards of size {most / horizon:.3g} at most, so that the rounding of "
            f"their sum stays below temperature / 1000 in {rewards.dtype.name}",
            f"{largest:.3g}",
            "Raise the temperature, subtract a constant, or use float64.",
        )
