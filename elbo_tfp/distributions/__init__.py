"""What TFP lacks: distributions of pixels, counts, trajectories and chains.

They are ordinary `tfp.distributions`, as `models` and `families` use them. Values that
cannot occur have log-probability minus infinity, never a plausible number. The normals
of `families` and `StudentT` are TFP's but for the draw, which is the same eagerly and
compiled, and has no loop; a `tfd.Normal` that you pass yourself draws TFP's way.
`unwrap` looks into `tfd.Independent` and `tfd.Sample`.
"""

from elbo_tfp.distributions.counts import BetaBinomial, DiscretizedLogistic
from elbo_tfp.distributions.genes import (
    LogNormalCounts,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from elbo_tfp.distributions.markov import MarkovGaussian
from elbo_tfp.distributions.student import StudentT
from elbo_tfp.distributions.trajectories import Optimality, Trajectories
from elbo_tfp.ground.wrappers import Unwrapped, unwrap

__all__ = [
    "BetaBinomial",
    "DiscretizedLogistic",
    "LogNormalCounts",
    "MarkovGaussian",
    "NegativeBinomial",
    "Optimality",
    "Poisson",
    "StudentT",
    "Trajectories",
    "Unwrapped",
    "ZeroInflatedNegativeBinomial",
    "unwrap",
]
