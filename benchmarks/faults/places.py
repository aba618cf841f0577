"""A folder that is read-only, full or gone: a named error, and nothing earlier lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np

from benchmarks.faults import kills, work
from elbo_tfp.ground import files


class Place:
    """A folder of its own file system, one megabyte, that can be broken and mended."""

    def __init__(self, folder):
        self.folder = Path(folder) / "disk"
        self.folder.mkdir()
        _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", self.folder)
        self.inside = self.folder / "kept"
        self.inside.mkdir()

    def break_(self, how: str) -> None:
        """Makes it "read-only", "full" or "gone"."""
        if how == "read-only":
            _mount("-o", "remount,ro", self.folder)
        elif how == "gone":
            shutil.rmtree(self.inside)
        else:
            with contextlib.suppress(OSError), open(self.folder / "fill", "wb") as file:
                while True:
                    os.write(file.fileno(), bytes(4096))

    def mend(self) -> None:
        """Makes it writable again, with room."""
        _mount("-o", "remount,rw", self.folder)
        (self.folder / "fill").unlink(missing_ok=True)

    def close(self) -> None:
        """Gives it back."""
        subprocess.run(["umount", str(self.folder)], check=True)


def _mount(*words) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


@contextlib.contextmanager
def disk():
    """A `Place`; None where file systems cannot be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            place = Place(folder)
        except (subprocess.CalledProcessError, OSError):
            yield None
            return
        try:
            yield place
        finally:
            place.close()


HOWS = ("read-only", "full", "gone")


def every() -> dict:
    """All writers in all places."""
    found = {}
    for how in HOWS:
        found[f"save, {how}"] = of_writer(work.Saves(50_000), how)
        found[f"compress, {how}"] = of_writer(work.Codes(), how)
        found[f"Checkpoint, {how}"] = of_fit(how)
    return found


def of_writer(writer, how: str) -> dict | str:
    """Writes state 1, breaks the place, and tries to write state 2."""
    with disk() as place:
        if place is None:
            return "skipped: no file system can be mounted here"
        path = place.inside / "file"
        writer.write(path, 1)
        before = path.read_bytes()
        place.break_(how)
        outcome = _attempt(lambda: writer.write(path, 2), path)
        if how == "gone":  # made anew, or named
            return {"outcome": outcome, "reads": writer.read(path)}
        if outcome == "written" or path.read_bytes() != before:
            raise AssertionError(
                f"{how}: {outcome}, the file before is lost or changed"
            )
        if kills.parts(place.inside):
            raise AssertionError(f"{how}: half a file is left behind")
        kept = writer.read(path)
        place.mend()
        writer.write(path, 3)
        return {"outcome": outcome, "kept": kept == 1, "mended": writer.read(path) == 3}


def _attempt(write, path) -> str:
    try:
        write()
    except OSError as error:
        if str(path) not in str(error):
            raise AssertionError(
                f"the error does not name the file: {error}"
            ) from error
        return f"{type(error).__name__}: {error.strerror}"
    return "written"


def of_fit(how: str, steps: int = 100) -> dict | str:
    """Breaks the place of a running fit after its second checkpoint; resumes later."""
    undisturbed = work.climb(None, steps, size=20_000)
    with disk() as place:
        if place is None:
            return "skipped: no file system can be mounted here"
        path, write, count = place.inside / "checkpoint.npz", files.write, []

        def breaking(*arguments):
            count.append(1)
            if len(count) == 3:
                count.append(path.read_bytes())
                place.break_(how)
            write(*arguments)

        files.write = breaking
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                result = work.climb(place.inside, steps, size=20_000)
        finally:
            files.write = write
        said = [
            str(w.message) for w in heard if "could not be written" in str(w.message)
        ]
        same = np.array_equal(result.elbo, undisturbed.elbo)
        kept = path.read_bytes() == count[3]
        if not same or (how != "gone" and not (said and kept)):
            raise AssertionError(f"{how}: same {same}, kept {kept}, said {said}")
        place.mend()
        again = work.climb(place.inside, steps, size=20_000)
        if not np.array_equal(again.state.values[0], undisturbed.state.values[0]):
            raise AssertionError(f"{how}: the resumed fit ends elsewhere")
        left = [part.name for part in kills.parts(place.inside)]
    return {
        "outcome": f"{len(said)} warnings" if said else "the folder was made anew",
        "fit as undisturbed": same,
        "kept": kept,
        "resumed to the bit": True,
        "half files": len(left),
    }
