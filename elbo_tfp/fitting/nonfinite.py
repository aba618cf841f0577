"""Where did the NaN come from? Back to the last finite step, and its culprit."""

from __future__ import annotations

import numpy as np

from elbo_tfp.fitting.program import Chunk, Program
from elbo_tfp.fitting.state import write


def last_finite(program: Program, before, arguments, bad: int):
    """Puts the variables back to the last finite step of a failed chunk.

    The loop is deterministic, so taking k steps again gives the same k steps: the
    first bad one is found by bisection, and a step costs nothing extra before that.

    Args:
        program: the compiled loop.
        before: values of its state before the chunk.
        arguments: the chunk's arguments.
        bad: a number of steps after which the state is not finite.

    Returns:
        The finite part of the chunk, the bound at the bad step, and the names of the
        variables that it made non-finite.
    """

    def again(count: int) -> Chunk:
        write(program.state, before)
        return program.run(count, arguments)

    good = 0
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if again(middle).finite else (good, middle)
    value = float(again(bad).metrics.value[-1])
    names = non_finite_names(program.trained)
    return again(good), value, names


def non_finite_names(variables) -> tuple[str, ...]:
    """Names of the variables that hold a NaN or an infinity."""
    return tuple(
        v.name.removesuffix(":0")
        for v in variables
        if v.dtype.is_floating and not np.isfinite(v.numpy()).all()
    )


def message(step: int, value: float, names) -> str:
    """What went wrong, where, and what usually causes it."""
    if not np.isfinite(value):
        found = f"the bound was {value}"
    else:
        found = f"the bound was finite ({value:.6g}), but not its update"
    which = f"; the step made {', '.join(names)} non-finite" if names else ""
    return (
        f"step {step}: {found}{which}. The variables hold the last finite state, "
        "and the error's .result the fit up to it. Usual causes: data outside the "
        "support, a scale without a positive bijector, a learning rate too large."
    )
