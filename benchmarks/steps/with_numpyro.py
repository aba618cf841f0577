"""The problems in NumPyro's SVI: `svi.update` in one compiled scan per run.

The variant "run" is `svi.run`, the one call that its documentation starts with; it
steps from Python, under a progress bar that is switched off here.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import problem as p
from harness import serve
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal


def vae(name):
    size = p.SIZES[name]
    x, rng = jnp.asarray(p.data(size)), np.random.default_rng(0)
    weights = p.weights(size)
    half = len(weights) // 2

    def network(value, first):
        for i in range(first, first + half, 2):
            w, b = (numpyro.param(f"w{j}", weights[j]) for j in (i, i + 1))
            value = value @ w + b
            value = value if i + 2 == first + half else jax.nn.relu(value)
        return value

    def model(batch):
        with numpyro.plate("data", size.batch):
            prior = dist.Normal(0.0, 1.0).expand([size.latents]).to_event(1)
            z = numpyro.sample("z", prior)
            logits = network(z, half)
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=batch)

    def guide(batch):
        h = network(batch, 0)
        loc, scale = h[:, : size.latents], jax.nn.softplus(h[:, size.latents :])
        with numpyro.plate("data", size.batch):
            numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(p.RATE_VAE), Trace_ELBO())

    @jax.jit
    def chunk(state, rows):
        return jax.lax.scan(lambda state, row: svi.update(state, x[row]), state, rows)

    state = [svi.init(jax.random.key(0), x[: size.batch])]

    def run():
        state[0], loss = chunk(state[0], p.rows(rng, size, size.steps))
        return size.steps, -np.asarray(loss) / size.batch

    return run


def schools(variant):
    def model():
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        with numpyro.plate("schools", 8):
            eta = numpyro.sample("eta", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(mu + tau * eta, p.SIGMA), obs=p.Y)

    optimizer = numpyro.optim.Adam(p.RATE_SCHOOLS)
    svi = SVI(model, AutoNormal(model), optimizer, Trace_ELBO(num_particles=p.SAMPLES))
    state = [svi.init(jax.random.key(0))]

    def by_svi_run():
        found = svi.run(jax.random.key(0), p.SCHOOL_STEPS, init_state=state[0])
        state[0] = found.state
        return p.SCHOOL_STEPS, -np.asarray(found.losses)

    @jax.jit
    def chunk(state):
        step = lambda state, _: svi.update(state)  # noqa: E731
        return jax.lax.scan(step, state, length=p.SCHOOL_STEPS)

    def run():
        state[0], loss = chunk(state[0])
        return p.SCHOOL_STEPS, -np.asarray(loss)

    return by_svi_run if variant == "run" else run


def evidence():
    """Importance evidence of a hundred images under a VAE, 512 weights at once."""
    size, count = p.SIZES["small"], 512
    x, weights = jnp.asarray(p.data(size)[:100]), p.weights(size)
    w1, b1, w2, b2, w3, b3, w4, b4 = map(jnp.asarray, weights)

    def model(batch):
        prior = dist.Normal(0.0, 1.0).expand([100, size.latents]).to_event(1)
        logits = jax.nn.relu(numpyro.sample("z", prior) @ w3 + b3) @ w4 + b4
        numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=batch)

    def guide(batch):
        h = jax.nn.relu(batch @ w1 + b1) @ w2 + b2
        loc, scale = h[:, : size.latents], jax.nn.softplus(h[:, size.latents :])
        numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def log_weight(key, batch):
        drawn = trace(seed(guide, key)).get_trace(batch)["z"]
        made = trace(substitute(model, {"z": drawn["value"]})).get_trace(batch)
        parts = [site["fn"].log_prob(site["value"]) for site in made.values()]
        return sum(parts) - drawn["fn"].log_prob(drawn["value"])

    @jax.jit
    def estimate(key, batch):
        keys = jax.random.split(key, count)
        found = jax.vmap(lambda key: log_weight(key, batch))(keys)
        square = jax.nn.logsumexp(2 * found, 0)
        total = jax.nn.logsumexp(found, 0)
        return total - jnp.log(count), jnp.exp(2 * total - square)

    def run():
        log_p, _ = jax.block_until_ready(estimate(jax.random.key(0), x))
        return 1, [float(jnp.mean(log_p))]

    return run


if __name__ == "__main__":
    name, variant = p.asked()
    if name == "evidence":
        serve(evidence())
        sys.exit()
    serve(schools(variant) if name == "schools" else vae(name))
