"""One epoch over 100,000 x 2,000 sparse counts: memory above the start, cells a second.

    python benchmarks/sparse_cells.py [--cells 100000] [--genes 2000] [--out]

The dense table would be 0.8 GB in float32; `data.sparse_rows` makes blocks of it.
"Above the start" is the peak of the process less what it held when the sparse table
was ready. The time includes tracing and compiling; processor seconds are summed over
threads, and other work on the machine does not count in them.
"""

from __future__ import annotations

import argparse
import resource
import time

import harness
import numpy as np
from scipy import sparse

import elbo_tfp as et


def table(cells, genes, density=0.05, seed=0):
    """Random counts, about `density` of them above 0, and no empty cell."""
    rng = np.random.default_rng(seed)
    per_cell = max(1, int(density * genes))
    indices = rng.integers(genes, size=cells * per_cell, dtype=np.int32)
    counts = 1 + rng.poisson(1.0, size=indices.size).astype("float32")
    ends = np.arange(cells + 1) * per_cell
    return sparse.csr_matrix((counts, indices, ends), shape=(cells, genes))


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", action="store_true", help="store the results")
    asked = parser.parse_args()
    x = table(asked.cells, asked.genes)
    model, encoder = et.models.count_vae(asked.genes, 8, seed=0)
    before, start = megabytes(), time.perf_counter()
    start_cpu = time.process_time()

    def bound(batch, seed):
        target = model.log_joint(batch)
        return et.gradients.reparameterized(target, encoder(batch), seed=seed)

    steps = asked.cells // asked.batch
    fit = et.fit(
        bound,
        num_steps=steps,
        data=et.data.sparse_rows(x),
        batch_size=asked.batch,
        seed=0,
        progress=False,
    )
    seconds = time.perf_counter() - start
    found = {
        "cells": asked.cells,
        "genes": asked.genes,
        "batch": asked.batch,
        "steps": steps,
        "elbo_first": round(float(fit.elbo[:5].mean()), 1),
        "elbo_last": round(float(fit.elbo[-5:].mean()), 1),
        "megabytes_above_start": round(megabytes() - before),
        "seconds": round(seconds, 1),
        "processor_seconds": round(time.process_time() - start_cpu, 1),
        "cells_per_second": round(steps * asked.batch / seconds),
    }
    for name, value in found.items():
        print(f"{name:22} {value}")
    if asked.out:
        what = "python benchmarks/sparse_cells.py --out"
        environment = harness.environment() | {"versions": harness.versions()}
        harness.save("sparse_cells", {"what": what, **environment, **found})


if __name__ == "__main__":
    main()
