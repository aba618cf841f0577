"""Edit chapters as text, execute them with clean metadata, check them.

    python -m tools.notebooks text  book/01_x.ipynb      # -> _build/text/01_x.py
    python -m tools.notebooks run   _build/text/01_x.py  # -> book/01_x.ipynb
    python -m tools.notebooks run   book/01_x.ipynb      # the same, in place
    python -m tools.notebooks run                        # every chapter
    python -m tools.notebooks fresh                      # runs that are missing
    python -m tools.notebooks check [book/01_x.ipynb]    # the rules for a chapter
    python -m tools.notebooks facts [book/01_x.ipynb]    # altered facts must fail

A notebook is the only source of its chapter; the text is a way to edit it and
lives outside ``book/``. ``run`` executes only what changed (code, package or pins)
unless told ``--always``, and leaves the file of an unchanged chapter as it was,
byte for byte.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import map_outputs_to_inputs
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tools import runs
from tools.settings import BOOK, BUILD, ROOT, chapters, kernel_environment

CELL_TIMEOUT = 900  # seconds; the same for nbval
TEXT = BUILD / "text"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT_METADATA = ("accelerator", "colab")  # what a chapter may ask of Colab


# ---------------------------------------------------------------- notebooks as text


def read(path: Path):
    """The notebook stored at `path`."""
    return nbformat.read(path, as_version=4)


def serialise(notebook) -> str:
    """The one way in which this repository writes a notebook."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text` to `path` unless it stands there already."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return True


def to_text(notebook) -> str:
    """Percent text of `notebook`: code, prose and cell metadata, no outputs."""
    bare = nbformat.from_dict(
        {
            "cells": [
                {**cell, "outputs": [], "execution_count": None}
                if cell.cell_type == "code"
                else cell
                for cell in notebook.cells
            ],
            "metadata": {
                **{k: v for k, v in notebook.metadata.items() if k in KEPT_METADATA},
                "jupytext": {
                    "notebook_metadata_filter": ",".join(KEPT_METADATA) + ",-all",
                    "cell_metadata_filter": "all,-id",
                },
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    return jupytext.writes(bare, fmt="py:percent")


def from_text(text: str, stored=None, name: str = ""):
    """Notebook of percent `text`; cells that `stored` has keep ids and outputs."""
    notebook = jupytext.reads(text, fmt="py:percent")
    old = stored.cells if stored is not None else []
    for cell, j in zip(
        notebook.cells, map_outputs_to_inputs(notebook.cells, old), strict=True
    ):
        cell["id"] = old[j].id if j is not None else ""
        if cell.cell_type == "code" and j is not None:
            cell.outputs = old[j].outputs
            cell.execution_count = old[j].execution_count
    return normalise(notebook, name)


def normalise(notebook, name: str = ""):
    """Ids that do not change from run to run; only the metadata we stand by."""
    _fill_ids(notebook.cells, name)
    kept = {k: v for k, v in notebook.metadata.items() if k in KEPT_METADATA}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}, **kept}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        for noise in (
            "execution",
            "collapsed",
            "scrolled",
            "ExecuteTime",
            "lines_to_next_cell",
        ):
            cell.metadata.pop(noise, None)
    return notebook


def _fill_ids(cells: list, name: str) -> None:
    """Give each cell without an id of its own one made from its content."""
    taken: set[str] = set()
    for cell in cells:
        wanted, repeat = cell.get("id") or "", 0
        while not wanted or wanted in taken:
            content = f"{name}|{cell.cell_type}|{cell.source}|{repeat}"
            wanted = hashlib.sha256(content.encode()).hexdigest()[:8]
            repeat += 1
        cell["id"] = wanted
        taken.add(wanted)


# ---------------------------------------------------------------- execution


def _merge_streams(outputs: list) -> list:
    """One output per run of prints, however the kernel happened to flush them."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(output)
    return merged


def execute(notebook, name: str) -> tuple[list, float]:
    """Run all cells in a fresh kernel in ``book/``: outputs per code cell, seconds.

    Raises:
        CellExecutionError: a cell raised; its traceback is the message.
    """
    os.environ.update(kernel_environment())
    working = nbformat.from_dict(notebook)
    start = time.perf_counter()
    NotebookClient(
        working,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(BOOK)}},
    ).execute()
    seconds = time.perf_counter() - start
    code = [cell for cell in working.cells if cell.cell_type == "code"]
    return [_merge_streams(cell.outputs) for cell in code], seconds


def _fresh_outputs(path: Path, notebook, environment: str, always: bool) -> list:
    """Outputs of `notebook`: those kept if they are up to date, else a new run's."""
    key = runs.key_of(notebook, environment)
    kept = runs.load(path)
    if kept is not None and kept.key == key and not always:
        print(f"  {path.stem:<32} up to date", flush=True)
        return kept.outputs
    print(f"  {path.stem:<32} running ...", flush=True)
    outputs, seconds = execute(notebook, path.stem)
    runs.save(path, key, seconds, outputs)
    print(f"  {path.stem:<32} {seconds:6.1f} s", flush=True)
    return outputs


def _each(paths: Iterable[Path], work, jobs: int) -> int:
    """Call `work` on every path, two at a time; the number that failed."""
    failures = 0

    def guarded(path: Path) -> bool:
        try:
            work(path)
        except CellExecutionError as error:
            print(f"\n{path.stem}: a cell failed\n{error}", file=sys.stderr, flush=True)
            return False
        return True

    with ThreadPoolExecutor(jobs) as pool:
        failures = sum(not ok for ok in pool.map(guarded, paths))
    return failures


def run(paths: list[Path], always: bool, jobs: int) -> int:
    """Execute chapters and store their outputs in ``book/``."""
    environment = runs.environment_key()

    def work(path: Path) -> None:
        target = BOOK / f"{path.stem}.ipynb"
        stored = read(target) if target.exists() else None
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            notebook = from_text(text, stored, path.stem)
        else:
            notebook = normalise(read(path), path.stem)
        outputs = _fresh_outputs(target, notebook, environment, always)
        changed = write_if_changed(
            target, serialise(runs.with_outputs(notebook, outputs))
        )
        print(f"  {target.relative_to(ROOT)} {'written' if changed else 'unchanged'}")

    return _each(paths or chapters(), work, jobs)


def fresh(jobs: int) -> int:
    """Execute what has no up-to-date run; ``book/`` itself stays as it is."""
    environment = runs.environment_key()
    paths = sorted(BOOK.glob("*.ipynb"))
    return _each(paths, lambda p: _fresh_outputs(p, read(p), environment, False), jobs)


def text(paths: list[Path]) -> int:
    """Write each chapter's percent text to ``_build/text``."""
    for path in paths or chapters():
        target = TEXT / f"{path.stem}.py"
        write_if_changed(target, to_text(read(path)))
        print(target.relative_to(ROOT))
    return 0


# ---------------------------------------------------------------- command line


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; the exit status is the number of failures, capped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["text", "run", "fresh", "check", "facts"])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--always", action="store_true", help="run although up to date")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    given = parser.parse_intermixed_args(arguments)
    paths = [path.resolve() for path in given.paths]
    for path in paths:
        if not path.exists():
            parser.error(f"{path}: no such file")
    if given.command == "text":
        return text(paths)
    if given.command == "run":
        return min(run(paths, given.always, given.jobs), 1)
    if given.command == "fresh":
        return min(fresh(given.jobs), 1)
    from tools import checks, facts

    report = checks.check if given.command == "check" else facts.altered_facts
    problems = [problem for path in paths or chapters() for problem in report(path)]
    print("\n".join(problems) or f"{given.command}: nothing to complain about")
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main())
