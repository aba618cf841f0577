"""What may q be?

A family is a trainable distribution: it samples and knows its log-density, so `draw`
takes it as a surrogate posterior. Called with other parameters it returns the member
of the family that they name, one per row; that is how an `Encoder` turns the output
of a network into one posterior per datum.

Every family also serves as a trainable prior: pass it to `LatentVariableModel` or to
`model.with_prior`, which swaps the prior of a fitted model. Two more priors are made
of an encoder: `aggregated_posterior`, the mixture of q(z | x) over a data set, and
`vamp_prior`, the same over a few inputs that are learned.
"""

from elbo_tfp.families.aggregated import EncodedMixture, aggregated_posterior
from elbo_tfp.families.base import Family
from elbo_tfp.families.encoder import Encoder
from elbo_tfp.families.flow import flow
from elbo_tfp.families.gaussian import full_rank, low_rank, mean_field
from elbo_tfp.families.joint import flow_for, full_rank_for, mean_field_for
from elbo_tfp.families.markov import markov
from elbo_tfp.families.mixture import mixture
from elbo_tfp.families.student import student_t
from elbo_tfp.families.vamp import VampPrior, vamp_prior

__all__ = [
    "EncodedMixture",
    "Encoder",
    "Family",
    "VampPrior",
    "aggregated_posterior",
    "flow",
    "flow_for",
    "full_rank",
    "full_rank_for",
    "low_rank",
    "markov",
    "mean_field",
    "mean_field_for",
    "mixture",
    "student_t",
    "vamp_prior",
]
