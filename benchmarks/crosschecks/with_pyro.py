"""The rows that Pyro answers: its bounds, at the same parameters."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO

from benchmarks.crosschecks import problem as p

torch.set_default_dtype(torch.float64)
pyro.set_rng_seed(0)
tensor = torch.as_tensor


def model():
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    loc = z @ tensor(p.W).T
    pyro.sample("x", dist.Normal(loc, p.NOISE).to_event(1), obs=tensor(p.X))


def guide():
    pyro.sample("z", dist.Normal(tensor(p.LOC), tensor(p.SCALE)).to_event(1))


def classes():
    m = pyro.sample("m", dist.Normal(torch.zeros(3), 3.0).to_event(1))
    with pyro.plate("data", 30):
        kind = dist.Categorical(tensor(p.SHARES))
        c = pyro.sample("c", kind, infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(m[c], 1.0), obs=tensor(p.DATA))


def means():
    pyro.sample("m", dist.Normal(tensor(p.MEANS), tensor(p.WIDTHS)).to_event(1))


def bounds(loss, number, model=model, guide=guide):
    """Independent estimates of a bound."""
    with torch.no_grad():
        return [-loss.loss(model, guide) for _ in range(number)]


def renyi(alpha):
    """Independent estimates of the Renyi bound, each of p.PARTICLES draws."""
    loss = RenyiELBO(alpha, p.PARTICLES, max_plate_nesting=0, vectorize_particles=True)
    return p.mean(bounds(loss, 5_000))


@p.asked
def log_weights():
    def one(z):
        values = {"z": tensor(z)}
        log_p, log_q = (
            poutine.trace(poutine.condition(f, values)).get_trace().log_prob_sum()
            for f in (model, guide)
        )
        return float(log_p - log_q)

    return np.array([one(z) for z in p.Z])


@p.asked
def kl():
    q = dist.Normal(tensor(p.LOC), tensor(p.SCALE)).to_event(1)
    prior = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    return float(torch.distributions.kl_divergence(q, prior))


@p.asked
def elbo():
    loss = Trace_ELBO(100, vectorize_particles=True, max_plate_nesting=0)
    return p.mean(bounds(loss, 1_000))


@p.asked
def renyi_half():
    return renyi(0.5)


@p.asked
def renyi_two():
    return renyi(2.0)


@p.asked
def iwae():
    return renyi(0.0)


@p.asked
def enumerated_log_joint():
    loss, found = TraceEnum_ELBO(max_plate_nesting=1), []
    for m in p.M:  # a q that is one point: its log-density is 0

        def point(m=m):
            pyro.sample("m", dist.Delta(tensor(m), event_dim=1))

        found.append(-loss.loss(classes, point))
    return np.array(found)


@p.asked
def enumerated_elbo():
    # one draw each: under vectorized particles m[c] would need its own indexing
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    return p.mean(bounds(loss, 1_000, classes, means))


if __name__ == "__main__":
    from benchmarks import crosscheck

    crosscheck.answer(globals())
