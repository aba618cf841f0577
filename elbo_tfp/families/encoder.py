"""An encoder: a network that reads x, and the family that it names a member of."""

from __future__ import annotations

from typing import Any, NamedTuple

from elbo_tfp.families.base import Family
from elbo_tfp.ground.structures import filled


class Encoder(NamedTuple):
    """`encoder(x) = family(network(x))`, one posterior per datum.

    Network and family stay apart: refinement per datum starts from the network's
    output and then moves the family's parameters alone.
    """

    network: Any
    """A callable `x [B, ...] -> parameters [B, family.parameters_size]`; it gets the
    structure that the model gets, with zeros where a "mask" says "not observed"."""
    family: Family
    """The family whose members the parameters name."""

    def __call__(self, x):
        """q(z | x), batch shape `[B]`.

        Raises:
            ValueError: if the network's output has the wrong size for the family.
        """
        return self.family(self.network(filled(x)))
