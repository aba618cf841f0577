"""The eight posteriors as TFP joint distributions, fitted by `families` and `fit`.

Every function returns (joint pinned to its data, draws -> parameters as posteriordb
names them, `[S, P]`).
"""

import sys
import time

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from benchmarks.posteriors import problem as p

tfb, tfd = tfp.bijectors, tfp.distributions
Joint = tfd.JointDistributionNamed


def f64(value):
    return tf.constant(value, tf.float64)


def normals(size, scale=1.0):
    return tfd.Sample(tfd.Normal(f64(0), f64(scale)), size)


def rows(loc, scale):
    return tfd.Independent(tfd.Normal(loc, scale), 1)


def at(z):
    """A parameter beside a vector of them."""
    return z[..., tf.newaxis]


def beside(*parts):
    parts = [at(x) if x.shape.rank == 1 else x for x in parts]
    return tf.concat(parts, -1)


def eight_schools_centered(name):
    d = p.data(name)
    joint = Joint(
        {
            "mu": tfd.Normal(f64(0), f64(5)),
            "tau": tfd.HalfCauchy(f64(0), f64(5)),
            "theta": lambda mu, tau: rows(at(mu) * np.ones(8), at(tau)),
            "y": lambda theta: rows(theta, d["sigma"]),
        }
    )
    pinned = joint.experimental_pin(y=d["y"])
    return pinned, lambda z: beside(z["theta"], z["mu"], z["tau"])


def eight_schools_noncentered(name):
    d = p.data(name)

    def effects(mu, tau, eta):
        return at(mu) + at(tau) * eta

    joint = Joint(
        {
            "mu": tfd.Normal(f64(0), f64(5)),
            "tau": tfd.HalfCauchy(f64(0), f64(5)),
            "eta": normals(8),
            "y": lambda mu, tau, eta: rows(effects(mu, tau, eta), d["sigma"]),
        }
    )
    pinned = joint.experimental_pin(y=d["y"])
    return pinned, lambda z: beside(
        effects(z["mu"], z["tau"], z["eta"]), z["mu"], z["tau"]
    )


def kidscore_interaction(name):
    return _regression(name, tfd.HalfCauchy(f64(0), f64(2.5)))


def logmesquite_logvas(name):
    return _regression(name, tfd.HalfNormal(f64(1_000)))


def _regression(name, sigma):
    x, y = p.regression(name)
    joint = Joint(
        {
            "beta": normals(x.shape[1], 1_000),
            "sigma": sigma,
            "y": lambda beta, sigma: rows(tf.linalg.matvec(x, beta), at(sigma)),
        }
    )
    return joint.experimental_pin(y=y), lambda z: beside(z["beta"], z["sigma"])


def arK(name):
    x, y = p.lags(p.data(name)["y"])

    def seen(alpha, beta, sigma):
        return rows(at(alpha) + tf.linalg.matvec(x, beta), at(sigma))

    joint = Joint(
        {
            "alpha": tfd.Normal(f64(0), f64(10)),
            "beta": normals(5, 10),
            "sigma": tfd.HalfCauchy(f64(0), f64(2.5)),
            "y": seen,
        }
    )
    pinned = joint.experimental_pin(y=y)
    return pinned, lambda z: beside(z["alpha"], z["beta"], z["sigma"])


def garch11(name):
    d = p.data(name)
    y = d["y"]

    def seen(mu, alpha0, alpha1, share):
        beta = at((1 - alpha1) * share)
        pushed = at(alpha0) + at(alpha1) * (y[:-1] - at(mu)) ** 2
        first = tf.ones_like(at(mu)) * d["sigma1"] ** 2
        # v_t = a_t + b v_(t - 1): pairs (b, a) compose like affine maps
        b = tf.concat([tf.zeros_like(first), beta * tf.ones_like(pushed)], -1)
        a = tf.concat([first, pushed], -1)
        _, variance = tfp.math.scan_associative(
            lambda old, new: (old[0] * new[0], new[0] * old[1] + new[1]),
            (b, a),
            axis=-1,
        )
        return rows(at(mu), tf.sqrt(variance))

    # alpha1 ~ Beta(1, 2), beta1 uniform below 1 - alpha1: flat on the triangle
    joint = Joint(
        {
            "mu": tfd.Normal(f64(0), f64(1_000)),
            "alpha0": tfd.HalfNormal(f64(1_000)),
            "alpha1": tfd.Beta(f64(1), f64(2)),
            "share": tfd.Uniform(f64(0), f64(1)),
            "y": seen,
        }
    )
    pinned = joint.experimental_pin(y=y)
    return pinned, lambda z: beside(
        z["mu"], z["alpha0"], z["alpha1"], (1 - z["alpha1"]) * z["share"]
    )


def gp_pois_regr(name):
    d = p.data(name)
    squares = (d["x"][:, None] - d["x"]) ** 2

    def function(rho, alpha, f_tilde):
        rho, alpha = at(at(rho)), at(at(alpha))
        kernel = alpha**2 * tf.exp(-squares / (2 * rho**2)) + 1e-10 * np.eye(11)
        return tf.linalg.matvec(tf.linalg.cholesky(kernel), f_tilde)

    joint = Joint(
        {
            "rho": tfd.Gamma(f64(25), f64(4)),
            "alpha": tfd.HalfNormal(f64(2)),
            "f_tilde": normals(11),
            "k": lambda rho, alpha, f_tilde: tfd.Independent(
                tfd.Poisson(log_rate=function(rho, alpha, f_tilde)), 1
            ),
        }
    )
    pinned = joint.experimental_pin(k=d["k"])
    return pinned, lambda z: beside(z["rho"], z["alpha"], function(**z))


def gp_regr(name):
    d = p.data(name)
    squares = (d["x"][:, None] - d["x"]) ** 2

    def seen(rho, alpha, sigma):
        rho, alpha, sigma = (at(at(value)) for value in (rho, alpha, sigma))
        # the original adds sigma itself, not its square, to the diagonal
        kernel = alpha**2 * tf.exp(-squares / (2 * rho**2)) + sigma * np.eye(11)
        return tfd.MultivariateNormalTriL(
            tf.zeros(11, tf.float64), tf.linalg.cholesky(kernel)
        )

    joint = Joint(
        {
            "rho": tfd.Gamma(f64(25), f64(4)),
            "alpha": tfd.HalfNormal(f64(2)),
            "sigma": tfd.HalfNormal(f64(1)),
            "y": seen,
        }
    )
    pinned = joint.experimental_pin(y=d["y"])
    return pinned, lambda z: beside(z["rho"], z["alpha"], z["sigma"])


def model(name):
    """The pinned joint and the reporting function of a posterior, by its full name."""
    return globals()[name.split("-")[1]](name)


def fit(name, kind, seed, steps=None):
    """Fits one family once; seconds, ELBO with its error, moments of the parameters."""
    import keras

    begin, setting = time.perf_counter(), p.SETTINGS[name]
    steps = steps or p.length(setting.steps)
    joint, report = model(name)
    make = getattr(et.families, f"{kind}_for")
    q = make(joint, loc=coordinates(joint, setting.start), scale=p.SCALE, seed=None)
    rate = keras.optimizers.schedules.CosineDecay(setting.rate, steps)
    et.fit(
        lambda seed: et.gradients.reparameterized(
            joint.log_prob, q, sample_size=p.SAMPLES, seed=seed
        ),
        num_steps=steps,
        optimizer=keras.optimizers.Adam(rate, epsilon=1e-8),
        seed=seed,
        progress=False,
    )
    seconds = time.perf_counter() - begin
    draws = et.draw(joint.log_prob, q, p.EVALUATION, seed=(seed, 1))
    weights = draws.log_weights.numpy()
    parameters = report(draws.z).numpy()
    return {
        "seconds": seconds,
        "elbo": weights.mean(),
        "elbo_error": weights.std() / len(weights) ** 0.5,
        "mean": parameters.mean(0).tolist(),
        "stddev": parameters.std(0).tolist(),
    }


def coordinates(joint, start):
    """The start in the family's unconstrained coordinates, by names of parts."""
    names, distributions = et.families.charts.parts(joint, (0, 0))
    pairs = zip(names, distributions, strict=True)
    return {n: et.families.charts.chart(d).inverse(f64(start[n])) for n, d in pairs}


if __name__ == "__main__":
    from benchmarks import harness

    for argument in sys.argv[1:]:
        name, kind, seed = argument.split(":")
        harness.say({"task": argument, **fit(name, kind, int(seed))})
    harness.say({"versions": harness.versions()})
