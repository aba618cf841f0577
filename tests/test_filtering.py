"""The particle filter: exact in expectation, by hand on its clouds, its gradient."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import elbo_tfp as et
from elbo_tfp.filtering import clouds, effective_sample_size
from tests import oracles
from tests.models.test_state_space import local_level
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions
X = np.array([[1100.0, 950, 1010, 700, 880]])[..., np.newaxis]
LEVEL, NOISE = 4000.0, 9000.0
MODEL = local_level(5, LEVEL, NOISE)
LOG_P = oracles.local_level(X[0, :, 0], LEVEL, NOISE)[0]


def proposal():
    """A chain beside the posterior, and wider."""
    loc = oracles.local_level(X[0, :, 0], LEVEL, NOISE)[1][:, None] + 10
    q = et.families.markov(5, loc=loc, scale=80.0, dtype=tf.float64, batch_shape=(1,))
    rows = q.free_parameters.numpy().reshape(5, 3)
    rows[:, 2] = 0.5
    return q(rows.reshape(1, -1))


@pytest.mark.parametrize(
    ("q", "options"),
    [
        (None, {}),
        (None, {"resampling": "multinomial", "threshold": 1.0}),
        (None, {"threshold": 1.0, "through_resampling": True}),
        (None, {"threshold": 0.0}),
        (proposal, {}),
        (proposal, {"resampling": "multinomial"}),
    ],
)
def test_the_mean_of_p_hat_is_p(q, options):
    q = q and q()
    run = tf.function(
        lambda seed: (
            et.particle_filter(
                MODEL, q, X, 8, sample_size=20_000, seed=seed, **options
            ).log_weights
        ),
        jit_compile=True,
    )
    ratio = np.exp(run(tf.constant([0, 1])).numpy()[:, 0] - LOG_P)
    assert_mean(ratio, 1.0, fault=0.1)


def test_the_nile_within_four_errors():
    y = et.data.nile(dtype="float64").y[None, :, None]
    run = tf.function(
        lambda: (
            et.particle_filter(
                local_level(100), None, y, 300, sample_size=200, seed=0
            ).log_weights
        ),
        jit_compile=True,
    )
    found = run().numpy()[:, 0] + 639.256566
    assert_mean(np.exp(found), 1.0, fault=0.5)
    # the gap is about half the variance
    gap, half = -found.mean(), found.var() / 2
    assert abs(gap - half) < 4 * found.std() / 200**0.5


@pytest.mark.parametrize("q", [None, proposal])
@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
def test_increments_by_hand(q, threshold):
    """Every step again in NumPy, from the particles and their ancestors."""
    q, n = q and q(), 6
    cloud = clouds(MODEL, q, X, n, sample_size=4, seed=3, threshold=threshold)
    z, ancestors = cloud.particles.numpy()[..., 0], cloud.ancestors.numpy()
    log_w, resampled = np.full([n, 4, 1], -np.log(n)), 0
    for t in range(5):
        before = np.take_along_axis(z[t - 1], ancestors[t], 0)
        if t:
            low = 1 / np.exp(2 * log_w).sum(0) < threshold * n
            resampled += low.sum()
            own = (ancestors[t] == np.arange(n)[:, None, None]).all(0)
            assert (low | own).all()
            log_w = np.where(low, -np.log(n), log_w)
        log_w = log_w + stats.norm(z[t], NOISE**0.5).logpdf(X[0, t, 0])
        if q is not None:
            start = stats.norm(1000, 300).logpdf(z[t])
            move = stats.norm(before, LEVEL**0.5).logpdf(z[t])
            given = q.given(t, tf.constant(before[..., None]) if t else None)
            log_w += (move if t else start) - given.log_prob(z[t][..., None]).numpy()
        total = special.logsumexp(log_w, 0)
        close(cloud.log_increments[t], total)
        log_w = log_w - total
        np.testing.assert_allclose(cloud.log_weights[t], log_w, atol=1e-11)
    assert (resampled > 0) == (threshold > 0)
    ess = effective_sample_size(cloud.log_weights[-1])
    close(ess, 1 / np.exp(2 * log_w).sum(0))


def test_one_particle_is_one_draw():
    q = proposal()
    draws = et.particle_filter(MODEL, q, X, 1, sample_size=(3, 2), seed=0)
    assert draws.z.shape == [3, 2, 1, 5, 1]
    close(draws.log_weights, MODEL.log_joint(X)(draws.z) - q.log_prob(draws.z))
    assert et.bounds.elbo(draws).shape == [2, 1]


def test_paths_come_from_the_posterior():
    """One path per cloud, weighted by p-hat: its mean is the exact smoother's."""
    run = tf.function(
        lambda: et.particle_filter(MODEL, None, X, 50, sample_size=4_000, seed=1),
        jit_compile=True,
    )
    draws = run()
    weights = np.exp(draws.log_weights.numpy() - LOG_P)[..., 0]
    assert_mean(
        weights[:, None] * (draws.z[:, 0, :, 0] - 1_000.0),
        oracles.local_level(X[0, :, 0], LEVEL, NOISE)[1] - 1_000.0,
        fault=20.0,
    )


@pytest.mark.parametrize("scored", [False, True])
def test_the_gradient_without_and_with_the_choice(scored):
    """E[grad p-hat] / p against the exact score, in the log of the level's variance."""

    def log_p(level):
        return oracles.local_level(X[0, :, 0], level, NOISE)[0]

    exact = (log_p(LEVEL * 1.001) - log_p(LEVEL / 1.001)) / (2 * np.log(1.001))
    free, size = tf.constant(np.log(LEVEL)), 20_000

    def ratio(free):
        model = et.models.StateSpaceModel(
            MODEL.initial_state_prior,
            lambda _, z: tfd.Independent(tfd.Normal(z, tf.exp(free / 2)), 1),
            lambda _, z: MODEL.observation_fn(0, z),
            5,
        )
        draws = et.particle_filter(
            *(model, None, X, 4),
            sample_size=size,
            seed=5,
            threshold=1.0,
            through_resampling=scored,
        )
        return tf.exp(draws.log_weights[:, 0] - LOG_P)

    @tf.function(jit_compile=True)
    def gradients():
        frees = tf.fill([size], free)
        with tf.GradientTape() as tape:
            tape.watch(frees)
            # one parameter per filter: their gradients stay apart
            value = ratio(frees[:, None, None])
        return tape.gradient(value, frees)

    found = gradients().numpy()
    if scored:
        assert_mean(found, exact, fault=0.15)
    else:
        away = (found.mean() - exact) / (found.std() / size**0.5)
        assert abs(away) > 8, f"{found.mean()} and {exact}: no bias to speak of"


def test_padding_and_holes():
    lengths, mask = np.array([5, 3]), np.ones((2, 5, 1), bool)
    mask[0, 2] = False
    x = np.repeat(X, 2, 0)
    x[0, 2] = np.nan
    data = {"x": x, "mask": mask, "lengths": lengths}
    padded = et.families.markov(5, dtype=tf.float64, batch_shape=(2,))
    rows = np.repeat(proposal().loc, 2, 0), np.full((2, 5, 1), 100.0)
    rows = np.concatenate([rows[0], rows[1], np.zeros((2, 5, 1))], -1)
    rows[1, 3:] = 0.0
    q = padded(rows.reshape(2, -1))
    for q_ in (None, q):
        found = clouds(MODEL, q_, data, 4, seed=0, sample_size=3).log_increments
        assert np.max(np.abs(found[3:, :, 1])) < 1e-12
        assert np.min(np.abs(found[3:, :, 0])) > 1e-3
        assert (np.abs(found[2, :, 0]) < 1e-12).all() == (q_ is None)


def test_bounds_of_its_draws_are_fivo():
    draws = et.particle_filter(MODEL, None, X, 10, sample_size=50, seed=0)
    fivo, many = et.bounds.elbo(draws), et.bounds.iwae(draws)
    close(fivo, draws.log_weights.numpy().mean(0))
    assert fivo[0] < many[0] < LOG_P + 1


def test_same_seed_same_cloud():
    one, two, three = (
        et.particle_filter(MODEL, None, X, 10, seed=s).log_weights for s in (7, 7, 8)
    )
    assert one == two and one != three


def test_weights_that_vanish():
    far = X.copy()
    far[0, 2] = 1e200
    with says("finite, positive weight", "none at step 2", "sees x"):
        et.particle_filter(MODEL, None, far, 5, seed=0)
    run = tf.function(lambda: et.particle_filter(MODEL, None, far, 5, seed=0)[3:])
    assert run()[1].numpy() == -np.inf


def test_errors():
    with says("num_particles to be a positive int", "0"):
        et.particle_filter(MODEL, None, X, 0, seed=0)
    with says("threshold to be a number in [0, 1]", "1.5"):
        et.particle_filter(MODEL, None, X, 5, threshold=1.5, seed=0)
    with says("'systematic', 'multinomial' or a function", "'residual'"):
        et.particle_filter(MODEL, None, X, 5, resampling="residual", seed=0)
    with says("a state space model", "LatentVariableModel", "StateSpaceModel"):
        et.particle_filter(et.models.normal_normal(), None, X, 5, seed=0)
    with says("q to have given(step, previous)", "Normal", "families.markov"):
        et.particle_filter(MODEL, tfd.Normal(0.0, 1.0), X, 5, seed=0)
    with says("sample_size to be a positive int"):
        et.particle_filter(MODEL, None, X, 5, sample_size=0, seed=0)


def test_two_dtypes_are_named():
    x = np.asarray(X)
    other = "float32" if x.dtype == np.float64 else "float64"
    with says("one dtype", f"latents {x.dtype}, x {other}", "Cast x"):
        et.particle_filter(MODEL, None, x.astype(other), 5, seed=0)
    with says("one dtype", f"x {other}"):
        et.filtering.clouds(MODEL, None, {"x": x.astype(other)}, 5, seed=0)
    q = et.families.markov(x.shape[1], 1, dtype=other, batch_shape=(len(x),))
    with says("one dtype", f"x {x.dtype}, q {other}"):
        et.particle_filter(MODEL, q, x, 5, seed=0)
