"""A particle filter: the second and last place that samples q for a bound.

It resamples between the steps of a series, so a draw is not one path but a cloud of
them, and its log-weight is log p-hat of the whole series: E[p-hat] = p(x). What comes
back is `Draws` all the same: `bounds.elbo` of them is FIVO, and `bounds.iwae` its form
with many filters. It is longer than most modules, so that both readings of one loop,
the bound (`particle_filter`) and the clouds themselves (`clouds`), stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.draws import lead_shape
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.seeds import as_seed, fold_in, split_seed, uniform
from elbo_tfp.ground.structures import as_data
from elbo_tfp.types import Draws


class Cloud(NamedTuple):
    """What a filter saw on its way: T steps of N particles each."""

    log_increments: tf.Tensor
    """log p-hat(x_t | x_1 ... x_t-1), `[T, S, B]`, nats; their sum is log p-hat(x)."""
    particles: tf.Tensor
    """z_t, `[T, N, S, B, K]`."""
    log_weights: tf.Tensor
    """Normalised log-weights given x_1 ... x_t, `[T, N, S, B]`."""
    ancestors: tf.Tensor
    """The number, at step t - 1, of the particle that each one comes from, `[T, N, S,
    B]`, int; at the first step its own."""


def particle_filter(
    model,
    q,
    x,
    num_particles,
    *,
    sample_size=1,
    seed,
    resampling="systematic",
    threshold=0.5,
    through_resampling=False,
) -> Draws:
    """Runs S particle filters over each series, and weighs them: log p-hat(x).

    E[p-hat] = p(x) for every number of particles, so E[log p-hat] <= log p(x).

    The gradient goes through the particles and their weights. Which particles survive
    is a choice that has none; what its probabilities would add is left out, as FIVO
    does. That is a bias, which more particles do not remove. `through_resampling=True`
    puts it back by weights of one, w / stop(w): then the gradient of p-hat is unbiased,
    and that of log p-hat consistent, at the price of more variance.

    Args:
        model: a `models.StateSpaceModel`, such as of `models.deep_markov`; or anything
            whose `steps(x)` returns what theirs does.
        q: what proposes: a member of `families.markov` per series, `encoder(x)`, or
            anything with `given(step, previous)`; None for the model's own transitions,
            the bootstrap filter.
        x: data, `[B, T, D]`, or a dict with "x", "lengths", "mask".
        num_particles: N.
        sample_size: S, the number of filters, or a tuple such as `(S, K)`.
        seed: int, pair of ints or integer tensor; stateless.
        resampling: "systematic" or "multinomial", by TFP's kernels; or a function with
            their signature, `(log_probs, event_size, sample_shape, seed=)`.
        threshold: a cloud is resampled when its effective sample size is below
            `threshold` times N; 0 never resamples: the weights are then those of
            importance sampling, and log p-hat is the IWAE of N paths.
        through_resampling: see above.

    Returns:
        `Draws` whose log-weights `[S, B]` are log p-hat, nats, and whose z is one path
        `[S, B, T, K]` out of each final cloud. Likelihood and prior are not known
        apart.

    Raises:
        ValueError: if the model has no steps, q cannot propose, a number is out of
            range, model, q and x have not one dtype, or (seen in eager mode; -inf in a
            graph) all weights of a cloud vanish.

    Source: Gordon, Salmond and Smith (1993); FIVO: Maddison et al. (2017), algorithm 1;
        `through_resampling`: Scibior and Wood (2021).
    """
    options = {
        "sample_size": sample_size,
        "seed": split_seed(seed)[0],
        "resampling": resampling,
        "threshold": threshold,
        "through_resampling": through_resampling,
    }
    cloud = clouds(model, q, x, num_particles, **options)
    # log p-hat(x) = sum_t log p-hat(x_t | x_1 ... x_t-1)
    log_p = tf.reduce_sum(cloud.log_increments, 0)
    path = tf.stop_gradient(_one_path(cloud, split_seed(seed)[1]))
    return Draws(path, None, None, tf.zeros_like(log_p), log_target=log_p)


def clouds(
    model,
    q,
    x,
    num_particles,
    *,
    sample_size=1,
    seed,
    resampling="systematic",
    threshold=0.5,
    through_resampling=False,
) -> Cloud:
    """The particles of every step, to predict from; arguments as `particle_filter`."""
    run = _Filter(
        _steps(model, q, x),
        q,
        whole("num_particles", num_particles, 1, "More are better: try 100."),
        lead_shape(sample_size),
        _resampler(resampling),
        real("threshold", threshold, "[0, 1]", "It is a share of num_particles."),
        through_resampling,
        as_seed(seed),
    )
    try:
        cloud = run.whole_series()
    except (TypeError, tf.errors.InvalidArgumentError) as error:
        _name_dtypes(run.steps, q, x, error)
        raise
    _check_alive(cloud.log_increments)
    return cloud


class _Filter(NamedTuple):
    """A filter with its settings."""

    steps: Any
    q: Any
    count: int
    lead: tuple
    choose: Callable
    threshold: float
    scored: bool
    seed: tf.Tensor

    def whole_series(self) -> Cloud:
        """The clouds of all steps."""
        first, steps = self.first(), tf.range(1, self.steps.num_steps)
        parts = [tf.expand_dims(part, 0) for part in first]
        if self.steps.num_steps > 1:
            later = tf.scan(self.move, steps, first)
            parts = [tf.concat(pair, 0) for pair in zip(parts, later, strict=True)]
        return Cloud(*parts)

    def first(self) -> Cloud:
        """The cloud at the first step, without an axis of time."""
        seed, shape = fold_in(self.seed, 1), [self.count, *self.lead]
        start = self.steps.initial
        if self.q is None:
            z = start.sample([*shape, self.steps.num_rows], seed=seed)
            ratio = 0.0
        else:
            proposal = self.q.given(0)
            z = proposal.sample(shape, seed=seed)
            ratio = start.log_prob(z) - proposal.log_prob(z)
        log_w = ratio + self.steps.log_observation(0, z) - math.log(self.count)
        own = tf.reshape(tf.range(self.count), [-1, *[1] * (log_w.shape.rank - 1)])
        return _weighed(z, log_w, tf.broadcast_to(own, tf.shape(log_w)))

    def move(self, before: Cloud, step) -> Cloud:
        """The cloud one step on."""
        ancestors, log_w = self._survivors(before.log_weights, step)
        previous = _rows(before.particles, ancestors)
        seed = fold_in(self.seed, step * 2 + 1)
        if self.q is None:
            z = self.steps.transition(step, previous).sample(seed=seed)
        else:
            proposal = self.q.given(step, previous)
            z = proposal.sample(seed=seed)
            # w_t = p(x_t | z_t) p(z_t | z_t-1) / q(z_t | z_t-1)
            log_w += self.steps.log_transition(step, previous, z)
            log_w -= proposal.log_prob(z)
        return _weighed(z, log_w + self.steps.log_observation(step, z), ancestors)

    def _survivors(self, log_weights, step):
        """Ancestors and their log-weights, of the clouds that need it resampled."""
        fixed, num = tf.stop_gradient(log_weights), self.count
        drawn = self.choose(fixed, num, (), seed=fold_in(self.seed, step * 2))
        drawn = tf.ensure_shape(tf.cast(drawn, tf.int32), fixed.shape)
        own = tf.reshape(tf.range(num), [-1, *[1] * (fixed.shape.rank - 1)])
        low = effective_sample_size(fixed) < self.threshold * num
        ancestors = tf.where(low, drawn, tf.broadcast_to(own, tf.shape(drawn)))
        even = tf.zeros_like(fixed) - math.log(num)
        if self.scored:
            # 1 = W / stop(W), which has the gradient of log W
            kept = _rows(log_weights, ancestors)
            even += kept - tf.stop_gradient(kept)
        return ancestors, tf.where(low, even, log_weights)


def effective_sample_size(log_weights) -> tf.Tensor:
    """1 / sum_n W_n^2 of normalised log-weights, along the first axis."""
    return tf.exp(-tf.reduce_logsumexp(2 * log_weights, 0))


def _weighed(z, log_w, ancestors) -> Cloud:
    # p-hat(x_t | before) = sum_n W_t-1,n w_t,n
    total = tf.reduce_logsumexp(log_w, 0)
    alive = total > -math.inf
    # a dead cloud goes on with even weights: its p-hat is 0 already
    log_w = tf.where(alive, log_w, tf.zeros_like(log_w))
    return Cloud(total, z, log_w - tf.reduce_logsumexp(log_w, 0), ancestors)


def _rows(values, numbers):
    """`values[numbers[n, s, b], s, b]`, both `[N, S, B]`, values + event."""
    clouds_ = tf.size(numbers[0])
    flat = tf.reshape(numbers, [-1, clouds_]) * clouds_ + tf.range(clouds_)
    event = tf.shape(values)[numbers.shape.rank :]
    table = tf.reshape(values, tf.concat([[-1], event], 0))
    return tf.reshape(tf.gather(table, flat), tf.shape(values))


def _one_path(cloud: Cloud, seed) -> tf.Tensor:
    """One particle of the last step, drawn by weight, with all its ancestors."""
    weights = tf.exp(cloud.log_weights[-1])
    u = uniform(tf.shape(weights)[1:], seed, weights.dtype)
    passed = tf.cumsum(weights, 0)[:-1] < u
    number = tf.reduce_sum(tf.cast(passed, tf.int32), 0)

    def back(follower, step):
        _, number = follower
        z = _rows_of_one(cloud.particles[step], number)
        return z, _rows_of_one(cloud.ancestors[step], number)

    first = tf.zeros_like(cloud.particles[0, 0]), number
    steps = tf.range(cloud.particles.shape[0])
    path, _ = tf.scan(back, steps, first, reverse=True)
    order = [*range(1, path.shape.rank - 1), 0, path.shape.rank - 1]
    return tf.transpose(path, order)


def _rows_of_one(values, number):
    """`values[number[s, b], s, b]`."""
    return _rows(
        values, tf.broadcast_to(number, tf.shape(values)[: number.shape.rank + 1])
    )[0]


def _resampler(resampling):
    kernels = {
        "systematic": tfp.experimental.mcmc.resample_systematic,
        "multinomial": tfp.experimental.mcmc.resample_independent,
    }
    found = resampling if callable(resampling) else kernels.get(resampling)
    if found is None:
        raise wrong(
            "resampling to be 'systematic', 'multinomial' or a function",
            repr(resampling),
            "threshold=0 does without.",
        )
    return found


def _steps(model, q, x):
    if not hasattr(model, "steps"):
        raise wrong(
            "a state space model, with steps(x)",
            type(model).__name__,
            "models.StateSpaceModel makes one of three functions.",
        )
    if q is not None and not hasattr(q, "given"):
        raise wrong(
            "q to have given(step, previous), or to be None (the bootstrap filter)",
            type(q).__name__,
            "Pass encoder(x) of a family families.markov.",
        )
    return model.steps(x)


def _name_dtypes(steps, q, x, error):
    """Raises ValueError if what went wrong may be that two dtypes met."""
    values = as_data(x["x"] if isinstance(x, dict) else x)
    found = {"latents": steps.initial.dtype, "x": values.dtype}
    if q is not None:
        found["q"] = q.given(0).dtype
    if len(set(found.values())) > 1:
        raise wrong(
            "one dtype of the model's latents, q and x",
            ", ".join(f"{name} {dtype.name}" for name, dtype in found.items()),
            "Cast x, or build model and q with its dtype.",
        ) from error


def _check_alive(log_increments):
    """Raises ValueError, in eager mode, where all the weights of a cloud vanish."""
    if not tf.executing_eagerly():
        return
    alive = tf.reduce_all(
        tf.math.is_finite(log_increments), [*range(1, log_increments.shape.rank)]
    )
    if not tf.reduce_all(alive):
        raise wrong(
            "some particle of every cloud to have a finite, positive weight",
            f"none at step {int(tf.argmin(tf.cast(alive, tf.int32)))}",
            "The proposal never goes where the data are: more particles, a q that sees "
            "x, or an observation with wider tails. Look for NaN in parameters, too.",
        )
