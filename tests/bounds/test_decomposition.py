"""Reconstruction and rate; the closed-form KL against algebra and quadrature."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp.bounds import analytic_kl, decompose
from tests import oracles
from tests.statistics import assert_mean, assert_within, close, says

tfd = tfp.distributions
F64 = tf.float64


def c(value):
    return tf.constant(value, F64)


LOC, SCALE = np.array([0.5, -1.0, 2.0]), np.array([0.3, 1.5, 0.8])
TRIL = np.array([[0.5, 0.0, 0.0], [0.3, 0.9, 0.0], [-0.2, 0.1, 1.4]])
FACTOR = np.array([[0.5], [1.0], [-0.7]])
# the same two Gaussians (diagonal; full), written in every way
DIAGONAL = {
    "independent": tfd.Independent(tfd.Normal(c(LOC), c(SCALE)), 1),
    "diag": tfd.MultivariateNormalDiag(c(LOC), c(SCALE)),
    "tril": tfd.MultivariateNormalTriL(c(LOC), tf.linalg.diag(c(SCALE))),
    "full covariance": tfd.MultivariateNormalFullCovariance(
        c(LOC), tf.linalg.diag(c(SCALE**2))
    ),
    "low rank": tfd.MultivariateNormalDiagPlusLowRankCovariance(
        c(LOC), c(SCALE**2), c(0 * FACTOR)
    ),
    "family": et.families.mean_field(3, loc=LOC, scale=SCALE, dtype=F64),
}
COVARIANCE = TRIL @ TRIL.T
FULL = {
    "tril": tfd.MultivariateNormalTriL(c(LOC[::-1]), c(TRIL)),
    "operator": tfd.MultivariateNormalLinearOperator(
        c(LOC[::-1]), tf.linalg.LinearOperatorLowerTriangular(c(TRIL))
    ),
}
STANDARD = {
    "independent": tfd.Independent(tfd.Normal(tf.zeros(3, F64), 1.0), 1),
    "scalar scale": tfd.Independent(tfd.Normal(tf.zeros(3, F64), tf.ones([], F64)), 1),
    "sample": tfd.Sample(tfd.Normal(c(0.0), c(1.0)), 3),
    "diag": tfd.MultivariateNormalDiag(tf.zeros(3, F64)),
    "tril": tfd.MultivariateNormalTriL(tf.zeros(3, F64), tf.eye(3, dtype=F64)),
}


@pytest.mark.parametrize("p", STANDARD)
@pytest.mark.parametrize("q", DIAGONAL)
def test_every_way_to_write_a_diagonal_gaussian(q, p):
    expected = oracles.gaussian_kl(LOC, np.diag(SCALE**2), np.zeros(3), np.eye(3))
    np.testing.assert_allclose(analytic_kl(DIAGONAL[q], STANDARD[p]), expected, 1e-12)


@pytest.mark.parametrize("p", FULL)
@pytest.mark.parametrize("q", DIAGONAL)
def test_diagonal_against_full_and_back(q, p):
    args = LOC, np.diag(SCALE**2), LOC[::-1], COVARIANCE
    for one, other, expected in (
        (DIAGONAL[q], FULL[p], oracles.gaussian_kl(*args)),
        (FULL[p], DIAGONAL[q], oracles.gaussian_kl(*args[2:], *args[:2])),
    ):
        np.testing.assert_allclose(analytic_kl(one, other), expected, 1e-12)


def test_a_low_rank_covariance_counts_its_factor():
    q = tfd.MultivariateNormalDiagPlusLowRankCovariance(c(LOC), c(SCALE**2), c(FACTOR))
    covariance = np.diag(SCALE**2) + FACTOR @ FACTOR.T
    expected = oracles.gaussian_kl(LOC, covariance, np.zeros(3), np.eye(3))
    np.testing.assert_allclose(analytic_kl(q, STANDARD["sample"]), expected, 1e-12)
    other = tfd.MultivariateNormalDiagPlusLowRankCovariance(
        tf.zeros(3, F64), tf.ones(3, F64), tf.zeros([3, 1], F64)
    )
    np.testing.assert_allclose(analytic_kl(q, other), expected, 1e-12)


SCALARS = [
    (
        "normal",
        tfd.Normal(c(0.5), c(0.3)),
        tfd.Normal(c(0.0), c(1.0)),
        stats.norm(0.5, 0.3),
        stats.norm(0, 1),
    ),
    (
        "gamma",
        tfd.Gamma(c(2.0), c(3.0)),
        tfd.Gamma(c(1.5), c(1.0)),
        stats.gamma(2, scale=1 / 3),
        stats.gamma(1.5),
    ),
    (
        "beta",
        tfd.Beta(c(2.0), c(3.0)),
        tfd.Beta(c(1.5), c(1.0)),
        stats.beta(2, 3),
        stats.beta(1.5, 1),
    ),
    (
        "lognormal",
        tfd.LogNormal(c(0.5), c(0.3)),
        tfd.LogNormal(c(0.0), c(1.0)),
        stats.lognorm(0.3, scale=np.exp(0.5)),
        stats.lognorm(1),
    ),
    (
        "laplace",
        tfd.Laplace(c(0.5), c(0.3)),
        tfd.Laplace(c(0.0), c(1.0)),
        stats.laplace(0.5, 0.3),
        stats.laplace(0, 1),
    ),
    (
        "half normal",
        tfd.HalfNormal(c(0.5)),
        tfd.HalfNormal(c(1.0)),
        stats.halfnorm(scale=0.5),
        stats.halfnorm(),
    ),
    (
        "uniform",
        tfd.Uniform(c(0.2), c(0.5)),
        tfd.Uniform(c(0.0), c(1.0)),
        stats.uniform(0.2, 0.3),
        stats.uniform(),
    ),
    (
        "weibull-gamma",
        tfd.Weibull(c(1.5), c(0.7)),
        tfd.Gamma(c(1.5), c(1.0)),
        stats.weibull_min(1.5, scale=0.7),
        stats.gamma(1.5),
    ),
]


@pytest.mark.parametrize(
    ("name", "q", "p", "sq", "sp"), SCALARS, ids=[s[0] for s in SCALARS]
)
def test_other_pairs_against_quadrature(name, q, p, sq, sp):
    exact = oracles.continuous_kl(sq, sp)
    np.testing.assert_allclose(analytic_kl(q, p), exact, rtol=1e-6)
    five = tfd.Sample(q, 5), tfd.Sample(p, [5])
    np.testing.assert_allclose(analytic_kl(*five), 5 * exact, rtol=1e-6)
    nested = (tfd.Sample(tfd.Sample(d, 2), 3) for d in (q, p))
    np.testing.assert_allclose(analytic_kl(*nested), 6 * exact, rtol=1e-6)
    mixed = tfd.Independent(tfd.Sample(q, 1).distribution, 0), p
    np.testing.assert_allclose(analytic_kl(*mixed), exact, rtol=1e-6)


def test_discrete_pairs_by_enumeration():
    q, p = np.array([0.2, 0.7]), np.array([0.5, 0.9])
    bits = [tfd.Independent(tfd.Bernoulli(probs=c(v)), 1) for v in (q, p)]
    np.testing.assert_allclose(analytic_kl(*bits), oracles.bernoulli_kl(q, p).sum())
    full = [np.array([v[0], v[1], 1.7 - v.sum()]) / 1.7 for v in (q, p)]
    expected = (full[0] * np.log(full[0] / full[1])).sum()
    for family in (tfd.Categorical, tfd.OneHotCategorical):
        np.testing.assert_allclose(
            analytic_kl(*(family(probs=c(v)) for v in full)), expected
        )
    outside = analytic_kl(tfd.Uniform(c(0.0), c(2.0)), tfd.Uniform(c(0.0), c(1.0)))
    assert np.isinf(outside)


@pytest.mark.parametrize(
    ("q_ndims", "p_ndims", "shape"),
    [(1, 1, [3]), (2, 2, [4, 3]), (2, 1, [3]), (1, 2, [3])],
)
def test_nested_independent_sums_all_its_factors(q_ndims, p_ndims, shape):
    def nested(loc, ndims, inner):
        base = tfd.Independent(tfd.Normal(loc, c(0.5)), inner)
        return tfd.Independent(base, ndims - inner) if ndims > inner else base

    loc = np.random.default_rng(0).normal(size=[2, *shape])
    ndims = len(shape)
    q = nested(c(loc), ndims, min(1, q_ndims - 1))
    p = nested(tf.zeros(shape, F64), ndims, 0)
    # KL(N(m, 1/4) || N(0, 1/4)) = 2 m^2
    expected = 2 * (loc**2).reshape(2, -1).sum(1)
    np.testing.assert_allclose(analytic_kl(q, p), expected, rtol=1e-12)


def test_rows_of_full_gaussians_against_independent_numbers():
    q = tfd.Independent(tfd.MultivariateNormalTriL(c([LOC, -LOC]), c(TRIL)), 1)
    p = tfd.Independent(tfd.Normal(tf.zeros([2, 3], F64), c(1.0)), 2)
    each = [
        oracles.gaussian_kl(m, COVARIANCE, np.zeros(3), np.eye(3)) for m in (LOC, -LOC)
    ]
    np.testing.assert_allclose(analytic_kl(q, p), sum(each), rtol=1e-12)
    sample = tfd.Sample(tfd.Normal(c(0.0), c(1.0)), [2, 3])
    np.testing.assert_allclose(analytic_kl(q, sample), sum(each), rtol=1e-12)


@pytest.mark.parametrize("p", STANDARD)
@pytest.mark.parametrize("batch", [(), (1,), (2,), (2, 4)])
def test_one_number_per_batch_element_of_q(batch, p):
    loc = np.broadcast_to(LOC, (*batch, 3))
    kl = analytic_kl(tfd.MultivariateNormalDiag(c(loc), c(SCALE)), STANDARD[p])
    expected = oracles.gaussian_kl(LOC, np.diag(SCALE**2), np.zeros(3), np.eye(3))
    assert kl.shape == batch
    np.testing.assert_allclose(kl, np.full(batch, expected), rtol=1e-12)


def test_a_scalar_loc_under_independent_is_not_counted_once():
    q = tfd.Independent(tfd.Normal(c(0.5), c(SCALE)), 1)
    expected = oracles.gaussian_kl(
        np.full(3, 0.5), np.diag(SCALE**2), np.zeros(3), np.eye(3)
    )
    np.testing.assert_allclose(analytic_kl(q, STANDARD["sample"]), expected, rtol=1e-12)


NORMAL = tfd.Normal(c(0.0), c(1.0))
MIXTURE = tfd.MixtureSameFamily(
    tfd.Categorical(probs=c([0.4, 0.6])), tfd.Normal(c([0.0, 1.0]), c([1.0, 1.0]))
)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (MIXTURE, NORMAL),
        (NORMAL, MIXTURE),
        (tfd.StudentT(c(3.0), c(0.0), c(1.0)), NORMAL),
        (tfd.Sample(MIXTURE, 3), STANDARD["sample"]),
        (DIAGONAL["diag"], tfd.Independent(tfd.Laplace(tf.zeros(3, F64), c(1.0)), 1)),
        (FULL["tril"], tfd.Sample(tfd.Laplace(c(0.0), c(1.0)), 3)),
        (tfd.Sample(tfd.Laplace(c(0.0), c(1.0)), 3), FULL["tril"]),
        (FULL["tril"], NORMAL),
        (NORMAL, STANDARD["sample"]),
        (DIAGONAL["diag"], tfd.Sample(NORMAL, 2)),
        (NORMAL, tfd.Normal(c([0.0, 1.0]), c(1.0))),
        (
            tfd.JointDistributionSequential([NORMAL]),
            tfd.JointDistributionSequential([NORMAL]),
        ),
        (NORMAL, "no distribution"),
    ],
)
def test_none_where_theory_has_no_closed_form_or_shapes_differ(q, p):
    assert analytic_kl(q, p) is None


# decompose


def model_and_q(dtype=F64):
    model = et.LatentVariableModel(
        tfd.Sample(tfd.Normal(tf.zeros([], dtype), 1.0), 2),
        lambda z: tfd.Independent(tfd.Normal(z, tf.ones([], dtype)), 1),
    )
    x = tf.constant([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], dtype)
    q = tfd.MultivariateNormalDiag(x / 3, tf.constant([0.6, 0.9], dtype))
    return model, q, x


def exact_parts():
    _, q, x = model_and_q()
    loc, scale, x = q.mean().numpy(), np.array([0.6, 0.9]), x.numpy()
    reconstruction = -0.5 * (np.log(2 * np.pi) + (x - loc) ** 2 + scale**2).sum(1)
    kl = [
        oracles.gaussian_kl(m, np.diag(scale**2), np.zeros(2), np.eye(2)) for m in loc
    ]
    return reconstruction, np.array(kl)


def test_the_parts_are_exact_in_closed_form_or_in_mean():
    model, q, x = model_and_q()
    parts = decompose(model, q, x, 40_000, seed=0)
    reconstruction, kl = exact_parts()
    assert parts.kl_is_exact is True
    np.testing.assert_allclose(parts.kl, kl, rtol=1e-12)
    close(parts.elbo, parts.reconstruction - parts.kl)
    assert_within(parts.reconstruction, parts.standard_error, reconstruction, fault=0.1)
    draws = et.draw(model.log_joint(x), q, 40_000, seed=0)
    close(parts.standard_error, np.std(draws.log_likelihood, 0, ddof=1) / 200)


def test_without_a_closed_form_all_of_it_is_sampled():
    model, q, x = model_and_q()
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=c([1.0])), q[:, tf.newaxis])
    parts = decompose(model, mixture, x, 40_000, seed=0)
    reconstruction, kl = exact_parts()
    assert parts.kl_is_exact is False
    assert_within(parts.elbo, parts.standard_error, reconstruction - kl, fault=0.1)
    draws = et.draw(model.log_joint(x), mixture, 40_000, seed=0)
    assert_mean(draws.log_q - draws.log_prior, kl, fault=0.1)
    close(parts.kl, np.mean(draws.log_q - draws.log_prior, 0))
    close(parts.elbo, np.mean(draws.log_weights, 0))
    close(parts.standard_error, np.std(draws.log_weights, 0, ddof=1) / 200)


@pytest.mark.parametrize("dtype", [tf.float32, F64])
@pytest.mark.parametrize("sample_size", [1, 2, (2, 3)])
def test_one_number_per_datum_in_the_dtype_of_the_inputs(dtype, sample_size):
    parts = decompose(*model_and_q(dtype), sample_size, seed=0)
    for part in parts[:4]:
        assert part.shape == (3,) and part.dtype == dtype
    assert np.isnan(parts.standard_error).all() == (sample_size == 1)


def test_evidence_is_elbo_plus_kl_to_the_posterior_per_datum():
    """To 1e-10: with q linear-Gaussian, both sides are closed forms of our own code."""
    model = et.models.linear_gaussian(
        c([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]]), c(LOC), 0.7
    )
    x = c([[1.0, 0.0, 2.0], [-1.0, 0.5, 0.1]])
    posterior, evidence = model.posterior(x), model.log_evidence(x)
    q = tfd.MultivariateNormalTriL(posterior.mean() + 0.3, c(TRIL[:2, :2]))
    weights = np.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]])
    mean, cov = q.mean().numpy(), TRIL[:2, :2] @ TRIL[:2, :2].T
    residual = x.numpy() - mean @ weights.T - LOC
    spread = np.trace(weights @ cov @ weights.T)
    expected = -0.5 * (
        3 * np.log(2 * np.pi * 0.49) + ((residual**2).sum(1) + spread) / 0.49
    )
    elbo = expected - analytic_kl(q, model.prior)
    np.testing.assert_allclose(evidence, elbo + analytic_kl(q, posterior), atol=1e-10)
    parts = decompose(model, q, x, 20_000, seed=0)
    assert_within(parts.elbo, parts.standard_error, elbo, fault=0.5)
    at_posterior = decompose(model, posterior, x, 20_000, seed=0)
    assert_within(at_posterior.elbo, at_posterior.standard_error, evidence, fault=0.2)
    draws = et.draw(model.log_joint(x), posterior, 10, seed=0)
    np.testing.assert_allclose(draws.log_weights, [evidence] * 10, atol=1e-10)


def test_f6_iris_per_datum_and_in_total():
    x = et.data.iris()
    model = et.models.probabilistic_pca(x, 2)
    posterior = model.posterior(x)
    draws = et.draw(model.log_joint(x), posterior, 3, seed=0)
    elbo = et.bounds.elbo(draws)
    np.testing.assert_allclose(elbo, model.log_evidence(x), atol=1e-10)
    assert f"{float(tf.reduce_sum(elbo)):.6f}" == "-404.962780"


@pytest.mark.parametrize("model", [lambda z: z, tfd.Normal(0.0, 1.0)])
def test_a_bare_target_has_no_decomposition(model):
    with says(
        "expected a LatentVariableModel", type(model).__name__, "no decomposition"
    ):
        decompose(model, tfd.Normal(0.0, 1.0), 1.0, seed=0)


def sharing(prior=None):
    """x_n | z_n, w ~ N(z_n + w, 1/4), all priors standard."""
    one = tfd.Normal(c(0), c(1))
    return et.LatentVariableModel(
        prior or one, lambda z, w: tfd.Normal(z + w[..., None], c(0.5)), one
    )


def test_a_latent_that_all_share_gives_each_datum_its_part_of_the_rate():
    x, loc, scale = c([0.3, -1.0, 2.0]), np.array([0.1, -0.4, 0.9]), 0.7
    q = tfd.Normal(c(loc), c(scale)), tfd.Normal(c(0.2), c(0.6))
    # N = 6: these are half of the data
    found = decompose(sharing(), q, x, 20_000, num_data=6, seed=0)
    kl = 0.5 * (scale**2 + loc**2 - 1) - np.log(scale)
    shared = 0.5 * (0.6**2 + 0.2**2 - 1) - np.log(0.6)
    assert found.kl_is_exact
    close(found.global_kl, shared)
    close(found.kl, kl + shared / 6)
    # E log N(x | z + w, 1/4)
    squares = (x - loc - 0.2) ** 2 + scale**2 + 0.6**2
    exact = -0.5 * np.log(2 * np.pi / 4) - 2 * squares
    error = found.standard_error
    assert np.all(np.abs(found.reconstruction - exact) < 4 * error)
    close(found.elbo, found.reconstruction - found.kl)


def test_a_prior_that_hangs_on_what_all_share_has_a_sampled_rate():
    model = sharing(lambda w: tfd.Normal(w, c(1)))
    x, q = (
        c([0.3, -1.0]),
        (tfd.Normal(c([0.1, 0.2]), c(0.7)), tfd.Normal(c(0.2), c(0.6))),
    )
    found = decompose(model, q, x, 20_000, num_data=2, seed=0)
    # E_w KL(N(m, s^2) || N(w, 1))
    local = 0.5 * (0.49 + (np.array([0.1, 0.2]) - 0.2) ** 2 + 0.36 - 1) - np.log(0.7)
    shared = 0.5 * (0.36 + 0.04 - 1) - np.log(0.6)
    assert not found.kl_is_exact
    close(found.global_kl, shared)
    np.testing.assert_allclose(found.kl, local + shared / 2, atol=0.04)
    target = model.log_joint(x, num_data=2)
    same = et.bounds.elbo(et.draw(target, q, 20_000, seed=0))
    close(found.elbo, same)


def test_a_global_latent_alone():
    one = tfd.Normal(c(0), c(1))
    model = et.LatentVariableModel(
        None, lambda w: tfd.Normal(w[..., None], c(0.5)), one
    )
    found = decompose(
        model, tfd.Normal(c(0.2), c(0.6)), c([1.0, 2.0]), 5, num_data=4, seed=0
    )
    shared = 0.5 * (0.36 + 0.04 - 1) - np.log(0.6)
    close(found.kl, [shared / 4] * 2)


def test_a_global_prior_needs_the_number_of_data_and_a_pair():
    with says("num_data goes with a global prior"):
        decompose(sharing(), (NORMAL, NORMAL), c([1.0]), seed=0)
    with says("the pair (q of z, q of the global latent)"):
        decompose(sharing(), tfd.Normal(c([0.0]), c(1)), c([1.0]), num_data=1, seed=0)
