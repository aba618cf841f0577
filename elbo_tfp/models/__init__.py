"""What is p(x, z)?

A model is a prior, a likelihood and, if parameters are uncertain too, a global prior.
`LatentVariableModel` holds them and turns data into a target for `draw`;
`ConditionalModel` is one of x given a condition, and `observed` makes one of data with
values missing. The toys of
this room know their evidence and posterior exactly: they are the yardsticks of the
book. `vae` and its kin put a network between prior and likelihood (`conditional_vae`
also in front of both); the likelihoods (`binomial`, `beta_binomial` ...) turn the
output of any network into a distribution. `MarkovDecisionProcess` makes acting well an
inference about trajectories. `StateSpaceModel` has a path of states for a latent;
`deep_markov` learns one.
"""

from elbo_tfp.distributions.counts import BetaBinomial, DiscretizedLogistic
from elbo_tfp.models.cells import CellModel, CountVAE, count_vae
from elbo_tfp.models.conditional import ConditionalModel
from elbo_tfp.models.conditional_vae import conditional_vae
from elbo_tfp.models.control import MarkovDecisionProcess, TrajectoryPosterior
from elbo_tfp.models.deep_markov import deep_markov
from elbo_tfp.models.latent import LatentVariableModel, from_joint
from elbo_tfp.models.likelihoods import (
    Likelihood,
    bernoulli,
    beta_binomial,
    binomial,
    discretized_logistic,
    gaussian,
    log_normal_counts,
    negative_binomial,
    poisson,
    zero_inflated_negative_binomial,
)
from elbo_tfp.models.missing import observed
from elbo_tfp.models.state_space import StateSpaceModel
from elbo_tfp.models.target import LogJoint
from elbo_tfp.models.toys import (
    gamma_poisson,
    linear_gaussian,
    normal_normal,
    probabilistic_pca,
)
from elbo_tfp.models.vae import VAE, convolutional_vae, linear_vae, vae

__all__ = [
    "VAE",
    "BetaBinomial",
    "CellModel",
    "ConditionalModel",
    "CountVAE",
    "DiscretizedLogistic",
    "LatentVariableModel",
    "Likelihood",
    "LogJoint",
    "MarkovDecisionProcess",
    "StateSpaceModel",
    "TrajectoryPosterior",
    "bernoulli",
    "beta_binomial",
    "binomial",
    "conditional_vae",
    "convolutional_vae",
    "count_vae",
    "deep_markov",
    "discretized_logistic",
    "from_joint",
    "gamma_poisson",
    "gaussian",
    "linear_gaussian",
    "linear_vae",
    "log_normal_counts",
    "negative_binomial",
    "normal_normal",
    "observed",
    "poisson",
    "probabilistic_pca",
    "vae",
    "zero_inflated_negative_binomial",
]
