"""What is interrupted: a fit with checkpoints, `save`, `compress`; each on its own.

Nothing here runs an operation of TensorFlow at import, so that a process can fork.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import codes
from elbo_tfp.fitting import Checkpoint, HoldOut
from elbo_tfp.fitting.run import steps_per_call

tfd = tfp.distributions
EVERY = 20
"""Steps between two checkpoints."""


def data_of(number: int, size: int) -> np.ndarray:
    """Numbers that belong to state `number`, which stands in the first of them."""
    values = np.random.default_rng(number).normal(size=size).astype("float32")
    values[0] = number
    return values


def climb(folder, steps: int, *, size=50_000, per_call=None, resume=True):
    """A fit with a checkpoint (none if `folder` is None); the same at each call."""
    x = np.random.default_rng(1).normal(2.0, 1.0, [24, 2]).astype("float32")
    place = tf.Variable(tf.zeros([size]))

    def objective(batch, seed):
        noise = tf.random.stateless_normal([size], seed)
        miss = tf.reduce_mean((place - 0.1 * noise) ** 2)
        return -tf.reduce_sum((batch - place[:2]) ** 2, -1) - miss

    keep = None if folder is None else Checkpoint(folder, EVERY, resume=resume)
    with steps_per_call(per_call):
        return et.fit(
            objective,
            num_steps=steps,
            data=x,
            batch_size=5,
            seed=4,
            optimizer=keras.optimizers.Adam(0.05),
            trace_fn=lambda traced: traced.parameters[0][:3],
            held_out=HoldOut(x[:3], 2 * EVERY),
            checkpoint=keep,
            progress=False,
        )


class Saves:
    """Numbered states of a distribution, written by `save`."""

    def __init__(self, size=200_000):
        self.values = tf.Variable(tf.zeros([size]))
        self.q = tfd.Normal(self.values, 1.0)

    def write(self, path, number: int) -> None:
        """Puts the state of this number at `path`."""
        self.values.assign(data_of(number, self.values.shape[0]))
        et.save(path, q=self.q)

    def read(self, path) -> int:
        """The number of the state at `path`, exact to the bit, or an error."""
        et.load(path, q=self.q)
        values = self.values.numpy()
        number = int(values[0])
        if not np.array_equal(values, data_of(number, len(values))):
            raise AssertionError(f"{path} holds no state that was saved")
        return number


class Codes:
    """Numbered data sets, written by `compress`."""

    def __init__(self, size=300):
        rng, self.size = np.random.default_rng(0), size
        weights = tf.constant(rng.normal(size=[2, 3]), tf.float32)
        prior = tfd.MultivariateNormalDiag(tf.zeros([2]))

        def likelihood(z):
            return tfd.Independent(tfd.Binomial(6.0, logits=z @ weights), 1)

        def encoder(x):
            return tfd.MultivariateNormalDiag(x @ tf.transpose(weights) / 6 - 0.5)

        self.parts = et.LatentVariableModel(prior, likelihood), encoder

    def data(self, number: int) -> np.ndarray:
        """Counts that belong to `number`; the number itself stands first."""
        x = np.random.default_rng(number).integers(0, 7, [self.size, 3], "uint8")
        x.ravel()[:6] = [number // 7**i % 7 for i in range(6)]
        return x

    def write(self, path, number: int) -> None:
        """Compresses the data of this number to `path`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such data no model makes shorter
            codes.compress(self.data(number), *self.parts, path, batch_size=16)

    def read(self, path) -> int:
        """The number of the data at `path`, all of them equal, or an error."""
        x = codes.decompress(Path(path), *self.parts)
        number = int(sum(int(d) * 7**i for i, d in enumerate(x.ravel()[:6])))
        if not np.array_equal(x, self.data(number)):
            raise AssertionError(f"{path} holds no data that were compressed")
        return number
