"""Variational autoencoders: a network behind the prior, and one in front of q.

Every constructor returns a `VAE`, a model and an encoder that unpack as a pair:

    model, encoder = models.vae(64, 10, likelihood=models.binomial(64, 16), seed=0)

Nothing in them is special. A network of your own, ending in a layer of
`likelihood.parameters_size` units, makes a model by `LatentVariableModel(prior,
lambda z: likelihood(network(z)))`.

It is longer than most modules: its constructors differ in what they say, not in code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families import Encoder, mean_field
from elbo_tfp.ground.checks import wrong
from elbo_tfp.ground.seeds import as_seed
from elbo_tfp.ground.training import call
from elbo_tfp.models import likelihoods
from elbo_tfp.models.latent import LatentVariableModel

tfd = tfp.distributions


class VAE(NamedTuple):
    """A latent variable model with the encoder that was built for it."""

    model: LatentVariableModel
    """Prior N(0, I) and a likelihood whose parameters are the decoder's output."""
    encoder: Encoder
    """q(z | x), batch shape `[B]`."""


def vae(
    event_shape,
    latent_size: int,
    *,
    hidden=(256,),
    likelihood="bernoulli",
    activation="relu",
    dtype=tf.float32,
    seed,
) -> VAE:
    """A VAE whose two networks are multilayer perceptrons.

    Args:
        event_shape: shape of one datum, an int or a tuple.
        latent_size: k, the number of latent dimensions.
        hidden: units of the encoder's hidden layers; the decoder has them reversed.
        likelihood: a `Likelihood` for data of this shape, "bernoulli" or "gaussian".
        activation: of the hidden layers, a name that Keras knows or a function.
        dtype: of networks, latents and data; or "mixed_bfloat16" ("mixed_float16", for
            which `fit` scales no gradients): layers then compute in 16 bits, weights
            and all densities stay in float32.
        seed: int, pair of ints or tensor: where the weights start.

    Raises:
        ValueError: if the likelihood's shape is not `event_shape`, and for unknown
            names or sizes that are not positive.

    Source: Kingma and Welling (2014), appendix C.
    """
    import keras

    likelihood, make = _likelihood(likelihood, event_shape), _Layers(seed, dtype)
    family = mean_field(latent_size, dtype=make.dtype)
    encoder = [
        make.input(likelihood.event_shape),
        make("Flatten"),
        make("Rescaling", 1 / likelihood.largest),
        *[make("Dense", n, activation=activation) for n in hidden],
        make("Dense", family.parameters_size),
    ]
    decoder = [
        make.input((latent_size,)),
        *[make("Dense", n, activation=activation) for n in hidden[::-1]],
        make("Dense", likelihood.parameters_size),
    ]
    return _assemble(
        likelihood, keras.Sequential(decoder), keras.Sequential(encoder), family
    )


def convolutional_vae(
    image_shape,
    latent_size: int,
    *,
    filters=(32, 64),
    likelihood="bernoulli",
    activation="relu",
    dtype=tf.float32,
    seed,
) -> VAE:
    """A VAE of convolutions with stride 2 down, and transposed ones up.

    Args:
        image_shape: `(height, width)` or `(height, width, channels)` of one datum;
            both sizes must be divisible by 2 for every layer.
        latent_size: k, the number of latent dimensions.
        filters: of the encoder's layers; the decoder has them reversed.
        likelihood: a `Likelihood` for images of this shape, "bernoulli" or "gaussian".
        activation: as in `vae`.
        dtype: as in `vae`.
        seed: as in `vae`.

    Raises:
        ValueError: if the image cannot be halved that often, and as `vae`.
    """
    import keras

    likelihood, make = _likelihood(likelihood, image_shape), _Layers(seed, dtype)
    height, width, channels = _halvable(likelihood.event_shape, len(filters))
    family = mean_field(latent_size, dtype=make.dtype)
    stride = {"kernel_size": 3, "strides": 2, "padding": "same"}
    small = (height >> len(filters), width >> len(filters), filters[-1])
    upwards = [*filters[-2::-1], channels * likelihood.num_heads]
    encoder = [
        make.input(likelihood.event_shape),
        make("Reshape", (height, width, channels)),
        make("Rescaling", 1 / likelihood.largest),
        *[make("Conv2D", n, activation=activation, **stride) for n in filters],
        make("Flatten"),
        make("Dense", family.parameters_size),
    ]
    decoder = [
        make.input((latent_size,)),
        make("Dense", math.prod(small), activation=activation),
        make("Reshape", small),
        *[
            make("Conv2DTranspose", n, activation=activation, **stride)
            for n in upwards[:-1]
        ],
        make("Conv2DTranspose", upwards[-1], **stride),
        # all of one head, then all of the next, as the likelihood splits them
        make("Reshape", (height, width, likelihood.num_heads, channels)),
        make("Permute", (3, 1, 2, 4)),
        make("Flatten"),
    ]
    return _assemble(
        likelihood, keras.Sequential(decoder), keras.Sequential(encoder), family
    )


def linear_vae(
    event_shape,
    latent_size: int,
    *,
    scale="shared",
    loc=0.0,
    dtype=tf.float32,
    seed,
) -> VAE:
    """z ~ N(0, I), x given z ~ N(W z + b, s^2 I), with an affine encoder.

    Its best ELBO is the likelihood of probabilistic principal components: there q
    with a diagonal covariance is exact, once W has orthogonal columns.

    Args:
        event_shape: D, the number of observed dimensions.
        latent_size: k, the number of latent dimensions.
        scale: of the noise, as in `gaussian`; "shared" trains it.
        loc: where b starts, scalar or `[D]`; the data's mean is a good choice.
        dtype: as in `vae`.
        seed: as in `vae`.

    Source: Lucas, Tucker, Grosse and Norouzi (2019), section 3.
    """
    make = _Layers(seed, dtype)
    likelihood = likelihoods.gaussian(event_shape, scale, dtype=dtype)
    family = mean_field(latent_size, dtype=dtype)
    decoder = make("Dense", likelihood.parameters_size)
    decoder.build((None, latent_size))
    decoder.bias.assign(np.broadcast_to(loc, decoder.bias.shape))
    means = make("Dense", latent_size)
    means.build((None, likelihood.event_shape[-1]))
    # one scale for all data, as the exact posterior has
    raw_scales = tf.Variable(tf.zeros([latent_size], dtype), name="raw_scales")

    def encoder(x):
        mean = means(x - tf.cast(loc, x.dtype))
        return tf.concat([mean, tf.broadcast_to(raw_scales, tf.shape(mean))], -1)

    return _assemble(likelihood, decoder, encoder, family)


def _assemble(likelihood, decoder, encoder, family) -> VAE:
    zero = tf.zeros([family.event_shape[-1]], family.dtype)
    model = LatentVariableModel(
        tfd.Independent(tfd.Normal(zero, tf.ones_like(zero)), 1),
        lambda z: likelihood(_on_rows(decoder, z)),
        support=likelihood.problem,
    )
    return VAE(model, Encoder(encoder, family))


def _on_rows(network, z):
    """`network` of z `[S, B, k]`, as one batch of S B rows."""
    flat = call(network, tf.reshape(z, [-1, z.shape[-1]]))
    shape = tf.concat([tf.shape(z)[:-1], tf.shape(flat)[-1:]], 0)
    return tf.ensure_shape(tf.reshape(flat, shape), [*z.shape[:-1], flat.shape[-1]])


class _Layers:
    """Makes Keras layers by name, each with a seed of its own derived from one."""

    def __init__(self, seed, dtype):
        entropy = as_seed(seed).numpy().view(np.uint32).tolist()
        self._rng, name = np.random.default_rng(entropy), _named(dtype)
        self._dtype, self.dtype = name, name
        if name.startswith("mixed_"):
            self.dtype = "float32"

    def __call__(self, kind, *args, **options):
        import keras

        if kind.startswith(("Dense", "Conv")):
            start = keras.initializers.GlorotUniform(int(self._rng.integers(2**31)))
            options["kernel_initializer"] = start
        return getattr(keras.layers, kind)(*args, dtype=self._dtype, **options)

    def input(self, shape):
        import keras

        return keras.Input(shape, dtype=self.dtype)


def _named(dtype) -> str:
    """The name of a dtype, or of one of Keras' mixed policies."""
    if dtype in ("mixed_bfloat16", "mixed_float16"):
        return dtype
    try:
        found = tf.as_dtype(dtype)
    except TypeError:
        found = None
    if found is None or not found.is_floating:
        kinds = "'float32', 'float64', 'mixed_bfloat16' or 'mixed_float16'"
        raise wrong(f"dtype to be {kinds}", repr(dtype))
    return found.name


def _halvable(shape, times):
    """Height, width and channels of images that can be halved `times` times."""
    full = (*shape, 1) if len(shape) == 2 else shape
    if len(full) != 3 or times < 1 or any(n % 2**times for n in full[:2]):
        raise ValueError(
            "expected image_shape (height, width) or (height, width, channels) with "
            f"sizes divisible by {2**times}, 2 for each of the {times} filters; got "
            f"{shape}. Pad the images or use fewer filters (at least one)."
        )
    return full


def _likelihood(likelihood, event_shape):
    if isinstance(likelihood, str):
        builders = {
            "bernoulli": likelihoods.bernoulli,
            "gaussian": likelihoods.gaussian,
        }
        if likelihood not in builders:
            raise ValueError(
                "expected likelihood to be 'bernoulli', 'gaussian' or a Likelihood "
                f"such as models.binomial({event_shape}, 16); got {likelihood!r}."
            )
        return builders[likelihood](event_shape)
    wanted = event_shape if isinstance(event_shape, (tuple, list)) else (event_shape,)
    if getattr(likelihood, "event_shape", None) != tuple(wanted):
        raise ValueError(
            f"expected a Likelihood of data of shape {tuple(wanted)}; got "
            f"{getattr(likelihood, 'event_shape', type(likelihood).__name__)}."
        )
    return likelihood
