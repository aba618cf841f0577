"""An epoch from sharded files: peak memory by the size of the data, and rows a second.

    python -m benchmarks.streaming [--megabytes 50 200 800]

Each size is written and fitted in a fresh process, so its peak is its own. Reported are
the peak before the fit's steps (TensorFlow, the compiled program) and at the end of an
epoch. The rate is that of the fit's steps without tracing and compiling, for a small
VAE's step and for one that only sums its batch, from shards and from memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile

from benchmarks import harness

WIDTH, BATCH = 784, 256
LIMIT = 210
"""Megabytes of data that are also fitted from memory, for the rate."""


def peak() -> float:
    """The process's peak memory, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def blocks(rows, width=WIDTH, size=4096):
    """Binary pixels, a block at a time."""
    import numpy as np

    rng = np.random.default_rng(0)
    for start in range(0, rows, size):
        shape = min(size, rows - start), width
        yield (rng.random(shape, np.float32) < 0.3).astype("float32")


def objectives():
    """A VAE's bound, and one that costs nothing."""
    import tensorflow as tf

    import elbo_tfp as et

    model, encoder = et.models.vae(WIDTH, 16, hidden=(128,), seed=0)
    v = tf.Variable(0.0)

    def vae(batch, seed):
        target = model.log_joint(batch)
        return et.gradients.reparameterized(target, encoder(batch), seed=seed)

    return {"vae": vae, "sum": lambda batch: v * tf.reduce_sum(batch, -1)}


def epoch(objective, data, steps) -> dict:
    """Rows a second of a fit."""
    import elbo_tfp as et

    found = et.fit(
        objective,
        num_steps=steps,
        data=data,
        batch_size=BATCH,
        seed=0,
        progress=False,
    )
    return round(steps * BATCH / found.seconds)


def streamed(megabytes: int) -> dict:
    """Peaks and rates of one size, in this process."""
    import numpy as np

    import elbo_tfp as et

    rows = int(megabytes * 2**20 / 4 / WIDTH)
    steps, made = rows // BATCH, objectives()
    folder = tempfile.mkdtemp()
    try:
        shards = 2 * max(1, megabytes // 50)
        data = et.data.write_shards(blocks(rows), folder, shards=shards)
        found = {"megabytes": megabytes, "rows": rows, "shards": shards}
        epoch(made["sum"], data, 17)
        found["peak before, MB"] = round(peak())
        for name, objective in made.items():
            found[f"{name}, rows a second"] = epoch(objective, data, steps)
        found["peak, MB"] = round(peak())
        if megabytes <= LIMIT:
            x = np.concatenate(list(blocks(rows)))
            for name, objective in made.items():
                key = f"{name} from memory, rows a second"
                found[key] = epoch(objective, x, steps)
            found["peak with the data in memory, MB"] = round(peak())
    finally:
        shutil.rmtree(folder)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 200, 800])
    parser.add_argument("--one", type=int)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(streamed(asked.one)))
        return
    sizes = []
    for size in asked.megabytes:
        command = [sys.executable, "-m", "benchmarks.streaming", "--one", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes.append(json.loads(done.stdout.splitlines()[-1]))
        print(sizes[-1], flush=True)
    environment = harness.environment()
    environment["versions"] = harness.versions()
    what = "python -m benchmarks.streaming"
    harness.save("streaming", {"what": what, **environment, "sizes": sizes})


if __name__ == "__main__":
    main()
