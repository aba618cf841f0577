"""TFP's pin must not read the fill values of a masked array.

`joint.experimental_pin(x=masked)` turns the array into a tensor, and its mask is gone
before anything else can see it: what stands under the mask would count as data. The
only place to notice is the pin itself. Importing this package therefore makes TFP's
pin refuse such an array, with the error that every function here has; nothing else of
TFP changes.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.arrays import refuse_masked

_Pinned = tfp.experimental.distributions.JointDistributionPinned


def watch_pins() -> None:
    """Makes TFP's pin refuse masked arrays; a second call changes nothing."""
    theirs = _Pinned.__init__
    if hasattr(theirs, "refuses_masked"):
        return

    @functools.wraps(theirs)
    def init(self, distribution, *pins, name=None, **named_pins):
        for value in tf.nest.flatten((pins, named_pins)):
            if isinstance(value, np.ma.MaskedArray):
                refuse_masked(value, "the pin")
        theirs(self, distribution, *pins, name=name, **named_pins)

    init.refuses_masked = True
    _Pinned.__init__ = init
