"""Tables that read well in a terminal, in a notebook and on a page."""

from __future__ import annotations

import html
import math
from typing import NamedTuple


class Table(NamedTuple):
    """Rows of numbers under a header, with notes."""

    title: str
    """One line above the table."""
    columns: tuple
    """Names of the columns after the first."""
    rows: tuple
    """Pairs (name, numbers); an empty tuple of numbers makes a heading."""
    notes: tuple = ()
    """Lines below the table."""

    def __str__(self) -> str:
        cells = [(name, [_cell(v) for v in values]) for name, values in self.rows]
        first = max(len(name) for name, _ in cells)
        width = max(9, *(len(c) for _, values in cells for c in values)) + 1
        head = " " * first + "".join(f"{name:>{width}}" for name in self.columns)
        rule = "-" * len(head)
        lines = [self.title, head, rule]
        for name, values in cells:
            row = f"{name:<{first}}" + "".join(f"{c:>{width}}" for c in values)
            lines.append(row.rstrip())
        return "\n".join([*lines, rule, *self.notes])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in self.columns)
        body = "".join(self._html_row(name, values) for name, values in self.rows)
        notes = "<br>".join(html.escape(note) for note in self.notes)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f'<thead><tr><th scope="col"></th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table><p>{notes}</p>"
        )

    def _html_row(self, name, values):
        span = "" if values else f' colspan="{len(self.columns) + 1}"'
        cells = "".join(f"<td>{html.escape(_cell(v))}</td>" for v in values)
        return f'<tr><th scope="row"{span}>{html.escape(name)}</th>{cells}</tr>'


def _cell(value) -> str:
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "-"
    # no minus sign in front of a zero
    return f"{value:.3f}".replace("-0.000", "0.000")
