"""The tug of war's numbers against the package, in Python and in JavaScript."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.show.interactive import tug_of_war
from tests.show.movable import in_javascript, in_python

tfd = tfp.distributions
POSITIONS = [
    {"mean": m, "scale": s, "beta": b}
    for m, s, b in [(0, 1, 1), (1.6, 0.45, 1), (-2, 0.1, 0.3), (2.5, 1.9, 8)]
]


@pytest.mark.parametrize("run", [in_python, in_javascript])
def test_numbers_are_the_packages(run):
    figure = tug_of_war(2.0, 0.5)
    model = et.models.normal_normal(noise_scale=0.5, dtype=tf.float64)
    for position, found in zip(POSITIONS, run(figure, POSITIONS), strict=True):
        one = tf.constant(1.0, tf.float64)
        q = tfd.Normal(position["mean"] * one, position["scale"])
        # E_q of a quadratic by three nodes, exact
        nodes = np.sqrt(3) * np.array([-1, 0, 1]), np.array([1, 4, 1]) / 6
        z = q.loc + q.scale * nodes[0]
        fit = nodes[1] @ model.likelihood(z).log_prob(2 * one).numpy()
        rate = tfd.kl_divergence(q, model.prior).numpy()
        bound = fit - position["beta"] * rate
        expected = {"reconstruction": fit, "rate": rate, "bound": bound}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12)
        assert found["best"] >= found["bound"] - 1e-12


def test_best_is_the_best_and_log_p_at_weight_one():
    figure = tug_of_war(2.0, 0.5)
    log_p = et.models.normal_normal(noise_scale=0.5, dtype=tf.float64).log_evidence(
        tf.constant(2.0, tf.float64)
    )
    assert figure.values()["best"] == pytest.approx(float(log_p), abs=1e-12)
    for beta in (0.3, 1.0, 5.0):
        here = figure.values(beta=beta)
        at = {"mean": here["m"], "scale": here["v"] ** 0.5, "beta": beta}
        assert figure.values(**at)["bound"] == pytest.approx(here["best"], abs=1e-12)
        for step in (-0.01, 0.01):
            for name in ("mean", "scale"):
                moved = figure.values(**{**at, name: at[name] + step})
                assert moved["bound"] < here["best"] - 1e-6


def test_errors():
    with pytest.raises(ValueError, match="x between -3 and 3; got 4"):
        tug_of_war(4.0)
    with pytest.raises(ValueError, match="noise_scale of at least 0.25; got 0.1"):
        tug_of_war(noise_scale=0.1)
