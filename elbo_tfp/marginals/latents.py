"""The latents of a model by name: which are integrated, and which remain."""

from __future__ import annotations

import tensorflow as tf

from elbo_tfp.ground.checks import wrong
from elbo_tfp.models import LatentVariableModel


class Latents:
    """The parts of z by name, and which of them are integrated.

    Args:
        model: the `LatentVariableModel` that z belongs to.
        integrated: names, or None for the only part there is.

    Raises:
        ValueError: if a name is unknown or missing, or there is no model.
    """

    def __init__(self, model, integrated):
        self.template = prior_given(model).event_shape
        self.names = list(named_parts(self.template))
        self.is_single = isinstance(self.template, tf.TensorShape)
        if integrated is None and len(self.names) > 1:
            raise wrong(
                f"the name of the latent to integrate, one of {self.names}", None
            )
        integrated = self.names if integrated is None else integrated
        single = isinstance(integrated, (str, int))
        self.integrated = [integrated] if single else list(integrated)
        unknown = [n for n in self.integrated if n not in self.names]
        if unknown or not self.integrated:
            raise wrong(f"names of latents, out of {self.names}", repr(integrated))
        self.kept = [n for n in self.names if n not in self.integrated]

    def keep(self, whole):
        """What remains of a whole structure."""
        return pack(self.kept, named_parts(whole))

    def merge(self, kept, integrated):
        """The whole structure, from what remains and what was integrated."""
        return self.whole(unpack(self.kept, kept) | unpack(self.integrated, integrated))

    def whole(self, parts):
        """The structure that the model takes, from its parts by name."""
        if self.is_single:
            return parts[self.names[0]]
        if hasattr(self.template, "_fields"):
            return type(self.template)(**parts)
        if isinstance(self.template, dict):
            return {name: parts[name] for name in self.template}
        return type(self.template)(parts[i] for i in self.names)

    def events(self):
        """name -> event shape."""
        return named_parts(self.template)

    def lead(self, kept):
        """The shape `[S, B]` in front of the events of what remains."""
        if not self.kept:
            return tf.shape(kept)[:-1], kept.shape[:-1]
        name, part = next(iter(unpack(self.kept, kept).items()))
        rank = part.shape.rank - self.events()[name].rank
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
        for name, part in unpack(self.kept, kept).items():
            parts[name] = repeat(part, count)
        return self.whole(parts)


def prior_given(model, shared=()):
    """p(z), or p(z | w) where the prior hangs on the global latent w.

    Args:
        model: a `LatentVariableModel`.
        shared: w in a tuple; nothing stands for one draw of w.

    Raises:
        ValueError: if it is no model.
    """
    if not isinstance(model, LatentVariableModel):
        raise wrong(
            "a LatentVariableModel, out of which to integrate a latent",
            type(model).__name__,
            "Of a TFP joint distribution pin the data: joint.experimental_pin(x=x).",
        )
    if not needs_global(model):
        return model.prior
    return model.local_prior(*shared or [model.global_prior.sample(seed=(0, 1))])


def needs_global(model):
    """Whether the prior of z hangs on the global latent."""
    return getattr(model, "prior_needs_global", False)


def named_parts(structure):
    """name -> part of a dict, a NamedTuple or a list (numbered); a tensor is "z"."""
    if hasattr(structure, "_asdict"):
        return dict(structure._asdict())
    if isinstance(structure, dict):
        return dict(structure)
    if isinstance(structure, (list, tuple)):
        return dict(enumerate(structure))
    return {"z": structure}


def pack(names, parts):
    """Parts by name as users see them: one alone, a dict, or a list if unnamed."""
    if len(names) == 1:
        return parts[names[0]]
    if isinstance(names[0] if names else "", int):
        return [parts[n] for n in names]
    return {n: parts[n] for n in names}


def unpack(names, packed):
    """The reverse of `pack`: name -> part."""
    if len(names) < 2:
        return dict.fromkeys(names, packed)
    if isinstance(packed, (list, tuple)):
        return dict(zip(names, packed, strict=True))
    return {n: packed[n] for n in names}


def repeat(tensor, count):
    """`count` copies along a new leading axis."""
    copies = tf.broadcast_to(tensor, tf.concat([[count], tf.shape(tensor)], 0))
    return tf.ensure_shape(copies, [count, *tensor.shape])


def moved(tensor, source, target):
    """`tensor` with the axis `source` moved to `target`; negative ones as in NumPy."""
    rank = tensor.shape.rank
    order = list(range(rank))
    order.insert(target % rank, order.pop(source % rank))
    return tf.transpose(tensor, order)
