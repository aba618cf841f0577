"""The two tasks of chapter 16's movable figure against the package's exact answers."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.applications import regress, restrict
from elbo_tfp.show.interactive import forgetting
from tests.show.movable import in_javascript, in_python
from tests.statistics import says

tfd = tfp.distributions
POSITIONS = [
    {"rho": r, "k": k, "v": v}
    for r, k, v in [(0.8, 10, 2), (-0.95, 20, 3), (0, 5, 0), (0.5, 1, 1)]
]


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_it_is_the_packages_regression(run):
    for at, found in zip(POSITIONS, run(forgetting(), POSITIONS), strict=True):
        rho, k, v = at["rho"], at["k"], at["v"]
        first = np.linalg.cholesky(10 * np.array([[1, rho], [rho, 1]])).T
        second = np.sqrt(k) * np.array([[1.0, 0.0]])
        exact = q = tfd.MultivariateNormalTriL(np.zeros(2), tf.eye(2, dtype=tf.float64))
        for X, y in [(first, first @ np.ones(2)), (second, second @ [v, 0.0])]:
            exact, q = regress(exact, X, y), restrict(regress(q, X, y))
        once = float(tfd.kl_divergence(restrict(exact), exact))
        total = float(tfd.kl_divergence(q, exact))
        assert found["once"] == pytest.approx(once, abs=1e-10)
        assert found["total"] == pytest.approx(total, abs=1e-10)
        np.testing.assert_allclose(
            [found["exact_1"], found["exact_2"]], exact.mean(), atol=1e-10
        )
        np.testing.assert_allclose([found["kept_1"], found["kept_2"]], q.mean())
        scales = [found["exact_scale"], found["scale"]]
        hand = [exact.stddev()[1], q.stddev()[1]]
        np.testing.assert_allclose(scales, hand, atol=1e-10)


def test_error():
    with says("'rho' to start between -0.95 and 0.95"):
        forgetting(1.0)
