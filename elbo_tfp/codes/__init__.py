"""How many bits is that?

A bound is a code length: a sender who may draw z from q and gets those bits back needs
-ELBO / log 2 bits for a datum, on average. `code_length` does the units; `compress`
and `decompress` do it for real, lossless to the bit.
"""

from elbo_tfp.codes.container import (
    AlteredFile,
    CodeError,
    ForeignFile,
    OtherPlatform,
    TruncatedFile,
    WrongModel,
)
from elbo_tfp.codes.files import Compressed, compress, decompress, decompress_blocks
from elbo_tfp.codes.length import CodeLength, code_length

__all__ = [
    "AlteredFile",
    "CodeError",
    "CodeLength",
    "Compressed",
    "ForeignFile",
    "OtherPlatform",
    "TruncatedFile",
    "WrongModel",
    "code_length",
    "compress",
    "decompress",
    "decompress_blocks",
]
