"""Arrays in, bytes out: blocks of integer data, and files that appear when complete."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from elbo_tfp.ground import files
from elbo_tfp.ground.arrays import refuse_masked
from elbo_tfp.ground.checks import wrong


def blocks_of(x, block_size):
    """Arrays of at most `block_size` data, integers in native byte order only."""
    for array in [x] if hasattr(x, "shape") else x:
        if isinstance(array, np.ma.MaskedArray):
            refuse_masked(array, "x")
        array = np.asarray(array)
        if array.dtype.kind not in "iu" or array.ndim < 2:
            raise wrong(
                "integer data [N, ...]",
                f"dtype {array.dtype} and shape {array.shape}",
                "A density cannot be coded: discretise the data, then "
                "x.astype('uint8').",
            )
        # a dtype's name, which the file stores, says nothing of the order of its bytes
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        for start in range(0, len(array), block_size):
            yield array[start : start + block_size]


@contextlib.contextmanager
def target(path):
    """A binary file that takes its name only when it is complete and on the disk."""
    if path is None:
        yield io.BytesIO()
        return
    with files.replacing(path) as file:
        yield file


@contextlib.contextmanager
def source_of(source):
    """A binary file to read, from bytes or a path."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
        return
    with open(source, "rb") as file:
        yield file
