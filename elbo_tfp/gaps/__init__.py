"""How far below am I?

log p(x) - ELBO is what inference loses. `evidence` estimates the first term;
`gap_report` splits the loss into what the family costs and what the encoder costs, and
`refine` takes the second back, datum by datum; `collapse_report` asks whether the
latents carry anything at all. `k_hat` looks at the weights alone and `vsbc` at
simulated data, so that neither needs the evidence. What stands here need not be a
bound: each docstring says on which side its number lies, if on any.
"""

from elbo_tfp.evidence import Evidence, jackknife, k_hat
from elbo_tfp.evidence import estimate as evidence
from elbo_tfp.gaps.collapse import collapse_report
from elbo_tfp.gaps.collapse_results import CollapseReport
from elbo_tfp.gaps.gap_results import GapReport, Generalization
from elbo_tfp.gaps.refine import Refined, refine
from elbo_tfp.gaps.report import gap_report
from elbo_tfp.gaps.semi_amortized import semi_amortized
from elbo_tfp.gaps.vsbc import Calibration, vsbc
from elbo_tfp.ground import measured as per_datum  # noqa: F401
from elbo_tfp.ground.measured import Average, PerDatum

__all__ = [
    "Average",
    "Calibration",
    "CollapseReport",
    "Evidence",
    "GapReport",
    "Generalization",
    "PerDatum",
    "Refined",
    "collapse_report",
    "evidence",
    "gap_report",
    "jackknife",
    "k_hat",
    "refine",
    "semi_amortized",
    "vsbc",
]
