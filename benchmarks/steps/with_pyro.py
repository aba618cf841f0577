"""The problems in Pyro's SVI, with Trace_ELBO or its traced form JitTrace_ELBO."""

import os

import numpy as np
import problem as p
import pyro
import pyro.distributions as dist
import torch
from harness import serve
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO
from pyro.infer.autoguide import AutoNormal

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
pyro.enable_validation(False)


def vae(name, elbo):
    size = p.SIZES[name]
    x, rng = torch.tensor(p.data(size)), np.random.default_rng(0)
    layers = [torch.nn.Linear(*w.shape) for w in p.weights(size)[::2]]
    with torch.no_grad():
        for layer, w in zip(layers, p.weights(size)[::2], strict=True):
            layer.weight.copy_(torch.tensor(w.T))
            layer.bias.zero_()
    relu = torch.nn.ReLU()
    encoder = torch.nn.Sequential(layers[0], relu, layers[1])
    decoder = torch.nn.Sequential(layers[2], relu, layers[3])

    def model(batch):
        pyro.module("decoder", decoder)
        with pyro.plate("data", size.batch):
            z = pyro.sample(
                "z", dist.Normal(torch.zeros(size.latents), 1.0).to_event(1)
            )
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=batch)

    def guide(batch):
        pyro.module("encoder", encoder)
        with pyro.plate("data", size.batch):
            loc, raw = encoder(batch).chunk(2, -1)
            scale = torch.nn.functional.softplus(raw)
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": p.RATE_VAE}), elbo())
    steps = p.eager(size.steps)

    def run():
        order = torch.from_numpy(p.rows(rng, size, steps))
        return steps, [-svi.step(x[row]) / size.batch for row in order]

    return run


def schools(elbo):
    y, sigma = torch.tensor(p.Y), torch.tensor(p.SIGMA)

    def model():
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0)))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)

    particles = elbo(num_particles=p.SAMPLES, vectorize_particles=True)
    optimizer = pyro.optim.Adam({"lr": p.RATE_SCHOOLS})
    svi = SVI(model, AutoNormal(model), optimizer, particles)
    steps = p.eager(p.SCHOOL_STEPS)
    return lambda: (steps, [-svi.step() for _ in range(steps)])


if __name__ == "__main__":
    name, variant = p.asked()
    kind = JitTrace_ELBO if variant == "jit" else Trace_ELBO
    serve(schools(kind) if name == "schools" else vae(name, kind))
