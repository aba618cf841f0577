"""Bits-back coding of one block of data on a stack coder.

To send x the sender *takes* z off the stack, using q(z | x) as the code, and then puts
x on it with p(x | z) and z with p(z). The receiver undoes it in reverse order, and so
gets the bits that chose z back: E[length] = E_q[log q - log p(x, z)] = -ELBO.
"""

from __future__ import annotations

import hashlib

import numpy as np

from elbo_tfp.codes import latents
from elbo_tfp.codes.distributions import Coding

_SPARE = 64  # bits that must stay on the stack: its own state


class OutOfBits(Exception):
    """The stack held too few bits to choose z: start with more."""


def stack():
    """The stack coder and the two kinds of tables that it reads.

    Raises:
        ImportError: if `constriction` is not installed.
    """
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "codes needs the stack coder of `constriction`: pip install constriction"
        ) from error
    stream = constriction.stream
    return (
        stream.stack.AnsCoder,
        stream.model.QuantizedGaussian,
        stream.model.Categorical(perfect=False),
    )


def initial_words(num: int) -> np.ndarray:
    """`num` fixed words that look random: the bits that choose the first z."""
    return np.frombuffer(hashlib.shake_128(b"elbo").digest(4 * num), "<u4").copy()


def batches(num: int, batch_size: int) -> list[slice]:
    """Data by ones, then by growing batches: a quarter of what is coded already.

    The first batch is paid with initial bits, the later ones with the bits of those
    before: growing slowly keeps the initial bits to what a single datum needs.
    """
    slices, start = [], 0
    while start < num:
        size = min(max(1, start // 4), batch_size)
        slices.append(slice(start, min(start + size, num)))
        start = slices[-1].stop
    return slices


def encode_block(coding: Coding, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Codes data `[N, ...]`; returns the words and how many of them were initial."""
    num = 2
    while True:
        try:
            return push(coding, x, num), num
        except OutOfBits:
            num += 2


def push(coding: Coding, x: np.ndarray, num_initial: int) -> np.ndarray:
    """The words of a stack that started with `num_initial` words and took x.

    Raises:
        OutOfBits: if the first z asks for more bits than there were.
    """
    AnsCoder, Gaussian, table_model = stack()
    coder = AnsCoder(initial_words(num_initial), True)
    latent_model = Gaussian(-(coding.grid // 2), coding.grid // 2 - 1)
    for part in batches(len(x), coding.batch_size):
        count = part.stop - part.start
        k = count * coding.latent_size
        mean, scale = coding.posterior(_padded(x[part], coding))
        # take z off the stack with q(z | x): -log2 q bits come back
        z = latents.pop(coder, mean[:k], scale[:k], coding.grid)
        if coder.num_bits() < _SPARE:
            raise OutOfBits
        table = _table(coding, z, count, x.shape)
        # put x on with p(x | z), then z with p(z)
        coder.encode_reverse(x[part].ravel().astype(np.int32), table_model, table)
        loc, width = coding.prior
        coder.encode_reverse(z, latent_model, loc[:k], width[:k])
    return coder.get_compressed()


def decode_block(coding: Coding, words, num_initial, shape) -> np.ndarray | None:
    """The data of a block, int64 `shape`; None if the words are of another coding."""
    AnsCoder, Gaussian, table_model = stack()
    if len(words) == 0 or words[-1] == 0:  # no stack ever ends so
        return None
    coder = AnsCoder(np.array(words, np.uint32))
    latent_model = Gaussian(-(coding.grid // 2), coding.grid // 2 - 1)
    x = np.zeros(shape, np.int64)
    for part in reversed(batches(len(x), coding.batch_size)):
        count = part.stop - part.start
        k = count * coding.latent_size
        loc, width = coding.prior
        z = coder.decode(latent_model, loc[:k], width[:k])
        pixels = coder.decode(table_model, _table(coding, z, count, shape))
        x[part] = pixels.reshape(x[part].shape)
        mean, scale = coding.posterior(_padded(x[part], coding))
        # give the bits back: the stack is now as the sender found it
        try:
            latents.push(coder, z, mean[:k], scale[:k], coding.grid)
        except latents.OutOfWindow:
            return None
    # what is left must be the initial bits (and the word that seals them)
    rest = coder.get_compressed()
    start = np.append(initial_words(num_initial), np.uint32(1))
    return x if np.array_equal(rest, start) else None


def _table(coding, z, count, shape):
    rows = count * int(np.prod(shape[1:]))
    full = np.zeros(coding.batch_size * coding.latent_size)
    full[: len(z)] = z
    return coding.likelihood(full)[:rows]


def _padded(x, coding):
    """The networks always see `batch_size` rows: zeros where there are no data."""
    full = np.zeros((coding.batch_size, *x.shape[1:]), np.int64)
    full[: len(x)] = x
    return full
