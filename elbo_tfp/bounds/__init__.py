"""Which number?

A bound is a function of `Draws` (or of their log-weights) that returns one number per
datum, in nats, higher is better. Nothing here changes a gradient: tricks of that kind
live in `elbo_tfp.gradients`.
"""

from elbo_tfp.bounds.cubo import cubo
from elbo_tfp.bounds.decomposition import Decomposition, analytic_kl, decompose
from elbo_tfp.bounds.monte_carlo import elbo, iwae, standard_error
from elbo_tfp.bounds.renyi import renyi
from elbo_tfp.bounds.tvo import tvo
from elbo_tfp.convex import (
    GaussianBound,
    bohning,
    gaussian_concave,
    jaakkola_jordan,
)

__all__ = [
    "Decomposition",
    "GaussianBound",
    "analytic_kl",
    "bohning",
    "cubo",
    "decompose",
    "elbo",
    "gaussian_concave",
    "iwae",
    "jaakkola_jordan",
    "renyi",
    "standard_error",
    "tvo",
]
