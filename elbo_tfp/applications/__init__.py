"""What is it good for?

Problems that the rooms solve together. Predictive coding, a theory of the cortex, is
gradient ascent on an ELBO: `hierarchy` is its model, `relax` its inference by local
prediction errors, `local_gradients` and `local_objective` its learning; `free_energy`
and `laplace` say what it leaves out.
"""

from elbo_tfp.applications.free_energy import FreeEnergy, free_energy, laplace
from elbo_tfp.applications.hierarchy import Hierarchy, hierarchy
from elbo_tfp.applications.predictive_coding import (
    LocalGradients,
    Relaxation,
    local_gradients,
    local_objective,
    relax,
)

__all__ = [
    "FreeEnergy",
    "Hierarchy",
    "LocalGradients",
    "Relaxation",
    "free_energy",
    "hierarchy",
    "laplace",
    "local_gradients",
    "local_objective",
    "relax",
]
