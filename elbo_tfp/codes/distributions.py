"""The three distributions of a code, as tables and integers that a stack coder takes.

Sender and receiver must build the very same tables. So everything that comes out of a
network is rounded to a coarse grid by exact arithmetic, and the networks always see
one batch shape on one compile path: their last bits depend on both.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.compiled import compiled
from elbo_tfp.ground.wrappers import unwrap

tfd = tfp.distributions

WIDTH = 16.0  # the latent grid spans this many prior standard deviations
FREQUENCIES = 2**16  # resolution of a table over pixel values


class Coding(NamedTuple):
    """A model and an encoder, ready to code: compiled, discretised, of one shape."""

    posterior: object
    """Data `[M, D]` -> (mean, scale) in grid steps, each `[M * k]` float64."""
    likelihood: object
    """Grid points `[M * k]` -> table of frequencies, `[M * D, V]` float64."""
    prior: tuple[np.ndarray, np.ndarray]
    """(mean, scale) in grid steps, each `[M * k]` float64."""
    batch_size: int
    """M, the number of data that the networks see at once."""
    latent_size: int
    """k."""
    num_values: int
    """V: data are the integers 0 to V - 1."""
    grid: int
    """Grid points per latent."""
    probe: np.ndarray
    """What the networks answer to fixed input: recognises the model."""
    fingerprint: str
    """Hash of the tables of fixed input: recognises arithmetic to the last bit."""


def prepare(
    model, encoder, event_shape, *, batch_size, latent_bits, num_values, jit_compile
) -> Coding:
    """Compiles and discretises a model and its encoder.

    Raises:
        ValueError: if the prior or q is no product of normals, or the likelihood no
            product over the dimensions of x.
    """
    grid = 2**latent_bits
    loc, scale = _normal(model.prior, "the prior")
    step = WIDTH * scale / grid
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise wrong("a prior of finite positive scale", scale)
    dtype, shape = model.prior.dtype.as_numpy_dtype, (batch_size, *event_shape)
    encode, decode = _compiled(model, encoder, shape, num_values, jit_compile)

    def posterior(x):
        answer = encode(tf.constant(x.astype(dtype)))
        mean, scale = (v.numpy().astype(np.float64) for v in answer)
        mean, scale = (mean - loc) / step, scale / step
        return np.round(mean * 16).ravel() / 16, _round_scale(scale.ravel())

    def likelihood(z):
        points = loc + step * z.reshape(batch_size, -1)
        table = decode(tf.constant(points.astype(dtype))).numpy().astype(np.float64)
        # at least 1: every value can be sent, likely or not
        return np.floor(table * FREQUENCIES) + 1

    latents = len(loc)
    tile = np.zeros(batch_size * latents)
    prior = (tile, np.full_like(tile, grid / WIDTH))
    probe, fingerprint = _probe(posterior, likelihood, shape, latents, grid, num_values)
    return Coding(
        posterior,
        likelihood,
        prior,
        batch_size,
        latents,
        num_values,
        grid,
        probe,
        fingerprint,
    )


def _compiled(model, encoder, shape, num_values, jit_compile):
    """x -> (loc, scale) of q, and z -> table of p(x | z), as two compiled functions."""
    prior = model.prior

    def encode(x):
        return _normal(encoder(x), "the encoder's q")

    def decode(z):
        base = _pixels(model.likelihood(z), shape[1:])
        values = tf.reshape(tf.range(num_values), [-1, *[1] * base.batch_shape.rank])
        table = tf.exp(base.log_prob(tf.cast(values, base.dtype)))
        return tf.transpose(tf.reshape(table, [num_values, -1]))

    inputs = (shape[0], *prior.event_shape), shape
    # the decoder first: it has words for data of another shape, Keras has its own
    return [
        compiled(f, tf.TensorSpec(s, prior.dtype), jit_compile=jit_compile)
        for f, s in zip((decode, encode), inputs, strict=True)
    ][::-1]


def infer_num_values(model) -> int:
    """V, if the likelihood says how many values a dimension takes.

    Raises:
        ValueError: if it does not.
    """
    z = tf.zeros([1, *model.prior.event_shape], model.prior.dtype)
    base = unwrap(model.likelihood(z)).base
    if isinstance(base, tfd.Bernoulli):
        return 2
    if isinstance(base, tfd.Categorical):
        return int((base.probs if base.logits is None else base.logits).shape[-1])
    total = getattr(base, "total_count", None)
    if total is not None and not isinstance(base, tfd.NegativeBinomial):
        return int(np.max(total)) + 1
    raise wrong(
        f"num_values, as {type(base).__name__} does not say how many values a "
        "dimension of x takes",
        None,
        "Pass num_values=V for data in 0 .. V - 1.",
    )


def _normal(distribution, name):
    """(loc, scale) of a product of normals, or an error."""
    distribution = getattr(distribution, "current", distribution)
    base = unwrap(distribution).base
    if not isinstance(base, (tfd.Normal, tfd.MultivariateNormalDiag)) or (
        distribution.event_shape.rank != 1
    ):
        raise wrong(
            f"{name} to be a product of normals over a vector z "
            "(families.mean_field, tfd.MultivariateNormalDiag)",
            f"{type(distribution).__name__} of {type(base).__name__}",
            "Latents are coded one by one, so they must be independent.",
        )
    loc, scale = distribution.mean(), distribution.stddev()
    if distribution.batch_shape.rank == 0:
        return loc.numpy().astype(np.float64), scale.numpy().astype(np.float64)
    return loc, scale


def _pixels(likelihood, event_shape):
    """The distribution of the single dimensions of x, or an error."""
    base, ndims, _ = unwrap(likelihood, samples=False)
    scalar = ndims and base.event_shape.rank == 0
    if not scalar or likelihood.event_shape != event_shape:
        raise wrong(
            "a likelihood whose dimensions are independent given z, tfd.Independent "
            f"over data of shape {tuple(event_shape)}",
            f"{type(likelihood).__name__} with event shape {likelihood.event_shape}",
            "Data and likelihood must have one shape.",
        )
    return base


def _round_scale(scale):
    """Five bits of mantissa, by exact arithmetic; at least a quarter of a grid step."""
    mantissa, exponent = np.frexp(np.maximum(scale, 0.25))
    return np.ldexp(np.round(mantissa * 32) / 32, exponent)


def _probe(posterior, likelihood, shape, latents, grid, num_values):
    """Answers to fixed input, to compare, and the hash of their tables."""
    x = (np.arange(np.prod(shape)) * 7919 % num_values).reshape(shape)
    z = (np.arange(shape[0] * latents) * 7919 % grid) - grid // 2
    z = np.round(z / 4)
    mean, scale = posterior(x)
    table = likelihood(z)
    if not all(np.isfinite(v).all() for v in (mean, scale, table)):
        raise wrong(
            "finite networks",
            "NaN or infinity for fixed probe data",
            "The model is broken or was never trained.",
        )
    digest = hashlib.blake2b(digest_size=16)
    for array in (mean, scale, table):
        digest.update(np.ascontiguousarray(array, "<f8").tobytes())
    rows = table[np.linspace(0, len(table) - 1, 8).astype(int)]
    # grid steps, octaves and per cents: rounding moves each by less than 0.2
    percent = 100 * (rows @ np.arange(num_values)) / rows.sum(1) / num_values
    answers = np.concatenate([mean[:4], np.log2(scale[:4]), percent])
    return np.round(answers, 3), digest.hexdigest()
