"""Ten broken models and five healthy ones, counted: what does `audit` say of them?

    python -m benchmarks.audit --first 1000 --count 20 [--faults 5]

Every case is built from a seed: sizes, weights, noise and how badly it is broken. The
audit was developed on seeds below 100; the counts that the book quotes start at 1,000.
"""

import argparse
import json
import time
import warnings
from collections import Counter

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.families.base import raw_of_positive

tfd = tfp.distributions


def factor_model(rng, noise=None, orthogonal=False, size=None):
    """A linear Gaussian model with its data: x = W z + noise."""
    latents, size = int(rng.integers(2, 4)), size or int(rng.integers(5, 12))
    w = rng.normal(size=(size, latents))
    if orthogonal:
        w = np.linalg.qr(w)[0] * rng.uniform(1.5, 3, latents)
    noise = rng.uniform(0.4, 0.8) if noise is None else noise
    model = et.models.linear_gaussian(tf.constant(w), noise_scale=noise)
    _, x = model.sample(int(rng.integers(100, 300)), seed=int(rng.integers(2**31)))
    return model, x


def encoder_of(model, full=True, shift=0.0, scale=1.0):
    """The exact posterior as an `Encoder`, or its mean-field optimum, or a worse q."""
    size = model.prior.event_shape[0]
    kind = et.families.full_rank if full else et.families.mean_field
    family = kind(size, dtype=tf.float64)

    def network(x):
        q = model.posterior(x)
        mean = q.mean() + shift
        precision = tf.linalg.inv(q.covariance())
        # mean field at its best has the precision's diagonal
        deviation = scale * tf.linalg.diag_part(precision) ** -0.5
        if not full:
            raw = raw_of_positive(tf.broadcast_to(deviation, mean.shape))
            return tf.concat([mean, raw], -1)
        return _full_rank(mean, scale * tf.linalg.cholesky(q.covariance()))

    return et.Encoder(network, family)


def _full_rank(mean, factor):
    """The parameters of a `full_rank` member, whose factor is diag(s) (I + N)."""
    scale = tf.linalg.diag_part(factor)
    unit = factor / scale[..., tf.newaxis]
    inner = tf.linalg.band_part(unit[..., 1:, :-1], -1, 0)
    below = tfp.math.fill_triangular_inverse(inner)
    parts = [raw_of_positive(scale), below]
    lead = tf.shape(mean)[:-1]
    rows = [tf.broadcast_to(p, [*tf.unstack(lead), p.shape[-1]]) for p in parts]
    return tf.concat([mean, *rows], -1)


def elbo_of(model, encoder):
    """The usual objective."""

    def objective(batch, seed):
        return et.bounds.elbo(
            et.draw(model.log_joint(batch), encoder(batch), 4, seed=seed)
        )

    return objective


def parts_of(model, encoder, combine):
    """An objective made by hand of likelihood and KL."""

    def objective(batch, seed):
        draws = et.draw(model.log_joint(batch), encoder(batch), 4, seed=seed)
        kl = tf.reduce_mean(draws.log_q - draws.log_prior, 0)
        return combine(tf.reduce_mean(draws.log_likelihood, 0), kl)

    return objective


def wrong_reduce(rng):
    model, x = factor_model(rng)
    encoder, size = encoder_of(model), x.shape[1]
    objective = parts_of(model, encoder, lambda fit, kl: fit / size - kl)
    return (model, encoder, x), {"objective": objective}


def kl_twice(rng):
    model, x = factor_model(rng)
    encoder = encoder_of(model)
    objective = parts_of(model, encoder, lambda fit, kl: fit - 2 * kl)
    return (model, encoder, x), {"objective": objective}


def shared_mean(rng, forget=False):
    """Data around one shared mean, and its exact posterior."""
    size, noise = int(rng.integers(40, 400)), rng.uniform(0.5, 2)
    model = et.LatentVariableModel(
        None,
        lambda w: tfd.Normal(w[..., tf.newaxis], np.float64(noise)),
        tfd.Normal(np.float64(0), 3.0),
    )
    x = tf.constant(rng.normal(rng.normal(), noise, size))
    precision = 1 / 9 + size / noise**2
    mean = tf.reduce_sum(x) / noise**2 / precision
    q = tfd.Normal(mean, np.float64(precision**-0.5))

    def objective(batch, seed):
        count = len(batch) if forget else size
        target = model.log_joint(batch, num_data=count)
        return et.bounds.elbo(et.draw(target, q, 16, seed=seed))

    return (model, q, x), {"objective": objective, "num_data": size}


def minibatch(rng):
    return shared_mean(rng, forget=True)


def collapsed(rng):
    model, x = factor_model(rng)
    size = model.prior.event_shape[0]
    family = et.families.full_rank(size, dtype=tf.float64)

    def network(x):
        zero = tf.zeros([tf.shape(x)[0], size], tf.float64)
        return _full_rank(zero, wide * tf.eye(size, dtype=tf.float64))

    wide = rng.uniform(0.9, 1.1)
    deaf = et.LatentVariableModel(
        model.prior,
        lambda z: tfd.MultivariateNormalDiag(
            0 * tf.reduce_sum(z, -1, keepdims=True) + tf.reduce_mean(x, 0),
            tf.math.reduce_std(x, 0),
        ),
    )
    encoder = et.Encoder(network, family)
    return (deaf, encoder, x), {"objective": elbo_of(deaf, encoder)}


def under_trained(rng):
    model, x = factor_model(rng)
    encoder = encoder_of(model, shift=rng.uniform(0.5, 1.5) * rng.choice([-1, 1]))
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def poor_family(rng):
    """Two latents that only their sum is known of: mean field cannot follow."""
    w = np.repeat(rng.normal(size=(int(rng.integers(5, 12)), 1)), 2, 1)
    w += 0.05 * rng.normal(size=w.shape)
    model = et.models.linear_gaussian(
        tf.constant(w), noise_scale=rng.uniform(0.1, 0.25)
    )
    _, x = model.sample(150, seed=int(rng.integers(2**31)))
    encoder = encoder_of(model, full=False)
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def fitted(target, q, seed, steps=900, start=None, **options):
    """A fit of q to a target that holds its data."""

    def objective(seed):
        return et.bounds.elbo(et.draw(target, q, 16, seed=seed))

    if start is not None:
        q.variables[0].assign(start)
    optimizer = tf.keras.optimizers.Adam(0.03)
    options = {
        "num_steps": steps,
        "optimizer": optimizer,
        "jit_compile": False,
    } | options
    return objective, et.fit(objective, seed=seed, **options)


def two_humps(rng):
    place, weight = rng.uniform(4, 7), rng.uniform(0.85, 0.97)
    weights = np.float32([1 - weight, weight])
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(probs=weights),
        tfd.MultivariateNormalDiag(
            np.float32([[-place], [place]]), np.ones([2, 1], "f")
        ),
    )
    return mixture.log_prob, place


def local_optimum(rng):
    target, place = two_humps(rng)
    seed = int(rng.integers(2**31))
    q, other = et.families.mean_field(1), et.families.mean_field(1)
    start = np.float32([-place, 0.5])
    objective, result = fitted(target, q, seed, start=_like(q, start))
    _, better = fitted(target, other, seed, start=_like(other, -start))
    given = {"objective": objective, "result": result, "another": better}
    return (target, q, None), given


def _like(q, values):
    return np.reshape(values, q.variables[0].shape)


def weights(rng):
    model, x = factor_model(rng)
    encoder = encoder_of(model, scale=rng.uniform(0.3, 0.45))
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def gaussian_target(rng):
    size = int(rng.integers(2, 5))
    scale = tf.constant(np.tril(rng.normal(size=(size, size))) + 2 * np.eye(size))
    return tfd.MultivariateNormalTriL(tf.constant(rng.normal(size=size)), scale)


def annealing(rng):
    target = gaussian_target(rng)
    q = et.families.full_rank(target.event_shape[0], dtype=tf.float64)
    prior = tfd.MultivariateNormalDiag(tf.zeros_like(target.mean()))
    model = et.LatentVariableModel(prior, lambda z: tfd.MultivariateNormalDiag(z))
    x = target.sample(1, seed=0)

    def objective(seed, kl_weight):
        d = et.draw(model.log_joint(x[0]), q, 16, seed=seed)
        kl = d.log_q - d.log_prior
        return tf.reduce_mean(d.log_likelihood - tf.cast(kl_weight, kl.dtype) * kl)

    schedule = et.KLSchedule.linear(int(rng.integers(700, 3_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = et.fit(
            objective, num_steps=600, kl_schedule=schedule, seed=0, jit_compile=False
        )
    return (model.log_joint(x[0]), q, None), {"result": result}


def far_noise(rng):
    true = rng.uniform(0.4, 0.8)
    model, x = factor_model(rng, noise=true)
    far = true * rng.choice([rng.uniform(0.1, 0.25), rng.uniform(8, 20)])
    w = tf.transpose(
        model.likelihood(tf.eye(model.prior.event_shape[0], dtype=tf.float64)).mean()
    )
    wrong = et.models.linear_gaussian(w, noise_scale=far)
    encoder = encoder_of(wrong)
    return (wrong, encoder, x), {"objective": elbo_of(wrong, encoder)}


def exact_factors(rng):
    model, x = factor_model(rng)
    encoder = encoder_of(model)
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def orthogonal_factors(rng):
    model, x = factor_model(rng, orthogonal=True)
    encoder = encoder_of(model, full=False)
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def nearly_exact(rng):
    """Wrong, as a trained encoder is: a little off and a little wide."""
    model, x = factor_model(rng)
    encoder = encoder_of(model, shift=0.03, scale=rng.uniform(1.0, 1.1))
    return (model, encoder, x), {"objective": elbo_of(model, encoder)}


def fitted_gaussian(rng):
    target, seed = gaussian_target(rng), int(rng.integers(2**31))
    size = target.event_shape[0]
    fits = []
    for number in range(2):
        q = et.families.full_rank(size, dtype=tf.float64)
        fits.append((q, *fitted(target.log_prob, q, (seed, number), steps=2_000)))
    (q, objective, result), (_, _, another) = fits
    given = {"objective": objective, "result": result, "another": another}
    return (target.log_prob, q, None), given


FAULTS = {
    "reduce": wrong_reduce,
    "kl_twice": kl_twice,
    "minibatch": minibatch,
    "collapse": collapsed,
    "amortization": under_trained,
    "family": poor_family,
    "local_optimum": local_optimum,
    "weights": weights,
    "annealing": annealing,
    "noise": far_noise,
}
HEALTHY = {
    "exact factors": exact_factors,
    "orthogonal factors": orthogonal_factors,
    "shared mean": shared_mean,
    "nearly exact": nearly_exact,
    "fitted Gaussian": fitted_gaussian,
}


def one(build, seed):
    """The audit of one case."""
    place, given = build(np.random.default_rng(seed))
    return et.audit(*place, **given, seed=seed)


def counts(first, count, faults):
    """How often each fault is named, first or at all; alarms over healthy models."""
    named, alarms = {}, {}
    for name, build in FAULTS.items():
        found = [one(build, seed).faults for seed in range(first, first + faults)]
        named[name] = {
            "runs": faults,
            "named": sum(name in f for f in found),
            "named first": sum(f[:1] == (name,) for f in found),
            "beside it": dict(Counter(k for f in found for k in f if k != name)),
        }
        print(name, named[name], flush=True)
    for name, build in HEALTHY.items():
        found = [one(build, seed).faults for seed in range(first, first + count)]
        alarms[name] = {
            "runs": count,
            "with an alarm": sum(bool(f) for f in found),
            "alarms": dict(Counter(k for f in found for k in f)),
        }
        print(name, alarms[name], flush=True)
    return {"broken": named, "healthy": alarms}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1_000)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--faults", type=int, default=5)
    parser.add_argument("--json")
    given = parser.parse_args()
    begin = time.perf_counter()
    found = counts(given.first, given.count, given.faults)
    found["seconds"] = round(time.perf_counter() - begin)
    runs = sum(v["runs"] for v in found["healthy"].values())
    bad = sum(v["with an alarm"] for v in found["healthy"].values())
    print(f"{bad} of {runs} healthy runs raised an alarm; {found['seconds']} s")
    if given.json:
        with open(given.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
