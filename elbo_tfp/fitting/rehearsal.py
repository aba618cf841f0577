"""One call of the objective in eager mode, with every check on.

XLA drops assertions and clamps an index that is out of range, and most checks of
values can only be made where there are values. So before its first step a fit calls
the objective once on a batch that holds the extremes of the data, and puts back
whatever that changed.
"""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import schedules
from elbo_tfp.fitting.seeding import step_seeds
from elbo_tfp.fitting.state import read, write
from elbo_tfp.fitting.step import Options, Step, estimate, parts


def rehearse(objective, options: Options, step: Step, plan) -> None:
    """Calls the objective on one batch; no variable is changed in the end.

    Args:
        objective: the callable.
        options: what is built into a step.
        step: the traced step, which knows the variables.
        plan: the feed, the seed, the number of the first step, the KL schedule.

    Raises:
        ValueError: what the checks find, or if a new variable is made at every call.
    """
    feed, seed, first, schedule = plan
    weight = 1.0 if schedule is None else schedules.weights(schedule, first, 1)[0]
    seeds = tf.constant(step_seeds(seed, first, 1, options.shards)[0])
    weight = tf.constant(weight, options.dtype)
    arguments = feed.trial(), seeds, tf.constant(first), weight
    before, made = read(step.graph.variables), []

    def note(make, **how):
        made.append(how.get("name"))
        return make(**how)

    try:
        with tf.variable_creator_scope(note):
            for part in parts(options, arguments):
                estimate(objective, options, part, training=True)
        _warn_of_idle_moments(step.graph.variables, before)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"the objective fails on a batch of these data: {error.message} (XLA would "
            "not notice: it clamps an index that is out of range and skips assertions.)"
        ) from error
    finally:
        write(step.graph.variables, before)
    if made:
        raise ValueError(
            f"the objective makes a new variable ({made[0]}) at every call, so nothing "
            "that it learns is kept. Make variables and layers outside of it."
        )


def _warn_of_idle_moments(variables, before) -> None:
    """BatchNormalization that no one told of training keeps its moments for ever."""
    idle = [
        v.name.removesuffix(":0")
        for v, value in zip(variables, before, strict=True)
        if "moving_mean" in v.name and np.array_equal(v, value)
    ]
    if idle:
        warnings.warn(
            f"{', '.join(idle)} does not follow the data: its layer is not called with "
            "training=True. fit passes training to an objective that asks for it, and "
            "to the network of an Encoder.",
            stacklevel=4,
        )
