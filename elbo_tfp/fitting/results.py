"""What `fit` returns, and what it raises."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class HeldOut(NamedTuple):
    """The bound on held-out data during a fit, in nats per datum."""

    step: np.ndarray
    """Number of steps taken before each evaluation, `[E]`."""
    elbo: np.ndarray
    """Mean un-annealed ELBO of the held-out data, `[E]`, nats per datum."""
    standard_error: np.ndarray
    """Its standard error, from the spread over data, `[E]`, nats.

    Every evaluation uses the same noise, so that differences between two of them are
    known much better than either.
    """


class FitState(NamedTuple):
    """Everything a fit needs to go on; opaque, made by `fit` for `fit(init=...)`."""

    variables: tuple
    """Every variable that the compiled graph captures, then the optimizer's."""
    values: tuple
    """The value of each."""
    step: int
    """Number of steps taken."""
    seed: tuple[int, int]
    """The stateless seed of the fit."""
    memory: tuple
    """What early stopping remembers: best ELBO, later ones, best values, their step."""
    mark: int | None = None
    """A checksum of the last batch of a stream."""


class FitResult(NamedTuple):
    """A finished, converged or interrupted fit."""

    elbo: np.ndarray
    """The ELBO at every step, `[steps]`, nats per datum, true sign, no KL weight."""
    standard_error: np.ndarray | None
    """Standard error of each entry, from its spread over the batch, `[steps]`, nats.

    None if the objective returns one number instead of one per datum.
    """
    steps: int
    """Number of steps taken, those before a resume or a continuation included."""
    trace: Any
    """What `trace_fn` returned, stacked over steps, `[steps, ...]`; else None."""
    held_out: HeldOut | None
    """The bound on held-out data, if any was given."""
    converged: bool
    """Whether the convergence criterion holds for the trace (see `Convergence`)."""
    interrupted: bool
    """Whether Ctrl-C ended the fit; the result is complete up to `steps`."""
    kl_weight: np.ndarray | None
    """The KL weight at every step, `[steps]`; None without a schedule."""
    variables: tuple
    """The variables that were trained; they hold the state after the last step."""
    seconds: float
    """Wall-clock time of the steps, without compiling, in seconds."""
    compile_seconds: float
    """Time of tracing and compiling, in seconds; near 0 if cached."""
    compiled: bool
    """Whether the loop ran under XLA; False means a plain graph."""
    seed: tuple[int, int]
    """The stateless seed."""
    state: FitState
    """Where the fit stands: `fit(objective, init=result, ...)` goes on from here."""
    restored_step: int | None = None
    """The step whose state the variables hold, if early stopping went back to one."""
    restarts: np.ndarray | None = None
    """Final ELBO of every restart, `[restarts]`, nats per datum; this is the best."""

    def __repr__(self) -> str:
        if not self.steps:
            return "FitResult(steps=0)"
        window = self.elbo[-max(1, self.steps // 10) :]
        mean = np.mean(window, dtype=np.float64)
        error = np.std(window, dtype=np.float64) / np.sqrt(len(window))
        return (
            f"FitResult(steps={self.steps}, elbo={mean:.4f} +- {error:.4f} nats per "
            f"datum (mean of the last {len(window)}), converged={self.converged}, "
            f"interrupted={self.interrupted}, seconds={self.seconds:.2f}, "
            f"compile_seconds={self.compile_seconds:.2f})"
        )


class NonFiniteError(ArithmeticError):
    """A step gave NaN or infinity. The variables hold the state before that step."""

    def __init__(self, message: str, step: int, variables: tuple, result: FitResult):
        super().__init__(message)
        self.step = step
        """The step (counted from 0) whose update was not finite."""
        self.variables = variables
        """Names of the variables that the step made non-finite."""
        self.result = result
        """The `FitResult` up to the last finite step."""
