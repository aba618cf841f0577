"""Hidden Markov models: the path of discrete states, summed out."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.chains import Chained
from elbo_tfp.marginals.hidden import HiddenSeries, draw_path
from elbo_tfp.marginals.latents import moved
from elbo_tfp.marginals.pinned import takes_pins

tfd = tfp.distributions


@takes_pins
def forward(model, name=None) -> Marginal:
    """Sums a discrete Markov chain k_1 ... k_T out, by messages along the chain.

    The sum has K^T terms and takes T K^2 operations. Transitions and emissions may
    change with time and depend on the other latents; they are found by evaluating the
    model along paths that stay in one state. Steps that `tfd.Masked` hides are summed
    over. A move of probability 0 stays impossible: it has no gradient, and data that no
    path can give have the evidence -inf, with a gradient of 0 and without a posterior
    (its marginals are NaN, its draws mean nothing).

    Args:
        model: a `LatentVariableModel`, or a joint distribution with its data pinned,
            whose latent is a `tfd.MarkovChain` of `tfd.Categorical` states, alone or in
            a TFP joint distribution in which nothing else depends on it. One datum is a
            series: the likelihood is a `tfd.Independent` whose first event dimension is
            time.
        name: the latent to sum out; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain; with a pin, its target. Its
        `conditional(z, x)` is the exact p(k_1 ... k_T | rest, x), with `marginals` per
        step, `sample` and `log_prob`.

    Raises:
        ValueError: if the latent is no such chain, the steps of x are not independent,
            a step's data depend on another step's state, or another latent depends on
            the chain.

    Source: Baum and Petrie (1966); sampling by Scott (2002).
    """
    return Forward(model, name)


@final
class Forward(Chained):
    """The marginal over paths of discrete states."""

    def __init__(self, model, name):
        super().__init__(model, name)
        rest = self._examples()
        start, moves, x = self.along(rest, tf.zeros([1, *self.event], self.dtype))
        for states in (start, moves):
            if type(states) is not tfd.Categorical or self.event.rank > 1:
                raise wrong(
                    f"the states of {self.name!r} to be tfd.Categorical",
                    f"{type(states).__name__} with event shape {self.event[1:]}",
                )
        self.of_one_step(x)
        self.num_states = start.logits_parameter().shape[-1]
        self._check(rest)

    def _given(self, rest):
        count, (lead, static) = self.num_states, self._latents.lead(rest[0])
        paths = self.constant(tf.range(count, dtype=self.dtype))
        start, moves, x = self.along(rest, paths)
        batch = tf.concat([[count], lead], 0)
        moves = _log_table(moves, tf.concat([[self.steps - 1], batch], 0), count)
        return HiddenSeries(
            tf.ensure_shape(_log_table(start, batch, count)[0], [*static, count]),
            # [T - 1, K, S, B, K] -> [T - 1, S, B, K, K]; T is static, for XLA
            tf.ensure_shape(
                moved(moves, 1, -2), [self.steps - 1, *static, count, count]
            ),
            self.of_one_step(x),
            self.steps,
            self.dtype,
        )

    def _conditional(self, rest, x):
        return PathGiven(self, rest, x)

    def _check(self, rest):
        """Raises ValueError where the model is no hidden Markov model."""
        rng = np.random.default_rng(0)
        paths = rng.integers(self.num_states, size=[3, self.steps])
        paths = tf.constant(paths, self.dtype)
        hidden, along = self._given(rest), self.along(rest, paths)[2]
        # data of each path: data that it could not give would say nothing of it
        x = along.sample(seed=(0, 2))
        found, by_state = along.log_prob(x), hidden.log_emitted(x)
        chosen = tf.one_hot(tf.transpose(paths), self.num_states, True, False)
        # [T, M, S, B, K]; a product of 0 with the -inf of impossible data would be NaN
        ones = [1] * (by_state.shape.rank - 3)
        chosen = tf.reshape(chosen, [*chosen.shape[:2], *ones, self.num_states])
        told = tf.reduce_sum(tf.where(chosen, by_state, 0), [0, -1])
        what = f"a step's data depend on other steps of {self.name!r}"
        self._same(found, told, what)
        self.check_kept(rest, paths)


class PathGiven:
    """p(k_1 ... k_T | the other latents, x), over whole paths.

    Args:
        marginal: the `Forward` it belongs to.
        rest: the other latents, `[S, B]` + event, and w if there is one.
        x: data, `[B, T]` + event of one step.
    """

    def __init__(self, marginal, rest, x):
        self._marginal, self._rest, self._x = marginal, rest, x
        self._hidden = marginal._given(rest)
        self.batch_shape, self.event_shape = self._hidden.batch_shape, marginal.event

    def sample(self, sample_shape=(), *, seed):
        """Paths, `sample_shape` + `[S, B, T]`."""
        hidden, extra = self._hidden, tf.cast(tf.reshape(sample_shape, [-1]), tf.int32)
        # p(k_t+1 | k_t, x) is proportional to P(k_t, k_t+1) p(x_t+1 ... x_T | k_t+1)
        tilt = hidden.messages(self._x)
        return draw_path(hidden.start, hidden.moves, tilt, extra, seed, hidden.states)

    def log_prob(self, path):
        """log p(path | rest, x), nats, `[..., S, B]`."""
        return self._marginal.log_posterior(path, self._rest, self._x)

    def marginals(self):
        """p(k_t | rest, x) of each step by itself, Categorical, `[S, B, T]`."""
        logits = self._hidden.before(self._x) + self._hidden.messages(self._x)
        return tfd.Categorical(tf.nn.log_softmax(moved(logits, 0, -2)))


def _log_table(categorical, batch, count):
    """Log-probabilities; -inf, which no gradient reaches, where one is 0."""
    if categorical.probs is None:
        logits = categorical.logits_parameter()
    else:
        probs = tf.convert_to_tensor(categorical.probs)
        never = probs == 0
        logits = tf.math.log(tf.where(never, tf.ones_like(probs), probs))
        logits = tf.where(never, tf.cast(-math.inf, probs.dtype), logits)
    logits = tf.math.log_softmax(logits)
    return tf.broadcast_to(logits, tf.concat([batch, [count]], 0))
