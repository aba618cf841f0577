"""A fit on several devices, or on several machines, under `tf.distribute`.

A batch is as many equal parts as there are replicas. Each replica has the gradient of
its own part, which XLA compiles; the gradients are averaged over replicas and every
replica makes the same update. The noise belongs to the shard and not to the device, so
one device that accumulates the same shards gives the same numbers, to rounding.

Each worker of a `MultiWorkerMirroredStrategy` runs the same program on the same data
and takes its own rows of every batch. What a clock or a person decides (the length of
a call, Ctrl-C) the workers decide together, since each waits for all others.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.fitting import optimizers, program, sharing
from elbo_tfp.fitting.state import read, write
from elbo_tfp.fitting.step import Options, Step, metrics
from elbo_tfp.ground import compiled, structures


def part_of(options: Options, spec, strategy):
    """The options and the spec of one replica's part of a batch."""
    replicas = strategy.num_replicas_in_sync
    size = options.batch_size and options.batch_size // replicas
    shards = options.shards // replicas
    own = options._replace(shards=shards, batch_size=size, trace_fn=None)
    return own, structures.specs(spec, size)


class Mirrored:
    """A step on the replicas of a strategy, and the loop around it.

    Args:
        strategy: of `tf.distribute`.
        step: the traced step of one replica's part of a batch.
        options: what is built into a step of a whole batch.
        optimizer: a Keras optimizer, of which the program uses a copy.
        feed: where the batches come from.
        jit_compile: whether to use XLA for a replica's gradient, if it can.
    """

    def __init__(self, strategy, step: Step, options, optimizer, feed, jit_compile):
        self.strategy, self.step, self.trained = strategy, step, step.trained
        self.replicas = strategy.num_replicas_in_sync
        self.chief = strategy.extended.should_checkpoint
        sharing.check_variables(step, strategy)
        sharing.check_optimizer(optimizer)
        self.optimizer, self.moments, _ = optimizers.start(
            optimizer, self.trained, strategy.scope
        )
        self.state = (*step.graph.variables, *self.moments)
        # what was assigned to one copy only holds for all
        write(self.state, read(self.state))
        self._metrics = self._traced_metrics(options)
        self.outputs = self._metrics.outputs
        self.capacity = min(feed.capacity, program.fitting(self.outputs))
        self._pick = feed.pick
        self._gradient = compiled.compiled(
            lambda *part: step.graph(part, step.graph.captured),
            *step.like,
            jit_compile=jit_compile,
        )
        self._settle()
        self.compiled = self._gradient.jit_compile
        self._update = self._traced_update()
        # a partial: TensorFlow counts retracings by code object and would warn
        self._loop = tf.function(functools.partial(self._chunk), autograph=False)
        self._gather = tf.function(functools.partial(self._gathered), autograph=False)
        # traced here, where no other worker waits
        self.run(0, program.no_steps(options, feed, self.capacity))

    def run(self, count: int, arguments) -> program.Chunk:
        """Takes `count` steps (fewer if a bound is not finite)."""
        with sharing.workers_alive():
            return program.Chunk.of(*self._loop(tf.constant(count), *arguments))

    def everyones(self, *numbers) -> np.ndarray:
        """These numbers of all processes, `[processes, numbers]`."""
        with sharing.workers_alive():
            return self._gather(tf.constant(np.array(numbers, np.float64))).numpy()

    def leave(self) -> None:
        """Nothing: the optimizer is a copy."""

    def _settle(self) -> None:
        """Compiles the gradient, on one replica's part of nothing."""
        nothing = tf.nest.map_structure(
            lambda s: tf.zeros(s.shape, s.dtype), self.step.like
        )
        with tf.device(self.strategy.extended.worker_devices[0]):
            refused = self._gradient.settle(*nothing)
        if refused is not None:
            warnings.warn(program.fallback(refused), stacklevel=4)

    def _traced_metrics(self, options):
        """What is recorded, of the bounds of a whole batch and its gradient."""
        descent, bounds = self.step.graph.outputs
        rows = self.replicas * (bounds[0].shape.num_elements() or 1)
        whole = [tf.TensorSpec([rows], bound.dtype) for bound in bounds]

        def recorded(number, elbos, values, descent):
            return metrics(options, number, elbos, values, descent, self.trained)

        number = tf.TensorSpec([], tf.int32)
        return compiled.traced(recorded, number, *whole, descent)

    def _traced_update(self):
        """The optimizer's update, which each replica makes on its own copies.

        It is traced on plain variables, whose place the copies take: Keras' own would
        average over replicas itself, after clipping each one's part, and without XLA.
        """
        plain = [
            tf.Variable(
                tf.zeros(v.shape, v.dtype),
                name=v.name.split(":")[0],
                constraint=v.constraint,
            )
            for v in self.trained
        ]
        own = optimizers.clone(self.optimizer)
        own.build(plain)
        sharing.check_decay(own, plain, self.optimizer, self.trained)

        def update(descent):
            own.apply(list(descent), plain)
            return tf.constant(True)

        descent = self.step.graph.outputs[0]
        traced = compiled.compiled(update, descent, jit_compile=self.compiled)
        traced.settle(
            tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), descent)
        )
        places = {
            id(mine.handle): copies
            for mine, copies in zip(
                (*plain, *(v.value for v in own.variables)),
                (*self.trained, *(v.value for v in self.optimizer.variables)),
                strict=True,
            )
        }
        return traced.reading(lambda tensor: places.get(id(tensor), tensor))

    def _chunk(self, count, first, seeds, weights, inputs):
        arrays = program.arrays(self.outputs, self.capacity)

        def body(i, finite, arrays):
            part = self._pick(inputs, i), seeds[i], first + i, weights[i]
            found = self.strategy.run(self._one, (part,))
            found = tf.nest.map_structure(self._mine, found)
            arrays = tf.nest.map_structure(
                lambda array, part: array.write(i, part), arrays, found
            )
            return i + 1, tf.math.is_finite(found.value + found.elbo), arrays

        i, finite, arrays = tf.while_loop(
            lambda i, finite, arrays: (i < count) & finite,
            body,
            (tf.constant(0), tf.constant(True), arrays),
            parallel_iterations=1,
        )
        finite &= program.all_finite((*self.trained, *self.moments))
        return i, finite, tf.nest.map_structure(lambda array: array.stack(), arrays)

    def _gathered(self, numbers):
        if not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return numbers[tf.newaxis]

        def all_of(numbers):
            context = tf.distribute.get_replica_context()
            return context.all_gather(numbers[tf.newaxis], 0)

        return self._mine(self.strategy.run(all_of, (numbers,)))

    def _one(self, part):
        """One step on one replica."""
        context, n = tf.distribute.get_replica_context(), self.replicas
        r = int(tf.get_static_value(context.replica_id_in_sync_group))
        descent, bounds = self._gradient.reading(_own)(*_cut(part, r, n))
        # every replica's bounds have a place of their own in the sum
        parts = *(g / n for g in descent), *(_placed(bound, r, n) for bound in bounds)
        *descent, elbo, value = context.all_reduce("SUM", list(parts))
        arguments = part[2], elbo, value, tuple(descent)
        found = self._metrics(arguments, map(_own, self._metrics.captured))
        with tf.control_dependencies(tf.nest.flatten(found)):
            descent = [tf.identity(gradient) for gradient in descent]
        self._update.reading(_own)(tuple(descent))
        return found

    def _mine(self, tensor):
        return self.strategy.experimental_local_results(tensor)[0]


def _own(captured):
    """This replica's copy of a variable's handle; a tensor is the same on all."""
    if isinstance(captured, tf.Variable):
        return captured.handle
    of = getattr(captured, "_distributed_container", None)
    return captured if of is None else of().handle


def _cut(part, r: int, replicas: int):
    """Part `r` of a batch and of its seeds."""
    batch, seeds, step, weight = part
    batch, seeds = tf.nest.map_structure(
        lambda x: x[r * x.shape[0] // replicas : (r + 1) * x.shape[0] // replicas],
        (batch, seeds),
    )
    return batch, seeds, step, weight


def _placed(bound, r: int, replicas: int):
    """Numbers at place `r` among those of all replicas, zeros elsewhere."""
    bound = tf.reshape(bound, [-1])
    n = bound.shape[0]
    return tf.pad(bound, [[r * n, (replicas - 1 - r) * n]])
