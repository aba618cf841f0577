"""A conditional variational autoencoder: `vae`, all of whose networks see a condition.

    model, encoder = models.conditional_vae(32, 8, num_classes=10, seed=0)
    data = {"x": pixels, "given": classes}

The encoder sees both parts of the data. To predict, forget it: `model.given(c)` is the
model of x at the conditions c.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families import Encoder, mean_field
from elbo_tfp.ground.checks import real, whole, wrong
from elbo_tfp.ground.structures import as_data, batch_size
from elbo_tfp.ground.training import call
from elbo_tfp.models.conditional import ConditionalModel
from elbo_tfp.models.vae import VAE, _Layers, _likelihood, _on_rows

tfd = tfp.distributions


def conditional_vae(
    event_shape,
    latent_size: int,
    *,
    given_shape=None,
    num_classes=None,
    given_scale=1.0,
    prior="conditional",
    hidden=(256,),
    likelihood="bernoulli",
    activation="relu",
    dtype=tf.float32,
    seed,
) -> VAE:
    """p(z | c), p(x | z, c) and q(z | x, c), of multilayer perceptrons.

    Args:
        event_shape: shape of one x, an int or a tuple.
        latent_size: k, the number of latent dimensions.
        given_shape: shape of one condition of numbers, an int or a tuple; or else
        num_classes: the number of classes, if the condition is one of them: the data's
            "given" are then integers `[B]` from 0.
        given_scale: size of a typical large condition; networks divide by it.
        prior: "conditional" (a Gaussian whose means and scales a network reads from c)
            or "standard" (N(0, I) for every condition).
        hidden: units of the encoder's hidden layers, and of the prior's; the decoder
            has them reversed.
        likelihood: as in `vae`.
        activation: as in `vae`.
        dtype: of networks, latents and data (but not of classes).
        seed: as in `vae`.

    Returns:
        A `ConditionalModel` and its encoder; both want data `{"x": x, "given": c}`.

    Raises:
        ValueError: unless exactly one of `given_shape` and `num_classes` is given, for
            an unknown prior, and as `vae`. Of model and encoder: for conditions of
            another shape or dtype, and classes out of range (inside a compiled function
            these make everything NaN).

    Source: Sohn, Lee and Yan (2015), section 3.
    """
    import keras

    if prior not in ("conditional", "standard"):
        raise wrong("prior to be 'conditional' or 'standard'", repr(prior))
    features, width = _features(given_shape, num_classes, given_scale, dtype)
    likelihood, make = _likelihood(likelihood, event_shape), _Layers(seed, dtype)
    family = mean_field(whole("latent_size", latent_size), dtype=dtype)

    def perceptron(inputs, layers, outputs):
        dense = [make("Dense", n, activation=activation) for n in layers]
        layers = [make.input((inputs,)), *dense, make("Dense", outputs)]
        return keras.Sequential(layers)

    pixels = math.prod(likelihood.event_shape)
    encoder = perceptron(pixels + width, hidden, family.parameters_size)
    decoder = perceptron(latent_size + width, hidden[::-1], likelihood.parameters_size)
    zero = tf.zeros([latent_size], dtype)
    p_z = tfd.Independent(tfd.Normal(zero, tf.ones_like(zero)), 1)
    if prior == "conditional":
        of_c = perceptron(width, hidden, family.parameters_size)
        p_z = lambda c: family(call(of_c, features(c)))  # noqa: E731

    def decode(z, c):
        rows = tf.reshape(c, [-1, *c.shape[z.shape.rank - 1 :]])
        seen = features(rows)
        shape = tf.concat([tf.shape(z)[:-1], [width]], 0)
        return likelihood(
            _on_rows(decoder, tf.concat([z, tf.reshape(seen, shape)], -1))
        )

    def encode(data):
        x, c = _parts(data, likelihood.event_shape)
        flat = tf.cast(tf.reshape(x, [-1, pixels]), dtype) / likelihood.largest
        return call(encoder, tf.concat([flat, features(c)], -1))

    model = ConditionalModel(p_z, decode, support=likelihood.problem)
    model._check_given = features  # which refuses what it cannot read
    return VAE(model, Encoder(encode, family))


def _features(given_shape, num_classes, scale, dtype):
    """From conditions `[B]` + event to what networks read, `[B, width]`; the width."""
    scale = real("given_scale", scale)
    if (given_shape is None) == (num_classes is None):
        raise wrong(
            "given_shape (of numbers) or num_classes (of one class), one of the two",
            f"given_shape={given_shape!r} and num_classes={num_classes!r}",
        )
    if num_classes is not None:
        n = whole("num_classes", num_classes, 2)
        return lambda c: _one_hot(c, n, dtype), n
    sizes = given_shape if isinstance(given_shape, (tuple, list)) else (given_shape,)
    sizes = [whole("given_shape", n) for n in sizes]

    def flat(c):
        c = as_data(c, "given")
        if c.dtype != dtype or c.shape[1:].as_list() != sizes:
            raise wrong(
                f"given of shape {[None, *sizes]} and dtype {tf.as_dtype(dtype).name}",
                f"shape {c.shape.as_list()} and dtype {c.dtype.name}",
                "Row i is the condition of datum i.",
            )
        return tf.reshape(c, [-1, math.prod(sizes)]) / scale

    return flat, math.prod(sizes)


def _one_hot(c, num: int, dtype):
    """Classes as rows with a one, `[B, num]`; NaN for what is no class."""
    c = as_data(c, "given")
    if not c.dtype.is_integer or c.shape.rank != 1:
        raise wrong(
            f"given to be classes, integers [B] from 0 to {num - 1}",
            f"shape {c.shape.as_list()} and dtype {c.dtype.name}",
            "Conditions of numbers have a given_shape.",
        )
    known = (c >= 0) & (c < num)
    if tf.executing_eagerly() and not tf.reduce_all(known):
        bad = np.unique(c[~known]).tolist()
        raise wrong(f"classes from 0 to {num - 1}", bad, "Number them from 0.")
    nan = tf.constant(float("nan"), dtype)
    return tf.where(known[:, tf.newaxis], tf.one_hot(c, num, dtype=dtype), nan)


def _parts(data, event_shape):
    """x and c of the data that an encoder gets, the same number of each."""
    if not (isinstance(data, dict) and {"x", "given"} <= set(data)):
        raise wrong(
            'data {"x": what is modelled, "given": the condition}',
            sorted(data) if isinstance(data, dict) else type(data).__name__,
            "This encoder sees both.",
        )
    data = as_data({part: data[part] for part in ("x", "given")})
    batch_size(data)
    shape = data["x"].shape
    if shape[1:].as_list() != list(event_shape):
        raise wrong(f"x of shape {[None, *event_shape]}", f"shape {shape.as_list()}")
    return data["x"], data["given"]
