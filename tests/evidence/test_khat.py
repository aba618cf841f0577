"""k-hat on weights of known tails, and variational simulation-based calibration."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import gaps
from tests.statistics import says

tfd = tfp.distributions


def test_k_hat_is_the_shape_of_a_pareto_tail():
    rng = np.random.default_rng(0)
    shapes = np.array([0.2, 0.5, 0.9])
    # w = u^-k has a Pareto tail of shape k exactly
    log_weights = -shapes * np.log(rng.random([40, 10_000, 3]))
    found = np.mean([gaps.k_hat(run + 700.0) for run in log_weights], 0)
    # over 40 runs the error is about 0.02; a shape off by 0.15 would show
    np.testing.assert_allclose(found, shapes, atol=0.07)


def test_k_hat_of_draws_and_of_scalars():
    model = et.models.normal_normal()
    q = tfd.Normal([0.5, 0.5], [0.8, 0.3])
    draws = et.draw(model.log_joint(tf.ones([2])), q, 4_000, seed=0)
    found = gaps.k_hat(draws)
    assert found.shape == (2,) and found[0] < 0.5 and found[1] > 0.7
    assert gaps.k_hat(draws.log_weights[:, 0]).shape == ()
    np.testing.assert_allclose(gaps.k_hat(draws.log_weights), found)


def test_weights_of_an_exact_q_have_no_tail():
    for dtype in (tf.float32, tf.float64):
        model = et.models.normal_normal(dtype=dtype)
        x = tf.constant([5.0, 1.0], dtype)
        exact = model.posterior(x)
        # the second datum's q is too narrow: k = 1 - s^2 / tau^2
        q = tfd.Normal(exact.loc, exact.scale * tf.constant([1.0, 0.4], dtype))
        found = gaps.k_hat(et.draw(model.log_joint(x), q, 20_000, seed=0))
        assert found[0] == -np.inf and 0.6 < found[1] < 1, found
    assert gaps.k_hat(np.zeros([100])) == -np.inf
    # half of the draws weigh nothing; the others' tail is of shape 0.5
    u = np.random.default_rng(0).random(10_000)
    found = gaps.k_hat(np.where(u < 0.5, -np.inf, -0.5 * np.log(2 - 2 * u)))
    assert 0.3 < found < 0.7
    # differences that are small but real are a tail
    small = 1e-9 * np.random.default_rng(0).standard_normal(1_000)
    assert np.isfinite(gaps.k_hat(small))


def test_k_hat_of_hopeless_weights_grows_with_their_spread():
    """Weights that exp cannot hold: the shape is that of their logs, to any spread."""
    u = np.random.default_rng(0).normal(size=4_000)
    found = [gaps.k_hat(scale * u) for scale in (100, 500, 1_000, 3_000)]
    assert found[0] > 20
    # k + 10 / (M + 10) (1/2 - k) is what the prior leaves; the rest scales with s
    slopes = np.diff(found) / np.diff([100, 500, 1_000, 3_000])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-3)
    x = np.random.default_rng(1).normal(size=(4_000, 5))
    narrow = -100 * ((x - 3) ** 2).sum(-1) + 0.5 * (x**2).sum(-1)
    both = gaps.k_hat(np.stack([narrow, u], 1))
    assert both[0] > 100 and both[1] < 0.7


def test_k_hat_is_that_of_arviz_wherever_exp_can_hold_the_weights():
    array_stats = pytest.importorskip("arviz_stats.base").array_stats
    rng = np.random.default_rng(3)
    for num in (100, 225, 226, 3_000):
        for log_weights in (
            rng.normal(size=num),
            30 * rng.standard_t(3, size=num),
            100 * rng.exponential(size=num) ** 0.5,
        ):
            weights = np.exp(log_weights - log_weights.max())[np.newaxis]
            expected = array_stats.pareto_khat(weights, r_eff=1, tail="right")
            np.testing.assert_allclose(gaps.k_hat(log_weights), expected, atol=1e-9)


def test_k_hat_where_most_weights_are_zero():
    # one draw in a hundred counts, and all alike: as good as few exact draws
    u = np.random.default_rng(0).random(4_000)
    log_weights = np.where(u < 0.01, np.log(0.5 + u), -np.inf)
    assert gaps.k_hat(log_weights) < 0.5
    log_weights[4:] = -np.inf
    log_weights[:4] = [0.0, 1.0, 2.0, 3.0]
    assert gaps.k_hat(log_weights) == np.inf


def test_k_hat_says_what_it_needs():
    with says("at least 100 samples", "(99, 2)", "sample_size"):
        gaps.k_hat(np.zeros([99, 2]))
    for bad in (np.nan, np.inf):
        with says("without NaN"):
            gaps.k_hat(np.full([200], bad))


def calibrated(shift=0.0, factor=1.0, **kwargs):
    model = et.models.normal_normal(dtype=tf.float64)

    def surrogate(x):
        exact = model.posterior(x)
        return tfd.Normal(exact.loc + shift, factor * exact.scale)

    return gaps.vsbc(model, surrogate, seed=0, **kwargs)


def test_vsbc_sees_a_shifted_centre_and_only_that():
    fair = calibrated()
    assert fair.probabilities.shape == (200, 1) and fair.p_value > 0.05
    assert abs(fair.mean - 0.5) < 4 * (1 / 12 / 200) ** 0.5
    # too narrow, but centred: still symmetric
    assert calibrated(factor=0.4).p_value > 0.05
    low = calibrated(shift=-0.5)
    assert low.p_value < 0.01 and low.mean > 0.6
    assert calibrated(shift=0.5).mean < 0.4


def test_vsbc_false_alarms_are_as_rare_as_they_claim():
    model = et.models.normal_normal(dtype=tf.float64)
    values = [
        gaps.vsbc(
            model,
            model.posterior,
            num_simulations=50,
            sample_size=50,
            num_flips=99,
            seed=s,
        ).p_value[0]
        for s in range(60)
    ]
    # P(p <= 0.1) = 0.1: more than 16 of 60 happen once in 10,000 times
    assert np.sum(np.array(values) <= 0.1) <= 16
    assert np.mean(values) < 0.75


def test_vsbc_of_a_structure_and_its_errors():
    joint = tfd.JointDistributionNamed(
        {"a": tfd.Normal(0.0, 1.0), "b": tfd.Sample(tfd.Normal(0.0, 1.0), 2)}
    )
    model = et.LatentVariableModel(
        joint, lambda z: tfd.Independent(tfd.Normal(z["a"][..., None] + z["b"], 1.0), 1)
    )

    def prior(x):
        return tfd.JointDistributionNamed(
            {
                "a": tfd.Normal(tf.zeros(len(x)), 1.0),
                "b": tfd.Independent(tfd.Normal(tf.zeros([len(x), 2]), 1.0), 1),
            }
        )

    found = gaps.vsbc(model, prior, num_simulations=100, seed=1)
    assert found.probabilities.shape == (100, 3) and found.p_value.shape == (3,)
    with says("(200,)", "(500,)", "one member per simulation"):
        gaps.vsbc(et.models.normal_normal(), lambda x: tfd.Normal(0.0, 1.0), seed=0)
    with says("global prior"):
        gaps.vsbc(
            et.LatentVariableModel(
                tfd.Normal(0.0, 1.0),
                lambda z, w: tfd.Normal(z + w, 1.0),
                tfd.Normal(0.0, 1.0),
            ),
            None,
            seed=0,
        )


def test_ties_count_half():
    model = et.LatentVariableModel(
        tfd.Deterministic(tf.zeros([])), lambda z: tfd.Normal(z, 1.0)
    )
    found = gaps.vsbc(model, lambda x: tfd.Deterministic(tf.zeros(len(x))), seed=0)
    np.testing.assert_array_equal(found.probabilities, 0.5)
    assert found.p_value == 1
