"""Print the source of a packaged function, in a notebook as on a terminal."""

from __future__ import annotations

import ast
import inspect
import textwrap


def show_source(obj, *, docstring: bool = False) -> None:
    """Prints the source of a function or class, so that a chapter can show it.

    Args:
        obj: a function, class or method written in Python, not a lambda.
        docstring: whether to print its docstring too.

    Raises:
        ValueError: if `obj` has no Python source.
    """
    try:
        source = textwrap.dedent(inspect.getsource(obj))
        shown = source if docstring else _without_docstring(source)
    except (TypeError, OSError, SyntaxError) as error:
        raise ValueError(
            f"expected a function or class with Python source; got {obj!r}."
        ) from error
    print(shown.rstrip())


def _without_docstring(source: str) -> str:
    node = ast.parse(source).body[0]
    first = getattr(node, "body", [None])[0]
    is_text = isinstance(first, ast.Expr) and isinstance(
        getattr(first.value, "value", None), str
    )
    if not is_text or len(node.body) < 2 or first.lineno == node.lineno:
        return source
    lines = source.splitlines()
    return "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno :])
