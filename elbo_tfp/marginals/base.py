"""A model with some latents integrated out: what every kind of it must answer."""

from __future__ import annotations

import abc

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.latents import (
    Latents,
    named_parts,
    needs_global,
    prior_given,
    repeat,
)
from elbo_tfp.marginals.priors import KeptPrior, part_distributions, plain_prior
from elbo_tfp.models import LatentVariableModel
from elbo_tfp.models.target import event_shape_of

tfd = tfp.distributions


class Marginal(LatentVariableModel, abc.ABC):
    """p(x, z_1) = integral of p(x, z_1, z_2) over z_2, with p(z_2 | z_1, x) at hand.

    A `LatentVariableModel` of what remains: one part alone is a tensor, several are a
    dict by name (a list, if the parts had no names). If nothing remains, z has event
    shape `[0]`, and `log_evidence` and `posterior` are exact.

    The protocol: a subclass is final, and answers three questions about `rest`, which
    is `(z_1,)`, or `(z_1, w)` under a global prior. What do data look like (`_given`)?
    What was integrated (`_conditional`)? How likely is z_1 (`_log_prior`)? When it is
    made it examines the model, by `_same`.

    Args:
        model: the model it is made from.
        names: the latents to integrate, None for the only one.
        support: as in `LatentVariableModel`, if the model has none of its own.
    """

    _expected = "a latent that can be integrated exactly"
    _remedy = "Integrate another latent, or approximate this one with q."

    def __init__(self, model, names, support=None):
        self.integrated_from, self._latents = model, Latents(model, names)
        shared = model._global_prior is not None
        exact = {"log_evidence": self._all_summed, "posterior": self._all}
        tied = needs_global(model) and bool(self._latents.kept)
        super().__init__(
            self._tied_prior if tied else lambda: self._prior_of_kept(),
            lambda *rest: self._given(_tensors(rest)),
            model._global_prior,
            support=model._support or support,
            **({} if shared or self._latents.kept else exact),
        )
        prior = prior_given(model)
        part_distributions(prior, self._latents)  # raises, if it cannot be taken apart
        self._dtype = prior.log_prob(prior.sample(seed=(0, 0))).dtype

    @abc.abstractmethod
    def _given(self, rest):
        """p(x | rest), batch shape `[S, B]`."""

    @abc.abstractmethod
    def _conditional(self, rest, x):
        """p(z_2 | rest, x), batch shape `[S, B]`, with `sample` and `log_prob`."""

    @abc.abstractmethod
    def _log_prior(self, rest):
        """log p(z_1), or log p(z_1 | w), `[S, B]`, nats."""

    def conditional(self, z, x):
        """p(z_2 | z_1, x), the exact distribution of what was integrated.

        Args:
            z: the latents that remain, `[S, B]` + event; with a global latent the pair
                `(z, w)`.
            x: data, `[B]` + event.

        Returns:
            A distribution of batch shape `[S, B]`, with `sample` and `log_prob`.
        """
        rest = tuple(z) if self._global_prior is not None else (z,)
        return self._conditional(_tensors(rest), tf.convert_to_tensor(x))

    def complete(self, z, x, *, seed):
        """Latents of the model it was made from: z with a draw of the rest put back.

        Args:
            z: as in `conditional`.
            x: as in `conditional`.
            seed: int, pair of ints or integer tensor; stateless.
        """
        drawn = self.conditional(z, x).sample(seed=split_seed(seed, 1)[0])
        shared = self._global_prior is not None
        whole = self._latents.merge(z[0] if shared else z, drawn)
        return (whole, z[1]) if shared else whole

    def _prior_of_kept(self, *shared):
        if not self._latents.kept:
            return tfd.Sample(tfd.Normal(tf.zeros([], self._dtype), 1), 0)
        joint = prior_given(self.integrated_from, shared)
        return plain_prior(joint, self._latents) or KeptPrior(
            joint, self._latents, lambda z: self._log_prior((z, *shared))
        )

    def _tied_prior(self, w):
        """p(z_1 | w), from w with the axis `[S, 1]` along which data stand."""
        events = self.global_prior.event_shape
        return self._prior_of_kept(
            tf.nest.map_structure(lambda t, e: tf.squeeze(t, -1 - e.rank), w, events)
        )

    def _nothing(self, x):
        example = self.likelihood(self.prior.sample(seed=(0, 0)))
        events = event_shape_of(example).rank
        x = tf.convert_to_tensor(x)
        lead = x.shape.rank - events
        nothing = tf.zeros(tf.concat([tf.shape(x)[:lead], [0]], 0), self._dtype)
        return tf.ensure_shape(nothing, [*x.shape[:lead], 0])

    def _all_summed(self, x):
        return self.log_joint(x).log_parts(self._nothing(x))[0]

    def _all(self, x):
        return self.conditional(self._nothing(x), x)

    # what subclasses examine the model with

    def _only(self, kind, remedy):
        """The name of the one latent to integrate."""
        if len(self._latents.integrated) > 1:
            raise wrong(f"one {kind} to integrate", self._latents.integrated, remedy)
        return self._latents.integrated[0]

    def _at(self, rest, value):
        """name -> p(part | parts before), and p(x | z), at one value of z_2 per z_1."""
        return self._seen(self._latents.merge(rest[0], value), rest[1:])

    def _among(self, rest, values):
        """As `_at`, for each of M values: name -> `[M]` + event; batch `[M, S, B]`."""
        whole = self._latents.spread(rest[0], values)
        count = next(iter(values.values())).shape[0]
        return self._seen(whole, [repeat(w, count) for w in rest[1:]])

    def _seen(self, whole, shared):
        prior = prior_given(self.integrated_from, shared)
        parts = part_distributions(prior, self._latents, whole)
        return parts, self.integrated_from.likelihood(whole, *shared)

    def _beside(self, rest, part):
        """`rest` repeated along the leading axes that one z_2 has beyond z_1."""
        kept, *shared = rest
        events = self._latents.events()[self._latents.integrated[0]].rank
        extra = part.shape.rank - events - self._latents.lead(kept)[1].rank
        for axis in range(extra)[::-1]:
            count = part.shape[axis]
            kept, shared = tf.nest.map_structure(
                lambda t, count=count: repeat(t, count), (kept, shared)
            )
        return kept, *shared

    def _log_prior_apart(self, rest, value):
        """log p(z_1), `[S, B]`, where no part of it hangs on z_2; at any value of z_2.

        p(z_1, z_2) = p(z_1) p(z_2 | z_1): the second factor is left out.
        """
        prior = prior_given(self.integrated_from, rest[1:])
        lead, static = self._latents.lead(rest[0])
        event = self._latents.events()[self._latents.integrated[0]]
        value = tf.broadcast_to(value, tf.concat([lead, event], 0))
        value = tf.ensure_shape(value, static + event)
        whole = self._latents.merge(rest[0], value)
        parts = named_parts(prior.log_prob_parts(whole))
        return tf.add_n([parts[name] for name in self._latents.kept])

    def _examples(self):
        """Two draws of z_1, and of w, at which the model is examined."""
        shared = self.integrated_from.global_prior
        shared = () if shared is None else (shared.sample(2, seed=(0, 1)),)
        tied = needs_global(self.integrated_from)
        if not self._latents.kept:
            return tf.zeros([2, 1, 0] if tied else [2, 0], self._dtype), *shared
        prior = prior_given(self.integrated_from, shared)
        return self._latents.keep(prior.sample([] if tied else 2, seed=(0, 0))), *shared

    def _same(self, one, other, what, centre=0.0):
        """Raises ValueError, saying `what` is wrong, where two tensors differ.

        Rounding alone is allowed: an offset of the data, or of the latents around
        their `centre`, hides nothing larger.
        """
        limit = 2e-5 if one.dtype == tf.float32 else 1e-11
        if 0 in one.shape:
            return
        scale = 1 + float(tf.reduce_max(tf.abs(other)))
        gap = float(tf.reduce_max(tf.abs(one - other)))
        eps = np.finfo(one.dtype.as_numpy_dtype).eps
        rounding = 4 * eps * float(tf.reduce_max(tf.abs(centre)))
        if not (gap < np.inf and gap <= limit * scale + rounding):
            found = f"a model in which {what} (by {gap:.3g})"
            raise wrong(self._expected, found, self._remedy)


STEP = 1024.0
"""How far from the centre the slope of an affine mean is read, a power of two.

Next to a large offset the difference of two means is mostly rounding: a long step
leaves less of it, and dividing by a power of two adds none.
"""


def centre_of(mean):
    """Where affine means are read, `[k]`: a whole number near a prior's `[..., k]`.

    Read at zero, an offset there and a slope times a distant mean would cancel, and
    leave their rounding. From a whole number steps of `STEP` are exact.
    """
    middle = tf.reduce_mean(tf.reshape(mean, [-1, mean.shape[-1]]), 0)
    middle = tf.where(tf.math.is_finite(middle), middle, tf.zeros_like(middle))
    return tf.round(tf.stop_gradient(middle))


def _tensors(structure):
    return tf.nest.map_structure(tf.convert_to_tensor, structure)
