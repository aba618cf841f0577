"""How far below am I?

log p(x) - ELBO is what inference loses. `evidence` estimates the first term; `k_hat`
looks at the weights alone and `vsbc` at simulated data, so that neither needs it. What
stands here need not be a bound: each docstring says on which side its number lies, if
on any.
"""

from elbo_tfp.gaps.evidence import Evidence, evidence
from elbo_tfp.gaps.jackknife import jackknife
from elbo_tfp.gaps.khat import k_hat
from elbo_tfp.gaps.vsbc import Calibration, vsbc

__all__ = ["Calibration", "Evidence", "evidence", "jackknife", "k_hat", "vsbc"]
