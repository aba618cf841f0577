"""The rows that SciPy answers: its densities, sums and adaptive quadrature."""

import numpy as np
from scipy import integrate, special, stats

from benchmarks.crosschecks import problem as p


@p.asked
def log_weights():
    prior = stats.norm.logpdf(p.Z).sum(-1)
    likelihood = stats.norm(p.Z @ p.W.T, p.NOISE).logpdf(p.X).sum(-1)
    return prior + likelihood - stats.norm(p.LOC, p.SCALE).logpdf(p.Z).sum(-1)


@p.asked
def kl():
    variance = p.SCALE**2
    return ((variance + p.LOC**2 - 1 - np.log(variance)) / 2).sum()


@p.asked
def elbo():
    # E|x - W z|^2 = |x - W m|^2 + tr(W S W')
    squares = ((p.X - p.W @ p.LOC) ** 2).sum() + (p.W**2 @ p.SCALE**2).sum()
    fit = -squares / (2 * p.NOISE**2) - 2 * np.log(2 * np.pi * p.NOISE**2)
    return fit - kl()


@p.asked
def enumerated_log_joint():
    prior = stats.norm(0, 3).logpdf(p.M).sum(-1)
    each = stats.norm.logpdf(p.DATA[:, None] - p.M[:, None, :]) + np.log(p.SHARES)
    return prior + special.logsumexp(each, -1).sum(-1)


@p.asked
def enumerated_elbo():
    # q's means are independent: a sum over data needs all three; Gauss-Hermite
    nodes, mass = np.polynomial.hermite_e.hermegauss(40)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1)
    m = p.MEANS + p.WIDTHS * grid.reshape(-1, 3)
    mass = np.einsum("i,j,k", mass, mass, mass).ravel()
    each = stats.norm.logpdf(p.DATA[:, None, None] - m) + np.log(p.SHARES)
    log_p = special.logsumexp(each, -1).sum(0) + stats.norm(0, 3).logpdf(m).sum(-1)
    log_q = stats.norm(p.MEANS, p.WIDTHS).logpdf(m).sum(-1)
    return mass @ (log_p - log_q) / mass.sum()


@p.asked
def negative_binomial():
    x, mean, dispersion = p.GRID
    return stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).logpmf(x)


@p.asked
def beta_binomial():
    return stats.betabinom(16, *p.URN).logpmf(np.arange(17))


@p.asked
def markov_gaussian():
    # z = B^-1 PUSH epsilon, B bidiagonal
    back = np.linalg.inv(np.eye(p.STEPS) - np.diag([p.COUPLING] * (p.STEPS - 1), -1))
    covariance = p.PUSH**2 * back @ back.T
    return stats.multivariate_normal(np.zeros(p.STEPS), covariance).logpdf(p.PATHS)


@p.asked
def logistic_evidence():
    signs = 2 * p.LOGISTIC_Y - 1

    w = np.linspace(-16, 16, 401)  # eight standard deviations of the prior
    logits = w[:, None, None] + w[:, None] * p.LOGISTIC_X
    prior = stats.norm(0, 2).logpdf(w)
    fit = special.log_expit(signs * logits).sum(-1)
    joint = np.exp(fit + prior[:, None] + prior)
    return np.log(integrate.simpson(integrate.simpson(joint, w), w))


importance_evidence = logistic_evidence
