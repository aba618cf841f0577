"""One surrogate posterior built by TFP, fitted by et.fit or by TFP; compiling counts.

Every run builds a new joint distribution, a new surrogate and a new objective, so that
nothing compiled before serves it, and takes the whole fit's time.
"""

import keras
import problem as p
import tensorflow as tf
import tensorflow_probability as tfp
import with_elbo_tfp as ours
from harness import serve

import elbo_tfp as et

tfd = tfp.distributions


def autobatched():
    """Eight schools as most tutorials write it."""

    @tfd.JointDistributionCoroutineAutoBatched
    def model():
        mu = yield tfd.Normal(0.0, 5.0, name="mu")
        tau = yield tfd.HalfCauchy(0.0, 5.0, name="tau")
        eta = yield tfd.Sample(tfd.Normal(0.0, 1.0), 8, name="eta")
        yield tfd.Normal(mu + tau * eta, p.SIGMA, name="y")

    return model.experimental_pin(y=p.Y)


def fresh(name):
    pin = autobatched() if name == "autobatched" else ours.joint()
    q = tfp.experimental.vi.build_factored_surrogate_posterior(
        pin.event_shape, bijector=pin.experimental_default_event_space_bijector()
    )
    return pin, q, keras.optimizers.Adam(p.RATE_SCHOOLS)


def by_fit(name):
    pin, q, optimizer = fresh(name)

    def objective(seed):
        return et.gradients.reparameterized(pin, q, sample_size=p.SAMPLES, seed=seed)

    return et.fit(
        objective, num_steps=p.SCHOOL_STEPS, optimizer=optimizer, seed=0, progress=False
    ).elbo


def by_tfp(name, jit_compile):
    pin, q, optimizer = fresh(name)
    optimizer.build(list(q.trainable_variables))
    return -tfp.vi.fit_surrogate_posterior(
        pin.unnormalized_log_prob, q, optimizer, p.SCHOOL_STEPS, seed=0,
        sample_size=p.SAMPLES, jit_compile=jit_compile,
    ).numpy()  # fmt: skip


if __name__ == "__main__":
    name, variant = p.asked()
    tf.function(lambda x: x + 1, jit_compile=True)(1.0)  # starts XLA

    def run():
        elbo = by_fit(name) if variant == "fit" else by_tfp(name, variant == "jit")
        return len(elbo), elbo

    serve(run)
