"""Files: what damage does, and what false fields may not do."""

import contextlib
import copy
import errno
import io
import json
import os
import zipfile

import ml_dtypes
import numpy as np
import pytest

from benchmarks.faults import fuzz
from elbo_tfp.ground import files
from tests.statistics import says

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


def saved(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=True)
    return file.getvalue()


def headed(header):
    """Changes for `rewritten` that put this header into a file."""
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return {"header": saved(text), "digest": None}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"array/a": saved(np.float32([[1, 2], [3, 5]]))}, "check sum differs"),
        ({"array/a": None}, "check sum differs"),
        ({"array/a": None, "digest": None}, "arrays are missing or too many"),
        ({"array/a": saved(np.array([fuzz.Bomb()], object))}, "OBJECT"),
        ({"array/a": saved(ARRAYS["a"][:, :1])}, "check sum differs"),
        ({"array/a": saved(ARRAYS["a"].T)}, "check sum differs"),
        ({"array/a": saved(ARRAYS["a"].reshape(4))}, "check sum differs"),
        ({"array/a": saved(ARRAYS["a"].view("i4"))}, "check sum differs"),
        ({"array/a": None, "array/b": saved(ARRAYS["a"])}, "check sum differs"),
        ({"array/c": saved(ARRAYS["a"]), "digest": None}, "missing or too many"),
        ({"array/a": saved(ARRAYS["a"], (2, 0))}, "another version of NumPy's format"),
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


SIXES = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "array",
    [SIXES, SIXES.T, SIXES[:, ::2], SIXES[0, 1], SIXES[:0], SIXES > 2],
    ids=["table", "transposed", "strided", "number", "empty", "bool"],
)
@pytest.mark.parametrize(
    "dtype", ["f4", ">f8", "u1", "c8", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]
)
def test_arrays_of_every_kind_come_back(tmp_path, array, dtype):
    array = np.asarray(array).astype(dtype)
    files.write(tmp_path / "x.npz", "thing", {}, {"a": array})
    found = files.read(tmp_path / "x.npz", "thing")[1]["a"]
    assert found.dtype == array.dtype and found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_text_and_dates_come_back_and_objects_are_refused(tmp_path):
    arrays = {"text": np.array(["a", "bc"]), "date": np.array(["2020-01-01"], "M8[D]")}
    files.write(tmp_path / "x.npz", "thing", {}, arrays)
    found = files.read(tmp_path / "x.npz", "thing")[1]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    with says("Object arrays cannot be saved"):
        files.write(tmp_path / "x.npz", "thing", {}, {"a": np.array([None])})


def test_half_precision_of_older_files_comes_back(path):
    half = np.array([[0.5, 2.0]], ml_dtypes.bfloat16)
    header = {"kind": "thing", "version": 1, "dtypes": {"a": "bfloat16"}}
    changed = {"array/a": saved(half.view(np.uint8)), "array/none": None}
    rewritten(path, **headed(header), **changed)
    found = files.read(path, "thing")[1]["a"]
    assert found.dtype == half.dtype
    np.testing.assert_array_equal(found, half)


def test_a_file_is_an_archive_that_numpy_reads(path):
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive) == ["array/a", "array/none", "digest", "header"]
        np.testing.assert_array_equal(archive["array/a"], ARRAYS["a"])
        header = json.loads(archive["header"].tobytes())
        assert archive["digest"].shape == (16,)
    dtypes = {"a": "float32", "none": "float64"}
    assert header == {"kind": "thing", "version": 1, "dtypes": dtypes, "n": 1}


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ({"kind": "other", "version": 1}, ["to be a thing", "got 'other'"]),
        ({"version": 1}, ["to be a thing", "got None"]),
        ([1, 2], ["to be a thing", "got [1, 2]"]),
        ({"kind": "thing", "version": 2}, ["has format version 2;", "reads 1."]),
    ],
)
def test_headers_of_another_kind_or_version_are_named(path, header, parts):
    rewritten(path, **headed(header))
    with says(str(path), *parts):
        files.read(path, "thing")


def test_an_archive_without_a_header_is_foreign_and_no_file_is_no_damage(path):
    rewritten(path, header=None)
    with pytest.raises(
        ValueError, match="file.npz is no thing of .*: it has no header"
    ):
        files.read(path, "thing")
    with pytest.raises(FileNotFoundError):
        files.read(path.with_name("nothing.npz"), "thing")


def test_parts_that_overlap_are_not_read_twice(path):
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(99):
            again = copy.copy(archive.getinfo("array/a.npy"))
            again.filename = again.orig_filename = f"array/{i}.npy"
            archive.filelist.append(again)
        archive._didModify = True
    with pytest.raises(ValueError, match="its parts are longer than the file"):
        files.read(path, "thing")


def test_large_arrays_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # of bytes; it is 2 GB
    files.write(tmp_path / "x.npz", "thing", {"n": 1}, ARRAYS)
    monkeypatch.undo()
    assert same(files.read(tmp_path / "x.npz", "thing"))


def test_a_file_is_on_the_disk_before_it_has_its_name(path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace

    def synced(handle):
        folder = os.path.samestat(os.fstat(handle), path.parent.stat())
        order.append("folder" if folder else os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(
        os, "replace", lambda *names: order.append("name") or replace(*names)
    )
    with files.replacing(path) as file:
        file.write(b"seven..")
    assert order == [7, "name", "folder"] and path.read_bytes() == b"seven.."


def test_no_handle_is_left_open(path):
    def free():
        handle = os.open(os.devnull, os.O_RDONLY)
        os.close(handle)
        return handle

    before = free()
    files.write(path, "thing", {}, ARRAYS)
    files.read(path, "thing")
    with contextlib.suppress(OSError), files.replacing(path):
        raise OSError
    assert free() == before


def test_other_errors_come_through_as_they_are(path):
    before = path.read_bytes()
    with pytest.raises(KeyError), files.replacing(path):
        raise KeyError
    with pytest.raises(OSError, match="elsewhere") as caught, files.replacing(path):
        raise FileNotFoundError(errno.ENOENT, "No such file", "elsewhere")
    assert caught.value.filename == "elsewhere" and path.read_bytes() == before
    assert os.listdir(path.parent) == ["file.npz"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"), files.replacing(tmp_path / "file" / "x"):
        pass
    with pytest.raises(OSError, match="too long"):
        files.check_place(tmp_path / ("x" * 300))


def test_only_what_was_left_of_this_file_is_removed(path):
    for name in (".file.npz.12.3.part", ".file.npz.7.part", ".other.npz.12.3.part"):
        path.with_name(name).touch()
    path.with_name(".file.npz.8.9.part").mkdir()  # which cannot be unlinked
    files.clean(path)
    left = [".file.npz.8.9.part", ".other.npz.12.3.part", "file.npz"]
    assert sorted(os.listdir(path.parent)) == left
