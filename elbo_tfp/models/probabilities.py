"""Tables of numbers and of probabilities, checked before they are believed."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.checks import whole, wrong


def tables_of(transitions, rewards) -> tuple[tf.Tensor, tf.Tensor]:
    """`[S, A, S]` and `[S, A]` in one floating dtype; whole numbers take any.

    Raises:
        ValueError: if the shapes do not fit, the floating dtypes differ, rows of
            `transitions` are no probabilities, or a reward is not finite.
    """
    found = [_tensor(transitions), _tensor(rewards)]
    floating = {t.dtype for t in found if t.dtype.is_floating} or {tf.float64}
    if len(floating) > 1:
        raise wrong(
            "transitions and rewards of one dtype",
            " and ".join(t.dtype.name for t in found),
            "Precision is never cast silently.",
        )
    moves, rewards = (tf.cast(t, *floating) for t in found)
    states, actions = (*moves.shape, 0, 0)[:2]
    if not states or not actions:
        shape = f"shape {moves.shape}"
        raise wrong(
            "transitions [S, A, S], p(s' | s, a)", shape, "The last axis is s'."
        )
    moves = probabilities("transitions", moves, moves, [[states, actions, states]])
    rewards = table("rewards", rewards, moves, [[states, actions]])
    if tf.executing_eagerly() and not np.isfinite(rewards).all():
        bad = np.argwhere(~np.isfinite(rewards))[0].tolist()
        raise wrong(
            "finite rewards",
            f"{rewards[tuple(bad)]} at [state, action] = {bad}",
            "Forbid an action by a prior policy that gives it probability 0.",
        )
    return moves, rewards


def start_of(initial, like: tf.Tensor) -> tf.Tensor:
    """p(s_1), `[S]`, from probabilities or from the number of a state."""
    states = like.shape[0]
    if np.ndim(initial) == 0:
        first = whole("initial", initial, 0, "Pass a state's number, or [S].")
        if first >= states:
            raise wrong(f"initial below the {states} states", first)
        return tf.one_hot(first, states, dtype=like.dtype)
    return probabilities("initial", initial, like, [[states]])


def probabilities(name, value, like: tf.Tensor, shapes) -> tf.Tensor:
    """A `table` whose last axis sums to one; zeros are welcome.

    Raises:
        ValueError: if a value is negative or not finite, or a row's sum is not one.
    """
    value = table(name, value, like, shapes)
    if not tf.executing_eagerly():
        return value
    rows = value.numpy()
    if not np.all(rows >= 0):
        raise wrong(f"{name} of probabilities", f"a smallest value of {rows.min()}")
    error = np.max(np.abs(rows.sum(-1) - 1), initial=0)
    if not error <= 100 * np.finfo(rows.dtype).eps * rows.shape[-1] ** 0.5:
        raise wrong(
            f"{name} whose last axis sums to one",
            f"sums that are off by up to {error:.3g}",
            "Divide each row by its sum.",
        )
    return value


def table(name, value, like: tf.Tensor, shapes) -> tf.Tensor:
    """`value` as a tensor of one of these shapes and of the dtype of `like`.

    Raises:
        ValueError: if its shape or its floating dtype is another one.
    """
    value = _tensor(value)
    if not value.dtype.is_floating:
        value = tf.cast(value, like.dtype)
    if value.dtype != like.dtype:
        raise wrong(f"{name} of dtype {like.dtype.name}", value.dtype.name)
    if value.shape.as_list() not in shapes:
        options = " or ".join(map(str, shapes))
        raise wrong(f"{name} of shape {options}", f"shape {value.shape}")
    return value


def _tensor(value) -> tf.Tensor:
    """Python's numbers in double precision, everything else as it is."""
    return tf.convert_to_tensor(value if tf.is_tensor(value) else np.asarray(value))
