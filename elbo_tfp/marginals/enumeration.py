"""Finite latents, summed out in log space."""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.base import KeptPrior, Marginal, part_distributions, plain_prior
from elbo_tfp.marginals.latents import Latents, prior_of, repeat

tfd = tfp.distributions


def enumerate_discrete(
    model, names=None, *, support=None, max_states=100_000
) -> Marginal:
    """Sums finite latents out: p(x, z) = sum over k of p(x, z, k).

    All combinations of the states of the named latents are evaluated at once, so that
    memory and time are those of the model times their number.

    Args:
        model: a `LatentVariableModel`; a prior over several latents is a TFP joint
            distribution, in any order (z may depend on k and k on z).
        names: the latents to sum out, one name or several; None means every latent of
            an integer or boolean type (or the only one there is).
        support: name -> array `[M]` + event of states, for distributions whose support
            is finite but not known to the package.
        max_states: the largest number of combinations to enumerate.

    Returns:
        A `Marginal` over the latents that remain. Its `conditional(z, x)` is p(k | z,
        x), with `logits`, `states`, `sample` and `log_prob`.

    Raises:
        ValueError: if a support is infinite or unknown, there are more than
            `max_states` combinations (the message says how many), or a name is wrong.
    """
    prior, support = prior_of(model), dict(support or {})
    names = _discrete(prior) if names is None else names
    latents = Latents(model, names)
    parts = part_distributions(prior, latents)
    counts = {
        n: len(support[n]) if n in support else _count(parts[n], n)
        for n in latents.integrated
    }
    _check_affordable(counts, max_states)
    values = {
        n: np.asarray(support[n]) if n in support else _states(parts[n]) for n in counts
    }
    rows = np.array(list(itertools.product(*map(range, counts.values()))))
    values = {
        n: tf.constant(v[rows[:, i]], parts[n].dtype)
        for i, (n, v) in enumerate(values.items())
    }
    return _summed(model, latents, values, len(rows))


def _summed(model, latents, values, count):
    def log_joint_prior(z):
        # log p(z, k) for every state k, [M, S, B]
        return model.prior.log_prob(latents.spread(z, values))

    def prior():
        joint = model.prior
        if not latents.kept:
            dtype = joint.log_prob(joint.sample(seed=(0, 0))).dtype
            return tfd.Sample(tfd.Normal(tf.zeros([], dtype), 1), 0)
        # log p(z) = log sum_k p(z, k)
        return plain_prior(joint, latents) or KeptPrior(
            joint, latents, lambda z: tf.reduce_logsumexp(log_joint_prior(z), 0)
        )

    def likelihood(z, *shared):
        shared = [repeat(w, count) for w in shared]
        components = model.likelihood(latents.spread(z, values), *shared)
        return StateMixture(log_joint_prior(z), components)

    def conditional(z, x):
        # p(k | z, x) is proportional to p(z, k) p(x | z, k)
        logits = likelihood(*z).state_logits(x)
        return OverStates(logits, values, latents)

    return Marginal(model, latents, prior, likelihood, conditional)


class StateMixture(tfd.Distribution):
    """p(x | z) = sum over k of p(k | z) p(x | z, k), states leading.

    Args:
        logits: log p(z, k), `[M, S, B]`; normalised over the states here.
        components: p(x | z, k), batch shape `[M, S, B]`.
    """

    def __init__(self, logits, components, name="StateMixture"):
        parameters = dict(locals())
        self._log_weights = logits - tf.reduce_logsumexp(logits, 0)
        self._components = components
        super().__init__(
            dtype=components.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def state_logits(self, x):
        """log p(k | z) + log p(x | z, k), `[M, S, B]`."""
        return self._log_weights + self._components.log_prob(x)

    def _log_prob(self, x):
        # log p(x | z) = log sum_k p(k | z) p(x | z, k)
        return tf.reduce_logsumexp(self.state_logits(x), 0)

    def _mean(self):
        rank = self._components.event_shape.rank
        weights = tf.exp(self._log_weights)
        weights = tf.reshape(
            weights, tf.concat([tf.shape(weights), tf.ones([rank], tf.int32)], 0)
        )
        return tf.reduce_sum(weights * self._components.mean(), 0)

    def _sample_n(self, n, seed):
        state_seed, x_seed = split_seed(seed)
        logits = tf.einsum("m...->...m", self._log_weights)
        state = tfd.Categorical(logits=logits).sample(n, seed=state_seed)
        x = self._components.sample(n, seed=x_seed)
        rank, events = state.shape.rank, self._components.event_shape.rank
        # x is [n, M, S, B] + event; put M last and choose
        order = [0, *range(2, rank + 1), 1, *range(rank + 1, rank + 1 + events)]
        x = tf.transpose(x, order)
        return tf.gather(x, state, axis=rank, batch_dims=rank)

    def _batch_shape(self):
        return self._components.batch_shape[1:]

    def _batch_shape_tensor(self):
        return tf.shape(self._log_weights)[1:]

    def _event_shape(self):
        return self._components.event_shape

    def _event_shape_tensor(self):
        return self._components.event_shape_tensor()


class OverStates:
    """A distribution over enumerated states of one or several latents.

    Args:
        logits: unnormalised log-probabilities, `[M, S, B]`.
        values: name -> the M states, `[M]` + event.
        latents: how samples are packed.
    """

    def __init__(self, logits, values, latents):
        # log-probabilities [S, B, M], normalised
        self.logits = tf.nn.log_softmax(tf.einsum("m...->...m", logits))
        self.states = latents.pack_integrated(values)
        self._values, self._latents = values, latents
        self.batch_shape = self.logits.shape[:-1]

    def sample(self, sample_shape=(), *, seed):
        """Draws: a tensor for one latent, a structure by name for several."""
        index = tfd.Categorical(logits=self.logits).sample(
            sample_shape, seed=split_seed(seed, 1)[0]
        )
        drawn = {n: tf.gather(v, index) for n, v in self._values.items()}
        return self._latents.pack_integrated(drawn)

    def log_prob(self, value):
        """log p of states as `sample` gives them, `[..., S, B]`, nats."""
        same = True
        for name, part in self._latents.unpack_integrated(value).items():
            states = self._values[name]
            equal = tf.equal(tf.expand_dims(part, -states.shape.rank), states)
            axes = list(range(1 - states.shape.rank, 0))
            same &= tf.reduce_all(equal, axes) if axes else equal
        lowest = tf.constant(-math.inf, self.logits.dtype)
        return tf.reduce_max(tf.where(same, self.logits, lowest), -1)


_INFINITE = ("Poisson", "Geometric", "NegativeBinomial", "Zipf", "Skellam")


def _discrete(prior):
    parts = prior.dtype
    if isinstance(parts, tf.DType):
        return None
    if hasattr(parts, "_asdict"):
        parts = parts._asdict()
    elif not isinstance(parts, dict):
        parts = dict(enumerate(parts))
    found = [n for n, d in parts.items() if d.is_integer or d.is_bool]
    if not found:
        raise ValueError(
            "expected a latent of an integer or boolean type to sum out; got "
            f"{dict(parts)}. Name the latents: enumerate_discrete(model, ['k'])."
        )
    return found


def _unwrapped(d):
    """(scalar distribution, number of independent copies)."""
    if isinstance(d, (tfd.Independent, tfd.Sample)):
        base, copies = _unwrapped(d.distribution)
        inner = d.distribution.event_shape.num_elements()
        return base, copies * (d.event_shape.num_elements() // max(inner, 1))
    return d, 1


def _scalar_states(d, name):
    if isinstance(d, tfd.Bernoulli):
        return np.arange(2)
    if isinstance(d, tfd.Categorical):
        return np.arange(d.logits_parameter().shape[-1])
    if isinstance(d, tfd.OneHotCategorical):
        return np.eye(d.event_shape[-1])
    if isinstance(d, tfd.Binomial):
        return np.arange(int(np.max(d.total_count)) + 1)
    if isinstance(d, tfd.FiniteDiscrete):
        return np.asarray(d.outcomes)
    kind = type(d).__name__
    why = "infinite" if kind in _INFINITE else "not known to be finite"
    raise ValueError(
        f"expected a latent with finitely many states; got {name!r} with a {kind} "
        f"distribution, whose support is {why}. Integrate it otherwise, or pass "
        f"support={{{name!r}: states}} if a finite list holds all its mass."
    )


def _count(d, name):
    base, copies = _unwrapped(d)
    return len(_scalar_states(base, name)) ** copies


def _states(d):
    base, copies = _unwrapped(d)
    single = _scalar_states(base, "")
    rows = np.array(list(itertools.product(range(len(single)), repeat=copies)))
    return single[rows].reshape(len(rows), *d.event_shape)


def _check_affordable(counts, max_states):
    total = math.prod(counts.values())
    if total > max_states:
        sizes = " x ".join(f"{c:,} ({n!r})" for n, c in counts.items())
        raise ValueError(
            f"expected at most max_states={max_states:,} combinations of states; got "
            f"{total:,} = {sizes}. Sum fewer latents out, or raise max_states if "
            "memory allows."
        )
