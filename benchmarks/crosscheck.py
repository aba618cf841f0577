"""The same numbers in other libraries: one command, one table.

    .venv/bin/python benchmarks/crosscheck.py [--only SciPy scikit-learn ...] [--out]

Every row is one quantity at the same parameters (`crosschecks/problem.py`). Exact rows
agree to 1e-6, random ones within four standard errors of the difference; a row of
several numbers shows the first and the largest difference. SciPy and scikit-learn are
in the book's own environment, the others in .venv-bench (requirements.txt beside this
file): one that is absent is named and left out. Ends with an error if a row disagrees.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from benchmarks import harness  # noqa: E402
from benchmarks.crosschecks import problem  # noqa: E402

LIMIT, ERRORS = 1e-6, 4
PEERS = {
    "SciPy": ("with_scipy", None),
    "scikit-learn": ("with_sklearn", None),
    "statsmodels": ("with_statsmodels", harness.PEERS),
    "NumPyro": ("with_numpyro", harness.PEERS),
    "Pyro": ("with_pyro", harness.PEERS),
}


class Row(NamedTuple):
    """One quantity in two libraries."""

    quantity: str
    """In words."""
    library: str
    """The other one."""
    ours: float
    """The first of our numbers."""
    theirs: float
    """The first of theirs."""
    numbers: int
    """How many were compared."""
    difference: float
    """The largest, ours - theirs."""
    error: float
    """Standard error of the difference; 0 if both are exact."""
    agrees: bool
    """Whether it is below 1e-6, or four errors."""


def compare(quantity, library, ours, theirs) -> Row:
    """The row of two (numbers, error). Raises `ValueError` if their sizes differ."""
    (mine, my_error), (its, its_error) = ours, theirs
    if mine.shape != its.shape or not mine.size:
        raise ValueError(
            f"expected as many numbers from {library} as from us for {quantity!r}; "
            f"got {its.size} and {mine.size}."
        )
    gap = mine - its
    gap = gap[np.argmax(np.where(np.isnan(gap), np.inf, abs(gap)))]
    error = float(np.hypot(my_error, its_error))
    agrees = abs(gap) <= (ERRORS * error if error else LIMIT)
    return Row(quantity, library, mine[0], its[0], mine.size, gap, error, bool(agrees))


def answer(functions: dict) -> None:
    """A peer's script: tells its answers, all or those named, and its versions."""
    names = sys.argv[1:] or None
    for name, value, error in problem.answers(functions, names):
        harness.say({"name": name, "value": value.tolist(), "error": error})
    harness.say({"versions": harness.versions()})


def theirs(library, names=()) -> tuple[dict, dict]:
    """A library's answers by name, all or those named, and its versions.

    Raises:
        RuntimeError: if it is not installed, or fails.
    """
    script, python = PEERS[library]
    if python is None:
        module = importlib.import_module(f"benchmarks.crosschecks.{script}")
        found = problem.answers(vars(module), names or None)
        return {name: (value, error) for name, value, error in found}, {}
    said, versions = harness.ask(python, HERE / "crosschecks" / f"{script}.py", names)
    return {s["name"]: (np.array(s["value"]), s["error"]) for s in said}, versions


def check(libraries, names=(), say=print) -> tuple[list[Row], dict]:
    """Rows of some libraries, and the versions; an absent library is named."""
    from benchmarks.crosschecks import ours

    answers, versions = {}, harness.versions()
    for library in libraries:
        try:
            answers[library], others = theirs(library, names)
            versions |= others
        except RuntimeError as error:
            say(f"{library} is left out: {error} See benchmarks/requirements.txt.")
    wanted = {name for found in answers.values() for name in found}
    mine = {n: (v, e) for n, v, e in problem.answers(vars(ours), wanted)}
    words = {name: getattr(ours, name).__doc__ for name in mine}
    rows = [
        compare(words[name], library, mine[name], found)
        for library, all_found in answers.items()
        for name, found in all_found.items()
    ]
    return rows, versions


def table(rows) -> str:
    """The rows as aligned text."""
    lines = [
        f"{'quantity':50}{'library':13}{'ours':>13}{'theirs':>13}{'n':>5}"
        f"{'difference':>12}{'error':>9}"
    ]
    for r in rows:
        text = f"{r.quantity:50}{r.library:13}{r.ours:13.6f}{r.theirs:13.6f}"
        text += f"{r.numbers:5}{r.difference:12.1e}{r.error:9.1e}"
        lines.append(text + ("" if r.agrees else "  DISAGREES"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--out", action="store_true", help="store the results")
    asked = parser.parse_args()
    rows, versions = check(asked.only)
    print(table(rows))
    bad = sum(not r.agrees for r in rows)
    print(f"{len(rows)} rows, {bad} disagree")
    if asked.out:
        content = {
            "environment": harness.environment() | {"versions": versions},
            "rows": [r._asdict() for r in rows],
        }
        print(f"stored in {harness.save('crosscheck', content)}")
    if bad:
        raise SystemExit(f"{bad} of {len(rows)} rows disagree.")


if __name__ == "__main__":
    main()
