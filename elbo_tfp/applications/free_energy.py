"""Variational free energy, minus the ELBO, and what a point drops of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import bounds
from elbo_tfp.applications.energy import (
    checked,
    curvature,
    energy,
    gauss_newton_curvature,
)
from elbo_tfp.applications.hierarchy import Hierarchy
from elbo_tfp.draws import draw
from elbo_tfp.ground.checks import wrong

tfd = tfp.distributions


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


def free_energy(net: Hierarchy, x, q, *, sample_size=1_000, seed=None) -> FreeEnergy:
    """F = E_q[-log p(x, z)] - H[q] = -ELBO, with what a point q drops kept apart.

    Args:
        net: the hierarchy.
        x: data, `[B, d_0]`.
        q: a distribution over z of batch shape `[B]`; or latents `[B, D]`, a point.
        sample_size: number of draws from q.
        seed: of the draws; a point needs none.
    """
    x = checked(net, x)
    if not hasattr(q, "sample"):
        z = tf.convert_to_tensor(q, x.dtype)
        if z.shape != (x.shape[0], sum(net.sizes[1:])):
            raise wrong(
                f"q, or a point [{x.shape[0]}, {sum(net.sizes[1:])}]", f"{z.shape}"
            )
        kept = energy(net, x, z)
        return FreeEnergy(kept, tf.zeros_like(kept) - np.inf, tf.zeros_like(kept))
    draws = draw(net.model().log_joint(x), q, sample_size, seed=seed)
    parts = [-tf.reduce_mean(log, 0) for log in (draws.log_p, draws.log_q)]
    return FreeEnergy(*parts, bounds.standard_error(draws))


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

    Source: Friston et al. (2007), who keep the energy to second order: that number is
    no bound. `free_energy` of this q is one.
    """
    bend = gauss_newton_curvature if gauss_newton else curvature
    curve = bend(net, checked(net, x), z)
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
