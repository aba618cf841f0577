"""KL schedules: exact weights, warnings, errors."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import KLSchedule, fit
from elbo_tfp.fitting.schedules import as_schedule, weights
from tests.statistics import says


def test_weights_by_hand():
    np.testing.assert_array_equal(weights(KLSchedule.constant(0.25), 5, 3), [0.25] * 3)
    linear = KLSchedule.linear(4)
    np.testing.assert_allclose(weights(linear, 0, 6), [0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(weights(linear, 3, 2), [0.75, 1])
    np.testing.assert_allclose(
        weights(KLSchedule.linear(2, start=0.5, end=4.0), 0, 4), [0.5, 2.25, 4, 4]
    )
    cyclical = KLSchedule.cyclical(8, num_cycles=2, ramp_fraction=0.5)
    np.testing.assert_allclose(
        weights(cyclical, 0, 11), [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1, 1, 1]
    )
    full = KLSchedule.cyclical(8, 2, ramp_fraction=1.0, start=0.2, end=1.0)
    np.testing.assert_allclose(
        weights(full, 0, 9), [0.2, 0.4, 0.6, 0.8, 0.2, 0.4, 0.6, 0.8, 1], rtol=1e-6
    )
    defaults = KLSchedule.cyclical(80)
    np.testing.assert_allclose(
        weights(defaults, 0, 21)[[0, 5, 10, 19, 20]], [0, 0.5, 1, 1, 0]
    )


def test_a_schedule_is_a_value_and_works_under_xla():
    assert KLSchedule.linear(4) == KLSchedule.linear(4)
    compiled = tf.function(KLSchedule.linear(4), jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant([1, 9])), [0.25, 1.0])
    assert KLSchedule.constant(0.5)(tf.constant(3)).shape == []


def test_callables_are_asked_once_or_step_by_step():
    np.testing.assert_allclose(weights(lambda t: t / 10, 2, 2), [0.2, 0.3])
    np.testing.assert_allclose(
        weights(lambda t: 1.0 if t > 2 else 0.5, 2, 2), [0.5, 1.0]
    )
    np.testing.assert_allclose(weights(lambda t: 0.5, 0, 3), [0.5] * 3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: KLSchedule.constant(-1.0), "weight to be a number >= 0; got -1"),
        (lambda: KLSchedule.constant(np.inf), "weight to be a number"),
        (lambda: KLSchedule.linear(0), "num_steps to be a positive int; got 0"),
        (lambda: KLSchedule.linear(2.5), "num_steps to be a positive int; got 2.5"),
        (lambda: KLSchedule.linear(3, start=-0.1), "start to be a number"),
        (lambda: KLSchedule.linear(3, end="a"), "end to be a number"),
        (lambda: KLSchedule.cyclical(8, 0), "num_cycles to be a positive int"),
        (lambda: KLSchedule.cyclical(8, ramp_fraction=0.0), r"in \(0, 1\]; got 0.0"),
        (lambda: KLSchedule.cyclical(8, ramp_fraction=1.1), r"in \(0, 1\]; got 1.1"),
        (lambda: weights(lambda t: 1.0 - t, 0, 3), "gave -1.0 at step 2"),
        (lambda: weights(lambda t: np.nan, 0, 3), "gave nan at step 0"),
        (lambda: weights(lambda t: [1.0, 2.0], 0, 3), r"one number; .* shape \(2,\)"),
    ],
)
def test_wrong_schedules(make, text):
    with pytest.raises(ValueError, match=text):
        make()


V = tf.Variable(0.0)


def objective(kl_weight):
    return V * 0.0 + kl_weight


@pytest.mark.parametrize(
    ("schedule", "warns"),
    [
        (KLSchedule.linear(10), True),
        (KLSchedule.linear(4), False),
        (KLSchedule.linear(10, end=3.0), False),
        (KLSchedule.constant(0.5), False),
        (lambda t: 0.9 if t else 0.0, True),
    ],
)
def test_a_weight_that_never_reaches_one_is_a_warning(schedule, warns, recwarn):
    fit(objective, num_steps=5, seed=0, kl_schedule=schedule)
    messages = [str(w.message) for w in recwarn.list]
    assert any("never reaches 1 in 5 steps" in text for text in messages) == warns


def test_without_a_schedule_the_weight_is_one_or_the_default():
    def reduced(kl_weight=0.5):
        return V * 0.0 + kl_weight

    assert fit(objective, num_steps=1, seed=0).elbo == [1.0]
    result = fit(reduced, num_steps=1, seed=0)
    assert result.elbo == [0.5] and result.kl_weight is None


def test_a_class_is_no_schedule():
    with says("kl_schedule to be a KLSchedule", "KLSchedule.linear(1_000)"):
        as_schedule(KLSchedule)
