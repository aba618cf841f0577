"""The latents of a model by name: which are integrated, and which remain."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp.models import LatentVariableModel


def prior_of(model):
    """The model's prior; ValueError if it is no model."""
    if not isinstance(model, LatentVariableModel):
        raise ValueError(
            "expected a LatentVariableModel, out of which to integrate a latent; got "
            f"{type(model).__name__}. A TFP joint distribution of one latent and the "
            "data becomes one by models.from_joint(joint)."
        )
    return model.prior


class Latents:
    """The parts of z by name, and which of them are integrated.

    Args:
        model: the `LatentVariableModel` that z belongs to.
        integrated: names, or None for the only part there is.

    Raises:
        ValueError: if a name is unknown or missing, or there is no model.
    """

    def __init__(self, model, integrated):
        self.template = prior_of(model).event_shape
        self.names = _names(self.template)
        self.is_single = _is_leaf(self.template)
        if integrated is None and len(self.names) > 1:
            raise ValueError(
                "expected the name of the latent to integrate, one of "
                f"{self.names}; got None."
            )
        integrated = self.names if integrated is None else integrated
        single = isinstance(integrated, (str, int))
        self.integrated = [integrated] if single else list(integrated)
        unknown = [n for n in self.integrated if n not in self.names]
        if unknown or not self.integrated:
            raise ValueError(
                f"expected names of latents, out of {self.names}; got {integrated!r}."
            )
        self.kept = [n for n in self.names if n not in self.integrated]

    def parts(self, whole):
        """name -> part, of a whole structure."""
        if self.is_single:
            return {self.names[0]: whole}
        if hasattr(whole, "_asdict"):
            return dict(whole._asdict())
        return dict(whole) if isinstance(whole, dict) else dict(enumerate(whole))

    def keep(self, whole):
        """What remains of a whole structure."""
        parts = self.parts(whole)
        return self._pack(self.kept, parts)

    def merge(self, kept, integrated):
        """The whole structure, from what remains and what was integrated."""
        parts = self._unpack(self.kept, kept) | self._unpack(
            self.integrated, integrated
        )
        return self.whole(parts)

    def whole(self, parts):
        """The structure that the model takes, from its parts by name."""
        if self.is_single:
            return parts[self.names[0]]
        if hasattr(self.template, "_fields"):
            return type(self.template)(**parts)
        if isinstance(self.template, dict):
            return {name: parts[name] for name in self.template}
        return type(self.template)(parts[i] for i in self.names)

    def _pack(self, names, parts):
        if len(names) == 1:
            return parts[names[0]]
        if isinstance(names[0] if names else "", int):
            return [parts[n] for n in names]
        return {n: parts[n] for n in names}

    def _unpack(self, names, packed):
        if not names:
            return {}
        if len(names) == 1:
            return {names[0]: packed}
        if isinstance(packed, (list, tuple)):
            return dict(zip(names, packed, strict=True))
        return {n: packed[n] for n in names}

    def pack_integrated(self, parts):
        """What `conditional` samples, from parts by name."""
        return self._pack(self.integrated, parts)

    def unpack_integrated(self, packed):
        """The reverse of `pack_integrated`."""
        return self._unpack(self.integrated, packed)

    def event_ranks(self):
        """name -> number of event dimensions."""
        return {n: s.rank for n, s in self.parts(self.template).items()}

    def lead(self, kept):
        """The shape `[S, B]` in front of the events of what remains."""
        if not self.kept:
            return tf.shape(kept)[:-1], kept.shape[:-1]
        name, part = next(iter(self._unpack(self.kept, kept).items()))
        rank = part.shape.rank - self.event_ranks()[name]
        return tf.shape(part)[:rank], part.shape[:rank]

    def spread(self, kept, values):
        """The whole structure `[M, S, B]`: every kept z with each of M values.

        Args:
            kept: what remains, `[S, B]` + event.
            values: name -> `[M]` + event, of what is integrated.
        """
        lead, static = self.lead(kept)
        parts = {}
        for name, value in values.items():
            count, event = value.shape[0], value.shape[1:]
            value = tf.reshape(value, [count, *[1] * static.rank, *event])
            shape = tf.concat([[count], lead, tf.shape(value)[1 + static.rank :]], 0)
            value = tf.broadcast_to(value, shape)
            parts[name] = tf.ensure_shape(value, [count, *static, *event])
        for name, part in self._unpack(self.kept, kept).items():
            parts[name] = repeat(part, count)
        return self.whole(parts)


def repeat(tensor, count):
    """`count` copies along a new leading axis."""
    copies = tf.broadcast_to(tensor, tf.concat([[count], tf.shape(tensor)], 0))
    return tf.ensure_shape(copies, [count, *tensor.shape])


def _names(template):
    if _is_leaf(template):
        return ["z"]
    if hasattr(template, "_fields"):
        return list(template._fields)
    if isinstance(template, dict):
        return list(template)
    return list(range(len(template)))


def _is_leaf(template):
    return isinstance(template, tf.TensorShape)
