"""The energy, its slope and its curvature against autodiff."""

import numpy as np
import tensorflow as tf

import elbo_tfp.applications.energy as inner
from elbo_tfp import applications as ap
from tests.applications.nets import RNG, S, X, network


def test_force_and_curvature_are_autodiffs():
    net, z = network(), tf.constant(RNG.normal(size=(5, 6)))
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_p = net.model().log_joint(X)(z)
    np.testing.assert_allclose(inner.force(net, X, z), tape.gradient(log_p, z), 1e-9)
    np.testing.assert_allclose(inner.energy(net, X, z), -log_p, 1e-12)
    # Gauss-Newton: J' J of the scaled errors, by autodiff
    with tf.GradientTape() as tape:
        tape.watch(z)
        layers = inner.prediction_errors(net, X, z)
        parts = [s * e for s, (e, _, _) in zip(S, layers, strict=True)]
        scaled = tf.concat(parts, -1)
    jacobian = tape.batch_jacobian(scaled, z)
    expected = tf.matmul(jacobian, jacobian, transpose_a=True)
    q = ap.laplace(net, X, z, gauss_newton=True)
    np.testing.assert_allclose(np.linalg.inv(q.covariance()), expected, 1e-8)
