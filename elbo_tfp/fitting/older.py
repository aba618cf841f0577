"""Names that `fit` had in the first edition: they work for one release, and warn."""

from __future__ import annotations

import warnings

from elbo_tfp.fitting.checkpoint import Checkpoint
from elbo_tfp.fitting.held_out import HoldOut
from elbo_tfp.fitting.restarts import fit_restarts
from elbo_tfp.fitting.run import steps_per_call

_NOW = {
    "held_out_every": "held_out=HoldOut(x, every=)",
    "checkpoint_dir": "checkpoint=Checkpoint(folder, every=, resume=)",
    "checkpoint_every": "checkpoint=Checkpoint(folder, every=, resume=)",
    "resume": "checkpoint=Checkpoint(folder, every=, resume=)",
    "restarts": "fit_restarts(objective, restarts=, initialize=)",
    "initialize": "fit_restarts(objective, restarts=, initialize=)",
    "steps_per_call": "nothing: it is chosen by time and changes no number",
}


def fit(now, given: dict, old: dict):
    """Calls `now`, today's `fit`, with what `old` names said.

    Raises:
        TypeError: if it never was a name.
        ValueError: if names contradict each other.
    """
    unknown = [name for name in old if name not in _NOW]
    if unknown:
        raise TypeError(f"fit() got an unexpected keyword argument {unknown[0]!r}")
    for name in old:
        warnings.warn(
            f"fit's {name} will go. Write {_NOW[name]}.",
            DeprecationWarning,
            stacklevel=4,
        )
    given = dict(given)
    every = old.get("held_out_every")
    if every is not None:
        if given["held_out"] is None:
            raise ValueError("fit got held_out_every but no held_out data.")
        given["held_out"] = HoldOut(given["held_out"], every)
    folder, rest = old.get("checkpoint_dir"), ("checkpoint_every", "resume")
    if folder is not None:
        given["checkpoint"] = Checkpoint(folder, *map(old.get, rest))
    elif any(old.get(name) for name in rest):
        raise ValueError("checkpoint_every and resume need checkpoint_dir=, a folder.")
    with steps_per_call(old.get("steps_per_call")):
        if old.get("restarts") is None:
            return now(given.pop("objective"), **given)
        starts = {name: old.get(name) for name in ("restarts", "initialize")}
        return fit_restarts(given.pop("objective"), **starts, **given)
