"""The problems in elbo_tfp, as its documentation writes them."""

import keras
import problem as p
import tensorflow as tf
import tensorflow_probability as tfp
from harness import serve

import elbo_tfp as et

tfd = tfp.distributions


def vae_objective(name):
    """The bound of a batch, and all data."""
    size = p.SIZES[name]
    x = tf.constant(p.data(size))
    hidden = [size.hidden] * size.depth
    model, encoder = et.models.vae(size.pixels, size.latents, hidden=hidden, seed=0)

    def objective(seed, batch):
        return et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), seed=seed
        )

    return objective, x


def vae(name):
    size = p.SIZES[name]
    objective, x = vae_objective(name)

    def run():
        result = et.fit(
            objective, num_steps=size.steps, data=x, batch_size=size.batch,
            optimizer=keras.optimizers.Adam(p.RATE_VAE), seed=0, progress=False,
        )  # fmt: skip
        return result.steps, result.elbo

    return run


def log_joint(z):
    """Eight schools in z = (eta, mu, log tau), with plain distributions."""
    eta, mu, log_tau = z[..., :8], z[..., 8], z[..., 9]
    tau = tf.exp(log_tau)
    log_p = tf.reduce_sum(tfd.Normal(0.0, 1.0).log_prob(eta), -1)
    log_p += tfd.Normal(0.0, 5.0).log_prob(mu)
    log_p += tfd.HalfCauchy(0.0, 5.0).log_prob(tau) + log_tau
    theta = mu[..., tf.newaxis] + tau[..., tf.newaxis] * eta
    return log_p + tf.reduce_sum(tfd.Normal(theta, p.SIGMA).log_prob(p.Y), -1)


def joint():
    """Eight schools as a TFP joint distribution, pinned."""
    model = tfd.JointDistributionNamed({
        "mu": tfd.Normal(0.0, 5.0),
        "tau": tfd.HalfCauchy(0.0, 5.0),
        "eta": tfd.Sample(tfd.Normal(0.0, 1.0), 8),
        "y": lambda eta, mu, tau: tfd.Independent(
            tfd.Normal(mu[..., tf.newaxis] + tau[..., tf.newaxis] * eta, p.SIGMA), 1
        ),
    })  # fmt: skip
    return model.experimental_pin(y=p.Y)


def schools_objective(variant):
    """The bound of eight schools."""
    if variant == "joint":
        target = joint()
        q = et.families.mean_field_for(target)
    else:
        target, q = log_joint, et.families.mean_field(10, scale=0.1)

    def objective(seed):
        return et.gradients.reparameterized(target, q, sample_size=p.SAMPLES, seed=seed)

    return objective


def schools(variant):
    objective = schools_objective(variant)

    def run():
        result = et.fit(
            objective, num_steps=p.SCHOOL_STEPS, seed=0, progress=False,
            optimizer=keras.optimizers.Adam(p.RATE_SCHOOLS),
        )  # fmt: skip
        return result.steps, result.elbo

    return run


if __name__ == "__main__":
    name, variant = p.asked()
    serve(schools(variant) if name == "schools" else vae(name))
