"""Conjugate latents integrated out, against SciPy's formulas and quadrature."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp import marginals
from tests import oracles
from tests.statistics import assert_mean, says

tfd = tfp.distributions
one = np.ones([])


def named(likelihood, **parts):
    return et.LatentVariableModel(tfd.JointDistributionNamed(parts), likelihood)


def test_gamma_poisson_is_negative_binomial():
    model = et.models.gamma_poisson(2.0, 1.5, dtype=tf.float64)
    small, x = marginals.conjugate(model), np.array([0.0, 3.0, 40.0, 5e4])
    exact = stats.nbinom(2.0, 1.5 / 2.5).logpmf(x)
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-8, rtol=1e-13)
    found, known = small.posterior(x), model.posterior(x)
    np.testing.assert_allclose(found.mean(), known.mean(), rtol=1e-14)
    np.testing.assert_allclose(found.variance(), known.variance(), rtol=1e-14)
    log_p = small.log_joint(x)(tf.zeros([5, 4, 0], tf.float64))
    np.testing.assert_allclose(log_p, np.tile(exact, [5, 1]), atol=1e-8, rtol=1e-13)
    assert small.likelihood(tf.zeros([2, 0], tf.float64)).mean().shape == (2,)


def overdispersed():
    """A log-mean, and counts whose rate varies around it with a Gamma of shape 2."""
    return named(
        lambda z: tfd.Poisson(z["rate"] * tf.exp(z["m"])),
        m=tfd.Normal(0 * one, 1.0),
        rate=tfd.Gamma(2 * one, 2.0),
    )


def test_f16_integrating_the_rate_never_lowers_the_elbo():
    model, x = overdispersed(), np.array([0.0, 4.0, 11.0])
    small = marginals.conjugate(model, "rate")
    assert isinstance(small.prior, tfd.Normal)
    q1 = tfd.Normal(np.array([-0.5, 0.6, 1.5]), 0.5)
    q2 = tfd.Gamma(np.array([1.0, 2.0, 8.0]), np.array([1.5, 1.0, 5.0]))
    m, rate = q1.sample(4000, seed=(0, 1)), q2.sample(4000, seed=(0, 2))
    larger = model.log_joint(x)({"m": m, "rate": rate}) - q2.log_prob(rate)
    smaller = small.log_joint(x)(m)
    # the smaller model is negative binomial of mean exp(m)
    exact = stats.nbinom(2, 2 / (2 + np.exp(m))).logpmf(x) + stats.norm.logpdf(m)
    np.testing.assert_allclose(smaller, exact, atol=1e-10)
    # draw by draw the difference is log q2 / p(rate | m, x); its mean is a KL
    after = small.conditional(m, x)
    ratio = q2.log_prob(rate) - after.log_prob(rate)
    np.testing.assert_allclose(smaller - larger, ratio, atol=1e-9)
    kl = tfd.kl_divergence(q2, tfd.Gamma(2 + x, 2 + tf.exp(m))).numpy()
    assert (kl > 0).all() and (np.mean(smaller - larger, 0) > 0).all()
    assert_mean(smaller - larger - kl, 0.0, fault=0.5)
    whole = small.complete(m, x, seed=0)
    assert whole["rate"].shape == (4000, 3) and set(whole) == {"m", "rate"}
    assert_mean(whole["rate"] - after.mean(), 0.0, fault=0.5)


def test_arrays_with_exposures_and_repetitions_against_quadrature():
    exposure = np.array([0.5, 1.0, 2.0])
    model = named(
        lambda z: tfd.Independent(
            tfd.Poisson(z["u"][..., None] * exposure * z["s"][..., None, None]), 2
        ),
        s=tfd.LogNormal(0 * one, 0.5),
        u=lambda s: tfd.Independent(
            tfd.Gamma(np.array([1.5, 3.0]), 1 + s[..., None]), 1
        ),
    )
    small = marginals.conjugate(model, "u")
    x = np.array([[[0.0, 2.0, 5.0], [4.0, 1.0, 9.0]]])
    s = np.array([[0.7], [2.0]])
    found = small.log_joint(x)(tf.constant(s))
    for i, scale in enumerate(s[:, 0]):
        exact = stats.lognorm(0.5).logpdf(scale)
        for j, shape in enumerate([1.5, 3.0]):
            prior = stats.gamma(shape, scale=1 / (1 + scale))
            exact += np.log(
                oracles.integral(
                    lambda u, j=j, prior=prior, scale=scale: (
                        prior.pdf(u)
                        * stats.poisson(u * exposure * scale).pmf(x[0, j]).prod()
                    ),
                    0,
                    40,
                )
            )
        assert abs(found[i, 0] - exact) < 1e-8
    after = small.conditional(tf.constant(s), x)
    rate = 1 + s + 3.5 * s
    np.testing.assert_allclose(after.mean()[:, 0], (x.sum(-1) + [1.5, 3.0]) / rate)
    # one rate behind all counts, and a prior that is tfd.Sample
    shared = et.LatentVariableModel(
        tfd.Exponential(2 * one),
        lambda z: tfd.Independent(tfd.Poisson(z[..., None] * exposure), 1),
    )
    found = marginals.conjugate(shared).posterior(x[0])
    np.testing.assert_allclose(found.mean(), (1 + x[0].sum(-1)) / (2 + 3.5))
    many = et.LatentVariableModel(
        tfd.Sample(tfd.Gamma(2 * one, 1.5), 3),
        lambda z: tfd.Independent(tfd.Poisson(z), 1),
    )
    small = marginals.conjugate(many)
    exact = stats.nbinom(2, 0.6).logpmf(x[0]).sum(-1)
    np.testing.assert_allclose(small.log_evidence(x[0]), exact, atol=1e-10)
    assert small.posterior(x[0]).sample(4, seed=(0, 0)).shape == (4, 2, 3)


def test_beta_binomial_and_beta_bernoulli():
    n = np.array([3.0, 10.0])
    model = et.LatentVariableModel(
        tfd.Beta(0.5 * one, 2.0), lambda z: tfd.Binomial(n, probs=z)
    )
    x = np.array([0.0, 7.0])
    small = marginals.conjugate(model)
    exact = stats.betabinom(n.astype(int), 0.5, 2.0).logpmf(x)
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-10)
    np.testing.assert_allclose(small.posterior(x).mean(), (0.5 + x) / (2.5 + n))
    coins = et.LatentVariableModel(
        tfd.Beta(0.5 * one, 2.0),
        lambda z: tfd.Independent(tfd.Bernoulli(probs=z[..., None] + np.zeros(4)), 1),
    )
    x = np.array([[0, 1, 1, 0], [0, 0, 0, 0]], np.int32)
    exact = np.log(
        [
            oracles.integral(
                lambda z, k=k: stats.beta(0.5, 2).pdf(z) * z**k * (1 - z) ** (4 - k),
                0,
                1,
            )
            for k in (2, 0)
        ]
    )
    found = marginals.conjugate(coins).log_evidence(x)
    np.testing.assert_allclose(found, exact, atol=1e-8)


def test_normal_normal_is_the_linear_gaussian_case():
    model, x = et.models.normal_normal(0.5, 2.0, dtype=tf.float64), np.array([1.0, -3])
    small = marginals.conjugate(model)
    exact, mean, scale = oracles.normal_normal(x, 0.5, 2.0)
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-10)
    np.testing.assert_allclose(small.posterior(x).mean(), mean)
    np.testing.assert_allclose(small.posterior(x).stddev(), np.tile(scale, 2))


def test_compiled_with_a_gradient_and_draws_that_follow_the_marginal():
    log_shape = tf.Variable(0.3, dtype=tf.float64)
    model = et.LatentVariableModel(
        lambda: tfd.Gamma(tf.exp(log_shape), tf.exp(log_shape)),
        lambda z: tfd.Poisson(3 * z),
    )
    small, x = marginals.conjugate(model), tf.constant([2.0, 9.0], tf.float64)

    @tf.function(jit_compile=True)
    def slope():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(small.log_evidence(x))
        drawn = small.posterior(x).sample(2000, seed=(0, 1))
        return tape.gradient(value, log_shape), drawn

    def exact(v):
        shape = float(np.exp(v))
        return stats.nbinom(shape, shape / (shape + 3)).logpmf(x).sum()

    gradient, drawn = slope()
    step = 1e-5
    difference = (exact(0.3 + step) - exact(0.3 - step)) / (2 * step)
    assert abs(gradient - difference) < 1e-8
    mean = (np.exp(0.3) + x.numpy()) / (np.exp(0.3) + 3)
    assert_mean(drawn, mean, fault=0.3)
    _, counts = small.sample(4000, seed=0)
    assert_mean(counts, 3.0, fault=0.5)


def test_float32_stays_close_at_counts_of_hundreds():
    model = et.models.gamma_poisson(2.0, 0.01)
    x = np.array([0, 200, 900], np.float32)
    found = marginals.conjugate(model).log_evidence(x)
    assert found.dtype == tf.float32
    exact = stats.nbinom(2, 0.01 / 1.01).logpmf(x)
    np.testing.assert_allclose(found, exact, atol=3e-3)


@pytest.mark.parametrize(
    ("a", "b", "x"), [(1e6, 1e3, [900, 1000, 1100]), (2, 1e-6, [0, 3e6, 16e6])]
)
def test_float32_keeps_its_digits_at_large_counts(a, b, x):
    x, rate = np.array(x, np.float32), float(np.float32(b))
    prior = tfd.Gamma(np.float32(a), np.float32(b))
    small = marginals.conjugate(et.LatentVariableModel(prior, tfd.Poisson))
    exact = stats.nbinom(a, rate / (1 + rate)).logpmf(x.astype(np.float64))
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=3e-6)


def test_float32_keeps_its_digits_where_the_prior_is_narrow():
    a, n, x = np.float32(1e6), np.float32(100.0), np.array([40, 50, 70], np.float32)
    log_a = tf.Variable(np.log(a))
    model = et.LatentVariableModel(
        lambda: tfd.Beta(tf.exp(log_a), a), lambda z: tfd.Binomial(n, probs=z)
    )
    small = marginals.conjugate(model)

    @tf.function(jit_compile=True)
    def asked():
        with tf.GradientTape() as tape:
            value = small.log_evidence(x)
        return value, tape.gradient(value, log_a)

    value, slope = asked()

    def exact(v):
        return stats.betabinom(100, np.exp(v), float(a)).logpmf(x)

    at = np.log(float(tf.exp(log_a)))
    np.testing.assert_allclose(value, exact(at), atol=1e-5)
    difference = oracles.difference(lambda v: exact(float(v)).sum(), at)
    np.testing.assert_allclose(slope, difference, rtol=1e-4)


def bad(likelihood, prior=None):
    return et.LatentVariableModel(prior or tfd.Gamma(2 * one, 1.0), likelihood)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (bad(lambda z: tfd.Normal(z, 1.0)), ["Gamma-Poisson", "Gamma-Normal", "'z'"]),
        (
            bad(tfd.Poisson, tfd.LogNormal(0 * one, 1.0)),
            ["conjugate pair", "Beta-Binomial", "LogNormal-Poisson"],
        ),
        (
            bad(lambda z: tfd.StudentT(3 * one, z, 1.0), tfd.Normal(0 * one, 1.0)),
            ["Normal-Normal", "got Normal-StudentT"],
        ),
        (bad(lambda z: tfd.Poisson(z + 1)), ["is not proportional", "Known"]),
        (bad(lambda z: tfd.Poisson(z**2)), ["is not proportional", "rate c z"]),
        (
            bad(lambda z: tfd.Binomial(3 * one, probs=z / 2), tfd.Beta(one, 1.0)),
            ["'z' to be conjugate, Beta-Binomial", "probability is not it alone"],
        ),
        (
            bad(lambda z: tfd.Binomial(1 + 3 * z, probs=z), tfd.Beta(one, 1.0)),
            ["number of trials depends on it"],
        ),
        (
            bad(
                lambda z: tfd.Independent(
                    tfd.Poisson(z[..., None, :] + [[0.0]] * 3), 2
                ),
                tfd.Sample(tfd.Gamma(2 * one, 1.0), 2),
            ),
            ["starts with that of 'z', (2,)", "got (3, 2)", "Transpose"],
        ),
        (
            bad(tfd.Poisson, tfd.Sample(tfd.Independent(tfd.Gamma([one], 1.0), 1), 2)),
            ["conjugate pair", "got Sample-Poisson"],
        ),
    ],
)
def test_errors_say_what_is_known_and_what_came(model, message):
    with says(*message):
        marginals.conjugate(model)


def test_errors_about_the_other_latents():
    tied = named(
        lambda z: tfd.Poisson(z["u"]),
        u=tfd.Gamma(2 * one, 1.0),
        v=lambda u: tfd.Normal(u, 1.0),
    )
    with says("'u' to be conjugate", "another latent depends on it"):
        marginals.conjugate(tied, "u")
    with says("one latent to integrate", "one after the other"):
        marginals.conjugate(overdispersed(), ["m", "rate"])
    with says("name of the latent to integrate", "['rate', 'm']"):
        marginals.conjugate(overdispersed())


def test_data_that_are_no_counts():
    small = marginals.conjugate(overdispersed(), "rate")
    for x in (-1.0, 1.5):
        with says("whole numbers >= 0; got 1 of 2 others"):
            small.log_joint(np.array([x, 2.0]))
    alone = marginals.conjugate(et.models.gamma_poisson(2.0, 1.5, dtype=tf.float64))
    with says("whole numbers >= 0"):
        alone.log_evidence(np.array([0.5]))
    with says("likelihood's dtype float64", "got float32"):
        alone.log_evidence(np.array([1.0], "float32"))


def test_a_support_is_handed_on():
    model = overdispersed()
    strict = et.LatentVariableModel(
        model.prior,
        model.likelihood,
        support=lambda x: "at most 9" if np.max(x) > 9 else None,
    )
    small = marginals.conjugate(strict, "rate")
    assert small.log_joint(np.array([3.0])) is not None
    with says("the likelihood can give: at most 9"):
        small.log_joint(np.array([3.0, 12.0]))


@pytest.mark.parametrize(
    "integrate",
    [
        marginals.conjugate,
        marginals.linear_gaussian,
        marginals.enumerate_discrete,
        marginals.kalman,
        marginals.forward,
    ],
)
def test_what_is_no_model(integrate):
    with says("expected a LatentVariableModel", "got int", "pin the data"):
        integrate(3, "z")


def test_copies_of_a_latent_whose_parameters_depend_on_another():
    model = named(
        lambda z: tfd.Independent(tfd.Poisson(z["rate"]), 1),
        m=tfd.Normal(0 * one, 1.0),
        rate=lambda m: tfd.Sample(tfd.Gamma(tf.exp(m), 2.0 * one), 3),
    )
    small = marginals.conjugate(model, "rate")
    # as many data as copies: nothing may broadcast by chance
    m, x = np.linspace(-1.0, 1.0, 15).reshape(5, 3), np.arange(9.0).reshape(3, 3)
    exact = stats.nbinom(np.exp(m)[..., None], 2 / 3).logpmf(x).sum(-1)
    found = small.log_joint(x)(tf.constant(m))
    np.testing.assert_allclose(found, exact + stats.norm.logpdf(m), atol=1e-9)
    after = small.conditional(tf.constant(m), x)
    np.testing.assert_allclose(after.mean(), (np.exp(m)[..., None] + x) / 3)
