"""Unconstrained coordinates of the latents: a vector u for every z."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp.evidence.starts import Plate
from elbo_tfp.families.charts import chart
from elbo_tfp.ground.checks import wrong


class Coordinates:
    """z <-> u, a vector in R^d: the bijector of z's support, flattened.

    Args:
        bijector: from R^d-shaped parts onto the support of z.
        event_shape: of z, a shape or a structure of shapes.
        dtype: floating.
    """

    def __init__(self, bijector, event_shape, dtype):
        self._bijector, self.dtype = bijector, dtype
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
        ranks = tf.nest.map_structure(lambda s: s.rank, self._raw_shape)
        log_det = self._bijector.forward_log_det_jacobian(raw, ranks)
        return self._bijector.forward(raw), log_det

    def to_u(self, z):
        """The coordinates of z, `[..., d]`."""
        z = tf.nest.map_structure(
            lambda t: tf.identity(tf.convert_to_tensor(t, self.dtype)), z
        )
        rows = []
        raw = tf.nest.flatten(self._bijector.inverse(z))
        for part, shape in zip(raw, self._shapes, strict=True):
            rank, size = part.shape.rank - shape.rank, [shape.num_elements()]
            flat = tf.reshape(part, tf.concat([tf.shape(part)[:rank], size], 0))
            rows.append(tf.ensure_shape(flat, part.shape[:rank] + size))
        return tf.concat(rows, -1)


def coordinates(space) -> Coordinates:
    """Unconstrained coordinates of latents.

    Args:
        space: a distribution with the support and event shape of z, or None.

    Raises:
        ValueError: if nothing says what z looks like, or a part is discrete.
    """
    if isinstance(space, Plate):
        raise wrong(
            "latents of a fixed support",
            "a model whose prior of z depends on its shared latent",
            'Use method="importance".',
        )
    if space is None or not hasattr(space, "event_shape"):
        raise wrong(
            "to know the shape and support of z",
            f"a bare target and surrogate_posterior of type {type(space).__name__}",
            "Pass a LatentVariableModel, a pinned joint distribution, or a surrogate "
            "posterior that is a TFP distribution or a family.",
        )
    dtypes = set(tf.nest.flatten(space.dtype))
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating:
        raise wrong(
            "latents of one floating dtype",
            tf.nest.flatten(space.dtype),
            "Sum a discrete latent out first: marginals.enumerate_discrete.",
        )
    return Coordinates(chart(space), space.event_shape, dtypes.pop())
