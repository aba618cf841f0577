"""Mixture, flow and Student-t: densities, samples and use as q and as prior."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import families
from elbo_tfp.families import layers
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions

SMALL = {"hidden": (6,), "num_bins": 4}
FAMILIES = {
    "mixture": lambda d, **k: families.mixture(d, 3, **k),
    "mixture, full": lambda d, **k: families.mixture(d, 2, covariance="full", **k),
    "spline": lambda d, **k: families.flow(d, "spline", **SMALL | k),
    "autoregressive": lambda d, **k: families.flow(
        d, "inverse_autoregressive", **SMALL | k
    ),
    "student_t": lambda d, **k: families.student_t(d, df=4.0, **k),
}


def bent(name, size, **kwargs):
    """A member away from the start, in float64."""
    q = FAMILIES[name](size, dtype=tf.float64, seed=3, **kwargs)
    for i, v in enumerate(q.trainable_variables):
        v.assign_add(0.15 * tf.random.stateless_normal(v.shape, [5, i], dtype=v.dtype))
    return q


@pytest.mark.parametrize(
    ("name", "size"),
    # in two dimensions a Student-t is a product of two one-dimensional densities
    [(n, 1) for n in FAMILIES] + [(n, 2) for n in FAMILIES if n != "student_t"],
)
def test_density_integrates_to_one(name, size):
    q = bent(name, size)
    # z = sinh(t) / 2 reaches 1e8, so that a tail with four degrees of freedom ends;
    # 161^2 points are enough in two dimensions where tails are Gaussian
    if size == 1:
        t = np.linspace(-19, 19, 4001)
        z, w = np.sinh(t) / 2, np.cosh(t) / 2 * (t[1] - t[0])
    else:
        z = np.linspace(-11, 11, 161)
        w = np.full(161, z[1] - z[0])
    grid = np.stack(np.meshgrid(*[z] * size, indexing="ij"), -1)
    weights = w if size == 1 else w[:, None] * w
    total = np.sum(np.exp(q.log_prob(tf.constant(grid)).numpy()) * weights)
    # splines have kinks, where the trapezoid is only of second order
    assert abs(total - 1) < (3e-3 if name == "spline" else 1e-6), total


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_and_their_density_agree(name):
    q = bent(name, 3)
    z, log_q = q.experimental_sample_and_log_prob((4, 2), seed=0)
    assert z.shape == (4, 2, 3) and log_q.shape == (4, 2)
    np.testing.assert_allclose(log_q, q.log_prob(z), atol=1e-9)
    close(z, q.sample((4, 2), seed=0))
    assert np.any(z.numpy() != q.sample((4, 2), seed=1).numpy())
    # samples against the density: E_q[r / q] = 1 for any r that q covers
    z, log_q = q.experimental_sample_and_log_prob(20_000, seed=2)
    middle = z.numpy().mean(0)
    r = tfd.MultivariateNormalDiag(middle, 0.5 * np.ones(3))
    assert_mean(np.exp(r.log_prob(z) - log_q), 1.0, fault=0.4)


@pytest.mark.parametrize("name", ["spline", "autoregressive"])
def test_a_density_inverts_each_dimension_once(monkeypatch, name):
    kind, inverted = layers.Spline if name == "spline" else layers.Affine, []
    inverse = kind.inverse
    monkeypatch.setattr(
        kind, "inverse", lambda *a: inverted.append(a[1].shape) or inverse(*a)
    )
    q = bent(name, 5, num_layers=3)
    z, log_q = q.experimental_sample_and_log_prob(7, seed=0)
    np.testing.assert_allclose(q.log_prob(z), log_q, atol=1e-9)
    assert sum(np.prod(shape) for shape in inverted) == 3 * 7 * 5


@pytest.mark.parametrize("name", FAMILIES)
def test_one_member_per_datum(name):
    q = FAMILIES[name](2, batch_shape=(5,), seed=0)
    z, log_q = q.experimental_sample_and_log_prob(3, seed=0)
    assert z.shape == (3, 5, 2) and log_q.shape == (3, 5)
    assert z.dtype == tf.float32 and q.batch_shape == (5,) and q.event_shape == (2,)
    one = q(q.free_parameters[4])
    np.testing.assert_allclose(
        q.log_prob(z)[:, 4], one.log_prob(z[:, 4]), rtol=2e-4, atol=2e-4
    )
    encoder = et.Encoder(
        lambda x: tf.tile(0.1 * x, [1, q.parameters_size]),
        FAMILIES[name](2, seed=0),
    )
    assert encoder(tf.ones([7, 1])).sample(2, seed=0).shape == (2, 7, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_usable_as_q_and_as_prior_under_xla(name):
    layers = {"num_layers": 1} if name in ("spline", "autoregressive") else {}
    prior = bent(name, 2)
    q = FAMILIES[name](2, dtype=tf.float64, seed=1, **layers)
    model = et.LatentVariableModel(
        prior, lambda z: tfd.Independent(tfd.Normal(z, tf.ones([], z.dtype)), 1)
    )
    with tf.GradientTape() as tape:
        draws = et.draw(model.log_joint(tf.zeros([2], tf.float64)), q, 4, seed=0)
        value = et.bounds.elbo(draws)
    variables = [*q.trainable_variables, *prior.trainable_variables]
    gradient = tape.gradient(value, variables)
    assert all(g is not None and np.isfinite(g.numpy()).all() for g in gradient)
    assert model.sample(3, seed=0)[1].shape == (3, 2)

    @tf.function(jit_compile=True)
    def step(seed):
        with tf.GradientTape() as tape:
            draws = et.draw(lambda z: -tf.reduce_sum(z**4, -1), q, 4, seed=seed)
            value = et.bounds.elbo(draws)
        return value, tape.gradient(value, q.trainable_variables)

    value, gradient = step(tf.constant([0, 7]))
    assert value.dtype == tf.float64 and np.isfinite(value)
    assert all(np.isfinite(g.numpy()).all() for g in gradient)


@pytest.mark.parametrize("kind", ["spline", "inverse_autoregressive"])
def test_flow_starts_as_the_gaussian_it_names(kind):
    q = families.flow(3, kind, loc=[1.0, 2.0, 3.0], scale=0.5, dtype=tf.float64)
    z = q.sample(5, seed=0)
    expected = tfd.MultivariateNormalDiag(
        np.array([1.0, 2.0, 3.0]), 0.5 * np.ones(3)
    ).log_prob(z)
    np.testing.assert_allclose(q.log_prob(z), expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["spline", "inverse_autoregressive"])
@pytest.mark.parametrize("context_size", [0, 2])
def test_layers_are_triangular_and_see_everything_they_may(kind, context_size):
    q = bent(
        "spline" if kind == "spline" else "autoregressive",
        4,
        hidden=(7, 7),
        num_layers=1,
        context_size=context_size,
    )
    layer, x = q.layers[0], tf.constant([[0.3, -0.4, 0.5, -0.6]], tf.float64)
    context = tf.ones([1, context_size], tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, context])
        y = layer.forward(x, context)[0]
    seen = tape.batch_jacobian(y, x)[0].numpy() != 0
    within = np.array([0, 0, 1, 1] if kind == "spline" else [0, 1, 2, 3])
    expected = (within[:, None] > within) | np.eye(4, dtype=bool)
    np.testing.assert_array_equal(seen, expected)
    if context_size:
        assert np.all(tape.batch_jacobian(y, context).numpy() != 0)


def test_a_flow_bends_one_dimension_only_as_a_spline():
    """With one dimension an affine flow stays Gaussian: its skewness is zero."""
    bends = {k: bent(k, 1).sample(4000, seed=0).numpy().ravel() for k in FAMILIES}
    skew = {k: np.mean(((v - v.mean()) / v.std()) ** 3) for k, v in bends.items()}
    assert abs(skew["autoregressive"]) < 4 * (6 / 4000) ** 0.5 < abs(skew["spline"])


def test_components_start_apart_with_a_seed_and_together_without():
    apart = families.mixture(2, 3, loc=5.0, scale=2.0, seed=0)
    together = families.mixture(2, 3, loc=5.0, scale=2.0)
    placed = families.mixture(1, 2, loc=[[-3.0], [3.0]], seed=0)
    means = apart.components_distribution.mean().numpy()
    assert len(np.unique(means)) == 6 and abs(means.mean() - 5) < 3
    close(together.components_distribution.mean(), np.full((3, 2), 5.0), np.float32)
    close(placed.components_distribution.mean(), [[-3.0], [3.0]], np.float32)
    close(placed.mean(), [0.0], np.float32)


def test_errors_name_what_was_wrong():
    with says("num_components", "positive int", "0"):
        families.mixture(2, 0)
    with says("covariance", "diagonal", "sphere"):
        families.mixture(2, covariance="sphere")
    with says("scale", "> 0", "-1"):
        families.mixture(2, scale=-1.0)
    with says("event_size", "0"):
        families.mixture(0)
    with says("df", "> 0", "-2"):
        families.student_t(2, df=-2.0)
    with says("kind", "spline", "planar"):
        families.flow(2, "planar")
    with says("num_bins", "int >= 2", "got 1"):
        families.flow(2, num_bins=1)
    with says("hidden", "hidden=()"):
        families.flow(2, hidden=())
    with says("context_size", "int >= 0", "got -1"):
        families.flow(2, context_size=-1)
    with says("parameters [..., 4]", "shape (3,)"):
        families.flow(2)(tf.zeros([3]))
