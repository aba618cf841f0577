"""Importance-weighted evidence of held-out digits: seconds and memory, next to NumPyro.

    .venv/bin/python benchmarks/evidence.py [--samples 5000] [--rounds 3] [--out]

A VAE (64 pixels, 256 hidden units, 20 latents, Binomial likelihood) is fitted to the
digits once; then every library estimates log p(x) of the 360 held-out images from the
same weights with K draws each of the encoder's q. Ours is `gaps.evidence`. NumPyro has
no evidence estimator in constant memory, so it is given one: its distributions, chunks
of the same size, averaged by hand in one compiled `lax.scan`. Runs are interleaved
(`harness.py`). Memory is the process's peak, libraries included.

Peers live in .venv-bench (requirements.txt beside this file); without it, or without
NumPyro in it, only our own row is printed, with a line that says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import harness  # noqa: E402

CHUNK = 11
HIDDEN, LATENTS, TRIALS = 256, 20, 16


def prepare(path: Path, num_steps: int = 1_500) -> None:
    """Fits the VAE and stores its weights with the held-out images."""
    import keras

    import elbo_tfp as et

    split = et.data.digits()
    model, encoder, variables = _vae(et)
    et.fit(
        lambda seed, batch: et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), seed=seed
        ),
        num_steps=num_steps,
        data=split.x_train,
        batch_size=128,
        optimizer=keras.optimizers.Adam(2e-3),
        seed=0,
        progress=False,
    )
    weights = {f"w{i}": np.asarray(v) for i, v in enumerate(variables)}
    np.savez(path, x=split.x_test, **weights)


def ours(path: Path, samples: int):
    """A function that makes one estimate with `gaps.evidence`."""
    import elbo_tfp as et

    warnings.simplefilter("ignore")
    stored = np.load(path)
    model, encoder, variables = _vae(et)
    for i, variable in enumerate(variables):
        variable.assign(stored[f"w{i}"])
    count = iter(range(1_000_000))

    def run():
        found = et.gaps.evidence(
            model,
            stored["x"],
            surrogate_posterior=encoder(stored["x"]),
            sample_size=samples,
            chunk_size=CHUNK,
            seed=next(count),
        )
        return samples, [float(np.mean(found.estimate))]

    return run


def numpyro(path: Path, samples: int):
    """The same by hand with NumPyro's distributions, scanned and compiled."""
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    stored = np.load(path)
    w = [jnp.asarray(stored[f"w{i}"]) for i in range(8)]
    x = jnp.asarray(stored["x"])
    chunks = -(-samples // CHUNK)

    def dense(value, i):
        return value @ w[i] + w[i + 1]

    @jax.jit
    def estimate(key):
        raw = dense(jax.nn.relu(dense(x / TRIALS, 0)), 2)
        scale = jax.nn.softplus(raw[:, LATENTS:] + 0.541324854612918)
        q = dist.Normal(raw[:, :LATENTS], scale).to_event(1)
        prior = dist.Normal(jnp.zeros(LATENTS), 1.0).to_event(1)

        def chunk(carry, number):
            z = q.sample(jax.random.fold_in(key, number), (CHUNK,))
            logits = dense(jax.nn.relu(dense(z, 4)), 6)
            likelihood = dist.BinomialLogits(logits, TRIALS).to_event(1)
            weight = likelihood.log_prob(x) + prior.log_prob(z) - q.log_prob(z)
            live = (number * CHUNK + jnp.arange(CHUNK) < samples)[:, None]
            weight = jax.nn.logsumexp(jnp.where(live, weight, -jnp.inf), 0)
            return jnp.logaddexp(carry, weight), None

        start = jnp.full([len(x)], -jnp.inf)
        total, _ = jax.lax.scan(chunk, start, jnp.arange(chunks))
        return jnp.mean(total - jnp.log(samples))

    count = iter(range(1_000_000))

    def run():
        return samples, [float(estimate(jax.random.key(next(count))))]

    return run


def _vae(et):
    """Model, encoder, and their variables: kernel and bias, layer by layer."""
    import keras
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    likelihood, family = et.models.binomial(64, TRIALS), et.families.mean_field(LATENTS)

    def network(inputs, outputs, scale, seed):
        layers = [keras.layers.Input([inputs]), keras.layers.Rescaling(scale)]
        for i, (units, kind) in enumerate([(HIDDEN, "relu"), (outputs, None)]):
            start = keras.initializers.GlorotUniform(seed + i)
            layers.append(keras.layers.Dense(units, kind, kernel_initializer=start))
        return keras.Sequential(layers)

    encoder = network(64, family.parameters_size, 1 / TRIALS, 0)
    decoder = network(LATENTS, likelihood.parameters_size, 1.0, 2)
    prior = tfd.Independent(tfd.Normal(tf.zeros(LATENTS), 1.0), 1)

    def decode(z):
        rows = decoder(tf.reshape(z, [-1, LATENTS]))
        return likelihood(tf.reshape(rows, [*z.shape[:-1], rows.shape[-1]]))

    model = et.LatentVariableModel(prior, decode)
    variables = [*encoder.trainable_variables, *decoder.trainable_variables]
    return model, et.Encoder(encoder, family), variables


def _peak(worker) -> float:
    """Peak resident memory of a worker, GB."""
    status = Path(f"/proc/{worker._process.pid}/status").read_text(encoding="utf-8")
    line = next(text for text in status.splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", action="store_true", help="store the results")
    parser.add_argument("--worker", choices=("ours", "numpyro"))
    parser.add_argument("--problem", type=Path)
    asked = parser.parse_args()
    if asked.worker:
        make = {"ours": ours, "numpyro": numpyro}[asked.worker]
        harness.serve(make(asked.problem, asked.samples))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder) / "problem.npz", asked)


def compare(path: Path, asked) -> None:
    """Runs all libraries in turn and prints a table."""
    prepare(path)
    workers = []
    for name, python in (("ours", sys.executable), ("numpyro", harness.PEERS)):
        options = ("--worker", name, "--problem", path, "--samples", asked.samples)
        try:
            workers.append(harness.Worker(name, python, Path(__file__), options))
        except (RuntimeError, OSError) as error:
            print(f"{name} is left out: {error} See benchmarks/requirements.txt.")
    runs = harness.interleave(workers, asked.rounds, lambda text: None)
    rows = harness.summarize(runs, "ours")
    peaks = {worker.name: _peak(worker) for worker in workers}
    found = harness.environment(workers)
    for worker in workers:
        worker.close()
    print(harness.describe(found))
    print(f"\nK = {asked.samples} draws for each of 360 digits")
    print("library    first s   s/run   cpu s   ratio  peak GB  nats/image")
    for row in rows:
        later = [run.seconds for run in runs[row.name][1:]]
        print(
            f"{row.name:9} {runs[row.name][0].seconds:8.2f} {np.median(later):7.2f}"
            f" {row.cpu * asked.samples / 1e6:7.2f} {row.ratio:7.2f}"
            f" {peaks[row.name]:8.2f} {row.elbo:11.3f}"
        )
    if asked.out:
        content = {
            "environment": found,
            "samples": asked.samples,
            "rows": [row._asdict() for row in rows],
            "peak_gb": peaks,
        }
        print(f"stored in {harness.save('evidence', content)}")


if __name__ == "__main__":
    main()
