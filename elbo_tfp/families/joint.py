"""A mean-field Gaussian for any TFP joint distribution, in its own support and type."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families.gaussian import mean_field
from elbo_tfp.ground.seeds import as_seed, split_seed

tfb = tfp.bijectors


class JointSurrogate(tf.Module):
    """Independent Gaussians on the unconstrained space, pushed through a bijector.

    Samples have the joint's own structure, shapes, support and dtype; log-densities
    are in nats.
    """

    def __init__(self, joint, bijector, base):
        super().__init__(name="mean_field_for")
        self.base = base
        self._bijector, self._event_shape = bijector, joint.event_shape
        self._raw_shape = bijector.inverse_event_shape(joint.event_shape)

    @property
    def reparameterization_type(self):
        """Fully reparameterized: a Gaussian through a bijector."""
        return self.base.reparameterization_type

    def sample(self, sample_shape=(), *, seed):
        """Samples with the structure of the joint."""
        return self.experimental_sample_and_log_prob(sample_shape, seed=seed)[0]

    def experimental_sample_and_log_prob(self, sample_shape=(), *, seed):
        """Samples and their log-density, nats."""
        flat, log_base = self.base.experimental_sample_and_log_prob(
            sample_shape, seed=as_seed(seed)
        )
        raw = self._split(flat)
        # log q(z) = log q(u) - log |dz / du|
        log_det = self._bijector.forward_log_det_jacobian(raw, _ranks(self._raw_shape))
        return self._bijector.forward(raw), log_base - log_det

    def log_prob(self, z):
        """Log-density at z, nats."""
        # tf.identity keeps the bijector's cache out, so that gradients flow to z
        z = tf.nest.map_structure(tf.identity, z)
        raw = self._bijector.inverse(z)
        log_det = self._bijector.inverse_log_det_jacobian(z, _ranks(self._event_shape))
        return self.base.log_prob(self._flatten(raw)) + log_det

    def _split(self, flat):
        shapes = tf.nest.flatten(self._raw_shape, expand_composites=False)
        sizes = [s.num_elements() for s in shapes]
        lead = tf.shape(flat)[:-1]
        parts = [
            tf.ensure_shape(tf.reshape(p, tf.concat([lead, s], 0)), flat.shape[:-1] + s)
            for p, s in zip(tf.split(flat, sizes, -1), shapes, strict=True)
        ]
        return tf.nest.pack_sequence_as(self._raw_shape, parts)

    def _flatten(self, raw):
        shapes = tf.nest.flatten(self._raw_shape)
        rows = []
        for part, shape in zip(tf.nest.flatten(raw), shapes, strict=True):
            lead = tf.shape(part)[: part.shape.rank - shape.rank]
            rows.append(tf.reshape(part, tf.concat([lead, [shape.num_elements()]], 0)))
        return tf.concat(rows, -1)


def mean_field_for(joint, *, loc=0.0, scale=0.1, seed=0) -> JointSurrogate:
    """A trainable mean-field Gaussian for the free parts of a joint distribution.

    Args:
        joint: a TFP joint distribution, usually pinned to data; any flavour.
        loc: start of the means in the unconstrained space.
        scale: start of the standard deviations there.
        seed: int, pair of ints or tensor for the start; None starts exactly at `loc`.

    Returns:
        A surrogate posterior whose samples have the joint's structure and dtype.

    Raises:
        ValueError: if a part is discrete, the parts mix dtypes, or the joint has a
            batch shape (its log-density is then no single number).
    """
    if not hasattr(joint, "experimental_default_event_space_bijector"):
        raise ValueError(
            "expected a TFP joint distribution or a pin of one; got "
            f"{type(joint).__name__}."
        )
    dtype = _one_dtype(joint)
    _check_no_batch(joint)
    bijector = _bijector(joint)
    shapes = tf.nest.flatten(bijector.inverse_event_shape(joint.event_shape))
    size = sum(s.num_elements() for s in shapes)
    base = mean_field(size, loc=loc, scale=scale, dtype=dtype, seed=seed)
    return JointSurrogate(joint, bijector, base)


def _bijector(joint):
    """One bijector per part where supports are fixed, else TFP's joint bijector.

    TFP's own maps over the whole model (and compiles again for every seed if the model
    is AutoBatched); it is needed only where one part's support depends on another.
    """
    first, second = (_parts(joint, seed) for seed in split_seed(0))
    at = np.random.default_rng(0).normal
    maps = [d.experimental_default_event_space_bijector() for d in first]
    others = [d.experimental_default_event_space_bijector() for d in second]
    for d, one, other in zip(first, maps, others, strict=True):
        # not at 0, which (-a, a) maps to 0 whatever a is
        raw = tf.constant(at(size=one.inverse_event_shape(d.event_shape)), d.dtype)
        if not np.array_equal(one.forward(raw), other.forward(raw)):
            return joint.experimental_default_event_space_bijector()
    return tfb.JointMap(joint._model_unflatten(maps))


def _parts(joint, seed):
    """The distributions of the free parts, in order, at one draw."""
    pins = getattr(joint, "pins", {})
    whole = getattr(joint, "distribution", joint)
    distributions, _ = whole.sample_distributions(seed=seed, **pins)
    names = whole._flat_resolve_names()
    flat = whole._model_flatten(distributions)
    return [d for name, d in zip(names, flat, strict=True) if name not in pins]


def _one_dtype(joint):
    dtypes = set(tf.nest.flatten(joint.dtype))
    if len(dtypes) == 1 and all(dtype.is_floating for dtype in dtypes):
        return dtypes.pop()
    raise ValueError(
        "expected free parts of one floating dtype; got "
        f"{tf.nest.flatten(joint.dtype)}. Sum a discrete latent out first "
        "(marginals.enumerate_discrete), and give all parts one precision."
    )


def _check_no_batch(joint):
    batches = [tuple(s) for s in tf.nest.flatten(joint.batch_shape)]
    if any(batches):
        raise ValueError(
            f"expected a joint distribution without a batch shape; got {batches}. Wrap "
            "vector-valued parts in tfd.Sample or tfd.Independent, or use an "
            "AutoBatched joint distribution."
        )


def _ranks(shapes):
    return tf.nest.map_structure(lambda s: s.rank, shapes)
