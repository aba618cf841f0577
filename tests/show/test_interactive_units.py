"""The units of a linear VAE against the package, in Python and in JavaScript."""

import numpy as np
import pytest

import elbo_tfp as et
from elbo_tfp.show.interactive import noise_and_units
from tests.show.movable import in_javascript, in_python

IRIS = et.data.iris()
LAM, AXES = np.linalg.eigh(np.cov(IRIS.T, bias=True))
POSITIONS = [
    {"log10_noise": n, "beta": b}
    for n, b in [(-2, 1), (-1, 1), (0, 1), (1, 8), (-1.5, 3.3), (-0.5, 0.1)]
]


def elbo(noise, beta):
    """By the model itself: its loadings, its posterior at beta sigma^2, its error."""
    held = np.maximum(LAM - beta * noise, 0)
    W = AXES * held**0.5
    x = IRIS - IRIS.mean(0)
    precision = np.eye(4) + W.T @ W / (beta * noise)
    S = np.linalg.inv(precision)
    m = x @ W @ S / (beta * noise)
    error = np.mean(np.sum((x - m @ W.T) ** 2, 1)) + np.trace(W @ S @ W.T)
    rates = (np.mean(m**2, 0) + np.diag(S) - 1 - np.log(np.diag(S))) / 2
    bound = -error / (2 * noise) - 2 * np.log(2 * np.pi * noise) - rates.sum()
    cov = W @ W.T + noise * np.eye(4)
    log_p = -np.linalg.slogdet(2 * np.pi * cov)[1] / 2
    log_p -= np.mean(np.sum(x * np.linalg.solve(cov, x.T).T, 1)) / 2
    return bound, np.sort(rates)[::-1], log_p


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_the_models(run):
    for position, found in zip(
        POSITIONS, run(noise_and_units(LAM), POSITIONS), strict=True
    ):
        noise = 10.0 ** position["log10_noise"]
        bound, rates, log_p = elbo(noise, position["beta"])
        assert found["elbo"] == pytest.approx(bound, abs=1e-9)
        shown = [found[f"rate{j}"] for j in range(1, 5)]
        np.testing.assert_allclose(shown, rates, atol=1e-9)
        assert found["log_p"] == pytest.approx(log_p, abs=1e-9)
        if position["beta"] == 1:
            pca = et.models.probabilistic_pca(IRIS, 4, noise_variance=noise)
            exact = np.mean(pca.log_evidence(IRIS))
            assert found["log_p"] == pytest.approx(exact, abs=1e-9)
        assert found["elbo"] <= found["log_p"] + 1e-12


@pytest.mark.parametrize("bad", [[1.0], [1.0, 0.0], np.ones(5), [1.0, 11.0]])
def test_errors(bad):
    with pytest.raises(ValueError, match="2 to 4 eigenvalues between 0.01 and 10"):
        noise_and_units(bad)
