"""One file, written whole or not at all, and read with suspicion.

A file is a NumPy archive without pickles: arrays, and a header as JSON. It is written
next to its destination, flushed to the disk, and only then renamed onto it, so a
reader sees the old file or the new one, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import zipfile
from pathlib import Path

import numpy as np

_VERSION = 1
_PART = ".part"
_count = itertools.count()


@contextlib.contextmanager
def replacing(path):
    """A binary file that takes its name only when it is complete and on the disk.

    A process that is killed leaves `.NAME.*.part` beside it, which can be deleted.

    Raises:
        OSError: if it cannot be written (full disk, no permission); it names the path.
            The old file is then as it was, and nothing else is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_count)}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    _sync_folder(path.parent)


def write(path, kind: str, header: dict, arrays: dict[str, np.ndarray]) -> None:
    """Replaces the file at `path` by a complete new one.

    Raises:
        OSError: as `replacing` does.
    """
    dtypes = {name: array.dtype.name for name, array in arrays.items()}
    header = {"kind": kind, "version": _VERSION, "dtypes": dtypes, **header}
    packed = {f"array/{name}": _plain(array) for name, array in arrays.items()}
    packed["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    packed["digest"] = _digest(packed)
    # np.savez of NumPy 2.0 leaves its archive open after an error
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in packed.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asarray(array), allow_pickle=False)


def read(path, kind: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the arrays of a file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is truncated, damaged, or was not written by `write`.
    """
    path = Path(path)
    with _named(path, kind):
        packed = _unpack(path)
        if "header" not in packed:
            raise _Foreign(f"{path} is no {kind} of elbo_tfp: it has no header.")
        digest = packed.pop("digest", None)  # the first edition wrote none
        if digest is not None and not np.array_equal(digest, _digest(packed)):
            raise ValueError("its check sum differs")
        header = json.loads(packed.pop("header").tobytes())
    _check_header(path, kind, header)
    with _named(path, kind):
        types = header["dtypes"]
        arrays = {name.removeprefix("array/"): a for name, a in packed.items()}
        if arrays.keys() != types.keys():
            raise ValueError("arrays are missing or too many")
        return header, {name: _typed(a, types[name]) for name, a in arrays.items()}


class _Foreign(ValueError):
    """A sound archive that this library did not write."""


@contextlib.contextmanager
def _named(path, kind: str):
    """Whatever damage makes the readers of zip, NumPy and JSON raise, as one error."""
    try:
        yield
    except (FileNotFoundError, _Foreign):
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a {kind} of elbo_tfp: it is truncated, damaged "
            f"or another kind of file ({error})."
        ) from error


def _unpack(path) -> dict[str, np.ndarray]:
    """The arrays of an archive; zip's own check sums are compared while reading."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # never more memory than the file is long, whatever its fields say
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise ValueError("it is compressed")
        if sum(m.file_size for m in members) > path.stat().st_size:
            raise ValueError("its parts are longer than the file")
        return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}


def _array(archive, member) -> np.ndarray:
    """One array, without pickles, of what is there: a false shape allocates nothing."""
    data = archive.read(member)
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of NumPy's format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def _digest(packed: dict[str, np.ndarray]) -> np.ndarray:
    """Sixteen bytes that change if a name, a type, a shape or a number does."""
    check = hashlib.blake2b(digest_size=16)
    for name in sorted(packed):
        array = packed[name]
        check.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        check.update(np.ascontiguousarray(array))
    return np.frombuffer(check.digest(), np.uint8)


def check_place(path) -> None:
    """Raises `OSError`, which names the place, if no file can be made at `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    trial = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    trial.touch()
    trial.unlink()


def clean(path) -> None:
    """Removes what a killed process left half-written next to `path`."""
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*{_PART}"):
        with contextlib.suppress(OSError):  # a folder that is read-only
            left.unlink()


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
    """Types that NumPy does not know (bfloat16) travel as integers of their size."""
    added = array.dtype.isbuiltin == 2  # to NumPy's own, by another library
    return array.view(f"u{array.dtype.itemsize}") if added else array


def _typed(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.name == name:
        return array
    import ml_dtypes

    return array.view(np.dtype(getattr(ml_dtypes, name)))


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself durable, where folders can be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
