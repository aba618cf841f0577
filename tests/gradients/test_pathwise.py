"""Pathwise gradients: by hand, against exact slopes, with their known variances."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.gradients import reparameterized, sticking_the_landing
from tests import oracles
from tests.statistics import assert_mean, assert_within, close, says

tfd, tfb = tfp.distributions, tfp.bijectors
F64 = tf.float64
BOTH = pytest.mark.parametrize("estimator", [reparameterized, sticking_the_landing])


def c(value):
    return tf.constant(value, F64)


def gradient(estimator, target, q, variables, **options):
    """The gradient of the mean surrogate, one array per variable."""
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(estimator(target, q(), **options).surrogate)
    return [np.asarray(g) for g in tape.gradient(bound, variables)]


def per_sample(estimator, target, build, parameters, num, **options):
    """`num` independent gradients `[num, len(parameters)]`, from one batched call.

    Each row has a copy of the parameters and of the target's datum, so that the
    gradient of the sum holds every row's own gradient.
    """
    copies = [tf.Variable(tf.fill([num], c(p))) for p in parameters]
    with tf.GradientTape() as tape:
        found = estimator(target(num), build(*copies), seed=0, **options).surrogate
        total = tf.reduce_sum(found)
    return np.stack(tape.gradient(total, copies), -1)


def standard(x):
    model = et.models.normal_normal(dtype=F64)
    return lambda num: model.log_joint(tf.fill([num], c(x)))


def normal(loc, log_scale):
    return tfd.Normal(loc, tf.exp(log_scale))


# by hand, on a fixed draw


def test_the_formulas_on_a_fixed_draw():
    """L = log w(z), z = m + s e: dL/dm = x - 2 z, dL/ds = (x - 2 z) e + 1 / s.

    Sticking the landing adds the path of -log q, (z - m) / s^2, and leaves out the
    score: dL/dm = x - 2 z + e / s, dL/ds = (x - 2 z + e / s) e.
    """
    m, s, x = tf.Variable(0.4, dtype=F64), tf.Variable(0.7, dtype=F64), 1.5
    target = et.models.normal_normal(dtype=F64).log_joint(c(x))
    z = et.draw(target, tfd.Normal(m, s), (1, 1), seed=3).z.numpy().item()
    e = (z - 0.4) / 0.7
    slope = x - 2 * z
    found = gradient(reparameterized, target, lambda: tfd.Normal(m, s), [m, s], seed=3)
    close(found, [slope, slope * e + 1 / 0.7])
    found = gradient(
        sticking_the_landing, target, lambda: tfd.Normal(m, s), [m, s], seed=3
    )
    close(found, [slope + e / 0.7, (slope + e / 0.7) * e])


@BOTH
def test_the_model_gets_its_own_gradient(estimator):
    """d log p(x, z) / d theta at the samples, with x ~ N(theta z, 1)."""
    theta = tf.Variable(0.8, dtype=F64)
    model = et.LatentVariableModel(
        tfd.Normal(c(0.0), c(1.0)), lambda z: tfd.Normal(theta * z, c(1.0))
    )
    target, q = model.log_joint(c([1.5, -1.0])), tfd.Normal(c([0.3, 0.1]), c(0.6))
    z = et.draw(target, q, (5, 1), seed=0).z.numpy()
    expected = ((np.array([1.5, -1.0]) - 0.8 * z) * z).mean()
    found = gradient(estimator, target, lambda: q, [theta], sample_size=5, seed=0)
    close(found, [expected])


@BOTH
def test_the_mean_over_samples_and_data(estimator):
    """The gradient of the reported mean is that mean of the samples' gradients."""
    m = tf.Variable([0.4, -0.2], dtype=F64)
    x = np.array([1.5, 0.0])
    target = et.models.normal_normal(dtype=F64).log_joint(c(x))
    z = et.draw(target, tfd.Normal(m, c(0.7)), (4, 1), seed=0).z.numpy()[:, 0]
    slope = x - 2 * z
    if estimator is sticking_the_landing:
        slope = slope + (z - m.numpy()) / 0.49
    found = gradient(
        estimator, target, lambda: tfd.Normal(m, c(0.7)), [m], sample_size=4, seed=0
    )
    close(found[0], slope.mean(0) / 2)


@BOTH
@pytest.mark.parametrize("beta", [0.3, 2.0, tf.constant(0.3)])
def test_a_kl_weight_scales_the_rate_only(estimator, beta):
    m = tf.Variable(0.4, dtype=F64)
    target = et.models.normal_normal(dtype=F64).log_joint(c(1.5))
    z = et.draw(target, tfd.Normal(m, c(0.7)), (1, 1), seed=0).z.numpy().item()
    rate = -z + ((z - 0.4) / 0.49 if estimator is sticking_the_landing else 0)
    options = {"seed": 0, "kl_weight": beta}
    found = gradient(estimator, target, lambda: tfd.Normal(m, c(0.7)), [m], **options)
    close(found, [1.5 - z + float(beta) * rate])


def test_free_bits_reach_the_gradient():
    m = tf.Variable(0.4, dtype=F64)
    target = et.models.normal_normal(dtype=F64).log_joint(c(1.5))
    z = et.draw(target, tfd.Normal(m, c(0.7)), (1, 1), seed=0).z.numpy().item()
    for floor, expected in ((-0.0, 1.5 - 2 * z), (100.0, 1.5 - z)):
        options = {"seed": 0, "free_bits": floor}
        found = gradient(
            reparameterized, target, lambda: tfd.Normal(m, c(0.7)), [m], **options
        )
        close(found, [expected])


# at the posterior (F4)


def test_f4_sticking_the_landing_is_zero_and_reparameterized_has_fisher_variance():
    at = (2.5, np.log(0.5) / 2)
    stuck = per_sample(sticking_the_landing, standard(5.0), normal, at, 2_000)
    assert np.abs(stuck).max() < 1e-14
    # the score's variance: 1 / s^2 = 2 for the mean, 2 for log s
    path = per_sample(reparameterized, standard(5.0), normal, at, 100_000)
    assert_mean(path, [0.0, 0.0], fault=0.05)
    assert_mean(path**2, [2.0, 2.0], fault=0.2)


# in the mean: exact slopes of the ELBO


@BOTH
def test_unbiased_and_the_kl_counts_once(estimator):
    """Finite differences of the exact ELBO; a KL weight of 2 would be 0.5 away."""
    at = np.array([0.3, -0.4])
    exact = oracles.difference(
        lambda v: oracles.normal_normal_elbo(1.0, v[0], np.exp(v[1])), at
    )
    found = per_sample(estimator, standard(1.0), normal, at, 40_000)
    assert_mean(found, exact, fault=0.1)


@BOTH
def test_unbiased_for_a_transformed_q(estimator):
    """z = exp(u): the bijector's cache must not hide d log q / dz.

    Gamma(2, 1) prior, Poisson likelihood, x = 3, q log-normal:
    ELBO = 4 m - 2 E[e^u] - log 3! + H, H = m + log s + const.
    """
    model = et.models.gamma_poisson(2.0, 1.0, dtype=F64)

    def build(m, log_s):
        return tfb.Exp()(tfd.Normal(m, tf.exp(log_s)))

    def elbo(v):
        return 5 * v[0] - 2 * np.exp(v[0] + np.exp(2 * v[1]) / 2) + v[1]

    at = np.array([0.2, -0.7])
    found = per_sample(
        estimator, lambda n: model.log_joint(tf.fill([n], c(3.0))), build, at, 40_000
    )
    assert_mean(found, oracles.difference(elbo, at), fault=0.2)


def test_sticking_the_landing_is_zero_for_a_transformed_posterior():
    """z = exp(u), u ~ N(0, 1), x given z ~ N(log z, 1): the posterior is log-normal."""
    model = et.LatentVariableModel(
        tfd.LogNormal(c(0.0), c(1.0)), lambda z: tfd.Normal(tf.math.log(z), c(1.0))
    )
    found = per_sample(
        sticking_the_landing,
        lambda n: model.log_joint(tf.fill([n], c(1.0))),
        lambda m, s: tfb.Exp()(tfd.Normal(m, tf.exp(s))),
        (0.5, np.log(0.5) / 2),
        100,
    )
    assert np.abs(found).max() < 1e-13


@BOTH
def test_unbiased_for_a_full_rank_family(estimator):
    """The exact slope from the closed form, by finite differences in its parameters."""
    weights, x = np.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]]), np.ones(3)
    model = et.models.linear_gaussian(c(weights), c(0.0), 0.8)
    q = et.families.full_rank(2, loc=[0.2, 0.1], scale=[0.5, 0.9], dtype=F64, seed=1)

    def elbo(parameters):
        member = q(c(parameters))
        mean, cov = member.mean().numpy(), member.covariance().numpy()
        residual = ((x - weights @ mean) ** 2).sum()
        spread = np.trace(weights @ cov @ weights.T)
        expected = -(3 * np.log(2 * np.pi * 0.64) + (residual + spread) / 0.64) / 2
        return expected - oracles.gaussian_kl(mean, cov, np.zeros(2), np.eye(2))

    start = q.free_parameters.numpy()
    rows = tf.Variable(tf.tile(q.free_parameters[tf.newaxis], [20_000, 1]))
    with tf.GradientTape() as tape:
        target = model.log_joint(tf.ones([20_000, 3], F64))
        total = tf.reduce_sum(estimator(target, q(rows), seed=0).surrogate)
    found = tape.gradient(total, rows)
    assert_mean(found, oracles.difference(elbo, start), fault=0.3)


@BOTH
def test_unbiased_for_a_structured_q(estimator):
    """a ~ N(0, 1), b ~ N(0, 1), x ~ N(a + b, 1) under independent normals."""
    joint = tfd.JointDistributionSequential(
        [
            tfd.Normal(c(0.0), c(1.0)),
            tfd.Normal(c(0.0), c(1.0)),
            lambda b, a: tfd.Normal(a + b, c(1.0)),
        ]
    )
    pin = joint.experimental_pin(None, None, c(1.0))

    def build(m, n):
        return tfd.JointDistributionSequential(
            [tfd.Normal(m, c(0.5)), tfd.Normal(n, c(0.8))]
        )

    # dELBO/dm = -m + (x - m - n), dELBO/dn = -n + (x - m - n)
    exact = [-0.2 + 1.1, 0.3 + 1.1]
    found = per_sample(estimator, lambda n: pin, build, (0.2, -0.3), 20_000)
    assert_mean(found, exact, fault=0.1)


@BOTH
def test_a_global_latent_gets_the_whole_gradient_and_each_datum_a_share(estimator):
    """The sum of the surrogates climbs the full ELBO, whose slope is exact."""
    x = np.array([0.5, -1.0, 2.0])
    model = et.LatentVariableModel(
        tfd.Normal(c(0.0), c(1.0)),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], c(1.0)),
        global_prior=tfd.Normal(c(0.0), c(2.0)),
    )
    m, log_s = tf.Variable(x / 3), tf.Variable([-0.3] * 3, dtype=F64)
    g, log_t = tf.Variable(0.4, dtype=F64), tf.Variable(-0.5, dtype=F64)
    variables = [m, log_s, g, log_t]

    def q():
        return tfd.Normal(m, tf.exp(log_s)), tfd.Normal(g, tf.exp(log_t))

    # closed form of the ELBO's slope
    residual = x - x / 3 - 0.4
    exact = [
        residual - x / 3,
        1 - 2 * np.exp([-0.6] * 3),
        residual.sum() - 0.4 / 4,
        1 - (3 + 1 / 4) * np.exp(-1.0),
    ]
    exact = np.concatenate([np.ravel(part) for part in exact])
    target = model.log_joint(c(x), num_data=3)

    @tf.function(autograph=False)
    def one(seed):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(
                estimator(target, q(), sample_size=20, seed=seed).surrogate
            )
        return tf.concat(
            [tf.reshape(v, [-1]) for v in tape.gradient(total, variables)], 0
        )

    found = np.stack([one(tf.constant([0, i])) for i in range(300)])
    assert_mean(found, exact, fault=0.4)
    # a minibatch, scaled up, climbs the same bound for the shared latent
    half = model.log_joint(c(x[:1]), num_data=3)

    def q_half():
        return tfd.Normal(m[:1], tf.exp(log_s[:1])), q()[1]

    with tf.GradientTape() as tape:
        surrogate = 3 * estimator(half, q_half(), sample_size=100_000, seed=0).surrogate
    slope = tape.gradient(surrogate, g)
    # slope = 3 (x - z - w) - w / 4 per sample: standard deviation below 4
    assert_within(slope, 4 / 100_000**0.5, 3 * residual[0] - 0.1, fault=0.2)


def test_the_importance_weighted_gradient_is_that_of_the_weights():
    """sum_k w_k / (sum w) d log w_k, by hand, at K = 3."""
    m = tf.Variable(0.4, dtype=F64)
    target = et.models.normal_normal(dtype=F64).log_joint(c(1.5))
    draws = et.draw(target, tfd.Normal(m, c(0.7)), (2, 3), seed=0)
    share = np.exp(draws.log_weights) / np.exp(draws.log_weights).sum(1, keepdims=True)
    expected = (share * (1.5 - 2 * draws.z.numpy())).sum(1).mean()
    options = {"sample_size": 2, "importance_sample_size": 3, "seed": 0}
    found = gradient(
        reparameterized, target, lambda: tfd.Normal(m, c(0.7)), [m], **options
    )
    close(found, [expected])


@BOTH
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled(estimator, jit_compile):
    m = tf.Variable([0.4] * 3, dtype=tf.float32)
    target = et.models.normal_normal().log_joint(tf.ones(3))

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step():
        with tf.GradientTape() as tape:
            found = estimator(target, tfd.Normal(m, 0.5), sample_size=4, seed=0)
        return found, tape.gradient(found.surrogate, m)

    found, slope = step()
    np.testing.assert_array_equal(found.value, found.surrogate)
    assert slope.shape == (3,) and np.isfinite(slope).all() and slope.dtype == "float32"


# what they cannot do

MIXTURE = tfd.MixtureSameFamily(
    tfd.Categorical(probs=[0.5, 0.5]), tfd.Normal([0.0, 1.0], 1.0)
)
DISCRETE = [
    tfd.Bernoulli(logits=0.0, dtype=tf.float32),
    tfd.Independent(tfd.Poisson([1.0, 2.0]), 1),
    MIXTURE,
    tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Poisson(1.0)]),
    (tfd.Normal(0.0, 1.0), tfd.Poisson(1.0)),
    (tfd.JointDistributionSequential([tfd.Poisson(1.0)]), tfd.Normal(0.0, 1.0)),
]


@BOTH
@pytest.mark.parametrize("q", DISCRETE, ids=lambda q: type(q).__name__)
def test_samples_without_a_gradient_are_an_error(estimator, q):
    with says("expected a reparameterized", estimator.__name__, "leave_one_out"):
        estimator(lambda z: z, q, seed=0)


def test_sticking_the_landing_is_biased_for_several_importance_samples():
    with says("importance_sample_size=1", "biased", "got 2", "doubly_reparameterized"):
        sticking_the_landing(
            lambda z: z, tfd.Normal(0.0, 1.0), importance_sample_size=2, seed=0
        )


@pytest.mark.parametrize("options", [{"kl_weight": 0.5}, {"free_bits": 0.1}])
def test_weights_do_not_go_with_importance_samples(options):
    target = et.models.normal_normal().log_joint(1.0)
    with says("kl_weight=1 and free_bits=0", "importance_sample_size > 1", "got"):
        reparameterized(
            target, tfd.Normal(0.0, 1.0), importance_sample_size=2, seed=0, **options
        )


@BOTH
def test_weights_of_a_bare_target_are_an_error(estimator):
    with says("expected draws that know"):
        estimator(lambda z: z, tfd.Normal(0.0, 1.0), seed=0, kl_weight=0.5)


@BOTH
@pytest.mark.parametrize("name", ["sample_size", "importance_sample_size"])
def test_sizes_are_checked(estimator, name):
    with says("expected sample_size", "got 0"):
        estimator(lambda z: z, tfd.Normal(0.0, 1.0), seed=0, **{name: 0})


def test_importance_samples_of_a_global_latent_are_an_error():
    model = et.LatentVariableModel(
        tfd.Normal(0.0, 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0),
        tfd.Normal(0.0, 1.0),
    )
    q = tfd.Normal([0.0], 1.0), tfd.Normal(0.0, 1.0)
    target = model.log_joint([1.0], num_data=2)
    with says("without a global latent"):
        reparameterized(target, q, importance_sample_size=2, seed=0)
