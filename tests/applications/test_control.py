"""Policies as families: bounds and gradients by sampling against exact ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
from elbo_tfp.applications import (
    optimism,
    policy_family,
    policy_gradient,
    sampled_elbo,
)
from elbo_tfp.models import MarkovDecisionProcess
from tests.statistics import assert_mean, close, says

S, A, T, ALPHA = 3, 2, 3, 0.7
RNG = np.random.default_rng(2)
MOVES = RNG.dirichlet(np.ones(S), (S, A))
REWARDS = -RNG.gamma(1.0, 1.0, (S, A))
GOOD = {"initial": [0.2, 0.8, 0.0], "horizon": T, "temperature": ALPHA}
MDP = MarkovDecisionProcess(MOVES, REWARDS, **GOOD)


def exact(q):
    return MDP.elbo(q.policy, q.transitions, q.initial)


def slope(q, value):
    with tf.GradientTape() as tape:
        found = value()
    return tape.gradient(found, q.free_parameters).numpy()


@pytest.mark.parametrize("dynamics", ["true", "free"])
def test_a_family_starts_at_the_prior_in_the_true_world(dynamics):
    q = policy_family(MDP, dynamics=dynamics)
    close(q.policy, MDP.prior_policy)
    close(q.transitions, np.broadcast_to(MDP.transitions, q.transitions.shape))
    close(q.initial, MDP.initial)
    close(exact(q), MDP.expected_return(MDP.prior_policy))
    moved = policy_family(MDP, dynamics=dynamics, seed=0)
    assert np.ptp(moved.policy - MDP.prior_policy) > 0.01
    same = dynamics == "true"
    assert np.allclose(moved.initial, MDP.initial) == same
    assert np.allclose(moved.transitions, MDP.transitions) == same
    assert moved.initial[2] == 0


@pytest.mark.parametrize("dynamics", ["true", "free"])
def test_sampled_bound_is_the_exact_one(dynamics):
    q = policy_family(MDP, dynamics=dynamics, seed=1)
    found = sampled_elbo(MDP, q, 40_000, seed=0)
    assert abs(found.value - exact(q)) < 4 * found.standard_error < 0.04
    draws = et.draw(MDP.as_model().log_joint(1), q, 40_000, seed=0)
    error = ALPHA * np.std(draws.log_weights, ddof=1) / 200
    assert found.standard_error == pytest.approx(error)
    with says("sample_size to be an int >= 2", "1"):
        sampled_elbo(MDP, q, 1, seed=0)


@pytest.mark.parametrize(
    ("dynamics", "estimator", "options"),
    [
        ("true", et.gradients.leave_one_out, {}),
        ("true", et.gradients.score_function, {"baseline": -3.0}),
        ("free", et.gradients.leave_one_out, {}),
    ],
)
def test_policy_gradient_is_the_exact_one(dynamics, estimator, options):
    q = policy_family(MDP, dynamics=dynamics, seed=1)
    size = q.free_parameters.shape[0]
    q.free_parameters.assign(np.random.default_rng(0).normal(0, 1.5, size))

    @tf.function
    def found(seed):
        with tf.GradientTape() as tape:
            estimate = policy_gradient(
                MDP, q, estimator=estimator, sample_size=200, seed=seed, **options
            )
        return tape.gradient(estimate.surrogate, q.free_parameters), estimate.value

    pairs = [found(tf.constant([0, i])) for i in range(100)]
    gradients, values = (np.array(part) for part in zip(*pairs, strict=True))
    truth = slope(q, lambda: exact(q))
    moving = np.std(gradients, 0) > 0
    np.testing.assert_allclose(truth[~moving], 0, atol=1e-12)
    assert np.abs(truth).max() > 0.09
    assert_mean(gradients[:, moving], truth[moving], fault=0.036)
    assert_mean(values, exact(q), fault=0.06)


def test_a_reparameterized_gradient_is_refused():
    q = policy_family(MDP)
    with says("reparameterized", "leave_one_out"):
        policy_gradient(MDP, q, estimator=et.gradients.reparameterized, seed=0)


@pytest.mark.parametrize("dynamics", ["true", "free"])
def test_climbing_reaches_the_soft_value_or_the_evidence(dynamics):
    q = policy_family(MDP, dynamics=dynamics)
    climb = tf.function(lambda: slope_of(q), jit_compile=True)
    for _ in range(1_000):
        q.free_parameters.assign_add(3.0 * climb())
    report = optimism(MDP)
    top = report.best_elbo if dynamics == "true" else report.log_evidence
    assert float(exact(q)) == pytest.approx(top, abs=1e-6)
    if dynamics == "true":
        np.testing.assert_allclose(
            q.policy[0, :2], MDP.soft_optimum()[0, :2], atol=1e-3
        )


def slope_of(q):
    with tf.GradientTape() as tape:
        value = exact(q)
    return tape.gradient(value, q.free_parameters)


def test_optimism_is_ordered_and_exact():
    report = optimism(MDP)
    assert report.log_evidence > report.best_elbo > report.elbo_of_posterior
    close(report.log_evidence, MDP.log_evidence())
    close(report.best_elbo, MDP.elbo(MDP.soft_optimum()))
    assert report.total == report.log_evidence - report.best_elbo
    assert report.by_state.shape == (T, S)
    close(report.by_state[-1], np.zeros(S))
    # one step before the end: alpha log E exp(V / alpha) - E V, by hand, per action
    V = MDP.soft_values().numpy()[-1]
    hope = ALPHA * np.log(MOVES @ np.exp(V / ALPHA)) - MOVES @ V
    prior = MDP.prior_policy.numpy()[0]
    Q = REWARDS + MOVES @ V
    W = ALPHA * np.log(np.sum(prior * np.exp((Q + hope) / ALPHA), -1))
    close(
        report.by_state[-2], W - ALPHA * np.log(np.sum(prior * np.exp(Q / ALPHA), -1))
    )


def test_fit_climbs_the_policy_gradient():
    q = policy_family(MDP)
    result = et.fit(
        lambda seed: policy_gradient(MDP, q, sample_size=16, seed=seed),
        num_steps=300,
        optimizer=keras.optimizers.Adam(0.1),
        seed=0,
    )
    best = optimism(MDP).best_elbo
    assert best - 0.02 < float(exact(q)) < best
    assert np.isfinite(result.elbo).all()


def test_unknown_dynamics():
    with says("'true' or 'free'", "'dreamt'"):
        policy_family(MDP, dynamics="dreamt")
