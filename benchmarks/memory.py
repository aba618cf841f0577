"""Memory that many fits of fresh models leave behind, early and late.

    python benchmarks/memory.py [--fits 200]

Each fit is of a VAE 8-16-2 with weights of its own, for 20 steps: one architecture, so
one compiled program. What the allocator and TensorFlow's tables take would end; what
each trace leaves behind does not, and is the same from first to last. Beside it stands
what one plain `tf.function(jit_compile=True)` of one dense layer keeps, the price of a
single small program.
"""

from __future__ import annotations

import argparse
import gc

import harness


def resident() -> float:
    """MiB of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def measure(fits: int, every: int) -> list[dict]:
    """Resident memory after every so many fits."""
    import numpy as np

    import elbo_tfp as et
    from elbo_tfp.ground import compiled

    x = np.random.default_rng(0).normal(size=(500, 8)).astype("float32")
    rows = []
    for k in range(fits + 1):
        vae = et.models.vae(8, 2, hidden=(16,), likelihood="gaussian", seed=k)

        def bound(batch, seed, vae=vae):
            target, q = vae.model.log_joint(batch), vae.encoder(batch)
            return et.gradients.reparameterized(target, q, seed=seed)

        et.fit(bound, num_steps=20, data=x, batch_size=50, seed=k, progress=False)
        if k % every == 0:
            gc.collect()
            found = {"fits": k, "MiB": resident(), "programs": compiled.count()}
            print(found, flush=True)
            rows.append(found)
    return rows


def programs(count: int) -> float:
    """MiB that a fresh plain program keeps: a dense layer and Adam, each compiled."""
    import keras
    import tensorflow as tf

    def make(k):
        network = keras.Sequential([keras.Input([8]), keras.layers.Dense(16 + k)])
        optimizer = keras.optimizers.Adam()
        optimizer.build(network.trainable_variables)

        @tf.function(jit_compile=True)
        def step(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(network(x)))
            slope = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(slope, network.trainable_variables)
            return loss

        step(tf.ones([50, 8]))

    make(0)
    gc.collect()
    before = resident()
    for k in range(count):
        make(1 + k)
    gc.collect()
    return (resident() - before) / count


def slope(rows) -> float:
    """MiB a fit between the first and the last of these rows."""
    return (rows[-1]["MiB"] - rows[0]["MiB"]) / (rows[-1]["fits"] - rows[0]["fits"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200)
    asked = parser.parse_args()
    environment = harness.environment()
    environment["versions"] = harness.versions()
    print(harness.describe(environment), flush=True)
    rows = measure(asked.fits, asked.fits // 10)
    content = {"environment": environment, "rows": rows}
    # the first tenth fills the allocator's pools
    content["early, MiB a fit"] = slope(rows[1:6])
    content["late, MiB a fit"] = slope(rows[5:])
    content["a plain program, MiB"] = programs(10)
    for name in list(content)[2:]:
        print(f"{name}: {content[name]:.2f}")
    print(harness.save("memory", content))


if __name__ == "__main__":
    main()
