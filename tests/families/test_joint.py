"""`mean_field_for`: one line for any joint, in its support, structure and dtype."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp.families import mean_field_for
from tests.statistics import says

tfd, tfb = tfp.distributions, tfp.bijectors
SCHOOLS = et.data.eight_schools()


def flavours(dtype=tf.float32):
    """Eight schools, non-centred, in every way TFP can write it."""
    c = lambda v: tf.constant(v, dtype)  # noqa: E731
    sigma = c(SCHOOLS.sigma)
    mu, tau = tfd.Normal(c(0.0), c(5.0)), tfd.HalfCauchy(c(0.0), c(5.0))
    eta = tfd.Sample(tfd.Normal(c(0.0), c(1.0)), 8)

    def y(eta, tau, mu):
        mean = mu[..., tf.newaxis] + tau[..., tf.newaxis] * eta
        return tfd.Independent(tfd.Normal(mean, sigma), 1)

    def coroutine():
        m = yield tfd.JointDistributionCoroutine.Root(mu)
        t = yield tfd.JointDistributionCoroutine.Root(tau)
        e = yield tfd.JointDistributionCoroutine.Root(eta)
        yield y(e, t, m)

    def named_coroutine():
        m = yield tfd.Normal(c(0.0), c(5.0), name="mu")
        t = yield tfd.HalfCauchy(c(0.0), c(5.0), name="tau")
        e = yield tfd.Sample(tfd.Normal(c(0.0), c(1.0)), 8, name="eta")
        yield tfd.Independent(tfd.Normal(m + t * e, sigma), 1, name="y")

    parts = {"mu": mu, "tau": tau, "eta": eta, "y": y}
    return {
        "coroutine": tfd.JointDistributionCoroutine(coroutine),
        "autobatched": tfd.JointDistributionCoroutineAutoBatched(named_coroutine),
        "named": tfd.JointDistributionNamed(parts),
        "sequential": tfd.JointDistributionSequential([mu, tau, eta, y]),
    }


NAMES = ["coroutine", "autobatched", "named", "sequential"]


def pin(joint, dtype=tf.float32):
    y = tf.constant(SCHOOLS.y, dtype)
    if isinstance(joint, tfd.JointDistributionNamed):
        return joint.experimental_pin(y=y)
    return joint.experimental_pin(None, None, None, y)


def by_shape(z):
    """mu, tau, eta from any structure: by name, or in order."""
    if isinstance(z, dict):
        return z["mu"], z["tau"], z["eta"]
    return tuple(z)


def exact(z):
    mu, tau, eta = (np.asarray(part, np.float64) for part in by_shape(z))
    mean = mu[..., None] + tau[..., None] * eta
    density = stats.norm(0, 5).logpdf(mu) + stats.halfcauchy(0, 5).logpdf(tau)
    density += stats.norm.logpdf(eta).sum(-1)
    return density + stats.norm(mean, SCHOOLS.sigma).logpdf(SCHOOLS.y).sum(-1)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("name", NAMES)
def test_eight_schools_in_every_flavour(name, dtype):
    target = pin(flavours(dtype)[name], dtype)
    q = mean_field_for(target)
    draws = et.draw(target, q, 5, seed=0)
    tf.nest.assert_same_structure(draws.z, target.event_shape, check_types=False)
    mu, tau, eta = by_shape(draws.z)
    assert (mu.shape, tau.shape, eta.shape) == ((5,), (5,), (5, 8))
    assert mu.dtype == tau.dtype == eta.dtype == dtype and (tau.numpy() > 0).all()
    np.testing.assert_allclose(draws.log_p, exact(draws.z), rtol=1e-4)
    np.testing.assert_allclose(draws.log_q, q.log_prob(draws.z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_that_of_gaussians_through_the_bijectors(name):
    """tau = exp(u) is TFP's map for a half-Cauchy; mu and eta stay as they are."""
    joint = pin(flavours(tf.float64)[name], tf.float64)
    q = mean_field_for(joint, seed=None, scale=0.3)
    z, density = q.experimental_sample_and_log_prob((4, 2), seed=0)
    mu, tau, eta = (np.asarray(part) for part in by_shape(z))
    base = stats.norm(0, 0.3)
    expected = base.logpdf(mu) + base.logpdf(eta).sum(-1) + base.logpdf(np.log(tau))
    expected -= np.log(tau)  # d tau / d u = tau
    np.testing.assert_allclose(density, expected, rtol=1e-8)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-8)


def test_joints_without_a_pin():
    joint = tfd.JointDistributionNamed(
        {"a": tfd.Normal(0.0, 1.0), "b": tfd.Gamma(2.0, 1.0)}
    )
    z = mean_field_for(joint).sample(3, seed=0)
    assert set(z) == {"a", "b"} and (z["b"].numpy() > 0).all()


@pytest.mark.parametrize("support", ["(0, a)", "(-a, a)"])
@pytest.mark.parametrize("auto", [True, False])
def test_supports_that_depend_on_other_parts(support, auto):
    """Taken from one draw, (-a, a) would be wrong for all others, and 0 maps to 0."""
    low = (lambda a: 0.0 * a) if support == "(0, a)" else (lambda a: -a)

    def model():
        a = yield tfd.JointDistributionCoroutine.Root(tfd.LogNormal(0.0, 1.0, name="a"))
        yield tfd.Uniform(low(a), a, name="b")

    make = tfd.JointDistributionCoroutine
    if auto:
        make = tfd.JointDistributionCoroutineAutoBatched
    q = mean_field_for(make(model), scale=2.0, seed=None)
    z, density = q.experimental_sample_and_log_prob(200, seed=0)
    a, b = (np.asarray(part, np.float64) for part in z)
    bottom = 0 * a if support == "(0, a)" else -a
    assert (b >= bottom).all() and (b <= a).all()
    share = (b - bottom) / (a - bottom)
    inside = (share > 1e-4) & (share < 1 - 1e-4)
    assert share[inside].min() < 0.05 and share[inside].max() > 0.95
    logit = np.log(share / (1 - share))
    base = stats.norm(0, 2)
    expected = base.logpdf(np.log(a)) - np.log(a) + base.logpdf(logit)
    expected -= np.log(a - bottom) + np.log(share * (1 - share))
    np.testing.assert_allclose(np.asarray(density)[inside], expected[inside], rtol=2e-2)


@pytest.mark.parametrize(
    "part",
    [
        tfd.CholeskyLKJ(3, 2.0),
        tfd.Sample(tfd.Beta(2.0, 2.0), [2, 3]),
    ],
    ids=lambda d: d.name,
)
def test_event_shapes_that_change_on_the_unconstrained_side(part):
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), part])
    q = mean_field_for(joint)
    z, density = q.experimental_sample_and_log_prob((4, 2), seed=0)
    assert z[1].shape == (4, 2, *part.event_shape) and density.shape == (4, 2)
    assert np.isfinite(joint.log_prob(z)).all()
    np.testing.assert_allclose(density, q.log_prob(z), rtol=1e-3, atol=1e-2)


def test_the_density_integrates_to_one():
    q = mean_field_for(
        tfd.JointDistributionSequential([tfd.Gamma(2.0, 1.0)]), scale=0.7
    )
    axis = np.linspace(1e-3, 30, 200_001, dtype=np.float32)
    mass = np.trapezoid(np.exp(q.log_prob([tf.constant(axis)])), axis)
    np.testing.assert_allclose(mass, 1.0, atol=1e-3)


def test_where_it_starts():
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0)] * 2)
    q = mean_field_for(joint, loc=0.5, scale=0.2, seed=None)
    np.testing.assert_allclose(q.base.mean(), [0.5, 0.5])
    np.testing.assert_allclose(q.base.stddev(), [0.2, 0.2], rtol=1e-5)
    one, again = (mean_field_for(joint, seed=7).base.free_parameters for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert len(np.unique(one)) == 4


def test_gradients_reach_its_parameters_and_z():
    joint = pin(flavours()["named"])
    q = mean_field_for(joint)
    with tf.GradientTape() as tape:
        found = et.gradients.sticking_the_landing(joint, q, sample_size=4, seed=0)
    slope = tape.gradient(found.surrogate, q.base.free_parameters)
    assert (np.abs(slope) > 0).all()
    z = q.sample(2, seed=0)
    with tf.GradientTape() as tape:
        tape.watch(z)
        density = q.log_prob(z)
    assert all(np.abs(g).min() > 0 for g in tf.nest.flatten(tape.gradient(density, z)))


def test_compiled_with_new_seeds():
    q = mean_field_for(pin(flavours()["named"]))
    target = pin(flavours()["named"])

    @tf.function(jit_compile=True, autograph=False)
    def weights(seed):
        return et.draw(target, q, 3, seed=seed).log_weights

    one, two = weights(tf.constant([0, 1])), weights(tf.constant([0, 2]))
    assert np.isfinite(one).all() and not np.array_equal(one, two)
    assert weights.experimental_get_tracing_count() == 1


# a Family like the others


@pytest.mark.parametrize("name", ["mean_field_for", "full_rank_for", "flow_for"])
def test_families_for_a_joint_are_families(name, tmp_path):
    make = getattr(et.families, name)
    joint = pin(flavours()["named"])
    q, other = make(joint, seed=1), make(joint, seed=2)
    assert isinstance(q, et.families.Family) and q.batch_shape == ()
    shared = () if name != "flow_for" else q.base.layers[0].trainable_variables
    assert len(q.trainable_variables) == 1 + 2 * len(shared)
    et.save(tmp_path / "q.npz", q=q)
    et.load(tmp_path / "q.npz", q=other)
    for one, two in zip(q.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    one, density = q.experimental_sample_and_log_prob(3, seed=0)
    np.testing.assert_allclose(q.log_prob(one), density, rtol=1e-3, atol=1e-3)
    rows = tf.stack([q.free_parameters, other.free_parameters + 1.0])
    member = et.Encoder(lambda x: x, q)(rows)
    z, density = member.experimental_sample_and_log_prob(4, seed=0)
    assert z["eta"].shape == (4, 2, 8) and density.shape == (4, 2)
    single = q(rows[1]).log_prob({k: v[:, 1] for k, v in z.items()})
    np.testing.assert_allclose(density[:, 1], single, rtol=1e-3, atol=2e-3)


def test_full_rank_correlates_parts():
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0)] * 2)
    q = et.families.full_rank_for(joint, scale=1.0, seed=None)
    q.free_parameters.assign([0, 0, 0, 0, 3.0])
    a, b = q.sample(20_000, seed=0)
    # L = (1, 0; 3, 1): correlation 3 / sqrt(10)
    assert abs(np.corrcoef(a, b)[0, 1] - 3 / np.sqrt(10)) < 5 * 0.1 / np.sqrt(20_000)


def test_starts_by_names_of_parts():
    joint = pin(flavours()["named"])
    loc = {"tau": 1.5, "eta": np.arange(8.0)}
    q = mean_field_for(joint, loc=loc, scale={"mu": 2.0}, seed=None)
    flat = q.base.mean().numpy()
    np.testing.assert_allclose(sorted(flat), sorted([0, 1.5, *range(8)]))
    z = q.sample(4_000, seed=0)
    assert abs(np.log(z["tau"]).mean() - 1.5) < 0.02
    np.testing.assert_allclose(np.mean(z["eta"], 0), np.arange(8), atol=0.02)
    assert abs(np.std(z["mu"]) - 2) < 0.2
    with says("loc to name parts of", "'tau'", "got ['sigma']"):
        mean_field_for(joint, loc={"sigma": 1.0})
    with says("scale['eta'] to be a number or of shape (8,)", "(3,)"):
        mean_field_for(joint, scale={"eta": np.ones(3)})


# what it cannot do


@pytest.mark.parametrize("joint", [tfd.Normal(0.0, 1.0).log_prob, None, 3.0])
def test_only_joint_distributions(joint):
    with says("expected a TFP joint distribution or a pin", type(joint).__name__):
        mean_field_for(joint)


@pytest.mark.parametrize(
    "other",
    [
        tfd.Poisson(1.0, force_probs_to_zero_outside_support=True),
        tfd.Bernoulli(0.5),
        tfd.Normal(np.float64(0), 1.0),
    ],
)
def test_discrete_parts_and_mixed_dtypes(other):
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), other])
    if other.dtype == tf.float32:
        return
    with says("one floating dtype", "got", "enumerate_discrete", "precision"):
        mean_field_for(joint)


def test_a_batch_shape_is_no_single_number():
    joint = tfd.JointDistributionSequential([tfd.Normal(tf.zeros(3), 1.0)])
    with says("without a batch shape", "(3,)", "Independent", "AutoBatched"):
        mean_field_for(joint)
