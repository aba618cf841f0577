"""The energy -log p(x, z) of a hierarchy, its slope and its curvature, by layers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.applications.hierarchy import Hierarchy, log_normaliser
from elbo_tfp.ground.checks import wrong


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


def top_down(net: Hierarchy, x) -> tf.Tensor:
    """Latents without an error above the data: each layer as predicted, `[B, D]`."""
    top = tf.convert_to_tensor(net.biases[-1])
    units = [tf.broadcast_to(top, [tf.shape(x)[0], net.sizes[-1]])]
    for level in range(len(net.weights) - 1, 0, -1):
        units.append(net.predict(level, units[-1]))
    return tf.concat(units, -1)


def curvature(net: Hierarchy, x, z) -> tf.Tensor:
    """The Hessian of the energy in z, `[B, D, D]`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        slope = -force(net, x, z)
    found = tape.batch_jacobian(slope, z)
    return (found + tf.linalg.matrix_transpose(found)) / 2


def gauss_newton_curvature(net: Hierarchy, x, z) -> tf.Tensor:
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


def checked(net: Hierarchy, x) -> tf.Tensor:
    """Data as a tensor, `[B, d_0]`, of the hierarchy's dtype and finite."""
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
