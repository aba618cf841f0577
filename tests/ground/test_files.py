"""Files: what damage does, and what false fields may not do."""

import errno
import io
import json
import os
import zipfile

import numpy as np
import pytest

from benchmarks.faults import fuzz
from elbo_tfp.ground import files

ARRAYS = {"a": np.float32([[1.0, 2.0], [3.0, 4.0]]), "none": np.zeros([0, 4])}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.npz"
    files.write(path, "thing", {"n": 1}, ARRAYS)
    return path


def same(found):
    header, arrays = found
    pairs = ((arrays[k], ARRAYS[k]) for k in ARRAYS)
    return header["n"] == 1 and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in pairs
    )


@pytest.mark.parametrize("change", [fuzz.changed_bytes, fuzz.changed_archive])
def test_changed_files(path, change):
    def read(content):
        path.write_bytes(content)
        return files.read(path, "thing")

    found = fuzz.tally(path.read_bytes(), change, read, same, 500, 0)
    assert fuzz.sound(found), found
    assert found["outcomes"]["named error"] > 400


def rewritten(path, packing=zipfile.ZIP_STORED, **changed):
    """The same archive with other parts, its check sums right."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts |= {name + ".npy": data for name, data in changed.items()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in parts.items():
            if data is not None:
                archive.writestr(name, data)


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"array/a": saved(np.float32([[1, 2], [3, 5]]))}, "check sum differs"),
        ({"array/a": None}, "check sum differs"),
        ({"array/a": None, "digest": None}, "arrays are missing or too many"),
        ({"array/a": saved(np.array([fuzz.Bomb()], object))}, "OBJECT"),
        ({"packing": zipfile.ZIP_DEFLATED}, "it is compressed"),
        ({"header": saved(np.frombuffer(b"[" * 10**5, np.uint8)), "digest": None},
         "recursion"),
    ],
)  # fmt: skip
def test_sound_archives_of_other_content(path, changed, text):
    rewritten(path, **changed)
    with pytest.raises(
        ValueError, match=rf"damaged or another kind of file \(.*{text}"
    ):
        files.read(path, "thing")
    assert not fuzz.Bomb.went_off


def test_a_false_shape_allocates_nothing(path):
    file = io.BytesIO()
    told = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(file, told)
    rewritten(path, **{"array/a": file.getvalue() + bytes(32), "digest": None})
    with pytest.raises(ValueError, match="cannot reshape array of size 4"):
        files.read(path, "thing")


def test_files_without_a_digest_are_those_of_the_first_edition(path):
    rewritten(path, digest=None)
    assert same(files.read(path, "thing"))


def test_types_that_are_none(path):
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("header.npy")[128:])
    header["dtypes"]["a"] = "finfo"
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    rewritten(path, header=saved(text), digest=None)
    with pytest.raises(ValueError, match="damaged or another kind"):
        files.read(path, "thing")


def test_an_error_names_the_file_and_leaves_the_old_one(path):
    before = path.read_bytes()
    with pytest.raises(OSError, match="file.npz"), files.replacing(path) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["file.npz"]


def test_two_writers_of_one_file_do_not_meet(path):
    with files.replacing(path) as one, files.replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        files.check_place(tmp_path / "file" / "x.npz")
    files.check_place(tmp_path / "new" / "x.npz")
    assert os.listdir(tmp_path / "new") == []


def test_folders_on_the_way_are_made(tmp_path):
    place = tmp_path / "two" / "folders" / "file.npz"
    files.check_place(place)
    assert place.parent.is_dir() and not list(place.parent.iterdir())
    deeper = place.parent / "and" / "more" / "file.npz"
    files.write(deeper, "thing", {"n": 1}, ARRAYS)
    assert same(files.read(deeper, "thing"))
    files.check_place(deeper)  # a folder that is there is no fault
    files.write(deeper, "thing", {"n": 1}, ARRAYS)
