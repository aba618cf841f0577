"""How do I climb it?

An estimator takes what `draw` takes and returns an `Estimate`: one value that all
estimators share, and a surrogate whose gradient differs between them. What an
estimator needs stands in its docstring under **Requires**; asking it for more is an
error, not a wrong gradient. `bound=` names what is climbed instead of the ELBO (or,
with several importance samples, `bounds.iwae`): any function of `Draws` for
`reparameterized`, `doubly_reparameterized` and `score_function`; the others say why
they climb one bound only.
"""

from elbo_tfp.gradients.doubly import doubly_reparameterized
from elbo_tfp.gradients.pathwise import reparameterized, sticking_the_landing
from elbo_tfp.gradients.relaxed import relaxed
from elbo_tfp.gradients.score import leave_one_out, score_function
from elbo_tfp.gradients.variance import GradientReport, per_sample, report
from elbo_tfp.gradients.vimco import vimco

__all__ = [
    "GradientReport",
    "doubly_reparameterized",
    "leave_one_out",
    "per_sample",
    "relaxed",
    "reparameterized",
    "report",
    "score_function",
    "sticking_the_landing",
    "vimco",
]
