"""Convergence is judged against noise: on synthetic traces of known rise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import Checkpoint, HoldOut, fit, optimizers
from elbo_tfp.fitting.convergence import (
    Convergence,
    EarlyStopping,
    Watch,
    due,
    rise,
    worse,
)

schedules = keras.optimizers.schedules


def noise(steps, seed=0, memory=0.0, scale=1.0):
    """Autocorrelated noise of standard deviation `scale`."""
    fresh = np.random.default_rng(seed).normal(size=steps) * np.sqrt(1 - memory**2)
    out = np.empty(steps)
    last = 0.0
    for t in range(steps):
        last = memory * last + fresh[t]
        out[t] = last
    return scale * out


def stops_at(trace, criterion):
    step = 0
    while True:
        step = due(step, criterion.min_steps)
        if step > len(trace):
            return None
        if criterion(trace[:step]):
            return step


def test_rise_by_hand():
    trace = np.concatenate([np.zeros(30), np.full(30, 1.0), np.full(30, 3.5)])
    found = rise(trace)
    assert found.rise == 2.5
    assert found.standard_error == 0.0 and found.noise == 0.0
    # alternating +-1: successive differences of 2, so von Neumann's noise is sqrt(2)
    found = rise(np.tile([1.0, -1.0], 90))
    assert found.rise == 0.0 and found.standard_error == 0.0
    np.testing.assert_allclose(found.noise, np.sqrt(2))
    # batch means 0, 1, 0, ...: their variance over 15, twice (both thirds)
    steps = np.repeat(np.tile([0.0, 1.0], 23)[:45], 4)
    means = np.tile([0.0, 1.0], 8)[:15]
    expected = (means.var(ddof=1) + (1 - means).var(ddof=1)) / 15
    np.testing.assert_allclose(rise(steps).standard_error, np.sqrt(expected))


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_standard_error_knows_autocorrelation(memory):
    errors = [rise(noise(3000, seed, memory)) for seed in range(200)]
    spread = np.std([found.rise for found in errors])
    stated = np.sqrt(np.mean([found.standard_error**2 for found in errors]))
    # 200 replicates: the spread is known to 5%; without batches memory 0.8 gives 1/3
    assert 0.8 < stated / spread < 1.2


def test_a_flat_trace_stops_soon_and_never_before_noise_allows_it():
    steps = [stops_at(noise(20_000, seed), Convergence()) for seed in range(20)]
    assert None not in steps
    # 2 standard errors below 0.1: 2 sqrt(2 / W) < 0.1 for windows of W = 800 steps;
    # the error is estimated with 28 degrees of freedom, so some stop a little earlier
    assert min(steps) > 3 * 800 / 3 and np.median(steps) > 2400
    assert max(steps) < 15_000


def test_a_slow_climb_is_not_taken_for_noise():
    # 35 nats in 20,000 steps behind noise of 3 nats: 0.00175 nats a step
    for seed in range(20):
        climb = np.linspace(-35.0, 0.0, 20_000) + noise(20_000, seed, scale=3.0)
        assert stops_at(climb, Convergence()) is None


def test_the_shortfall_at_the_stop_is_small():
    for seed in range(20):
        t = np.arange(60_000)
        truth = -35.0 * np.exp(-t / 1500.0)
        stop = stops_at(truth + noise(60_000, seed, 0.5), Convergence())
        assert stop is not None
        assert truth[stop] > -0.1


def test_without_noise_the_resolution_decides():
    t = np.arange(40_000)
    trace = -100.0 - np.exp(-t / 500.0)
    stop = stops_at(trace, Convergence())
    # the last third rises by less than 1e-6 of 100 nats
    assert stop is not None and rise(trace[:stop]).rise < 1e-4
    assert not Convergence()(trace[: stop // 2])


def test_tolerance_in_nats_replaces_the_relative_one():
    trace = np.linspace(0.0, 1.0, 900) + noise(900, 0, scale=1e-3) + 5.0
    assert not Convergence()(trace)
    # a rise of 1/3, whose error the trend itself makes 0.035
    assert Convergence(tolerance_nats=0.42)(trace)
    assert not Convergence(tolerance_nats=0.38)(trace)
    assert not Convergence(tolerance_nats=0.42, min_steps=901)(trace)
    assert Convergence(tolerance_nats=0.42, min_steps=900)(trace)


def test_num_errors_is_used():
    trace = noise(900, 1) + np.linspace(0.0, 1.0, 900)
    found = rise(trace)
    assert found.rise > 0
    limit = found.rise + 2 * found.standard_error
    assert Convergence(tolerance_nats=limit + 1e-9)(trace)
    assert not Convergence(tolerance_nats=limit - 1e-9)(trace)
    assert not Convergence(tolerance_nats=limit + 1e-9, num_errors=3.0)(trace)
    # a fall is no proof: it counts as no rise
    fall = trace[::-1]
    assert rise(fall).rise < 0
    error = 2 * rise(fall).standard_error
    assert not Convergence(tolerance_nats=error - 1e-9)(fall)
    assert Convergence(tolerance_nats=error + 1e-9)(fall)


def test_the_grid_grows_by_a_tenth_from_min_steps():
    grid = [due(0, 300)]
    while len(grid) < 5:
        grid.append(due(grid[-1], 300))
    assert grid == [300, 330, 363, 399, 438]
    assert due(299, 300) == 300 and due(301, 300) == 330
    assert [due(s, 1) for s in (0, 1, 2)] == [1, 2, 3]


def test_early_stopping_is_paired_and_patient():
    best = np.random.default_rng(0).normal(0.0, 10.0, 100)
    wiggle = np.random.default_rng(1).normal(0.0, 0.1, 100)
    lower = best - 0.1 + wiggle  # the unpaired error would be 1.4
    assert worse(best, lower, 2.0)
    assert not worse(best, lower, 20.0)
    assert not worse(best, best + wiggle - wiggle.mean(), 2.0)
    assert not worse(best, best + 0.1 + wiggle, 2.0)
    assert worse(np.array([1.0]), np.array([0.5]), 2.0)
    stopping = EarlyStopping(patience=2)
    assert not stopping(best, [lower])
    assert stopping(best, [lower, lower])
    assert not stopping(best, [lower, best])
    assert stopping(best, [best, lower, lower])


def test_a_trace_that_a_decayed_rate_has_flattened_has_not_converged():
    v = tf.Variable(0.0)
    rate = keras.optimizers.schedules.CosineDecay(0.1, 300)
    keywords = {"num_steps": 1_000, "seed": 0}
    # a bound without a top: only the rate made it flat
    result = fit(lambda: v, optimizer=keras.optimizers.SGD(rate), **keywords)
    assert np.ptp(result.elbo[500:]) == 0 and Convergence()(result.elbo)
    assert not result.converged
    result = fit(
        lambda: 1 - (v - 1) ** 2, optimizer=keras.optimizers.SGD(0.1), **keywords
    )
    assert result.converged
    # a rate that is still high where the trace is flat hides nothing
    late = keras.optimizers.schedules.PiecewiseConstantDecay([900], [0.1, 0.001])
    result = fit(
        lambda: 1 - (v - 1) ** 2, optimizer=keras.optimizers.SGD(late), **keywords
    )
    assert result.converged


@pytest.mark.parametrize(
    ("schedule", "calls"),
    [
        (schedules.CosineDecay(0.1, 300, alpha=0.2), 1),
        (schedules.ExponentialDecay(0.1, 100, 0.5, staircase=True), 1),
        (schedules.PolynomialDecay(0.1, 200, cycle=True), 1),
        (schedules.InverseTimeDecay(0.1, 100, 0.5), 1),
        (schedules.CosineDecay(0.0, 200, warmup_target=0.1, warmup_steps=50), 100),
        (schedules.PiecewiseConstantDecay([90], [0.1, 0.01]), 100),
    ],
)
def test_rates_are_those_of_the_schedule(monkeypatch, schedule, calls):
    made, call = [], type(schedule).__call__
    monkeypatch.setattr(
        type(schedule), "__call__", lambda s, step: made.append(step) or call(s, step)
    )
    rates = optimizers.rate(keras.optimizers.SGD(schedule))(np.arange(500, 600))
    assert len(made) == calls
    one = [float(call(schedule, step)) for step in range(500, 600)]
    np.testing.assert_allclose(rates, one, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Convergence(tolerance=0), "tolerance to be a positive number; got 0"),
        (lambda: Convergence(tolerance_nats=-1.0), "tolerance_nats to be a positive"),
        (lambda: Convergence(num_errors=-1.0), "num_errors to be a number >= 0"),
        (lambda: Convergence(resolution=np.nan), "resolution to be a number >= 0"),
        (lambda: Convergence(min_steps=89), "min_steps to be an int >= 90; got 89"),
        (lambda: EarlyStopping(patience=0), "patience to be a positive int; got 0"),
        (lambda: EarlyStopping(num_errors="2"), "num_errors to be a number >= 0"),
        (lambda: HoldOut(np.ones(3), 0), "held_out's every to be a positive int"),
        (lambda: HoldOut(np.ones([0])), "held_out to hold at least one datum"),
        (lambda: Checkpoint(3), "checkpoint's folder to be a path; got 3"),
        (lambda: Checkpoint("x", 1.5), "checkpoint's every to be a positive int"),
    ],
)
def test_options_check_themselves(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_criterion_of_your_own_observes():
    class Third:
        def watch(self):
            watch = Watch(lambda trace: True, 1)
            watch.observe = lambda run: run.step == 3
            watch.due = lambda step: step + 1
            return watch

    v = tf.Variable(0.0)
    result = fit(lambda: v, num_steps=10, seed=0, convergence_criterion=Third())
    assert result.steps == 3 and result.converged
