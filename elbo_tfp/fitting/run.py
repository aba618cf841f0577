"""A fit while it runs: its history, the chunks between two events, and how it ends.

It is longer than most modules: chunks, events, undo and result share one state.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import schedules
from elbo_tfp.fitting.nonfinite import last_finite, message
from elbo_tfp.fitting.program import Program
from elbo_tfp.fitting.progress import Bar, interruptible
from elbo_tfp.fitting.results import FitResult, FitState, HeldOut, NonFiniteError
from elbo_tfp.fitting.seeding import step_seeds
from elbo_tfp.fitting.state import read, write
from elbo_tfp.fitting.step import Metrics

_SECONDS_PER_CALL = 0.5
_FIRST_CALL = 16
"""Steps of the first call, which tells how long a step takes."""
_steps_per_call = None


@contextlib.contextmanager
def steps_per_call(steps: int | None):
    """In it, a call of the loop takes so many steps (default: by time)."""
    global _steps_per_call
    before, _steps_per_call = _steps_per_call, steps
    try:
        yield
    finally:
        _steps_per_call = before


class Plan(NamedTuple):
    """What a fit was asked to do, checked."""

    num_steps: int
    """Total number of steps, those already taken included."""
    seed: tuple[int, int]
    shards: int
    dtype: str
    feed: Any
    schedule: Any
    """Step -> KL weight, or None."""
    rate: Any
    """Steps -> learning rates, or None for a constant one."""
    held_out: Any
    """A `held_out.Evaluator`, or None."""
    save: Any
    """A `checkpoint.Checkpoints`, or None."""


class Run:
    """The state of a fit: where it stands and what it has recorded."""

    def __init__(self, program: Program, plan: Plan, watch):
        self.program, self.plan, self.watch = program, plan, watch
        self.step = 0
        self.chunks, self.weights, self.held_out = [], [], []
        self.latest = None
        """The held-out ELBO of each datum, if it was just evaluated."""
        self.stop = self.interrupted = False
        self.seconds, self._pace = 0.0, None

    def restore(self, result: FitResult) -> None:
        """Puts everything where a finished fit left it."""
        state = result.state
        _check_same(self.program.state, state.values)
        write(self.program.state, state.values)
        self.step = state.step
        error = () if result.standard_error is None else result.standard_error
        trace = () if result.trace is None else result.trace
        self.chunks = [Metrics(result.elbo, (), error, trace)]
        if self.plan.schedule is not None:
            self.weights = [self._same_weights(result.kl_weight)]
        if result.held_out is not None and self.plan.held_out is not None:
            # a longer fit would not have looked at the end of the shorter one
            records = zip(*result.held_out, strict=True)
            self.held_out = [r for r in records if r[0] % self.plan.held_out.every == 0]
        self.seconds = result.seconds
        best, later, values, at = state.memory
        self.watch.memory = (best, list(later), values, at)

    def _same_weights(self, past):
        expected = schedules.weights(self.plan.schedule, 0, self.step)
        if past is None or not np.array_equal(past, expected):
            raise ValueError(
                "the fit to continue had other KL weights in its steps so far. Pass "
                "the kl_schedule that it was started with."
            )
        return past

    def drive(self, progress: bool | None) -> FitResult:
        """Takes chunks of steps until the fit is over."""
        plan, save = self.plan, self.plan.save
        with Bar(plan.num_steps, self.step, progress) as bar, interruptible(self):
            while self.step < plan.num_steps and not self._over():
                event = self._next_event()
                count = min(event - self.step, self.program.capacity, self._steps())
                self._advance(count)
                bar.update(count, self.chunks[-1].elbo)
                if self.step == event:
                    self._look()
            if self.interrupted and save is not None:
                save(self)
        return self._finish()

    def _over(self) -> bool:
        """Whether to stop early: what one process says counts for all of them."""
        mine = self.stop, self.interrupted, self._pace or 0.0
        stop, interrupted, pace = self.program.everyones(*mine).max(0)
        self.stop, self._pace = bool(stop), pace or None
        self.interrupted |= bool(interrupted)
        return self.stop or bool(interrupted)

    def _steps(self) -> int:
        """Steps in the next call: as asked, or what takes about half a second."""
        if _steps_per_call is not None:
            return _steps_per_call
        if self._pace is None:
            return _FIRST_CALL
        return max(1, int(_SECONDS_PER_CALL / self._pace))

    def _next_event(self) -> int:
        """The step at which Python must look again."""
        plan = self.plan
        events = [plan.num_steps, self.watch.due(self.step)]
        events += [_next_multiple(self.step, e.every) for e in self._regular()]
        return min(events)

    def _regular(self):
        return [e for e in (self.plan.held_out, self.plan.save) if e is not None]

    def arguments(self, first: int, count: int):
        """The compiled loop's arguments for a chunk."""
        plan, capacity = self.plan, self.program.capacity
        weights = np.ones([capacity])
        seeds = np.zeros([capacity, plan.shards, 2], np.int32)
        seeds[:count] = step_seeds(plan.seed, first, count, plan.shards)
        if plan.schedule is not None:
            weights[:count] = schedules.weights(plan.schedule, first, count)
        return (
            tf.constant(first, tf.int32),
            tf.constant(seeds),
            tf.constant(weights, plan.dtype),
            plan.feed.inputs(first, count, capacity),
        )

    def _advance(self, count: int) -> None:
        """Takes `count` steps in one call; a non-finite one is undone and raised."""
        begin = time.perf_counter()
        before = self.values()
        arguments = self.arguments(self.step, count)
        chunk = self.program.run(count, arguments)
        if not chunk.finite:
            raise self._undo(before, arguments, chunk.done)
        self._record(chunk)
        took = time.perf_counter() - begin
        self.seconds += took
        self._pace = took / count

    def _record(self, chunk) -> None:
        self.chunks.append(chunk.metrics._replace(value=()))
        if self.plan.schedule is not None:
            weights = schedules.weights(self.plan.schedule, self.step, chunk.done)
            self.weights.append(weights)
        self.step += chunk.done

    def _undo(self, before, arguments, done: int) -> NonFiniteError:
        """Goes back to the last finite step and describes the next one."""
        good, culprit, names = last_finite(self.program, before, arguments, done)
        self._record(good)
        text = message(self.step, culprit, names)
        return NonFiniteError(text, self.step, names, self.result())

    def _look(self) -> None:
        """Evaluates, judges and saves, where the step says that it is time."""
        plan, self.latest = self.plan, None
        if plan.held_out is not None and self._due(plan.held_out.every):
            self._evaluate()
        self.stop = self.watch.observe(self) or self.stop
        if plan.save is not None and (self.stop or self._due(plan.save.every)):
            plan.save(self)

    def _due(self, every: int) -> bool:
        return self.step >= self.plan.num_steps or self.step % every == 0

    def _evaluate(self) -> None:
        if self.held_out and self.held_out[-1][0] == self.step:
            return
        elbo = self.plan.held_out(self.plan.seed)
        error = elbo.std(ddof=1) / np.sqrt(len(elbo)) if len(elbo) > 1 else np.nan
        self.held_out.append((self.step, elbo.mean(), error))
        if self.step % self.plan.held_out.every == 0:
            self.latest = elbo

    def values(self) -> tuple:
        """The value of every variable that steps read or change."""
        return read(self.program.state)

    def trace(self):
        """Everything recorded so far, joined, `[steps, ...]`."""
        return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *self.chunks)

    def elbo(self) -> np.ndarray:
        """The un-annealed ELBO so far, `[steps]`, nats per datum."""
        parts = [chunk.elbo for chunk in self.chunks]
        return np.concatenate(parts) if parts else np.zeros([0])

    def steady(self) -> np.ndarray:
        """The part of the ELBO's trace that can be judged, `[steps]`.

        It begins where the KL weight no longer changes. It ends where a learning rate
        that falls passes half of its largest value: later, a trace is flat because
        nothing moves any more, whether or not there is something left to climb.
        """
        weights = np.concatenate([*self.weights, [np.nan]])[:-1]
        changes = np.flatnonzero(np.diff(weights))
        first, last = int(changes[-1]) + 1 if len(changes) else 0, self.step
        if self.plan.rate is not None and last > first:
            rates = self.plan.rate(np.arange(first, last))
            fast = np.flatnonzero(rates >= rates.max() / 2)
            first, last = first + fast[0], first + fast[-1] + 1
        return self.elbo()[first:last]

    def _finish(self) -> FitResult:
        """The result; the variables go back to the best step if that was asked for."""
        result, best = self.result(), self.watch.best()
        if best is None or best[1] == self.step:
            return result
        write(self.program.state, best[0])
        return result._replace(restored_step=best[1])

    def result(self) -> FitResult:
        """What there is to report."""
        program, plan = self.program, self.plan
        metrics = self.trace() if self.chunks else None
        held_out = [np.array(part) for part in zip(*self.held_out, strict=True)]
        no_error = metrics is None or isinstance(metrics.standard_error, tuple)
        no_trace = metrics is None or _is_empty(metrics.trace)
        memory = self.watch.memory
        return FitResult(
            elbo=self.elbo(),
            standard_error=None if no_error else metrics.standard_error,
            steps=self.step,
            trace=None if no_trace else metrics.trace,
            held_out=HeldOut(*held_out) if self.held_out else None,
            converged=self.stop or self.watch.verdict(self.steady()),
            interrupted=self.interrupted,
            kl_weight=np.concatenate(self.weights) if self.weights else None,
            variables=program.trained,
            seconds=self.seconds,
            compile_seconds=0.0,
            compiled=program.compiled,
            seed=plan.seed,
            state=FitState(
                *(program.state, self.values(), self.step, plan.seed, memory),
                mark=plan.feed.mark(self.step),
            ),
        )


def _is_empty(part) -> bool:
    return isinstance(part, tuple) and not part


def _check_same(variables, values) -> None:
    """Raises `ValueError` if a state was not made by this objective and optimizer."""
    expected = [(tuple(v.shape), v.dtype.name) for v in variables]
    found = [(tuple(v.shape), v.dtype.name) for v in values]
    if expected != found:
        raise ValueError(
            "the state to continue from belongs to another objective or optimizer: "
            f"expected variables {expected}; got {found}."
        )


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every
