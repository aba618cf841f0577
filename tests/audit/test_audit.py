"""The audit: ten faults named, healthy models left alone, what is not seen said so."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from benchmarks.audit import FAULTS, HEALTHY, elbo_of, encoder_of, factor_model, one
from elbo_tfp.audit import judge
from elbo_tfp.fitting.convergence import rise

tfd = tfp.distributions


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    report = one(FAULTS[name], 41)
    assert name in report.faults, report


@pytest.mark.parametrize("name", HEALTHY)
def test_no_alarm_over_a_healthy_model(name):
    # some seeds of the fitted one are not done after 2,000 steps; then it is said
    report = one(HEALTHY[name], 2)
    assert not report.alarms, report
    assert sum(f.verdict == "ok" for f in report.findings) >= 3


def test_nothing_given_is_nothing_checked():
    model, x = factor_model(np.random.default_rng(0))
    report = et.audit(model, encoder_of(model), x, time_budget=1e-9)
    verdicts = {f.check: f.verdict for f in report.findings}
    assert verdicts.pop("shapes") == "ok"
    assert set(verdicts.values()) == {"not checked"}, report
    assert all(f.note for f in report.findings if f.verdict == "not checked")


def test_it_reads_as_text_and_as_html():
    report = one(FAULTS["kl_twice"], 43)
    assert "the KL is counted twice" in str(report)
    assert "1 alarm" in report.title
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.findings) + 1
    assert "<th scope" in page and "&lt;" not in page


def test_the_objective_is_measured_against_the_elbo():
    """objective = ELBO - c: the figure is -c, within its error; IWAE is no fault."""
    model, x = factor_model(np.random.default_rng(3))
    encoder = encoder_of(model, scale=1.3)
    right = elbo_of(model, encoder)
    lower = lambda batch, seed: right(batch, seed) - 1.25  # noqa: E731
    finding = et.audit(model, encoder, x, objective=lower, time_budget=1e-9).findings[1]
    assert finding.fault == "objective"
    assert abs(finding.value + 1.25) < 4 * finding.error

    def tighter(batch, seed):
        draws = et.draw(model.log_joint(batch), encoder(batch), 50, seed=seed)
        return et.bounds.iwae(draws)

    finding = et.audit(model, encoder, x, objective=tighter, time_budget=1e-9)
    assert finding.findings[1].note == "a tighter bound"


def weighted(weight, **baseline):
    """A model, an encoder that is trained, data, and an objective with a KL weight."""
    model, x = factor_model(np.random.default_rng(3))
    exact, shift = encoder_of(model), tf.Variable(np.float64(0.0))
    encoder = et.Encoder(lambda x: exact.network(x) + shift, exact.family)

    def objective(batch, seed):
        draws = et.draw(model.log_joint(batch), encoder(batch), 4, seed=seed)
        kl = tf.reduce_mean(draws.log_q - draws.log_prior, 0)
        value = tf.reduce_mean(draws.log_likelihood, 0) - weight * kl
        for variable in baseline.values():
            value += variable - tf.stop_gradient(variable)
        return value

    return model, encoder, x, objective, shift


def test_a_kl_weight_that_is_trained():
    weight = tf.Variable(np.float64(1.0), name="kl_weight")
    model, encoder, x, objective, shift = weighted(weight)

    def faults(**given):
        found = et.audit(model, encoder, x, **given, time_budget=1e-9)
        assert weight.numpy() == 1.0 and shift.numpy() == 0.0
        return found

    report = faults(objective=objective)
    assert report.faults == ("own_weight",), report
    assert "kl_weight" in str(report) and "trainable" in str(report)
    # a fit that was told to leave it alone
    result = et.fit(objective, num_steps=2, data=x, seed=0, trainable_variables=[shift])
    shift.assign(0.0)
    found = faults(objective=objective, result=result).faults
    assert "own_weight" not in found


def test_what_is_not_trained_or_moves_no_value_is_no_alarm():
    fixed = tf.Variable(np.float64(1.0), trainable=False)
    baseline = tf.Variable(np.float64(2.0))
    model, encoder, x, objective, _ = weighted(fixed, baseline=baseline)
    report = et.audit(model, encoder, x, objective=objective, time_budget=1e-9)
    assert report.faults == (), report


def test_a_seed_that_is_not_passed_on():
    model, x = factor_model(np.random.default_rng(3))
    encoder, right = encoder_of(model, scale=1.3), elbo_of(model, encoder_of(model))
    noisy = lambda batch, seed: right(batch, seed) + np.random.rand()  # noqa: E731
    report = et.audit(model, encoder, x, objective=noisy, time_budget=1e-9)
    assert report.faults == ("seed",)


def test_shapes_are_a_finding():
    model = et.LatentVariableModel(
        tfd.MultivariateNormalDiag([0.0, 0.0]), lambda z: tfd.Normal(z, 1.0)
    )
    encoder = et.Encoder(lambda x: tf.zeros([2, 4]), et.families.mean_field(2))
    report = et.audit(model, encoder, np.zeros([3, 2], "float32"))
    assert report.faults == ("shape",) and report.alarms[0].note


def trace(slope, steps=3_000, noise=1.0, seed=0):
    """Noise around a line: the last third is slope * steps / 3 above the second."""
    return slope * np.arange(steps) + np.random.default_rng(seed).normal(
        0, noise, steps
    )


@pytest.mark.parametrize(
    ("slope", "steps", "verdict", "fault"),
    [
        (1e-3, 3_000, "alarm", "rising"),
        (-1e-3, 3_000, "alarm", "falling"),
        (0, 30_000, "ok", None),
        (0, 120, "unclear", None),
        (0, 80, "not checked", None),
    ],
)
def test_convergence_is_judged_against_noise(slope, steps, verdict, fault):
    found = judge(trace(slope, steps))
    assert (found.verdict, found.fault) == (verdict, fault)
    if steps >= 90:
        assert found.value == rise(trace(slope, steps)).rise


def test_the_sandwich_of_an_exact_posterior_has_no_width():
    model, x = factor_model(np.random.default_rng(5))
    exact = et.audit(model, encoder_of(model), x)
    width = next(f for f in exact.findings if f.check == "sandwich")
    assert width.verdict == "ok" and abs(width.value) < 1e-6


@pytest.mark.parametrize("bad", [{"tolerance": 0}, {"time_budget": -1.0}])
def test_wrong_arguments(bad):
    model, x = factor_model(np.random.default_rng(5))
    with pytest.raises(ValueError, match="expected"):
        et.audit(model, encoder_of(model), x, **bad)
