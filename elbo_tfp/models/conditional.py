"""Models of x given a condition."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.structures import as_data, batch_size
from elbo_tfp.models.latent import LatentVariableModel
from elbo_tfp.models.priors import built, takes_an_argument

tfd = tfp.distributions


class ConditionalModel(LatentVariableModel):
    """p(x, z | c) = p(z | c) p(x | z, c): data are `{"x": x, "given": c}`, row by row.

    Args:
        prior: the distribution of one z; or a callable from c, `[B]` + event, to that
            of one z per row, batch shape `[B]`.
        likelihood: a callable `(z, c) -> distribution` of x, batch shape `[S, B]`. It
            gets c repeated for every sample, `[S, B]` + event, so that z and c can be
            joined.
        global_prior: as in `LatentVariableModel`: the likelihood is then called as
            `(z, w, c)`, or as `(w, c)` with `prior=None` (c is `[B]` + event there):
            Bayesian regression.
        support: as in `LatentVariableModel`, of "x".

    Raises:
        ValueError: as `LatentVariableModel`.
    """

    reads = frozenset({"given"})

    def __init__(self, prior, likelihood, global_prior=None, *, support=None):
        super().__init__(prior, likelihood, global_prior, support=support)

    @property
    def prior_needs_global(self) -> bool:
        """Never: a prior with an argument asks for the condition."""
        return False

    def local_prior(self, w=None):
        """p(z), if it is the same for every condition."""
        if takes_an_argument(self._prior):
            raise ValueError(
                "the prior of z depends on the condition: use model.given(c).prior, or "
                "model.log_joint(data).prior()."
            )
        return super().local_prior(w)

    def prior_at(self, x, w=None):
        """p(z | c) at the conditions of these data."""
        if takes_an_argument(self._prior):
            return built(self._prior, x["given"])
        return self.local_prior(w)

    def likelihood_at(self, x, *z):
        """p(x | z, c) at the conditions of these data."""
        c = x["given"]
        if self.has_local:
            event = tf.nest.flatten(self.prior_at(x).event_shape)[0]
            first = tf.nest.flatten(z[0])[0]
            c = _repeated(c, first, first.shape.rank - event.rank)
        return self._likelihood(*z, c)

    def likelihood(self, *z):
        """Needs a condition: raises ValueError, and names what to use."""
        raise ValueError(
            "expected a condition: use model.given(c).likelihood(z), or "
            "model.log_joint(data).likelihood(z)."
        )

    def given(self, c) -> LatentVariableModel:
        """The model of x at these conditions, one datum for each row of c.

        Args:
            c: conditions, `[B]` + event, or a structure of such.
        """
        c = as_data(c, "given")
        self._check_given(c)
        return _Given(self, {"given": c})

    def with_prior(self, prior) -> ConditionalModel:
        """The same likelihood under another prior, as `ConditionalModel` takes it."""
        model = ConditionalModel(
            prior, self._likelihood, self._global_prior, support=self._support
        )
        model._check_given = self._check_given
        return model

    def _check_given(self, c):
        """Raises ValueError for conditions that cannot be; here any can."""

    def joint(self):
        """Raises ValueError: a joint distribution has no conditions."""
        raise ValueError("expected a condition: use model.given(c).")

    def sample(self, sample_shape=(), *, seed):
        """Raises ValueError: simulation needs conditions, `given(c).sample`."""
        raise ValueError(
            f"expected conditions: use model.given(c).sample({sample_shape}, "
            f"seed={seed})."
        )

    def _checked(self, x, also=frozenset()):
        x = as_data(x, "x")
        if not (isinstance(x, dict) and {"x", "given"} <= set(x)):
            raise wrong(
                'data {"x": what is modelled, "given": the condition}',
                sorted(x) if isinstance(x, dict) else type(x).__name__,
                "Every datum has its row in both.",
            )
        self._check_given(x["given"])
        return super()._checked(x, also)


class _Given(LatentVariableModel):
    """A conditional model at fixed conditions; x has one row for each of them."""

    def __init__(self, model, condition):
        self._model, self._condition = model, condition
        self._rows = batch_size(condition["given"], "given")
        super().__init__(
            self._local_prior if model.has_local else None,
            lambda *z: model.likelihood_at(condition, *z),
            model._global_prior,
            support=model._support,
        )

    def _local_prior(self):
        prior = self._model.prior_at(self._condition)
        if prior.batch_shape.rank or self._rows is None:
            return prior
        return tfd.BatchBroadcast(prior, [self._rows])

    def _checked(self, x, also=frozenset()):
        x = super()._checked(x, also)
        found = batch_size(x, "x")
        if None not in (found, self._rows) and found != self._rows:
            raise wrong(
                f"an x for each of the {self._rows} conditions",
                f"{found}",
                "Row i of x is drawn at row i of the condition.",
            )
        return x


def _repeated(c, z, ndims):
    """c, `[B]` + event, for every sample of z, `[S, B]` + event."""
    lead, static = tf.shape(z)[:ndims], z.shape[:ndims]

    def repeat(t):
        shape = tf.concat([lead, tf.shape(t)[1:]], 0)
        return tf.ensure_shape(tf.broadcast_to(t, shape), static + t.shape[1:])

    return tf.nest.map_structure(repeat, c)
