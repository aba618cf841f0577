"""Values for what is missing, with the uncertainty of the model that fills them in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from elbo_tfp.draws import draw
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.seeds import split_seed
from elbo_tfp.ground.structures import as_data
from elbo_tfp.models.latent import LatentVariableModel


class Imputation(NamedTuple):
    """What a model says of the missing values; observed ones stand as they came."""

    mean: tf.Tensor
    """E[x_m | x_o], `[B]` + event: the guess of least squared error."""
    stddev: tf.Tensor
    """Standard deviation of x_m given x_o, `[B]` + event; 0 where observed."""
    mean_error: tf.Tensor
    """Monte Carlo standard error of `mean`, `[B]` + event; 0 where observed."""
    effective_sample_size: tf.Tensor
    """(sum w)^2 / sum w^2, `[B]`: below some ten, trust none of the other numbers."""
    draws: tf.Tensor
    """Completed data, `[num_draws, B]` + event, for intervals and quantiles."""


def impute(model, encoder, data, *, sample_size=1_000, num_draws=200, seed):
    """The missing values given the observed ones, by importance sampling.

    Latents come from q, weights p(x_o, z) / q(z | x_o), divided by their sum, correct
    them, and the likelihood fills in, its means and variances exactly.

    **Requires:** that what is missing is missing at random; else the numbers answer
    another question.

    Args:
        model: `models.observed(...)` of a model without a global latent.
        encoder: an encoder that reads the data, or a q of batch shape `[B]`.
        data: `{"x": x, "mask": True where observed}`; what stands elsewhere is ignored.
        sample_size: number of latents per datum, at least 2.
        num_draws: number of completed data, resampled from these.
        seed: int, pair of ints or integer tensor; stateless.

    Returns:
        An `Imputation`.

    Raises:
        ValueError: if the model is not `models.observed`, there is no mask or it is not
            a boolean one of the shape of x, a row has nothing observed, the encoder is
            none, a size is too small, or the weights of a datum all vanish.

    Source: Mattei and Frellsen (2019), equation 12.
    """
    sample_size = whole("sample_size", sample_size, 2, "One number has no error.")
    num_draws = whole("num_draws", num_draws)
    _check_model(model)
    data = as_data(data)
    model.log_joint(data)  # what is wrong with the data is said here
    _check_rows(data["mask"])

    def program(seed, data):
        q = _q_of(encoder, data)
        return weighted(model, q, data, sample_size, num_draws, split_seed(seed, 3))

    seed = split_seed(seed, 1)[0]
    found = Imputation(*compiled(program, seed, data)(seed, data))
    bad = int(tf.math.count_nonzero(~tf.math.is_finite(found.effective_sample_size)))
    if bad:
        raise wrong(
            "finite weights",
            f"{bad} of {len(data['mask'])} data whose weights vanish or are NaN",
            "Is q wide enough, and can these values occur under the model?",
        )
    return found


def weighted(model, q, data, sample_size, num_draws, seeds):
    """The fields of an `Imputation`, as a tuple; arguments as of `impute`."""
    drawn = draw(model.log_joint(data), q, sample_size, seed=seeds[0])
    # w_k = p(x_o, z_k) / q(z_k | x_o), divided by their sum: [S, B]
    weights = tf.nn.softmax(drawn.log_weights, 0)
    complete = model.complete.likelihood_at(data, drawn.z)
    shape = [*weights.shape, *data["x"].shape[1:]]
    means, variances = (
        tf.broadcast_to(part, shape) for part in (complete.mean(), complete.variance())
    )
    w = tf.reshape(weights, [*weights.shape, *[1] * (len(shape) - 2)])
    mean = tf.reduce_sum(w * means, 0)
    # Var x = E Var(x | z) + Var E(x | z)
    variance = tf.reduce_sum(w * (variances + tf.square(means - mean)), 0)
    # delta method for a ratio: sum of w_k^2 (m_k - mean)^2
    error = tf.sqrt(tf.reduce_sum(tf.square(w * (means - mean)), 0))
    chosen = _resampled(drawn.z, weights, num_draws, seeds[1])
    draws = model.complete.likelihood_at(data, chosen).sample(seed=seeds[2])
    x, mask = data["x"], data["mask"]
    zero = tf.zeros_like(mean)
    return (
        tf.where(mask, tf.cast(x, mean.dtype), mean),
        tf.where(mask, zero, tf.sqrt(variance)),
        tf.where(mask, zero, error),
        1 / tf.reduce_sum(tf.square(weights), 0),
        tf.where(mask, x, tf.cast(draws, x.dtype)),
    )


def _resampled(z, weights, num_draws, seed):
    """Latents `[num_draws, B]` + event, one from each of as many equal strata."""
    weights = tf.transpose(weights)
    size, count = weights.shape
    jitter = tf.random.stateless_uniform([size, num_draws], seed, dtype=weights.dtype)
    levels = (tf.range(num_draws, dtype=weights.dtype) + jitter) / num_draws
    chosen = tf.searchsorted(tf.cumsum(weights, 1), levels)
    chosen = tf.minimum(chosen, count - 1)  # the sum may end below 1 by rounding

    def rows(part):
        order = [1, 0, *range(2, part.shape.rank)]
        found = tf.gather(tf.transpose(part, order), chosen, batch_dims=1)
        return tf.transpose(found, order)

    return tf.nest.map_structure(rows, z)


def _q_of(encoder, data):
    """The q of these data: itself, or what the encoder says."""
    is_q = hasattr(encoder, "sample")
    q = encoder if is_q or not callable(encoder) else encoder(data)
    if not (hasattr(q, "sample") and hasattr(q, "log_prob")):
        got = type(encoder).__name__
        raise wrong(
            "an encoder, data -> distribution of z, or a distribution of it",
            got if q is encoder else f"{got} that returns {type(q).__name__}",
            "families.Encoder makes one of a network and a family.",
        )
    return q


def _check_model(model):
    is_model = isinstance(model, LatentVariableModel)
    if not (is_model and hasattr(model, "complete")):
        raise wrong(
            "models.observed(model)",
            type(model).__name__,
            'Wrap it, and train it on {"x": ..., "mask": True where observed}.',
        )
    if model.global_prior is not None:
        raise wrong(
            "a model without a global latent",
            "one with a global prior",
            "Fix it at its posterior mean, in a model of the other latents.",
        )


def _check_rows(mask):
    seen = np.asarray(mask).reshape(len(mask), -1).any(1)
    if not seen.all():
        raise wrong(
            "something observed in every row",
            f"{(~seen).sum()} of {len(seen)} rows without, first row {seen.argmin()}",
            "Drop them: all that is known of them is model.complete.sample.",
        )
