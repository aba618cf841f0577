"""Per-datum ascent in the parameters of q: one compiled loop for a batch of data."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.draws import draw
from elbo_tfp.evidence.problem import _programs, kept
from elbo_tfp.gradients import sticking_the_landing
from elbo_tfp.ground.checks import number
from elbo_tfp.ground.seeds import fold_in

_ROWS = 16_384


def ascend(
    target, family, parameters, *, num_steps, learning_rate, sample_size, seed, **weight
):
    """`num_steps` Adam steps up the ELBO of every datum at once.

    Every step draws fresh noise; its gradient sticks the landing, so that it vanishes
    where q is the posterior. The step size falls from `learning_rate` to zero along a
    half cosine, and the parameters of the last half of the steps are averaged, so that
    the noise averages out. Nothing is coupled across data: Adam scales each parameter
    of each datum by itself.

    Args:
        target: as in `draw`.
        family: maps parameters to q.
        parameters: where to start, `[B, P]`.
        num_steps: an int or an integer tensor.
        learning_rate: of the first step, in the family's unconstrained parameters.
        sample_size: draws per step and datum.
        seed: stateless.
        **weight: `kl_weight`, if another objective is climbed.

    Returns:
        Parameters `[B, P]`. A datum whose gradient is not finite stays where it is at
        that step.
    """
    num_steps = tf.convert_to_tensor(num_steps, tf.int32)
    rate = number(learning_rate, parameters.dtype)

    def body(step, parameters, first, second, total):
        slope = _slope(target, family, parameters, sample_size, seed, step, weight)
        time = tf.cast(step, rate.dtype)
        first = _B1 * first + (1 - _B1) * slope
        second = _B2 * second + (1 - _B2) * tf.square(slope)
        # Adam: m / (1 - b1^t) over sqrt(v / (1 - b2^t))
        mean = first / (1 - tf.pow(number(_B1, rate.dtype), time + 1))
        size = tf.sqrt(second / (1 - tf.pow(number(_B2, rate.dtype), time + 1)))
        # rate_t = rate (1 + cos(pi t / T)) / 2
        cosine = tf.cos(math.pi * time / tf.cast(num_steps, rate.dtype))
        move = rate * (1 + cosine) / 2 * mean / (size + _EPSILON)
        parameters += move
        total += tf.where(step >= half, parameters, zero)
        return step + 1, parameters, first, second, total

    zero, half = tf.zeros_like(parameters), num_steps // 2
    total = tf.while_loop(
        lambda step, *_: step < num_steps,
        body,
        (tf.constant(0), parameters, zero, zero, zero),
    )[-1]
    return total / tf.cast(num_steps - half, rate.dtype)


_B1, _B2, _EPSILON = 0.9, 0.99, 1e-6


def _slope(target, family, parameters, sample_size, seed, step, weight):
    """d ELBO / d parameters, `[B, P]`; zero for a datum where it is not finite."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(parameters)
        made = sticking_the_landing(
            target,
            family(parameters),
            sample_size=sample_size,
            seed=fold_in(seed, step),
            **weight,
        )
        total = tf.reduce_sum(made.surrogate)
    slope = tape.gradient(total, parameters)
    finite = tf.reduce_all(tf.math.is_finite(slope), -1, keepdims=True)
    return tf.where(finite, slope, tf.zeros_like(slope))


class Climber(NamedTuple):
    """A model and a family, with the compiled programs that serve all their data."""

    model: object
    """A `LatentVariableModel`."""
    family: object
    """A `Family`."""
    programs: dict
    """Where compiled programs are kept."""
    jit_compile: bool
    """Whether to compile with XLA."""

    @classmethod
    def of(cls, model, family, batch, jit_compile):
        """With the programs that the model keeps."""
        return cls(model, family, _programs(model, tuple(batch)), jit_compile)

    def climb(self, x, parameters, num_steps, learning_rate, sample_size, seed):
        """`ascend` on data x, compiled once for all steps, rates and seeds."""

        def program(x, parameters, num_steps, learning_rate, seed):
            return ascend(
                self.model.log_joint(x),
                self.family,
                parameters,
                num_steps=num_steps,
                learning_rate=learning_rate,
                sample_size=sample_size,
                seed=seed,
            )

        rate = tf.constant(learning_rate, parameters.dtype)
        run = self._compiled(program, "climb", sample_size)
        return run(x, parameters, tf.constant(num_steps), rate, seed)

    def log_weights(self, x, parameters, sample_size, seed) -> np.ndarray:
        """log w of draws from the family's member, `[S, B]`, nats.

        The same seed means the same noise: members close to one another then have
        close log-weights, draw by draw.
        """

        def program(x, parameters, seed):
            return self._draws(self.family(parameters), x, sample_size, seed)

        run = self._compiled(program, "log_weights", sample_size)
        return run(x, parameters, seed).numpy()

    def log_weights_of(self, surrogate_posterior, x, sample_size, seed) -> np.ndarray:
        """The same for any q, compiled afresh; the same noise where q is a member."""
        q, jit_compile = surrogate_posterior, self.jit_compile

        @tf.function(jit_compile=jit_compile, autograph=False)
        def program(seed):
            return self._draws(q, x, sample_size, seed)

        return program(seed).numpy()

    def _draws(self, q, x, sample_size, seed):
        target, batch = self.model.log_joint(x), tuple(x.shape[:1])

        def once(seed, size):
            return (draw(target, q, size, seed=seed).log_weights,)

        chunk = max(1, _ROWS // batch[0])
        return in_chunks(once, sample_size, chunk, batch, (q.dtype,), seed)[0]

    def _compiled(self, program, *key):
        owners = (self.family,)
        return compiled(program, self.programs, key, owners, self.jit_compile)


def compiled(program, programs, key, owners, jit_compile):
    """`program` as a `tf.function`, from `programs` if it is there.

    Args:
        program: a function of tensors; what else it uses is in `owners` or lasts.
        programs: the dict that keeps it.
        key: hashable; what was built into the program, `owners` aside.
        owners: the objects built into the program. They are kept, lest others take
            their ids.
        jit_compile: whether to compile with XLA.
    """
    key = (*key, *map(id, owners), jit_compile)
    make = functools.partial(tf.function, jit_compile=jit_compile, autograph=False)
    return kept(programs, key, lambda: (make(program), owners))[0]


def in_chunks(once, sample_size, chunk, batch, dtypes, seed):
    """What `once` measures on S draws, a chunk of them at a time.

    Args:
        once: a function `(seed, size) -> tuple of tensors [size, B]`.
        sample_size: S.
        chunk: draws held at once.
        batch: B, a tuple.
        dtypes: of the tensors.
        seed: stateless; chunk number i uses `fold_in(seed, i)`.

    Returns:
        A list of tensors `[S, B]`.
    """
    chunk, count = min(chunk, sample_size), -(-sample_size // chunk)
    found = tf.map_fn(
        lambda i: once(fold_in(seed, i), chunk),
        tf.range(count),
        fn_output_signature=tuple(tf.TensorSpec([chunk, *batch], t) for t in dtypes),
    )
    return [tf.reshape(part, [count * chunk, *batch])[:sample_size] for part in found]
