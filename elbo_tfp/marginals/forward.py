"""Hidden Markov models: the path of discrete states, summed out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.chains import Chain, moved
from elbo_tfp.marginals.latents import Latents

tfd = tfp.distributions


def forward(model, name=None) -> Marginal:
    """Sums a discrete Markov chain k_1 ... k_T out, by the forward algorithm.

    The sum has K^T terms and takes T K^2 operations. Transitions and emissions may
    change with time and depend on the other latents; they are found by evaluating the
    model along paths that stay in one state. `tfd.HiddenMarkovModel` does the sum.

    Args:
        model: a `LatentVariableModel` whose latent is a `tfd.MarkovChain` of
            `tfd.Categorical` states, alone or in a TFP joint distribution in which
            nothing else depends on it. One datum is a series: the likelihood is a
            `tfd.Independent` whose first event dimension is time.
        name: the latent to sum out; None if there is only one.

    Returns:
        A `Marginal` over the latents that remain. Its `conditional(z, x)` is the exact
        p(k_1 ... k_T | rest, x), with `marginals` per step, `sample` and `log_prob`.

    Raises:
        ValueError: if the latent is no such chain, the steps of x are not independent,
            a step's data depend on another step's state, or another latent depends on
            the chain.

    Source: Baum and Petrie (1966); sampling by Scott (2002).
    """
    parts = _Parts(Chain(model, Latents(model, name)))
    parts.check()

    def conditional(z, x):
        return PathGiven(parts, z, x)

    def likelihood(kept, *shared):
        return parts.hidden(kept, shared)

    return parts.chain.marginal(likelihood, conditional)


class PathGiven:
    """p(k_1 ... k_T | the other latents, x), over whole paths.

    Args:
        parts: the hidden Markov model as a function of the other latents.
        z: the other latents, `[S, B]` + event, and w if there is one.
        x: data, `[B, T]` + event of one step.
    """

    def __init__(self, parts, z, x):
        self._chain, self._z = parts.chain, z
        self._hidden = parts.hidden(z[0], z[1:])
        shape = self._hidden.batch_shape_tensor(), self._hidden.event_shape_tensor()
        self._x = tf.broadcast_to(x, tf.concat(shape, 0))
        self.batch_shape, self.event_shape = self._hidden.batch_shape, parts.chain.event

    def sample(self, sample_shape=(), *, seed):
        """Paths, `sample_shape` + `[S, B, T]`: filter forwards, draw backwards."""
        moves, filtered = self._filtered()
        extra = tf.cast(tf.reshape(sample_shape, [-1]), tf.int32)
        shape = tf.concat([extra, tf.shape(filtered)], 0)
        seed = split_seed(seed, 1)[0]
        noise = tfd.Gumbel(tf.zeros([], filtered.dtype), 1).sample(shape, seed=seed)
        steps = moved(noise, -filtered.shape.rank, 0)

        def before(later, step):
            # p(k_t | k_t+1, x_1 ... x_t) is proportional to alpha_t(k_t) P(k_t, k_t+1)
            noise_t, alpha, move = step
            chosen = tf.linalg.matvec(
                move, tf.one_hot(later, move.shape[-1], 1.0, 0.0, dtype=move.dtype)
            )
            return tf.argmax(noise_t + alpha + chosen, -1, later.dtype)

        # the largest of log-weights plus Gumbel noise is a draw
        last = tf.argmax(steps[-1] + filtered[-1], -1, self._chain.dtype)
        earlier = tf.scan(
            before, (steps[:-1], filtered[:-1], moves), last, reverse=True
        )
        return moved(tf.concat([earlier, last[tf.newaxis]], 0), 0, -1)

    def log_prob(self, path):
        """log p(path | rest, x), nats, `[..., S, B]`."""
        log_evidence = self._hidden.log_prob(self._x)
        return self._chain.log_posterior(path, self._z, self._x, log_evidence)

    def marginals(self):
        """p(k_t | rest, x) of each step by itself, Categorical, `[S, B, T]`."""
        return self._hidden.posterior_marginals(self._x)

    def _filtered(self):
        """log P(k_t, k_t+1) and log p(k_t, x_1 ... x_t), time leading, K last."""
        hidden = self._hidden
        emitted = hidden.observation_distribution.log_prob(
            tf.expand_dims(self._x, self._x.shape.rank - hidden.event_shape.rank + 1)
        )
        emitted = moved(emitted, -2, 0)
        moves = moved(hidden.transition_distribution.logits, -3, 0)

        def step(alpha, now):
            # alpha_t+1(j) = p(x_t+1 | j) sum_i alpha_t(i) P(i, j)
            move, log_p = now
            return log_p + tf.reduce_logsumexp(alpha[..., tf.newaxis] + move, -2)

        first = hidden.initial_distribution.logits + emitted[0]
        later = tf.scan(step, (moves, emitted[1:]), first)
        return moves, tf.concat([first[tf.newaxis], later], 0)


class _Parts:
    """Start, transitions and emissions at given other latents."""

    def __init__(self, chain):
        self.chain = chain
        kept, shared = chain.some_latents()
        paths = tf.zeros([1, *chain.event], chain.dtype)
        found, moves, x = chain.along(kept, shared, paths)
        for distribution in (found.initial_state_prior, moves):
            if type(distribution) is not tfd.Categorical or chain.event.rank > 1:
                raise ValueError(
                    f"expected the states of {chain.name!r} to be tfd.Categorical; got "
                    f"{type(distribution).__name__} with event shape {chain.event[1:]}."
                )
        self._emitted(x)
        self.num_states = found.initial_state_prior.logits_parameter().shape[-1]

    def hidden(self, kept, shared):
        """The `tfd.HiddenMarkovModel` of x, batch shape `[S, B]`."""
        states = tf.range(self.num_states, dtype=self.chain.dtype)
        paths = self.chain.constant(states)
        found, moves, x = self.chain.along(kept, shared, paths)
        lead, static = self.chain.latents.lead(kept)
        count, steps = self.num_states, self.chain.steps
        batch = tf.concat([[count], lead], 0)
        start = _log_table(found.initial_state_prior, batch, count)[0]
        moves = _log_table(moves, tf.concat([[steps - 1], batch], 0), count)
        # [T - 1, K, S, B, K] -> [S, B, T - 1, K, K]
        moves = moved(moved(moves, 1, -2), 0, -3)
        return tfd.HiddenMarkovModel(
            tfd.Categorical(start),
            tfd.Categorical(moves),
            _ByState(self._emitted(x), lead, [count, *static, steps]),
            steps,
            time_varying_transition_distribution=True,
            time_varying_observation_distribution=True,
        )

    def check(self):
        """Raises ValueError where the model is no hidden Markov model."""
        chain, (kept, shared) = self.chain, self.chain.some_latents()
        rng = np.random.default_rng(0)
        paths = rng.integers(self.num_states, size=[3, chain.steps])
        paths = tf.constant(paths, chain.dtype)
        hidden = self.hidden(kept, shared)
        x = hidden.sample(seed=(0, 2))
        seen = chain.along(kept, shared, paths)[2].log_prob(x)
        event = hidden.event_shape.rank
        by_state = hidden.observation_distribution.log_prob(
            tf.expand_dims(x, x.shape.rank - event + 1)
        )
        chosen = tf.one_hot(paths, self.num_states, dtype=by_state.dtype)
        chosen = tf.reshape(
            chosen, [3, *[1] * (by_state.shape.rank - 2), *chosen.shape[1:]]
        )
        told = tf.reduce_sum(chosen * by_state, [-2, -1])
        chain.check_same(seen, told, "a step's data depend on other steps of")
        chain.check_kept(kept, paths)

    def _emitted(self, x):
        """p(x_t | k_t): the time steps of x as a batch dimension."""
        steps, event = self.chain.steps, x.event_shape
        if not isinstance(x, tfd.Independent) or event[0] != steps:
            raise ValueError(
                "expected the likelihood of a series, tfd.Independent over a first "
                f"event dimension of T={steps} steps; got {type(x).__name__} with "
                f"event shape {event}."
            )
        rest = x.event_shape.rank - 1 - x.distribution.event_shape.rank
        return tfd.Independent(x.distribution, rest) if rest else x.distribution


class _ByState(tfd.Distribution):
    """A distribution of batch shape `[K, S, B, T]`, seen as `[S, B, T, K]`."""

    def __init__(self, by_state, lead, static):
        self._by_state, self._static = by_state, tf.TensorShape(static)
        self._shape = tf.concat([static[:1], lead, static[-1:]], 0)
        super().__init__(
            dtype=by_state.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"by_state": by_state},
        )

    def _log_prob(self, x):
        # the states' axis, the last but the event, goes in front of S
        events = self.event_shape.rank
        rank = self._static.rank
        x = moved(x, -1 - events, -rank - events)
        log_prob = self._by_state.log_prob(x)
        lead = tf.shape(log_prob)[: log_prob.shape.rank - rank]
        log_prob = tf.broadcast_to(log_prob, tf.concat([lead, self._shape], 0))
        return moved(log_prob, -rank, -1)

    def _sample_n(self, n, seed=None):
        events = self.event_shape.rank
        x = self._by_state.sample(n, seed=seed)
        shape = tf.concat([[n], self._shape, tf.shape(x)[x.shape.rank - events :]], 0)
        return moved(tf.broadcast_to(x, shape), 1, -1 - events)

    def _batch_shape(self):
        return self._static[1:].concatenate(self._static[:1])

    def _batch_shape_tensor(self):
        return tf.roll(self._shape, -1, 0)

    def _event_shape(self):
        return self._by_state.event_shape

    def _event_shape_tensor(self):
        return self._by_state.event_shape_tensor()


def _log_table(categorical, batch, count):
    """Log-probabilities; what cannot be gets 1e-308, so that gradients are finite."""
    logits = tf.math.log_softmax(categorical.logits_parameter())
    lowest = float(np.log(np.finfo(logits.dtype.as_numpy_dtype).tiny))
    logits = tf.maximum(logits, lowest)
    return tf.broadcast_to(logits, tf.concat([batch, [count]], 0))
