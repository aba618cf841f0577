"""State space models: a hidden path of states, and what is seen of each.

It is longer than most modules: a model, its paths and its masks are one protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.distributions.base import Base
from elbo_tfp.distributions.normal import log_standard_normal
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import split_seed, standard_normal
from elbo_tfp.ground.structures import as_data, check_mask
from elbo_tfp.models.latent import LatentVariableModel
from elbo_tfp.models.missing import _Masked
from elbo_tfp.models.priors import built

tfd = tfp.distributions


class Steps(NamedTuple):
    """A state space model at given data, step by step: what a filter asks for.

    Steps count from 0; states are `[..., B, K]`, densities `[..., B]` in nats.
    """

    num_steps: int
    """T, the length of the series."""
    num_rows: Any
    """B, the number of series."""
    initial: Any
    """p(z_1), of event shape `[K]`."""
    transition: Callable
    """`(step, previous) -> p(z_step | previous)`, a distribution."""
    log_transition: Callable
    """`(step, previous, z) -> log p(z | previous)`, whatever stands at padded steps."""
    log_observation: Callable
    """`(step, z) -> log p(x_step | z)`; 0 where nothing is observed."""


class StateSpaceModel(LatentVariableModel):
    """z_1 ~ p(z_1), z_t ~ p(z_t | z_t-1), x_t ~ p(x_t | z_t), t = 1 ... T.

    The latent of a datum is the path, `[T, K]`; a datum is a series `[T, D]`, alone or
    as `{"x": ..., "lengths": ..., "mask": ...}`. Series shorter than T are padded with
    any finite number, and `lengths` `[B]` says where they end: their bounds are those
    of the series without padding, for a q that is N(0, I) there, as the prior is. A
    `mask`, of the shape of x, is True where x is observed, and may have holes.

    Args:
        initial_state_prior: p(z_1), a distribution of event shape `[K]`, or a callable
            without arguments that returns it, needed when Keras variables shape it.
        transition_fn: `(step, z_t) -> p(z_t+1 | z_t)`, as in `tfd.MarkovChain`. States
            are `[..., K]`; `step`, counted from 0, broadcasts against their batch.
        observation_fn: `(step, z_t) -> p(x_t | z_t)` of event shape `[D]`.
        num_steps: T, the length of the path.
        support: as in `LatentVariableModel`.

    Raises:
        ValueError: if `num_steps` is not positive or a part is no callable. By
            `log_joint`: if lengths are no whole numbers from 1 to T, one for each
            series, or a mask is not boolean, not of the shape of x or nowhere True.
    """

    reads = frozenset({"mask", "lengths"})

    def __init__(
        self,
        initial_state_prior,
        transition_fn,
        observation_fn,
        num_steps,
        *,
        support=None,
    ):
        self.num_steps = whole("num_steps", num_steps, 1, "It is the series' length.")
        if not (callable(transition_fn) and callable(observation_fn)):
            raise wrong(
                "transition_fn and observation_fn to be (step, state) -> distribution",
                f"{type(transition_fn).__name__}, {type(observation_fn).__name__}",
                "Write lambda step, z: tfd.Independent(tfd.Normal(z, 1.0), 1).",
            )
        self.initial_state_prior = initial_state_prior
        self._moves, self.observation_fn = transition_fn, observation_fn
        super().__init__(self._chain, self._series, support=support)

    def transition_fn(self, step, z):
        """p(z_t+1 | z_t); steps `[T - 1]` go with states `[T - 1, ..., K]`."""
        step = tf.convert_to_tensor(step)
        ones = [1] * (z.shape.rank - 1 - step.shape.rank) if step.shape.rank else []
        return self._moves(tf.reshape(step, [*step.shape, *ones]), z)

    def prior_at(self, x, w=None):
        """p(z): N(0, I) beyond the end of a series that has a length."""
        chain = self.local_prior(w)
        if not (isinstance(x, dict) and "lengths" in x):
            return chain
        return _Ended(chain, self._going_on(x))

    def likelihood_at(self, x, *z):
        """p(what is observed of x | z)."""
        seen, likelihood = self._observed(x), self.likelihood(*z)
        return likelihood if seen is None else _Masked(likelihood, seen)

    def steps(self, x) -> Steps:
        """The model at these data, step by step; x as in `log_joint`."""
        x = self._checked(x)
        values = x["x"] if isinstance(x, dict) else x
        if values.shape.rank != 3:
            raise wrong("x of shape [B, T, D]", values.shape, "Add the axes of 1.")
        seen, goes_on = self._observed(x), None
        if isinstance(x, dict) and "lengths" in x:
            goes_on = self._going_on(x)

        def transition(step, previous):
            return self._moves(step - 1, previous)

        def log_transition(step, previous, z):
            log_p = transition(step, previous).log_prob(z)
            if goes_on is None:
                return log_p
            padding = tf.reduce_sum(log_standard_normal(z), -1)
            return tf.where(tf.gather(goes_on, step, axis=1), log_p, padding)

        def log_observation(step, z):
            likelihood, x_t = (
                self.observation_fn(step, z),
                tf.gather(values, step, axis=1),
            )
            if seen is not None:
                likelihood = _Masked(likelihood, tf.gather(seen, step, axis=1))
            return likelihood.log_prob(x_t)

        start = built(self.initial_state_prior)
        rows = values.shape[0] or tf.shape(values)[0]
        return Steps(
            *(self.num_steps, rows, start, transition, log_transition, log_observation)
        )

    def with_num_steps(self, num_steps) -> StateSpaceModel:
        """The same start, moves and observations over another number of steps."""
        parts = self.initial_state_prior, self._moves, self.observation_fn
        return StateSpaceModel(*parts, num_steps, support=self._support)

    def with_prior(self, prior):
        """Raises ValueError: here the prior is the transitions."""
        raise wrong(
            "a model whose prior can be exchanged",
            "a StateSpaceModel, whose prior is its transitions",
            "Build another StateSpaceModel.",
        )

    def _chain(self):
        start = built(self.initial_state_prior)
        return tfd.MarkovChain(start, self.transition_fn, self.num_steps)

    def _series(self, z):
        return tfd.Independent(self.observation_fn(tf.range(self.num_steps), z), 1)

    def _going_on(self, x):
        """True up to the end of each series, `[B, T]`."""
        return tf.range(self.num_steps) < tf.cast(x["lengths"], tf.int32)[:, tf.newaxis]

    def _observed(self, x):
        """Where x is observed, of its shape; None if everywhere."""
        if not (isinstance(x, dict) and self.reads & set(x)):
            return None
        seen = tf.ones_like(x["x"], tf.bool) if "mask" not in x else x["mask"]
        if "lengths" in x:
            seen &= self._going_on(x)[..., tf.newaxis]
        return seen

    def _checked(self, x, also=frozenset()):
        x = as_data(x, "x")
        values = x.get("x") if isinstance(x, dict) else x
        steps = (
            None if values is None or (values.shape.rank or 0) < 2 else values.shape[-2]
        )
        if steps not in (None, self.num_steps):
            raise wrong(
                f"series of {self.num_steps} steps, x [B, T, D]",
                f"shape {values.shape}",
                "Pad shorter ones and pass their lengths.",
            )
        if isinstance(x, dict) and "mask" in x:
            check_mask(x, "x")
        if isinstance(x, dict) and "lengths" in x:
            self._check_lengths(x)
        seen = self._observed(x)
        if seen is not None and tf.executing_eagerly() and not tf.reduce_any(seen):
            raise wrong(
                "a mask that is True where x is observed",
                "no observed value at all",
                "Is it the other way round? Then pass ~mask.",
            )
        return super()._checked(x, also)

    def _check_lengths(self, x):
        lengths, rows = x["lengths"], x["x"].shape[0]
        remedy = "One for each row of x; leave a series of which nothing is seen out."
        expected = f"lengths [B], whole numbers from 1 to {self.num_steps}"
        if not lengths.dtype.is_integer or not lengths.shape.is_compatible_with([rows]):
            raise wrong(expected, f"{lengths.dtype.name} {lengths.shape}", remedy)
        if tf.executing_eagerly():
            low, high = int(tf.reduce_min(lengths)), int(tf.reduce_max(lengths))
            if low < 1 or high > self.num_steps:
                raise wrong(expected, f"lengths from {low} to {high}", remedy)


class _Ended(Base):
    """A chain that has ended where `goes_on` `[B, T]` is False: N(0, I) from there."""

    def __init__(self, chain, goes_on):
        self._chain, self._goes_on = chain, goes_on
        parameters = {"chain": chain, "goes_on": goes_on}
        super().__init__(parameters, chain.dtype, chain.event_shape, False, "Ended")

    def _log_prob(self, z):
        rank = z.shape.rank
        path = tf.transpose(z, [rank - 2, *range(rank - 2), rank - 1])
        start, moves = self._chain.initial_state_prior, self._chain.transition_fn
        log_p = moves(tf.range(path.shape[0] - 1), path[:-1]).log_prob(path[1:])
        padding = tf.reduce_sum(log_standard_normal(path[1:]), -1)
        goes_on = tf.transpose(self._goes_on)[1:]
        goes_on = tf.reshape(goes_on, [path.shape[0] - 1, *[1] * (rank - 3), -1])
        # log p(z) = log p(z_1) + sum over t <= length of log p(z_t | z_t-1)
        later = tf.where(goes_on, log_p, padding)
        return start.log_prob(path[0]) + tf.reduce_sum(later, 0)

    def _sample_n(self, n, seed=None):
        path_seed, seed = split_seed(seed)
        batch = self._batch_shape_tensor()
        path = self._chain.sample(tf.concat([[n], batch], 0), seed=path_seed)
        padding = standard_normal(tf.shape(path), seed, self.dtype)
        return tf.where(self._goes_on[..., tf.newaxis], path, padding)

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity()

    def _batch_shape(self):
        return self._goes_on.shape[:1]

    def _batch_shape_tensor(self):
        return tf.shape(self._goes_on)[:1]
