"""Count distributions without an upper end, against SciPy and by their sums."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from elbo_tfp.distributions import genes

GRID = 10.0 ** np.arange(-6, 7)
MEAN, DISPERSION = (a.reshape(-1, 1) for a in np.meshgrid(GRID, GRID, indexing="ij"))
X = np.array([0, 1, 2, 3, 7, 8, 20, 100, 1e3, 1e5, 1e6])


def by_gammas(x, mean, dispersion):
    r = 1 / dispersion
    gammas = special.gammaln(x + r) - special.gammaln(x + 1) - special.gammaln(r)
    odds = special.xlogy(x, 1 + 1 / (mean * dispersion))
    return gammas - r * np.log1p(mean * dispersion) - odds


def test_negative_binomial_is_scipys_over_twelve_decades():
    found = genes.NegativeBinomial(tf.constant(MEAN), tf.constant(DISPERSION)).log_prob(
        tf.constant(X)
    )
    wanted, r = by_gammas(X, MEAN, DISPERSION), 1 / DISPERSION
    # the oracle's own rounding: log-gammas of up to 3e7 cancel in it
    rounding = 8 * 2.0**-52 * np.abs(special.gammaln(X + r))
    assert np.all(np.abs(found - wanted) <= 1e-9 * np.maximum(1, -wanted) + rounding)
    p = r / (r + MEAN)
    mass = stats.nbinom.pmf(X, r, p)
    # where 1 - p keeps its digits
    good = (mass > 1e-300) & (1 - p > 1e-4)
    assert good.sum() > 500
    np.testing.assert_allclose(found.numpy()[good], np.log(mass[good]), 1e-9, 1e-9)


def test_poisson_is_scipys_over_twelve_decades():
    found = genes.Poisson(tf.constant(GRID[:, None])).log_prob(tf.constant(X))
    np.testing.assert_allclose(
        found, stats.poisson.logpmf(X, GRID[:, None]), 1e-9, 1e-9
    )


def test_inflation_mixes_in_a_zero():
    logits = tf.constant(-0.7, tf.float64)
    m, a = tf.constant(3.0, tf.float64), tf.constant(0.4, tf.float64)
    x, zero = np.arange(30.0), 1 / (1 + np.exp(0.7))
    mass = zero * (x == 0) + (1 - zero) * np.exp(by_gammas(x, 3.0, 0.4))
    found = genes.ZeroInflatedNegativeBinomial(m, a, logits).log_prob(x)
    np.testing.assert_allclose(found, np.log(mass), 1e-10)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_an_inflated_zero_keeps_its_digits_where_the_other_one_is_hopeless(dtype):
    """log P(0) of the negative binomial is down to -7e7: next to it none of sigmoid's
    digits would be left."""
    m, logits = np.array([1e4, 1e5, 1e6, 1e8]), np.array([[-5], [0.7], [40]])
    d = genes.ZeroInflatedNegativeBinomial(
        *(tf.constant(v, dtype) for v in (m, 1 / m, logits))
    )
    # NB(0) <= 2^-10000
    wanted = np.broadcast_to(-np.log1p(np.exp(-logits)), [3, 4])
    np.testing.assert_allclose(d.log_prob(0.0), wanted, 3e-7)


COUNTS = np.unique(np.round(10.0 ** np.linspace(0, 7, 120)))
MEANS = 10.0 ** np.linspace(-3, 7.5, 40)[:, None]


def by_gauss(x, mean, scale):
    """log of the normal density's integral over a unit, by Gauss and Legendre."""
    width = np.log1p(1 / (x + 0.5)) / scale
    t, weights = (a.reshape(-1, 1, 1) for a in special.roots_legendre(200))
    z = np.log((x + 0.5) / (1 + mean)) / scale + (1 + t) / 2 * width
    return special.logsumexp(stats.norm.logpdf(z), 0, weights / 2) + np.log(width)


@pytest.mark.parametrize("scale", [0.2, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("dtype,digits", [(tf.float32, 2e-6), (tf.float64, 1e-10)])
def test_log_normal_counts_are_integrals_from_one_to_ten_millions(scale, dtype, digits):
    d = genes.LogNormalCounts(tf.constant(MEANS, dtype), tf.constant(scale, dtype))
    found, wanted = d.log_prob(COUNTS), by_gauss(COUNTS, MEANS, scale)
    # z has the error of a logarithm near 1 over the scale, and counts z times
    z = (np.log1p(COUNTS) - np.log1p(MEANS)) / scale
    room = digits * (1 + np.abs(z) / scale + np.abs(wanted))
    assert np.all(np.abs(found - wanted) <= room)
    zero = stats.norm.logcdf((np.log(1.5) - np.log1p(MEANS)) / scale)
    np.testing.assert_allclose(d.log_prob(0.0), zero, 20 * digits, 20 * digits)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_gradients_of_log_normal_counts_are_right(dtype):
    x, mean, scale = np.r_[0, COUNTS], tf.constant(MEANS, dtype), 0.7
    scales = tf.fill(mean.shape, tf.constant(scale, dtype))

    @tf.function(jit_compile=True)
    def gradient(mean, scales):
        with tf.GradientTape() as tape:
            tape.watch([mean, scales])
            p = genes.LogNormalCounts(mean, scales).log_prob(x)
        return tape.gradient(p, [mean, scales])

    found, step = gradient(mean, scales), 1e-5
    low, high = (
        by_gauss(COUNTS, MEANS, scale + s).sum(1)
        + stats.norm.logcdf((np.log(1.5) - np.log1p(MEANS)) / (scale + s))[:, 0]
        for s in (-step, step)
    )
    assert np.isfinite(found[0]).all()
    np.testing.assert_allclose(found[1][:, 0], (high - low) / (2 * step), 1e-4, 1e-2)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_gradients_are_finite(dtype):
    m, a = tf.cast(MEAN, dtype), tf.cast(DISPERSION, dtype)

    @tf.function(jit_compile=True)
    def gradient(m, a):
        with tf.GradientTape() as tape:
            tape.watch([m, a])
            p = genes.ZeroInflatedNegativeBinomial(m, a, 0 * m - 1).log_prob(X)
            p += genes.Poisson(m).log_prob(X)
        return tape.gradient(p, [m, a])

    assert all(np.isfinite(g).all() for g in gradient(m, a))


def every():
    one = tf.ones([], tf.float64)
    return [
        genes.Poisson(4.2 * one),
        genes.NegativeBinomial(4.2 * one, 0.7),
        genes.ZeroInflatedNegativeBinomial(4.2 * one, 0.7, -1.0),
        genes.LogNormalCounts(4.2 * one, 0.5),
    ]


@pytest.mark.parametrize("which", range(4))
def test_masses_sum_to_one_and_other_numbers_have_none(which):
    d = every()[which]
    total = np.exp(d.log_prob(tf.range(3_000, dtype=tf.float64))).sum()
    assert abs(total - 1) < 1e-9
    assert np.all(np.isneginf(d.log_prob(tf.constant([-1, 0.5, np.inf], tf.float64))))


@pytest.mark.parametrize("which", range(4))
def test_compiled_draws_have_these_masses(which):
    d, n = every()[which], 20_000
    x = tf.function(lambda: d.sample(n, seed=[0, 1]), jit_compile=True)().numpy()
    k = np.arange(4.0)
    mass, share = np.exp(d.log_prob(k)), np.mean(x[:, None] == k, 0)
    assert np.all(np.abs(share - mass) < 4.5 * np.sqrt(mass * (1 - mass) / n))
    if which < 3:
        assert abs(x.mean() - d.mean()) < 4.5 * d.stddev() / n**0.5


def test_large_poisson_draws():
    x = genes.Poisson(tf.constant([9.9, 10.0, 1e5], tf.float64)).sample(20_000, seed=3)
    m = np.array([9.9, 10.0, 1e5])
    assert np.all(np.abs(np.mean(x, 0) - m) < 4.5 * np.sqrt(m / 20_000))
    assert np.all(np.abs(np.var(x, 0) / m - 1) < 0.06)


@pytest.mark.parametrize("shape", [0.2, 0.9, 1.0, 7.0])
def test_log_gamma_draws_follow_the_law(shape):
    a = tf.fill([20_000], tf.constant(shape, tf.float64))
    draws = genes.log_gamma_draws(a, tf.constant([0, 1])).numpy()
    # P(sup |F_n - F| > 1.95 / sqrt(n)) is one in a thousand
    found = stats.kstest(draws, lambda t: stats.gamma(shape).cdf(np.exp(t)))
    assert found.statistic < 1.95 / 20_000**0.5


@pytest.mark.parametrize("rate", [0.3, 9.0, 10.5, 14.0, 60.0])
def test_poisson_draws_follow_the_law(rate):
    n = 100_000
    draws = genes.poisson_draws(tf.fill([n], tf.constant(rate, tf.float64)), [2, 3])
    cells = np.arange(200)
    cells = cells[n * stats.poisson(rate).pmf(cells) >= 5]
    mass = stats.poisson(rate).pmf(cells)
    seen = np.array([(draws.numpy() == k).sum() for k in cells])
    # Pearson's statistic has mean m and variance 2 m over m cells
    pearson = (((seen - n * mass) ** 2) / (n * mass * (1 - mass))).sum()
    m = len(cells)
    assert pearson < m + 4 * (2 * m) ** 0.5 + 6


@pytest.mark.parametrize("dispersion", [0.1, 4.0])
def test_negative_binomial_moments(dispersion):
    mean, n = 3.0, 40_000
    d = genes.NegativeBinomial(tf.constant(mean, tf.float64), dispersion)
    law = stats.nbinom(1 / dispersion, 1 / (1 + mean * dispersion))
    np.testing.assert_allclose(d.variance(), law.var(), 1e-12)
    x = d.sample(n, seed=5).numpy()
    assert abs(x.mean() - mean) < 4.5 * law.std() / n**0.5
    share, mass = np.mean(x == 0), law.pmf(0)
    assert abs(share - mass) < 4.5 * (mass * (1 - mass) / n) ** 0.5
