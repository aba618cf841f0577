"""The eight posteriors in NumPyro, fitted by SVI under its automatic guides.

"same" gives every positive parameter the coordinates that it has in ours (softplus, or
exp under half-Cauchy priors), so that the families are equal; "own" is
NumPyro's choice, exp for all.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO, init_to_value
from numpyro.infer.autoguide import AutoMultivariateNormal, AutoNormal

from benchmarks import harness
from benchmarks.posteriors import problem as p

jax.config.update("jax_enable_x64", True)
GUIDES = {"mean_field": AutoNormal, "full_rank": AutoMultivariateNormal}


CHART = "same"


class SoftHalfNormal(dist.HalfNormal):
    support = constraints.softplus_positive


class SoftGamma(dist.Gamma):
    support = constraints.softplus_positive


def use(chart):
    """Which coordinates positive parameters have."""
    global CHART
    CHART = chart


def half_normal(scale):
    return (SoftHalfNormal if CHART == "same" else dist.HalfNormal)(scale)


def gamma(*parameters):
    return (SoftGamma if CHART == "same" else dist.Gamma)(*parameters)


def normals(size, scale=1.0):
    return dist.Normal(0.0, scale).expand([size]).to_event(1)


def eight_schools_centered(name):
    d = p.data(name)

    def model():
        mu, tau = (
            numpyro.sample("mu", dist.Normal(0, 5)),
            numpyro.sample("tau", dist.HalfCauchy(5)),
        )
        theta = numpyro.sample("theta", dist.Normal(mu * jnp.ones(8), tau).to_event(1))
        numpyro.sample("y", dist.Normal(theta, d["sigma"]).to_event(1), obs=d["y"])

    return model


def eight_schools_noncentered(name):
    d = p.data(name)

    def model():
        mu, tau = (
            numpyro.sample("mu", dist.Normal(0, 5)),
            numpyro.sample("tau", dist.HalfCauchy(5)),
        )
        theta = mu + tau * numpyro.sample("eta", normals(8))
        numpyro.sample("y", dist.Normal(theta, d["sigma"]).to_event(1), obs=d["y"])

    return model


def kidscore_interaction(name):
    return _regression(name, dist.HalfCauchy(2.5))


def logmesquite_logvas(name):
    return _regression(name, half_normal(1_000.0))


def _regression(name, prior):
    x, y = p.regression(name)

    def model():
        beta = numpyro.sample("beta", normals(x.shape[1], 1_000.0))
        sigma = numpyro.sample("sigma", prior)
        numpyro.sample("y", dist.Normal(x @ beta, sigma).to_event(1), obs=y)

    return model


def arK(name):
    x, y = p.lags(p.data(name)["y"])

    def model():
        alpha, beta = (
            numpyro.sample("alpha", dist.Normal(0, 10)),
            numpyro.sample("beta", normals(5, 10)),
        )
        sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
        numpyro.sample("y", dist.Normal(alpha + x @ beta, sigma).to_event(1), obs=y)

    return model


def garch11(name):
    d = p.data(name)
    y = d["y"]

    def model():
        mu = numpyro.sample("mu", dist.Normal(0, 1_000))
        alpha0 = numpyro.sample("alpha0", half_normal(1_000.0))
        alpha1 = numpyro.sample("alpha1", dist.Beta(1, 2))
        beta1 = (1 - alpha1) * numpyro.sample("share", dist.Uniform(0, 1))

        def step(variance, before):
            variance = alpha0 + alpha1 * (before - mu) ** 2 + beta1 * variance
            return variance, variance

        first = d["sigma1"] ** 2
        _, later = jax.lax.scan(step, jnp.asarray(first), y[:-1])
        scale = jnp.sqrt(jnp.concatenate([first[None], later]))
        numpyro.sample("y", dist.Normal(mu, scale).to_event(1), obs=y)

    return model


def gp_pois_regr(name):
    d = p.data(name)
    squares = (d["x"][:, None] - d["x"]) ** 2

    def model():
        rho = numpyro.sample("rho", gamma(25.0, 4.0))
        alpha = numpyro.sample("alpha", half_normal(2.0))
        kernel = alpha**2 * jnp.exp(-squares / (2 * rho**2)) + 1e-10 * jnp.eye(11)
        f = jnp.linalg.cholesky(kernel) @ numpyro.sample("f_tilde", normals(11))
        numpyro.sample("k", dist.Poisson(jnp.exp(f)).to_event(1), obs=d["k"])

    return model


def gp_regr(name):
    d = p.data(name)
    squares = (d["x"][:, None] - d["x"]) ** 2

    def model():
        rho = numpyro.sample("rho", gamma(25.0, 4.0))
        alpha = numpyro.sample("alpha", half_normal(2.0))
        sigma = numpyro.sample("sigma", half_normal(1.0))
        # the original adds sigma itself, not its square, to the diagonal
        kernel = alpha**2 * jnp.exp(-squares / (2 * rho**2)) + sigma * jnp.eye(11)
        noise = dist.MultivariateNormal(jnp.zeros(11), kernel)
        numpyro.sample("y", noise, obs=d["y"])

    return model


def fit(name, kind, seed):
    """Fits one guide once: seconds, ELBO with its error."""
    begin, setting = time.perf_counter(), p.SETTINGS[name]
    steps = p.length(setting.steps)
    model = globals()[name.split("-")[1]](name)
    first = init_to_value(values=setting.start)
    guide = GUIDES[kind](model, init_loc_fn=first, init_scale=p.SCALE)
    rate = optax.cosine_decay_schedule(setting.rate, steps)
    svi = SVI(model, guide, optax.adam(rate), Trace_ELBO(num_particles=p.SAMPLES))
    state = svi.init(jax.random.key(seed))
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: svi.update(s), s, None, steps)[0])
    parameters = svi.get_params(jax.block_until_ready(run(state)))
    seconds = time.perf_counter() - begin
    chunk = Trace_ELBO(num_particles=500)
    keys = jax.random.split(jax.random.key(seed + 1_000), p.EVALUATION // 500)
    values = jax.lax.map(lambda k: -chunk.loss(k, parameters, model, guide), keys)
    values = np.asarray(values)
    error = values.std(ddof=1) / len(values) ** 0.5
    return {
        "seconds": seconds,
        "elbo": float(values.mean()),
        "elbo_error": float(error),
    }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, kind, seed, chart = argument.split(":")
        use(chart)
        harness.say({"task": argument, **fit(name, kind, int(seed))})
    harness.say({"versions": harness.versions()})
