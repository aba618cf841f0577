"""An encoder: a network that reads x, and the family that it names a member of."""

from __future__ import annotations

from typing import Any, NamedTuple

from elbo_tfp.families.base import Family
from elbo_tfp.ground.structures import filled
from elbo_tfp.ground.training import call


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

    def __call__(self, x, training=None):
        """q(z | x), batch shape `[B]`.

        Args:
            x: the data, `[B, ...]`.
            training: whether the network is in training (BatchNormalization, Dropout),
                if it asks; by default it is in `fit`, and nowhere else.

        Raises:
            ValueError: if the network's output has the wrong size for the family.
        """
        return self.family(call(self.network, filled(x), training))
