"""How exactly matrices are multiplied: in full float32, unless TF32 is asked for.

On a GPU TensorFlow rounds the factors of a float32 product to 10 bits by default. That
moves importance evidence by up to 0.01 nats, which no warning tells. So importing this
package switches TF32 off, as PyTorch has it off: for the whole process, since a wrong
number is worse than a slow one, and because what a reader differentiates or calls
eagerly is beyond any function of ours. Compiled programs do not depend on that flag:
they run in full float32 whatever it says, except in a block of `tf32`.
"""

from __future__ import annotations

import contextlib
import contextvars

import tensorflow as tf

HALF = tf.float16, tf.bfloat16
_allowed = contextvars.ContextVar("tf32", default=False)
_flag = tf.config.experimental.tensor_float_32_execution_enabled
_switch = tf.config.experimental.enable_tensor_float_32_execution


@contextlib.contextmanager
def tf32(allowed: bool = True):
    """In this block, fits and other programs compile and run with TF32 on a GPU.

    It is meant for the training of networks: `with fitting.tf32(): fit(...)`. Held-out
    bounds stay in full float32. Log-weights have dtype float32 either way, but what a
    matrix product in the bound itself gives is rounded, too. On a CPU nothing changes.
    For eager code use `tf.config.experimental.enable_tensor_float_32_execution`.

    Args:
        allowed: False for full float32 within such a block.
    """
    before = _allowed.set(bool(allowed))
    try:
        yield
    finally:
        _allowed.reset(before)


def allowed() -> bool:
    """Whether programs made here may round to TF32."""
    return _allowed.get()


@contextlib.contextmanager
def running(flag: bool):
    """In it, TensorFlow's flag is this one; it is put back afterwards.

    Kernels read the flag when they run, XLA when it compiles: a program is made and run
    in one and the same.
    """
    before = _flag()
    if before == flag:
        yield
        return
    _switch(flag)
    try:
        yield
    finally:
        _switch(before)


def full_by_default() -> None:
    """Switches TF32 off for this process; starts no device."""
    _switch(False)


def in_full(outputs):
    """Outputs of a network, with half-precision parts as float32.

    A Keras policy such as "mixed_bfloat16" computes layers in 16 bits; a density needs
    more. Log-weights are therefore float32 always.
    """

    def widened(part):
        half = tf.is_tensor(part) and part.dtype in HALF
        return tf.cast(part, tf.float32) if half else part

    return tf.nest.map_structure(widened, outputs)
