"""Two posteriors of posteriordb, fitted live; the arithmetic of the table."""

import numpy as np
import pytest
from scipy import integrate, stats

from benchmarks import posteriordb
from benchmarks.posteriors import problem, with_elbo_tfp
from elbo_tfp import data

SCHOOLS = "eight_schools-eight_schools_noncentered"


def fit(name, kind, steps):
    found = with_elbo_tfp.fit(name, kind, 0, steps)
    return found, posteriordb.against_reference(found, data.posteriordb(name)._asdict())


def test_eight_schools_reach_the_best_mean_field():
    found, off = fit(SCHOOLS, "mean_field", 2_000)
    # log p(y) = -31.311; the best mean-field Gaussian in (eta, mu, log tau) has -31.597
    assert abs(found["elbo"] - -31.597) < 0.01 + 4 * found["elbo_error"]
    assert abs(off["mean_off"]) < 0.25
    assert off["stddev_ratio"][0] > 0.7 and off["stddev_ratio"][1] < 1.15


def regression_evidence(name):
    """log p(y) under the weights N(0, 1000^2) and sigma half-normal, by quadrature."""
    x, y = problem.regression(name)
    sigma = np.linspace(0.15, 1.0, 801)
    covariance = sigma[:, None, None] ** 2 * np.eye(len(y)) + 1e6 * x @ x.T
    _, log_det = np.linalg.slogdet(covariance)
    squares = np.einsum("i,sij,j->s", y, np.linalg.inv(covariance), y)
    fit = -(len(y) * np.log(2 * np.pi) + log_det + squares) / 2
    joint = np.exp(fit + stats.halfnorm(0, 1_000).logpdf(sigma))
    return np.log(integrate.simpson(joint, sigma))


def test_a_full_rank_gaussian_finds_means_and_widths():
    found, off = fit("mesquite-logmesquite_logvas", "full_rank", 3_000)
    evidence = regression_evidence("mesquite-logmesquite_logvas")
    assert -0.2 < found["elbo"] - evidence < 4 * found["elbo_error"]
    assert abs(off["mean_off"]) < 0.12
    assert off["stddev_ratio"][0] > 0.8 and off["stddev_ratio"][1] < 1.1


def test_the_lag_design():
    x, y = problem.lags(np.arange(8.0), order=3)
    np.testing.assert_array_equal(
        x, [[2, 1, 0], [3, 2, 1], [4, 3, 2], [5, 4, 3], [6, 5, 4]]
    )
    np.testing.assert_array_equal(y, [3, 4, 5, 6, 7])


def test_the_density_of_garch_is_its_recursion():
    name = "garch-garch11"
    joint, report = with_elbo_tfp.model(name)
    d, f64 = problem.data(name), with_elbo_tfp.f64
    mu, alpha0, alpha1, share = 5.0, 1.4, 0.6, 0.75
    variance = [d["sigma1"] ** 2]
    for before in d["y"][:-1]:
        pushed = alpha0 + alpha1 * (before - mu) ** 2
        variance.append(pushed + (1 - alpha1) * share * variance[-1])
    exact = stats.norm(mu, np.sqrt(variance)).logpdf(d["y"]).sum()
    exact += stats.norm(0, 1_000).logpdf(mu) + stats.halfnorm(0, 1_000).logpdf(alpha0)
    exact += stats.beta(1, 2).logpdf(alpha1)
    z = {"mu": f64(mu), "alpha0": f64(alpha0), "alpha1": f64(alpha1)}
    z["share"] = f64(share)
    assert abs(joint.log_prob(z) - exact) < 1e-8
    z = {key: value[None] for key, value in z.items()}
    np.testing.assert_allclose(report(z), [[mu, alpha0, alpha1, 0.3]])


def test_means_errors_and_differences_of_a_row():
    one = {"elbo": 1.0, "elbo_error": 0.3, "seconds": 9.0}
    one |= {"mean": [0.0, 2.5], "stddev": [1.0, 1.0]}
    ours = [one, one | {"elbo": 3.0, "elbo_error": 0.4}]
    theirs = [{"elbo": 5.0, "elbo_error": 0.1, "seconds": 4.0}]
    fits = {"ours": ours, "same": theirs, "own": theirs}
    reference = {"names": ["a", "b"], "mean": [1.0, 1.0], "stddev": [2.0, 0.5]}
    found = posteriordb.row(SCHOOLS, "mean_field", fits, reference)
    # between the fits 2, of the draws (0.09 + 0.16) / 2; two fits
    error = ((2 + 0.125) / 2) ** 0.5
    assert (found["elbo"], found["difference"]) == (2.0, -3.0)
    assert found["elbo_error"] == pytest.approx(error)
    assert found["difference_error"] == pytest.approx(np.hypot(error, 0.1))
    assert (found["mean_off"], found["mean_off_at"]) == (3.0, "b")
    assert found["stddev_ratio"] == [0.5, 2.0]
    assert len(posteriordb.table([found]).splitlines()) == 2
