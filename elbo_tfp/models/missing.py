"""Models of data of which some values are missing."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.structures import as_data, check_mask
from elbo_tfp.ground.wrappers import INDEPENDENT, SAMPLE
from elbo_tfp.models.latent import LatentVariableModel
from elbo_tfp.models.support import impossible_data, none_outside
from elbo_tfp.models.target import event_shape_of

tfd = tfp.distributions


def observed(model) -> LatentVariableModel:
    """The model of those values of x that are observed.

    Data are `{"x": x, "mask": m}`, with m True where x is observed; masks differ from
    datum to datum. What stands in the other places cannot matter, and may be NaN. A
    datum of which nothing is observed has evidence 1 (0 nats), so its bound is -KL.

    Args:
        model: a `LatentVariableModel` or `ConditionalModel` whose likelihood, given z,
            is independent over coordinates: `tfd.Independent`, `tfd.Sample` or
            `tfd.MultivariateNormalDiag`.

    Raises:
        ValueError: by `log_joint`, if there is no mask, it is not boolean or not of the
            shape of x, or no value at all is observed; by the density, if the
            likelihood is none of these.

    Source: Mattei and Frellsen (2019), equation 4.
    """
    if not isinstance(model, LatentVariableModel):
        raise wrong(
            "a LatentVariableModel",
            type(model).__name__,
            "Call observed(model).log_joint(data), in this order.",
        )
    return _Observed(model)


class _Observed(LatentVariableModel):
    """See `observed`."""

    def __init__(self, model):
        self.complete, self.reads = model, model.reads | {"mask"}
        super().__init__(model._prior, model._likelihood, model._global_prior)

    prior_needs_global = property(lambda self: self.complete.prior_needs_global)

    def local_prior(self, w=None):
        """As in the complete model."""
        return self.complete.local_prior(w)

    def prior_at(self, x, w=None):
        """As in the complete model."""
        return self.complete.prior_at(x, w)

    def likelihood(self, *z):
        """The distribution of all of x, as in the complete model."""
        return self.complete.likelihood(*z)

    def likelihood_at(self, x, *z):
        """The distribution of what these masks show."""
        return _Masked(self.complete.likelihood_at(x, *z), x["mask"])

    def with_prior(self, prior) -> LatentVariableModel:
        """The same likelihood and masks under another prior."""
        return _Observed(self.complete.with_prior(prior))

    def _with_global_prior(self, prior):
        return _Observed(self.complete._with_global_prior(prior))

    def given(self, c) -> LatentVariableModel:
        """What is observed at these conditions, if the model is a conditional one."""
        return _Observed(self.complete.given(c))

    def sample(self, sample_shape=(), *, seed):
        """Simulates `(z, {"x", "mask"})`, with everything observed."""
        z, x = self.complete.sample(sample_shape, seed=seed)
        return z, {"x": x, "mask": tf.ones_like(x, tf.bool)}

    def _checked(self, x, also=frozenset()):
        x = as_data(x, "x")
        if not (isinstance(x, dict) and {"x", "mask"} <= set(x)):
            raise wrong(
                'data {"x": values, "mask": True where they are observed}',
                sorted(x) if isinstance(x, dict) else type(x).__name__,
                "mask = ~numpy.isnan(x), if NaN stands for what is missing.",
            )
        check_mask(x, "x")
        if tf.executing_eagerly() and not tf.reduce_any(x["mask"]):
            raise wrong(
                "a mask that is True where x is observed",
                "no observed value at all",
                "Is it the other way round? Then pass ~mask.",
            )
        return self.complete._checked(x, also | {"mask"})


class _Masked:
    """The density of the observed coordinates of x.

    Args:
        complete: the distribution of all coordinates.
        mask: True where x is observed, the shape of x.
    """

    def __init__(self, complete, mask):
        self._coordinate, self._mask = _coordinate(complete), mask
        self._rank = event_shape_of(complete).rank
        self.event_shape, self.dtype = event_shape_of(complete), complete.dtype
        self.batch_shape = complete.batch_shape
        self.event_shape_tensor = complete.event_shape_tensor

    def log_prob(self, x):
        """log p(x_o), `[S, B]`, nats."""
        # a value that can occur stands in for what is missing: 0 * NaN is NaN
        x = tf.where(self._mask, x, tf.cast(_possible(self._coordinate), x.dtype))
        bad = impossible_data(self._coordinate, x)
        log_prob = none_outside(self._coordinate.log_prob(x), self._coordinate, bad)
        # log p(x_o) = sum over observed d of log p(x_d)
        observed = tf.where(self._mask, log_prob, tf.zeros_like(log_prob))
        return tf.reduce_sum(observed, list(range(-self._rank, 0)))


def _coordinate(distribution):
    """The distribution of one coordinate, its batch shape `[S, B]` + event."""
    if event_shape_of(distribution).rank == 0:
        return distribution
    if isinstance(distribution, INDEPENDENT):
        return _coordinate(distribution.distribution)
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.mean(), distribution.stddev())
    if isinstance(distribution, SAMPLE):
        inner = _coordinate(distribution.distribution)
        rank = event_shape_of(distribution.distribution).rank
        repeats = event_shape_of(distribution).rank - rank
        # the repeats stand before the event of what is repeated
        place = (..., *[tf.newaxis] * repeats, *[slice(None)] * rank)
        return inner[place] if repeats else inner
    raise wrong(
        "a likelihood of independent scalar coordinates, for models.observed",
        type(distribution).__name__,
        "Use tfd.Independent, tfd.Sample or tfd.MultivariateNormalDiag.",
    )


def _possible(coordinate):
    """A value in the middle of the support; 0 for counts."""
    try:
        bijector = coordinate.experimental_default_event_space_bijector()
    except NotImplementedError:
        bijector = None
    if bijector is None:
        return tf.zeros([], coordinate.dtype)
    return tf.stop_gradient(bijector.forward(tf.zeros([], coordinate.dtype)))
