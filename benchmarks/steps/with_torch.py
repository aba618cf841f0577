"""The problems in PyTorch, eager or with torch.compile, and the large one's products.

Batches are indexed on the device instead of going through a DataLoader, whose cost per
batch is several times that of a small step.
"""

import os

import numpy as np
import problem as p
import torch
from harness import serve
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))


def normal_log_prob(z, loc, scale):
    return -0.5 * ((z - loc) / scale) ** 2 - scale.log() - 0.5 * np.log(2 * np.pi)


def trainer(parameters, loss, rate, variant):
    """One step: zero, backward, Adam; `loss` compiled if the variant says so."""
    fused = {"fused": True} if variant != "plain" else {}
    optimizer = torch.optim.Adam(parameters, lr=rate, **fused)
    loss = torch.compile(loss) if variant == "compiled" else loss

    def step(*batch):
        optimizer.zero_grad()
        value = loss(*batch)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def vae(name, variant):
    size = p.SIZES[name]
    x, rng = torch.tensor(p.data(size)), np.random.default_rng(0)
    weights = [torch.tensor(w, requires_grad=True) for w in p.weights(size)]
    w1, b1, w2, b2, w3, b3, w4, b4 = weights

    def loss(batch):
        h = torch.addmm(b2, torch.relu(torch.addmm(b1, batch, w1)), w2)
        loc, scale = h[:, : size.latents], softplus(h[:, size.latents :])
        z = loc + scale * torch.randn(loc.shape)
        logits = torch.addmm(b4, torch.relu(torch.addmm(b3, z, w3)), w4)
        minus_log_x = binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        log_prior = -0.5 * (z**2 + np.log(2 * np.pi))
        rate = (normal_log_prob(z, loc, scale) - log_prior).sum()
        return (minus_log_x + rate) / len(batch)

    step, steps = trainer(weights, loss, p.RATE_VAE, variant), p.eager(size.steps)
    steps = size.steps if name == "large" else steps

    def run():
        order = torch.from_numpy(p.rows(rng, size, steps))
        losses = [step(x[row]) for row in order]
        return steps, -torch.stack(losses).numpy()

    return run


def schools(variant):
    y, sigma = torch.tensor(p.Y), torch.tensor(p.SIGMA)
    loc = torch.zeros(10, requires_grad=True)
    log_scale = torch.full([10], float(np.log(0.1)), requires_grad=True)
    one, five = torch.tensor(1.0), torch.tensor(5.0)

    def loss():
        scale = log_scale.exp()
        z = loc + scale * torch.randn(p.SAMPLES, 10)
        eta, mu, log_tau = z[:, :8], z[:, 8], z[:, 9]
        tau = log_tau.exp()
        log_p = np.log(2 / (5 * np.pi)) - torch.log1p((tau / 5) ** 2) + log_tau
        log_p = log_p + normal_log_prob(eta, 0.0, one).sum(-1)
        log_p = log_p + normal_log_prob(mu, 0.0, five)
        theta = mu[:, None] + tau[:, None] * eta
        log_p = log_p + normal_log_prob(y, theta, sigma).sum(-1)
        return (normal_log_prob(z, loc, scale).sum(-1) - log_p).mean()

    step = trainer([loc, log_scale], loss, p.RATE_SCHOOLS, variant)
    steps = p.eager(p.SCHOOL_STEPS)
    return lambda: (steps, -torch.stack([step() for _ in range(steps)]).numpy())


def products(name):
    """The eleven matrix products of a step, forward and backward, and nothing else."""
    size = p.SIZES[name]
    x = torch.tensor(p.data(size)[: size.batch])
    w1, w2, w3, w4 = (torch.tensor(w) for w in p.weights(size)[::2])

    @torch.no_grad()
    def step():
        h1 = x @ w1
        h2 = h1 @ w2
        h3 = h2[:, : size.latents] @ w3
        h4 = h3 @ w4
        d3 = h4 @ w4.T
        dz = d3 @ w3.T
        d1 = h2 @ w2.T
        return h3.T @ h4, h2[:, : size.latents].T @ d3, h1.T @ h2, x.T @ d1, dz

    def run():
        for _ in range(size.steps):
            step()
        return size.steps, [float("nan")]

    return run


if __name__ == "__main__":
    name, variant = p.asked()
    if variant == "products":
        serve(products(name))
    else:
        serve(schools(variant) if name == "schools" else vae(name, variant))
