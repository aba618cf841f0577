"""One file, written whole or not at all, and read with suspicion.

A file is a NumPy archive without pickles: arrays, and a header as JSON. It is written
next to its destination, flushed to the disk, and only then renamed onto it, so a
reader sees the old file or the new one, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

_VERSION = 1
_PART = ".part"


def write(path, kind: str, header: dict, arrays: dict[str, np.ndarray]) -> None:
    """Replaces the file at `path` by a complete new one.

    Raises:
        OSError: if it cannot be written (full disk, no permission); the old file is
            then as it was, and nothing else is left behind.
    """
    path = Path(path)
    dtypes = {name: array.dtype.name for name, array in arrays.items()}
    header = {"kind": kind, "version": _VERSION, "dtypes": dtypes, **header}
    packed = {f"array/{name}": _plain(array) for name, array in arrays.items()}
    packed["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **packed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def read(path, kind: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the arrays of a file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is truncated, damaged, or was not written by `write`.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if "header" not in archive.files:
                raise _Foreign(f"{path} is no {kind} of elbo_tfp: it has no header.")
            header = json.loads(archive["header"].tobytes())
            arrays = {
                name.removeprefix("array/"): archive[name]
                for name in archive.files
                if name.startswith("array/")
            }
    except (FileNotFoundError, _Foreign):
        raise
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a {kind} of elbo_tfp: it is truncated, damaged "
            f"or another kind of file ({error})."
        ) from error
    _check_header(path, kind, header)
    types = header["dtypes"]
    return header, {name: _typed(a, types[name]) for name, a in arrays.items()}


class _Foreign(ValueError):
    """A sound archive that this library did not write."""


def clean(path) -> None:
    """Removes what a killed process left half-written next to `path`."""
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*{_PART}"):
        left.unlink(missing_ok=True)


def _check_header(path, kind: str, header) -> None:
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else header
        raise ValueError(f"expected {path} to be a {kind} of elbo_tfp; got {found!r}.")
    if header.get("version") != _VERSION:
        raise ValueError(
            f"{path} has format version {header.get('version')}; this version of "
            f"elbo_tfp reads {_VERSION}."
        )


def _plain(array: np.ndarray) -> np.ndarray:
    """Types that NumPy does not know (bfloat16) travel as bytes."""
    return array if array.dtype.kind in "biufc" else array.view(np.uint8)


def _typed(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.name == name:
        return array
    import ml_dtypes

    return array.view(getattr(ml_dtypes, name))


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself durable, where folders can be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
