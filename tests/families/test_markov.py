"""The Markov family: its ends, its exact member, its errors."""

import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
from elbo_tfp.families.base import raw_of_positive
from tests import oracles
from tests.models.test_state_space import local_level
from tests.statistics import close, says


@pytest.mark.parametrize("coupled", [True, False])
def test_it_starts_as_a_mean_field(coupled):
    loc, scale = np.arange(6.0).reshape(3, 2), np.array([[1.0], [2.0], [0.5]])
    q = et.families.markov(
        3, 2, coupled=coupled, loc=loc, scale=scale, dtype=tf.float64
    )
    assert q.parameters_size == (3 * 9 if coupled else 3 * 4)
    field = et.families.mean_field(
        6, loc=loc.ravel(), scale=np.repeat(scale, 2), dtype=tf.float64
    )
    z = q.sample(5, seed=0)
    close(q.log_prob(z), field.log_prob(tf.reshape(z, [5, 6])))


@pytest.mark.parametrize("coupled", [True, False])
def test_a_batch_of_rows_is_a_batch_of_members(coupled):
    """Of as many rows as a path has steps, and of others."""
    q = et.families.markov(3, 2, coupled=coupled, dtype=tf.float64)
    rows = np.random.default_rng(0).normal(size=(3, 4, q.parameters_size))
    z = np.random.default_rng(1).normal(size=(3, 4, 3, 2))
    members = q(rows)
    assert members.batch_shape == [3, 4]
    found = members.log_prob(z)
    for i, j in np.ndindex(3, 4):
        close(found[i, j], q(rows[i, j]).log_prob(z[i, j]))


def test_the_exact_posterior_of_a_local_level_is_a_member():
    x = np.array([1100.0, 950.0, 1010.0, 700.0])
    log_p, mean, cov = oracles.local_level(x, 900.0, 4000.0)
    a, scale = oracles.chain_of(cov)
    q = et.families.markov(4, dtype=tf.float64)
    rows = np.stack([mean, raw_of_positive(tf.constant(scale)).numpy(), a], -1)
    member = q(rows.reshape(1, -1))
    model = local_level(4, 900.0, 4000.0)
    draws = et.draw(model.log_joint(x[None, :, None]), member, 20, seed=0)
    np.testing.assert_allclose(draws.log_weights, log_p, rtol=1e-12)
    close(member.stddev()[0, :, 0], np.sqrt(np.diag(cov)))


def test_off_diagonals_are_in_units_of_their_row():
    q = et.families.markov(1, 2, scale=[[2.0, 5.0]], dtype=tf.float64)
    row = q.free_parameters.numpy()
    row[-1] = 0.5
    close(q(row).scale_tril[0], np.array([[2.0, 0.0], [2.5, 5.0]]))


def test_the_landing_is_stuck_at_the_exact_member():
    x = np.array([1100.0, 950.0, 1010.0])
    _, mean, cov = oracles.local_level(x, 900.0, 4000.0)
    a, scale = oracles.chain_of(cov)
    q = et.families.markov(3, dtype=tf.float64)
    rows = np.stack([mean, raw_of_positive(tf.constant(scale)).numpy(), a], -1)
    free = tf.Variable(rows.reshape(1, -1))
    target = local_level(3, 900.0, 4000.0).log_joint(x[None, :, None])
    with tf.GradientTape() as tape:
        climbed = et.gradients.sticking_the_landing(target, q(free), seed=0).surrogate
    assert np.max(np.abs(tape.gradient(climbed, free))) < 1e-10


def test_errors():
    with says("num_steps to be a positive int", "0"):
        et.families.markov(0)
    with says("state_size to be a positive int", "1.5"):
        et.families.markov(3, 1.5)
    with says("loc to be finite, and to broadcast to [T, K] = [3, 1]", "[4]"):
        et.families.markov(3, loc=np.zeros(4))
    with says("loc to be finite"):
        et.families.markov(3, loc=np.nan)
    with says("scale to be positive", "0.0"):
        et.families.markov(3, scale=0.0)
