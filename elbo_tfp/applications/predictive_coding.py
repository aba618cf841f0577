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

from elbo_tfp.applications.energy import (
    checked,
    curvature,
    energy,
    force,
    prediction_errors,
    top_down,
)
from elbo_tfp.applications.free_energy import laplace
from elbo_tfp.applications.hierarchy import Hierarchy
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


class LocalGradients(NamedTuple):
    """The gradient of the mean log p(x, z): upwards, per datum, nats."""

    weights: tuple
    """One per layer, shaped like W_l."""
    biases: tuple
    """One per layer, shaped like b_l, the top included."""


def relax(
    net: Hierarchy, x, *, num_steps=500, step_size=0.01, momentum=0.0, start=None
) -> Relaxation:
    """Inference: the latents follow their prediction errors, compiled with XLA.

    Where the activations are linear the fixed point is the exact posterior mean (it
    holds no covariance); otherwise it is a mode, which one may depend on the start.

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
    x = checked(net, x)
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


def local_gradients(net: Hierarchy, x, z) -> LocalGradients:
    """Hebb's rule, or the delta rule: error below times activity above, averaged.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        z: latents `[B, D]`, or draws from q, `[S, B, D]`.

    Returns:
        The gradient of the mean of log p(x, z) over samples and data at fixed z: if z
        are draws from q, that of the ELBO per datum at a fixed q. It leaves out how q
        itself may move with the weights.

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
    through the relaxation or the entropy, so with a width this is the gradient of the
    ELBO at a fixed q, and all of it only where q is the best of its family.

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
        batch = checked(net, batch)
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
    entropy = tf.broadcast_to(q.entropy(), z.shape[:1])
    return tuple(map(tf.stop_gradient, (q.sample(seed=as_seed(seed)), entropy)))


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


def _diverged(net, x, begin, step_size, count):
    """The error for a relaxation that raised the energy."""
    largest = float(np.max(np.linalg.eigvalsh(curvature(net, x, begin))))
    return wrong(
        "a step_size at which the energy falls",
        f"{step_size}, and a higher energy for {count} of {len(x)} data",
        f"The curvature at the start reaches {largest:.3g}: "
        f"try step_size={1 / max(largest, 1e-6):.1g} or less.",
    )
