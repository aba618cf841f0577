"""VAEs and their likelihoods: densities against float64 sums, then training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import elbo_tfp as et
from elbo_tfp import models
from elbo_tfp.distributions import counts
from tests.statistics import says

tfd = tfp.distributions
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}


def log_add(a, b):
    with np.errstate(divide="ignore"):
        return np.logaddexp(a, np.log(b))


def beta_binomial_by_hand(n, x, logits, rho):
    """log C(n, x) prod (p + i rho) prod (q + i rho) / prod (1 + i rho), in float64."""
    log_p, log_q = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    i = np.arange(n)
    with np.errstate(divide="ignore"):
        white = log_add(log_p, i[:x] * rho).sum()
        black = log_add(log_q, i[: n - x] * rho).sum()
    return np.log(special.comb(n, x)) + white + black - np.log1p(i * rho).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 16, 100])
def test_beta_binomial_log_density_extremes_included(n, dtype):
    grid = [
        (x, logits, rho)
        for x in sorted({0, 1, n // 2, n - 1, n})
        for logits in (-120.0, -30.0, -2.0, 0.0, 5.0, 120.0)
        for rho in (2e-6, 1e-3, 0.3, 1.0, 1e4)
    ]
    x, logits, rho = (np.array(c, dtype) for c in zip(*grid, strict=True))
    found = counts.BetaBinomial(n, logits, rho).log_prob(x).numpy()
    truth = [
        beta_binomial_by_hand(n, int(k), float(a), float(r))
        for k, a, r in zip(x, logits, rho, strict=True)
    ]
    assert found.dtype == dtype
    scale = 1.0 if n <= 32 else 150.0  # the gamma route loses two digits
    rtol = scale * TOLERANCE[dtype]
    np.testing.assert_allclose(found, truth, rtol=rtol, atol=rtol)


def test_beta_binomial_is_scipys():
    a, b, n = 1.7, 0.6, 16
    q = counts.BetaBinomial(n, np.log(a / b), np.float64(1 / (a + b)))
    x = np.arange(n + 1.0)
    np.testing.assert_allclose(q.log_prob(x), stats.betabinom(n, a, b).logpmf(x))
    np.testing.assert_allclose(q.mean(), stats.betabinom(n, a, b).mean())
    np.testing.assert_allclose(q.variance(), stats.betabinom(n, a, b).var())


@pytest.mark.parametrize("dtype", DTYPES)
def test_binomial_log_density(dtype):
    logits = np.array([-3.0, 0.0, 20.0], dtype)
    x = np.arange(17).astype(dtype)[:, None]
    q = counts.Binomial(16, logits)
    wide = logits.astype("float64")
    log_p, log_q = special.log_expit(wide), special.log_expit(-wide)
    exact = np.log(special.comb(16, x)) + x * log_p + (16 - x) * log_q
    reference = stats.binom(16, special.expit(wide[:2])).logpmf(x)
    np.testing.assert_allclose(exact[:, :2], reference, rtol=1e-12)
    rtol = TOLERANCE[dtype]
    np.testing.assert_allclose(q.log_prob(x), exact, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(q.mean(), 16 * special.expit(logits))
    p = special.expit(logits.astype("float64"))
    np.testing.assert_allclose(q.variance(), 16 * p * (1 - p), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_discretized_logistic_is_a_difference_of_cdfs(dtype):
    top = 16
    grid = [
        (loc, scale) for loc in (-3.0, 0.2, 7.5, 40.0) for scale in (0.02, 0.7, 90.0)
    ]
    loc, scale = np.array(grid, dtype).T
    x = np.arange(top + 1).astype(dtype)[:, None]
    found = counts.DiscretizedLogistic(loc, scale, top).log_prob(x).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(special.logsumexp(found, 0), 0, atol=2e-6)
    wide = stats.logistic(loc.astype("float64"), scale.astype("float64"))
    edges = np.arange(top) + 0.5
    cdf = np.vstack([0 * loc, wide.cdf(edges[:, None]), 0 * loc + 1])
    sf = np.vstack([0 * loc + 1, wide.sf(edges[:, None]), 0 * loc])
    with np.errstate(divide="ignore"):  # the difference that does not cancel
        exact = np.log(
            np.where(cdf[:-1] < 0.5, np.diff(cdf, axis=0), -np.diff(sf, axis=0))
        )
    sure = exact > -300
    rtol = 20 * TOLERANCE[dtype]
    np.testing.assert_allclose(found[sure], exact[sure], rtol=rtol, atol=rtol)
    # a bin 40 scales out: log density = -distance / scale + log(1 - exp(-1 / scale))
    far = counts.DiscretizedLogistic(np.array(0.0, dtype), 0.02, top)
    np.testing.assert_allclose(far.log_prob(np.array(9.0, dtype)), -425.0, rtol=1e-6)


def test_discretized_logistic_mean_is_the_sum_over_values():
    q = counts.DiscretizedLogistic(np.array([2.2, 15.0]), np.array([1.0, 3.0]), 16)
    x = np.arange(17.0)[:, None]
    np.testing.assert_allclose(q.mean(), (x * np.exp(q.log_prob(x))).sum(0))


LIKELIHOODS = {
    "bernoulli": (models.bernoulli(3), 1),
    "binomial": (models.binomial(3, 16), 16),
    "beta_binomial": (models.beta_binomial(3, 16), 16),
    "discretized_logistic": (models.discretized_logistic(3, 17), 16),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_values_outside_the_support_have_no_probability(name):
    likelihood, top = LIKELIHOODS[name]
    parameters = np.linspace(-1, 1, likelihood.parameters_size).astype("float32")
    bad = np.array([-1.0, top + 1.0, 0.5, np.nan, np.inf], "float32")
    x = np.zeros([5, 3], "float32")
    x[:, 1] = bad
    found = likelihood(parameters).log_prob(x)
    np.testing.assert_array_equal(found, np.full(5, -np.inf))
    assert likelihood.problem(x).endswith("got 5 of 15 others")
    ok = np.array([[0.0, top, 0.0]], "float32")
    assert likelihood.problem(ok) is None
    assert np.isfinite(likelihood(parameters).log_prob(ok)).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_samples_follow_the_density_compiled_too(name):
    """20,000 draws: a chi-square of 16 cells sees a total variation of 0.02."""
    likelihood, top = LIKELIHOODS[name]
    heads = np.array([0.3, -0.7], "float32")[: likelihood.num_heads]
    parameters = np.repeat(heads, 3)
    sample = tf.function(
        lambda seed: likelihood(parameters).sample(20_000, seed=seed), jit_compile=True
    )
    x = sample(tf.constant([0, 1])).numpy()
    assert x.shape == (20_000, 3) and likelihood.problem(x) is None
    single = likelihood(parameters).distribution
    values = np.arange(top + 1, dtype="float32")
    p = np.exp([single.log_prob(np.full(3, v, "float32"))[0] for v in values])
    np.testing.assert_allclose(p.sum(), 1, atol=1e-5)
    observed = np.array([(x[:, 0] == v).sum() for v in values])
    keep = p * len(x) > 5
    expected = p[keep] / p[keep].sum() * observed[keep].sum()
    chi2 = ((observed[keep] - expected) ** 2 / expected).sum()
    assert chi2 < stats.chi2(max(1, keep.sum() - 1)).isf(1e-5)
    mean_error = x[:, 0].std() / np.sqrt(len(x))
    assert abs(x[:, 0].mean() - (p * values).sum()) < 4.5 * mean_error
    np.testing.assert_allclose(single.mean()[0], (p * values).sum(), rtol=1e-5)


def test_gaussian_scales():
    x = np.array([[0.5, -1.0]], "float32")
    zeros = np.zeros(2, "float32")
    fixed = models.gaussian(2, 0.3)
    np.testing.assert_allclose(
        fixed(zeros).log_prob(x), stats.norm(0, 0.3).logpdf(x).sum(-1), rtol=1e-5
    )
    shared = models.gaussian(2, "shared")
    assert [v.shape.rank for v in shared.variables] == [0]
    np.testing.assert_allclose(
        shared(zeros).log_prob(x), stats.norm(0, 1).logpdf(x).sum(-1), rtol=1e-6
    )
    each = models.gaussian(2, "per_dimension")
    assert each.parameters_size == 4 and not each.variables
    raw = np.array([0.1, 0.2, 0.0, 0.0], "float32")
    np.testing.assert_allclose(
        each(raw).log_prob(x), stats.norm([0.1, 0.2], 1).logpdf(x).sum(-1), rtol=1e-5
    )
    with pytest.raises(ValueError, match="positive number, 'shared' or 'per_dim"):
        models.gaussian(2, -1.0)
    with pytest.raises(ValueError, match="got 'learned'"):
        models.gaussian(2, "learned")


def small(**options):
    options = {
        "likelihood": models.binomial(6, 16),
        "hidden": (8,),
        "seed": 0,
    } | options
    return models.vae(6, 2, **options)


X = np.array([[0, 16, 3, 4, 5, 1], [8, 8, 0, 0, 16, 2.0]], "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_are_what_they_say(dtype):
    model, encoder = small(dtype=dtype)
    x, z = X.astype(dtype), np.array([[0.5, -1.0]], dtype)
    q = encoder(x)
    assert q.dtype == dtype and q.batch_shape == (2,) and q.event_shape == (2,)
    w0, b0, w1, b1 = (v.numpy() for v in encoder.network.trainable_variables)
    assert w0.dtype == dtype
    raw = np.maximum(x / 16 @ w0 + b0, 0) @ w1 + b1
    np.testing.assert_allclose(q.mean(), raw[:, :2], rtol=1e-5)
    p = model.likelihood(z[None])
    assert p.batch_shape == (1, 1) and p.event_shape == (6,) and p.dtype == dtype


@pytest.mark.parametrize("dtype", ["mixed_float8", "int32", None, float("nan")])
def test_a_dtype_that_networks_cannot_have_is_named(dtype):
    makers = {models.vae: 4, models.linear_vae: 4, models.convolutional_vae: (8, 8, 1)}
    for make, shape in makers.items():
        with says("dtype to be 'float32'", repr(dtype)):
            make(shape, 2, dtype=dtype, seed=0)


def test_seeds_decide_the_weights_and_nothing_else_does():
    def start(seed):
        return np.concatenate(
            [v.numpy().ravel() for v in small(seed=seed).encoder.network.variables]
        )

    keras.utils.set_random_seed(1)
    first = start(3)
    keras.utils.set_random_seed(2)
    np.testing.assert_array_equal(start(3), first)
    assert np.abs(start(4) - first).max() > 0.1
    assert np.abs(start((3, 0)) - first).max() > 0.1
    kernels = small(hidden=(6, 6)).encoder.network.trainable_variables[::2]
    assert np.abs(kernels[0].numpy() - kernels[1].numpy()).max() > 0.1


@pytest.mark.parametrize("hidden", [(), (8,), (8, 4)])
def test_draw_takes_them_and_compiles(hidden):
    model, encoder = small(hidden=hidden)

    def log_weights(x, z):
        return model.log_joint(x)(z) - encoder(x).log_prob(z)

    z = et.draw(model.log_joint(X), encoder(X), (3, 2), seed=(0, 1)).z
    assert z.shape == (3, 2, 2, 2)
    compiled = tf.function(log_weights, jit_compile=True)(X, z)
    np.testing.assert_allclose(compiled, log_weights(X, z), rtol=1e-5)


def test_convolutional_networks_keep_the_heads_apart():
    likelihood = models.beta_binomial((8, 4, 3), 16)
    model, encoder = models.convolutional_vae(
        (8, 4, 3), 5, filters=(4, 6), likelihood=likelihood, seed=0
    )
    x = np.full([2, 8, 4, 3], 3.0, "float32")
    draws = et.draw(model.log_joint(x), encoder(x), 3, seed=0)
    assert draws.log_weights.shape == (3, 2) and draws.z.shape == (3, 2, 5)
    p = model.likelihood(draws.z)
    assert p.event_shape == (8, 4, 3)
    # the last bias has one entry per head and channel: move the head of logits only
    decoder = [v for v in _decoder_variables(model, draws.z) if v.shape == (6,)][-1]
    before = [p.distribution.logits, p.distribution.dispersion]
    decoder.assign(decoder.numpy() + np.array([1, 2, 3, 0, 0, 0], "float32"))
    moved = model.likelihood(draws.z).distribution
    shift = np.broadcast_to([1.0, 2.0, 3.0], before[0].shape)
    np.testing.assert_allclose(moved.logits - before[0], shift, atol=1e-5)
    np.testing.assert_array_equal(moved.dispersion, before[1])


def _decoder_variables(model, z):
    with tf.GradientTape() as tape:
        model.likelihood(z).mean()
    return tape.watched_variables()


def test_images_without_channels():
    likelihood = models.binomial((4, 4), 16)
    model, encoder = models.convolutional_vae(
        (4, 4), 2, filters=(3,), likelihood=likelihood, seed=1
    )
    x = np.zeros([5, 4, 4], "float32")
    draws = et.draw(model.log_joint(x), encoder(x), 2, seed=0)
    assert draws.log_weights.shape == (2, 5)


def iris_fit(seed):
    x = et.data.iris()
    model, encoder = models.linear_vae(4, 2, loc=x.mean(0), dtype=tf.float64, seed=seed)

    def objective(batch, seed):
        return et.gradients.sticking_the_landing(
            model.log_joint(batch), encoder(batch), sample_size=32, seed=seed
        )

    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 4_000, 1e-3)
    et.fit(
        objective,
        num_steps=4_000,
        data=x,
        optimizer=keras.optimizers.Adam(rate),
        seed=seed,
        progress=False,
    )
    return x, model, encoder


def test_linear_vae_on_iris_reaches_the_evidence_of_probabilistic_pca():
    x, model, encoder = iris_fit(0)
    draws = et.draw(model.log_joint(x), encoder(x), 400, seed=1)
    total = float(tf.reduce_sum(et.bounds.elbo(draws)))
    error = float(tf.norm(et.bounds.standard_error(draws)))
    assert error < 0.002
    assert abs(total - -404.962780) < 0.01
    # there q is the exact posterior: every log-weight is log p(x)
    exact = models.probabilistic_pca(x, 2).log_evidence(x)
    np.testing.assert_allclose(tf.reduce_mean(draws.log_weights, 0), exact, atol=0.01)


def test_training_raises_the_bound_of_counts():
    x = et.data.digits().x_train[:256]
    model, encoder = models.vae(
        64, 4, hidden=(32,), likelihood=models.binomial(64, 16), seed=0
    )
    result = et.fit(
        lambda batch, seed: et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), seed=seed
        ),
        num_steps=300,
        data=x,
        batch_size=64,
        optimizer=keras.optimizers.Adam(5e-3),
        seed=0,
        progress=False,
    )
    assert result.elbo[-20:].mean() > result.elbo[:20].mean() + 40


def test_data_outside_the_support_are_an_error():
    model, encoder = small()
    with pytest.raises(ValueError, match="whole numbers from 0 to 16; got 1 of 12"):
        model.log_joint(
            X + np.array([1.0, 0, 0, 0, 0, 0.5], "float32")[None] * [[0], [1]]
        )
    with pytest.raises(ValueError, match="0s and 1s; got 8 of 12 others. Rescale"):
        models.vae(6, 2, seed=0).model.log_joint(X)
    kept = model.with_prior(model.prior)
    with pytest.raises(ValueError, match="data that the likelihood can give"):
        kept.log_joint(X + 0.5)
    with pytest.raises(ValueError, match="data that the likelihood can give"):
        et.fit(
            lambda batch, seed: et.gradients.reparameterized(
                model.log_joint(batch), encoder(batch), seed=seed
            ),
            num_steps=3,
            data=X + 0.5,
            seed=0,
            progress=False,
        )


def test_errors():
    with pytest.raises(ValueError, match="'bernoulli', 'gaussian' or a Likelihood"):
        models.vae(6, 2, likelihood="binomial", seed=0)
    with pytest.raises(ValueError, match=r"data of shape \(6,\); got \(5,\)"):
        models.vae(6, 2, likelihood=models.binomial(5, 16), seed=0)
    with pytest.raises(ValueError, match=r"divisible by 4.*got \(6, 8\)"):
        models.convolutional_vae((6, 8), 2, seed=0)
    with pytest.raises(ValueError, match="or use fewer filters"):
        models.convolutional_vae((8,), 2, seed=0)
    with pytest.raises(
        ValueError, match="total_count to be an int of at least 1; got 0"
    ):
        models.binomial(6, 0)
    with pytest.raises(ValueError, match="int of at least 1; got 16.0"):
        models.beta_binomial(6, 16.0)
    with pytest.raises(
        ValueError, match="num_values to be an int of at least 2; got 1"
    ):
        models.discretized_logistic(6, 1)
    with pytest.raises(ValueError, match="shape of one datum.*got 0"):
        models.bernoulli(0)
    with pytest.raises(ValueError, match=r"parameters \[..., 12\].*got shape \(3, 6\)"):
        models.beta_binomial((2, 3), 16)(np.zeros([3, 6], "float32"))
    with pytest.raises(ValueError, match="expected seed"):
        models.vae(6, 2, seed=None)


@pytest.mark.parametrize(
    "likelihood", [models.bernoulli(3), models.binomial(3, 4), models.gaussian(3)]
)
def test_a_likelihood_logs_nothing(likelihood, caplog):
    model, encoder = models.vae(3, 2, hidden=(4,), likelihood=likelihood, seed=0)
    x = np.eye(3, dtype=np.float32)[:2]
    et.gradients.reparameterized(model.log_joint(x), encoder(x), seed=0)
    assert not caplog.records
