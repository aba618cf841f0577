"""What an audit holds, and how it reads."""

from __future__ import annotations

import html
import math
from typing import NamedTuple

# fault: what one sees, what it comes from, where the book shows it
FAULTS = {
    "shape": ("it cannot be weighed", "shapes, dtype or support", "2"),
    "seed": ("one seed, two answers", "a seed that is not passed on", "2"),
    "reduce": ("objective is not the ELBO", "a mean where a sum belongs", "3"),
    "kl_twice": ("objective is not the ELBO", "the KL is counted twice", "3"),
    "minibatch": ("objective is not the ELBO", "N / B forgotten: use num_data", "3"),
    "objective": ("objective is not the ELBO", "a term too many or too few", "2"),
    "own_weight": (
        "the objective trains its own",
        "a KL weight that is trainable",
        "7",
    ),
    "non_finite": ("NaN or infinity", "a step too large", "2"),
    "annealing": ("KL weight ends away from 1", "annealing that never ended", "7"),
    "rising": ("the trace still rises", "too few steps", "6"),
    "falling": ("the trace falls", "steps too large: it diverges", "6"),
    "noise": ("residuals unlike the noise", "a noise constant far off", "7"),
    "weights": ("k-hat above 0.7", "weights diverge: q too narrow, or misses", "9"),
    "sandwich": ("wide on simulated data", "q is poor where the model draws", "9"),
    "collapse": ("swapping z costs nothing", "collapsed: nobody listens to z", "7"),
    "amortization": (
        "q is far from the best member",
        "encoder trained too little, or overfitted",
        "6, 8",
    ),
    "family": ("evidence - best is large", "a family that is too poor", "5"),
    "local_optimum": ("another start ends higher", "a local optimum", "5"),
}


class Finding(NamedTuple):
    """What one check found."""

    check: str
    """What was looked at."""
    verdict: str
    """"ok", "alarm", "unclear" or "not checked"."""
    figure: str = ""
    """What `value` is."""
    value: float = math.nan
    """The number that was judged; NaN if there is none."""
    error: float = math.nan
    """Its standard error."""
    fault: str | None = None
    """A key of `FAULTS`, in an alarm."""
    note: str = ""
    """Why it was not checked, or what else is to be said."""

    @property
    def symptom(self) -> str:
        """What one sees; empty without an alarm."""
        return FAULTS[self.fault][0] if self.fault else ""

    @property
    def cause(self) -> str:
        """The likely cause; empty without an alarm."""
        return FAULTS[self.fault][1] if self.fault else ""

    @property
    def chapter(self) -> str:
        """Number of the chapter that shows it; empty without an alarm."""
        return FAULTS[self.fault][2] if self.fault else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table, as text."""
        number = "" if math.isnan(self.value) else f"{self.value:.3g}"
        if number and not math.isnan(self.error):
            number += f" +- {self.error:.1g}"
        figure = f"{self.figure} {number}".strip()
        parts = (self.symptom, self.cause, self.note)
        why = ": ".join(part for part in parts if part)
        return self.check, self.verdict, figure, why, self.chapter


class Audit(NamedTuple):
    """The verdicts of all checks, in the order of the work-flow."""

    findings: tuple[Finding, ...]
    """One or more per check; it prints as a table."""
    seconds: float
    """Wall-clock time."""

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are alarms. None is no proof: see what was not checked."""
        return tuple(f for f in self.findings if f.verdict == "alarm")

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that the alarms name, keys of `FAULTS`."""
        return tuple(f.fault for f in self.alarms)

    @property
    def title(self) -> str:
        """One line that counts the verdicts."""
        verdicts = [f.verdict for f in self.findings]
        counts = [
            f"{verdicts.count(v)} {v}"
            for v in ("alarm", "unclear", "ok", "not checked")
            if v in verdicts
        ]
        return f"Audit: {', '.join(counts)} ({self.seconds:.0f} s)"

    def __repr__(self) -> str:
        rows = [_COLUMNS, *(f.cells for f in self.findings)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, lines[0], "-" * sum(widths), *lines[1:]])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{c}</th>' for c in _COLUMNS)
        body = "".join(_html_row(f.cells) for f in self.findings)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


_COLUMNS = ("check", "verdict", "figure", "what it says", "chapter")


def _html_row(cells) -> str:
    name, *rest = (html.escape(c) for c in cells)
    return (
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{c}</td>" for c in rest)}</tr>'
    )
