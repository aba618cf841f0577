"""Optimizers: a Keras 3 optimizer is a recipe; each compiled loop owns its state."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting.state import read, write

_CANNOT = {
    "Muon": "it looks up Keras paths that plain TensorFlow variables do not have",
    "Adafactor": "it calls methods that plain TensorFlow variables do not have",
    "LossScaleOptimizer": "fit does not scale the bound for half precision",
    "MultiOptimizer": "it finds its parts by Keras variables",
    "ScheduleFreeAdamW": "its averaged weights need Keras' own training loop",
}
_AT_ONCE = ("CosineDecay", "ExponentialDecay", "PolynomialDecay", "InverseTimeDecay")
_HELP = "Use keras.optimizers.Adam, AdamW, SGD, RMSprop or another first-order one."


def check(optimizer):
    """The optimizer to use, Adam(1e-3) by default.

    Raises:
        ValueError: if it is not a Keras 3 optimizer, or one that cannot work here.
    """
    import keras

    if optimizer is None:
        return keras.optimizers.Adam(1e-3)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "expected optimizer to be a Keras 3 optimizer such as "
            f"keras.optimizers.Adam(1e-3); got {optimizer!r}."
        )
    for kind in type(optimizer).__mro__:
        if kind.__name__ in _CANNOT:
            raise ValueError(
                f"{kind.__name__} does not work in fit: {_CANNOT[kind.__name__]}. "
                f"{_HELP}"
            )
    for option in ("use_ema", "loss_scale_factor"):
        if getattr(optimizer, option, None):
            raise ValueError(
                f"fit does not support the optimizer option {option}="
                f"{getattr(optimizer, option)!r}; leave it out."
            )
    return optimizer


def recipe(optimizer) -> str:
    """Its settings as text, without a learning rate that is a number.

    Empty if it is not Keras' own, or has settings that cannot be copied.
    """
    config = _config(optimizer)
    return "" if config is None else json.dumps(config, sort_keys=True, default=str)


def clone(optimizer):
    """A fresh optimizer with the same settings; itself, if that cannot be copied."""
    if _config(optimizer) is None:
        return optimizer
    own = type(optimizer).from_config(optimizer.get_config())
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):  # no part of its config
            setattr(own, name, getattr(optimizer, name))
    return own


def update(optimizer, trained):
    """What determines its update, as hashable values; None if a user's code may."""
    text = recipe(optimizer)
    if not text or any(v.constraint is not None for v in trained):
        return None
    decays = [optimizer._use_weight_decay(v) for v in trained]
    return type(optimizer), text, tuple(decays), len(optimizer.variables)


def rate(optimizer):
    """Steps -> learning rates, `[steps]`, if they follow a schedule; else None."""
    schedule = getattr(optimizer, "_learning_rate", None)
    if not callable(schedule):
        return None

    def rates(steps: np.ndarray) -> np.ndarray:
        # a schedule is smooth or has few steps: a hundred looks see it
        at = np.unique(np.linspace(steps[0], steps[-1], 100).astype(int))
        return np.interp(steps, at, _looked_up(schedule, at))

    return rates


def _looked_up(schedule, steps: np.ndarray) -> np.ndarray:
    """Its value at each step: in one call for those of Keras that take them so."""
    known = type(schedule).__module__.startswith("keras.")
    known &= type(schedule).__name__ in _AT_ONCE
    if known and not getattr(schedule, "warmup_steps", 0):
        return np.asarray(schedule(tf.constant(steps)), np.float64)
    return np.array([float(schedule(int(step))) for step in steps])


def start(optimizer, trained, scope=contextlib.nullcontext):
    """An optimizer for `trained`, its state, and what its state was before.

    It is a fresh one with the same settings; `optimizer` itself, if that cannot be
    copied. It has the state that `optimizer` brings, if it brings one. `scope()` is
    where its variables are made.
    """
    brings = check_unbuilt(optimizer, trained)
    with scope():
        own = clone(optimizer)
        if not own.built:
            own.build(list(trained))
    moments = tuple(variables(own))
    fresh = read(moments)
    if brings and own is not optimizer:
        write(moments, read(variables(optimizer)))
    return own, moments, fresh


def variables(optimizer) -> list[tf.Variable]:
    """Its state: step counter and moments, without the learning rate."""
    rate = getattr(optimizer, "_learning_rate", None)
    return [v.value for v in optimizer.variables if v is not rate]


def check_unbuilt(optimizer, trained) -> bool:
    """Whether the optimizer brings state of its own for exactly `trained`.

    Raises:
        ValueError: if it was built on other variables.
    """
    if not optimizer.built:
        return False
    mine = [_unwrap(v) for v in optimizer._trainable_variables]
    if [id(v) for v in mine] == [id(v) for v in trained]:
        return True
    raise ValueError(
        f"the optimizer {optimizer.name!r} was already built on {len(mine)} other "
        f"variables; this objective trains {len(trained)}. Make a new optimizer for "
        "each set of variables."
    )


def _unwrap(variable) -> tf.Variable:
    return variable if isinstance(variable, tf.Variable) else variable.value


def _config(optimizer) -> dict | None:
    if not type(optimizer).__module__.startswith("keras."):
        return None
    config = dict(optimizer.get_config())
    config.pop("name", None)
    rate = config["learning_rate"]
    if isinstance(rate, (int, float)):
        config.pop("learning_rate")
    elif not str(rate.get("module", "")).startswith("keras."):
        return None
    return config
