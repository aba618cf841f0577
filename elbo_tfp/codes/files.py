"""Compress integer data under a model, and get them back, bit for bit.

It is longer than most modules: writing and reading mirror each other line by line.
"""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elbo_tfp.codes import container
from elbo_tfp.codes.bitsback import decode_block, encode_block
from elbo_tfp.codes.distributions import Coding, infer_num_values, prepare
from elbo_tfp.codes.streams import blocks_of, source_of, target
from elbo_tfp.ground.checks import wrong


class Compressed(NamedTuple):
    """What `compress` made, and what it cost."""

    data: bytes | None
    """The file's bytes, if no path was given."""
    path: Path | None
    """Where the file lies, if a path was given."""
    num_data: int
    """Number of data in it."""
    num_bytes: int
    """Size of the whole file: header, blocks, check sums."""
    payload_bits: int
    """Bits on the stacks, initial bits included, header and check sums not."""
    initial_bits: int
    """Of those, bits that the stacks started with."""

    @property
    def bits_per_datum(self) -> float:
        """Size of the whole file, in bits per datum."""
        return 8 * self.num_bytes / self.num_data

    @property
    def net_bits_per_datum(self) -> float:
        """Bits per datum once the first bits are paid: compare with -ELBO / log 2."""
        return (self.payload_bits - self.initial_bits) / self.num_data


def compress(
    x,
    model,
    encoder,
    path=None,
    *,
    num_values: int | None = None,
    block_size: int = 8192,
    batch_size: int = 64,
    latent_bits: int = 12,
    jit_compile: bool = True,
) -> Compressed:
    """Codes integer data by bits-back, and decodes every block before it goes on.

    Args:
        x: integers `[N, ...]`, or an iterable of such arrays (data that do not fit in
            memory stream through, a block at a time).
        model: a `LatentVariableModel` whose prior is a product of normals and whose
            likelihood is independent over the dimensions of x.
        encoder: x -> q(z | x), a product of normals.
        path: the file to write; it appears under its name only when it is complete.
            None keeps the bytes in the result.
        num_values: V, for data in 0 .. V - 1; inferred from Bernoulli, Binomial,
            Beta-binomial and Categorical likelihoods.
        block_size: data per block; a block decodes on its own.
        batch_size: data that the networks see at once; stored, since their last bits
            depend on it.
        latent_bits: log2 of the grid points per latent, over 16 prior deviations.
        jit_compile: whether the networks run under XLA; stored, like `batch_size`.

    Returns:
        `Compressed`.

    Raises:
        ValueError: for data that are no integers, masked, outside the support or of
            another shape than the model's, no data at all, or a model that cannot be
            coded.
        OtherPlatform: if the networks do not repeat their own results here.

    Source: Townsend, Bird and Barber (2019); stack coder: Duda (2009).
    """
    _check_settings(
        block_size=block_size, batch_size=batch_size, latent_bits=latent_bits
    )
    blocks = blocks_of(x, block_size)
    first = next(blocks, None)
    if first is None:
        raise wrong("at least one datum", "none")
    settings = {
        "batch_size": batch_size,
        "latent_bits": latent_bits,
        "num_values": num_values or infer_num_values(model),
        "jit_compile": jit_compile,
    }
    coding = prepare(model, encoder, first.shape[1:], **settings)
    header = {
        **settings,
        "event_shape": list(first.shape[1:]),
        "dtype": first.dtype.name,
        "fingerprint": coding.fingerprint,
        "probe": [float(v) for v in coding.probe],
    }
    with target(path) as file:
        writer = container.Writer(file, header)
        payload = initial = num_blocks = 0
        for block in itertools.chain([first], blocks):
            coded = _coded(coding, block, first)
            writer.block(coded)
            num_blocks += 1
            payload += 32 * len(coded.words)
            initial += 32 * coded.num_initial
        writer.close()
        data = file.getvalue() if path is None else None
    result = Compressed(
        data,
        None if path is None else Path(path),
        writer.num_data,
        writer.num_bytes,
        payload,
        initial,
    )
    _warn_if_large(result, num_blocks, coding, first)
    return result


def decompress(source, model, encoder) -> np.ndarray:
    """The data that `compress` coded, with their own dtype in native byte order.

    Args:
        source: bytes, a path, or a `Compressed`.
        model: the model they were coded with.
        encoder: the encoder they were coded with.

    Raises:
        ForeignFile, TruncatedFile, AlteredFile: if the bytes are not a whole file.
        WrongModel: if model or encoder are not those of the file.
        OtherPlatform: if their networks compute other last bits here.
    """
    return np.concatenate(list(decompress_blocks(source, model, encoder)))


def decompress_blocks(source, model, encoder):
    """As `decompress`, one block at a time: an iterator of arrays."""
    if isinstance(source, Compressed):
        source = source.path if source.data is None else source.data
    with source_of(source) as file:
        header = container.read_header(file)
        shape = tuple(header["event_shape"])
        names = ("batch_size", "latent_bits", "num_values", "jit_compile")
        settings, coding = {n: header[n] for n in names}, None
        for block in container.read_blocks(file):
            if coding is None:  # only now are header and block known to be sound
                coding = _same_coding(model, encoder, shape, header, settings)
            x = decode_block(
                coding, block.words, block.num_initial, (block.num_data, *shape)
            )
            x = None if x is None else x.astype(header["dtype"])
            if x is None or container.digest(x.tobytes()) != block.digest:
                raise container.OtherPlatform(_PLATFORM)
            yield x


_PLATFORM = (
    "the model is the right one, but its networks compute other last bits here than "
    "where the file was written (another processor, thread count or TensorFlow): "
    "decode it there."
)


def _coded(coding: Coding, x, first) -> container.Block:
    if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
        raise wrong(
            f"every array like the first, [*, {first.shape[1:]}] {first.dtype}",
            f"{x.shape} {x.dtype}",
        )
    if x.min() < 0 or x.max() >= coding.num_values:
        raise wrong(
            f"data in 0 .. {coding.num_values - 1}, the support of the likelihood",
            f"{x.min()} .. {x.max()}",
        )
    words, num_initial = encode_block(coding, x)
    again = decode_block(coding, words, num_initial, x.shape)
    if again is None or not np.array_equal(again, x):
        raise container.OtherPlatform(
            "the networks did not repeat their own results while the block was "
            "checked: their kernels are not deterministic. Set "
            "tf.config.experimental.enable_op_determinism() or jit_compile=False."
        )
    return container.Block(words, len(x), num_initial, container.digest(x.tobytes()))


def _same_coding(model, encoder, shape, header, settings) -> Coding:
    try:
        coding = prepare(model, encoder, shape, **settings)
    except Exception as error:
        raise container.WrongModel(
            f"the model or encoder does not accept the file's data of shape {shape}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if coding.fingerprint == header["fingerprint"]:
        return coding
    ours, theirs = coding.probe, np.array(header["probe"])
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-3, atol=0.2):
        raise container.WrongModel(
            "the model or encoder is not the one the file was written with: they "
            "answer differently to fixed probe data. Load the saved model (et.load)."
        )
    raise container.OtherPlatform(_PLATFORM)


def _check_settings(**settings):
    limits = {"block_size": (1, 2**31), "batch_size": (1, 2**20)}
    limits["latent_bits"] = (2, 20)
    for name, value in settings.items():
        whole = hasattr(value, "__index__") and not isinstance(value, bool)
        low, high = limits[name]
        if not whole or not low <= value <= high:
            raise wrong(f"{name} to be an int from {low} to {high}", repr(value))


def _warn_if_large(result: Compressed, num_blocks, coding: Coding, first):
    flat = math.prod(first.shape[1:]) * math.log2(coding.num_values)
    # two words of slack per block: one seals its stack, one is filled in part
    slack = 64 * num_blocks
    if result.payload_bits - result.initial_bits > flat * result.num_data + slack:
        warnings.warn(
            f"{result.net_bits_per_datum:.0f} bits per datum are more than "
            f"the {flat:.0f} of a code without any model: is the model trained?",
            stacklevel=3,
        )
