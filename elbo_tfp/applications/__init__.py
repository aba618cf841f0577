"""What is it good for?

Problems that the rooms solve together. `control`: acting well as inference, the policy
gradient as a score-function gradient, and what the exact posterior gets wrong.
"""

from elbo_tfp.applications.control import (
    Optimism,
    SampledElbo,
    optimism,
    policy_family,
    policy_gradient,
    sampled_elbo,
)

__all__ = [
    "Optimism",
    "SampledElbo",
    "optimism",
    "policy_family",
    "policy_gradient",
    "sampled_elbo",
]
