"""A latent variable model: prior, likelihood and, for latents all share, a third."""

from __future__ import annotations

import numbers

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.models.target import LogJoint, checked_data

tfd = tfp.distributions


class LatentVariableModel:
    """p(x, z) = p(z) p(x | z), or p(w) p(z) p(x | z, w) with a global latent w.

    Args:
        prior: the distribution of one latent z, of scalar batch shape; or a callable
            without arguments that returns it, needed when Keras variables shape it. A
            `Family`, which reads its variables afresh, is a prior that is trained.
        likelihood: a callable from z, `[..., event of z]`, to the distribution of x.
            One datum is one `likelihood(z).event_shape`. With a global prior it is
            called as `likelihood(z, w)`.
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
        _check_prior(prior, "prior")
        if global_prior is not None:
            _check_prior(global_prior, "global_prior")
        if not callable(likelihood):
            raise ValueError(
                "expected likelihood to be a callable z -> distribution over x; got "
                f"{type(likelihood).__name__}. Write lambda z: tfd.Normal(z, 1.)."
            )
        self._prior, self._likelihood = prior, likelihood
        self._global_prior = global_prior
        self._log_evidence, self._posterior = log_evidence, posterior
        self._support = support

    @property
    def prior(self):
        """The distribution of z, built afresh if it was given as a callable."""
        return _built(self._prior)

    @property
    def global_prior(self):
        """The distribution of the shared latent w, or None."""
        return None if self._global_prior is None else _built(self._global_prior)

    def likelihood(self, *z):
        """The distribution of x given z (and w, in a model with a global prior)."""
        return self._likelihood(*z)

    def log_joint(self, x, *, num_data=None) -> LogJoint:
        """The target z -> log p(x, z) for `draw`.

        Args:
            x: data, `[B]` + event of x (or one datum, without the batch dimension).
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
        x = checked_data(x, self._support)
        size = (x.shape[0] or 1) if x.shape.rank else 1
        if isinstance(num_data, numbers.Real) and not num_data >= size:
            raise ValueError(
                "expected num_data, the size of the whole data set, to be at least the "
                f"size of x; got num_data={num_data} and x of shape {x.shape}."
            )
        return LogJoint(self, x, num_data)

    def sample(self, sample_shape=(), *, seed):
        """Simulates `(z, x)`; with a global prior `((z, w), x)`, one w for all.

        Args:
            sample_shape: leading shape of the draws.
            seed: int, pair of ints or integer tensor; stateless.
        """
        w_seed, z_seed, x_seed = split_seed(seed, 3)
        z = self.prior.sample(sample_shape, seed=z_seed)
        if self._global_prior is None:
            return z, self.likelihood(z).sample(seed=x_seed)
        w = self.global_prior.sample(seed=w_seed)
        return (z, w), self.likelihood(z, w).sample(seed=x_seed)

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
        _check_same_event(model.prior, self.prior)
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
        return answer(checked_data(x, self._support))


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


def _check_prior(prior, name):
    usable = callable(prior) or hasattr(prior, "log_prob")
    if not usable or isinstance(prior, type):
        raise ValueError(
            f"expected {name} to be a distribution or a callable that returns one; got "
            f"{prior!r}."
        )
    caught = [v for v in _parameters(prior) if _is_keras_variable(v)]
    if caught:
        raise ValueError(
            f"expected {name} to be a callable, since Keras variables shape it "
            f"({caught[0].path}): a distribution built once from them has no gradient. "
            f"Pass {name}=lambda: the distribution."
        )


def _check_same_event(new, old):
    """Raises ValueError unless both have the same events; a discrete one may relax."""
    shapes, types = (
        [tf.nest.flatten(getattr(prior, part)) for prior in (new, old)]
        for part in ("event_shape", "dtype")
    )
    floating = [{d for d in parts if d.is_floating} for parts in types]
    if shapes[0] != shapes[1] or (all(floating) and floating[0] != floating[1]):
        raise ValueError(
            f"expected a prior of event shape {old.event_shape} and dtype {old.dtype}, "
            "as the prior that it replaces, since the likelihood was made for that; "
            f"got {new.event_shape} and {new.dtype}. Wrap independent dimensions in "
            "tfd.Independent, and pass dtype= where a family is built."
        )


def _parameters(distribution):
    """Every leaf among the arguments that built a distribution, nested ones too."""
    for value in tf.nest.flatten(getattr(distribution, "parameters", None) or {}):
        yield value
        if isinstance(value, (tfd.Distribution, tfp.bijectors.Bijector)):
            yield from _parameters(value)


def _is_keras_variable(value):
    """By name, so that Keras is not imported (a second) to look for its variables."""
    names = [f"{c.__module__}.{c.__name__}" for c in type(value).__mro__]
    return any(n.startswith("keras.") and n.endswith("Variable") for n in names)


def _built(prior):
    built = prior if hasattr(prior, "log_prob") else prior()
    if not hasattr(built, "log_prob"):
        raise ValueError(
            "expected the callable prior to return a distribution; got "
            f"{type(built).__name__}."
        )
    return built
