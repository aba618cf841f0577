"""Writes data larger than memory as sharded files, their rows shuffled for good.

In a first pass a row goes to any shard, so each is a random sample of the data; in a
second one each shard is shuffled. That is a uniform permutation of all rows, although
no more than a block and a shard are ever in memory.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from elbo_tfp.data import reading
from elbo_tfp.ground import files, structures
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed

_RECORD = 2**18
"""Bytes in one record, which holds many rows."""
_BLOCK = 2**24
"""Bytes taken from an array at a time."""
_TYPES = "bfloat16 bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16"


def write_shards(x, folder, *, shards: int = 16, seed=0) -> reading.Shards:
    """Writes data as TFRecord files, their rows shuffled, and opens them.

    Args:
        x: data, `[N]` + event, an array (also `numpy.memmap`) or a dict or tuple of
            arrays; or any iterable of such blocks of rows, a `tf.data.Dataset` of
            batches, say. Only a block and a shard are ever in memory.
        folder: an empty or new one.
        shards: number of files; one must fit in memory.
        seed: of the order of the rows; int, pair of ints or integer tensor.

    Returns:
        `Shards`, as `data.shards(folder)` does.

    Raises:
        ValueError: if the folder holds shards, blocks differ in structure, a value is
            NaN or infinite (under a "mask" only observed ones count), a type cannot be
            stored, or there are fewer rows than shards.
    """
    folder, count = Path(folder), whole("shards", shards)
    if folder.is_dir() and any(folder.iterdir()):
        raise wrong("an empty folder, or a new one", f"{folder}, which holds files")
    folder.mkdir(parents=True, exist_ok=True)
    entropy = as_seed(seed).numpy().view(np.uint32).tolist()
    rng = np.random.default_rng(entropy)
    names = [f"part-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
    piles = [folder / f"{name}.part" for name in names]
    try:
        structure, rows = _dealt(x, piles, rng)
        if not all(rows):
            raise wrong(
                f"at least a row for each of {count} shards",
                f"{sum(rows)} rows, dealt at random",
                "Choose fewer shards.",
            )
        for pile, name in zip(piles, names, strict=True):
            _shuffled(pile, folder / name, structure, rng)
    finally:
        for pile in piles:
            pile.unlink(missing_ok=True)
    sizes = [(folder / name).stat().st_size for name in names]
    header = {"structure": reading.encoded(structure), "names": names}
    arrays = {"rows": np.array(rows), "bytes": np.array(sizes)}
    # the index comes last: without it, the folder is not finished
    files.write(folder / reading.INDEX, reading.KIND, header, arrays)
    return reading.shards(glob.escape(os.fspath(folder)))


def _dealt(x, piles, rng):
    """Writes each row to any pile; gives the structure, and the rows of each pile."""
    structure, rows = None, np.zeros(len(piles), int)
    writers = [tf.io.TFRecordWriter(str(pile)) for pile in piles]
    for number, block in enumerate(_blocks(x)):
        block, found = _checked(block, f"block {number} of x")
        structure = structure or found
        if found != structure:
            raise wrong(
                f"blocks of one structure, {reading.encoded(structure)}",
                f"{reading.encoded(found)} in block {number}",
            )
        to = rng.integers(len(piles), size=len(tf.nest.flatten(block)[0]))
        for i, writer in enumerate(writers):
            _append(writer, [part[to == i] for part in tf.nest.flatten(block)])
        rows += np.bincount(to, minlength=len(piles))
    for writer in writers:
        writer.close()
    return structure, rows


def _shuffled(pile, path, structure, rng) -> None:
    """Writes the rows of a pile in random order."""
    blocks = [
        reading.rows_of(record, structure)
        for record in tf.data.TFRecordDataset(str(pile))
    ]
    parts = zip(*map(tf.nest.flatten, blocks), strict=True)
    parts = [tf.concat(part, 0).numpy() for part in parts]
    order = rng.permutation(len(parts[0]))
    step = max(1, _RECORD // max(1, reading.row_bytes(structure)))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for start in range(0, len(order), step):
            _append(writer, [part[order[start : start + step]] for part in parts])


def _append(writer, parts) -> None:
    """Writes a record of these rows, if there are any."""
    if not len(parts[0]):
        return
    features = {
        str(i): tf.train.Feature(bytes_list=tf.train.BytesList(value=[p.tobytes()]))
        for i, p in enumerate(parts)
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    writer.write(example.SerializeToString())


def _blocks(x):
    """Blocks of rows, of arrays or of an iterable of blocks."""
    if isinstance(x, tf.data.Dataset):
        yield from x.as_numpy_iterator()
    elif isinstance(x, (Mapping, tuple, list)) or hasattr(x, "shape"):
        x = np.asarray(x) if isinstance(x, list) else x
        for part in tf.nest.flatten(x):
            if hasattr(part, "toarray"):
                raise wrong(
                    "x to be dense, or blocks of dense rows",
                    f"a sparse {type(part).__name__}",
                    "Use x.toarray(), or data.sparse_rows(x).batch(256) if large.",
                )
        arrays = tf.nest.map_structure(np.asanyarray, x)
        lengths = {part.shape[:1] for part in tf.nest.flatten(arrays)}
        if len(lengths) != 1 or () in lengths:
            raise wrong("all parts of x to have the same length", sorted(lengths))
        ((length,),) = lengths
        total = sum(part.nbytes for part in tf.nest.flatten(arrays))
        step = max(1, _BLOCK * length // max(1, total))
        for start in range(0, length, step):
            yield structures.rows(arrays, slice(start, start + step))
    else:
        yield from x


def _checked(block, name: str):
    """A block as arrays that are finite, and what a row of it is made of."""
    block = structures.as_data(block, name)
    structures.batch_size(block, name)
    structures.check_finite(block, name)
    structure = tf.nest.map_structure(
        lambda part: tf.TensorSpec(part.shape[1:], part.dtype), block
    )
    _check_names(structure)
    return tf.nest.map_structure(lambda part: part.numpy(), block), structure


def _check_names(structure) -> None:
    if isinstance(structure, dict):
        if not all(isinstance(name, str) for name in structure):
            raise wrong("a dict with names as keys", list(structure))
    elif isinstance(structure, tuple):
        if hasattr(structure, "_fields"):
            raise wrong(
                "a dict or a plain tuple of arrays, which a file can hold",
                f"a {type(structure).__name__}",
                "Pass x._asdict().",
            )
    elif structure.dtype.name not in _TYPES.split():
        raise wrong(f"a type among {_TYPES}", structure.dtype.name, "Cast it.")
    if isinstance(structure, (dict, tuple)):
        inner = structure.values() if isinstance(structure, dict) else structure
        for part in inner:
            _check_names(part)
