"""The problems in JAX with optax: one compiled scan per run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem as p
from harness import serve
from jax.scipy.stats import norm


def network(value, weights):
    """ReLU layers, the last one without."""
    *hidden, (w, b) = zip(weights[::2], weights[1::2], strict=True)
    for inner, bias in hidden:
        value = jax.nn.relu(value @ inner + bias)
    return value @ w + b


def vae(name):
    size = p.SIZES[name]
    x, rng = jnp.asarray(p.data(size)), np.random.default_rng(0)
    optimizer = optax.adam(p.RATE_VAE)

    def loss(weights, batch, key):
        half = len(weights) // 2
        h = network(batch, weights[:half])
        loc, scale = h[:, : size.latents], jax.nn.softplus(h[:, size.latents :])
        z = loc + scale * jax.random.normal(key, loc.shape)
        logits = network(z, weights[half:])
        log_x = jnp.sum(batch * logits - jax.nn.softplus(logits), -1)
        log_prior = jnp.sum(norm.logpdf(z), -1)
        log_q = jnp.sum(norm.logpdf(z, loc, scale), -1)
        return -jnp.mean(log_x + log_prior - log_q)

    @jax.jit
    def chunk(state, rows):
        def step(state, row):
            weights, moments, key = state
            key, now = jax.random.split(key)
            value, gradient = jax.value_and_grad(loss)(weights, x[row], now)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(weights, updates), moments, key), -value

        return jax.lax.scan(step, state, rows)

    weights = [jnp.asarray(w) for w in p.weights(size)]
    state = [weights, optimizer.init(weights), jax.random.key(0)]

    def run():
        state[:], elbo = chunk(tuple(state), p.rows(rng, size, size.steps))
        return size.steps, np.asarray(elbo)

    return run


def schools():
    optimizer = optax.adam(p.RATE_SCHOOLS)

    def log_joint(z):
        eta, mu, log_tau = z[..., :8], z[..., 8], z[..., 9]
        tau = jnp.exp(log_tau)
        # log HalfCauchy(0, 5)
        log_p = jnp.log(2 / (5 * jnp.pi)) - jnp.log1p((tau / 5) ** 2) + log_tau
        log_p += jnp.sum(norm.logpdf(eta), -1) + norm.logpdf(mu, 0.0, 5.0)
        theta = mu[..., None] + tau[..., None] * eta
        return log_p + jnp.sum(norm.logpdf(p.Y, theta, p.SIGMA), -1)

    def loss(q, key):
        loc, log_scale = q
        scale = jnp.exp(log_scale)
        z = loc + scale * jax.random.normal(key, (p.SAMPLES, 10))
        return jnp.mean(jnp.sum(norm.logpdf(z, loc, scale), -1) - log_joint(z))

    @jax.jit
    def chunk(state):
        def step(state, _):
            q, moments, key = state
            key, now = jax.random.split(key)
            value, gradient = jax.value_and_grad(loss)(q, now)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(q, updates), moments, key), -value

        return jax.lax.scan(step, state, length=p.SCHOOL_STEPS)

    # float32 from the start: a weak type would compile a second time
    q = (jnp.zeros(10), jnp.full(10, np.log(0.1), jnp.float32))
    state = [q, optimizer.init(q), jax.random.key(0)]

    def run():
        state[:], elbo = chunk(tuple(state))
        return p.SCHOOL_STEPS, np.asarray(elbo)

    return run


def products(name):
    """The matrix products of a step, forward and backward, and nothing else.

    Gradients take the weights' places, so that no product can leave the loop; numbers
    are zero, which takes as long as any.
    """
    size = p.SIZES[name]
    x = jnp.zeros([size.batch, size.pixels], jnp.float32)
    weights = [0 * jnp.asarray(w) for w in p.weights(size)[::2]]

    def step(state, _):
        weights, _ = state
        inputs, outputs, value = [], [], x
        for w in weights:
            inputs.append(value[:, : w.shape[0]])
            outputs.append(inputs[-1] @ w)
            value = outputs[-1]
        found = [a.T @ b for a, b in zip(inputs, outputs, strict=True)]
        # the first layer's input needs no gradient
        back = [b @ w.T for b, w in zip(outputs[1:], weights[1:], strict=True)]
        return (found, back), None

    @jax.jit
    def chunk(weights):
        shapes = [jnp.zeros([size.batch, w.shape[0]]) for w in weights[1:]]
        return jax.lax.scan(step, (weights, shapes), length=size.steps)[0]

    def run():
        jax.block_until_ready(chunk(weights))
        return size.steps, [0.0]

    return run


if __name__ == "__main__":
    name, variant = p.asked()
    if variant == "products":
        serve(products(name))
    else:
        serve(schools() if name == "schools" else vae(name))
