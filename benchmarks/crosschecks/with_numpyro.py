"""The rows that NumPyro answers: its bounds, at the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO
from numpyro.infer.util import log_density

from benchmarks.crosschecks import problem as p

jax.config.update("jax_enable_x64", True)


def model():
    z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    numpyro.sample("x", dist.Normal(p.W @ z, p.NOISE).to_event(1), obs=p.X)


def guide():
    numpyro.sample("z", dist.Normal(p.LOC, p.SCALE).to_event(1))


def classes():
    m = numpyro.sample("m", dist.Normal(jnp.zeros(3), 3.0).to_event(1))
    with numpyro.plate("data", 30):
        kind = dist.Categorical(jnp.asarray(p.SHARES))
        c = numpyro.sample("c", kind, infer={"enumerate": "parallel"})
        numpyro.sample("x", dist.Normal(m[c], 1.0), obs=p.DATA)


def means():
    numpyro.sample("m", dist.Normal(p.MEANS, p.WIDTHS).to_event(1))


def bounds(loss, number, model=model, guide=guide):
    """Independent estimates of a bound."""
    keys = jax.random.split(jax.random.key(0), number)
    return jax.lax.map(lambda key: -loss.loss(key, {}, model, guide), keys)


@p.asked
def log_weights():
    def one(z):
        log_p, log_q = (log_density(f, (), {}, {"z": z})[0] for f in (model, guide))
        return log_p - log_q

    return jax.vmap(one)(jnp.asarray(p.Z))


@p.asked
def kl():
    q, prior = dist.Normal(p.LOC, p.SCALE), dist.Normal(jnp.zeros(2), 1.0)
    return dist.kl_divergence(q.to_event(1), prior.to_event(1))


@p.asked
def elbo():
    return p.mean(bounds(Trace_ELBO(num_particles=1_000), 100))


@p.asked
def renyi_half():
    return p.mean(bounds(RenyiELBO(0.5, p.PARTICLES), p.REPLICATES))


@p.asked
def renyi_two():
    return p.mean(bounds(RenyiELBO(2.0, p.PARTICLES), p.REPLICATES))


@p.asked
def iwae():
    return p.mean(bounds(RenyiELBO(0.0, p.PARTICLES), p.REPLICATES))


@p.asked
def enumerated_log_joint():
    loss, found = TraceEnum_ELBO(max_plate_nesting=1), []
    for m in p.M:  # a q that is one point: its log-density is 0

        def point(m=m):
            numpyro.sample("m", dist.Delta(jnp.asarray(m), event_dim=1))

        found.append(-loss.loss(jax.random.key(0), {}, classes, point))
    return np.array(found)


@p.asked
def enumerated_elbo():
    loss = TraceEnum_ELBO(num_particles=100, max_plate_nesting=1)
    return p.mean(bounds(loss, 200, classes, means))


if __name__ == "__main__":
    from benchmarks import crosscheck

    crosscheck.answer(globals())
