"""What is integrated: log p(x, z) at given data, and where to start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.draws import draw
from elbo_tfp.evidence.starts import Pair, Plate, Repeated, quick
from elbo_tfp.ground import structures
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.models.target import event_shape_of
from elbo_tfp.targets import call_target

tfd = tfp.distributions
_ROWS = {"CPU": 4_096, "GPU": 180_000}


class Problem(NamedTuple):
    """log p(x, z) for a batch of data, and a distribution to start from."""

    target_of: Callable
    """Data -> the target z -> log p(x, z), `[S, B]`, in a form that `draw` takes."""
    data: Any
    """The data, a tensor or a structure of them; an empty tuple if the target holds
    them itself. They are an argument of every compiled program."""
    start: Any
    """A distribution over z of batch shape B; None if there is none."""
    space: Any
    """A distribution with the support and event shape of z; None if unknown."""
    batch: tuple
    """B."""
    dtype: Any
    """Of log-densities; None if there is no start."""
    shared: bool = False
    """Whether z is the list [w, all local z] of a model with a global latent w."""

    @classmethod
    def of(cls, model, x, surrogate_posterior):
        """From a model and its data, or from what already holds the data."""
        if hasattr(model, "log_joint"):
            return _of_model(model, x, surrogate_posterior)
        if x is not None:
            raise wrong(
                "x=None with a target that holds its data",
                f"an x and a {type(model).__name__}",
                "Pass a LatentVariableModel with x.",
            )
        if hasattr(model, "log_parts"):
            return _of_model(model.model, model.x, surrogate_posterior)
        batch, dtype = (), None
        if surrogate_posterior is not None:
            z = surrogate_posterior.sample(2, seed=(0, 0))
            log_q = surrogate_posterior.log_prob(z)
            batch, dtype = tuple(log_q.shape[1:]), log_q.dtype
        pinned = hasattr(model, "experimental_default_event_space_bijector")
        space = model if pinned else surrogate_posterior
        return cls(lambda _: model, (), surrogate_posterior, space, batch, dtype)

    @property
    def target(self):
        """The target at the data."""
        return self.target_of(self.data)

    def on(self, data) -> Problem:
        """The same with other data, such as the argument of a program."""
        target = self.target_of(data)
        return self._replace(target_of=lambda _: target, data=data)

    def log_joint(self, z):
        """log p(x, z), `[S, B]`, nats."""
        target = self.target
        if hasattr(target, "log_parts"):
            return target(z)
        return call_target(getattr(target, "unnormalized_log_prob", target), z)

    def require_start(self, method):
        """Raises ValueError if there is nothing to draw from."""
        if self.start is None:
            raise wrong(
                f'surrogate_posterior with method="{method}" and a bare target, which '
                "knows no prior to draw from",
                None,
            )

    def weigher(self, jit_compile):
        """A function `(seed, size, data) -> (log-weights [size, B], None)`."""
        start = self.start
        if tf.nest.flatten(self.data):
            start = quick(start, jit_compile)

        def log_weights(seed, size, data):
            target = self.target_of(data)
            return draw(target, start, size, seed=seed).log_weights, None

        return log_weights

    def chunk(self, sample_size, chunk_size):
        """How many draws to hold at once; a GPU likes more of them."""
        if chunk_size is None:
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            count = tf.TensorShape(self.batch).num_elements()
            chunk_size = max(1, _ROWS[kind] // max(count, 1))
        return min(whole("chunk_size", chunk_size), sample_size)


def _of_model(model, x, surrogate_posterior):
    if x is None:
        raise wrong("x, the data, with a LatentVariableModel", None)
    if model.global_prior is not None:
        return _of_shared(model, x, surrogate_posterior)
    data = model.log_joint(x).x
    prior = prior_at(model, data)
    z = prior.sample(seed=as_seed(0))
    if tf.is_tensor(data):
        event = event_shape_of(model.likelihood(z))
        batch = tuple(data.shape[: data.shape.rank - event.rank])
    else:
        batch = (structures.batch_size(data),)
    own = max(s.rank or 0 for s in tf.nest.flatten(prior.batch_shape))
    start = surrogate_posterior or (prior if own else Repeated(prior, batch))
    dtype = prior.log_prob(z).dtype
    return Problem(model.log_joint, data, start, prior, batch, dtype)


def prior_at(model, data):
    """The prior of z at these data: under a condition each row may have its own."""
    at = getattr(model, "prior_at", None)
    return model.prior if at is None else at(data)


def _of_shared(model, x, surrogate_posterior):
    """One problem for all data: z is the list [w, all local z], and B is empty."""
    x = structures.as_data(x, "x")
    num = structures.batch_size(x, "x")
    data = model.log_joint(x, num_data=num).x
    local = getattr(model, "has_local", True)
    space = _joint_prior(model, num) if local else model.global_prior
    start = surrogate_posterior
    if start is None:
        start = space
    elif local:
        start = Pair.of(start)

    def target_of(data):
        target = model.log_joint(data, num_data=num)

        def log_joint(parts):
            w, z = parts if local else (parts, None)
            # log p(w) + sum_n log p(z_n) p(x_n | z_n, w): each datum has 1/N of w's
            return tf.reduce_sum(target((z, w)), -1)

        return log_joint

    dtype = space.log_prob(space.sample(seed=as_seed(0))).dtype
    return Problem(target_of, data, start, space, (), dtype, shared=local)


def _joint_prior(model, num):
    """p(w) prod_n p(z_n) over [w, all z], or with p(z_n | w)."""
    shared = getattr(model.global_prior, "current", model.global_prior)
    if getattr(model, "prior_needs_global", False):
        return Plate(shared, model.local_prior, num)
    prior = getattr(model.prior, "current", model.prior)
    if not isinstance(prior, tfd.Distribution) or prior.batch_shape.rank:
        raise wrong(
            "one TFP distribution as the prior of z in a model with a global prior, "
            "whose evidence is one number for all data",
            prior,
        )
    return tfd.JointDistributionSequential([shared, tfd.Sample(prior, num)])
