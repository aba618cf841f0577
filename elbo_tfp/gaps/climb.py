"""Per-datum ascent in the parameters of q: one compiled loop for a batch of data."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from elbo_tfp.draws import draw
from elbo_tfp.gradients import sticking_the_landing
from elbo_tfp.ground.checks import number
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import as_seed, fold_in

_ROWS = 16_384
_BLOCK = 50


def ascend(
    target,
    family,
    parameters,
    *,
    num_steps,
    learning_rate,
    sample_size,
    seed,
    block=1,
    **weight,
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
        block: steps between two looks at `num_steps`, a divisor of it.
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
    state = (tf.constant(0), parameters, zero, zero, zero)
    total = _repeat(body, state, num_steps, block)[-1]
    return total / tf.cast(num_steps - half, rate.dtype)


def _repeat(body, state, num_steps, block):
    """`num_steps` times `body`, whose state starts with the step's number.

    The inner loop has a known number of rounds: a GPU need not ask the host after each.
    """
    if block == 1:
        return tf.while_loop(lambda step, *_: step < num_steps, body, state)

    def steps(*state):
        return tf.while_loop(
            lambda i, *_: i < block,
            lambda i, *state: (i + 1, *body(*state)),
            (tf.constant(0), *state),
        )[1:]

    return tf.while_loop(lambda step, *_: step < num_steps, steps, state)


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


class Climber:
    """The programs of one search: traced when first used, so once per public call.

    Args:
        target_of: data -> the target of `draw`.
        family: parameters `[B, P]` -> q.
        data: a tensor, or a structure of tensors.
        batch: B, a tuple of one number.
        jit_compile: whether to compile with XLA.
    """

    def __init__(self, target_of, family, data, batch, jit_compile):
        self._target_of, self._family, self._data = target_of, family, data
        self._batch, self._jit, self._runs = batch, jit_compile, {}

    def climb(self, parameters, num_steps, learning_rate, sample_size, seed):
        """`ascend`, compiled once for all data, weights, rates and seeds."""
        block = math.gcd(num_steps, _BLOCK)

        def program(data, parameters, num_steps, rate, seed):
            return ascend(
                self._target_of(data),
                self._family,
                parameters,
                num_steps=num_steps,
                learning_rate=rate,
                sample_size=sample_size,
                seed=seed,
                block=block,
            )

        rate = tf.constant(learning_rate, parameters.dtype)
        steps = tf.constant(num_steps, tf.int32)
        arguments = parameters, steps, rate, as_seed(seed)
        return self._run("climb", program, *arguments)

    def log_weights(self, parameters, sample_size, seed) -> np.ndarray:
        """log w of draws from the family's member, `[S, B]`, nats.

        The same seed means the same noise: members close to one another then have
        close log-weights, draw by draw.
        """

        def program(data, parameters, seed):
            return self._draws(self._family(parameters), data, sample_size, seed)

        key = ("log_weights", sample_size)
        return self._run(key, program, parameters, as_seed(seed)).numpy()

    def log_weights_of(self, surrogate_posterior, sample_size, seed) -> np.ndarray:
        """The same for any q; the same noise where q is a member."""

        def program(data, seed):
            return self._draws(surrogate_posterior, data, sample_size, seed)

        return self._run("other", program, as_seed(seed)).numpy()

    def _draws(self, q, data, sample_size, seed):
        target = self._target_of(data)

        def once(seed, size):
            log_weights = draw(target, q, size, seed=seed).log_weights
            return (tf.reshape(log_weights, [size, *self._batch]),)

        chunk = max(1, _ROWS // self._batch[0])
        dtypes = (tf.nest.flatten(q.dtype)[0],)
        return in_chunks(once, sample_size, chunk, self._batch, dtypes, seed)[0]

    def _run(self, key, program, *arguments):
        arguments = (self._data, *arguments)
        if key not in self._runs:
            self._runs[key] = compiled(program, *arguments, jit_compile=self._jit)
        return self._runs[key](*arguments)


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
