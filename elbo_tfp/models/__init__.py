"""What is p(x, z)?

A model is a prior, a likelihood and, if parameters are uncertain too, a global prior.
`LatentVariableModel` holds them and turns data into a target for `draw`. The toys of
this room know their evidence and posterior exactly: they are the yardsticks of the
book.
"""

from elbo_tfp.models.latent import LatentVariableModel, LogJoint, from_joint
from elbo_tfp.models.toys import (
    gamma_poisson,
    linear_gaussian,
    normal_normal,
    probabilistic_pca,
)

__all__ = [
    "LatentVariableModel",
    "LogJoint",
    "from_joint",
    "gamma_poisson",
    "linear_gaussian",
    "normal_normal",
    "probabilistic_pca",
]
