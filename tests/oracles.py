"""Exact answers that know nothing of TensorFlow: closed form, sums and quadrature."""

import itertools

import numpy as np
from scipy import integrate, special, stats

# F2, F4: z ~ N(0, 1), x given z ~ N(z, 1)


def normal_normal(x, prior_loc=0.0, prior_scale=1.0, noise_scale=1.0):
    """(log p(x), posterior mean, posterior standard deviation)."""
    spread = np.hypot(prior_scale, noise_scale)
    precision = prior_scale**-2 + noise_scale**-2
    mean = (prior_loc / prior_scale**2 + x / noise_scale**2) / precision
    return stats.norm(prior_loc, spread).logpdf(x), mean, precision**-0.5


def normal_normal_elbo(x, loc, scale):
    """The ELBO of q = N(loc, scale^2) under the standard model, in closed form."""
    # E[log N(z; 0, 1)] + E[log N(x; z, 1)] + entropy
    expected = -np.log(2 * np.pi) - (loc**2 + (x - loc) ** 2 + 2 * scale**2) / 2
    return expected + np.log(scale) + np.log(2 * np.pi * np.e) / 2


def gaussian_kl(loc_q, cov_q, loc_p, cov_p):
    """KL(N_q || N_p) of two full Gaussians."""
    precision, gap = np.linalg.inv(cov_p), np.asarray(loc_p) - loc_q
    log_det = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    return (
        np.trace(precision @ cov_q) + gap @ precision @ gap - len(gap) + log_det
    ) / 2


def iwae(log_weight, loc, scale, num, points=60):
    """E[log mean of `num` weights] under z ~ N(loc, scale^2), by Gauss-Hermite."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(points)
    mass = np.log(mass / mass.sum())
    values = log_weight(loc + scale * nodes)
    grids = np.meshgrid(*[values] * num, indexing="ij")
    masses = np.meshgrid(*[mass] * num, indexing="ij")
    bound = special.logsumexp(np.stack(grids), axis=0) - np.log(num)
    return float(np.sum(np.exp(sum(masses)) * bound))


def integral(density, low=-np.inf, high=np.inf):
    """The integral of a scalar function, by adaptive quadrature."""
    return integrate.quad(density, low, high, limit=200, epsabs=1e-11)[0]


def continuous_kl(q, p, low=-np.inf, high=np.inf):
    """KL(q || p) of two frozen SciPy distributions, by quadrature."""
    low, high = max(low, q.ppf(1e-14)), min(high, q.ppf(1 - 1e-14))
    return integral(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), low, high)


def bernoulli_kl(q, p):
    """KL of two Bernoulli distributions, the sum over {0, 1}."""
    return q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))


def mixture_evidence(log_likelihood, log_prior, num):
    """log sum_z p(z) p(x | z) over all `num`-tuples of bits, by enumeration."""
    terms = [
        log_prior(bits) + log_likelihood(bits)
        for bits in map(np.array, itertools.product([0, 1], repeat=num))
    ]
    return float(special.logsumexp(terms))


def probabilistic_pca(x, latent_size):
    """(log-likelihood of all data, sigma^2), from eigenvalues alone."""
    count, dims = x.shape
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    noise = values[latent_size:].mean()
    log_det = np.log(values[:latent_size]).sum() + (dims - latent_size) * np.log(noise)
    # Tipping and Bishop (1999), equation 4 at the optimum, where tr(C^-1 S) = D
    return -count / 2 * (dims * np.log(2 * np.pi) + log_det + dims), noise


def difference(function, at, step=1e-5):
    """The gradient of a scalar function by central differences."""
    at = np.asarray(at, np.float64)
    rows = np.eye(at.size).reshape(at.size, *at.shape) * step
    flat = [(function(at + row) - function(at - row)) / (2 * step) for row in rows]
    return np.reshape(flat, at.shape)


# the local level model: z_1 ~ N(m, s^2), z_t+1 ~ N(z_t, level), x_t ~ N(z_t, noise)


def local_level(x, level, noise, loc=1_000.0, scale=300.0, seen=None):
    """(log p(x), posterior means, posterior covariance), by the dense Gaussian."""
    t = np.arange(len(x))
    cov = scale**2 + level * np.minimum(t[:, None], t)
    seen = np.ones(len(x), bool) if seen is None else seen
    inner = cov[np.ix_(seen, seen)] + noise * np.eye(seen.sum())
    log_p = stats.multivariate_normal(np.full(seen.sum(), loc), inner).logpdf(x[seen])
    gain = cov[:, seen] @ np.linalg.inv(inner)
    return log_p, loc + gain @ (x[seen] - loc), cov - gain @ cov[seen]


def chain_of(cov):
    """(A, L) of the scalar Markov Gaussian of this covariance, `[T]` each."""
    a = np.append(0, cov.diagonal(1) / cov.diagonal()[:-1])
    own = cov.diagonal() - a**2 * np.append(0, cov.diagonal()[:-1])
    return a, np.sqrt(own)
