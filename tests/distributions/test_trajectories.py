"""Trajectories against enumeration; what cannot be is not drawn."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.distributions import Optimality, Trajectories
from tests.statistics import assert_mean, close, says

S, A, T = 3, 2, 3
RNG = np.random.default_rng(0)
START = np.array([0.5, 0.5, 0.0])
POLICY = RNG.dirichlet(np.ones(A), (T, S))
STEADY = RNG.dirichlet(np.ones(S), (S, A))
STEADY[0, 1] = [0.0, 0.3, 0.7]
MOVES = RNG.dirichlet(np.ones(S), (T - 1, S, A))


def logits(*tables):
    with np.errstate(divide="ignore"):
        return [np.log(table) for table in tables]


def all_paths():
    """Every trajectory, `[(S A)^T, T, 2]`."""
    steps = list(itertools.product(range(S), range(A)))
    return np.array(list(itertools.product(steps, repeat=T)))


def probability(path, start, policy, moves):
    moves = np.broadcast_to(moves, (T - 1, S, A, S))
    total = start[path[0, 0]]
    for t, (s, a) in enumerate(path):
        total *= policy[t, s, a]
        if t + 1 < T:
            total *= moves[t, s, a, path[t + 1, 0]]
    return total


@pytest.mark.parametrize("moves", [STEADY, MOVES], ids=["steady", "by step"])
def test_density_is_the_product_over_steps_and_sums_to_one(moves):
    q = Trajectories(*logits(START, POLICY, moves))
    paths = all_paths()
    expected = [probability(path, START, POLICY, moves) for path in paths]
    close(tf.exp(q.log_prob(paths)), expected)
    assert sum(expected) == pytest.approx(1)
    close(
        q.log_prob(paths.reshape(6, 36, T, 2)), q.log_prob(paths).numpy().reshape(6, 36)
    )
    close(q.policy, POLICY)
    close(q.transitions, moves)
    close(q.initial, START)


@pytest.mark.parametrize("moves", [STEADY, MOVES], ids=["steady", "by step"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_samples_follow_the_density(moves, jit_compile):
    q = Trajectories(*logits(START, POLICY, moves))
    run = tf.function(lambda s: q.sample(40_000, seed=s), jit_compile=jit_compile)
    z = run(tf.constant([0, 3])).numpy()
    assert z.shape == (40_000, T, 2) and z.dtype == np.int32
    paths = all_paths()
    code = (z[..., 0] * A + z[..., 1]) @ (S * A) ** np.arange(T)[::-1]
    seen = np.bincount(code, minlength=len(paths)) / len(z)
    exact = np.array([probability(path, START, POLICY, moves) for path in paths])
    assert np.all(seen[exact == 0] == 0) and np.any(exact == 0)
    # moments: each number of each step
    one_hot = np.concatenate([np.eye(S)[z[..., 0]], np.eye(A)[z[..., 1]]], -1)
    all_hot = np.concatenate([np.eye(S)[paths[..., 0]], np.eye(A)[paths[..., 1]]], -1)
    mean = np.tensordot(exact, all_hot, 1)
    free = (mean > 0) & (mean < 1)
    assert_mean(one_hot[:, free], mean[free], fault=0.03)
    # and pairs of neighbouring steps
    chi2 = np.sum((seen - exact)[exact > 0] ** 2 / exact[exact > 0]) * len(z)
    assert chi2 < np.sum(exact > 0) + 4 * np.sqrt(2 * np.sum(exact > 0))


def test_seeds_are_stateless_and_one_step_is_enough():
    q = Trajectories(*logits(START, POLICY[:1], STEADY))
    np.testing.assert_array_equal(q.sample(50, seed=1), q.sample(50, seed=1))
    assert q.sample([4, 5], seed=1).shape == (4, 5, 1, 2)
    assert q.event_shape == [1, 2] and q.batch_shape == []
    close(q.log_prob([[0, 1]]), np.log(START[0] * POLICY[0, 0, 1]))


def test_gradients_are_finite_beside_impossible_moves():
    policy = tf.constant(logits(POLICY)[0])
    with tf.GradientTape() as tape:
        tape.watch(policy)
        q = Trajectories(logits(START)[0], policy, logits(STEADY)[0])
        density = q.log_prob([[0, 1], [2, 0], [1, 1]])
    expected = -POLICY * 0
    for t, (s, a) in enumerate([(0, 1), (2, 0), (1, 1)]):
        # d log softmax_a / d logits = e_a - probabilities
        expected[t, s] = np.eye(A)[a] - POLICY[t, s]
    close(tape.gradient(density, policy), expected)


def test_float32_stays_float32():
    tables = [t.astype(np.float32) for t in (START, POLICY, STEADY)]
    q = Trajectories(*logits(*tables))
    z = q.sample(1_000, seed=0)
    assert q.log_prob(z).dtype == tf.float32
    assert np.isfinite(q.log_prob(z)).all()


def test_tables_that_do_not_fit_are_errors():
    good = logits(START, POLICY, STEADY)
    for wrong in (
        (good[0][:2], *good[1:]),
        (good[0], good[1][0], good[2]),
        (*good[:2], good[2][..., :2]),
        (*good[:2], np.stack([good[2]] * T)),
    ):
        with says("expected logits [S], [T, S, A]", "one row per state"):
            Trajectories(*wrong)
    # a policy without time, where two actions could pass for something else
    with says("expected logits [S], [T, S, A]"):
        Trajectories(np.zeros([1]), np.zeros([1, 1]), np.zeros([1, 1, 1]))
    with says("one dtype", "float32"):
        Trajectories(good[0].astype(np.float32), *good[1:])


def test_trajectories_are_whole_numbers():
    with says("whole numbers", "float32"):
        Trajectories(*logits(START, POLICY, STEADY)).log_prob(tf.zeros([T, 2]))


def test_optimality_is_observed_not_drawn():
    bit = Optimality(tf.constant([-1.5, -0.5]))
    close(bit.log_prob(1), [-1.5, -0.5])
    assert bit.batch_shape == [2] and bit.event_shape == []
    with says("observed", "model.prior.sample"):
        bit.sample(seed=0)
