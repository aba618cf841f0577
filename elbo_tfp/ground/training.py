"""Whether networks are in training: `fit` says so, encoders and decoders pass it on.

BatchNormalization and Dropout do nothing unless they are called with `training=True`.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect

from elbo_tfp.ground.precision import in_full

_now = contextvars.ContextVar("training", default=None)


@contextlib.contextmanager
def training(flag: bool):
    """In it, `call` tells networks that they are in training, or that they are not."""
    before = _now.set(flag)
    try:
        yield
    finally:
        _now.reset(before)


def call(network, x, flag: bool | None = None):
    """`network(x)`, told whether it is in training if it can be told.

    Outputs in half precision, of a Keras policy, come as float32.

    Args:
        network: a Keras layer (of Keras 3 or of tf_keras), or any callable.
        x: its input.
        flag: whether it is in training; None for what the block of `training` says.
            Outside of one the network decides.
    """
    flag = _now.get() if flag is None else flag
    if flag is None or not _takes_training(network):
        return in_full(network(x))
    return in_full(network(x, training=flag))


def _takes_training(network) -> bool:
    homes = {kind.__module__.split(".")[0] for kind in type(network).__mro__}
    if homes & {"keras", "tf_keras"}:
        return True
    try:
        return "training" in inspect.signature(network).parameters
    except (TypeError, ValueError):
        return False
