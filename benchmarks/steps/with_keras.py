"""The problems in Keras 3's own `fit`: XLA, all steps of a run in one execution.

Batches come from a `tf.data` pipeline of row numbers: a third of the time of arrays
with `shuffle=True`, since an execution then need not end with an epoch.
"""

import keras
import numpy as np
import problem as p
import tensorflow as tf
from harness import serve


def log_normal(z, loc, scale):
    return (
        -0.5 * ((z - loc) / scale) ** 2 - tf.math.log(scale) - 0.5 * np.log(2 * np.pi)
    )


class Trained(keras.Model):
    """A model whose `train_step` lowers `loss_of(batch)`."""

    def __init__(self):
        super().__init__()
        self.noise = keras.random.SeedGenerator(0)

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            loss = self.loss_of(batch)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return {"negative_elbo": loss}


class Vae(Trained):
    def __init__(self, size):
        super().__init__()
        self.size, dense = size, keras.layers.Dense
        hidden = [dense(size.hidden, "relu") for _ in range(2)]
        self.encoder = keras.Sequential([hidden[0], dense(2 * size.latents)])
        self.decoder = keras.Sequential([hidden[1], dense(size.pixels)])
        self.encoder.build([None, size.pixels])
        self.decoder.build([None, size.latents])
        self.set_weights(p.weights(size))

    def loss_of(self, batch):
        loc, raw = tf.split(self.encoder(batch), 2, -1)
        scale = tf.math.softplus(raw)
        z = loc + scale * keras.random.normal(loc.shape, seed=self.noise)
        cross = tf.nn.sigmoid_cross_entropy_with_logits(batch, self.decoder(z))
        rate = log_normal(z, loc, scale) - log_normal(z, 0.0, 1.0)
        return tf.reduce_mean(tf.reduce_sum(cross, -1) + tf.reduce_sum(rate, -1))


class Schools(Trained):
    def __init__(self):
        super().__init__()
        start = keras.initializers.Constant
        self.loc = self.add_weight(shape=[10], initializer="zeros")
        self.log_scale = self.add_weight(shape=[10], initializer=start(np.log(0.1)))

    def loss_of(self, _):
        loc, scale = self.loc.value, tf.exp(self.log_scale.value)
        z = loc + scale * keras.random.normal([p.SAMPLES, 10], seed=self.noise)
        eta, mu, log_tau = z[:, :8], z[:, 8], z[:, 9]
        tau = tf.exp(log_tau)
        log_p = np.log(2 / (5 * np.pi)) - tf.math.log1p((tau / 5) ** 2) + log_tau
        log_p += tf.reduce_sum(log_normal(eta, 0.0, 1.0), -1) + log_normal(mu, 0.0, 5.0)
        theta = mu[:, None] + tau[:, None] * eta
        log_p += tf.reduce_sum(log_normal(p.Y, theta, p.SIGMA), -1)
        return tf.reduce_mean(tf.reduce_sum(log_normal(z, loc, scale), -1) - log_p)


def shuffled(x, batch, epochs):
    """Batches of `x`, in a fresh order every epoch."""
    x, num_data = tf.constant(x), len(x)

    def order(epoch):
        seed = tf.stack([epoch, 0])
        rows = tf.random.experimental.stateless_shuffle(tf.range(num_data), seed)
        return tf.data.Dataset.from_tensor_slices(tf.reshape(rows, [-1, batch]))

    rows = tf.data.Dataset.range(epochs).flat_map(order)
    return rows.map(lambda row: tf.gather(x, row)).prefetch(8)


def run_of(model, batches, steps, rate):
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer=optimizer, jit_compile=True, steps_per_execution=steps)

    def run():
        told = model.fit(batches, steps_per_epoch=steps, verbose=0)
        return steps, -np.array(told.history["negative_elbo"])

    return run


def main():
    name, _ = p.asked()
    if name == "schools":
        steps = p.SCHOOL_STEPS // 4
        return run_of(Schools(), tf.data.Dataset.range(steps), steps, p.RATE_SCHOOLS)
    size = p.SIZES[name]
    size = size._replace(epochs=max(1, size.epochs // 4))
    batches = shuffled(p.data(size), size.batch, size.epochs)
    return run_of(Vae(size), batches, size.steps, p.RATE_VAE)


if __name__ == "__main__":
    serve(main())
