"""A VAE with Keras networks, the same in every process once its weights are saved."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.fitting.saving import load, save

tfd = tfp.distributions
NAMES = ("model", "encoder")


def vae(seed):
    """64 pixels of 17 values under 10 latents: a `LatentVariableModel`, an encoder."""
    keras.utils.set_random_seed(seed)
    family = et.families.mean_field(10)
    dense = keras.layers.Dense
    network = keras.Sequential(
        [keras.Input([64]), dense(128, "relu"), dense(family.parameters_size)]
    )
    decoder = keras.Sequential([keras.Input([10]), dense(128, "relu"), dense(64)])
    prior = tfd.Independent(tfd.Normal(tf.zeros(10), 1.0), 1)
    model = et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Binomial(16.0, logits=decoder(z)), 1)
    )
    return model, et.Encoder(lambda x: network(x / 16), family)


def saved(path):
    """A VAE, saved at `path`."""
    made = vae(seed=0)
    save(path, **dict(zip(NAMES, made, strict=True)), x=data()[:4].astype("float32"))
    return made


def loaded(path):
    """The VAE that was saved at `path`."""
    made = vae(seed=1)
    load(path, **dict(zip(NAMES, made, strict=True)))
    return made


def data():
    """Waves `[300, 64]`, uint8."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(64) * rng.uniform(0.1, 1, (300, 1)))
    return np.round(8 + 8 * waves).astype("uint8")
