"""Data larger than memory: batches from sharded TFRecord files, for `fit`.

`write_shards` has shuffled the rows over the files; here they are read in another order
every epoch, and `tf.data` does the work: files interleaved, rows permuted in a buffer.
A record holds a block of rows, each part's bytes one after another.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import json
import os
import zlib
from pathlib import Path

import tensorflow as tf

from elbo_tfp.ground import files, structures
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed, fold_in

INDEX, KIND = "index.npz", "index of shards"
_BUFFER = 2**23
"""Bytes in the shuffle buffer."""
_CYCLE = 8
"""Shards read at the same time."""


@dataclasses.dataclass(frozen=True)
class Shards:
    """Data in sharded files, which `fit(data=)` streams; made by `shards`."""

    paths: tuple
    """The files."""
    rows: tuple
    """Rows in each file."""
    structure: object
    """What a row is made of: `tf.TensorSpec` of one row."""
    buffer: int
    """Rows in the shuffle buffer."""

    @property
    def num_data(self) -> int:
        """Rows in all files."""
        return sum(self.rows)

    @property
    def checksum(self) -> int:
        """Differs if other data were written."""
        sizes = [os.path.getsize(path) for path in self.paths]
        said = encoded(self.structure), self.rows, sizes, self.buffer
        return zlib.crc32(json.dumps(said).encode())

    def batches(self, batch_size: int, *, seed, first: int = 0) -> tf.data.Dataset:
        """Batches without end; every row once an epoch, in an order of the seed.

        A batch may straddle epochs. What batch number t holds depends on the files,
        the seed and t alone.

        Args:
            batch_size: rows in a batch.
            seed: int, pair of ints or integer tensor; stateless.
            first: number of the first batch; whole epochs before it are not read.

        Raises:
            ValueError: if a batch would be larger than the data.
        """
        size, n = whole("batch_size", batch_size), self.num_data
        if size > n:
            raise wrong(f"batch_size to be at most the number of data, {n}", size)
        start, skip = divmod(first * size, n)
        seed = as_seed(seed)

        def epoch(number):
            here = tf.where(number == start, skip, 0)
            return self._epoch(fold_in(seed, number), tf.cast(here, tf.int64))

        rows = tf.data.Dataset.counter(start).flat_map(epoch).prefetch(1)
        options = tf.data.Options()
        options.deterministic = True
        # else TensorFlow adds buffers whose size it tunes, up to half of the memory
        options.autotune.enabled = False
        options.experimental_optimization.inject_prefetch = False
        return rows.rebatch(size, drop_remainder=True).with_options(options)

    def _epoch(self, seed, skip) -> tf.data.Dataset:
        """One pass, without its first `skip` rows, in buffers of permuted rows."""
        shuffle = functools.partial(
            tf.random.experimental.stateless_shuffle, alg="philox"
        )
        paths = shuffle(tf.constant(self.paths), fold_in(seed, -1))
        parsed = functools.partial(rows_of, structure=self.structure)
        blocks = tf.data.Dataset.from_tensor_slices(paths).interleave(
            lambda path: tf.data.TFRecordDataset(path).map(parsed),
            cycle_length=min(_CYCLE, len(self.paths)),
            num_parallel_calls=2,
        )
        first, rest = skip // self.buffer, skip % self.buffer

        def permuted(i, rows):
            length = tf.shape(tf.nest.flatten(rows)[0])[0]
            order = shuffle(tf.range(length), fold_in(seed, i))
            return structures.rows(rows, order[tf.where(i == first, rest, 0) :])

        return blocks.rebatch(self.buffer).enumerate().skip(first).map(permuted)

    def explained(self, error) -> ValueError:
        """What a failure to read means: names the files; reads them all."""
        bad = [path for path in self.paths if not _sound(path)]
        return wrong("shards that are whole", f"damage in {bad}: {error}", _AGAIN)


def shards(pattern, *, buffer: int | None = None) -> Shards:
    """Opens what `write_shards` wrote, for `fit(data=...)` or `.batches`.

    `fit` takes the order of the rows from its seed, reads the next chunk of batches
    while one runs, and goes on from a checkpoint with the same batches. Memory does
    not depend on the size of the data.

    Args:
        pattern: a folder, or a pattern of several such as `"cells/2024-*"`.
        buffer: rows in the shuffle buffer; default what fits in 8 MB. The rows were
            shuffled when they were written; the buffer makes every epoch another.

    Returns:
        `Shards`.

    Raises:
        ValueError: if nothing matches, a folder was not finished, a file is missing or
            truncated, or folders hold different structures.
    """
    found = sorted(glob.glob(os.fspath(pattern)))
    if not found:
        raise wrong(
            "a folder of shards, or a pattern of some",
            f"{os.fspath(pattern)!r}, which matches nothing",
            "data.write_shards(x, folder) makes one.",
        )
    paths, rows, said = [], [], {}
    for folder in map(Path, found):
        header, arrays = _index(folder)
        said.setdefault(json.dumps(header["structure"], sort_keys=True), folder)
        sizes = zip(header["names"], arrays["bytes"], strict=True)
        paths += [_whole(folder / name, int(size)) for name, size in sizes]
        rows += map(int, arrays["rows"])
    if len(said) > 1:
        raise wrong(
            "shards of one structure",
            "; ".join(f"{folder}: {text}" for text, folder in said.items()),
            "Write them anew, or open them one by one.",
        )
    structure = _decoded(json.loads(next(iter(said))))
    fitting = min(sum(rows), max(1, _BUFFER // max(1, row_bytes(structure))))
    buffer = fitting if buffer is None else whole("buffer", buffer)
    return Shards(tuple(paths), tuple(rows), structure, buffer)


def rows_of(record, structure):
    """The rows in a record."""
    parts = tf.nest.flatten(structure)
    names = {str(i): tf.io.FixedLenFeature([], tf.string) for i in range(len(parts))}
    found = tf.io.parse_single_example(record, names)
    arrays = [
        tf.reshape(tf.io.decode_raw(found[str(i)], part.dtype), [-1, *part.shape])
        for i, part in enumerate(parts)
    ]
    return tf.nest.pack_sequence_as(structure, arrays)


def row_bytes(structure) -> int:
    """What a row takes."""
    parts = tf.nest.flatten(structure)
    return sum(part.dtype.size * part.shape.num_elements() for part in parts)


def encoded(structure):
    """A structure of specs as JSON: objects, lists, and text such as "float32 8 8"."""
    if isinstance(structure, dict):
        return {name: encoded(part) for name, part in structure.items()}
    if isinstance(structure, tuple):
        return [encoded(part) for part in structure]
    return " ".join(map(str, (structure.dtype.name, *structure.shape)))


def _decoded(said):
    if isinstance(said, dict):
        return {name: _decoded(part) for name, part in said.items()}
    if isinstance(said, list):
        return tuple(map(_decoded, said))
    kind, *shape = said.split()
    return tf.TensorSpec(list(map(int, shape)), kind)


def _index(folder: Path):
    path = folder / INDEX
    if not path.exists():
        raise wrong(
            "a folder that data.write_shards has finished",
            f"{folder}, which holds no {INDEX}",
            "Empty it and write the shards again.",
        )
    return files.read(path, KIND)


def _whole(path: Path, size: int) -> str:
    """The path of a file that has the size that it was written with."""
    found = path.stat().st_size if path.exists() else None
    if found != size:
        got = "no such file" if found is None else f"{found}: the shard is truncated"
        raise wrong(f"{path} to have {size} bytes", got, _AGAIN)
    return str(path)


_AGAIN = "Copy it or write the shards again."


def _sound(path: str) -> bool:
    try:
        tf.data.TFRecordDataset(path).reduce(0, lambda n, record: n + 1)
    except tf.errors.OpError:
        return False
    return True
