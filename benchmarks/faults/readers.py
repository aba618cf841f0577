"""Each kind of file that the package reads, with what reads it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.faults import work
from benchmarks.faults.fuzz import changed_archive, changed_bytes, tally
from elbo_tfp import codes
from elbo_tfp.codes import files as coding
from elbo_tfp.ground import files


def saved_model(num: int, seed: int = 0) -> dict:
    """Files of `save`."""
    with tempfile.TemporaryDirectory() as folder:
        path, writer = Path(folder) / "model.npz", work.Saves(500)
        writer.write(path, 1)
        found = _archives(path, "saved model", num, seed)

        def read(content):
            path.write_bytes(content)
            writer.values.assign(work.data_of(7, 500))
            try:
                return writer.read(path)
            except ValueError:
                # an error leaves the parts as they were
                if not np.array_equal(writer.values, work.data_of(7, 500)):
                    raise AssertionError("a failed load changed the parts") from None
                raise

        writer.write(path, 1)
        few = num // 30
        good = path.read_bytes()
        by_load = tally(good, changed_bytes, read, lambda n: n == 1, few, seed)
        return {**found, "through et.load": by_load}


def checkpoint(num: int, seed: int = 1) -> dict:
    """Files of `Checkpoint`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        end = work.climb(path.parent, 40, size=50)
        found = _archives(path, "checkpoint", num, seed)
        work.climb(path.parent, 40, size=50)
        good = path.read_bytes()

        def read(content):
            path.write_bytes(content)
            return work.climb(path.parent, 40, size=50)

        def same(result):
            pairs = zip(result.state.values, end.state.values, strict=True)
            equal = all(np.array_equal(a, b) for a, b in pairs)
            return equal and np.array_equal(result.elbo, end.elbo)

        few = tally(good, changed_bytes, read, same, max(5, num // 200), seed)
        return {**found, "through fit": few}


def _archives(path, kind, num, seed) -> dict:
    good, (header, arrays) = path.read_bytes(), files.read(path, kind)

    def read(content):
        path.write_bytes(content)
        return files.read(path, kind)

    def same(found):
        equal = found[0] == header and found[1].keys() == arrays.keys()
        return equal and all(_same(found[1][k], arrays[k]) for k in arrays)

    kinds = {"changed bytes": changed_bytes, "changed archives": changed_archive}
    found = {
        name: tally(good, change, read, same, num, seed)
        for name, change in kinds.items()
    }
    path.write_bytes(good)
    return found


def _same(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def compressed(num: int, seed: int = 2) -> dict:
    """Files of `compress`."""
    with tempfile.TemporaryDirectory() as folder:
        path, writer = Path(folder) / "data.elbo", work.Codes(4)
        writer.write(path, 1)
        good, prepare, made = path.read_bytes(), coding.prepare, []

        def prepared(*arguments, **settings):
            # the same networks every time: they are traced once
            made[:] = made or [prepare(*arguments, **settings)]
            return made[0]

        coding.prepare = prepared
        try:
            return tally(
                good,
                changed_bytes,
                lambda content: codes.decompress(content, *writer.parts),
                lambda x: np.array_equal(x, writer.data(1)),
                num,
                seed,
            )
        finally:
            coding.prepare = prepare
