"""Gaussian families: where they start, what they can be, what they are densities of."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from elbo_tfp.families import full_rank, low_rank, mean_field
from tests.statistics import close, says

F64 = tf.float64
ALL = pytest.mark.parametrize("family", [mean_field, full_rank, low_rank])
LOC, SCALE = [0.5, -1.0, 2.0], [0.3, 1.5, 0.8]


@ALL
@pytest.mark.parametrize("dtype", [tf.float32, F64])
def test_it_starts_exactly_at_loc_and_scale(family, dtype):
    q = family(3, loc=LOC, scale=SCALE, dtype=dtype)
    assert q.dtype == dtype and q.event_shape == (3,)
    close(q.mean(), LOC, tf.float32)
    np.testing.assert_allclose(q.stddev(), SCALE, rtol=1e-5 if dtype != F64 else 1e-12)
    if family is not mean_field:
        expected = np.diag(np.square(SCALE))
        np.testing.assert_allclose(q.covariance(), expected, rtol=1e-5, atol=1e-12)


@ALL
@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0, 1e4])
def test_any_scale_is_met(family, scale):
    np.testing.assert_allclose(family(2, scale=scale).stddev(), [scale] * 2, rtol=2e-3)
    found = family(2, scale=scale, dtype=F64).stddev()
    np.testing.assert_allclose(found, [scale] * 2, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, np.int64(4)])
def test_the_number_of_parameters(size):
    assert mean_field(size).parameters_size == 2 * size
    assert full_rank(size).parameters_size == size + size * (size + 1) // 2
    assert low_rank(size, 1).parameters_size == 3 * size
    assert low_rank(size, size).parameters_size == (2 + size) * size


def test_full_rank_is_loc_plus_a_triangle():
    """The covariance is L L', L = diag(s) (I + N): rows in units of their diagonal."""
    q = full_rank(3, dtype=F64)
    raw = np.random.default_rng(0).normal(size=9)
    member = q(tf.constant(raw))
    tril = np.linalg.cholesky(member.covariance())
    close(member.mean(), raw[:3])
    np.testing.assert_allclose(
        np.diag(tril), np.log1p(np.exp(raw[3:6] + 0.541324854612918))
    )
    below = (tril / np.diag(tril)[:, None])[np.tril_indices(3, -1)]
    assert set(np.round(below, 9)) == set(np.round(raw[6:], 9))
    exact = stats.multivariate_normal(raw[:3], tril @ tril.T)
    np.testing.assert_allclose(member.log_prob(np.ones(3)), exact.logpdf(np.ones(3)))


@ALL
def test_one_dimension_is_a_normal(family):
    q = family(1, loc=0.5, scale=2.0, dtype=F64)
    close(q.log_prob([1.0]), stats.norm(0.5, 2).logpdf(1.0))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_low_rank_is_a_diagonal_plus_a_product(rank):
    q = low_rank(3, rank, dtype=F64)
    raw = np.random.default_rng(0).normal(size=[2, 6 + 3 * rank])
    member = q(tf.constant(raw))
    variance = np.log1p(np.exp(raw[:, 3:6] + 0.541324854612918)) ** 2
    # the rows of U are in units of the scale
    factor = raw[:, 6:].reshape(2, 3, rank) * np.sqrt(variance)[..., None]
    expected = [np.diag(v) + u @ u.T for v, u in zip(variance, factor, strict=True)]
    np.testing.assert_allclose(member.covariance(), expected, rtol=1e-10)
    exact = [
        stats.multivariate_normal(m, c).logpdf(np.ones(3))
        for m, c in zip(raw[:, :3], expected, strict=True)
    ]
    np.testing.assert_allclose(member.log_prob(np.ones(3)), exact, rtol=1e-10)


@ALL
@pytest.mark.parametrize("batch_shape", [(), (4,), (2, 3)])
def test_gradients_reach_every_parameter(family, batch_shape):
    q = family(3, batch_shape=batch_shape, seed=0)
    assert q.batch_shape == batch_shape
    for path in (lambda z: q.sample(7, seed=0), lambda z: q.log_prob(z)):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(path(tf.ones(3)) ** 2)
        slope = tape.gradient(value, q.free_parameters)
        assert slope is not None and (np.abs(slope) > 0).all()


@ALL
def test_samples_and_their_density_agree(family):
    q = family(2, loc=0.3, scale=0.7, dtype=F64, seed=3)
    z, density = q.experimental_sample_and_log_prob(200, seed=0)
    np.testing.assert_allclose(density, q.log_prob(z), rtol=1e-12)
    diagonal = family is mean_field
    covariance = tf.linalg.diag(q.variance()) if diagonal else q.covariance()
    exact = stats.multivariate_normal(q.mean().numpy(), covariance.numpy())
    np.testing.assert_allclose(density, exact.logpdf(z), rtol=1e-10)
    # whitened, the samples are standard: a wrong factor would show
    white = np.linalg.solve(np.linalg.cholesky(covariance), (z - q.mean()).numpy().T)
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3


@ALL
def test_the_density_integrates_to_one(family):
    q = family(2, loc=0.2, scale=0.5, dtype=F64, seed=1)
    axis = np.linspace(-5, 5, 201)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    mass = np.exp(q.log_prob(grid)).sum() * 0.05**2
    np.testing.assert_allclose(mass, 1.0, atol=1e-8)


@ALL
def test_it_works_compiled(family):
    q = family(2, seed=0)
    compiled = tf.function(
        lambda s: q.experimental_sample_and_log_prob(5, seed=s), jit_compile=True
    )
    z, density = compiled(tf.constant([0, 1]))
    np.testing.assert_allclose(density, q.log_prob(z), rtol=1e-4, atol=1e-4)


# wrong arguments


@ALL
@pytest.mark.parametrize("size", [0, -1, 2.0, None, "2", (2,)])
def test_event_sizes_are_positive_ints(family, size):
    with says("expected"):
        family(size)


@pytest.mark.parametrize("size", [0, 2.5])
def test_the_error_of_an_event_size_says_what_it_is(size):
    with says("expected event_size", "latent dimensions", f"got {size!r}"):
        mean_field(size)


@ALL
@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": [1.0, float("nan")]},
        {"loc": float("nan")},
        {"loc": [1.0, 2.0, 3.0]},
        {"scale": [[1.0, 2.0]]},
    ],
)
def test_starts_are_scalars_or_vectors(family, options):
    with says("expected loc and scale", "> 0", "shape [2]", "got"):
        family(2, **options)


@pytest.mark.parametrize("rank", [0, 4, 1.5, None])
def test_ranks_fit(rank):
    with says("expected rank between 1 and 3", f"got {rank}"):
        low_rank(3, rank)
