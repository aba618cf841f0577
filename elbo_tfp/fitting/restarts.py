"""Several fits of one objective from several starts; the best one is kept."""

from __future__ import annotations

import numpy as np

from elbo_tfp.fitting import asking
from elbo_tfp.fitting.results import FitResult
from elbo_tfp.fitting.state import write
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import fold_in


def fit_restarts(
    objective, *, restarts: int, initialize, seed=None, **options
) -> FitResult:
    """Fits from several starts and keeps the best.

        et.fit_restarts(objective, restarts=5, initialize=start, num_steps=900, seed=0)

    Args:
        objective: the bound, as in `fit`.
        restarts: number of starts.
        initialize: seed -> None; assigns starting values to the variables.
        seed: int, pair of ints or integer tensor; every start has its own.
        **options: keywords of `fit`, without `init` and `checkpoint`.

    Returns:
        The `FitResult` with the highest final ELBO (mean of the last tenth), its state
        put back into the variables, all final ELBOs in its `restarts`.

    Raises:
        ValueError: for wrong input, in words.
        NonFiniteError: as `fit`.
    """
    from elbo_tfp.fitting.loop import fit

    for name in ("init", "checkpoint"):
        if options.get(name) is not None:
            raise ValueError(f"restarts and {name} cannot be combined.")
    restarts = whole("restarts", restarts)
    if not callable(initialize):
        raise wrong(
            "initialize to be a function of a seed that assigns starting values to the "
            "variables; restarts need one",
            repr(initialize),
        )
    seed, best, finals = asking.seed(seed, None), None, []
    for r in range(restarts):
        own = fold_in(seed, r)
        # the start has a seed of its own, unlike any step's
        initialize(fold_in(own, -2))
        result = fit(objective, seed=own, **options)
        finals.append(final(result))
        if best is None or finals[-1] > max(finals[:-1]):
            best = result
        if result.interrupted:
            break
    values = best.state.values
    if best.restored_step is not None:
        values = best.state.memory[2]
    write(best.state.variables, values)
    return best._replace(restarts=np.array(finals))


def final(result: FitResult) -> float:
    """Mean ELBO of the last tenth of the steps, nats per datum."""
    if not result.steps:
        return -np.inf
    return float(np.mean(result.elbo[-max(1, result.steps // 10) :], dtype=np.float64))
