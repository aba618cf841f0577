"""Predictive coding: inference and learning by prediction errors that stay local.

Every unit knows the error of its own prediction and those of the units that it
predicts; nothing else. Inference moves the latents down the energy -log p(x, z), which
is the free energy of a point q without its entropy. Learning moves each weight by the
error below it times the activity above it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import bounds
from elbo_tfp.applications.hierarchy import Hierarchy, log_normaliser
from elbo_tfp.draws import draw
from elbo_tfp.ground.checks import number, real, whole, wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.types import Estimate, with_gradient_of

tfd = tfp.distributions


class Relaxation(NamedTuple):
    """Where the latents of a batch came to rest."""

    z: tf.Tensor
    """The latents (x_L, ..., x_1), `[B, D]`."""
    energy: tf.Tensor
    """-log p(x, z) there, `[B]`, nats."""
    force: tf.Tensor
    """The largest slope of the energy that is left, `[B]`; 0 at the fixed point."""


class FreeEnergy(NamedTuple):
    """Variational free energy, minus the ELBO, in its two parts."""

    energy: tf.Tensor
    """E_q[-log p(x, z)], `[B]`, nats: all that a point q keeps."""
    entropy: tf.Tensor
    """H[q], `[B]`, nats; minus infinity for a point."""
    standard_error: tf.Tensor
    """Monte Carlo error of `total`, `[B]`, nats; 0 for a point."""

    @property
    def total(self) -> tf.Tensor:
        """Energy minus entropy = -ELBO >= -log p(x), `[B]`, nats."""
        return self.energy - self.entropy


class LocalGradients(NamedTuple):
    """The gradient of the mean log p(x, z): upwards, per datum, nats."""

    weights: tuple
    """One per layer, shaped like W_l."""
    biases: tuple
    """One per layer, shaped like b_l, the top included."""


def prediction_errors(net: Hierarchy, x, z) -> list[tuple]:
    """For l = 0 to L the error e_l, the slope f'(a_l) and the layer that predicts it.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        z: latents, `[..., B, D]`.
    """
    units, found = [x, *net.split(z)], []
    for level, scale in enumerate(net.scales[:-1]):
        drive, above = net.drive(level, units[level + 1]), units[level + 1]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(drive)
            predicted = net.activations[level](drive)
        slope = tape.gradient(predicted, drive, unconnected_gradients="zero")
        # e_l = (x_l - f_l(a_l)) / s_l^2
        found.append(((units[level] - predicted) / scale**2, slope, above))
    top = (units[-1] - net.biases[-1]) / net.scales[-1] ** 2
    return [*found, (top, tf.ones_like(top), None)]


def energy(net: Hierarchy, x, z) -> tf.Tensor:
    """-log p(x, z), `[..., B]`, nats."""
    found = 0.0
    errors = [error for error, _, _ in prediction_errors(net, x, z)]
    for error, size, scale in zip(errors, net.sizes, net.scales, strict=True):
        # sum over layers of s^2 |e|^2 / 2 + d log(s sqrt(2 pi))
        found += scale**2 * tf.reduce_sum(error**2, -1) / 2
        found += log_normaliser(size, scale)
    return found


def force(net: Hierarchy, x, z) -> tf.Tensor:
    """d log p(x, z) / dz, `[..., B, D]`, from each unit's neighbours alone."""
    layers, found = prediction_errors(net, x, z), []
    pairs = zip(net.weights, layers[:-1], layers[1:], strict=True)
    for weight, (below, slope, _), (own, _, _) in pairs:
        # dx_l/dt = W_{l-1}' (f'(a_{l-1}) e_{l-1}) - e_l
        found.append(tf.einsum("ij,...i->...j", weight, slope * below) - own)
    return tf.concat(found[::-1], -1)


def relax(
    net: Hierarchy, x, *, num_steps=500, step_size=0.01, momentum=0.0, start=None
) -> Relaxation:
    """Inference: the latents follow their prediction errors, compiled with XLA.

    Where the activations are linear the fixed point is the exact posterior mean;
    otherwise it is a mode, which one may depend on the start.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        num_steps: number of steps.
        step_size: of each; below 2 / (largest curvature) the energy falls.
        momentum: share of the last step that is added to the next, from 0 to below 1.
        start: latents to start at, `[B, D]`; None is what the top layer's mean
            predicts for all below.

    Raises:
        ValueError: if x or `start` does not fit or is not finite, or the energy rose:
            then the message names the curvature and a step size to try. In a graph
            the latents of such data are NaN.

    Source: Rao and Ballard (1999); Bogacz (2017).
    """
    x = _data(net, x)
    num_steps = whole("num_steps", num_steps)
    step_size = real("step_size", step_size)
    momentum = real("momentum", momentum, "[0, 1)")
    begin = top_down(net, x) if start is None else tf.convert_to_tensor(start)
    if begin.shape != (x.shape[0], sum(net.sizes[1:])) or begin.dtype != x.dtype:
        expected = f"start [{x.shape[0]}, {sum(net.sizes[1:])}] of {x.dtype.name}"
        raise wrong(expected, f"{begin.shape} of {begin.dtype.name}")

    def run(*arguments):
        return _rest(net, *arguments)

    numbers = [tf.constant(v, x.dtype) for v in (step_size, momentum)]
    arguments = (x, begin, tf.constant(num_steps), *numbers)
    if not tf.executing_eagerly():
        return run(*arguments)
    found = compiled(run, *arguments)(*arguments)
    worse = int(np.sum(np.isnan(found.energy)))
    if worse:
        raise _diverged(net, x, begin, step_size, worse)
    return found


def top_down(net: Hierarchy, x) -> tf.Tensor:
    """Latents without an error above the data: each layer as predicted, `[B, D]`."""
    top = tf.convert_to_tensor(net.biases[-1])
    units = [tf.broadcast_to(top, [tf.shape(x)[0], net.sizes[-1]])]
    for level in range(len(net.weights) - 1, 0, -1):
        units.append(net.predict(level, units[-1]))
    return tf.concat(units, -1)


def laplace(net: Hierarchy, x, z, *, gauss_newton=False) -> tfd.Distribution:
    """Laplace's q: N(z, H^-1), H the curvature of the energy at its minimum z.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        z: where `relax` came to rest, `[B, D]`.
        gauss_newton: whether H leaves out f'', as if f were linear around z. It is
            positive at every z then, and the same where f is linear.

    Raises:
        ValueError: if the curvature is not positive at a z: it is no minimum.

    Source: Friston et al. (2007).
    """
    curve = (_gauss_newton if gauss_newton else curvature)(net, _data(net, x), z)
    if tf.executing_eagerly() and not np.min(np.linalg.eigvalsh(curve)) > 0:
        raise wrong(
            "z at a minimum of the energy",
            f"a smallest curvature of {np.min(np.linalg.eigvalsh(curve)):.3g}",
            "Relax with more steps or from another start, or pass gauss_newton=True.",
        )
    # H = R R' with R upper triangular: L = R'^-1 is lower, and L L' = H^-1
    upper = tf.reverse(tf.linalg.cholesky(tf.reverse(curve, [-2, -1])), [-2, -1])
    identity = tf.eye(z.shape[-1], batch_shape=z.shape[:1], dtype=upper.dtype)
    factor = tf.linalg.triangular_solve(tf.linalg.matrix_transpose(upper), identity)
    return tfd.MultivariateNormalTriL(z, factor)


def curvature(net: Hierarchy, x, z) -> tf.Tensor:
    """The Hessian of the energy in z, `[B, D, D]`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        slope = -force(net, x, z)
    found = tape.batch_jacobian(slope, z)
    return (found + tf.linalg.matrix_transpose(found)) / 2


def _gauss_newton(net, x, z):
    """J' J with J = d(s_l e_l) / dz, `[B, D, D]`: block tridiagonal."""
    sizes, top = net.sizes, len(net.weights)
    blocks = [[None] * (top + 1) for _ in range(top + 1)]
    for level, (_, slope, _) in enumerate(prediction_errors(net, x, z)[:-1]):
        scale = net.scales[level]
        down = slope[..., tf.newaxis] * net.weights[level] / scale
        own = tf.eye(sizes[level + 1], dtype=z.dtype) / net.scales[level + 1] ** 2
        blocks[level + 1][level + 1] = own + tf.matmul(down, down, transpose_a=True)
        blocks[level][level + 1] = -down / scale
        blocks[level + 1][level] = -tf.linalg.matrix_transpose(down) / scale
    rows = []
    for i in range(top, 0, -1):
        zeros = [
            tf.zeros([*z.shape[:-1], sizes[i], sizes[j]], z.dtype)
            for j in range(top + 1)
        ]
        row = [zeros[j] if b is None else b for j, b in enumerate(blocks[i])]
        rows.append(tf.concat(row[:0:-1], -1))
    return tf.concat(rows, -2)


def free_energy(net: Hierarchy, x, q, *, sample_size=1_000, seed=None) -> FreeEnergy:
    """F = E_q[-log p(x, z)] - H[q] = -ELBO, with what a point q drops kept apart.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        q: a distribution over z of batch shape `[B]`; or latents `[B, D]`, a point.
        sample_size: number of draws from q.
        seed: of the draws; a point needs none.
    """
    x = _data(net, x)
    if not hasattr(q, "sample"):
        kept = energy(net, x, tf.convert_to_tensor(q))
        return FreeEnergy(kept, tf.zeros_like(kept) - np.inf, tf.zeros_like(kept))
    draws = draw(net.model().log_joint(x), q, sample_size, seed=seed)
    parts = [-tf.reduce_mean(log, 0) for log in (draws.log_p, draws.log_q)]
    return FreeEnergy(*parts, bounds.standard_error(draws))


def local_gradients(net: Hierarchy, x, z) -> LocalGradients:
    """Hebb's rule: the error below times the activity above, averaged.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        z: latents `[B, D]`, or draws from q, `[S, B, D]`.

    Returns:
        The gradient of the mean of log p(x, z) over samples and data at fixed z: that
        of the ELBO per datum if z are draws from q.

    Source: Friston (2005); Bogacz (2017).
    """
    weights, biases = [], []
    for error, slope, above in prediction_errors(net, x, z):
        rows = tf.reshape(slope * error, [-1, error.shape[-1]])
        biases.append(tf.reduce_mean(rows, 0))
        if above is not None:
            above = tf.reshape(above, [-1, above.shape[-1]])
            count = tf.cast(tf.shape(rows)[0], rows.dtype)
            # dW_l = mean of (f'(a_l) e_l) x_{l+1}'
            weights.append(tf.matmul(rows, above, transpose_a=True) / count)
    return LocalGradients(tuple(weights), tuple(biases))


def local_objective(
    net: Hierarchy, covariance=None, *, num_steps=50, step_size=0.01, momentum=0.0
):
    """What `fit` climbs to learn a hierarchy by local updates alone.

    Each step relaxes the latents of its batch from the top-down prediction, puts q
    there, draws from it once, and hands `fit` Hebb's gradient. No gradient passes
    through the relaxation.

    Args:
        net: the hierarchy; its variables are what is learned.
        covariance: None for a point; a positive number for N(z, width^2 I), noise of
            fixed width; `"laplace"` for N(z, H^-1).
        num_steps: of the relaxation, as in `relax`.
        step_size: of the relaxation, as in `relax`.
        momentum: of the relaxation, as in `relax`.

    Returns:
        A function of `seed` and `batch` that returns an `Estimate`: of the ELBO, `[B]`,
        or for a point of log p(x, z), which is no bound. Where a relaxation raises the
        energy it is NaN, and `fit` stops.

    Raises:
        ValueError: if an argument is out of range.
    """
    num_steps = whole("num_steps", num_steps)
    step_size = real("step_size", step_size)
    momentum = real("momentum", momentum, "[0, 1)")
    if not (covariance is None or covariance == "laplace"):
        covariance = real("covariance", covariance, remedy='Or None, or "laplace".')

    def objective(seed, batch):
        batch = _data(net, batch)
        begin = top_down(net, batch)
        rest = _rest(net, batch, begin, num_steps, step_size, momentum)
        z = tf.stop_gradient(rest.z)
        z, entropy = _drawn(net, batch, z, covariance, seed)
        value = entropy - energy(net, batch, z)
        gradients = local_gradients(net, batch, z)
        # its value is zero, its gradient dW and db
        moved = _linear(net.weights, gradients.weights)
        moved += _linear(net.biases, gradients.biases)
        surrogate = tf.stop_gradient(value) + moved
        return Estimate(value, with_gradient_of(value, surrogate), value)

    return objective


def _drawn(net, x, z, covariance, seed):
    """One draw from q around z, and the entropy of q, `[B]`, nats."""
    if covariance is None:
        return z, tf.zeros_like(z[:, 0])
    if covariance == "laplace":
        q = laplace(net, x, z, gauss_newton=True)
    else:
        q = tfd.MultivariateNormalDiag(
            z, tf.fill(z.shape[-1:], number(covariance, z.dtype))
        )
    z = q.sample(seed=as_seed(seed))
    return tf.stop_gradient(z), tf.stop_gradient(
        tf.broadcast_to(q.entropy(), z.shape[:1])
    )


def _linear(parameters, gradients):
    """sum <stop(dW), W - stop(W)>: zero, with the gradient dW; constants have none."""
    terms = [
        tf.reduce_sum(tf.stop_gradient(g) * (p - tf.stop_gradient(p)))
        for p, g in zip(parameters, gradients, strict=True)
    ]
    return tf.add_n(terms)


def _rest(net, x, z, num_steps, step_size, momentum) -> Relaxation:
    """The relaxation from z; NaN for data whose energy it raised."""

    def body(step, z, velocity):
        # a step along the force, and a share of the last one
        velocity = momentum * velocity + step_size * force(net, x, z)
        return step + 1, z + velocity, velocity

    before, begin = energy(net, x, z), (0, z, tf.zeros_like(z))
    z = tf.while_loop(lambda step, *_: step < num_steps, body, begin)[1]
    safe = energy(net, x, z) <= before + _slack(before)
    z = tf.where(safe[:, tf.newaxis], z, np.nan)
    left = tf.reduce_max(tf.abs(force(net, x, z)), -1)
    return Relaxation(z, energy(net, x, z), left)


def _slack(before):
    """What rounding may add to an energy."""
    return 100 * np.finfo(before.dtype.name).eps * (1 + tf.abs(before))


def _data(net, x):
    x = tf.convert_to_tensor(x)
    dtype = net.biases[0].dtype
    fits = x.shape.rank == 2 and x.shape[0] and x.shape[1] == net.sizes[0]
    if not fits or x.dtype != dtype:
        raise wrong(
            f"data [B, {net.sizes[0]}] of dtype {tf.as_dtype(dtype).name}",
            f"shape {x.shape} and dtype {x.dtype.name}",
        )
    bad = int(np.sum(~np.isfinite(x))) if tf.executing_eagerly() else 0
    if bad:
        raise wrong("finite data", f"{bad} of {tf.size(x)} values", "Drop those rows.")
    return x


def _diverged(net, x, begin, step_size, count):
    """The error for a relaxation that raised the energy."""
    largest = float(np.max(np.linalg.eigvalsh(curvature(net, x, begin))))
    return wrong(
        "a step_size at which the energy falls",
        f"{step_size}, and a higher energy for {count} of {len(x)} data",
        f"The curvature at the start reaches {largest:.3g}: "
        f"try step_size={1 / max(largest, 1e-6):.1g} or less.",
    )
