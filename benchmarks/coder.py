"""The bits-back coder: raw pixels per minute, and its rate against the bound.

    .venv/bin/python benchmarks/coder.py [--repeats 5] [--latents 10] [--images 20000]

A VAE is fitted to the digits (counts 0 to 16, one byte a pixel), then `codes.compress`
and `codes.decompress` run on held-out digits, drawn with replacement to the number of
images asked for. `compress` decodes every block before it returns, so its time holds
both directions; that is the number to compare with the target of 1 MB per minute.
Compiling is timed apart: it is paid once per model. Medians over the repeats, with
their range.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import keras
import numpy as np

import elbo_tfp as et
from elbo_tfp import codes, models


def fitted(latents: int, steps: int):
    """A VAE of the digits: good enough that the coder sees realistic tables."""
    x = et.data.digits().x_train
    likelihood = models.beta_binomial(64, 16)
    vae = models.vae(64, latents, likelihood=likelihood, seed=0)

    def objective(batch, seed):
        target = vae.model.log_joint(batch)
        return et.gradients.reparameterized(target, vae.encoder(batch), seed=seed)

    adam = keras.optimizers.Adam(2e-3)
    options = {"data": x, "batch_size": 128, "optimizer": adam, "progress": False}
    et.fit(objective, num_steps=steps, seed=0, **options)
    return vae


def timed(function, *args) -> tuple[float, object]:
    """Seconds by the wall, and the result."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def speed(megabytes: float, seconds: list[float]) -> str:
    """Median and range of megabytes per minute."""
    rates = sorted(60 * megabytes / s for s in seconds)
    median = statistics.median(rates)
    return f"{median:7.2f} MB / minute  ({rates[0]:.2f} to {rates[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--latents", type=int, default=10)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=1_000)
    arguments = parser.parse_args()
    vae = fitted(arguments.latents, arguments.steps)
    test = et.data.digits().x_test
    rows = np.random.default_rng(0).integers(len(test), size=arguments.images)
    x = test[rows].astype("uint8")
    first, _ = timed(codes.compress, x[:10], *vae)
    packing, unpacking = [], []
    for _ in range(arguments.repeats):
        seconds, result = timed(codes.compress, x, *vae)
        packing.append(seconds)
        seconds, again = timed(codes.decompress, result, *vae)
        unpacking.append(seconds)
        assert again.dtype == x.dtype and np.array_equal(again, x)
    draws = et.draw(vae.model.log_joint(test), vae.encoder(test), 50, seed=0)
    bound = codes.code_length(draws)
    # the bound of the very images that were coded
    expected = float(np.mean(bound.value.numpy()[rows]))
    print(f"{os.cpu_count()} cores, {x.nbytes / 1e6:.2f} MB of pixels, block 8192")
    print(f"compress and check {speed(x.nbytes / 1e6, packing)}")
    print(f"decompress         {speed(x.nbytes / 1e6, unpacking)}")
    print(f"first call {first:.1f} s, with compiling; then as above")
    print(f"-ELBO / log 2 {expected:.2f} bits per image, coded net ", end="")
    print(f"{result.net_bits_per_datum:.2f}, file {result.bits_per_datum:.2f}")


if __name__ == "__main__":
    main()
