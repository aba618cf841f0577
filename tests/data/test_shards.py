"""Sharded files: every row once an epoch, an order of the seed, damage by its name."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from elbo_tfp import data
from elbo_tfp.data import reading, writing
from elbo_tfp.fitting import Checkpoint, fit

N = 103


def rows_of(n=N):
    return {
        "x": np.arange(3 * n, dtype=np.float32).reshape(n, 3),
        "given": (np.arange(n), np.arange(n) % 2 == 0),
    }


@pytest.fixture
def small(monkeypatch):
    """Several records a shard, several blocks of data."""
    monkeypatch.setattr(writing, "_RECORD", 100)
    monkeypatch.setattr(writing, "_BLOCK", 500)


@pytest.fixture
def written(tmp_path, small):
    return data.write_shards(rows_of(), tmp_path / "s", shards=4, seed=1)


def numbers(shards, count, size=10, **given):
    """The row numbers of some batches, `[count * size]`."""
    batches = shards.batches(size, **given).as_numpy_iterator()
    return np.concatenate([b["given"][0] for b in itertools.islice(batches, count)])


def test_rows_come_back_whole_in_their_structure(written, tmp_path):
    assert written.num_data == N and len(written.paths) == 4
    assert written.structure["x"] == tf.TensorSpec([3], tf.float32)
    batch = next(written.batches(N, seed=0).as_numpy_iterator())
    order = np.argsort(batch["given"][0])
    for found, meant in zip(*map(tf.nest.flatten, (batch, rows_of())), strict=True):
        np.testing.assert_array_equal(found[order], meant)
        assert found.dtype == meant.dtype
    assert data.shards(str(tmp_path / "s*")) == written
    assert not list((tmp_path / "s").glob("*.part"))


@pytest.mark.parametrize("buffer", [None, 7, 30])
def test_every_epoch_has_every_row_once_in_a_fresh_order(written, tmp_path, buffer):
    shards = data.shards(tmp_path / "s", buffer=buffer)
    seen = numbers(shards, N, seed=3)  # ten epochs
    epochs = seen.reshape(10, N)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(N))
    assert len({tuple(epoch) for epoch in epochs}) == 10
    np.testing.assert_array_equal(seen[:150], numbers(shards, 15, seed=3))
    assert not np.array_equal(seen[:150], numbers(shards, 15, seed=4))
    # a later start, in every place of an epoch, gives the same batches
    for first in (1, 2, 5, 10, 11, 47):
        later = numbers(shards, 3, seed=3, first=first)
        np.testing.assert_array_equal(later, seen[10 * first :][:30])


def test_the_global_seed_of_tensorflow_does_not_matter(written):
    tf.random.set_seed(1)
    one = numbers(written, 5, seed=3)
    tf.random.set_seed(2)
    np.testing.assert_array_equal(numbers(written, 5, seed=3), one)


def test_written_rows_are_a_uniform_permutation(tmp_path, small):
    # 310 rows are 5 blocks of 62, and records of 12: neither may stay together
    to, together, x = np.zeros([5, 5]), 0, np.arange(310.0)
    for seed in range(4):
        shards = data.write_shards(x, tmp_path / str(seed), shards=1, seed=seed)
        records = tf.data.TFRecordDataset(shards.paths)
        rows = np.concatenate([reading.rows_of(r, shards.structure) for r in records])
        np.add.at(to, (rows.astype(int) // 62, np.arange(310) // 62), 1)
        together += np.sum(np.diff(rows) == 1)
    # from a fifth to a fifth: 49.6 rows, standard error (hypergeometric) 5.6
    assert abs(to - 49.6).max() < 4 * 5.6
    # neighbours that stay so: 1 a writing, standard error 2 over the four
    assert together < 4 + 4 * 2
    assert data.write_shards(x, tmp_path / "a", shards=1).checksum


@pytest.mark.parametrize(
    "blocks",
    [
        lambda x: tf.data.Dataset.from_tensor_slices(x).batch(9),
        lambda x: (x[i : i + 20] for i in range(0, len(x), 20)),
        lambda x: x.tolist(),
    ],
)
def test_blocks_of_any_kind_are_written(tmp_path, small, blocks):
    x = np.arange(50, dtype=np.float32)
    shards = data.write_shards(blocks(x), tmp_path, shards=3)
    found = next(shards.batches(50, seed=0).as_numpy_iterator())
    np.testing.assert_array_equal(np.sort(found), x)


def read(path):
    """A fit of one step."""
    v = tf.Variable(0.0)
    shards = data.shards(path)
    return fit(
        lambda batch: v * batch["x"][:, 0],
        num_steps=1,
        data=shards,
        batch_size=50,
        seed=0,
    )


def test_a_folder_that_is_not_there_or_not_finished(tmp_path, written):
    with pytest.raises(ValueError, match="nowhere.*matches nothing"):
        data.shards(tmp_path / "nowhere-*")
    (tmp_path / "s" / reading.INDEX).unlink()
    with pytest.raises(ValueError, match="write_shards has finished"):
        data.shards(tmp_path / "s")


def test_a_truncated_and_a_missing_shard_are_named(tmp_path, written):
    path = tmp_path / "s" / "part-00002-of-00004.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="part-00002.*truncated"):
        data.shards(tmp_path / "s")
    path.unlink()
    with pytest.raises(ValueError, match="part-00002.*no such file"):
        data.shards(tmp_path / "s")


def test_a_corrupt_shard_is_named(tmp_path, written):
    path = tmp_path / "s" / "part-00001-of-00004.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damage in \['[^']*part-00001[^']*'\]"):
        read(tmp_path / "s")


def test_shards_of_several_structures_are_refused(tmp_path, written):
    data.write_shards(np.ones([20, 3]), tmp_path / "t", shards=2)
    with pytest.raises(ValueError, match="one structure.*float64 3"):
        data.shards(tmp_path / "[st]")
    data.write_shards(rows_of(20), tmp_path / "s2", shards=2)
    assert data.shards(tmp_path / "s*").num_data == N + 20

    def __new__(cls, a, b):
        return super().__new__(cls, (a, b))


@pytest.mark.parametrize(
    ("x", "given", "message"),
    [
        (np.float32([1, np.nan]), {}, "block 0 of x without NaN"),
        (
            {"x": np.ones(4), "y": np.ones(3)},
            {},
            r"same length; got \[\(3,\), \(4,\)\]",
        ),
        (np.ones(3), {"shards": 40}, "a row for each of 40 shards"),
        (np.ones(3), {"shards": 0}, "shards to be a positive int"),
        (np.ones(3, np.uint64), {"shards": 1}, "a type among .*; got uint64"),
        ({1: np.ones(3)}, {"shards": 1}, "names as keys"),
        ((p for p in (np.ones(3), np.ones([3, 2]))), {}, "one structure, float64"),
        ((), {}, "x"),
        (np.ones(()), {}, "same length"),
        (iter(()), {"shards": 1}, "at least a row"),
        (sparse.eye(9).tocsr(), {"shards": 1}, "dense rows; got a sparse csr_matrix"),
        ({"x": sparse.eye(9).tocsr()}, {"shards": 1}, "data.sparse_rows"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, x, given, message):
    with pytest.raises(ValueError, match=message):
        data.write_shards(x, tmp_path / "s", **given)
    assert not list((tmp_path / "s").glob("*.part"))


def test_named_tuples_and_full_folders_are_refused(tmp_path, written):
    from collections import namedtuple

    pair = namedtuple("Pair", "a b")(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"a Pair. Pass x._asdict\(\)"):
        data.write_shards(pair, tmp_path / "p")
    with pytest.raises(ValueError, match="an empty folder"):
        data.write_shards(np.ones(3), tmp_path / "s")


def test_masked_values_may_be_missing(tmp_path):
    x = {"x": np.float32([[1, np.nan], [2, 3]]), "mask": np.array([[1, 0], [1, 1]]) > 0}
    shards = data.write_shards(x, tmp_path / "s", shards=1)
    assert shards.num_data == 2


def bound(v):
    return lambda batch, seed: -tf.square(batch["x"][:, 0] / 300 - v)


def test_a_fit_knows_the_size_and_takes_its_order_from_its_seed(written):
    v, sizes = tf.Variable(0.0), []

    def objective(batch, num_data):
        sizes.append(num_data)
        return bound(v)(batch, None)

    def run(seed):
        v.assign(0.0)
        given = {"num_steps": 25, "data": written, "batch_size": 10}
        return fit(objective, seed=seed, **given).elbo

    one = run(0)
    assert set(sizes) == {N}
    np.testing.assert_array_equal(run(0), one)
    assert not np.array_equal(run(1), one)
    with pytest.raises(ValueError, match=f"at most the number of data, {N}"):
        fit(objective, num_steps=1, data=written, batch_size=N + 1, seed=0)
    with pytest.raises(ValueError, match="A stream is read in batches"):
        fit(objective, num_steps=1, data=written, seed=0)


def test_a_resumed_fit_on_shards_is_the_same_to_the_bit(written, tmp_path):
    v = tf.Variable(0.0)
    given = {"data": written, "batch_size": 10, "seed": 5}
    whole = fit(bound(v), num_steps=37, **given)
    value = v.numpy()
    v.assign(0.0)
    first = fit(bound(v), num_steps=17, **given)
    rest = fit(bound(v), num_steps=20, init=first, data=written, batch_size=10)
    np.testing.assert_array_equal(rest.elbo, whole.elbo)
    assert v.numpy() == value
    v.assign(0.0)
    given["checkpoint"] = Checkpoint(tmp_path / "c", every=6, resume=True)
    fit(bound(v), num_steps=17, **given)
    again = fit(bound(v), num_steps=37, **given)
    np.testing.assert_array_equal(again.elbo, whole.elbo)
    assert v.numpy() == value
    other = data.write_shards(rows_of(), tmp_path / "o", shards=5)
    with pytest.raises(ValueError, match="another fit: checksum of the data"):
        fit(bound(v), num_steps=40, **{**given, "data": other})


def test_an_index_says_what_a_row_is_made_of(written, tmp_path):
    header, arrays = reading._index(tmp_path / "s")
    said = {"x": "float32 3", "given": ["int64", "bool"]}
    assert header["structure"] == json.loads(json.dumps(said))
    assert arrays["rows"].sum() == N
