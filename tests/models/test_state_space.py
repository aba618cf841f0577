"""State space models: the Nile, ragged lengths, holes, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from tests import oracles
from tests.statistics import close, says

tfd = tfp.distributions
X = np.array([[1100.0, 950, 1010, 700], [900, 1020, 800, 990]])[..., np.newaxis]


def local_level(steps, level=1469.1, noise=15099.0, loc=1_000.0, scale=300.0):
    def normal(mean, deviation):
        return tfd.Independent(tfd.Normal(mean, np.float64(deviation)), 1)

    return et.models.StateSpaceModel(
        normal(np.array([loc]), scale),
        lambda _, z: normal(z, level**0.5),
        lambda _, z: normal(z, noise**0.5),
        steps,
    )


def test_the_nile_by_kalman():
    y = et.data.nile(dtype="float64").y
    log_p = et.marginals.kalman(local_level(100)).log_evidence(y[None, :, None])
    assert abs(float(log_p[0]) + 639.256566) < 1e-6
    assert abs(oracles.local_level(y, 1469.1, 15099.0)[0] + 639.256566) < 1e-6


def test_densities_by_hand():
    model = local_level(4, 900.0, 4000.0)
    z = 1000 + 50 * np.random.default_rng(0).normal(size=(3, 2, 4, 1))
    log_likelihood, log_prior = model.log_joint(X).log_parts(tf.constant(z))
    close(log_likelihood, stats.norm(z, 4000**0.5).logpdf(X).sum((-1, -2)))
    first = stats.norm(1000, 300).logpdf(z[..., 0, 0])
    moves = stats.norm(0, 30).logpdf(np.diff(z[..., 0], axis=-1)).sum(-1)
    close(log_prior, first + moves)


def test_a_step_can_choose_its_density():
    level = np.array([1.0, 100.0, 10_000.0])
    model = et.models.StateSpaceModel(
        tfd.Independent(tfd.Normal(np.zeros(1), 1.0), 1),
        lambda t, z: tfd.Independent(
            tfd.Normal(z, tf.gather(level, t)[..., tf.newaxis]), 1
        ),
        lambda t, z: tfd.Independent(
            tfd.Normal(z, tf.gather(np.append(1.0, level), t)[..., tf.newaxis]), 1
        ),
        4,
    )
    z, lengths = np.random.default_rng(0).normal(size=(3, 2, 4, 1)), np.array([4, 4])
    moves = stats.norm(0, level).logpdf(np.diff(z[..., 0], axis=-1)).sum(-1)
    exact = stats.norm.logpdf(z[..., 0, 0]) + moves
    close(model.prior.log_prob(z), exact)
    close(model.log_joint({"x": X, "lengths": lengths}).log_parts(z)[1], exact)
    steps, log_p = model.steps(X), stats.norm.logpdf(z[..., 0, 0])
    for t in range(1, 4):
        log_p = log_p + steps.log_transition(t, z[..., t - 1, :], z[..., t, :])
    close(log_p, exact)
    shown = stats.norm(z, np.append(1.0, level)[:, None]).logpdf(X).sum((-1, -2))
    close(sum(steps.log_observation(t, z[..., t, :]) for t in range(4)), shown)
    close(model.log_joint(X).log_parts(z)[0], shown)


def test_padding_changes_no_bound():
    """The same path, with N(0, I) beyond the end in q: equal weights, draw by draw."""
    lengths, model = np.array([4, 2]), local_level(4)
    z = 1000 + 50 * np.random.default_rng(0).normal(size=(3, 2, 4, 1))
    z[:, 1, 2:] = np.random.default_rng(1).normal(size=(3, 2, 1))
    padding = stats.norm.logpdf(z[:, 1, 2:]).sum((-1, -2))
    for filling in (0.0, 1e9):
        x = X.copy()
        x[1, 2:] = filling
        log_p = model.log_joint({"x": x, "lengths": lengths})(tf.constant(z))
        close(log_p[:, 0], model.log_joint(X)(tf.constant(z))[:, 0])
        short = local_level(2).log_joint(X[1:, :2])(tf.constant(z[:, 1:, :2]))
        close(log_p[:, 1] - padding, short[:, 0])


def test_samples_of_an_ended_prior():
    data = {"x": X, "lengths": np.array([4, 2])}
    prior = local_level(4).log_joint(data).prior()
    assert prior.batch_shape == [2] and prior.event_shape == [4, 1]
    z = prior.sample(400, seed=0).numpy()
    assert (np.abs(z[:, 1, 2:]) < 6).all() and (np.abs(z[:, 0]) > 6).mean() > 0.9


def test_a_mask_with_holes_leaves_coordinates_out():
    model, mask = local_level(4), np.ones(X.shape, bool)
    mask[0, 1:3] = False
    x = np.where(mask, X, np.nan)
    z = 1000 + 50 * np.random.default_rng(0).normal(size=(3, 2, 4, 1))
    found = model.log_joint({"x": x, "mask": mask}).log_parts(tf.constant(z))[0]
    close(found, np.where(mask, stats.norm(z, 15099**0.5).logpdf(X), 0).sum((-1, -2)))
    both = {"x": np.nan_to_num(x), "mask": mask, "lengths": np.array([3, 4])}
    found = model.log_joint(both).log_parts(tf.constant(z))[0]
    mask[0, 3] = False
    close(found, np.where(mask, stats.norm(z, 15099**0.5).logpdf(X), 0).sum((-1, -2)))


LENGTHS = "lengths [B], whole numbers from 1 to 4"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"lengths": np.array([4, 5])}, (LENGTHS, "from 4 to 5")),
        ({"lengths": np.array([0, 4])}, (LENGTHS, "from 0 to 4", "leave a series")),
        ({"lengths": np.array([4.0, 4.0])}, (LENGTHS, "float64")),
        ({"lengths": np.array([4, 4, 4])}, (LENGTHS, "(3,)")),
        ({"mask": np.ones((2, 4), bool)}, ("of the shape of x", "(2, 4)")),
        ({"mask": np.ones((2, 4, 1))}, ("to be bool", "float64")),
        ({"mask": np.zeros((2, 4, 1), bool)}, ("no observed value", "~mask")),
    ],
)
def test_wrong_masks_and_lengths(parts, words):
    with says(*words):
        local_level(4).log_joint({"x": X, **parts})
    with says(*words):
        local_level(4).steps({"x": X, **parts})


def test_nan_without_a_mask_offers_the_mask():
    x = X.copy()
    x[0, 1] = np.nan
    for data in (x, {"x": x, "lengths": np.array([4, 4])}):
        with says("without NaN", '"mask"'):
            local_level(4).log_joint(data)


def test_another_number_of_steps():
    z = tf.constant(X[:, :2])
    found = local_level(4).with_num_steps(2).log_joint(X[:, :2])(z)
    close(found, local_level(2).log_joint(X[:, :2])(z))


def test_other_errors():
    model = local_level(4)
    with says("series of 4 steps", "(2, 3, 1)", "lengths"):
        model.log_joint(X[:, :3])
    with says("x of shape [B, T, D]", "(4, 1)"):
        model.steps(X[0])
    with says("num_steps to be a positive int", "0"):
        et.models.StateSpaceModel(model.prior, len, len, 0)
    with says("(step, state) -> distribution", "float"):
        et.models.StateSpaceModel(model.prior, 0.9, len, 3)
    with says("prior can be exchanged"):
        model.with_prior(model.prior)
