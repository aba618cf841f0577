"""Evidence by four methods, against closed forms and quadrature without TensorFlow."""

import typing
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import elbo_tfp as et
from elbo_tfp import gaps, marginals
from elbo_tfp.evidence.methods import as_method
from elbo_tfp.evidence.stream import log_mean
from elbo_tfp.ground import compiled as cache
from elbo_tfp.ground.seeds import fold_in
from tests.changing import PLACES, Offset, kept, model_of
from tests.statistics import assert_mean, assert_within, says

tfd = tfp.distributions
X = np.array([1.0, 3.0, -2.0])


def one(value=1.0):
    return tf.constant(value, tf.float64)


def normal():
    return et.models.normal_normal(dtype=tf.float64)


def evidence(model, x, method, **kwargs):
    """Without XLA, whose compilation takes longer than these small problems."""
    return gaps.evidence(model, x, method, jit_compile=False, **kwargs)


# quadrature


def test_quadrature_is_exact_also_far_from_the_prior():
    x = np.array([1.0, 5.0, -30.0, 400.0])
    found = evidence(normal(), x, "quadrature")
    np.testing.assert_allclose(found.estimate, normal().log_evidence(x), rtol=1e-10)
    assert found[1:] == (None, None, None)


def test_quadrature_on_a_half_line():
    model = et.models.gamma_poisson(2.0, 0.5, dtype=tf.float64)
    x = tf.constant([0.0, 1.0, 40.0], tf.float64)
    found = evidence(model, x, "quadrature")
    np.testing.assert_allclose(found.estimate, model.log_evidence(x), atol=1e-8)


def test_quadrature_sees_two_humps():
    model = et.LatentVariableModel(
        tfd.Normal(one(0.0), 3.0), lambda z: tfd.Normal(z**2, one(0.5))
    )
    x = np.array([0.5, 9.0])
    for b, found in enumerate(evidence(model, x, "quadrature").estimate):
        z = np.linspace(-15, 15, 60_001)
        density = stats.norm(0, 3).pdf(z) * stats.norm(z**2, 0.5).pdf(x[b])
        assert abs(found - np.log(integrate.trapezoid(density, z))) < 1e-9


def test_quadrature_in_three_dimensions_and_float32():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal([4, 3])
    for dtype, limit in ((np.float64, 1e-5), (np.float32, 2e-4)):
        model = et.models.linear_gaussian(weights.astype(dtype), noise_scale=0.5)
        x = (2 * rng.standard_normal([2, 4])).astype(dtype)
        found = evidence(model, x, "quadrature", sample_size=61).estimate
        np.testing.assert_allclose(found, model.log_evidence(x), atol=limit)
        assert found.dtype == dtype


def test_quadrature_of_a_pin_a_function_and_a_structure():
    joint = tfd.JointDistributionNamed(
        {
            "tau": tfd.Gamma(one(2.0), 1.0),
            "mu": lambda tau: tfd.Normal(one(0.0), tau),
            "x": lambda mu, tau: tfd.Normal(mu, tau),
        }
    )
    mu, tau = np.linspace(-80, 80, 2001), np.exp(np.linspace(-12, 5, 1501))
    density = stats.gamma(2).pdf(tau) * stats.norm.pdf(mu[:, None] / tau) / tau
    density *= stats.norm.pdf((0.7 - mu[:, None]) / tau) / tau
    exact = np.log(integrate.trapezoid(integrate.trapezoid(density, mu, axis=0), tau))
    found = evidence(joint.experimental_pin(x=one(0.7)), None, "quadrature")
    assert abs(found.estimate - exact) < 1e-4
    bare = evidence(
        lambda z: tfd.Normal(one(1.0), 2.0).log_prob(z) - 3,
        None,
        "quadrature",
        surrogate_posterior=tfd.Normal(one(0.0), 1.0),
    )
    np.testing.assert_allclose(bare.estimate, -3.0, atol=1e-9)


def test_quadrature_with_nothing_left_is_the_closed_form():
    model = marginals.linear_gaussian(et.models.linear_gaussian(np.ones([2, 5])))
    x = np.array([[0.3, 0.4]])
    found = evidence(model, x, "quadrature").estimate
    np.testing.assert_allclose(found, model.log_evidence(x))


def test_quadrature_says_what_it_cannot_do():
    with says("1 to 3 latent dimensions", "got 4", "10^8"):
        evidence(
            et.models.linear_gaussian(np.ones([2, 4])), np.ones([1, 2]), "quadrature"
        )
    with says("points per dimension", ">= 9", "got 5"):
        evidence(normal(), X, "quadrature", sample_size=5)
    with says("floating dtype", "int32", "enumerate_discrete"):
        evidence(
            et.LatentVariableModel(tfd.Bernoulli(0.0), lambda z: tfd.Normal(0.0, 1.0)),
            tf.zeros([2]),
            "quadrature",
        )
    with says("shape and support of z", "NoneType"):
        evidence(lambda z: -(z**2), None, "quadrature")
    with says("finite somewhere", "surrogate_posterior"):
        evidence(
            lambda z: z - np.inf,
            None,
            "quadrature",
            surrogate_posterior=tfd.Normal(one(0.0), 1.0),
        )
    narrow = et.LatentVariableModel(
        tfd.Normal(one(0.0), 1.0), lambda z: tfd.Normal(tf.sin(20 * z), one(0.01))
    )
    with pytest.warns(UserWarning, match="not converged.*points per dimension"):
        evidence(narrow, X[:1] / 2, "quadrature", sample_size=61)


# importance sampling


def test_importance_sampling_within_its_error():
    q = tfd.Normal(X / 2 + 0.2, one(1.2))
    found = evidence(
        normal(), X, "importance", surrogate_posterior=q, sample_size=20_000, seed=0
    )
    exact = normal().log_evidence(X)
    assert_within(found.estimate, found.standard_error, exact, fault=0.05)
    assert found.upper is None
    np.testing.assert_array_equal(found.lower, found.estimate)
    # the error itself: sd(w) / (mean(w) sqrt(K)), from the weights' exact moments
    z = np.linspace(-12, 12, 20_001)
    for b in range(3):
        q_z = stats.norm(X[b] / 2 + 0.2, 1.2).pdf(z)
        p_z = stats.norm(0, 1).pdf(z) * stats.norm(z, 1).pdf(X[b])
        second = integrate.trapezoid(p_z**2 / q_z, z) / np.exp(exact[b]) ** 2
        error = np.sqrt((second - 1) / 20_000)
        np.testing.assert_allclose(found.standard_error[b], error, rtol=0.05)


def test_streaming_is_the_average_of_all_chunks():
    def weights(seed, size):
        return 40 * tf.random.stateless_normal([size, 2], seed, dtype=tf.float64), None

    like = tf.TensorSpec([2], tf.float64)
    mean, _ = log_mean(weights, like, 10, 4, tf.constant([0, 3]), jit_compile=False)
    rows = np.concatenate([weights(fold_in([0, 3], i), 4)[0] for i in range(3)])[:10]
    np.testing.assert_allclose(mean.log_mean, special.logsumexp(rows, 0) - np.log(10))
    w = np.exp(rows - rows.max(0))
    size = w.sum(0) ** 2 / (w**2).sum(0)
    np.testing.assert_allclose(mean.effective_sample_size, size)
    error = w.std(0, ddof=1) / w.mean(0) / 10**0.5
    np.testing.assert_allclose(mean.standard_error, error)


def test_streaming_survives_weights_that_are_zero():
    def weights(seed, size):
        number = tf.random.stateless_uniform([size, 1], seed, dtype=tf.float64)
        return tf.where(number < 0.7, number - np.inf, 0 * number - 800.0), None

    like = tf.TensorSpec([1], tf.float64)
    mean, _ = log_mean(weights, like, 1600, 4, tf.constant([0, 1]), jit_compile=False)
    assert_within(
        np.exp(mean.log_mean + 800), 0.3 * mean.standard_error, 0.3, fault=0.2
    )


def test_memory_does_not_grow_with_the_sample_size():
    sizes = []

    def target(z):
        sizes.append(z.shape[0])
        return tfd.Normal(one(0.0), 1.0).log_prob(z)

    q = tfd.Normal(one(0.1), 1.0)
    kwargs = {"surrogate_posterior": q, "seed": 0}
    few = evidence(target, None, "importance", sample_size=50_000, **kwargs)
    assert max(sizes) <= 4096 and abs(few.estimate) < 0.01
    sizes.clear()
    evidence(target, None, "importance", sample_size=50, chunk_size=7, **kwargs)
    assert max(sizes) == 7


def test_the_same_seed_gives_the_same_numbers():
    draws = [
        evidence(normal(), X, "importance", sample_size=5_000, seed=s).estimate
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.all(draws[0] != draws[2])


def test_compiled_with_xla():
    model = et.models.linear_gaussian(np.array([[1.0, 0.5], [0.0, 2.0]]))
    x = np.array([[1.0, -2.0], [0.0, 0.5], [3.0, 3.0]])
    exact = model.posterior(x)
    q = tfd.Independent(tfd.Normal(exact.mean() + 0.1, 1.3 * exact.stddev()), 1)
    found = gaps.evidence(model, x, surrogate_posterior=q, sample_size=9_000, seed=0)
    truth = model.log_evidence(x)
    assert_within(found.estimate, found.standard_error, truth, fault=0.15)


def test_collapsed_weights_warn_with_the_effective_sample_size():
    with pytest.warns(
        UserWarning, match=r"effective sample size is 1\.\d of 1000.*1 of"
    ):
        evidence(normal(), np.array([20.0, 0.0]), "importance", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evidence(normal(), X, "importance", seed=0)


def test_importance_sampling_says_what_it_cannot_do():
    with says("method", "quadrature", "'laplace'"):
        evidence(normal(), X, "laplace")
    with says("seed", "None"):
        evidence(normal(), X, "importance")
    with says("expected x", "None"):
        evidence(normal(), None, "importance", seed=0)
    with says("x=None", "function"):
        evidence(lambda z: z, X, "importance", seed=0)
    with says("surrogate_posterior", '"importance"', "None"):
        evidence(lambda z: -(z**2), None, "importance", seed=0)
    with says("sample_size", "positive int", "-1"):
        evidence(normal(), X, "importance", seed=0, sample_size=-1)
    with says("finite log-weights", "3 of 3"):
        evidence(
            et.LatentVariableModel(
                tfd.Normal(one(0.0), 1.0), lambda z: tfd.Normal(z, z * np.nan)
            ),
            X,
            "importance",
            seed=0,
        )


# annealed importance sampling, one way and both ways


def test_annealing_reaches_where_importance_sampling_collapses():
    x = np.array([1.0, 8.0])
    sizes = {"sample_size": 1_000, "num_temperatures": 40}
    found = evidence(normal(), x, "annealed", **sizes, seed=0)
    exact = normal().log_evidence(x)
    assert_within(found.estimate, found.standard_error, exact, fault=0.35)
    assert found.upper is None


def test_annealing_starts_from_a_surrogate_on_a_half_line():
    model = et.models.gamma_poisson(2.0, 1.0, dtype=tf.float64)
    x = tf.constant([3.0, 7.0], tf.float64)
    q = tfd.LogNormal(tf.math.log((x + 2) / 2), one(0.5))
    found = evidence(
        model,
        x,
        "annealed",
        surrogate_posterior=q,
        sample_size=1_000,
        num_temperatures=10,
        seed=1,
    )
    exact = model.log_evidence(x)
    assert_within(found.estimate, found.standard_error, exact, fault=0.12)


def sandwich(num_temperatures, count=1_500):
    """One walk each way for each of many simulated data; steps fixed."""
    z, x = normal().sample(count, seed=0)
    x, z = 2.0 * x, normal().posterior(2.0 * x).sample(seed=(3, 4))
    found = evidence(
        normal(),
        x,
        "bidirectional",
        posterior_sample=z,
        sample_size=1,
        num_temperatures=num_temperatures,
        num_leapfrog_steps=2,
        step_size=0.8,
        seed=2,
    )
    exact = normal().log_evidence(x)
    return (exact - found.lower).numpy(), (found.upper - exact).numpy()


def test_the_sandwich_and_its_law():
    """F9: E[forward] <= log p <= E[-reverse], gaps O(1 / T), Markov's inequality."""
    coarse, fine = sandwich(8), sandwich(32)
    means = []
    for below, above in (coarse, fine):
        for gap in (below, above):
            error = gap.std() / len(gap) ** 0.5
            assert gap.mean() > 4 * error
            means.append(gap.mean())
            # P(log p-hat > log p + b) <= exp(-b), and E[exp(-gap)] = 1
            for b in (0.5, 1.0):
                assert np.mean(gap < -b) <= np.exp(-b)
    # E[w] = p(x): the weights' own expectation, for the finer walk
    assert_mean(np.exp(-fine[0]), 1.0, fault=0.2)
    assert_mean(np.exp(-fine[1]), 1.0, fault=0.2)
    # four times the temperatures: a quarter of the gap
    ratios = np.array(means[:2]) / means[2:]
    assert np.all((ratios > 2.8) & (ratios < 5.7)), ratios


def test_annealing_says_what_it_cannot_do():
    with says("posterior_sample", "exact draw", "none", '"annealed"'):
        evidence(normal(), X, "bidirectional", seed=0)
    with says("posterior_sample", "'importance'", "a draw"):
        evidence(normal(), X, "importance", seed=0, posterior_sample=X)
    with says("one draw per datum", "(3,)"):
        evidence(
            normal(),
            X,
            "bidirectional",
            seed=0,
            posterior_sample=np.zeros(2),
            step_size=0.1,
            num_temperatures=2,
        )
    with says("num_temperatures", ">= 2", "got 1"):
        evidence(normal(), X, "annealed", seed=0, num_temperatures=1)
    with says("step_size", "a positive number", "got 0"):
        evidence(normal(), X, "annealed", seed=0, step_size=0)
    with says("surrogate_posterior", '"annealed"'):
        evidence(lambda z: -(z**2), None, "annealed", seed=0)
    with says("rejected all its proposals", "3 of 3", "step_size"):
        evidence(normal(), X, "annealed", seed=0, step_size=1e6, num_temperatures=5)
    with says("rejected all its proposals"):
        # a density without a gradient of any use
        evidence(
            lambda z: -(z**2) / 2 + tf.sqrt(tf.abs(z) - tf.abs(z)),
            None,
            "annealed",
            surrogate_posterior=tfd.Normal(one(0.0), 1.0),
            seed=0,
            num_temperatures=4,
        )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_another_call_compiles_nothing_and_sees_new_data(jit_compile):
    cache.clear()
    for shift, seed in ((0.0, 0), (0.5, 1), (2.0, 2)):
        offset = tf.Variable(shift, dtype=tf.float64)  # a new model each time
        model = et.LatentVariableModel(
            tfd.Normal(one(0.0), 1.0), lambda z, o=offset: tfd.Normal(z + o, one(1.0))
        )
        x = X + shift
        for start in (None, tfd.Normal((x - shift) / 2 + 0.3, one(1.0))):
            found = gaps.evidence(
                model,
                x,
                surrogate_posterior=start,
                sample_size=40_000,
                seed=seed,
                jit_compile=jit_compile,
            )
            exact = normal().log_evidence(X)
            assert_within(found.estimate, found.standard_error, exact, fault=0.12)
        assert cache.count() == 2  # one draws from the prior, one from a q


WAYS = {
    "quadrature": {},
    "importance": {"sample_size": 20_000, "seed": 0},
    "annealed": {"sample_size": 400, "num_temperatures": 6, "seed": 0},
}


def with_draw(method, x, scale):
    """The options of a method; with an exact draw for `bidirectional`."""
    if method != "bidirectional":
        return WAYS[method]
    # z given x ~ N(x / (1 + s^2), s^2 / (1 + s^2))
    z = tf.random.stateless_normal(x.shape, (0, 9), dtype=tf.float64)
    z = x / (1 + scale**2) + z * scale / (1 + scale**2) ** 0.5
    return {**WAYS["annealed"], "posterior_sample": z}


@pytest.mark.parametrize(
    ("place", "method"),
    [(p, m) for p in PLACES for m in ("quadrature", "importance")]
    + [("attribute", "annealed"), ("dict", "bidirectional")],
)
def test_no_method_answers_for_the_model_as_it_was(place, method):
    """A noise scale changed from 1 to 3 moves log p(1) from -1.516 to -2.120."""
    read, change = kept(place)
    model, x = model_of(read), tf.ones([1], tf.float64)
    for scale, exact in ((1.0, -1.515512), (3.0, -2.120231)):
        change(scale)
        found = evidence(model, x, method, **with_draw(method, x, scale))
        np.testing.assert_allclose(found.estimate, exact, atol=0.06)


def test_a_method_carries_its_own_options():
    x, q = tf.constant(X), tfd.Normal(X / 2, one(0.8))
    for method, options in (
        (et.evidence.Quadrature(501), {"sample_size": 501}),
        (et.evidence.Importance(300, 7), {"sample_size": 300, "chunk_size": 7}),
    ):
        common = {"surrogate_posterior": q, "seed": 0}
        first = evidence(normal(), x, method, **common)
        second = evidence(normal(), x, method.name, **options, **common)
        tf.nest.map_structure(np.testing.assert_array_equal, first, second)
    for method in (
        et.evidence.Annealed(4, np.int64(2), 0.5, 30),
        et.evidence.Bidirectional(X, num_temperatures=np.int64(4), chunk_size=2),
    ):
        assert as_method(method.name, **method._asdict()) is not method
        assert as_method(method.name, **method._asdict()) == method
        assert as_method(method) is method
    with says("options of 'importance'", "chunk_size", "['step_size']"):
        evidence(normal(), X, "importance", step_size=0.1, seed=0)
    with says("options of Importance inside it", "['sample_size']"):
        evidence(normal(), X, et.evidence.Importance(), sample_size=10, seed=0)


# other kinds of data and latents


@pytest.mark.parametrize("method", WAYS)
def test_a_datum_may_be_a_structure(method):
    cache.clear()
    counts = []
    for shift in (0.0, 2.0):
        data = {"x": X + shift, "offset": np.full(3, shift)}
        found = evidence(Offset(), data, method, **with_draw(method, X, 1.0))
        np.testing.assert_allclose(found.estimate, normal().log_evidence(X), atol=0.25)
        counts.append(cache.count())
    assert counts[0] == counts[1]


def shared_model():
    """x_n = z_n + w + noise: all data have one w."""
    return et.LatentVariableModel(
        tfd.Normal(one(0.0), 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], one(1.0)),
        tfd.Normal(one(0.0), 1.5),
    )


def test_with_a_global_latent_the_evidence_is_one_number_for_all_data():
    # x ~ N(0, 2 I + 1.5^2 1 1')
    cov = 2 * np.eye(2) + 1.5**2
    exact = stats.multivariate_normal(np.zeros(2), cov).logpdf(X[:2])
    found = evidence(shared_model(), X[:2], "quadrature", sample_size=61)
    np.testing.assert_allclose(found.estimate, exact, atol=1e-4)
    assert found.estimate.shape == ()
    options = {"seed": 0, "sample_size": 40_000}
    q = tfd.Normal(X[:2] / 3, one(1.0)), tfd.Normal(one(1.0), 1.0)
    for start in (None, q):
        found = gaps.evidence(
            shared_model(), X[:2], surrogate_posterior=start, **options
        )
        assert_within(found.estimate, found.standard_error, exact, fault=0.2)
    # a likely (z, w) from the posterior, a Gaussian, serves as its draw
    mean = 1.5**2 * np.linalg.solve(cov, X[:2]).sum()
    w = mean + 0.3
    z = (X[:2] - w) / 2
    found = evidence(
        shared_model(),
        X[:2],
        "bidirectional",
        posterior_sample=(z, w),
        num_temperatures=60,
        sample_size=200,
        seed=1,
    )
    np.testing.assert_allclose(found.estimate, exact, atol=0.2)
    with says("the pair (q of z, q of the global latent)", "Normal"):
        gaps.evidence(shared_model(), X[:2], surrogate_posterior=q[0], seed=0)


def test_a_call_without_q_draws_from_the_prior_whatever_came_before():
    def model():
        return et.LatentVariableModel(
            tfd.Normal(one(0.0), 1.0), lambda z: tfd.Normal(z, one(1.0))
        )

    options = {"sample_size": 100, "seed": 0}
    used = model()
    gaps.evidence(used, X, surrogate_posterior=tfd.Normal(X / 2, one(0.8)), **options)
    found, fresh = (gaps.evidence(m, X, **options) for m in (used, model()))
    np.testing.assert_array_equal(found.estimate, fresh.estimate)


class Plated:
    """w ~ Beta(1, 1), z_n given w ~ Bernoulli(w), x_n given z_n ~ N(z_n, 1)."""

    prior_needs_global = has_local = True
    global_prior = tfd.Beta(one(1.0), one(1.0))

    def local_prior(self, w):
        return tfd.Bernoulli(probs=w[..., tf.newaxis], dtype=tf.float64)

    def log_joint(self, x, num_data=None):
        class Target(typing.NamedTuple):
            x: typing.Any

            def __call__(target, pair):
                z, w = pair
                local = self.local_prior(w).log_prob(z)
                local += tfd.Normal(z, one(1.0)).log_prob(target.x)
                return local + self.global_prior.log_prob(w)[..., None] / num_data

        return Target(tf.convert_to_tensor(x))


def test_a_local_prior_that_depends_on_the_global_latent():
    found = gaps.evidence(Plated(), X, sample_size=40_000, seed=0, jit_compile=False)
    zero, unit = (stats.norm(m, 1).pdf(X) for m in (0.0, 1.0))
    exact, _ = integrate.quad(lambda w: np.prod((1 - w) * zero + w * unit), 0, 1)
    assert_within(found.estimate, found.standard_error, np.log(exact), fault=0.08)
    assert found.estimate.shape == ()


PRIORS = {
    "gamma": lambda: tfd.Gamma(one(2.5), one(2.0)),
    "beta": lambda: tfd.Beta(one(2.0), one(3.0)),
    "uniform": lambda: tfd.Uniform(one(-1.0), one(3.0)),
    "half-Cauchy": lambda: tfd.HalfCauchy(one(0.0), one(5.0)),
    "truncated": lambda: tfd.TruncatedNormal(one(0.0), one(1.0), one(-1.0), one(0.5)),
    "two": lambda: tfd.JointDistributionSequential(
        [tfd.LogNormal(one(0.0), one(0.3)), lambda s: tfd.Normal(one(0.0), s)]
    ),
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_has_mass_one_through_its_map(name):
    prior = PRIORS[name]()
    found = evidence(
        lambda z: prior.log_prob(z), None, "quadrature", surrogate_posterior=prior
    )
    np.testing.assert_allclose(found.estimate, 0.0, atol=1e-4)


@pytest.mark.parametrize("method", ["quadrature", "annealed"])
def test_a_prior_that_hangs_on_the_shared_latent_has_no_coordinates(method):
    one = tf.constant(1.0, tf.float64)
    model = et.LatentVariableModel(
        lambda w: tfd.Normal(w, one),
        lambda z, w: tfd.Normal(z, one),
        global_prior=tfd.Normal(0 * one, one),
    )
    with says("prior of z depends on its shared latent", 'method="importance"'):
        et.evidence.estimate(model, np.zeros(3), method, seed=0)
