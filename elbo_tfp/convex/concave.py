"""The best Gaussian for a log-concave likelihood, with a proof that it is the best."""

from __future__ import annotations

import math
import warnings

import numpy as np
import tensorflow as tf

from elbo_tfp.convex.logistic import GaussianBound, Problem, check_converged, run
from elbo_tfp.ground.checks import wrong


def gaussian_concave(
    features,
    labels,
    *,
    prior_loc=0.0,
    prior_scale=1.0,
    mean_field=False,
    log_likelihood=None,
    num_nodes=64,
    tolerance=1e-9,
    max_steps=500,
) -> GaussianBound:
    """The ELBO of the best Gaussian q = N(m, C C'), with a proof that it is the best.

    Each datum sees one scalar a = x' w, so its expectation is a one-dimensional
    Gauss-Hermite sum, at nodes that are affine in a's mean and in C. The objective is
    therefore concave in (m, C) for a log-concave likelihood, and the prior makes it
    strongly concave with modulus mu = 1 / max s0^2. Hence, at any (m, C),
    ``optimum - value <= |gradient|^2 / (2 mu)``. This is about the sum over nodes; a
    warning says where the integral behind it differs by more than 0.001 nats.

    Args:
        features: x, `[N, D]`, float.
        labels: y, `[N]`.
        prior_loc: m0, scalar or `[D]`.
        prior_scale: s0, scalar or `[D]`, standard deviations.
        mean_field: whether C is diagonal.
        log_likelihood: concave `(a, y) -> log p(y | a)`, elementwise; default logistic.
            Labels are then not restricted to 0 and 1.
        num_nodes: Gauss-Hermite nodes.
        tolerance: stop when the certificate is below it, nats.
        max_steps: at most so many damped Newton steps.

    Raises:
        ValueError: as `jaakkola_jordan`; if `log_likelihood` is not concave at a node;
            if the certificate stays above `tolerance`.

    Source: Opper and Archambeau (2009), equations 16 and 18; concavity: Challis and
    Barber (2013), section 3.2.
    """
    problem = Problem.of(
        features, labels, prior_loc, prior_scale, binary=log_likelihood is None
    )
    log_likelihood = log_likelihood or _log_logistic
    kind = (log_likelihood, num_nodes, mean_field)
    _Objective(problem, *kind).check_concave(*_start(problem))

    def newton(problem, tolerance, max_steps):
        objective = _Objective(problem, *kind)
        return _newton(objective, _start(problem), tolerance, max_steps)

    bound = run(newton, problem, tolerance, max_steps)
    _Objective(problem, *kind).check_concave(bound.loc, bound.covariance)
    check_converged(bound.certificate, tolerance, bound.num_steps, "gaussian_concave")
    if tf.executing_eagerly():
        _check_nodes(bound, problem, *kind)
    return bound


def _check_nodes(bound, problem, log_likelihood, num_nodes, mean_field):
    """Warns where other nodes give another value: the sum is then no integral."""
    other = 2 * num_nodes if num_nodes <= 90 else num_nodes // 2
    objective = _Objective(problem, log_likelihood, other, mean_field)
    value = objective.evaluate(bound.loc, bound.covariance)[0]
    off = abs(float(value - bound.value))
    if off > 1e-3:
        warnings.warn(
            f"{num_nodes} and {other} nodes differ by {off:.1g} nats, so the value is "
            "off by about as much, in either direction: the certificate is about the "
            "sum over nodes. Pass a larger num_nodes (up to 180), or a narrower prior.",
            stacklevel=3,
        )


def _start(problem):
    return problem.prior_loc, tf.linalg.diag(problem.prior_scale**2)


class _Objective:
    """The ELBO as a function of mean and covariance, with its exact gradient."""

    def __init__(self, problem, log_likelihood, num_nodes, mean_field):
        nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
        self.nodes = tf.constant(nodes, problem.x.dtype)
        self.weights = tf.constant(weights / math.sqrt(2 * math.pi), problem.x.dtype)
        self.problem, self.log_likelihood = problem, log_likelihood
        self.mean_field = mean_field

    def scalars(self, loc, covariance):
        """a = x' w at the nodes, `[N, Q]`, and its standard deviation, `[N]`."""
        x = self.problem.x
        scale = tf.sqrt(tf.reduce_sum(tf.matmul(x, covariance) * x, -1))
        # a_q = x' m + |C' x| node_q: affine in m, convex in C
        mean = tf.linalg.matvec(x, loc)
        return mean[:, tf.newaxis] + scale[:, tf.newaxis] * self.nodes, scale

    def expectations(self, loc, covariance):
        """E[log p], E[(log p)'] and the curvature -E[(log p)''], each `[N]`."""
        a, scale = self.scalars(loc, covariance)
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = self.log_likelihood(a, self.problem.y[:, tf.newaxis])
        slope = tape.gradient(value, a)
        # Stein: E[(log p)''] = E[epsilon (log p)'] / scale; where x = 0 nothing asks
        bend = tf.linalg.matvec(slope * self.nodes, self.weights)
        curvature = -tf.math.divide_no_nan(bend, scale)
        return (*(tf.linalg.matvec(v, self.weights) for v in (value, slope)), curvature)

    def evaluate(self, loc, covariance):
        """(ELBO, its gradient in m, the Newton precision, certificate)."""
        problem = self.problem
        value, slope, curvature = self.expectations(loc, covariance)
        prior_precision = problem.prior_scale**-2
        chol = tf.linalg.cholesky(covariance)
        inverse = 1 / tf.linalg.diag_part(chol)
        away = loc - problem.prior_loc
        # KL = (tr(P0 S) + (m - m0)' P0 (m - m0) - D - log |P0 S|) / 2
        log_det = -2 * tf.reduce_sum(tf.math.log(inverse * problem.prior_scale))
        trace = tf.reduce_sum(
            prior_precision * (tf.linalg.diag_part(covariance) + away**2)
        )
        kl = (trace - problem.x.shape[1] - log_det) / 2
        in_loc = (
            tf.linalg.matvec(problem.x, slope, transpose_a=True)
            - prior_precision * away
        )
        target = problem.precision(curvature)
        # d ELBO / dC = C^-T - (P0 + X' diag(curvature) X) C, lower triangle
        in_chol = tf.linalg.diag(inverse) - self.structured(
            tf.linalg.band_part(tf.matmul(target, chol), -1, 0)
        )
        squared = tf.reduce_sum(in_loc**2) + tf.reduce_sum(in_chol**2)
        # strong concavity: optimum - value <= |gradient|^2 / (2 mu), mu = 1 / max s0^2
        certificate = squared * tf.reduce_max(problem.prior_scale) ** 2 / 2
        return tf.reduce_sum(value) - kl, in_loc, target, certificate

    def structured(self, matrix):
        """The part of a matrix that q's covariance may have."""
        if not self.mean_field:
            return matrix
        return tf.linalg.diag(tf.linalg.diag_part(matrix))

    def check_concave(self, loc, covariance):
        """Raises ValueError if the log-likelihood bends upwards at a node."""
        a, y = self.scalars(loc, covariance)[0], self.problem.y[:, tf.newaxis]
        with tf.GradientTape() as outer:
            outer.watch(a)
            with tf.GradientTape() as inner:
                inner.watch(a)
                value = self.log_likelihood(a, y)
            slope = inner.gradient(value, a)
        bend = outer.gradient(slope, a, unconnected_gradients="zero")
        if tf.executing_eagerly() and float(tf.reduce_max(bend)) > 1e-6:
            raise wrong(
                "a log-concave likelihood",
                f"second derivative {float(tf.reduce_max(bend)):.3g} > 0 at a node",
                "The ELBO is then not concave and has no certificate: climb it with "
                "et.fit instead.",
            )


def _newton(objective, start, tolerance, max_steps) -> GaussianBound:
    """Damped natural-gradient steps; a step that lowers the ELBO is taken back."""

    def body(i, loc, covariance, state, rate):
        value, in_loc, target, _ = state
        # T = P0 + X' diag(curvature) X;  S^-1 <- (1 - r) S^-1 + r T
        precision = (1 - rate) * tf.linalg.inv(covariance)
        precision += rate * objective.structured(target)
        new_covariance = tf.linalg.inv((precision + tf.transpose(precision)) / 2)
        # m <- m + r T^-1 gradient
        new_loc = loc + rate * tf.linalg.solve(target, in_loc[:, tf.newaxis])[:, 0]
        new = objective.evaluate(new_loc, new_covariance)
        better = (new[0] >= value) | (new[3] < state[3])
        keep = lambda a, b: tf.where(better, a, b)  # noqa: E731
        return (
            i + 1,
            keep(new_loc, loc),
            keep(new_covariance, covariance),
            tuple(keep(a, b) for a, b in zip(new, state, strict=True)),
            tf.where(better, tf.minimum(2 * rate, tf.ones_like(rate)), rate / 2),
        )

    def going(i, loc, covariance, state, rate):
        return (i < max_steps) & ~(state[3] < tolerance)

    rate = tf.ones([], start[0].dtype)
    loop = (0, *start, objective.evaluate(*start), rate)
    steps, loc, covariance, state, _ = tf.while_loop(going, body, loop)
    return GaussianBound(state[0], loc, covariance, state[3], steps)


def _log_logistic(a, y):
    # log p(y | a) = y a - log(1 + e^a)
    return y * a - tf.math.softplus(a)
