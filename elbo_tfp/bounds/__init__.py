"""Which number?

A bound is a function of `Draws` (or of their log-weights) that returns one number per
datum, in nats, higher is better. Nothing here changes a gradient: tricks of that kind
live in `elbo_tfp.gradients`.
"""

from elbo_tfp.bounds.concave import gaussian_concave
from elbo_tfp.bounds.cubo import cubo
from elbo_tfp.bounds.decomposition import Decomposition, analytic_kl, decompose
from elbo_tfp.bounds.logistic import GaussianBound, bohning, jaakkola_jordan
from elbo_tfp.bounds.monte_carlo import elbo, iwae, standard_error
from elbo_tfp.bounds.renyi import renyi
from elbo_tfp.bounds.tvo import tvo

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
