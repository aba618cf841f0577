"""Files that were changed: a named error or the exact content, never anything else."""

from __future__ import annotations

import io
import json
import resource
import struct
import time
import zipfile
from collections import Counter

import numpy as np

EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


class Bomb:
    """An object whose unpickling would run code that can be seen."""

    went_off = 0

    def __reduce__(self):
        return _go_off, ()


def _go_off():
    Bomb.went_off += 1


def changed_bytes(good: bytes, rng) -> bytes:
    """A file after one accident of the disk or the wire."""
    kind, at = int(rng.integers(9)), int(rng.integers(len(good)))
    length = int(rng.integers(1, 9))
    end = at + length
    if kind == 0:  # one bit
        return _put(good, at, bytes([good[at] ^ 1 << int(rng.integers(8))]))
    if kind == 1:
        return _put(good, at, rng.bytes(length))
    if kind == 2:
        return good[:at]
    if kind == 3:
        return good[:at] + rng.bytes(length) + good[at:]
    if kind == 4:
        return good[:at] + good[end:]
    if kind == 5:  # a lost sector
        return _put(good, at, bytes(min(512, len(good) - at)))
    if kind == 6:  # a piece twice
        return good[:at] + good[at : at + 64] + good[at:]
    if kind == 7:  # two pieces change places
        other = int(rng.integers(len(good)))
        first, second = sorted((at, other))
        return good[:first] + good[second:] + good[first:second]
    # a length field: most stand at the end, in zip's directory
    tail = rng.random() < 0.7
    at = int(rng.integers(max(0, len(good) - 400) if tail else 0, len(good) - 4))
    value = struct.pack("<I", EXTREMES[int(rng.integers(len(EXTREMES)))])
    return _put(good, at, value[: int(rng.choice([2, 4]))])


def _put(good, at, piece):
    return good[:at] + piece + good[at + len(piece) :]


def changed_archive(good: bytes, rng) -> bytes:
    """A sound zip archive, right check sums and all, whose content was changed."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    kind, name = int(rng.integers(8)), str(rng.choice(sorted(parts)))
    packing = zipfile.ZIP_STORED
    if kind == 0:
        del parts[name]
    elif kind == 1:
        parts[f"array/{rng.integers(99)}.npy"] = parts.pop(name)
    elif kind == 2:
        parts["array/more.npy"] = parts[name]
    elif kind == 3:
        parts[name] = _saved(np.array([Bomb()], object))
    elif kind == 4:  # NumPy's header tells of another shape or type
        parts[name] = _retold(parts[name], rng)
    elif kind == 5:  # zeros without end, well packed
        parts[name], packing = _saved(np.zeros(10**6)), zipfile.ZIP_DEFLATED
    elif kind == 6:
        parts["header.npy"] = _reworded(parts["header.npy"], rng)
    else:
        packing = int(rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    if rng.random() < 0.1:
        return _saved(np.array([Bomb()], object))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


def _saved(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _retold(data: bytes, rng) -> bytes:
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    body = data[file.tell() :]
    size = int(rng.choice([0, 1, 10**6, 10**12, 2**62]))
    shape = [(size,), (*shape, size), (-1,)][int(rng.integers(3))]
    kinds = [dtype.str, "<f8", "|V0", "|u1", "|O", "<U99", "<M8[ns]"]
    told = {"descr": str(rng.choice(kinds)), "fortran_order": fortran, "shape": shape}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue() + body


def _reworded(data: bytes, rng) -> bytes:
    header = json.loads(data[data.index(b"{", 128) :])
    key = str(rng.choice(sorted(header)))
    values = [None, -1, 10**18, "x", [], {}, {"a": 1}, [[]] * 3]
    if rng.random() < 0.3:
        del header[key]
    else:
        header[key] = values[int(rng.integers(len(values)))]
    text = json.dumps(header) if rng.random() < 0.9 else "[" * 10**5
    return _saved(np.frombuffer(text.encode(), np.uint8))


def tally(good: bytes, change, read, same, num: int, seed: int) -> dict:
    """Reads `num` changed files and counts what came of them.

    Args:
        good: the whole file.
        change: `(good, rng) -> bytes`.
        read: bytes -> content; raises what the reader raises.
        same: content -> whether it is that of `good`, exactly.
        num: number of files.
        seed: of the changes.
    """
    rng, found, slowest = np.random.default_rng(seed), Counter(), 0.0
    strange, before = Counter(), peak()
    went_off = Bomb.went_off
    for _ in range(num):
        bad = change(good, rng)
        begin = time.perf_counter()
        try:
            outcome = "exact" if same(read(bad)) else "WRONG"
        except ValueError as error:
            memory = isinstance(error.__cause__, MemoryError)
            outcome = "OUT OF MEMORY" if memory else "named error"
        except Exception as error:
            outcome = "OTHER ERROR"
            strange[type(error).__name__] += 1
        slowest = max(slowest, time.perf_counter() - begin)
        found[outcome] += 1
    return {
        "files": num,
        "outcomes": dict(found),
        **({"other errors": dict(strange)} if strange else {}),
        "code executed": Bomb.went_off - went_off,
        "slowest, s": round(slowest, 3),
        "memory beyond the start, MB": round(peak() - before),
    }


def sound(found: dict) -> bool:
    """Whether nothing but named errors and exact contents came out."""
    usual = found["outcomes"].keys() <= {"exact", "named error"}
    return usual and not found["code executed"]


def peak() -> float:
    """The largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
