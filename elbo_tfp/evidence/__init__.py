"""How likely are the data?

`estimate` gives log p(x) by quadrature, importance sampling or annealing, forward or
in both directions, and says on which side of the truth its number lies, if on any.
`k_hat` asks of the weights alone whether to believe them; `jackknife` takes the first
bias off an importance-weighted bound, and is no bound any more.
"""

from elbo_tfp.evidence.estimation import Evidence, estimate
from elbo_tfp.evidence.jackknife import jackknife
from elbo_tfp.evidence.khat import k_hat

__all__ = ["Evidence", "estimate", "jackknife", "k_hat"]
