"""The problems in TFP's own loops, and matrix products in TensorFlow.

VAEs go through `tfp.math.minimize`, which `fit_surrogate_posterior` is made of; its
loss reads the next rows from a variable. Both build a new graph at every call, so a run
is wrapped in one `tf.function`, which keeps it.
"""

import keras
import numpy as np
import problem as p
import tensorflow as tf
import tensorflow_probability as tfp
import with_elbo_tfp as ours
from harness import serve

tfd = tfp.distributions


def compiled(loop, optimizer, variables):
    """`loop(seed)` in one graph; the optimizer's slots must exist before."""
    optimizer.build(variables)
    graph = tf.function(loop, autograph=False)
    calls = iter(range(10**9))
    return lambda: graph(tf.constant([0, next(calls)])).numpy()


def vae(name):
    size, rng = p.SIZES[name], np.random.default_rng(0)
    x = tf.constant(p.data(size))
    weights = [tf.Variable(w) for w in p.weights(size)]
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    order = tf.Variable(tf.zeros([size.steps, size.batch], tf.int32), trainable=False)
    at = tf.Variable(0, trainable=False)

    def loss(seed):
        batch = tf.gather(x, tf.gather(order, at))
        h = tf.nn.relu(batch @ w1 + b1) @ w2 + b2
        loc, raw = tf.split(h, 2, -1)
        q = tfd.Independent(tfd.Normal(loc, tf.math.softplus(raw)), 1)
        z = q.sample(seed=seed)
        logits = tf.nn.relu(z @ w3 + b3) @ w4 + b4
        log_x = tfd.Independent(tfd.Bernoulli(logits), 1).log_prob(batch)
        log_prior = tf.reduce_sum(tfd.Normal(0.0, 1.0).log_prob(z), -1)
        at.assign_add(1)
        return -tf.reduce_mean(log_x + log_prior - q.log_prob(z))

    optimizer = keras.optimizers.Adam(p.RATE_VAE)

    def loop(seed):
        return tfp.math.minimize(
            loss, size.steps, optimizer, jit_compile=True, seed=seed,
            trainable_variables=weights,
        )  # fmt: skip

    call = compiled(loop, optimizer, weights)

    def run():
        order.assign(p.rows(rng, size, size.steps))
        at.assign(0)
        return size.steps, -call()

    return run


def schools():
    loc, log_scale = tf.Variable(tf.zeros(10)), tf.Variable(tf.fill([10], np.log(0.1)))
    log_scale = tf.Variable(tf.cast(log_scale, tf.float32))
    scale = tfp.util.DeferredTensor(log_scale, tf.exp)
    q = tfd.Independent(tfd.Normal(loc, scale), 1)
    optimizer = keras.optimizers.Adam(p.RATE_SCHOOLS)

    def loop(seed):
        return tfp.vi.fit_surrogate_posterior(
            ours.log_joint, q, optimizer, p.SCHOOL_STEPS, sample_size=p.SAMPLES,
            jit_compile=True, seed=seed,
        )  # fmt: skip

    call = compiled(loop, optimizer, [loc, log_scale])
    return lambda: (p.SCHOOL_STEPS, -call())


def products(name, xla):
    """The eleven matrix products of a step, forward and backward, and nothing else.

    Under XLA a loop carries the gradients where the weights were, so that no product
    can be moved out of it; all are zero, which takes as long as anything else.
    """
    size = p.SIZES[name]
    x = tf.constant(p.data(size)[: size.batch])
    weights = [tf.constant(w) for w in p.weights(size)[::2]]

    def step(x, w1, w2, w3, w4):
        h1 = x @ w1
        h2 = h1 @ w2
        z = h2[:, : size.latents]
        h3 = z @ w3
        h4 = h3 @ w4
        d3 = tf.matmul(h4, w4, transpose_b=True)
        dz = tf.matmul(d3, w3, transpose_b=True)
        d1 = tf.matmul(h2, w2, transpose_b=True)
        d = [tf.matmul(a, b, transpose_a=True) for a, b in
             ((x, d1), (h1, h2), (z, d3), (h3, h4))]  # fmt: skip
        return *d, dz

    @tf.function(autograph=False, jit_compile=True)
    def loop(x, weights):
        def body(i, weights, dz):
            *weights, dz = step(x, *weights)
            return i + 1, weights, dz

        dz = tf.zeros([size.batch, size.latents])
        _, weights, dz = tf.while_loop(
            lambda i, *_: i < size.steps, body, (0, weights, dz)
        )
        return sum(map(tf.reduce_sum, weights)) + tf.reduce_sum(dz)

    graph = tf.function(step, autograph=False)

    def run():
        if xla:
            loop(tf.zeros_like(x), [tf.zeros_like(w) for w in weights]).numpy()
        else:
            for _ in range(size.steps):
                last = graph(x, *weights)
            last[-1].numpy()
        return size.steps, [float("nan")]

    return run


if __name__ == "__main__":
    name, variant = p.asked()
    if variant.startswith("products"):
        serve(products(name, xla=variant.endswith("xla")))
    else:
        serve(schools() if name == "schools" else vae(name))
