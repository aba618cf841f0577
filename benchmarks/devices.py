"""Two workers with a core each against one: rows a second, over batch sizes.

    python benchmarks/devices.py [--sizes 128 ... 8192] [--steps 8]

A VAE 784-1024-1024-32 on random bits. The one worker is a plain `fit` on one core; the
two are processes of a `MultiWorkerMirroredStrategy`, each pinned to a core of its own
(taskset), one thread each, connected by the loopback interface. All take the same
batches. Seconds are those of the steps, without tracing and compiling; each batch size
is one fit, and "rows a second" counts the whole batch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

import harness

HIDDEN, LATENT, PIXELS = 1024, 32, 784
SIZES = [128, 512, 2048, 4096, 8192]


def work(sizes, steps) -> None:
    """The worker's side: one fit for each batch size."""
    import numpy as np
    import tensorflow as tf

    workers = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if workers else None
    import elbo_tfp as et

    x = np.random.default_rng(0).integers(0, 2, [2 * max(sizes), PIXELS])
    x = x.astype(np.float32)

    def build():
        hidden = (HIDDEN, HIDDEN)
        vae = et.models.vae(PIXELS, LATENT, hidden=hidden, seed=0)

        def bound(batch, seed):
            target, q = vae.model.log_joint(batch), vae.encoder(batch)
            return et.gradients.reparameterized(target, q, seed=seed)

        return bound

    for size in sizes:
        fit = et.fit(
            build if workers else build(),
            num_steps=steps,
            data=x,
            batch_size=size,
            seed=0,
            progress=False,
            strategy=strategy,
        )
        found = {"batch": size, "rows a second": size * steps / fit.seconds}
        found |= {"seconds a step": fit.seconds / steps, "elbo": float(fit.elbo[-1])}
        print("@" + json.dumps(found), flush=True)


def run(count: int, sizes, steps) -> list[dict]:
    """What `count` workers measure, as the first of them tells."""
    addresses = [f"127.0.0.1:{port}" for port in harness.free_ports(count)]
    processes = []
    cores = sorted(os.sched_getaffinity(0))[:count]
    here = [sys.executable, __file__, "--steps", steps, "--worker", "--sizes", *sizes]
    with tempfile.TemporaryFile("w+") as errors:
        pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        try:
            for i, core in enumerate(cores):
                environment = harness._environment(1, 1)
                environment.pop("TF_NUM_INTEROP_THREADS")  # who waits must not block
                if count > 1:
                    task = {"type": "worker", "index": i}
                    config = {"cluster": {"worker": addresses}, "task": task}
                    environment["TF_CONFIG"] = json.dumps(config)
                command = [str(part) for part in ("taskset", "-c", core, *here)]
                processes.append(subprocess.Popen(command, env=environment, **pipes))
            said = [process.communicate()[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        lines = [line[1:] for line in said[0].splitlines() if line.startswith("@")]
        if len(lines) < len(sizes):
            errors.seek(0)
            raise RuntimeError(errors.read()[-3000:])
    return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.sizes, asked.steps)
        return
    environment = harness.environment()
    environment["versions"] = harness.versions()
    print(harness.describe(environment), flush=True)
    one, two = (run(count, asked.sizes, asked.steps) for count in (1, 2))
    print(f"{'batch':>6} {'one, rows/s':>12} {'two, rows/s':>12} {'times':>6}")
    rows = []
    for a, b in zip(one, two, strict=True):
        alone, both = a["rows a second"], b["rows a second"]
        print(f"{a['batch']:6d} {alone:12.0f} {both:12.0f} {both / alone:6.2f}")
        rows.append({"batch": a["batch"], "one": a, "two": b, "times": both / alone})
    content = {"environment": environment, "steps": asked.steps, "curve": rows}
    print(harness.save("devices", content))


if __name__ == "__main__":
    main()
