"""What a function refers to by name; only `evidence` still asks, to be replaced."""

from __future__ import annotations

import types
from typing import Any

import numpy as np


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
