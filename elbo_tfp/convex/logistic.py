"""A convex corner: bounds of Bayesian logistic regression that need no sampling.

w ~ N(m0, s0^2 I), y_n given w ~ Bernoulli(sigmoid(x_n' w)). Two quadratics bound the
likelihood and give a Gaussian integral; a third bound is the ELBO of the best Gaussian
q, which is concave in its mean and Cholesky factor. In this order they rise:

    bohning <= jaakkola_jordan <= gaussian_concave <= log p(y)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.compiled import compiled


class GaussianBound(NamedTuple):
    """A lower bound on log p(y) and the Gaussian over the weights that attains it."""

    value: tf.Tensor
    """The bound, scalar, nats."""
    loc: tf.Tensor
    """Mean of the Gaussian, `[D]`."""
    covariance: tf.Tensor
    """Its covariance, `[D, D]`."""
    certificate: tf.Tensor
    """How far `value` can lie below the optimum of its own family, nats: proven by
    strong concavity for `gaussian_concave`; the last rise for the fixed points."""
    num_steps: tf.Tensor
    """Steps taken."""


def jaakkola_jordan(
    features, labels, *, prior_loc=0.0, prior_scale=1.0, tolerance=1e-10, max_steps=1000
) -> GaussianBound:
    """The bound by a quadratic whose curvature adapts to each datum.

    It is the ELBO of the model augmented with one Polya-Gamma variable per datum, so
    it lies below the ELBO of the best Gaussian.

    Args:
        features: x, `[N, D]`, float; add a column of ones for an intercept.
        labels: y, `[N]`, 0 or 1.
        prior_loc: m0, scalar or `[D]`.
        prior_scale: s0, scalar or `[D]`, standard deviations.
        tolerance: stop when a step raises the bound by less, nats.
        max_steps: at most so many fixed-point steps.

    Raises:
        ValueError: for other shapes, labels that are not 0 or 1, data that are not
            finite, or no convergence within `max_steps`.

    Source: Jaakkola and Jordan (2000), equations 7 to 13; Durante and Rigon (2019).
    """
    problem = Problem.of(features, labels, prior_loc, prior_scale)
    return _fixed_point(problem, _adaptive, tolerance, max_steps, "jaakkola_jordan")


def _adaptive(problem, loc, covariance):
    # xi_n^2 = x_n' (S + m m') x_n
    variance = tf.reduce_sum(tf.matmul(problem.x, covariance) * problem.x, -1)
    xi = tf.sqrt(variance + tf.square(tf.linalg.matvec(problem.x, loc)))
    # lambda(xi) = tanh(xi / 2) / (4 xi)
    half = tf.maximum(xi / 2, 1e-8)
    curvature = tf.tanh(half) / (8 * half)
    # log p(y | a) >= (y - 1/2) a - lambda a^2 + log sigmoid(xi) - xi/2 + lambda xi^2
    constant = tf.math.log_sigmoid(xi) - xi / 2 + curvature * xi**2
    return problem.integrate(2 * curvature, problem.y - 0.5, constant)


def bohning(
    features,
    labels,
    *,
    prior_loc=0.0,
    prior_scale=1.0,
    tolerance=1e-10,
    max_steps=10_000,
) -> GaussianBound:
    """The bound by a quadratic of fixed curvature 1/4, the largest the likelihood has.

    Args, returns and errors: as `jaakkola_jordan`. One covariance serves all steps.

    Source: Boehning (1992); Murphy (2012), section 21.8.2.
    """
    problem = Problem.of(features, labels, prior_loc, prior_scale)
    return _fixed_point(problem, _fixed, tolerance, max_steps, "bohning")


def _fixed(problem, loc, _):
    # at psi = X m, with b' = sigmoid(psi):
    # log(1 + e^a) <= b + b' (a - psi) + (a - psi)^2 / 8
    psi = tf.linalg.matvec(problem.x, loc)
    slope = tf.sigmoid(psi)
    constant = -tf.math.softplus(psi) + slope * psi - psi**2 / 8
    linear = problem.y - slope + psi / 4
    return problem.integrate(tf.ones_like(psi) / 4, linear, constant)


class Problem(NamedTuple):
    """Checked data and prior of a regression with a Gaussian prior."""

    x: tf.Tensor
    """Features, `[N, D]`."""
    y: tf.Tensor
    """Labels, `[N]`, floating."""
    prior_loc: tf.Tensor
    """m0, `[D]`."""
    prior_scale: tf.Tensor
    """s0, `[D]`."""

    @classmethod
    def of(cls, features, labels, prior_loc, prior_scale, binary=True) -> Problem:
        """Tensors from user input; ValueError if they are not what they claim."""
        x = tf.convert_to_tensor(features)
        if x.shape.rank != 2 or not x.dtype.is_floating:
            raise wrong(
                "features [N, D] of floats", f"shape {x.shape} and dtype {x.dtype.name}"
            )
        y = tf.cast(labels, x.dtype)
        if y.shape != x.shape[:1]:
            raise wrong(f"labels {x.shape[:1]}", f"shape {y.shape}")
        shape = x.shape[1:]
        loc, scale = (
            tf.broadcast_to(tf.cast(v, x.dtype), shape)
            for v in (prior_loc, prior_scale)
        )
        if tf.executing_eagerly():
            _check_values(x, y, loc, scale, binary)
        return cls(x, y, loc, scale)

    def precision(self, curvature):
        """The posterior precision, diag(1 / s0^2) + X' diag(curvature) X."""
        gram = tf.matmul(self.x, self.x * curvature[:, tf.newaxis], transpose_a=True)
        return tf.linalg.diag(self.prior_scale**-2) + gram

    def integrate(self, curvature, linear, constant):
        """log of the integral of the prior times exp(sum_n constant + l a - c a^2 / 2).

        Returns:
            The integral's logarithm (nats), the Gaussian's mean and covariance.
        """
        precision = self.precision(curvature)
        chol = tf.linalg.cholesky(precision)
        prior_precision = self.prior_scale**-2
        # P m = P0 m0 + X' l
        shift = prior_precision * self.prior_loc + tf.linalg.matvec(
            self.x, linear, transpose_a=True
        )
        loc = tf.linalg.cholesky_solve(chol, shift[:, tf.newaxis])[:, 0]
        # log Z = (log |S| - log |S0| + m' P m - m0' P0 m0) / 2 + sum_n constant
        log_det = -tf.reduce_sum(tf.math.log(tf.linalg.diag_part(chol)))
        log_det -= tf.reduce_sum(tf.math.log(self.prior_scale))
        quadratic = tf.tensordot(loc, shift, 1) - tf.reduce_sum(
            prior_precision * self.prior_loc**2
        )
        value = log_det + quadratic / 2 + tf.reduce_sum(constant)
        identity = tf.eye(self.x.shape[1], dtype=self.x.dtype)
        return value, loc, tf.linalg.cholesky_solve(chol, identity)


def _fixed_point(problem, step, tolerance, max_steps, name) -> GaussianBound:
    """Iterates `step`, each of which cannot lower the bound, until it stops rising."""

    def loop(problem, tolerance, max_steps):
        infinite = tf.constant(float("inf"), problem.x.dtype)

        def body(i, value, loc, covariance, _):
            new, loc, covariance = step(problem, loc, covariance)
            return i + 1, new, loc, covariance, tf.abs(new - value)

        def rising(i, value, loc, covariance, rise):
            return (i < max_steps) & ~(rise < tolerance)

        covariance = tf.linalg.diag(problem.prior_scale**2)
        start = (0, -infinite, problem.prior_loc, covariance, infinite)
        steps, value, loc, covariance, rise = tf.while_loop(rising, body, start)
        return GaussianBound(value, loc, covariance, rise, steps)

    bound = run(loop, problem, tolerance, max_steps)
    check_converged(bound.certificate, tolerance, bound.num_steps, name)
    return bound


def run(loop, problem, tolerance, max_steps) -> GaussianBound:
    """`loop(problem, tolerance, max_steps)` as a graph; a graph's own part in one."""
    tolerance = tf.cast(tolerance, problem.x.dtype)
    arguments = problem, tolerance, tf.constant(max_steps)
    if not tf.executing_eagerly():
        return loop(*arguments)
    return compiled(loop, *arguments, jit_compile=False)(*arguments)


def check_converged(certificate, tolerance, steps, name):
    """Raises ValueError if an optimum was not reached (visible in eager mode only)."""
    if tf.executing_eagerly() and not float(certificate) < tolerance:
        raise wrong(
            f"{name} to come within {tolerance:g} nats of its optimum",
            f"{float(certificate):g} after {int(steps)} steps",
            "Use float64, standardise the features, or allow more max_steps.",
        )


def _check_values(x, y, loc, scale, binary):
    finite = all(bool(tf.reduce_all(tf.math.is_finite(v))) for v in (x, y, loc, scale))
    if not finite or not bool(tf.reduce_all(scale > 0)):
        raise wrong(
            "finite features, labels and prior, and prior_scale > 0",
            "NaN, infinity or a scale that is not positive",
        )
    if binary and not bool(tf.reduce_all((y == 0) | (y == 1))):
        found = sorted(set(y.numpy().tolist()))[:5]
        raise wrong("labels 0 and 1", found, "Recode -1 as 0.")
