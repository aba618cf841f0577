"""The three problems in NumPyro, gradients in a compiled loop."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import problem as p
from numpyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO


def runner(elbo, model, guide, parameters, watched):
    def value(parameters, key):
        return -elbo.loss(key, parameters, model, guide)

    @jax.jit
    def loop(key, number):
        def step(i, totals):
            found = jax.grad(value)(parameters, jax.random.fold_in(key, i))
            squares = {k: found[k] ** 2 for k in watched}
            return jax.tree.map(jnp.add, totals, (found, squares))

        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return jax.lax.fori_loop(
            0, number, step, (zeros, {k: zeros[k] for k in watched})
        )

    def run(seed, number):
        found = jax.block_until_ready(loop(jax.random.key(seed), number))
        return [[group[k] for k in watched] for group in found]

    return run


def iwae():
    def model():
        w = numpyro.param("w", p.W)
        z = numpyro.sample("z", dist.Normal(jnp.zeros(10), 1.0).to_event(1))
        numpyro.sample("x", dist.Normal(w @ z, 1.0).to_event(1), obs=p.X)

    def guide():
        loc, log_scale = numpyro.param("loc", p.LOC), numpyro.param("s", p.LOG_SCALE)
        numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    parameters = {"w": p.W, "loc": p.LOC, "s": p.LOG_SCALE}
    elbo = RenyiELBO(alpha=0.0, num_particles=p.SAMPLES)
    yield "RenyiELBO(0)", elbo, model, guide, parameters, ["loc", "s"]


def enum():
    def model():
        means = numpyro.sample("m", dist.Normal(jnp.zeros(5), 3.0).to_event(1))
        with numpyro.plate("data", 100):
            c = numpyro.sample(
                "c", dist.Categorical(jnp.full(5, 0.2)), infer={"enumerate": "parallel"}
            )
            numpyro.sample("x", dist.Normal(means[c], 1.0), obs=p.DATA)

    def guide():
        loc = numpyro.param("loc", p.MEANS_LOC)
        log_scale = numpyro.param("s", p.MEANS_LOG_SCALE)
        numpyro.sample("m", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    parameters = {"loc": p.MEANS_LOC, "s": p.MEANS_LOG_SCALE}
    elbo = TraceEnum_ELBO(num_particles=p.SAMPLES, max_plate_nesting=1)
    yield "TraceEnum_ELBO", elbo, model, guide, parameters, ["loc", "s"]

    def summed():
        means = numpyro.sample("m", dist.Normal(jnp.zeros(5), 3.0).to_event(1))
        classes = dist.Categorical(jnp.full(5, 0.2))
        mixture = dist.MixtureSameFamily(classes, dist.Normal(means, 1.0))
        with numpyro.plate("data", 100):
            numpyro.sample("x", mixture, obs=p.DATA)

    elbo = Trace_ELBO(num_particles=p.SAMPLES)
    yield "Trace_ELBO, summed out", elbo, summed, guide, parameters, ["loc", "s"]


def score():
    def model():
        w = numpyro.param("w", p.W)
        with numpyro.plate("bits", 10):
            z = numpyro.sample("z", dist.Bernoulli(logits=jnp.zeros(10)))
        numpyro.sample("x", dist.Normal(w @ z, 1.0).to_event(1), obs=p.X_BITS)

    def guide():
        logits = numpyro.param("l", p.LOGITS)
        with numpyro.plate("bits", 10):
            numpyro.sample("z", dist.Bernoulli(logits=logits))

    parameters = {"w": p.W, "l": p.LOGITS}
    elbo = TraceGraph_ELBO(num_particles=p.SAMPLES)
    yield "TraceGraph_ELBO", elbo, model, guide, parameters, ["l"]


if __name__ == "__main__":
    case, seconds, seed = p.arguments()
    for name, *parts in globals()[case]():
        p.report(name, runner(*parts), seconds, seed)
