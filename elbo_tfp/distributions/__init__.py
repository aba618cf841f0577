"""What TFP lacks: distributions of pixels, counts and trajectories.

They are ordinary `tfp.distributions`, as `models` and `families` use them. Values that
cannot occur have log-probability minus infinity, never a plausible number.
"""

from elbo_tfp.distributions.counts import BetaBinomial, DiscretizedLogistic
from elbo_tfp.distributions.trajectories import Optimality, Trajectories

__all__ = ["BetaBinomial", "DiscretizedLogistic", "Optimality", "Trajectories"]
