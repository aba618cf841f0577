"""The problems in NumPy: data, starting weights and batches that all libraries share.

small    a VAE 64-64-2, batches of 100 of 1,700 data
large    a VAE 784-400-20, batches of 128 of 12,800 data
big      a VAE 784-2048-2048-64, batches of 1,024 of 10,240 data, for a GPU (gpu/)
schools  eight schools, not centred, mean-field Gaussian, 16 samples

All VAEs: x ~ Bernoulli, z ~ N(0, I), hidden ReLU layers on either side, scales by
softplus, one sample per datum, Adam(1e-3), float32. Data are simulated. An epoch is a
whole number of batches, in a fresh order every time: `rows` makes the order in NumPy,
inside the timed run, for every library that does not shuffle by itself.

A run has BENCH_LENGTH (from the environment) times as many steps as the shortest.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import NamedTuple

import numpy as np

LENGTH = int(os.environ.get("BENCH_LENGTH", "1"))
RATE_VAE, RATE_SCHOOLS = 1e-3, 1e-2
SAMPLES = 16
Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12], np.float32)
SIGMA = np.array([15.0, 10, 16, 11, 9, 11, 10, 18], np.float32)


class Vae(NamedTuple):
    """Sizes of a VAE problem."""

    num_data: int
    pixels: int
    hidden: int
    latents: int
    batch: int
    epochs: int
    """Epochs in one run."""
    depth: int = 1
    """Hidden layers on either side."""

    @property
    def steps(self) -> int:
        """Steps in one run."""
        return self.epochs * self.num_data // self.batch


SIZES = {
    "small": Vae(1_700, 64, 64, 2, 100, epochs=60 * LENGTH),
    "large": Vae(12_800, 784, 400, 20, 128, epochs=LENGTH),
    "big": Vae(10_240, 784, 2_048, 64, 1_024, epochs=20 * LENGTH, depth=2),
}
SCHOOL_STEPS = 10_000 * LENGTH


def asked() -> tuple[str, str]:
    """The problem and the variant that the command line names."""
    return sys.argv[1], (sys.argv[2:] or [""])[0]


def eager(steps: int) -> int:
    """Steps per run of a library that dispatches each of them from Python."""
    return max(10, steps // 20)


def data(size: Vae) -> np.ndarray:
    """Binary images from a latent space of 8 dimensions, `[num_data, pixels]`."""
    rng = np.random.default_rng(1)
    basis = rng.normal(size=[8, size.pixels])
    logits = rng.normal(size=[size.num_data, 8]) @ basis
    return (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def weights(size: Vae) -> list[np.ndarray]:
    """Glorot matrices and zero biases: w, b of each encoder, then decoder layer."""
    rng, found = np.random.default_rng(2), []
    d, hidden, k = size.pixels, [size.hidden] * size.depth, size.latents
    sides = [d, *hidden, 2 * k], [k, *hidden, d]
    for n, m in (pair for side in sides for pair in itertools.pairwise(side)):
        limit = np.sqrt(6 / (n + m))
        found.append(rng.uniform(-limit, limit, [n, m]).astype(np.float32))
        found.append(np.zeros([m], np.float32))
    return found


def rows(rng, size: Vae, steps: int) -> np.ndarray:
    """Row numbers of `steps` batches, a fresh permutation every epoch."""
    epochs = -(-steps * size.batch // size.num_data)
    order = np.concatenate([rng.permutation(size.num_data) for _ in range(epochs)])
    order = order[: steps * size.batch].astype(np.int32)
    return order.reshape(steps, size.batch)
