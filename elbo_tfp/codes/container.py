"""The file: a header that names its model, blocks with check sums, and an end mark."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import NamedTuple

import numpy as np

MAGIC = b"ELBOBB01"
BLOCK, END = b"BLCK", b"END."
VERSION = 1
_LENGTHS = struct.Struct("<4sIII8s")  # mark, data, words, initial words, data digest
_TAIL = struct.Struct("<4sQ")  # mark, data in all


class CodeError(ValueError):
    """A file that cannot be decoded; no wrong data are ever returned instead."""


class ForeignFile(CodeError):
    """Not a file that `compress` wrote, or one of a newer format."""


class TruncatedFile(CodeError):
    """The file ends before its end mark."""


class AlteredFile(CodeError):
    """A check sum differs: bytes were changed after the file was written."""


class WrongModel(CodeError):
    """The file was written with another model or encoder."""


class OtherPlatform(CodeError):
    """The right model, but its networks compute other last bits here."""


class Block(NamedTuple):
    """One block as it stands in a file."""

    words: np.ndarray
    """The stack coder's words, uint32."""
    num_data: int
    """How many data it holds."""
    num_initial: int
    """How many words were on the stack at the start."""
    digest: bytes
    """Check sum of the data themselves."""


def digest(*parts: bytes) -> bytes:
    """Eight bytes that change if any part does."""
    check = hashlib.blake2b(digest_size=8)
    for part in parts:
        check.update(len(part).to_bytes(8, "little") + part)
    return check.digest()


class Writer:
    """Writes a container to a binary file object; keeps count of the bytes."""

    def __init__(self, file, header: dict):
        self._file, self._chain, self.num_data, self.num_bytes = file, b"", 0, 0
        text = json.dumps({"version": VERSION, **header}, sort_keys=True).encode()
        self._write(MAGIC + struct.pack("<I", len(text)) + text)
        self._write(digest(MAGIC, text))

    def block(self, block: Block) -> None:
        """Appends a block."""
        words = np.ascontiguousarray(block.words, "<u4").tobytes()
        head = _LENGTHS.pack(
            BLOCK, block.num_data, len(block.words), block.num_initial, block.digest
        )
        # each check sum covers the one before: blocks cannot change places
        self._chain = digest(self._chain, head, words)
        self._write(head + words + self._chain)
        self.num_data += block.num_data

    def close(self) -> None:
        """Appends the end mark."""
        tail = _TAIL.pack(END, self.num_data)
        self._write(tail + digest(self._chain, tail))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.num_bytes += len(data)


def read_header(file) -> dict:
    """The header of a container.

    Raises:
        ForeignFile, TruncatedFile, AlteredFile: what is wrong with it.
    """
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        if MAGIC.startswith(magic):
            raise TruncatedFile(
                f"expected a header; the file ends after {len(magic)} bytes."
            )
        raise ForeignFile(
            f"expected a file that begins with {MAGIC!r}, as codes.compress writes it; "
            f"got {magic!r}."
        )
    (size,) = struct.unpack("<I", _exactly(file, 4))
    text = _exactly(file, min(size, 2**24))
    if _exactly(file, 8) != digest(MAGIC, text):
        raise AlteredFile("the header's check sum differs: the file was changed.")
    header = json.loads(text)
    if header["version"] != VERSION:
        raise ForeignFile(
            f"expected format version {VERSION}; got {header['version']}. Decode it "
            "with the release that wrote it."
        )
    return header


def read_blocks(file):
    """Yields each `Block`, its check sum verified, up to the end mark.

    Raises:
        TruncatedFile, AlteredFile: what is wrong with the file.
    """
    chain, total = b"", 0
    while True:
        mark = _exactly(file, 4)
        if mark == END:
            break
        if mark != BLOCK:
            raise AlteredFile(f"expected a block or the end mark; got {mark!r}.")
        head = mark + _exactly(file, _LENGTHS.size - 4)
        _, num_data, num_words, num_initial, check = _LENGTHS.unpack(head)
        words = _exactly(file, 4 * num_words)
        chain = digest(chain, head, words)
        if _exactly(file, 8) != chain:
            raise AlteredFile(f"the check sum of the block at datum {total} differs.")
        total += num_data
        yield Block(np.frombuffer(words, "<u4"), num_data, num_initial, check)
    tail = mark + _exactly(file, _TAIL.size - 4)
    if _exactly(file, 8) != digest(chain, tail) or _TAIL.unpack(tail)[1] != total:
        raise AlteredFile("the end mark's check sum differs: the file was changed.")
    if file.read(1):
        raise AlteredFile("expected nothing after the end mark; there are more bytes.")


def _exactly(file, size: int) -> bytes:
    """`size` bytes, read in pieces so that a false length costs no memory."""
    pieces, left = [], size
    while left:
        piece = file.read(min(left, 2**20))
        if not piece:
            raise TruncatedFile(
                f"expected {left} more bytes; the file ends before them."
            )
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
