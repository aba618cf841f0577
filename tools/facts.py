"""Would anybody notice if a fact that a notebook stores were another?

Each number that a cell tagged ``nbval-check-output`` has stored is altered, one at a
time, and nbval's own comparison must tell the two apart. Nothing is executed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
from nbval.plugin import IPyNbCell, coalesce_streams, nocolors

from tools.checks import FACT, code_cells, tags_of, text_of


def same_outputs(first: list, second: list) -> bool:
    """Does nbval take `second` for a repetition of `first`?"""
    skipped = ("metadata", "traceback", "prompt_number", "output_type", "name")
    skipped += ("execution_count", "image/png", "image/jpeg")
    skipped += ("application/vnd.jupyter.widget-view+json",)
    cell = SimpleNamespace(
        parent=SimpleNamespace(skip_compare=skipped),
        config=None,
        colors=nocolors,
        comparison_traceback=[],
        sanitize=lambda text: text,
        format_output_compare=lambda *_: None,
    )
    copies = [
        coalesce_streams([nbformat.from_dict(output) for output in outputs])
        for outputs in (first, second)
    ]
    return IPyNbCell.compare_outputs(cell, *copies)


def _alterations(outputs: list) -> Iterator[tuple[str, list]]:
    """`outputs` with one thing changed: each number's last digit, each true word."""
    change = re.compile(r"\d(?!\d)|\b(?:True|yes|exact(?:ly)?)\b")
    for index, output in enumerate(outputs):
        text = text_of(output)
        for found in change.finditer(text):
            old = found[0]
            new = str((int(old) + 1) % 10) if old.isdigit() else "False"
            altered = [nbformat.from_dict(o) for o in outputs]
            fresh = text[: found.start()] + new + text[found.end() :]
            if output.output_type == "stream":
                altered[index].text = fresh
            else:
                altered[index].data["text/plain"] = fresh
            yield f"{old!r} at {found.start()} of {text[:40]!r}", altered


def altered_facts(path: Path) -> list[str]:
    """Alterations of stored facts that the comparison would not have noticed."""
    faults = []
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(code_cells(notebook), 1):
        if FACT not in tags_of(cell):
            continue
        where = f"{path.name}: code cell {number}"
        if cell.execution_count is None:
            faults.append(f"{where} was never run: nbval would compare nothing")
        if not same_outputs(cell.outputs, cell.outputs):
            faults.append(f"{where} does not even equal itself")
        alterations = list(_alterations(cell.outputs))
        if not alterations:
            faults.append(f"{where} is tagged {FACT} and prints no number")
        faults += [
            f"{where}: altering {what} goes unnoticed"
            for what, altered in alterations
            if same_outputs(altered, cell.outputs)
        ]
    return faults
