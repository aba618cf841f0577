"""A latent variable model: prior, likelihood and, for shared latents, a global prior."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.types import per_datum, split_seed

tfd = tfp.distributions


class LatentVariableModel:
    """p(x, z) = p(z) p(x | z), or p(w) p(z) p(x | z, w) with a global latent w.

    Args:
        prior: the distribution of one latent z, of scalar batch shape; or a callable
            without arguments that returns it, needed when Keras variables shape it.
        likelihood: a callable from z, `[..., event of z]`, to the distribution of x.
            One datum is one `likelihood(z).event_shape`. With a global prior it is
            called as `likelihood(z, w)`.
        global_prior: the distribution (or callable) of a latent w that all data share.
        log_evidence: optional exact log p(x), a callable `x -> [B]` in nats.
        posterior: optional exact p(z | x), a callable `x -> distribution`.

    Raises:
        ValueError: if a prior is a distribution built once from Keras variables (it
            would get no gradient), or a part is missing.
    """

    def __init__(
        self, prior, likelihood, global_prior=None, *, log_evidence=None, posterior=None
    ):
        _check_prior(prior, "prior")
        if global_prior is not None:
            _check_prior(global_prior, "global_prior")
        if not callable(likelihood):
            raise ValueError(
                "expected likelihood to be a callable z -> distribution over x; got "
                f"{type(likelihood).__name__}. Write likelihood=lambda z: tfd.Normal(z, 1.)."
            )
        self._prior, self._likelihood, self._global_prior = (
            prior,
            likelihood,
            global_prior,
        )
        self._log_evidence, self._posterior = log_evidence, posterior

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
            ValueError: if x holds NaN, or `num_data` is missing or superfluous.
        """
        if (num_data is None) != (self._global_prior is None):
            raise ValueError(
                "num_data goes with a global prior: expected num_data (the size of the "
                "whole data set, not of this batch) with one and None without; got "
                f"num_data={num_data!r} and global_prior={self._global_prior!r}."
            )
        if num_data is not None and isinstance(num_data, (int, float)) and num_data < 1:
            raise ValueError(f"expected num_data to be at least 1; got {num_data}.")
        return LogJoint(self, _finite_data(x), num_data)

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
        """The same likelihood under another prior (exact answers do not carry over)."""
        return LatentVariableModel(prior, self._likelihood, self._global_prior)

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
            {"z": self.prior, "x": lambda z: self.likelihood(z)}
        )

    def _exact(self, answer, name, x):
        if answer is None:
            raise ValueError(
                f"this model has no exact {name}: pass {name}= when you build it, or "
                "estimate it with gaps.evidence."
            )
        return answer(_finite_data(x))


class LogJoint(NamedTuple):
    """The target z -> log p(x, z), which also knows its parts."""

    model: LatentVariableModel
    """The model."""
    x: tf.Tensor
    """The data, `[B]` + event."""
    num_data: int | None = None
    """The size of the data set that shares the global latent; else None."""

    def __call__(self, z):
        """log p(x, z), nats, one number per sample and datum."""
        log_likelihood, log_prior = self.log_parts(z)
        return log_likelihood + log_prior

    def log_parts(self, z, sample_ndims=None):
        """(log p(x | z), log p(z)), both `[S, B]`, nats.

        Args:
            z: latents `[S, B]` + event; with a global prior the pair `(z, w)`.
            sample_ndims: the number of leading sample dimensions, if known.

        Raises:
            ValueError: if x does not have one datum per `likelihood(z).event_shape`.
        """
        model, shared = self.model, self.num_data is not None
        log_prior = model.prior.log_prob(z[0] if shared else z)
        if shared:
            log_shared = model.global_prior.log_prob(z[1])
            log_prior = per_datum(log_prior, log_shared, self.num_data)
        likelihood = model.likelihood(*z) if shared else model.likelihood(z)
        self._check_datum(likelihood, log_prior, sample_ndims)
        try:
            log_likelihood = likelihood.log_prob(self.x)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(self._mismatch(likelihood, log_prior, error)) from error
        if not log_likelihood.shape.is_compatible_with(log_prior.shape):
            raise ValueError(self._mismatch(likelihood, log_prior))
        return log_likelihood, log_prior

    def _check_datum(self, likelihood, log_prior, sample_ndims):
        ours, theirs = self.x.dtype, likelihood.dtype
        if (
            ours.is_floating
            and getattr(theirs, "is_floating", False)
            and ours != theirs
        ):
            raise ValueError(
                f"expected x of the likelihood's dtype {theirs.name}; got {ours.name}. "
                "Cast one of them: precision is never changed silently."
            )
        batch_ndims = self.x.shape.rank - likelihood.event_shape.rank
        if sample_ndims is None:
            wrong = not 0 <= batch_ndims <= log_prior.shape.rank
        else:
            wrong = batch_ndims != log_prior.shape.rank - sample_ndims
        if wrong:
            raise ValueError(self._mismatch(likelihood, log_prior))

    def _mismatch(self, likelihood, log_prior, error=""):
        return (
            "expected log p(x | z) to give one number per sample and datum, as log p(z) "
            f"does, shape {log_prior.shape}; got x of shape {self.x.shape} under a "
            f"likelihood of batch shape {likelihood.batch_shape} and event shape "
            f"{likelihood.event_shape}. One datum is one likelihood event: wrap the "
            "likelihood (or the prior) in tfd.Independent if a dimension belongs to the "
            "datum, give q one row per datum, and use global_prior for a latent that "
            f"all data share. {error}"
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


def _check_prior(prior, name):
    if not callable(prior) and not hasattr(prior, "log_prob"):
        raise ValueError(
            f"expected {name} to be a distribution or a callable that returns one; got "
            f"{type(prior).__name__}."
        )
    caught = [v for v in _parameters(prior) if _is_keras_variable(v)]
    if caught:
        raise ValueError(
            f"expected {name} to be a callable, since Keras variables shape it "
            f"({caught[0].path}): a distribution built once from them has no gradient. "
            f"Pass {name}=lambda: the distribution."
        )


def _parameters(distribution):
    """Every leaf among the arguments that built a distribution, nested ones too."""
    for value in tf.nest.flatten(getattr(distribution, "parameters", None) or {}):
        yield value
        if isinstance(value, tfd.Distribution):
            yield from _parameters(value)


def _is_keras_variable(value):
    """By name, so that Keras is not imported (a second) to look for its variables."""
    names = [f"{c.__module__}.{c.__name__}" for c in type(value).__mro__]
    return any(n.startswith("keras.") and n.endswith("Variable") for n in names)


def _built(prior):
    return prior if hasattr(prior, "log_prob") else prior()


def _finite_data(x):
    """x as a tensor; NaN in data that can be seen now is an error, not a NaN bound."""
    x = tf.convert_to_tensor(x)
    if tf.executing_eagerly() and x.dtype.is_floating:
        bad = int(tf.math.count_nonzero(tf.math.is_nan(x)))
        if bad:
            raise ValueError(
                f"expected data without NaN; got {bad} of {tf.size(x)} values. Drop or "
                "mask them: a bound of NaN data is NaN."
            )
    return x
