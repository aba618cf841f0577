"""Gaussians over a path of states, each of which hangs on the one before."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from elbo_tfp.distributions.markov import MarkovGaussian
from elbo_tfp.families.base import Family, positive, raw_of_positive
from elbo_tfp.families.gaussian import scaled_tril
from elbo_tfp.ground.checks import whole, wrong


def markov(
    num_steps: int,
    state_size: int = 1,
    *,
    coupled: bool = True,
    loc=0.0,
    scale=1.0,
    batch_shape=(),
    dtype=tf.float32,
    seed=None,
) -> Family:
    """z_t = m_t + A_t (z_t-1 - m_t-1) + L_t epsilon_t, a Gaussian chain in time.

    With A = 0 it is independent from step to step, which is where it starts; with all
    its parameters it holds the exact posterior of every linear-Gaussian state space
    model. A network names a member by `parameters_size / num_steps` numbers for each
    step, in the order m, scales, A, and what stands below the diagonal of L.

    Args:
        num_steps: T, the length of the path.
        state_size: K, the size of a state.
        coupled: False leaves A and the off-diagonal of L out: mean field.
        loc: where the means start, broadcast to `[T, K]`.
        scale: where the scales L_tkk start, positive, broadcast to `[T, K]`.
        batch_shape: as in `mean_field`.
        dtype: floating type.
        seed: as in `mean_field`.

    Returns:
        A `Family` of event shape `[T, K]`. Its members also have `given(step,
        previous)`, which `particle_filter` proposes from, and `marginal_covariance()`.

    Raises:
        ValueError: if sizes are not positive ints, or `loc` and `scale` do not fit.

    Source: Archer, Park, Buesing, Cunningham and Paninski (2015), section 3.
    """
    steps = whole("num_steps", num_steps, 1, "It is the length of the path.")
    size = whole("state_size", state_size, 1, "A scalar state has size 1.")
    below = size * (size - 1) // 2
    sizes = [size, size, size * size, below] if coupled else [size, size]
    each = sum(sizes)

    def build(parameters):
        lead = tf.shape(parameters)[:-1]
        rows = tf.reshape(parameters, tf.concat([lead, [steps, each]], 0))
        rows = tf.ensure_shape(rows, [*parameters.shape[:-1], steps, each])
        if not coupled:
            mean, raw = tf.split(rows, sizes, -1)
            tril = tf.linalg.diag(positive(raw))
            return MarkovGaussian(mean, tf.zeros_like(tril), tril)
        mean, raw, a, rest = tf.split(rows, sizes, -1)
        a = tf.reshape(a, tf.concat([tf.shape(a)[:-1], [size, size]], 0))
        a = tf.ensure_shape(a, [*rows.shape[:-1], size, size])
        # L = diag(s) (I + N), as in full_rank
        return MarkovGaussian(mean, a, scaled_tril(positive(raw), rest, size))

    loc, scale = (
        _fitting(*pair, (steps, size)) for pair in (("loc", loc), ("scale", scale))
    )
    if not (scale > 0).all():
        raise wrong("scale to be positive", scale.min(), "It is a deviation.")
    loc, scale = tf.constant(loc, dtype), tf.constant(scale, dtype)
    nothing = tf.zeros([steps, each - 2 * size], dtype)
    start = tf.reshape(tf.concat([loc, raw_of_positive(scale), nothing], -1), [-1])
    return Family(build, start, batch_shape=batch_shape, seed=seed, name="markov")


def _fitting(name, value, shape):
    value = np.asarray(value, np.float64)
    try:
        if np.isfinite(value).all():
            return np.broadcast_to(value, shape)
    except ValueError:
        pass
    raise wrong(
        f"{name} to be finite, and to broadcast to [T, K] = {list(shape)}",
        f"shape {list(value.shape)}",
        "One number per step has shape [T, 1].",
    )
