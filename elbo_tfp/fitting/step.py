"""One gradient step: the objective, its shards, its variables, its gradient.

It is longer than most modules: all of this is one traced function, and what it says
when nothing can be trained belongs to it.
"""

from __future__ import annotations

import functools
import gc
import sys
import time
import warnings
from typing import Any, NamedTuple

import tensorflow as tf

from elbo_tfp.fitting import objective as calling
from elbo_tfp.ground import compiled
from elbo_tfp.ground.training import training as in_training
from elbo_tfp.types import Estimate


class Traceable(NamedTuple):
    """What `trace_fn` gets at each step, before the step's update."""

    step: tf.Tensor
    """The step, counted from 0, int32 scalar."""
    elbo: tf.Tensor
    """The un-annealed ELBO of the batch, scalar, nats per datum."""
    value: tf.Tensor
    """The bound that is climbed (with its KL weight), scalar, nats per datum."""
    gradients: tuple
    """Gradient of the bound with respect to each trained variable."""
    parameters: tuple
    """The value of each trained variable."""


class Metrics(NamedTuple):
    """What the compiled loop records at each step."""

    elbo: tf.Tensor
    value: tf.Tensor
    standard_error: tf.Tensor | tuple
    trace: Any


class Options(NamedTuple):
    """What is built into a step."""

    names: frozenset
    """What the objective's signature asks for."""
    shards: int
    num_data: int | None
    batch_size: int | None
    annealed: bool
    trace_fn: Any
    dtype: str
    chosen: tuple | None
    """The variables to train, or None to find them."""


class Step(NamedTuple):
    """A traced gradient step."""

    graph: compiled.Graph
    """Of `(batch, seeds, step, kl_weight)`, returns `(descent, Metrics)`; of a part
    of a batch, `(descent, (elbo, value))`."""
    trained: tuple
    """The variables that have a gradient, in the order of `descent`."""
    scalar: bool
    """Whether the objective returns one number for a whole batch."""
    seconds: float
    """What tracing took."""
    like: tuple
    """The specs of its arguments."""


def trace_step(objective, spec, options: Options, part: bool = False) -> Step:
    """Traces one step and finds the variables that it trains and captures.

    Args:
        objective: the callable.
        spec: of a batch.
        options: what is built in.
        part: whether the batch is one device's part of a larger one; then there are
            no metrics yet.

    Raises:
        ValueError: if the objective returns a wrong shape, or trains nothing.
    """
    found, begin = {}, time.perf_counter()

    def step(*arguments):
        descent, made, found["trained"], found["rank"] = _descend(
            objective, options, arguments
        )
        if part:
            return descent, (made.elbo, made.value)
        return descent, metrics(
            options, arguments[2], made.elbo, made.value, descent, found["trained"]
        )

    like = (
        spec,
        tf.TensorSpec([options.shards, 2], tf.int32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], options.dtype),
    )
    graph = compiled.traced(step, *like)
    seconds = time.perf_counter() - begin
    return Step(graph, tuple(found["trained"]), found["rank"] == 0, seconds, like)


def estimate(objective, options: Options, part, training: bool) -> Estimate:
    """Calls the objective with what its signature names."""
    batch, seed, step, kl_weight = part
    given = {
        "seed": seed,
        "batch": batch,
        "step": step,
        "kl_weight": kl_weight,
        "num_data": options.num_data,
        "training": training,
    }
    given = {name: given[name] for name in given if name in options.names}
    size = options.batch_size and options.batch_size // options.shards
    with in_training(training):
        made = calling.as_estimate(objective(**given), size)
        if options.annealed and training and made.elbo is made.value:
            # the un-annealed value of a bare bound: the same call with weight 1
            plain = objective(**{**given, "kl_weight": tf.ones_like(kl_weight)})
            made = made._replace(elbo=calling.as_estimate(plain, size).elbo)
    return made


def _descend(objective, options: Options, arguments):
    """The averaged downhill gradient of all shards, the bounds, the variables."""
    chosen, variables, shards = options.chosen, None, []
    for part in parts(options, arguments):
        with tf.GradientTape(watch_accessed_variables=chosen is None) as tape:
            for v in chosen or ():
                tape.watch(v)
            made = estimate(objective, options, part, training=True)
            # minimise -L: the only place where the sign turns
            loss = -tf.reduce_mean(made.surrogate)
        if variables is None:
            variables = _trainable(tape, chosen)
        shards.append((tape.gradient(loss, variables), made))
    variables, descent = _average(variables, [g for g, _ in shards], chosen)
    rank = shards[0][1].surrogate.shape.rank
    made = Estimate(*map(_concat, zip(*[m for _, m in shards], strict=True)))
    return descent, made, variables, rank


def parts(options: Options, arguments):
    """The shards of a step: shard r draws with fold_in(step_seed, r)."""
    batch, seeds, step, kl_weight = arguments
    for r in range(options.shards):
        part = tf.nest.map_structure(lambda x, r=r: _shard(x, r, options.shards), batch)
        yield part, seeds[r], step, kl_weight


def _shard(part, r: int, shards: int):
    if shards == 1:
        return part
    size = part.shape[0] // shards
    return part[r * size : (r + 1) * size]


def _concat(parts):
    if len(parts) == 1:
        return parts[0]
    return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)


def _trainable(tape, chosen) -> list:
    if chosen is not None:
        return list(chosen)
    watched = [compiled.undivided(v) for v in tape.watched_variables()]
    frozen = frozen_by_keras()
    return [v for v in watched if id(v) not in frozen]


def frozen_by_keras() -> set[int]:
    """Ids of the variables whose Keras layer was set to `trainable = False`.

    Keras 3 keeps that flag on its own wrapper of a variable, tf_keras on the layer:
    the gradient tape looks at neither. Both are looked for among all objects, by type
    alone: asking what refers to a variable looks into objects that another thread is
    making, and can crash.
    """
    wrappers, layers = (
        _kinds("keras", "Variable"),
        _kinds("tf_keras", "layers", "Layer"),
    )
    kinds, frozen = wrappers | layers, set()
    for found in [o for o in gc.get_objects() if type(o) in kinds] if kinds else ():
        fields = vars(found)
        if not fields.get("_trainable", True):
            own = [fields.get("_value")] if type(found) in wrappers else ()
            frozen |= {id(v) for v in (*own, *fields.get("_trainable_weights", ()))}
    return frozen


def _kinds(module, *names) -> set[type]:
    """A class of a module, if that was imported, and all that are made from it."""
    kind = functools.reduce(
        lambda home, name: getattr(home, name, None), names, sys.modules.get(module)
    )
    found, more = set(), [kind] if isinstance(kind, type) else []
    while more:
        kind = more.pop()
        found.add(kind)
        more += [k for k in type.__subclasses__(kind) if k not in found]
    return found


def _average(variables, gradients, chosen):
    """Mean over shards of the gradients that exist, densified."""
    known = [i for i in range(len(variables)) if gradients[0][i] is not None]
    missing = [variables[i].name for i in range(len(variables)) if i not in known]
    if not known or (missing and chosen is not None):
        raise ValueError(_nothing_to_train(variables, missing))
    if missing:
        warnings.warn(
            f"no gradient reaches {', '.join(missing)}: it will not be trained. If "
            "that is meant, name the others in trainable_variables=.",
            stacklevel=2,
        )
    descent = []
    for i in known:
        parts = [tf.convert_to_tensor(shard[i]) for shard in gradients]
        descent.append(parts[0] if len(parts) == 1 else tf.add_n(parts) / len(parts))
    return [variables[i] for i in known], tuple(descent)


def _nothing_to_train(variables, missing) -> str:
    if not variables:
        return (
            "the objective reads no trainable variable. Variables made inside the "
            "objective, or distributions built from their values outside it, cannot "
            "be trained: read the variables inside the objective."
        )
    return (
        f"no gradient of the bound reaches {', '.join(missing)}. A distribution built "
        "outside the objective from a variable's value, samples that are not "
        "reparameterized (use gradients.score_function) or stop_gradient cut it off."
    )


def metrics(options, step, elbos, values, descent, variables) -> Metrics:
    """What is recorded of a step, from the bounds of its whole batch.

    Args:
        options: what is built into the step.
        step: its number.
        elbos: un-annealed ELBO of each datum, `[B]` or scalar, nats.
        values: the bound of each, of the same shape, nats.
        descent: the averaged downhill gradient.
        variables: the trained variables.
    """
    elbo, value = tf.reduce_mean(elbos), tf.reduce_mean(values)
    error = ()
    if elbos.shape.rank == 1 and elbos.shape[0] != 1:
        size = tf.cast(tf.size(elbos), elbo.dtype)
        # standard error of a mean = sqrt(sum (x - mean)^2 / (B (B - 1)))
        squares = tf.reduce_sum(tf.math.squared_difference(elbos, elbo))
        error = tf.sqrt(squares / (size * (size - 1)))
    trace = ()
    if options.trace_fn is not None:
        gradients = tuple(-g for g in descent)
        parameters = tuple(tf.convert_to_tensor(v) for v in variables)
        traced = options.trace_fn(Traceable(step, elbo, value, gradients, parameters))
        trace = tf.nest.map_structure(tf.convert_to_tensor, traced)
    return Metrics(elbo, value, error, trace)
