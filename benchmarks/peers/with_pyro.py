"""The three problems in Pyro, eager, with vectorised particles."""

import problem as p
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import RenyiELBO, TraceEnum_ELBO, TraceGraph_ELBO

torch.set_num_threads(1)
W, X, DATA, X_BITS = (torch.tensor(v) for v in (p.W, p.X, p.DATA, p.X_BITS))


def runner(elbo, model, guide, watched):
    def run(seed, number):
        pyro.set_rng_seed(seed)
        totals = None
        for _ in range(number):
            for value in pyro.get_param_store().values():
                value.grad = None
            elbo.loss_and_grads(model, guide)
            found = [-pyro.param(k).unconstrained().grad for k in watched]
            new = (found, [g * g for g in found])
            totals = new if totals is None else [
                [a + b for a, b in zip(old, more, strict=True)]
                for old, more in zip(totals, new, strict=True)
            ]  # fmt: skip
        return [[v.numpy() for v in group] for group in totals]

    pyro.clear_param_store()
    guide()
    return run


def iwae():
    def model():
        w = pyro.param("w", W.clone)
        z = pyro.sample("z", dist.Normal(torch.zeros(10), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z @ w.T, 1.0).to_event(1), obs=X)

    def guide():
        loc = pyro.param("loc", lambda: torch.tensor(p.LOC))
        log_scale = pyro.param("s", lambda: torch.tensor(p.LOG_SCALE))
        pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    elbo = RenyiELBO(
        alpha=0.0, num_particles=p.SAMPLES, vectorize_particles=True,
        max_plate_nesting=0,
    )  # fmt: skip
    yield "RenyiELBO(0)", elbo, model, guide, ["loc", "s"]


def enum():
    def model():
        means = pyro.sample("m", dist.Normal(torch.zeros(5), 3.0).to_event(1))
        with pyro.plate("data", 100):
            c = pyro.sample(
                "c", dist.Categorical(torch.full([5], 0.2)),
                infer={"enumerate": "parallel"},
            )  # fmt: skip
            if means.dim() == 1:
                loc = means[c]
            else:
                # particles lead: [S, 1, 5] -> class c of each
                each = means.squeeze(-2).T[:, :, None]
                loc = each if c.dim() > 1 else each[0]
            pyro.sample("x", dist.Normal(loc, 1.0), obs=DATA)

    def guide():
        loc = pyro.param("loc", lambda: torch.tensor(p.MEANS_LOC))
        log_scale = pyro.param("s", lambda: torch.tensor(p.MEANS_LOG_SCALE))
        pyro.sample("m", dist.Normal(loc, log_scale.exp()).to_event(1))

    elbo = TraceEnum_ELBO(
        num_particles=p.SAMPLES, vectorize_particles=True, max_plate_nesting=1
    )
    yield "TraceEnum_ELBO", elbo, model, guide, ["loc", "s"]


def score():
    def model():
        w = pyro.param("w", W.clone)
        with pyro.plate("bits", 10):
            z = pyro.sample("z", dist.Bernoulli(logits=torch.zeros(10)))
        mean = z @ w.T
        with pyro.plate("pixels", 20):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=X_BITS)

    def guide():
        logits = pyro.param("l", lambda: torch.tensor(p.LOGITS))
        with pyro.plate("bits", 10):
            pyro.sample("z", dist.Bernoulli(logits=logits))

    elbo = TraceGraph_ELBO(
        num_particles=p.SAMPLES, vectorize_particles=True, max_plate_nesting=1
    )
    yield "TraceGraph_ELBO", elbo, model, guide, ["l"]


if __name__ == "__main__":
    case, seconds, seed = p.arguments()
    for name, *parts in globals()[case]():
        p.report(name, runner(*parts), seconds, seed)
