"""What is it good for?

Problems that the rooms solve together. Acting well is inference: `policy_gradient` is a
score-function gradient, and `optimism` is what the exact posterior gets wrong.
Predictive coding, a theory of the cortex, is gradient ascent on an ELBO: `hierarchy` is
its model, `relax` its inference by local prediction errors, `local_gradients` and
`local_objective` its learning; `free_energy` and `laplace` say what it leaves out.
`impute` fills in what is missing, with its uncertainty. Continual learning is prior
replacement: `carry_over` makes today's q tomorrow's prior, `coreset` keeps a few data,
`multi_head` a head for each task; `regress` and `restrict` are the exact case.
`differential_expression` reports the genes in which two groups of cells differ, at a
stated error rate.
`posterior_summary` says what q believes about each part of z, with Monte Carlo errors,
and `to_arviz` hands its draws on; `posterior_predictive` asks whether the model makes
data like these, `compare` which of two models does it better.
"""

from elbo_tfp.applications.continual import (
    carry_over,
    coreset,
    multi_head,
    split_tasks,
)
from elbo_tfp.applications.control import (
    Optimism,
    SampledElbo,
    optimism,
    policy_family,
    policy_gradient,
    sampled_elbo,
)
from elbo_tfp.applications.export import to_arviz
from elbo_tfp.applications.expression import Expression, differential_expression
from elbo_tfp.applications.free_energy import FreeEnergy, free_energy, laplace
from elbo_tfp.applications.freezing import freeze
from elbo_tfp.applications.hierarchy import Hierarchy, hierarchy
from elbo_tfp.applications.imputation import Imputation, impute
from elbo_tfp.applications.predictive import (
    Comparison,
    PredictiveCheck,
    compare,
    posterior_predictive,
)
from elbo_tfp.applications.predictive_coding import (
    LocalGradients,
    Relaxation,
    local_gradients,
    local_objective,
    relax,
)
from elbo_tfp.applications.regression import regress, restrict
from elbo_tfp.applications.summaries import PartSummary, posterior_summary

__all__ = [
    "Comparison",
    "Expression",
    "FreeEnergy",
    "Hierarchy",
    "Imputation",
    "LocalGradients",
    "Optimism",
    "PartSummary",
    "PredictiveCheck",
    "Relaxation",
    "SampledElbo",
    "carry_over",
    "compare",
    "coreset",
    "differential_expression",
    "free_energy",
    "freeze",
    "hierarchy",
    "impute",
    "laplace",
    "local_gradients",
    "local_objective",
    "multi_head",
    "optimism",
    "policy_family",
    "policy_gradient",
    "posterior_predictive",
    "posterior_summary",
    "regress",
    "relax",
    "restrict",
    "sampled_elbo",
    "split_tasks",
    "to_arviz",
]
