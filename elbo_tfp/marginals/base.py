"""A model with some latents integrated out, and the prior of those that remain."""

from __future__ import annotations

import inspect

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.marginals.latents import repeat
from elbo_tfp.models import LatentVariableModel
from elbo_tfp.models.target import event_shape_of

tfd = tfp.distributions


class Marginal(LatentVariableModel):
    """p(x, z_1) = integral of p(x, z_1, z_2) over z_2, with p(z_2 | z_1, x) at hand.

    A `LatentVariableModel` of what remains: one part alone is a tensor, several are a
    dict by name (a list, if the parts had no names). If nothing remains, z has event
    shape `[0]`, and `log_evidence` and `posterior` are exact.

    Args:
        model: the model it was made from.
        latents: the `Latents` that say which parts are integrated.
        prior: a callable that returns p(z_1).
        likelihood: a callable from z_1 (and w) to p(x | z_1).
        conditional: a callable `(likelihood_input, x) -> distribution` of z_2.
        support: as in `LatentVariableModel`, if the model has none of its own.
    """

    def __init__(self, model, latents, prior, likelihood, conditional, support=None):
        self.integrated_from, self._latents = model, latents
        self._conditional, exact = conditional, {}
        if not latents.kept:
            exact = {"log_evidence": self._all_summed, "posterior": self._all}
        super().__init__(
            prior,
            likelihood,
            model._global_prior,
            support=model._support or support,
            **exact,
        )

    def conditional(self, z, x):
        """p(z_2 | z_1, x), the exact distribution of what was integrated.

        Args:
            z: the latents that remain, `[S, B]` + event; with a global latent the pair
                `(z, w)`.
            x: data, `[B]` + event.

        Returns:
            A distribution of batch shape `[S, B]`, with `sample` and `log_prob`.
        """
        z = z if self._global_prior is not None else (z,)
        return self._conditional(_tensors(tuple(z)), tf.convert_to_tensor(x))

    def likelihood(self, *z):
        """The distribution of x given what remains (and w, with a global prior)."""
        return super().likelihood(*_tensors(z))

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

    def _nothing(self, x):
        example = self.likelihood(self.prior.sample(seed=(0, 0)))
        events = event_shape_of(example).rank
        x = tf.convert_to_tensor(x)
        lead = tf.shape(x)[: x.shape.rank - events]
        return tf.zeros(tf.concat([lead, [0]], 0), self.prior.dtype)

    def _all_summed(self, x):
        return self.log_joint(x).log_parts(self._nothing(x))[0]

    def _all(self, x):
        return self.conditional(self._nothing(x), x)


def beside(latents, kept, shared, part):
    """z_1 and w, repeated along the leading axes that one part of z_2 has beyond z_1.

    Args:
        latents: which parts remain; one is integrated.
        kept: `[S, B]` + event.
        shared: w in a tuple, `[S]` + event, or nothing.
        part: what is integrated, `[..., S, B]` + event.
    """
    events = latents.event_ranks()[latents.integrated[0]]
    extra = part.shape.rank - events - latents.lead(kept)[1].rank
    for axis in range(extra)[::-1]:
        count = part.shape[axis]
        kept, shared = tf.nest.map_structure(
            lambda t, count=count: repeat(t, count), (kept, tuple(shared))
        )
    return kept, shared


def part_distributions(prior, latents, kept=None, *, whole=None):
    """name -> distribution of each part; given what remains, or all, if passed on."""
    if latents.is_single:
        return {latents.names[0]: prior}
    if not hasattr(prior, "sample_distributions"):
        raise ValueError(
            "expected the prior of several latents to be a TFP joint distribution; got "
            f"{type(prior).__name__}."
        )
    if kept is not None:
        none = dict.fromkeys(latents.integrated)
        whole = latents.whole(none | latents._unpack(latents.kept, kept))
    found = prior.sample_distributions(seed=(0, 0), value=whole)[0]
    return latents.parts(found)


def plain_prior(prior, latents):
    """p(z_1) as a distribution of its own, where no part of it needs z_2; else None."""
    if type(prior) is not tfd.JointDistributionNamed:
        return None
    makers = {n: prior.model[n] for n in latents.kept}
    parents = {
        n: () if isinstance(m, tfd.Distribution) else inspect.signature(m).parameters
        for n, m in makers.items()
    }
    if not makers or any(set(p) & set(latents.integrated) for p in parents.values()):
        return None
    if len(makers) > 1:
        return tfd.JointDistributionNamed(makers)
    (name,) = makers
    built = parents[name] == () and makers[name]
    return built or None


def prior_of_kept(model, latents, dtype, log_prob):
    """A callable that returns p(z_1), of event shape `[0]` where nothing remains.

    Args:
        model: the `LatentVariableModel`.
        latents: which parts remain.
        dtype: of the empty z.
        log_prob: as in `KeptPrior`, where the joint's own parts do not suffice.
    """

    def prior():
        if not latents.kept:
            return tfd.Sample(tfd.Normal(tf.zeros([], dtype), 1), 0)
        joint = model.prior
        return plain_prior(joint, latents) or KeptPrior(joint, latents, log_prob)

    return prior


def log_prior_of_kept(prior, latents, whole):
    """log p(z_1), `[S, B]`, where no part of z_1 depends on z_2."""
    # p(z_1, z_2) = p(z_1) p(z_2 | z_1): leave the second factor out
    parts = latents.parts(prior.log_prob_parts(whole))
    return tf.add_n([parts[name] for name in latents.kept])


def some_latents(model, latents):
    """Two draws of z_1, and of w as a tuple, at which a model is examined."""
    if latents.kept:
        kept = latents.keep(model.prior.sample(2, seed=(0, 0)))
    else:
        kept = tf.zeros([2, 0], tf.float32)
    shared = model.global_prior
    return kept, () if shared is None else (shared.sample(2, seed=(0, 1)),)


class KeptPrior:
    """p(z_1), from the joint prior of all parts and a formula for its log-density.

    Args:
        prior: the joint prior.
        latents: which parts remain.
        log_prob: a callable from z_1, `[S, B]` + event, to log p(z_1), `[S, B]`.
    """

    def __init__(self, prior, latents, log_prob):
        self._prior, self._latents, self.log_prob = prior, latents, log_prob
        self.event_shape = latents.keep(prior.event_shape)
        self.dtype = latents.keep(prior.dtype)
        self.batch_shape = tf.TensorShape([])
        self.reparameterization_type = tfd.NOT_REPARAMETERIZED

    def sample(self, sample_shape=(), *, seed):
        """Draws of the whole, of which z_1 is kept."""
        draws = self._prior.sample(sample_shape, seed=split_seed(seed, 1)[0])
        return self._latents.keep(draws)

    def experimental_default_event_space_bijector(self):
        """One bijector per part, onto its support."""
        parts = part_distributions(self._prior, self._latents)
        maps = {
            n: parts[n].experimental_default_event_space_bijector()
            for n in self._latents.kept
        }
        packed = self._latents._pack(self._latents.kept, maps)
        return packed if len(maps) == 1 else tfp.bijectors.JointMap(packed)


def _tensors(structure):
    return tf.nest.map_structure(tf.convert_to_tensor, structure)
