"""A latent variable model: prior, likelihood and, for latents all share, a third.

It is longer than most modules: one class is the contract that every room asks.
"""

from __future__ import annotations

import copy
import numbers

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.ground.structures import as_data, batch_size, check_finite
from elbo_tfp.models.priors import (
    built,
    check_prior,
    check_same_event,
    takes_an_argument,
)
from elbo_tfp.models.target import LogJoint, event_shape_of, scored

tfd = tfp.distributions


class LatentVariableModel:
    """p(x, z) = p(z) p(x | z), or p(w) p(z | w) p(x | z, w) with a global latent w.

    Args:
        prior: the distribution of one latent z, of scalar batch shape; or a callable
            without arguments that returns it, needed when Keras variables shape it. A
            `Family`, which reads its variables afresh, is a prior that is trained.
            With a global prior it may be a callable of w, `[S, 1]` + event, or None:
            then all data share w and have no latent of their own.
        likelihood: a callable from z, `[..., event of z]`, to the distribution of x.
            One datum is one `likelihood(z).event_shape`, which may be a structure. With
            a global prior it is called as `likelihood(z, w)`, or `likelihood(w)`.
        global_prior: the distribution (or callable) of a latent w that all data share.
        log_evidence: optional exact log p(x), a callable `x -> [B]` in nats.
        posterior: optional exact p(z | x), a callable `x -> distribution`.
        support: optional check of data, a callable from x to a phrase that says which
            values were expected and what came instead, or to None if all can occur.

    Raises:
        ValueError: if a prior is a distribution built once from Keras variables (it
            would get no gradient), or a part is missing.
    """

    def __init__(
        self,
        prior,
        likelihood,
        global_prior=None,
        *,
        log_evidence=None,
        posterior=None,
        support=None,
    ):
        if prior is not None or global_prior is None:
            check_prior(prior, "prior")
        if global_prior is not None:
            check_prior(global_prior, "global_prior")
        elif takes_an_argument(prior) and not self.reads:
            raise wrong(
                "prior to be a callable without arguments",
                "one with an argument",
                "It may take a global latent, with global_prior=; a condition makes a "
                "models.ConditionalModel.",
            )
        if not callable(likelihood):
            raise ValueError(
                "expected likelihood to be a callable z -> distribution over x; got "
                f"{type(likelihood).__name__}. Write lambda z: tfd.Normal(z, 1.)."
            )
        self._prior, self._likelihood = prior, likelihood
        self._global_prior = global_prior
        self._log_evidence, self._posterior = log_evidence, posterior
        self._support = support

    reads = frozenset()
    """Parts of the data, beside "x", that change the density of "x"."""

    @property
    def prior(self):
        """The distribution of z, built afresh if it was given as a callable."""
        return self.local_prior()

    @property
    def global_prior(self):
        """The distribution of the shared latent w, or None."""
        return None if self._global_prior is None else built(self._global_prior)

    @property
    def has_local(self) -> bool:
        """Whether each datum has a latent of its own."""
        return self._prior is not None

    @property
    def prior_needs_global(self) -> bool:
        """Whether p(z) depends on the shared latent: p(z | w)."""
        return self._global_prior is not None and takes_an_argument(self._prior)

    def local_prior(self, w=None):
        """p(z), or p(z | w), of batch shape `[S, 1]`, in a model that asks for w.

        Args:
            w: the global latent, `[S]` + event.

        Raises:
            ValueError: if the model has no z, or its prior needs a w that is not given.
        """
        if not self.has_local:
            raise ValueError("this model has no local latent: z is the global one.")
        if not self.prior_needs_global:
            return built(self._prior)
        if w is None:
            raise ValueError(
                "the prior of z depends on the global latent: use local_prior(w), with "
                "w drawn from q or from model.global_prior."
            )
        events = self.global_prior.event_shape
        # one more axis, along which the data of one sample stand: [S, 1] + event
        w = tf.nest.map_structure(
            lambda t, e: tf.expand_dims(t, t.shape.rank - e.rank), w, events
        )
        return built(self._prior, w)

    def likelihood(self, *z):
        """The distribution of x given z (and w, in a model with a global prior)."""
        return self._likelihood(*z)

    def prior_at(self, x, w=None):
        """The prior of the latents of these data."""
        return self.local_prior(w)

    def likelihood_at(self, x, *z):
        """The likelihood at these data, of which some models read more than "x"."""
        return self.likelihood(*z)

    def log_joint(self, x, *, num_data=None) -> LogJoint:
        """The target z -> log p(x, z) for `draw`.

        Args:
            x: data, `[B]` + event of x (or one datum, without the batch dimension). A
                dict may hold more than "x", for q to see.
            num_data: the size N of the whole data set; required if the model has a
                global prior, whose terms each datum then carries a share 1/N of.

        Raises:
            ValueError: if x is empty, holds NaN or values that cannot occur (as far as
                `support` can see them now), or `num_data` is missing, superfluous or
                smaller than x.
        """
        if (num_data is None) != (self._global_prior is None):
            raise ValueError(
                "num_data goes with a global prior: expected num_data (the size of the "
                "whole data set, not of this batch) with one and None without; got "
                f"num_data={num_data!r} and global_prior={self._global_prior!r}."
            )
        x = self._checked(x)
        shape = tf.nest.flatten(x)[0].shape
        size = (shape[0] or 1) if shape.rank else 1
        known = num_data is not None and not tf.is_tensor(num_data)
        real = isinstance(num_data, numbers.Real) and num_data % 1 == 0
        if known and not (real and num_data >= size):
            raise ValueError(
                "expected num_data, the size of the whole data set, to be a whole "
                f"number of at least the size of x; got num_data={num_data} "
                f"({type(num_data).__name__}) and x of shape {shape}."
            )
        return LogJoint(self, x, num_data)

    def sample(self, sample_shape=(), *, seed):
        """Simulates `(z, x)`; with a global prior `((z, w), x)`, one w for all.

        Args:
            sample_shape: leading shape of the draws.
            seed: int, pair of ints or integer tensor; stateless.
        """
        *seeds, x_seed = split_seed(seed, 3)
        z = self._sample_latents(sample_shape, seeds)
        likelihood = self.likelihood(*z)
        if self.has_local:
            x = likelihood.sample(seed=x_seed)
        else:
            x = _without_data_axis(
                likelihood.sample(sample_shape, seed=x_seed), likelihood
            )
        return (z if len(z) > 1 else z[0]), x

    def _sample_latents(self, sample_shape, seeds):
        """What the likelihood is called with: z, the pair (z, w), or w alone."""
        w_seed, z_seed = seeds
        if self._global_prior is None:
            return (self.prior.sample(sample_shape, seed=z_seed),)
        w = self.global_prior.sample(seed=w_seed)
        if not self.has_local:
            return (w,)
        prior = self.local_prior(w)
        z = prior.sample(sample_shape, seed=z_seed)
        return (_without_data_axis(z, prior) if self.prior_needs_global else z), w

    def with_prior(self, prior) -> LatentVariableModel:
        """The same likelihood under another prior (exact answers do not carry over).

        Args:
            prior: as in `LatentVariableModel`; a `Family` is one that can be trained.

        Raises:
            ValueError: if its event shape or dtype is not that of the prior it
                replaces, for which the likelihood was made.
        """
        model = LatentVariableModel(
            prior, self._likelihood, self._global_prior, support=self._support
        )
        check_same_event(model.prior, self.prior)
        return model

    def _with_global_prior(self, prior):
        """The same model under another p(w); exact answers do not carry over."""
        model = copy.copy(self)
        model._global_prior = prior
        model._log_evidence = model._posterior = None
        return model

    def log_evidence(self, x) -> tf.Tensor:
        """The exact log p(x), `[B]`, nats. Raises ValueError where none is known."""
        return self._exact(self._log_evidence, "log_evidence", x)

    def posterior(self, x):
        """The exact p(z | x). Raises ValueError where none is known."""
        return self._exact(self._posterior, "posterior", x)

    def joint(self):
        """The TFP joint distribution over `z` and `x` of one datum."""
        if self._global_prior is not None:
            raise ValueError(
                "expected a model without a global prior: its joint over one datum "
                "would count the shared latent once per datum. Use log_joint."
            )
        return tfd.JointDistributionNamed(
            {
                # a Family is callable: TFP would call it
                "z": getattr(self.prior, "current", self.prior),
                "x": lambda z: self.likelihood(z),
            }
        )

    def _exact(self, answer, name, x):
        if answer is None:
            raise ValueError(
                f"this model has no exact {name}: pass {name}= when you build it, or "
                "estimate it with gaps.evidence."
            )
        return answer(self._checked(x))

    def _checked(self, x, also=frozenset()):
        """Data as tensors of known rank: possible, as far as one can see now.

        Args:
            x: data.
            also: parts that are read by the model that asks, beside `reads`.
        """
        x = as_data(x, "x")
        if any(part.shape.rank is None for part in tf.nest.flatten(x)):
            raise wrong("an x of known rank", "one of unknown rank", "Set its shape.")
        named = isinstance(x, dict) and "x" in x
        if named and len(x) > 1:
            batch_size(x, "x")
        for part in {"mask", "lengths"} & set(x if named else ()) - self.reads - also:
            raise wrong(
                "data all of which the model reads",
                f"a {part!r}, which this {type(self).__name__} would ignore",
                "models.observed(model) reads a mask.",
            )
        check_finite(x, "x", infinite=True)
        if not (named or tf.is_tensor(x)):
            # a density of what? one look at the likelihood says it
            z = self._sample_latents((), split_seed(0))
            scored(x, event_shape_of(self.likelihood(*z)))
        if self._support is not None and tf.executing_eagerly():
            self._check_support(x)
        return x

    def _check_support(self, x):
        values = x["x"] if isinstance(x, dict) and "x" in x else x
        if isinstance(x, dict) and "mask" in x:
            values = tf.boolean_mask(values, x["mask"])
        found = self._support(values)
        if found:
            raise ValueError(
                f"expected data that the likelihood can give: {found}. Rescale, round "
                "or binarise them, or choose another likelihood."
            )


def from_joint(joint, *, latent="z", observed="x") -> LatentVariableModel:
    """The model of a TFP joint distribution with one latent and one observed part.

    Args:
        joint: a `JointDistributionNamed` in which `observed` depends on `latent`.
        latent: the name of the latent part.
        observed: the name of the observed part.

    Raises:
        ValueError: if the joint's parts are not exactly these two.
    """
    parts = getattr(joint, "model", None)
    if not isinstance(parts, dict) or set(parts) != {latent, observed}:
        found = sorted(parts) if isinstance(parts, dict) else type(joint).__name__
        raise ValueError(
            "expected a tfd.JointDistributionNamed with the two parts "
            f"{latent!r} and {observed!r}; got {found}. For other joints pin the "
            "data, joint.experimental_pin(...), and pass the pin to draw."
        )
    prior, likelihood = parts[latent], parts[observed]
    if not callable(likelihood):
        raise ValueError(f"expected {observed!r} to depend on {latent!r}; it does not.")
    return LatentVariableModel(prior, likelihood)


def _without_data_axis(value, distribution):
    """Samples of one datum, where the distribution has a batch of shape `[1]`."""
    if distribution.batch_shape != [1]:
        return value
    return tf.nest.map_structure(
        lambda t, e: tf.squeeze(t, t.shape.rank - e.rank - 1),
        value,
        distribution.event_shape,
    )
