"""The rows that statsmodels answers, at the same parameters."""

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete.count_model import ZeroInflatedNegativeBinomialP
from statsmodels.discrete.discrete_model import NegativeBinomialP

from benchmarks.crosschecks import problem as p


def local_level(flow):
    found = sm.tsa.UnobservedComponents(flow, "local level")
    found.ssm.initialize_known(np.array([1000.0]), np.array([[300.0**2]]))
    found.ssm.loglikelihood_burn = 0  # the first year counts
    return found


@p.asked
def nile_evidence():
    return local_level(p.FLOW).loglike([p.FLOW_VARIANCE, p.LEVEL_VARIANCE])


@p.asked
def nile_missing():
    flow = np.where(p.SEEN, p.FLOW, np.nan)
    return local_level(flow).loglike([p.FLOW_VARIANCE, p.LEVEL_VARIANCE])


@p.asked
def nile_smoothed():
    found = local_level(p.FLOW).smooth([p.FLOW_VARIANCE, p.LEVEL_VARIANCE])
    return found.smoothed_state[0]


@p.asked
def negative_binomial_regression():
    model = NegativeBinomialP(p.COUNTS, p.DESIGN, p=2)
    return model.loglike(np.append(p.SLOPES, p.DISPERSION))


@p.asked
def zero_inflated_regression():
    model = ZeroInflatedNegativeBinomialP(p.COUNTS, p.DESIGN, p=2)
    return model.loglike(np.concatenate([[p.INFLATION], p.SLOPES, [p.DISPERSION]]))


def regimes():
    model = sm.tsa.MarkovRegression(p.REGIMES, k_regimes=2)
    return model, [*p.MOVES[:, 0], *p.LEVELS, p.SPREAD**2]


@p.asked
def regimes_evidence():
    model, parameters = regimes()
    return model.loglike(parameters)


@p.asked
def regimes_marginals():
    model, parameters = regimes()
    return model.smooth(parameters).smoothed_marginal_probabilities


if __name__ == "__main__":
    from benchmarks import crosscheck

    crosscheck.answer(globals())
