"""What is integrated: a target, where to start, and unconstrained coordinates."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.draws import draw
from elbo_tfp.families.joint import _bijector
from elbo_tfp.fitting import cache
from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.models.target import event_shape_of
from elbo_tfp.targets import call_target

tfb, tfd = tfp.bijectors, tfp.distributions
_ROWS = 4_096


class Problem(NamedTuple):
    """log p(x, z) for a batch of data, and a distribution to start from."""

    target: Any
    """z -> log p(x, z), `[S, B]`, in a form that `draw` takes."""
    start: Any
    """A distribution over z of batch shape B; None if there is none."""
    space: Any
    """A distribution with the support and event shape of z; None if unknown."""
    batch: tuple
    """B."""

    @classmethod
    def of(cls, model, x, surrogate_posterior):
        """From a model and its data, or from what already holds the data."""
        if hasattr(model, "log_joint"):
            return _of_model(model, x, surrogate_posterior)
        if x is not None:
            raise ValueError(
                "expected x=None with a target that holds its data; got an x and a "
                f"{type(model).__name__}. Pass a LatentVariableModel with x."
            )
        if hasattr(model, "log_parts"):
            return _of_model(model.model, model.x, surrogate_posterior)
        batch = ()
        if surrogate_posterior is not None:
            z = surrogate_posterior.sample(2, seed=(0, 0))
            batch = tuple(surrogate_posterior.log_prob(z).shape[1:])
        pinned = hasattr(model, "experimental_default_event_space_bijector")
        space = model if pinned else surrogate_posterior
        return cls(model, surrogate_posterior, space, batch)

    def log_joint(self, z):
        """log p(x, z), `[S, B]`, nats."""
        if hasattr(self.target, "log_parts"):
            return self.target(z)
        return call_target(
            getattr(self.target, "unnormalized_log_prob", self.target), z
        )

    def require_start(self, method):
        """Raises ValueError if there is nothing to draw from."""
        if self.start is None:
            raise ValueError(
                f"expected surrogate_posterior with method={method} and a bare target, "
                "which knows no prior to draw from; got None."
            )

    def weigher(self, jit_compile):
        """A function that makes log-weights, its arguments, and a place for programs.

        Where model and q can be told apart from the data, both x and q are arguments,
        so that another call on the same model compiles nothing.
        """
        start, model = self.start, getattr(self.target, "model", None)
        from_prior = isinstance(start, Repeated)
        passed = isinstance(start, tf.__internal__.CompositeTensor)
        if model is None or not (from_prior or passed):
            return self._log_weights, (), None

        def log_weights(seed, size, x, *q):
            begin = _quick(q[0], jit_compile) if q else start
            problem = self._replace(target=model.log_joint(x), start=begin)
            return problem._log_weights(seed, size)

        arguments = (self.target.x,) if from_prior else (self.target.x, start)
        # the prior is built into the program, a q is not: two programs
        programs = _programs(model, self.batch).setdefault(from_prior, {})
        return log_weights, arguments, programs

    def _log_weights(self, seed, size):
        return draw(self.target, self.start, size, seed=seed).log_weights, None

    def chunk(self, sample_size, chunk_size):
        """How many draws to hold at once."""
        count = tf.TensorShape(self.batch).num_elements()
        chosen = chunk_size or max(1, _ROWS // max(count, 1))
        return min(int(chosen), int(sample_size))


class _QuickNormals:
    """Independent normals whose noise comes from Threefry.

    Compiled for a CPU, TensorFlow's default generator takes three to four times as
    long, and drawing is half of the work. Threefry has no kernel outside XLA.
    """

    def __init__(self, distribution):
        self._distribution, self.log_prob = distribution, distribution.log_prob

    def sample(self, sample_shape, *, seed):
        """Draws `sample_shape` + batch + event."""
        base = self._distribution.distribution
        loc, scale = base.loc, base.scale
        batch = tf.broadcast_dynamic_shape(tf.shape(loc), tf.shape(scale))
        static = tf.broadcast_static_shape(loc.shape, scale.shape)
        shape = tf.concat([sample_shape, batch], 0)
        noise = tf.random.stateless_normal(
            shape, as_seed(seed), dtype=loc.dtype, alg="threefry"
        )
        return loc + scale * tf.ensure_shape(noise, [*sample_shape, *static])


def _quick(q, jit_compile):
    plain = isinstance(q, tfd.Independent) and isinstance(q.distribution, tfd.Normal)
    return _QuickNormals(q) if plain and jit_compile else q


class Repeated:
    """A distribution of scalar batch shape, one independent copy per datum."""

    def __init__(self, distribution, batch):
        self._distribution, self._batch = distribution, batch

    def sample(self, sample_shape=(), *, seed):
        """Draws `sample_shape + B`."""
        shape = tf.TensorShape(sample_shape).as_list()
        return self._distribution.sample([*shape, *self._batch], seed=as_seed(seed))

    def log_prob(self, z):
        """Log-density, nats."""
        return self._distribution.log_prob(z)


class Coordinates:
    """z <-> u, a vector in R^d: the bijector of z's support, flattened.

    Args:
        bijector: from R^d-shaped parts onto the support of z.
        event_shape: of z, a shape or a structure of shapes.
        dtype: floating.
    """

    def __init__(self, bijector, event_shape, dtype):
        self._bijector, self.dtype = bijector, dtype
        self._event_shape = event_shape
        self._raw_shape = bijector.inverse_event_shape(event_shape)
        self._shapes = tf.nest.flatten(self._raw_shape)
        self._sizes = [s.num_elements() for s in self._shapes]
        self.size = sum(self._sizes)

    def to_z(self, u):
        """z and log |dz / du|."""
        parts = [
            tf.reshape(p, tf.concat([tf.shape(p)[:-1], s], 0))
            for p, s in zip(tf.split(u, self._sizes, -1), self._shapes, strict=True)
        ]
        parts = [
            tf.ensure_shape(p, u.shape[:-1] + s)
            for p, s in zip(parts, self._shapes, strict=True)
        ]
        raw = tf.nest.pack_sequence_as(self._raw_shape, parts)
        log_det = self._bijector.forward_log_det_jacobian(raw, _ranks(self._raw_shape))
        return self._bijector.forward(raw), log_det

    def to_u(self, z):
        """The coordinates of z, `[..., d]`."""
        z = tf.nest.map_structure(
            lambda t: tf.identity(tf.convert_to_tensor(t, self.dtype)), z
        )
        rows = []
        raw = tf.nest.flatten(self._bijector.inverse(z))
        for part, shape in zip(raw, self._shapes, strict=True):
            lead = tf.shape(part)[: part.shape.rank - shape.rank]
            flat = tf.reshape(part, tf.concat([lead, [shape.num_elements()]], 0))
            rank = part.shape.rank - shape.rank
            rows.append(
                tf.ensure_shape(flat, part.shape[:rank] + [shape.num_elements()])
            )
        return tf.concat(rows, -1)


def coordinates(problem) -> Coordinates:
    """Unconstrained coordinates of a problem's latents.

    Raises:
        ValueError: if nothing says what z looks like, or a part is discrete.
    """
    space = problem.space
    if space is None or not hasattr(space, "event_shape"):
        raise ValueError(
            "expected to know the shape and support of z; got a bare target and "
            f"surrogate_posterior of type {type(space).__name__}. Pass a "
            "LatentVariableModel, a pinned joint distribution, or a surrogate "
            "posterior that is a TFP distribution or a family."
        )
    dtypes = set(tf.nest.flatten(space.dtype))
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating:
        raise ValueError(
            "expected latents of one floating dtype; got "
            f"{tf.nest.flatten(space.dtype)}. Sum a discrete latent out first: "
            "marginals.enumerate_discrete."
        )
    return Coordinates(_support_map(space), space.event_shape, dtypes.pop())


def _support_map(space):
    if hasattr(space, "sample_distributions") or hasattr(space, "pins"):
        return _bijector(space)
    found = getattr(space, "experimental_default_event_space_bijector", None)
    bijector = found() if found is not None else None
    return tfb.Identity() if bijector is None else bijector


def _of_model(model, x, surrogate_posterior):
    if x is None:
        raise ValueError("expected x, the data, with a LatentVariableModel; got None.")
    if model.global_prior is not None:
        raise ValueError(
            "expected a model without a global prior: with one, data are dependent and "
            "log p(x) is one number for all of them. Make the shared latent a part of "
            "z and all data one event of x."
        )
    target, prior = model.log_joint(x), model.prior
    event = event_shape_of(model.likelihood(prior.sample(seed=as_seed(0))))
    batch = tuple(target.x.shape[: target.x.shape.rank - event.rank])
    start = surrogate_posterior or Repeated(prior, batch)
    return Problem(target, start, prior, batch)


def _programs(model, batch):
    """The programs that were compiled for a model as it is now; they die with it."""
    refers = cache._referenced(model._likelihood) + cache._referenced(model._prior)
    key = (batch, *map(cache._identity, [model._prior, *refers]))
    store = model.__dict__.setdefault("_evidence_programs", {})
    return kept(store, key, lambda: (refers, {}), most=8)[1]


def kept(store, key, make, most=32):
    """`store[key]`, made if it is not there; the oldest entries make room for it."""
    if key not in store:
        made = make()
        while len(store) >= most:
            store.pop(next(iter(store)))
        store[key] = made
    return store[key]


def _ranks(shapes):
    return tf.nest.map_structure(lambda s: s.rank, shapes)
