"""Eight schools and two humps: numbers computed elsewhere, met by the package."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import optimize

import elbo_tfp as et
from elbo_tfp import families, gaps, marginals

tfd = tfp.distributions
LOG_EVIDENCE = -31.31134735


def schools():
    """F1 with its eight effects: p(mu) p(tau) p(theta | mu, tau) p(y | theta)."""
    data, zero = et.data.eight_schools(dtype="float64"), tf.zeros([], tf.float64)
    prior = tfd.JointDistributionNamed(
        {
            "mu": tfd.Normal(zero, 5.0),
            "tau": tfd.HalfCauchy(zero, 5.0),
            "theta": lambda mu, tau: tfd.Independent(
                tfd.Normal(mu[..., None] + tf.zeros(8, tf.float64), tau[..., None]), 1
            ),
        }
    )
    return data.y, et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z["theta"], data.sigma), 1)
    )


@pytest.fixture(scope="module")
def small():
    y, model = schools()
    return y, marginals.linear_gaussian(model, "theta")


def test_f1_quadrature(small):
    y, model = small
    found = gaps.evidence(model, y, "quadrature", jit_compile=False).estimate
    assert abs(found - LOG_EVIDENCE) < 1e-7


def exact_draw(y, model, seed):
    """(mu, tau) from the posterior's cells on a grid, uniform within the cell."""
    mu, u = np.linspace(-20, 35, 401), np.linspace(-12, 6, 401)
    grid = {"mu": mu[:, None] + 0 * u, "tau": np.exp(u) + 0 * mu[:, None]}
    log_p = model.log_joint(y)(tf.nest.map_structure(tf.constant, grid)).numpy() + u
    p = np.exp(log_p - log_p.max()).ravel()
    rng = np.random.default_rng(seed)
    i, j = np.unravel_index(rng.choice(p.size, p=p / p.sum()), log_p.shape)
    shift = rng.random(2) - 0.5
    tau = np.exp(u[j] + shift[1] * (u[1] - u[0]))
    return {"mu": mu[i] + shift[0] * (mu[1] - mu[0]), "tau": tau}


def closed_form():
    """The same without effects: y given (mu, tau) ~ N(mu, tau^2 + sigma^2)."""
    data, model = et.data.eight_schools(dtype="float64"), schools()[1]
    rest = {k: model.prior.model[k] for k in ("mu", "tau")}

    def likelihood(z):
        scale = tf.sqrt(tf.square(z["tau"][..., None]) + data.sigma**2)
        return tfd.Independent(tfd.Normal(z["mu"][..., None], scale), 1)

    return data.y, et.LatentVariableModel(tfd.JointDistributionNamed(rest), likelihood)


def test_f1_sandwich_and_importance():
    y, model = closed_form()
    found = gaps.evidence(
        model,
        y,
        "bidirectional",
        posterior_sample=exact_draw(y, model, 0),
        sample_size=200,
        num_temperatures=30,
        jit_compile=False,
        seed=0,
    )
    slack = 8 * found.standard_error
    assert slack < 0.5 and found.lower - slack < LOG_EVIDENCE < found.upper + slack
    assert abs(found.estimate - LOG_EVIDENCE) < 0.15
    found = gaps.evidence(
        model, y, sample_size=60_000, jit_compile=False, seed=0, chunk_size=20_000
    )
    assert abs(found.estimate - LOG_EVIDENCE) < 4 * found.standard_error < 0.03


def both(z):
    """log p(y, z) in (eta or theta, mu, log tau), non-centred and centred: `[S, 2]`."""
    data = et.data.eight_schools()
    mu, log_tau = z[..., 8], z[..., 9]
    tau = tf.exp(log_tau)
    prior = tfd.Normal(0.0, 5.0).log_prob(mu) + tfd.HalfCauchy(0.0, 5.0).log_prob(tau)
    prior += log_tau
    eta, theta = z[..., 0, :8], z[..., 1, :8]
    scaled = mu[..., 0, None] + tau[..., 0, None] * eta
    centred = tfd.Normal(mu[..., 1, None], tau[..., 1, None]).log_prob(theta)
    terms = [
        tfd.Normal(0.0, 1.0).log_prob(eta)
        + tfd.Normal(scaled, data.sigma).log_prob(data.y),
        centred + tfd.Normal(theta, data.sigma).log_prob(data.y),
    ]
    return prior + tf.stack([tf.reduce_sum(t, -1) for t in terms], -1)


def test_f1_mean_field_and_k_hat():
    q = families.mean_field(10, batch_shape=(2,), scale=0.5)
    rate = keras.optimizers.schedules.CosineDecay(0.05, 4_000)
    et.fit(
        lambda seed: et.gradients.reparameterized(both, q, sample_size=64, seed=seed),
        num_steps=4_000,
        optimizer=keras.optimizers.Adam(rate),
        seed=0,
    )
    runs = [et.draw(both, q, 100_000, seed=s) for s in range(20)]
    elbo = np.mean([et.bounds.elbo(draws) for draws in runs], 0)
    # 2e6 draws: an error of 0.001
    assert abs(elbo[0] + 31.597) < 0.01, elbo
    assert elbo[1] < elbo[0] - 0.2
    shape = np.mean([gaps.k_hat(draws) for draws in runs], 0)
    assert shape[0] < 0.7 < shape[1], shape


# F17: the best Gaussian for N(-m, 1) / 2 + N(m, 1) / 2 by exclusive KL

NODES = np.linspace(-9, 9, 1_201)
MASS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def humps(m):
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=tf.constant([0.5, 0.5], tf.float64)),
        tfd.Normal(tf.constant([-m, m], tf.float64), tf.constant(1.0, tf.float64)),
    )


def elbo(parameters, m):
    """The ELBO of N(loc, exp(raw)^2), by the trapezoid; NumPy only."""
    loc, raw = parameters
    z = loc + np.exp(raw) * NODES
    log_p = np.logaddexp(-((z - m) ** 2) / 2, -((z + m) ** 2) / 2)
    return MASS @ log_p - np.log(2) + raw + 0.5


def climb(start, m):
    return optimize.minimize(
        lambda p: -elbo(p, m), start, method="BFGS", options={"gtol": 1e-8}
    )


def bisect(is_above, low, high):
    while high - low > 0.002:
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2


def test_f17_thresholds():
    one = {"at": climb([3.0, 0.0], 3.0).x}

    def has_one_hump(m):
        found = climb(one["at"], m).x
        if found[0] > 0.5:
            one["at"] = found
        return found[0] > 0.5

    appears = bisect(has_one_hump, 2.2, 3.0)
    assert abs(appears - 2.41) < 0.01, appears

    def is_better(m):
        return climb([m, 0.0], m).fun < climb([0.0, np.log(m)], m).fun

    jumps = bisect(is_better, 2.5, 3.2)
    assert abs(jumps - 2.803) < 0.01, jumps
    for m in (4.0, 8.0, 12.0):
        covering = climb([0.0, np.log(m)], m)
        assert abs(covering.x[0]) < 1e-4 and covering.x[1] > 0.5


def test_f17_what_a_fit_finds_depends_on_its_start():
    m = 3.5
    q = families.mean_field(1, batch_shape=(2,), dtype=tf.float64)
    # one starts wide and centred, one on the right hump
    q.free_parameters.assign([[0.0, 3.0], [3.0, 0.0]])
    nodes, mass = tf.constant(NODES)[:, None, None], tf.constant(MASS)

    def objective():
        member = q.current
        z = member.mean() + member.stddev() * nodes
        gap = humps(m).log_prob(z[..., 0]) - member.log_prob(z)
        return tf.linalg.matvec(gap, mass, transpose_a=True)

    et.fit(objective, num_steps=600, optimizer=keras.optimizers.Adam(0.03), seed=0)
    found = objective().numpy()
    exact = [elbo(climb(s, m).x, m) for s in ([0.0, 1.1], [m, 0.0])]
    np.testing.assert_allclose(found, exact, atol=1e-4)
    np.testing.assert_allclose(q.mean().numpy()[:, 0], [0.0, m], atol=0.1)
    assert found[1] > found[0] + 0.1
