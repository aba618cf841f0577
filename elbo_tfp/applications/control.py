"""Act by inference: families of policies, their bounds and gradients, and optimism.

A `models.MarkovDecisionProcess` is an ordinary model, so `draw` and `gradients` do the
work. Two things are special. A q that may choose the dynamics dreams of a world that
obeys; the family that fixes them does not. And all numbers are in units of reward.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp import bounds, gradients
from elbo_tfp.distributions.trajectories import Trajectories
from elbo_tfp.draws import draw
from elbo_tfp.families.base import Family
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.types import Estimate


class SampledElbo(NamedTuple):
    """The ELBO of a q over trajectories by Monte Carlo, in units of reward."""

    value: float
    """The mean over the trajectories."""
    standard_error: float
    """Its standard error."""


class Optimism(NamedTuple):
    """What the exact posterior hopes for and the world does not give."""

    log_evidence: float
    """log p(optimality) times temperature: the optimist's value of the start."""
    best_elbo: float
    """The soft Bellman value of the start: the best that a policy can do."""
    elbo_of_posterior: float
    """What the posterior's policy gets under the true dynamics, at most `best_elbo`."""
    by_state: np.ndarray
    """W_t(s) - V_t(s) >= 0, `[T, S]`: the hope in each state from step t on."""

    @property
    def total(self) -> float:
        """`log_evidence` - `best_elbo`: zero where start and dynamics are certain."""
        return self.log_evidence - self.best_elbo


def optimism(mdp) -> Optimism:
    """How far the log evidence of optimality lies above the best policy's ELBO.

    Args:
        mdp: a `models.MarkovDecisionProcess`.

    Returns:
        An `Optimism`, exact, in units of reward.

    Source: Levine (2018), section 3, on stochastic dynamics.
    """
    hoped, best = mdp.optimistic_values(), mdp.soft_values()
    return Optimism(
        float(mdp.log_evidence()),
        float(tf.reduce_sum(mdp.initial * best[0])),
        float(mdp.elbo(mdp.posterior().policy)),
        (hoped - best).numpy(),
    )


def policy_family(mdp, *, dynamics="true", seed=None) -> Family:
    """A trainable q over trajectories that starts at the prior policy.

    Args:
        mdp: a `models.MarkovDecisionProcess`; what its prior forbids stays forbidden.
        dynamics: "true" fixes start and dynamics at the world's own, and the best ELBO
            is the soft Bellman value; "free" trains them too, so that q can reach the
            posterior, and its policy may rely on luck.
        seed: int, pair of ints or tensor, to start near the prior policy; None for
            exactly there.

    Returns:
        A `Family` whose members have `policy`, `transitions` and `initial`, for
        `mdp.elbo`.

    Raises:
        ValueError: if `dynamics` is neither.
    """
    if dynamics not in ("true", "free"):
        raise wrong("dynamics 'true' or 'free'", repr(dynamics))
    moves, shape = mdp.transitions, mdp.transitions.shape
    if dynamics == "free":
        moves = tf.broadcast_to(moves, [mdp.horizon - 1, *shape])
    tables = [tf.math.log(t) for t in (mdp.prior_policy, moves, mdp.initial)]
    free = tables if dynamics == "free" else tables[:1]
    sizes = [t.shape.num_elements() for t in free]

    def build(parameters):
        parts = tf.split(parameters, sizes)
        moved = [t + tf.reshape(p, t.shape) for t, p in zip(free, parts, strict=True)]
        policy, moves, initial = moved + tables[len(moved) :]
        return Trajectories(initial, policy, moves)

    start = tf.zeros(sum(sizes), mdp.rewards.dtype)
    return Family(build, start, seed=seed, name="policy")


def sampled_elbo(mdp, q, sample_size, *, seed) -> SampledElbo:
    """The ELBO of q from trajectories, as `mdp.elbo` is from tables.

    Args:
        mdp: a `models.MarkovDecisionProcess`.
        q: a distribution of trajectories, such as `policy_family(mdp)`.
        sample_size: the number of trajectories, at least 2.
        seed: int, pair of ints or integer tensor; stateless.

    Raises:
        ValueError: if `sample_size` is below 2, and as `draw`.
    """
    sample_size = whole("sample_size", sample_size, 2, "One number has no error.")
    draws = draw(mdp.as_model().log_joint(1), q, sample_size, seed=seed)
    value, error = bounds.elbo(draws), bounds.standard_error(draws)
    return SampledElbo(mdp.temperature * float(value), mdp.temperature * float(error))


def policy_gradient(
    mdp, q, *, estimator=gradients.leave_one_out, seed, **options
) -> Estimate:
    """The score-function gradient of the ELBO of q, in units of reward.

    It is REINFORCE on the rewards less temperature times log q / p. The dynamics'
    densities cancel where q has the true ones, so no model of the world is needed to
    compute it from trajectories.

    **Requires:** an estimator that does not look through samples, which are discrete:
    `gradients.score_function` (no baseline but the one you pass, in nats),
    `leave_one_out`, or `vimco`.

    Args:
        mdp: a `models.MarkovDecisionProcess`.
        q: a distribution of trajectories, such as `policy_family(mdp)`.
        estimator: one of `gradients`.
        seed: int, pair of ints or integer tensor; stateless.
        **options: of the estimator, such as `sample_size`.

    Returns:
        An `Estimate`, scalars in units of reward; climb it with `fit`.

    Raises:
        ValueError: if the estimator needs a reparameterized q, and as the estimator.

    Source: Williams (1992), theorem 1; Levine (2018), section 4.1.
    """
    found = estimator(mdp.as_model().log_joint(1), q, seed=seed, **options)
    return Estimate(*(mdp.temperature * part for part in found))
