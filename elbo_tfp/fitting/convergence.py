"""When is a fit done? Judged against Monte Carlo noise, not one noisy number.

A trace that looks flat may only be noisy. So the question is not whether a rise can
be seen but whether a rise worth having can be *ruled out*: `Convergence` compares the
means of the last two thirds of the trace, adds two standard errors to the rise, and
asks that the sum stays below a tolerance. Noise makes the criterion wait, never stop.

It is longer than most modules: two criteria, and what watches a fit for them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from elbo_tfp.ground.checks import real, whole, wrong


class Rise(NamedTuple):
    """The rise of a trace from its middle third to its last third, in nats."""

    rise: float
    """Mean of the last third minus mean of the middle third, nats."""
    standard_error: float
    """Its standard error, from batch means (so with autocorrelation), nats."""
    noise: float
    """Standard deviation of one entry around its neighbours, nats."""


@dataclasses.dataclass(frozen=True)
class Convergence:
    """Stops when a further rise can be ruled out.

    With `rise`, its `standard_error` and `noise` as in `Rise`, converged means::

        max(rise, 0) + num_errors * standard_error
            < max(tolerance * noise, resolution * |mean|)

    A fall is no proof of anything, so it counts as no rise. The windows grow with the
    trace, so a slow climb is seen in the end, and the standard error falls, so the
    criterion is met in the end.
    """

    tolerance: float = 0.1
    """Largest rise to give up, in standard deviations of one step's ELBO."""
    tolerance_nats: float | None = None
    """Largest rise to give up, in nats per datum; replaces `tolerance`."""
    num_errors: float = 2.0
    """How many standard errors the rise must be away from it."""
    min_steps: int = 300
    """Nothing is judged before this many steps."""
    resolution: float = 1e-6
    """A rise below this part of the ELBO counts as rounding, not as a rise."""

    def __post_init__(self):
        real("tolerance", self.tolerance)
        if self.tolerance_nats is not None:
            real("tolerance_nats", self.tolerance_nats)
        real("num_errors", self.num_errors, "[0, inf)")
        real("resolution", self.resolution, "[0, inf)")
        # fifteen batch means in each of two thirds
        whole("min_steps", self.min_steps, 90)

    def watch(self) -> Watch:
        """This criterion during one fit."""
        return Watch(self, self.min_steps)

    def __call__(self, elbo: np.ndarray) -> bool:
        """Whether the trace `[steps]` has converged."""
        if len(elbo) < self.min_steps:
            return False
        found = rise(elbo)
        limit = self.tolerance * found.noise
        if self.tolerance_nats is not None:
            limit = self.tolerance_nats
        level = abs(float(np.mean(elbo[-(len(elbo) // 3) :], dtype=np.float64)))
        limit = max(limit, self.resolution * level)
        # max(rise, 0) + 2 se < tolerance: a worthwhile rise is ruled out
        bound = max(found.rise, 0.0) + self.num_errors * found.standard_error
        return bool(bound < limit)


def rise(elbo: np.ndarray, num_batches: int = 15) -> Rise:
    """Compares the last third of a trace with the third before it.

    Args:
        elbo: trace, `[steps]`, nats; at least 90 steps are needed for the errors.
        num_batches: batch means per third; each must be longer than the trace's
            memory for the standard error to be right (Geyer 1992, section 3.2).
    """
    elbo = np.asarray(elbo, np.float64)
    third = len(elbo) // 3 // num_batches * num_batches
    before, after = elbo[-2 * third : -third], elbo[-third:]
    # the noise: von Neumann's mean square successive difference
    noise = math.sqrt(np.mean(np.diff(after) ** 2) / 2)
    variance = sum(_variance_of_mean(part, num_batches) for part in (before, after))
    return Rise(after.mean() - before.mean(), math.sqrt(variance), noise)


def _variance_of_mean(part: np.ndarray, num_batches: int) -> float:
    means = part.reshape(num_batches, -1).mean(1)
    return means.var(ddof=1) / num_batches


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Stops when the held-out ELBO falls, beyond its noise, from its best.

    Evaluations share their noise, so they are compared datum by datum: the fall
    counts once it exceeds `num_errors` standard errors of the paired difference.
    """

    patience: int = 3
    """Number of evaluations in a row that must be worse than the best."""
    num_errors: float = 2.0
    """How many standard errors below the best an evaluation must be to count."""
    restore_best: bool = True
    """Whether the variables go back to the best evaluation."""

    def __post_init__(self):
        whole("patience", self.patience)
        real("num_errors", self.num_errors, "[0, inf)")

    def watch(self) -> Watch:
        """This criterion during one fit."""
        return HeldOutWatch(self)

    def __call__(self, best: np.ndarray, later: list[np.ndarray]) -> bool:
        """Whether the last `patience` evaluations are all worse than the best.

        Args:
            best: per-datum ELBO at the best evaluation, `[N]`, nats.
            later: per-datum ELBOs since then, each `[N]`, nats.
        """
        recent = later[-self.patience :]
        return len(recent) == self.patience and all(
            worse(best, each, self.num_errors) for each in recent
        )


def worse(best: np.ndarray, other: np.ndarray, num_errors: float) -> bool:
    """Whether `other` is below `best`, datum by datum, beyond its standard error."""
    fall = np.asarray(best, np.float64) - np.asarray(other, np.float64)
    error = fall.std(ddof=1) / math.sqrt(len(fall)) if len(fall) > 1 else 0.0
    return bool(fall.mean() > num_errors * error)


def due(step: int, min_steps: int) -> int:
    """The first step after `step` at which convergence is judged.

    The grid depends on nothing but `min_steps`, so a resumed fit stops where an
    uninterrupted one does. It grows by a tenth: judging often would stop by luck.
    """
    at = max(1, min_steps)
    while at <= step:
        at += max(1, at // 10)
    return at


class Watch:
    """A criterion during one fit: judges the trace, on a grid of steps.

    A criterion of your own makes one, or something like it, by its `watch()`.
    """

    held_out = False
    """Whether it needs held-out data."""
    memory = (None, [], None, -1)
    """Best held-out ELBO, later ones, best values, their step."""

    def __init__(self, judge, min_steps: int = 100, stops: bool = True):
        self._judge, self._min_steps, self._stops = judge, min_steps, stops

    def due(self, step: int) -> float:
        """The first step after `step` at which it must look; infinity for none."""
        return due(step, self._min_steps) if self._stops else math.inf

    def observe(self, run) -> bool:
        """Whether to stop; `run` has `.step`, `.steady()` and `.latest`."""
        return self.due(run.step - 1) == run.step and self.verdict(run.steady())

    def verdict(self, trace: np.ndarray) -> bool:
        """Whether the trace has converged."""
        return bool(self._judge(trace))

    def best(self):
        """The values to go back to at the end and their step, or None."""
        return None


class HeldOutWatch(Watch):
    """Judges the held-out ELBO, and remembers the best one."""

    held_out = True

    def __init__(self, stopping: EarlyStopping):
        super().__init__(Convergence(), stops=False)
        self._stopping = stopping
        self.memory = (None, [], None, -1)

    def observe(self, run) -> bool:
        """Whether the last evaluations, if there is a new one, are all worse."""
        if run.latest is None:
            return False
        best, later, _, _ = self.memory
        if best is None or run.latest.mean() > best.mean():
            self.memory = (run.latest, [], run.values(), run.step)
            return False
        later.append(run.latest)
        return self._stopping(best, later)

    def best(self):
        """The values to go back to and their step, or None."""
        _, _, values, step = self.memory
        return (values, step) if self._stopping.restore_best and values else None


def as_watch(criterion) -> Watch:
    """What watches a fit: `criterion` is None, True, a criterion or a callable.

    Raises:
        ValueError: if it is anything else.
    """
    if criterion is None or criterion is False:
        return Watch(Convergence(), stops=False)
    if criterion is True:
        return Convergence().watch()
    if hasattr(criterion, "watch"):
        return criterion.watch()
    if not callable(criterion):
        raise wrong(
            "convergence_criterion to be Convergence(), EarlyStopping() or a callable "
            "trace -> bool",
            repr(criterion),
        )
    return Watch(criterion, getattr(criterion, "min_steps", 100))
