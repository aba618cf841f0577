"""How likely are the data?

`estimate` gives log p(x) by `Quadrature`, `Importance` sampling or `Annealed` walks,
forward or `Bidirectional`, and says on which side of the truth its number lies, if on
any. `k_hat` asks of the weights alone whether to believe them; `jackknife` takes the
first bias off an importance-weighted bound, and is no bound any more.
"""

from elbo_tfp.evidence.estimation import estimate
from elbo_tfp.evidence.jackknife import jackknife
from elbo_tfp.evidence.khat import k_hat
from elbo_tfp.evidence.methods import (
    Annealed,
    Bidirectional,
    Evidence,
    Importance,
    Quadrature,
)

__all__ = [
    "Annealed",
    "Bidirectional",
    "Evidence",
    "Importance",
    "Quadrature",
    "estimate",
    "jackknife",
    "k_hat",
]
