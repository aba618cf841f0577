"""What is it good for?

Problems that the rooms solve together. `control`: acting well as inference, the policy
gradient as a score-function gradient, and what the exact posterior gets wrong.
`posterior_summary` says what q believes about each part of z: means, standard
deviations and quantiles, each with its Monte Carlo error, in the parts' own space.
"""

from elbo_tfp.applications.control import (
    Optimism,
    SampledElbo,
    optimism,
    policy_family,
    policy_gradient,
    sampled_elbo,
)
from elbo_tfp.applications.summaries import PartSummary, posterior_summary

__all__ = [
    "Optimism",
    "PartSummary",
    "SampledElbo",
    "optimism",
    "policy_family",
    "policy_gradient",
    "posterior_summary",
    "sampled_elbo",
]
