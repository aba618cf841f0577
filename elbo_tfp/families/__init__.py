"""What may q be?

A family is a trainable distribution: it samples and knows its log-density, so `draw`
takes it as a surrogate posterior. Called with other parameters it returns the member
of the family that they name, one per row; that is how an `Encoder` turns the output
of a network into one posterior per datum.
"""

from elbo_tfp.families.base import Family
from elbo_tfp.families.encoder import Encoder
from elbo_tfp.families.flow import flow
from elbo_tfp.families.gaussian import full_rank, low_rank, mean_field
from elbo_tfp.families.joint import mean_field_for
from elbo_tfp.families.mixture import mixture
from elbo_tfp.families.student import student_t

__all__ = [
    "Encoder",
    "Family",
    "flow",
    "full_rank",
    "low_rank",
    "mean_field",
    "mean_field_for",
    "mixture",
    "student_t",
]
