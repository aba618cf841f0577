"""Families for any TFP joint distribution, in its own support, structure and type."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.families.base import Family
from elbo_tfp.families.charts import joint_chart, parts
from elbo_tfp.families.flow import flow
from elbo_tfp.families.gaussian import full_rank, mean_field
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import as_seed

_bijector = joint_chart


def mean_field_for(joint, *, loc=0.0, scale=0.1, seed=0) -> JointFamily:
    """A trainable mean-field Gaussian for the free parts of a joint distribution.

    The Gaussian lives on unconstrained coordinates (`families.charts`) and is pushed
    through them, so samples have the joint's structure, shapes, support and dtype.

    Args:
        joint: a TFP joint distribution, usually pinned to data; any flavour.
        loc: start of the means in the unconstrained space: a scalar, a vector over all
            coordinates, or a dict from names of parts to either, for the part's own.
        scale: start of the standard deviations there, likewise.
        seed: int, pair of ints or tensor for the start; None starts exactly at `loc`.

    Returns:
        A `Family`: a q as it stands, and, called with parameters, the member that they
        name, so that an `Encoder` can use it. `base` is the family of the coordinates.

    Raises:
        ValueError: if a part is discrete or improper, the parts mix dtypes, `loc` or
            `scale` names no part or does not fit it, or the joint has a batch shape
            (its log-density is then no single number).
    """
    return _family(joint, mean_field, loc, scale, seed)


def full_rank_for(joint, *, loc=0.0, scale=0.1, seed=0) -> JointFamily:
    """A Gaussian with all correlations for the free parts of a joint distribution.

    Args, returns and errors as `mean_field_for`; parameters as `full_rank`.
    """
    return _family(joint, full_rank, loc, scale, seed)


def flow_for(joint, *, loc=0.0, scale=0.1, seed=0, **options) -> JointFamily:
    """A flow for the free parts of a joint distribution.

    Args, returns and errors as `mean_field_for`; `options` are what `flow` takes
    beside, such as `kind` and `num_layers`.
    """
    return _family(joint, flow, loc, scale, seed, options)


class JointFamily(Family):
    """A family of flat vectors pushed through the charts of a joint distribution.

    Args:
        base: the family of the unconstrained coordinates; its variables are used.
        space: where their samples go.
        name: of the family.
    """

    def __init__(self, base, space, name):
        tf.Module.__init__(self, name=name)
        self.base, self.parameters_size = base, base.parameters_size
        self._build = lambda parameters: JointMember(base(parameters), space)
        self.free_parameters = base.free_parameters


class JointMember:
    """A distribution over vectors, pushed onto the support of a joint distribution.

    Args:
        base: distribution of the coordinates, event shape `[D]`.
        space: a `_Space`.
    """

    def __init__(self, base, space):
        self.base, self._space = base, space
        self.dtype, self.event_shape = space.dtype, space.event_shape
        self.batch_shape = base.batch_shape
        self.reparameterization_type = base.reparameterization_type

    def experimental_default_event_space_bijector(self):
        """The chart of the samples."""
        return self._space.chart

    def sample(self, sample_shape=(), *, seed):
        """Samples with the structure of the joint."""
        return self.experimental_sample_and_log_prob(sample_shape, seed=seed)[0]

    def experimental_sample_and_log_prob(self, sample_shape=(), *, seed):
        """Samples and their log-density, nats."""
        u, log_base = self.base.experimental_sample_and_log_prob(
            sample_shape, seed=as_seed(seed)
        )
        z, log_det = self._space.to_z(u)
        # log q(z) = log q(u) - log |dz / du|
        return z, log_base - log_det

    def log_prob(self, z):
        """Log-density at z, nats."""
        u, log_det = self._space.to_u(z)
        return self.base.log_prob(u) - log_det


class _Space:
    """The free parts of a joint distribution as one vector u of `size` coordinates."""

    def __init__(self, joint):
        self.dtype, self.event_shape = joint.dtype, joint.event_shape
        self.chart = joint_chart(joint)
        self.shapes = self.chart.inverse_event_shape(joint.event_shape)
        flat = tf.nest.flatten(self.shapes)
        self.sizes = [shape.num_elements() for shape in flat]
        self.size = sum(self.sizes)
        # the parts' names, in the order of the coordinates
        names = joint._model_unflatten(parts(joint, as_seed(0))[0])
        self.names = tf.nest.flatten(names)

    def to_z(self, u):
        """z and log |dz / du|."""
        lead, known = tf.shape(u)[:-1], u.shape[:-1]
        pieces = [
            tf.ensure_shape(tf.reshape(part, tf.concat([lead, s], 0)), known + s)
            for part, s in zip(
                tf.split(u, self.sizes, -1), tf.nest.flatten(self.shapes), strict=True
            )
        ]
        raw = tf.nest.pack_sequence_as(self.shapes, pieces)
        return self.chart.forward(raw), self._log_det(raw)

    def to_u(self, z):
        """u and log |dz / du|."""
        # tf.identity keeps the bijector's cache out, so that gradients flow to z
        raw = self.chart.inverse(tf.nest.map_structure(tf.identity, z))
        raw = tf.nest.map_structure(tf.identity, raw)
        rows = []
        shapes = tf.nest.flatten(self.shapes)
        for part, shape in zip(tf.nest.flatten(raw), shapes, strict=True):
            lead = tf.shape(part)[: part.shape.rank - shape.rank]
            rows.append(tf.reshape(part, tf.concat([lead, [shape.num_elements()]], 0)))
        return tf.concat(rows, -1), self._log_det(raw)

    def _log_det(self, raw):
        ranks = tf.nest.map_structure(lambda s: s.rank, self.shapes)
        return self.chart.forward_log_det_jacobian(raw, ranks)

    def flat(self, value, default, what):
        """A start by names of parts as one vector; anything else as it is."""
        if not isinstance(value, dict):
            return value
        unknown = set(value) - set(self.names)
        if unknown:
            raise wrong(f"{what} to name parts of {self.names}", sorted(unknown))
        rows = []
        shapes = tf.nest.flatten(self.shapes)
        for name, shape, size in zip(self.names, shapes, self.sizes, strict=True):
            start = np.asarray(value.get(name, default))
            if start.size not in (1, size):
                raise wrong(
                    f"{what}[{name!r}] to be a number or of shape {shape}, the part's "
                    "unconstrained coordinates",
                    f"shape {start.shape}",
                )
            rows.append(np.broadcast_to(start.reshape(-1), [size]))
        return np.concatenate(rows)


def _family(joint, make, loc, scale, seed, options=None):
    if not hasattr(joint, "experimental_default_event_space_bijector"):
        raise wrong("a TFP joint distribution or a pin of one", type(joint).__name__)
    dtype = _one_dtype(joint)
    _check_no_batch(joint)
    space = _Space(joint)
    loc, scale = space.flat(loc, 0.0, "loc"), space.flat(scale, 0.1, "scale")
    start = {"loc": loc, "scale": scale, "seed": seed, "dtype": dtype}
    base = make(space.size, **start, **(options or {}))
    return JointFamily(base, space, f"{make.__name__}_for")


def _one_dtype(joint):
    dtypes = set(tf.nest.flatten(joint.dtype))
    if len(dtypes) == 1 and all(dtype.is_floating for dtype in dtypes):
        return dtypes.pop()
    raise wrong(
        "free parts of one floating dtype",
        tf.nest.flatten(joint.dtype),
        "Sum a discrete latent out first (marginals.enumerate_discrete), and give all "
        "parts one precision.",
    )


def _check_no_batch(joint):
    batches = [tuple(s) for s in tf.nest.flatten(joint.batch_shape)]
    if any(batches):
        raise wrong(
            "a joint distribution without a batch shape",
            batches,
            "Wrap vector-valued parts in tfd.Sample or tfd.Independent, or use an "
            "AutoBatched joint distribution.",
        )
