"""Several fits of one objective from several starts; the best one is kept."""

from __future__ import annotations

import numpy as np

from elbo_tfp.fitting.program import write
from elbo_tfp.fitting.results import FitResult
from elbo_tfp.ground.seeds import fold_in


def best_of(fit_once, restarts: int, initialize, seed) -> FitResult:
    """Runs `fit_once(seed)` from `restarts` starts and returns the best.

    Args:
        fit_once: seed -> `FitResult`.
        restarts: number of starts.
        initialize: seed -> None; assigns starting values to the variables.
        seed: pair of ints.

    Returns:
        The result with the highest final ELBO (mean of the last tenth), its state put
        back into the variables, all final ELBOs in its `restarts`.
    """
    if not callable(initialize):
        raise ValueError(
            "restarts need initialize=, a function of a seed that assigns starting "
            f"values to the variables; got {initialize!r}."
        )
    best, finals = None, []
    for r in range(restarts):
        own = fold_in(seed, r)
        # the start has a seed of its own, unlike any step's
        initialize(fold_in(own, -2))
        result = fit_once(tuple(int(part) for part in own.numpy()))
        finals.append(final(result))
        if best is None or finals[-1] > max(finals[:-1]):
            best = result
        if result.interrupted:
            break
    write(best.state.variables, best.state.values)
    return best._replace(restarts=np.array(finals))


def final(result: FitResult) -> float:
    """Mean ELBO of the last tenth of the steps, nats per datum."""
    if not result.steps:
        return -np.inf
    return float(np.mean(result.elbo[-max(1, result.steps // 10) :], dtype=np.float64))
