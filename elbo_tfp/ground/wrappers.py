"""How to look inside of `tfd.Independent` and `tfd.Sample`."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow_probability as tfp

tfd = tfp.distributions
# around a distribution that is no `CompositeTensor` TFP returns an `_Independent`, of
# which `tfd.Independent` is only a subclass
INDEPENDENT, SAMPLE = (kind.__bases__[0] for kind in (tfd.Independent, tfd.Sample))


class Unwrapped(NamedTuple):
    """What is inside of `tfd.Independent` and `tfd.Sample`."""

    base: Any
    """The distribution inside; a family stands for its current member."""
    ndims: int
    """How many leading dimensions of the outer event are independent factors."""
    copies: tuple
    """The shape that `tfd.Sample` repeats, which is missing from the batch shape of
    `base`; `()` if there was none."""


def unwrap(distribution, samples=True) -> Unwrapped:
    """Looks through any number of `tfd.Independent` and, if asked to, `tfd.Sample`.

    Args:
        distribution: a TFP distribution or a family.
        samples: whether to look into `tfd.Sample`; else its copies stay in the base.

    Returns:
        An `Unwrapped`, whose base is the distribution itself if nothing is around it.
    """
    base = getattr(distribution, "current", distribution)
    outer, copies = base, ()
    while isinstance(base, (INDEPENDENT, SAMPLE) if samples else INDEPENDENT):
        inner = base.distribution
        if isinstance(base, SAMPLE):
            new = base.event_shape.rank - inner.event_shape.rank
            copies += tuple(base.event_shape[:new])
        base = inner
    if base is outer:
        return Unwrapped(base, 0, ())
    return Unwrapped(base, outer.event_shape.rank - base.event_shape.rank, copies)
