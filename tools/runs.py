"""What was executed, kept so that nothing runs twice.

A run is keyed by the notebook's code, every file of the package, the pinned
requirements, the kernel's settings and the version of Python. Prose is not part
of the key: editing it costs no execution.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools.settings import ROOT, RUN


class Run(NamedTuple):
    """One execution of a notebook, read back from disk."""

    key: str
    """What was executed: see `key_of`."""
    seconds: float
    """Wall-clock time of the cells together."""
    outputs: list
    """The outputs of each code cell, in order."""


def _environment_files(root: Path) -> list[Path]:
    package = [
        p
        for p in sorted((root / "elbo_tfp").rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    ]
    others = [
        root / "requirements.txt",
        root / ".ipython" / "profile_default" / "ipython_kernel_config.py",
    ]
    return package + [p for p in others if p.exists()]


def environment_key(root: Path = ROOT) -> str:
    """Hash of everything but the notebook that an execution depends on."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in _environment_files(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def key_of(notebook, environment: str) -> str:
    """Hash of the notebook's code cells together with `environment`."""
    digest = hashlib.sha256(environment.encode())
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode() + b"\0")
    return digest.hexdigest()


def _path(notebook_path: Path) -> Path:
    return RUN / f"{notebook_path.stem}.json"


def save(notebook_path: Path, key: str, seconds: float, outputs: list) -> None:
    """Keep a run of `notebook_path`; a reader never sees half a file."""
    RUN.mkdir(parents=True, exist_ok=True)
    target = _path(notebook_path)
    partial = target.with_suffix(".part")
    record = {"key": key, "seconds": round(seconds, 2), "outputs": outputs}
    partial.write_text(json.dumps(record), encoding="utf-8")
    partial.replace(target)


def load(notebook_path: Path) -> Run | None:
    """The last kept run of `notebook_path`, or None."""
    try:
        record = json.loads(_path(notebook_path).read_text(encoding="utf-8"))
        return Run(record["key"], record["seconds"], record["outputs"])
    except (OSError, ValueError, KeyError):
        return None


def with_outputs(notebook, outputs: list):
    """`notebook` with fresh `outputs` (one list per code cell) and counts 1..n."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(code) != len(outputs):
        raise ValueError(f"{len(outputs)} outputs for {len(code)} code cells")
    for count, (cell, cell_outputs) in enumerate(zip(code, outputs, strict=True), 1):
        cell.execution_count = count
        cell.outputs = [nbformat.from_dict(output) for output in cell_outputs]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook
