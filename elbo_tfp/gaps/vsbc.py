"""Variational simulation-based calibration: is q's centre where it should be?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.ground.seeds import split_seed


class Calibration(NamedTuple):
    """How the true latents lie in q, over simulated data; one entry per coordinate."""

    probabilities: np.ndarray
    """P_q(z < true z) for every simulation, `[M, d]`; symmetric about 1/2 if q's centre
    is unbiased."""
    mean: np.ndarray
    """Their mean, `[d]`: above 1/2, q sits too low; below, too high."""
    p_value: np.ndarray
    """Probability of an asymmetry as large as this one by chance, `[d]`."""


def vsbc(
    model, surrogate, *, num_simulations=200, sample_size=500, num_flips=999, seed
) -> Calibration:
    """Simulates data, lets `surrogate` infer, and looks where the truth falls.

    Where q's centre is right on average, P_q(z < true z) is distributed symmetrically
    about 1/2, whatever q's width. The test reflects simulations at random, which is
    exact under that hypothesis.

    Args:
        model: a `LatentVariableModel` (no global prior); z a tensor or a structure.
        surrogate: a callable from simulated data `[M]` + event to a surrogate posterior
            of batch shape `[M]`: an encoder, or a function that fits one.
        num_simulations: M.
        sample_size: draws of each q.
        num_flips: random reflections of the test.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        A `Calibration`; the coordinates of a structure follow one another in the order
        of `tf.nest.flatten`.

    Raises:
        ValueError: if q's samples do not have one row per simulation, or the model has
            a global prior.

    Source: Yao, Vehtari, Simpson and Gelman (2018), algorithm 2. They compare p with 1
    - p by a two-sample Kolmogorov-Smirnov test, which takes the two for independent.
    """
    if model.global_prior is not None:
        raise ValueError("expected a model without a global prior for vsbc.")
    model_seed, q_seed, flip_seed = split_seed(seed, 3)
    truth, x = model.sample(num_simulations, seed=model_seed)
    draws = surrogate(x).sample(sample_size, seed=q_seed)
    tf.nest.map_structure(_check_rows, truth, draws)
    # p_m = P_q(z < z_m)
    p = tf.nest.map_structure(_below, truth, draws)
    p = np.concatenate([np.reshape(v, [num_simulations, -1]) for v in _flat(p)], 1)
    signs = tf.random.stateless_uniform([num_flips, num_simulations], flip_seed) < 0.5
    signs = np.where(signs.numpy(), 1.0, -1.0)
    value = [_p_value(column - 0.5, signs) for column in p.T]
    return Calibration(p, p.mean(0), np.array(value))


def _check_rows(truth, draws):
    if draws.shape[1:] != truth.shape:
        raise ValueError(
            "expected draws of q of shape [sample_size] + that of the simulated z, "
            f"{truth.shape}; got {draws.shape}. q needs one member per simulation: "
            "batch_shape=[num_simulations]."
        )


def _below(truth, draws):
    below = tf.cast(draws < truth, tf.float64) + tf.cast(draws == truth, tf.float64) / 2
    return tf.reduce_mean(below, 0)


def _p_value(centred, signs):
    found = _asymmetry(centred[np.newaxis])
    by_chance = _asymmetry(signs * centred)
    return (1 + np.sum(by_chance >= found - 1e-12)) / (1 + len(signs))


def _asymmetry(centred):
    """sup_t |#{p - 1/2 > t} - #{1/2 - p > t}| / M, the larger humps counted first."""
    order = np.argsort(-np.abs(centred), -1)
    signs = np.take_along_axis(np.sign(centred), order, -1)
    sums = np.abs(np.cumsum(signs, -1))
    return sums.max(-1) / centred.shape[-1]


def _flat(structure):
    return [np.asarray(v) for v in tf.nest.flatten(structure)]
