"""Schedules of the KL weight: step -> weight, and nothing else.

A schedule multiplies the KL term of the bound that is climbed by exactly the number
written here; it never touches the trace, which shows the ELBO without weights.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import real, whole, wrong

_LOOKS = 2000
"""At how many steps a schedule is looked at before a fit."""


@dataclasses.dataclass(frozen=True)
class KLSchedule:
    """A KL weight that may change with the step.

    Make one with `constant`, `linear` or `cyclical`, and call it: `schedule(step)` is
    the weight at that step (steps count from 0). It accepts a number, an array or a
    tensor, and works inside a compiled function.
    """

    start: float
    """Weight at the first step of a period."""
    end: float
    """Weight at the end of the ramp, and from then on."""
    ramp: float
    """Number of steps from `start` to `end`; 0 for a constant weight."""
    period: float = math.inf
    """Number of steps after which the ramp starts again."""
    last: float = math.inf
    """Number of steps after which the weight stays at `end`."""

    @classmethod
    def constant(cls, weight: float) -> KLSchedule:
        """The same weight at every step (beta-VAE; Higgins et al. 2017, eq. 4)."""
        weight = real("weight", weight, "[0, inf)")
        return cls(weight, weight, 0.0)

    @classmethod
    def linear(cls, num_steps: int, start: float = 0.0, end: float = 1.0) -> KLSchedule:
        """From `start` to `end` in `num_steps` steps (Bowman et al. 2016, section 3.1).

        The weight at step t is `start + (end - start) * min(t / num_steps, 1)`.
        """
        whole("num_steps", num_steps)
        return cls(
            real("start", start, "[0, inf)"),
            real("end", end, "[0, inf)"),
            float(num_steps),
        )

    @classmethod
    def cyclical(
        cls,
        num_steps: int,
        num_cycles: int = 4,
        ramp_fraction: float = 0.5,
        start: float = 0.0,
        end: float = 1.0,
    ) -> KLSchedule:
        """`num_cycles` ramps in `num_steps` steps (Fu et al. 2019, equations 6 and 7).

        Each cycle rises for `ramp_fraction` of its length and then stays at `end`;
        after `num_steps` the weight stays at `end`.
        """
        whole("num_steps", num_steps)
        whole("num_cycles", num_cycles)
        remedy = "It is the part of each cycle in which the weight rises."
        ramp_fraction = real("ramp_fraction", ramp_fraction, "(0, 1]", remedy)
        period = num_steps / num_cycles
        start, end = real("start", start, "[0, inf)"), real("end", end, "[0, inf)")
        return cls(start, end, period * ramp_fraction, period, float(num_steps))

    def __call__(self, step):
        """The weight at `step`: float32 for a number, array or integer tensor."""
        step = tf.cast(step, tf.float32)
        if self.ramp == 0:
            return tf.fill(tf.shape(step), tf.constant(self.end, tf.float32))
        phase = step
        if math.isfinite(self.period):
            phase = tf.where(step < self.last, tf.math.floormod(step, self.period), 1e9)
        # w(t) = w_0 + (w_1 - w_0) min(t / T, 1), t counted from the period's start
        ramp = tf.minimum(phase / self.ramp, 1.0)
        return self.start * (1.0 - ramp) + self.end * ramp


def as_schedule(schedule):
    """A `KLSchedule` or callable, from a number, a schedule or a callable."""
    if isinstance(schedule, numbers.Real) and not isinstance(schedule, bool):
        return KLSchedule.constant(schedule)
    if not callable(schedule) or isinstance(schedule, type):
        raise wrong(
            "kl_schedule to be a KLSchedule, a number or a callable step -> weight",
            repr(schedule),
            "For instance KLSchedule.linear(1_000).",
        )
    return schedule


def weights(schedule, first: int, count: int) -> np.ndarray:
    """The weights of steps `first` to `first + count - 1`, `[count]` float64.

    Raises:
        ValueError: if a weight is not a finite number of at least 0.
    """
    return _weights_at(schedule, np.arange(first, first + count, dtype=np.int64))


def _weights_at(schedule, steps: np.ndarray) -> np.ndarray:
    values = _all_at_once(schedule, steps)
    if values is None:
        values = np.array([_scalar(schedule, step) for step in steps], np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(
            "expected the KL weights to be finite and at least 0; kl_schedule gave "
            f"{values[bad][0]} at step {steps[bad][0]}."
        )
    return values


def _all_at_once(schedule, steps):
    """`schedule(steps)`, or None if it only takes one step at a time."""
    try:
        values = np.asarray(schedule(steps), np.float64)
    except Exception:  # the caller then asks one by one, where an error is raised
        return None
    return values if values.shape == steps.shape else None


def warn_if_never_one(schedule, num_steps: int) -> None:
    """Warns if a changing weight stays below 1: the ELBO itself is never climbed."""
    looked_at = np.unique(np.linspace(0, num_steps - 1, _LOOKS).astype(np.int64))
    values = _weights_at(schedule, looked_at)
    if values.min() < values.max() < 1:
        warnings.warn(
            f"the KL weight never reaches 1 in {num_steps} steps (its largest value "
            f"is {values.max():.4g}): what is climbed is never the ELBO. Shorten the "
            "schedule, or use KLSchedule.constant if that is meant.",
            stacklevel=4,
        )


def _scalar(schedule, step) -> float:
    value = np.asarray(schedule(step))
    if value.size != 1:
        raise ValueError(
            "expected kl_schedule(step) to be one number; got an array of shape "
            f"{value.shape} at step {step}."
        )
    return float(value.reshape(()))
