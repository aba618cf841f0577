"""Compiled loops live on their objective, and die with it."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from elbo_tfp.fitting import optimizers
from elbo_tfp.fitting.program import Program
from elbo_tfp.fitting.step import Options, trace_step

_ATTRIBUTE = "_elbo_tfp_programs"
_CACHE_SIZE = 8


def program_for(objective, feed, options: Options, optimizer, chosen, settings):
    """The compiled loop of an objective, from its cache if it is there.

    Args:
        objective: the callable.
        feed: where the batches come from.
        options: what is compiled into a step.
        optimizer: a Keras optimizer, used as a recipe.
        chosen: the variables to train, or None to find them.
        settings: the pair `(capacity, jit_compile)`.
    """
    capacity, jit_compile = settings
    seen = _referenced(objective)
    spec = str(feed.spec), type(feed).__name__
    chosen_ids = chosen and tuple(map(id, chosen))
    key = (options, spec, optimizers.recipe(optimizer), chosen_ids, settings)
    key = (key, tuple(map(_identity, seen)))
    cache = _cache(objective)
    if key in cache:
        program, kept = cache.pop(key)
    else:
        step = trace_step(objective, feed.spec, options, chosen)
        own = optimizers.clone(optimizer)
        program = Program(step, own, feed.pick, capacity, jit_compile)
        kept = (seen, optimizer)
        while len(cache) >= _CACHE_SIZE:
            cache.pop(next(iter(cache)))
    cache[key] = (program, kept)
    return program


def _cache(objective) -> dict:
    """The dict of programs that lives and dies with the objective."""
    owner = getattr(objective, "__self__", objective)
    try:
        store = owner.__dict__.setdefault(_ATTRIBUTE, {})
    except (AttributeError, TypeError):
        return {}
    return store.setdefault(getattr(objective, "__name__", None), {})


def _referenced(objective) -> list[Any]:
    """What a function refers to by name: if that changes, it must be traced again."""
    seen, queue, values = set(), [objective], []
    scope = getattr(getattr(objective, "__func__", objective), "__globals__", None)
    while queue:
        function = queue.pop()
        function = getattr(function, "__func__", function)
        if not isinstance(function, types.FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        if function.__globals__ is not scope:
            continue
        found = [c.cell_contents for c in function.__closure__ or () if _filled(c)]
        names = function.__code__.co_names
        found += [scope[name] for name in names if name in scope]
        values += found
        queue += found
    return values


def _filled(cell) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _identity(value):
    plain = isinstance(value, (int, float, str, bool, type(None), np.number))
    return (type(value), value) if plain else id(value)
