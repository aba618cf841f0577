"""Decision processes against the sum over all trajectories, in NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

import elbo_tfp as et
from elbo_tfp.models import MarkovDecisionProcess
from tests.statistics import assert_mean, close, says

S, A, T, ALPHA = 3, 2, 3, 0.7
RNG = np.random.default_rng(1)
MOVES = RNG.dirichlet(np.ones(S), (S, A))
REWARDS = -RNG.gamma(1.0, 1.0, (S, A))
START = RNG.dirichlet(np.ones(S))
PRIOR = RNG.dirichlet(np.ones(A), S)
POLICY = RNG.dirichlet(np.ones(A), (T, S))
GOOD = {"initial": START, "horizon": T, "prior_policy": PRIOR, "temperature": ALPHA}
MDP = MarkovDecisionProcess(MOVES, REWARDS, **GOOD)
SURE = np.eye(S)[RNG.integers(S, size=(S, A))]
PATHS = np.array(
    list(itertools.product(itertools.product(range(S), range(A)), repeat=T))
)


def log_probabilities(policy, moves, start):
    """log q of every trajectory, `[(S A)^T]`."""
    policy = np.broadcast_to(policy, (T, S, A))
    moves = np.broadcast_to(moves, (T - 1, S, A, S))
    s, a, t = PATHS[..., 0], PATHS[..., 1], np.arange(T)
    with np.errstate(divide="ignore"):
        moved = np.log(moves[t[:-1], s[:, :-1], a[:, :-1], s[:, 1:]]).sum(1)
        return np.log(start[s[:, 0]]) + np.log(policy[t, s, a]).sum(1) + moved


RETURNS = REWARDS[PATHS[..., 0], PATHS[..., 1]].sum(1)
LOG_P = log_probabilities(PRIOR, MOVES, START)


def enumerated_elbo(policy, moves, start):
    log_q = log_probabilities(policy, moves, start)
    real = log_q > -np.inf
    gain = RETURNS - ALPHA * (log_q - LOG_P)
    return np.sum(np.exp(log_q[real]) * gain[real])


def test_two_actions_as_worked_by_hand():
    mdp = MarkovDecisionProcess(np.ones((1, 2, 1)), [[1, 0]], initial=0, horizon=1)
    exact = np.log((np.e + 1) / 2)
    assert exact == pytest.approx(0.620115, abs=1e-6)
    close(mdp.log_evidence(), exact)
    close(mdp.elbo(mdp.soft_optimum()), exact)
    close(mdp.soft_optimum(), [[[np.e / (np.e + 1), 1 / (np.e + 1)]]])
    # the maximum of p - KL(p || 1/2) over a grid of p
    p = np.linspace(0.01, 0.99, 99)
    values = p - p * np.log(2 * p) - (1 - p) * np.log(2 * (1 - p))
    close([mdp.elbo(np.array([[x, 1 - x]])) for x in p], values)
    assert values.max() < exact < values.max() + 1e-4


def test_evidence_and_posterior_are_the_sums_over_trajectories():
    log_weights = LOG_P + RETURNS / ALPHA
    close(MDP.log_evidence(), ALPHA * logsumexp(log_weights))
    posterior = MDP.posterior()
    found = log_probabilities(*(part.numpy() for part in posterior))
    close(np.exp(found), np.exp(log_weights - logsumexp(log_weights)))
    close(MDP.elbo(*posterior), MDP.log_evidence())


def test_elbo_is_the_sum_over_trajectories():
    moves = RNG.dirichlet(np.ones(S), (T - 1, S, A))
    start = RNG.dirichlet(np.ones(S))
    close(MDP.elbo(POLICY), enumerated_elbo(POLICY, MOVES, START))
    close(MDP.elbo(POLICY[0]), enumerated_elbo(POLICY[0], MOVES, START))
    found = MDP.elbo(POLICY, moves, start)
    close(found, enumerated_elbo(POLICY, moves, start))
    close(MDP.elbo(POLICY, SURE), enumerated_elbo(POLICY, SURE, START))
    close(MDP.elbo(POLICY, MOVES, START), MDP.elbo(POLICY))
    plain = np.exp(log_probabilities(POLICY, MOVES, START)) @ RETURNS
    close(MDP.expected_return(POLICY), plain)


def test_gap_of_a_policy_is_a_divergence_and_the_soft_optimum_has_none():
    best, values = MDP.soft_optimum().numpy(), MDP.soft_values().numpy()
    optimum = START @ values[0]
    close(MDP.elbo(best), optimum)
    close(MDP.values(best), values)
    log_q = log_probabilities(POLICY, MOVES, START)
    divergence = np.exp(log_q) @ (log_q - log_probabilities(best, MOVES, START))
    close(optimum - MDP.elbo(POLICY), ALPHA * divergence)


def test_certain_worlds_leave_no_optimism_and_uncertain_ones_do():
    sure = MarkovDecisionProcess(SURE, REWARDS, **(GOOD | {"initial": 1}))
    assert abs(sure.elbo(sure.soft_optimum()) - sure.log_evidence()) < 1e-10
    close(sure.posterior().policy, sure.soft_optimum())
    spread = MarkovDecisionProcess(SURE, REWARDS, **GOOD)
    for mdp in (MDP, spread):  # a start that is spread out is enough
        assert mdp.log_evidence() > mdp.elbo(mdp.soft_optimum()) + 1e-3
    assert np.all(MDP.optimistic_values() >= MDP.soft_values() - 1e-12)


def test_a_constant_moves_values_and_no_policy():
    moved = MarkovDecisionProcess(MOVES, REWARDS + 2, **GOOD)
    close(moved.log_evidence() - 2 * T, MDP.log_evidence())
    close(moved.soft_optimum(), MDP.soft_optimum())
    close(moved.posterior().transitions, MDP.posterior().transitions)


def test_the_model_draws_and_weighs_trajectories():
    model = MDP.as_model()
    target = model.log_joint(1)
    close(target(PATHS), LOG_P + RETURNS / ALPHA)
    draws = et.draw(target, MDP.trajectories(POLICY), 40_000, seed=0)
    assert_mean(ALPHA * draws.log_weights, MDP.elbo(POLICY), fault=0.07)
    exact = et.draw(target, model.posterior(1), 50, seed=0)
    assert exact.log_weights.numpy() == pytest.approx(float(model.log_evidence(1)))
    close(ALPHA * model.log_evidence(1), MDP.log_evidence())
    moves = MDP.posterior().transitions
    off = et.draw(target, MDP.trajectories(POLICY, moves, START), 40_000, seed=1)
    assert_mean(ALPHA * off.log_weights, MDP.elbo(POLICY, moves), fault=0.07)
    with says("x = 1", "got other values"):
        model.log_joint(0)


def test_forbidden_actions_stay_forbidden():
    prior = np.array([[1.0, 0.0], [0.5, 0.5], [0.3, 0.7]])
    mdp = MarkovDecisionProcess(MOVES, REWARDS, **(GOOD | {"prior_policy": prior}))
    for policy in (mdp.soft_optimum(), mdp.posterior().policy):
        assert np.all(policy.numpy()[:, 0, 1] == 0)
    assert mdp.elbo(POLICY) == -np.inf
    assert np.isfinite(mdp.expected_return(POLICY))
    # where nobody ever comes, what q would do costs nothing
    moves = np.zeros((S, A, S))
    moves[..., 2] = 1
    away = MarkovDecisionProcess(
        moves, REWARDS, **(GOOD | {"prior_policy": prior, "initial": 1})
    )
    assert np.isfinite(away.elbo(POLICY)) and away.values(POLICY)[0, 0] == -np.inf
    assert MDP.elbo(POLICY, initial=0) > -np.inf
    sure = MarkovDecisionProcess(MOVES, REWARDS, **(GOOD | {"initial": 0}))
    assert sure.elbo(POLICY, initial=START) == -np.inf
    close(sure.elbo(POLICY, initial=[1, 0, 0]), sure.elbo(POLICY))


def test_prior_policy_may_change_with_time():
    mdp = MarkovDecisionProcess(MOVES, REWARDS, **(GOOD | {"prior_policy": POLICY}))
    log_p = log_probabilities(POLICY, MOVES, START)
    close(mdp.log_evidence(), ALPHA * logsumexp(log_p + RETURNS / ALPHA))
    uniform = MarkovDecisionProcess(MOVES, REWARDS, **(GOOD | {"prior_policy": None}))
    close(uniform.prior_policy, np.full((T, S, A), 1 / A))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_of_policy_and_rewards(jit_compile):
    rewards = tf.Variable(REWARDS)
    logits = tf.Variable(np.log(POLICY))

    @tf.function(jit_compile=jit_compile)
    def slopes():
        with tf.GradientTape() as tape:
            mdp = MarkovDecisionProcess(MOVES, rewards, **GOOD)
            parts = mdp.elbo(tf.nn.softmax(logits)), mdp.log_evidence()
        return tape.gradient(parts, [logits, rewards])

    def value(logits, rewards):
        mdp = MarkovDecisionProcess(MOVES, rewards, **GOOD)
        return float(mdp.elbo(tf.nn.softmax(logits)) + mdp.log_evidence())

    found, h = slopes(), 1e-5
    for grad, k, spot in ((found[0], 0, (1, 2, 0)), (found[1], 1, (0, 1))):
        step = np.zeros(grad.shape)
        step[spot] = h
        at = [np.log(POLICY), REWARDS]
        up, down = list(at), list(at)
        up[k], down[k] = at[k] + step, at[k] - step
        slope = (value(*up) - value(*down)) / (2 * h)
        assert grad.numpy()[spot] == pytest.approx(slope, abs=1e-8)


def test_float32_and_plain_lists():
    tables = [t.astype(np.float32) for t in (MOVES, REWARDS, START, PRIOR)]
    mdp = MarkovDecisionProcess(
        *tables[:2],
        initial=tables[2],
        horizon=T,
        prior_policy=tables[3],
        temperature=ALPHA,
    )
    assert mdp.log_evidence().dtype == tf.float32
    assert float(mdp.log_evidence()) == pytest.approx(
        float(MDP.log_evidence()), abs=1e-5
    )
    assert mdp.as_model().log_joint(1)(PATHS).dtype == tf.float32
    listed = MarkovDecisionProcess(
        [[[1, 0], [0, 1]]] * 2, [[0, -1]] * 2, initial=np.int64(1), horizon=2
    )
    assert listed.soft_optimum().dtype == tf.float64


def test_large_values_do_not_overflow():
    mdp = MarkovDecisionProcess(MOVES, 1e6 * REWARDS, **GOOD)
    assert np.isfinite(mdp.log_evidence()) and np.all(np.isfinite(mdp.soft_optimum()))
    best = RETURNS.max() * 1e6
    assert float(mdp.log_evidence()) == pytest.approx(best, rel=1e-4)


TILT = 2 * np.array([1.0, -1.0, 0.0])


def changed(table, spot, value):
    table = np.array(table)
    table[spot] = value
    return table


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"transitions": MOVES * 1.01}, ("transitions", "sums to one", "Divide")),
        ({"transitions": MOVES - TILT}, ("probabilities", "smallest")),
        ({"transitions": changed(MOVES, (0, 0, 0), np.nan)}, ("transitions", "nan")),
        ({"transitions": MOVES[..., :2]}, ("shape [3, 2, 3]", "(3, 2, 2)")),
        ({"transitions": MOVES[0]}, ("shape", "(2, 3)")),
        ({"transitions": np.zeros((0, 2, 0))}, ("[S, A, S]", "(0, 2, 0)")),
        ({"transitions": 3.0}, ("[S, A, S]", "()")),
        ({"rewards": REWARDS.T}, ("rewards of shape [3, 2]", "(2, 3)")),
        ({"rewards": changed(REWARDS, (1, 0), np.nan)}, ("finite", "nan", "[1, 0]")),
        ({"rewards": changed(REWARDS, (1, 1), -np.inf)}, ("-inf", "prior policy")),
        ({"rewards": REWARDS * 1e15}, ("rounding", "float64", "Raise the")),
        ({"rewards": REWARDS.astype(np.float32)}, ("one dtype", "float64 and float32")),
        ({"initial": START[:2]}, ("initial of shape [3]", "(2,)")),
        ({"initial": START * 2}, ("initial", "sums to one")),
        ({"initial": 3}, ("initial below the 3 states", "3")),
        ({"initial": -1}, ("initial", "-1")),
        ({"initial": 0.5}, ("initial", "0.5")),
        ({"initial": START.astype(np.float32)}, ("dtype float64", "float32")),
        ({"prior_policy": PRIOR * 0}, ("prior_policy", "sums to one")),
        ({"prior_policy": -PRIOR}, ("prior_policy of probabilities", "smallest")),
        ({"prior_policy": PRIOR[:2]}, ("[3, 2] or [3, 3, 2]", "(2, 2)")),
        ({"horizon": 0}, ("horizon", "positive int", "0")),
        ({"horizon": 2.0}, ("horizon", "2.0")),
        ({"temperature": 0.0}, ("temperature", "positive", "0.0")),
        ({"temperature": -1}, ("temperature", "positive", "-1")),
        ({"temperature": np.inf}, ("temperature", "inf")),
    ],
)
def test_errors_name_what_is_wrong(change, parts):
    given = {"transitions": MOVES, "rewards": REWARDS, **GOOD, **change}
    with says(*parts):
        MarkovDecisionProcess(given.pop("transitions"), given.pop("rewards"), **given)


def test_errors_of_a_policy():
    for policy, part in (
        (POLICY[:2], "[3, 2] or [3, 3, 2]"),
        (POLICY * 2, "sums to one"),
        (-POLICY, "smallest"),
        (changed(POLICY, (0, 0, 0), np.nan), "nan"),
        (POLICY.astype(np.float32), "float64"),
    ):
        for use in (MDP.elbo, MDP.values, MDP.expected_return, MDP.trajectories):
            with says("expected policy", part):
                use(policy)
    with says("expected transitions", "(3, 3, 2, 3)"):
        MDP.elbo(POLICY, np.stack([MOVES] * 3))
    with says("expected initial", "sums to one"):
        MDP.elbo(POLICY, initial=2 * START)
