"""Free energy and Laplace's q against quadrature and moments by hand (F14)."""

import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
import elbo_tfp.applications.energy as inner
from elbo_tfp import applications as ap
from tests.applications.nets import food
from tests.statistics import assert_mean, says


def test_fact_fourteen_evidence_and_moments():
    net, u = food()
    found = et.evidence.estimate(net.model(), u, method="quadrature").estimate
    assert float(found[0]) == pytest.approx(-3.236757, abs=5e-7)
    # over v > 0, on a grid of the package's density
    v = np.arange(0.0005, 8, 0.001)
    log_p = -inner.energy(net, u, v[:, np.newaxis, np.newaxis])[:, 0].numpy()
    mass = 0.001 * np.exp(log_p)
    mean = v @ mass / mass.sum()
    sd = np.sqrt((v - mean) ** 2 @ mass / mass.sum())
    found = np.log(mass.sum()), mean, sd
    np.testing.assert_allclose(found, [-3.239377, 1.484703, 0.328158], atol=5e-7)


def test_free_energy_is_minus_the_elbo():
    net, u = food()
    q = ap.laplace(net, u, ap.relax(net, u, step_size=0.05).z)
    found = ap.free_energy(net, u, q, sample_size=4_000, seed=3)
    draws = et.draw(net.model().log_joint(u), q, 4_000, seed=3)
    np.testing.assert_allclose(found.total, -et.bounds.elbo(draws), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.standard_error, et.bounds.standard_error(draws))
    m, s = float(q.mean()[0, 0]), float(q.stddev()[0, 0])
    # E_q of the quartic energy, by hand
    hand = np.log(2 * np.pi) + ((m - 3) ** 2 + s**2) / 2
    hand += (4 - 4 * (m**2 + s**2) + m**4 + 6 * m**2 * s**2 + 3 * s**4) / 2
    hand -= np.log(s) + (np.log(2 * np.pi) + 1) / 2
    terms = -draws.log_weights.numpy()[:, 0]
    assert_mean(terms, hand, fault=0.08)
    assert hand > 3.236757


def test_a_point_has_no_bound():
    net, u = food()
    z = ap.relax(net, u, step_size=0.05).z
    found = ap.free_energy(net, u, z)
    m = 1.5674684
    kept = np.log(2 * np.pi) + ((m - 3) ** 2 + (2 - m**2) ** 2) / 2
    assert float(found.energy[0]) == pytest.approx(kept, abs=1e-7)
    assert float(found.entropy[0]) == -np.inf and float(found.total[0]) == np.inf
    assert float(found.energy[0]) < 3.236757  # as a bound it would exceed log p(u)


def test_a_saddle_is_no_place_for_laplace():
    net, _ = food()
    u = np.full([1, 1], 6.0)
    with says("minimum of the energy", "smallest curvature of -", "gauss_newton=True"):
        ap.laplace(net, u, tf.zeros([1, 1], tf.float64))
    q = ap.laplace(net, u, tf.zeros([1, 1], tf.float64), gauss_newton=True)
    assert float(q.stddev()[0, 0]) == pytest.approx(1.0)


def test_a_point_of_another_shape_is_an_error():
    net, u = food()
    with says("a point [1, 1]", "(2, 1)"):
        ap.free_energy(net, u, [[1.0], [2.0]])
