"""A fit while it runs: its history, the chunks between two events, and how it ends."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import convergence, schedules
from elbo_tfp.fitting.nonfinite import last_finite, message
from elbo_tfp.fitting.program import Program, read, write
from elbo_tfp.fitting.results import FitResult, FitState, HeldOut, NonFiniteError
from elbo_tfp.fitting.seeding import step_seeds
from elbo_tfp.fitting.step import Metrics


class Plan(NamedTuple):
    """What a fit was asked to do, checked."""

    num_steps: int
    """Total number of steps, those already taken included."""
    seed: tuple[int, int]
    shards: int
    feed: Any
    schedule: Any
    criterion: Any
    steps_per_call: int | None
    held_out: Any
    held_out_every: int
    save: Any
    """Called as `save(run)` every `save_every` steps and at the end, or None."""
    save_every: int
    dtype: str


class Run:
    """The state of a fit: where it stands and what it has recorded."""

    def __init__(self, program: Program, plan: Plan):
        self.program, self.plan = program, plan
        self.step = 0
        self.chunks, self.weights = [], []
        self.held_out, self.best = [], None
        self.best_at, self.best_elbo, self.later = -1, None, []
        self.converged = self.interrupted = False
        self.seconds = self.compile_seconds = 0.0
        self.stop = False

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
        if result.held_out is not None:
            # a longer fit would not have looked at the end of the shorter one
            every = self.plan.held_out_every
            records = zip(*result.held_out, strict=True)
            self.held_out = [r for r in records if r[0] % every == 0]
        self.seconds = result.seconds
        self.best_elbo, later, self.best, self.best_at = state.memory
        self.later = list(later)

    def _same_weights(self, past):
        expected = schedules.weights(self.plan.schedule, 0, self.step)
        if past is None or not np.array_equal(past, expected):
            raise ValueError(
                "the fit to continue had other KL weights in its steps so far. Pass "
                "the kl_schedule that it was started with."
            )
        return past

    def arguments(self, first: int, count: int):
        """The compiled loop's arguments for a chunk."""
        plan, capacity = self.plan, self.program.capacity
        weights = np.ones([capacity])
        seeds = np.zeros([capacity, plan.shards, 2], np.int32)
        seeds[:count] = step_seeds(plan.seed, first, count, plan.shards)
        if plan.schedule is not None and count:
            weights[:count] = schedules.weights(plan.schedule, first, count)
        return (
            tf.constant(first, tf.int32),
            tf.constant(seeds),
            tf.constant(weights, plan.dtype),
            plan.feed.inputs(first, count, capacity),
        )

    def prepare(self) -> None:
        """Compiles, if that has not been done."""
        if not self.program.ready:
            begin = time.perf_counter()
            self.program.prepare(self.arguments(self.step, 0))
            self.compile_seconds += time.perf_counter() - begin

    def advance(self, count: int) -> None:
        """Takes `count` steps in one call; a non-finite one is undone and raised."""
        before = read(self.program.state)
        arguments = self.arguments(self.step, count)
        chunk = self.program.run(count, arguments)
        if not chunk.finite:
            raise self._undo(before, arguments, chunk.done)
        self._record(chunk)

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

    def trace(self):
        """Everything recorded so far, joined, `[steps, ...]`."""
        return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *self.chunks)

    def elbo(self) -> np.ndarray:
        """The un-annealed ELBO so far, `[steps]`, nats per datum."""
        parts = [chunk.elbo for chunk in self.chunks]
        return np.concatenate(parts) if parts else np.zeros([0])

    def settled(self) -> int:
        """The first step from which on the KL weight no longer changes."""
        weights = np.concatenate([*self.weights, [np.nan]])[:-1]
        changes = np.flatnonzero(np.diff(weights))
        return int(changes[-1]) + 1 if len(changes) else 0

    def is_converged(self) -> bool:
        """The criterion's verdict on the trace since the KL weight settled."""
        criterion = self.plan.criterion
        if not callable(criterion) or isinstance(criterion, convergence.EarlyStopping):
            criterion = convergence.Convergence()
        return bool(criterion(self.elbo()[self.settled() :]))

    def next_event(self) -> int:
        """The step at which Python must look again."""
        plan, events = self.plan, [self.plan.num_steps]
        if plan.criterion and not isinstance(plan.criterion, convergence.EarlyStopping):
            least = getattr(plan.criterion, "min_steps", 100)
            events.append(convergence.due(self.step, least))
        if plan.held_out is not None:
            events.append(_next_multiple(self.step, plan.held_out_every))
        if plan.save is not None:
            events.append(_next_multiple(self.step, plan.save_every))
        return min(events)

    def look(self) -> None:
        """Evaluates, judges and saves, where the step says that it is time."""
        plan, last = self.plan, self.step >= self.plan.num_steps
        if plan.held_out is not None and (last or self.step % plan.held_out_every == 0):
            self._evaluate()
        if plan.criterion and not isinstance(plan.criterion, convergence.EarlyStopping):
            least = getattr(plan.criterion, "min_steps", 100)
            if convergence.due(self.step - 1, least) == self.step:
                self.stop = self.stop or self.is_converged()
        last = last or self.stop
        if plan.save is not None and (last or self.step % plan.save_every == 0):
            plan.save(self)

    def _evaluate(self) -> None:
        if self.held_out and self.held_out[-1][0] == self.step:
            return
        elbo = self.plan.held_out(self.program.state)
        error = elbo.std(ddof=1) / np.sqrt(len(elbo)) if len(elbo) > 1 else np.nan
        self.held_out.append((self.step, elbo.mean(), error))
        stopping = self.plan.criterion
        off_grid = self.step % self.plan.held_out_every != 0
        if off_grid or not isinstance(stopping, convergence.EarlyStopping):
            return
        if self.best_elbo is None or elbo.mean() > self.best_elbo.mean():
            self.best_at, self.best_elbo, self.later = self.step, elbo, []
            self.best = read(self.program.state)
        else:
            self.later.append(elbo)
            self.stop = self.stop or stopping(self.best_elbo, self.later)

    def finish(self) -> FitResult:
        """The result; the variables go back to the best step if that was asked for."""
        result, stopping = self.result(), self.plan.criterion
        restore = isinstance(stopping, convergence.EarlyStopping)
        restore = restore and stopping.restore_best and self.best is not None
        if not restore or self.best_at == self.step:
            return result
        write(self.program.state, self.best)
        return result._replace(restored_step=self.best_at)

    def memory(self):
        """What early stopping remembers."""
        return (self.best_elbo, self.later, self.best, self.best_at)

    def result(self) -> FitResult:
        """What there is to report."""
        program, plan = self.program, self.plan
        metrics = self.trace() if self.chunks else None
        held_out = [np.array(part) for part in zip(*self.held_out, strict=True)]
        no_error = metrics is None or isinstance(metrics.standard_error, tuple)
        no_trace = metrics is None or _is_empty(metrics.trace)
        return FitResult(
            elbo=self.elbo(),
            standard_error=None if no_error else metrics.standard_error,
            steps=self.step,
            trace=None if no_trace else metrics.trace,
            held_out=HeldOut(*held_out) if self.held_out else None,
            converged=self.stop or self.is_converged(),
            interrupted=self.interrupted,
            kl_weight=np.concatenate(self.weights) if self.weights else None,
            variables=program.step.trained,
            seconds=self.seconds,
            compile_seconds=self.compile_seconds,
            compiled=program.compiled,
            seed=plan.seed,
            state=FitState(
                program.state,
                read(program.state),
                self.step,
                plan.seed,
                self.memory(),
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
