"""Gaussian latents integrated out, against dense linear algebra and quadrature."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats

import elbo_tfp as et
from elbo_tfp import marginals
from tests.statistics import assert_mean, says

tfd = tfp.distributions
zero = np.zeros([])


def hierarchy(order="named"):
    """mu, tau and eight effects theta; theta is linear and Gaussian."""
    data = et.data.eight_schools(dtype="float64")
    parts = {
        "mu": tfd.Normal(tf.zeros([], tf.float64), 5.0),
        "tau": tfd.HalfCauchy(tf.zeros([], tf.float64), 5.0),
        "theta": lambda mu, tau: tfd.Independent(
            tfd.Normal(mu[..., None] + tf.zeros(8, tf.float64), tau[..., None]), 1
        ),
    }
    if order == "named":
        prior = tfd.JointDistributionNamed(parts)
        return data.y, et.LatentVariableModel(
            prior, lambda z: tfd.Independent(tfd.Normal(z["theta"], data.sigma), 1)
        )
    theta = parts["theta"]
    prior = tfd.JointDistributionSequential(
        [parts["mu"], parts["tau"], lambda tau, mu: theta(mu, tau)]
    )
    return data.y, et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z[2], data.sigma), 1)
    )


@pytest.mark.parametrize("order", ["named", "sequential"])
def test_eight_schools_without_effects(order):
    y, model = hierarchy(order)
    small = marginals.linear_gaussian(model, "theta" if order == "named" else 2)
    mu, tau = np.array([4.0, -2.0]), np.array([3.0, 8.0])
    sigma = et.data.eight_schools(dtype="float64").sigma
    exact = stats.norm(mu[:, None], np.hypot(tau[:, None], sigma)).logpdf(y).sum(-1)
    exact += stats.norm(0, 5).logpdf(mu) + stats.halfcauchy(0, 5).logpdf(tau)
    z = {"mu": mu, "tau": tau} if order == "named" else [mu, tau]
    log_p = small.log_joint(tf.constant(y))(z)
    np.testing.assert_allclose(log_p, exact, atol=1e-10)
    # p(theta | mu, tau, y), each effect by its own precision
    found = small.conditional(z, tf.constant(y))
    precision = tau[:, None] ** -2 + sigma**-2
    mean = (mu[:, None] / tau[:, None] ** 2 + y / sigma**2) / precision
    np.testing.assert_allclose(found.mean(), mean, atol=1e-10)
    np.testing.assert_allclose(found.stddev(), precision**-0.5, atol=1e-10)
    # p(x, z1) = p(x, z1, z2) / p(z2 | z1, x), at any z2
    whole = small.complete(z, tf.constant(y), seed=0)
    theta = whole["theta"] if order == "named" else whole[2]
    ratio = model.log_joint(tf.constant(y))(whole) - found.log_prob(theta)
    np.testing.assert_allclose(ratio, exact, atol=1e-9)
    drawn = small.prior.sample(3, seed=0)
    assert [t.shape for t in tf.nest.flatten(drawn)] == [(3,), (3,)]


def dense(noise="full"):
    """A vector latent, full covariances, and a scale that multiplies the weights."""
    rng = np.random.default_rng(0)
    weights, offset = rng.standard_normal([3, 2]), rng.standard_normal(3)
    root, spread = np.tril(rng.standard_normal([2, 2])), rng.random(3) + 0.5
    prior = tfd.JointDistributionNamed(
        {
            "scale": tfd.LogNormal(tf.zeros([], tf.float64), 0.3),
            "u": tfd.MultivariateNormalTriL(tf.constant([0.3, -1.0], tf.float64), root),
        }
    )

    def likelihood(z):
        mean = z["scale"][..., None] * tf.linalg.matvec(weights, z["u"]) + offset
        if noise == "full":
            return tfd.MultivariateNormalDiag(mean, spread)
        return tfd.Independent(tfd.Normal(mean, spread), 1)

    model = et.LatentVariableModel(prior, likelihood)
    return model, (weights, offset, root @ root.T, spread)


@pytest.mark.parametrize("noise", ["full", "independent"])
def test_vector_latents_and_full_covariances(noise):
    model, (weights, offset, cov, spread) = dense(noise)
    small = marginals.linear_gaussian(model, "u")
    x = np.array([[0.2, 1.0, -1.0], [1.0, 0.0, 2.0]])
    scale = np.array([[0.7, 1.2], [1.0, 2.0], [3.0, 0.1]])
    for s in range(3):
        for b in range(2):
            w = scale[s, b] * weights
            mean, m = offset + w @ [0.3, -1.0], np.array([0.3, -1.0])
            total = w @ cov @ w.T + np.diag(spread**2)
            exact = stats.multivariate_normal(mean, total).logpdf(x[b])
            z = tf.constant(scale)
            found = small.likelihood(z).log_prob(tf.constant(x))[s, b]
            np.testing.assert_allclose(found, exact, atol=1e-10)
            gain = cov @ w.T @ np.linalg.inv(total)
            after = small.conditional(z, tf.constant(x))
            np.testing.assert_allclose(
                after.mean()[s, b], m + gain @ (x[b] - mean), atol=1e-9
            )
            np.testing.assert_allclose(
                after.covariance()[s, b], cov - gain @ w @ cov, atol=1e-9
            )
    assert isinstance(small.prior, tfd.LogNormal)


def test_scalars_everywhere_agree_with_quadrature_to_1e_8():
    prior = tfd.JointDistributionNamed(
        {
            "v": tfd.LogNormal(tf.zeros([], tf.float64), 0.5),
            "u": lambda v: tfd.Normal(v, 0.7 * v),
        }
    )
    model = et.LatentVariableModel(
        prior, lambda z: tfd.Normal(2 * z["u"] - z["v"], tf.ones([], tf.float64))
    )
    small = marginals.linear_gaussian(model, "u")
    v, x = np.array([0.4, 2.0]), np.array([1.0])
    log_p = small.log_joint(x)(v[:, None])[:, 0]
    for i, value in enumerate(v):
        u = np.linspace(-12, 16, 6001)
        density = stats.norm(value, 0.7 * value).pdf(u) * stats.norm(
            2 * u - value, 1
        ).pdf(x[0])
        exact = np.log(integrate.trapezoid(density, u))
        exact += stats.lognorm(0.5).logpdf(value)
        assert abs(log_p[i] - exact) < 1e-8
    draws = small.conditional(v[:, None], x).sample(2000, seed=(0, 0))
    assert draws.shape == (2000, 2, 1)


def test_nothing_left_is_probabilistic_pca():
    rng = np.random.default_rng(1)
    model = et.models.linear_gaussian(rng.standard_normal([3, 2]), noise_scale=0.7)
    small, x = marginals.linear_gaussian(model), rng.standard_normal([4, 3])
    np.testing.assert_allclose(small.log_evidence(x), model.log_evidence(x), atol=1e-9)
    found, exact = small.posterior(x), model.posterior(x)
    np.testing.assert_allclose(found.mean(), exact.mean(), atol=1e-9)
    np.testing.assert_allclose(found.covariance(), exact.covariance(), atol=1e-9)
    z, x = small.sample(5, seed=0)
    assert z.shape == (5, 0) and x.shape == (5, 3)


def test_integrating_never_lowers_the_elbo_nor_iwae():
    model, _ = dense()
    small, x = marginals.linear_gaussian(model, "u"), np.array([[0.2, 1.0, -1.0]])
    q1 = tfd.LogNormal(tf.constant([0.1], tf.float64), 0.2)
    q2 = et.families.full_rank(2, dtype=tf.float64, seed=0)
    z, u = q1.sample(400, seed=(0, 1)), q2.sample((400, 1), seed=2)
    log_q1, log_q2 = q1.log_prob(z), q2.log_prob(u)
    after = small.conditional(z, tf.constant(x))
    larger = model.log_joint(x)({"scale": z, "u": u}) - log_q1 - log_q2
    smaller = small.log_joint(x)(z) - log_q1
    # per draw, log w - log w1 = log p(u | z, x) - log q2(u): its mean is -KL <= 0
    np.testing.assert_allclose(larger - smaller, after.log_prob(u) - log_q2, atol=1e-9)
    kl = tfd.kl_divergence(q2.current, after)
    assert np.all(kl.numpy() > 0)
    assert_mean(smaller - larger - kl, 0.0, fault=1.5 * float(tf.reduce_mean(kl)))
    bounds = [et.bounds.iwae(w) for w in (larger, smaller)]
    assert bounds[1] > bounds[0]


def test_one_after_the_other_and_summing_after_integrating():
    rng = np.random.default_rng(0)
    prior = tfd.JointDistributionNamed(
        {
            "k": tfd.Bernoulli(probs=tf.constant(0.3, tf.float64)),
            "a": tfd.Normal(tf.zeros([], tf.float64), 1.0),
            "b": tfd.Normal(tf.zeros([], tf.float64), 2.0),
        }
    )
    model = et.LatentVariableModel(
        prior,
        lambda z: tfd.Normal(z["a"] - z["b"] + 3 * tf.cast(z["k"], tf.float64), 1.0),
    )
    first = marginals.linear_gaussian(model, "a")
    second = marginals.linear_gaussian(first, "b")
    third = marginals.enumerate_discrete(second)
    x = rng.standard_normal(3)
    # x is a mixture of two Gaussians of variance 1 + 1 + 4
    exact = 0.7 * stats.norm(0, 6**0.5).pdf(x) + 0.3 * stats.norm(3, 6**0.5).pdf(x)
    np.testing.assert_allclose(third.log_evidence(x), np.log(exact), atol=1e-10)


def test_hidden_coordinates_are_left_out():
    rng = np.random.default_rng(2)
    weights, x = rng.standard_normal([4, 2]), rng.standard_normal([3, 4])
    seen = np.array([True, False, True, True])
    model = et.LatentVariableModel(
        tfd.MultivariateNormalDiag(np.zeros(2), np.ones(2)),
        lambda z: tfd.Independent(
            tfd.Masked(tfd.Normal(tf.linalg.matvec(weights, z), 0.5 + zero), seen), 1
        ),
    )
    small = marginals.linear_gaussian(model)
    w = weights[seen]
    total = w @ w.T + 0.25 * np.eye(3)
    exact = stats.multivariate_normal(np.zeros(3), total).logpdf(x[:, seen])
    x[:, ~seen] = 1e6
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-10)
    after = small.posterior(x)
    gain = np.linalg.solve(total, w).T
    np.testing.assert_allclose(after.mean(), x[:, seen] @ gain.T, atol=1e-10)
    np.testing.assert_allclose(after.covariance()[0], np.eye(2) - gain @ w, atol=1e-10)
    # a prior, integrated after this one, stands before hidden data as well
    scale = tfd.JointDistributionNamed(
        {"a": tfd.Normal(zero, 1.0), "b": tfd.Normal(zero, 2.0)}
    )
    model = et.LatentVariableModel(
        scale,
        lambda z: tfd.Independent(
            tfd.Masked(
                tfd.Normal((z["a"] + z["b"])[..., None] + np.zeros(2), 1.0 + zero),
                [False, True],
            ),
            1,
        ),
    )
    both = marginals.linear_gaussian(marginals.linear_gaussian(model, "a"))
    found = both.log_evidence(np.array([[7.0, 0.3]]))
    np.testing.assert_allclose(found, [stats.norm(0, 6**0.5).logpdf(0.3)], atol=1e-10)


def test_compiled_with_a_gradient():
    weights = tf.Variable([[1.0], [2.0]], dtype=tf.float64)
    model = et.LatentVariableModel(
        tfd.MultivariateNormalDiag(tf.zeros(1, tf.float64), tf.ones(1, tf.float64)),
        lambda z: tfd.MultivariateNormalDiag(
            tf.linalg.matvec(weights, z), tf.ones(2, tf.float64)
        ),
    )
    small, x = marginals.linear_gaussian(model), tf.constant([[1.0, -1.0]], tf.float64)

    @tf.function(jit_compile=True)
    def slope():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(small.log_evidence(x))
        return tape.gradient(value, weights)

    def exact(w):
        return stats.multivariate_normal(zero + [0, 0], np.eye(2) + w @ w.T).logpdf(x)

    from tests import oracles

    np.testing.assert_allclose(
        slope(), oracles.difference(exact, weights.numpy()), atol=1e-7
    )


def test_errors_say_what_is_not_linear_or_not_gaussian():
    def model(likelihood, u=None, v=None):
        parts = {
            "v": v or tfd.Normal(tf.zeros([], tf.float64), 1.0),
            "u": u or tfd.Normal(tf.zeros([], tf.float64), 1.0),
        }
        return et.LatentVariableModel(tfd.JointDistributionNamed(parts), likelihood)

    one = tf.ones([], tf.float64)
    with says("linear and Gaussian in 'u'", "mean is not affine"):
        marginals.linear_gaussian(model(lambda z: tfd.Normal(z["u"] ** 2, one)), "u")
    with says("linear and Gaussian in 'u'", "covariance depends"):
        marginals.linear_gaussian(
            model(lambda z: tfd.Normal(z["u"], tf.exp(z["u"]))), "u"
        )
    with says("another latent depends on 'u'"):
        marginals.linear_gaussian(
            model(lambda z: tfd.Normal(z["u"], one), v=lambda u: tfd.Normal(u, one)),
            "u",
        )
    with says("a Gaussian for 'u'", "Laplace"):
        marginals.linear_gaussian(
            model(lambda z: tfd.Normal(z["u"], one), u=tfd.Laplace(0 * one, one)), "u"
        )
    with says("a Gaussian for 'likelihood'", "StudentT"):
        marginals.linear_gaussian(
            model(lambda z: tfd.StudentT(3 * one, z["u"], one)), "u"
        )
    single = tf.ones([], tf.float32)
    bent = et.LatentVariableModel(
        tfd.Normal(0 * single, 1.0), lambda z: tfd.Normal(z + 0.05 * z**2, single)
    )
    with says("mean is not affine"):
        marginals.linear_gaussian(bent)
    matrix = tfd.Sample(tfd.Normal(0 * one, 1.0), [2, 2])
    with says("scalar or vector latent", "(2, 2)", "Reshape"):
        marginals.linear_gaussian(
            et.LatentVariableModel(
                matrix, lambda z: tfd.Independent(tfd.Normal(z, one), 2)
            )
        )
    with says("name of the latent to integrate", "['v', 'u']", "None"):
        marginals.linear_gaussian(model(lambda z: tfd.Normal(z["u"], one)))
    with says("one latent to integrate", "one after the other"):
        marginals.linear_gaussian(model(lambda z: tfd.Normal(z["u"], one)), ["u", "v"])
    with says("TFP joint distribution"):
        Odd = type("Odd", (), {"event_shape": [tf.TensorShape([])] * 2})
        odd = Odd()
        odd.log_prob = odd.sample = lambda *a, **k: None
        marginals.enumerate_discrete(
            et.LatentVariableModel(odd, lambda z: tfd.Normal(z[0], 1.0)), 0
        )


@pytest.mark.parametrize(
    ("offset", "slope"), [(0.0, 0.0), (300.0, 0.0), (1e4, 0.0), (0.0, 1e3)]
)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_an_offset_or_a_steep_line_hides_no_bend(dtype, offset, slope):
    """Off by one where the noise is a tenth: silently a nat of evidence, once."""
    one = tf.ones([], dtype)
    bent, line = (
        et.LatentVariableModel(
            tfd.Normal(0 * one, one),
            lambda z, bend=bend: tfd.Normal(
                offset + slope * z + bend * tf.sin(2 * z), 0.1 * one
            ),
        )
        for bend in (1.0, 0.0)
    )
    x = tf.constant([offset + 0.5], dtype)
    with says("the likelihood's mean is not affine"):
        marginals.linear_gaussian(bent).log_evidence(x)
    found = marginals.linear_gaussian(line).log_evidence(x)
    exact = stats.norm.logpdf(float(x[0]) - offset, 0, np.hypot(slope, 0.1))
    # d log p / dx is 50 without a slope
    error = 200 * np.finfo(dtype.as_numpy_dtype).eps * (1 + offset)
    np.testing.assert_allclose(found, [exact], atol=error)


@pytest.mark.parametrize("level", [0.0, 1e3, 1e6])
def test_in_float32_a_distant_latent_costs_no_digits(level):
    level, slope = np.float32([level, 0.3])
    model = et.LatentVariableModel(
        tfd.Normal(level, np.float32(1)),
        lambda z: tfd.Normal(slope * z - slope * level, np.float32(1)),
    )
    small, x = marginals.linear_gaussian(model), np.float32([0, 1, -2])
    exact = stats.norm(0, 1.09**0.5).logpdf(x)
    np.testing.assert_allclose(small.log_evidence(x), exact, rtol=1e-4)
    mean = small.posterior(x).mean() - level
    np.testing.assert_allclose(mean, 0.3 / 1.09 * x, atol=np.spacing(level) + 1e-4)


def test_a_bend_beside_a_distant_latent_is_seen():
    level = np.float32(1e4)
    model = et.LatentVariableModel(
        tfd.Normal(level, np.float32(1)),
        lambda z: tfd.Normal(tf.sin(2 * (z - level)), np.float32(1)),
    )
    with says("the likelihood's mean is not affine in 'z'"):
        marginals.linear_gaussian(model)
