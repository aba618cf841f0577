"""A model small enough to code thousands of files: two latents, three counts."""

import functools

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et

tfd = tfp.distributions

WEIGHTS = np.array([[1.5, 0.2, -1.0], [0.3, -1.2, 0.8]], np.float32)
TOTAL = 6
PRECISION = np.eye(2) + TOTAL / 4 * WEIGHTS @ WEIGHTS.T
GAIN = (TOTAL / 4 * np.linalg.solve(PRECISION, WEIGHTS)).T.astype(np.float32)
SCALE = np.float32(np.sqrt(1 / np.diag(PRECISION)))


# every test that codes with these shares one compilation
SETTINGS = {"batch_size": 8, "latent_bits": 8}


@functools.cache
def fitted():
    """The model that the data come from, one object for all tests."""
    return model()


def model(weights=WEIGHTS):
    """z ~ N(0, I_2), x given z ~ Binomial(6, sigmoid(z W)), three dimensions."""
    prior = tfd.Independent(tfd.Normal(tf.zeros(2), 1.0), 1)
    return et.LatentVariableModel(
        prior,
        lambda z: tfd.Independent(
            tfd.Binomial(float(TOTAL), logits=tf.matmul(z, weights)), 1
        ),
    )


def encoder(x, shift=0.0):
    """The posterior of the linearised model: logits seen with variance 4 / 6."""
    logits = 4 * (x / TOTAL - 0.5)
    loc = tf.matmul(logits, GAIN) + shift
    return tfd.Independent(tfd.Normal(loc, SCALE * tf.ones_like(loc)), 1)


def data(num, seed=0):
    """Counts drawn from the model, uint8 `[num, 3]`."""
    return fitted().sample(num, seed=seed)[1].numpy().astype("uint8")
