"""The rows that scikit-learn answers, at the same parameters."""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.mixture import GaussianMixture

from benchmarks.crosschecks import problem as p


def mixture():
    found = GaussianMixture(3, covariance_type="spherical")
    found.weights_, found.means_ = p.SHARES, p.MEANS[:, None]
    found.covariances_ = found.precisions_cholesky_ = np.ones(3)
    return found


@p.asked
def mixture_evidence():
    return mixture().score_samples(p.DATA[:, None])


@p.asked
def mixture_posterior():
    return mixture().predict_proba(p.DATA[:, None])


@p.asked
def factor_evidence():
    x = load_iris().data
    return PCA(2).fit(x).score_samples(x)


@p.asked
def ridge_evidence():
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    start = {"alpha_init": p.NOISE_PRECISION, "lambda_init": p.PRECISION}
    found = BayesianRidge(fit_intercept=False, compute_score=True, **flat, **start)
    # the first score is that of the start
    return found.fit(p.INPUTS, p.OUTCOME).scores_[0]


@p.asked
def ridge_mean():
    found = Ridge(p.PRECISION / p.NOISE_PRECISION, fit_intercept=False)
    return found.fit(p.INPUTS, p.OUTCOME).coef_


def process():
    kernel = RBF(1.0, "fixed")
    found = GaussianProcessRegressor(kernel, alpha=p.JITTER, optimizer=None)
    return found.fit(p.TIMES[:, None], p.PROCESS)


@p.asked
def process_evidence():
    return process().log_marginal_likelihood_value_


@p.asked
def process_mean():
    return process().predict(p.TIMES[:, None])
