"""What 16 bits and TF32 cost in nats: the ELBO and the evidence of a VAE of digits.

    python -m benchmarks.precision

A VAE is trained in float32 and then evaluated, with the same noise, with its networks
in bfloat16 (a Keras policy) and with the factors of their matrix products rounded to 10
bits, as TF32 does on a GPU; differences are paired per held-out image. Then networks
are trained in bfloat16 and evaluated in float32, against training in float32, by seed.
The rounding is an emulation on a CPU: a GPU also sums in another order.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import tensorflow as tf

import elbo_tfp as et
from benchmarks import harness

HIDDEN, LATENT = 64, 10
NOTE = (
    "evidence is what importance sampling says at this number of draws: too low for "
    "most images, whose effective sample size is below 10; the differences are paired, "
    "on the same noise"
)


def rounded(x):
    """float32 to 10 bits after the point, to nearest: TF32."""
    bits = tf.bitcast(x, tf.int32) + tf.constant(1 << 12)
    return tf.bitcast(tf.bitwise.bitwise_and(bits, ~((1 << 13) - 1)), tf.float32)


def build(dtype, seed=0):
    """A VAE of digits, its networks in this dtype."""
    likelihood = et.models.binomial(64, 16)
    given = {"hidden": (HIDDEN,), "likelihood": likelihood, "seed": seed}
    return et.models.vae(64, LATENT, dtype=dtype, **given)


def networks(vae):
    """The Keras networks of a VAE: encoder and decoder."""
    decoder = next(
        cell.cell_contents
        for cell in vae.model._likelihood.__closure__
        if hasattr(cell.cell_contents, "layers")
    )
    return vae.encoder.network, decoder


def emulated(vae):
    """The same VAE with rounded factors in every matrix product."""
    encoder, decoder = networks(vae)

    def through(network, x):
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                x = rounded(x) @ rounded(layer.kernel.value) + layer.bias.value
                x = layer.activation(x)
            else:
                x = layer(x)
        return x

    likelihood = et.models.binomial(64, 16)

    def decode(z):
        flat = through(decoder, tf.reshape(z, [-1, LATENT]))
        return likelihood(tf.reshape(flat, tf.concat([tf.shape(z)[:-1], [64]], 0)))

    model = et.LatentVariableModel(vae.model.prior, decode)
    family = vae.encoder.family
    return model, et.Encoder(lambda x: through(encoder, x), family)


def train(vae, x, steps, seed):
    """Climbs the ELBO."""

    def bound(batch, seed):
        target = vae.model.log_joint(batch)
        return et.gradients.reparameterized(target, vae.encoder(batch), seed=seed)

    et.fit(bound, num_steps=steps, data=x, batch_size=128, seed=seed, progress=False)


def scores(model, encoder, x, draws):
    """ELBO and importance evidence of each image, nats."""
    q, target = encoder(x), model.log_joint(x)
    elbo = et.bounds.elbo(et.draw(target, q, 64, seed=1)).numpy()
    given = {"surrogate_posterior": q, "sample_size": draws, "seed": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="importance weights collapsed")
        evidence = et.evidence.estimate(model, x, **given).estimate.numpy()
    return {"elbo": elbo, "evidence": evidence}


def paired(found, reference) -> dict:
    """Mean difference with its standard error, and the largest of one image, nats."""
    gap = np.asarray(found, float) - np.asarray(reference, float)
    return {
        "mean": float(gap.mean()),
        "standard error": float(gap.std(ddof=1) / np.sqrt(len(gap))),
        "largest of one": float(np.abs(gap).max()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    digits = et.data.digits()
    x, held_out = digits.x_train, digits.x_test
    half, trained = build("mixed_bfloat16"), {"float32": [], "mixed_bfloat16": []}
    result = {}
    for seed in range(asked.seeds):
        for dtype in trained:
            vae, wide = build(dtype, seed), build("float32", seed)
            train(vae, x, asked.steps, seed)
            for to, source in zip(networks(wide), networks(vae), strict=True):
                to.set_weights(source.get_weights())
            found = scores(*wide, held_out, asked.draws)
            trained[dtype].append({k: float(np.mean(v)) for k, v in found.items()})
            print(dtype, seed, trained[dtype][-1], flush=True)
            if seed == 0 and dtype == "float32":
                for to, source in zip(networks(half), networks(vae), strict=True):
                    to.set_weights(source.get_weights())
                others = {"bfloat16": half, "tf32, emulated": emulated(vae)}
                for name, other in others.items():
                    there = scores(*other, held_out, asked.draws)
                    result[name] = {k: paired(there[k], found[k]) for k in found}
                    print(name, result[name], flush=True)
    gaps = {
        k: [a[k] - b[k] for a, b in zip(*list(trained.values())[::-1], strict=True)]
        for k in ("elbo", "evidence")
    }
    environment = {**harness.environment(), "versions": harness.versions()}
    harness.save(
        "precision",
        {
            "what": "python -m benchmarks.precision "
            f"--steps {asked.steps} --draws {asked.draws} --seeds {asked.seeds}",
            "note": NOTE,
            **environment,
            "unit": "nats per held-out image (of 360), against float32",
            "evaluated in another precision, same weights and noise": result,
            "trained in bfloat16, evaluated in float32, by seed": {
                k: {
                    "differences": v,
                    "mean": float(np.mean(v)),
                    "standard error": float(np.std(v, ddof=1) / np.sqrt(len(v))),
                }
                for k, v in gaps.items()
            },
            "float32": trained["float32"],
        },
    )


if __name__ == "__main__":
    main()
