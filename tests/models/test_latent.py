"""Models: prior, likelihood, global prior; data that cannot be weighed are errors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp.models import LogJoint, from_joint
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions
STANDARD = tfd.Normal(0.0, 1.0)


def normal(z):
    return tfd.Normal(z, 1.0)


MODEL = et.LatentVariableModel(STANDARD, normal)
SHARED = et.LatentVariableModel(
    STANDARD, lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0), tfd.Normal(0.0, 2.0)
)
X = tf.constant([1.0, -2.0, 0.5])


def test_the_target_is_the_joint_density():
    target = MODEL.log_joint(X)
    assert isinstance(target, LogJoint)
    z = tf.constant([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    close(target(z), STANDARD.log_prob(z) + normal(z).log_prob(X))
    close(target(z[0]), STANDARD.log_prob(z[0]) + normal(z[0]).log_prob(X))


def test_a_target_without_the_data_s_rows_is_an_error():
    for z in (tf.zeros(2), tf.zeros([2, 2]), tf.zeros([])):
        with says("expected"):
            MODEL.log_joint(X)(z)


def test_a_prior_may_be_a_callable_built_afresh():
    loc = tf.Variable(0.0)
    model = et.LatentVariableModel(lambda: tfd.Normal(2 * loc, 1.0), normal)
    loc.assign(3.0)
    assert float(model.prior.mean()) == 6.0
    with tf.GradientTape() as tape:
        density = model.prior.log_prob(7.0)
    close(tape.gradient(density, loc), 2.0)
    assert model.global_prior is None


def test_simulation_follows_the_model():
    z, x = MODEL.sample(20_000, seed=0)
    assert z.shape == x.shape == (20_000,)
    assert_mean(np.stack([z**2, z * x, x**2], 1), [1, 1, 2], fault=0.2)
    np.testing.assert_array_equal(z, MODEL.sample(20_000, seed=0)[0])
    (z, w), x = SHARED.sample(20_000, seed=1)
    assert w.shape == ()
    assert_mean(np.stack([z, x - w, z * (x - w)], 1), [0, 0, 1], fault=0.1)


def test_simulated_noise_is_not_the_latent_s():
    z, x = MODEL.sample(20_000, seed=0)
    assert_mean((x - z) * z, 0.0, fault=0.1)


def test_another_prior_keeps_the_likelihood_and_forgets_exact_answers():
    model = et.models.normal_normal().with_prior(tfd.Normal(5.0, 1.0))
    assert float(model.prior.mean()) == 5.0
    close(model.likelihood(2.0).mean(), 2.0)
    with says("no exact log_evidence"):
        model.log_evidence(1.0)
    shared = SHARED.with_prior(tfd.Normal(5.0, 1.0))
    assert float(shared.global_prior.stddev()) == 2.0


@pytest.mark.parametrize("name", ["log_evidence", "posterior"])
def test_exact_answers_are_known_or_an_error(name):
    with says(f"no exact {name}", f"pass {name}=", "gaps.evidence"):
        getattr(MODEL, name)(1.0)
    with says("without NaN", "got 1 of 2"):
        getattr(et.models.normal_normal(), name)([1.0, np.nan])


# joint distributions


def test_a_joint_distribution_and_back():
    joint = MODEL.joint()
    close(joint.log_prob(z=0.3, x=1.0), MODEL.log_joint(1.0)(tf.constant(0.3)))
    again = from_joint(joint)
    close(again.log_joint(X)(X), MODEL.log_joint(X)(X))
    renamed = tfd.JointDistributionNamed({"u": STANDARD, "y": lambda u: normal(u)})
    close(
        from_joint(renamed, latent="u", observed="y").log_joint(X)(X),
        again.log_joint(X)(X),
    )


def test_a_shared_latent_has_no_joint_of_one_datum():
    with says("without a global prior", "once per datum", "log_joint"):
        SHARED.joint()


@pytest.mark.parametrize(
    ("joint", "got"),
    [
        (
            tfd.JointDistributionNamed({"z": STANDARD, "y": lambda z: normal(z)}),
            "['y', 'z']",
        ),
        (tfd.JointDistributionSequential([STANDARD]), "JointDistributionSequential"),
        (STANDARD, "Normal"),
    ],
)
def test_other_joints_go_by_a_pin(joint, got):
    with says("JointDistributionNamed", "'z' and 'x'", got, "experimental_pin"):
        from_joint(joint)


def test_an_observed_part_depends_on_the_latent():
    with says("expected 'x' to depend on 'z'"):
        from_joint(tfd.JointDistributionNamed({"z": STANDARD, "x": STANDARD}))


# wrong models


@pytest.mark.parametrize("prior", [None, 1.0, "normal", tfd.Normal])
def test_a_prior_is_a_distribution_or_returns_one(prior):
    with says("expected prior to be a distribution", "got"):
        et.LatentVariableModel(prior, normal)
    with says("expected global_prior"):
        et.LatentVariableModel(STANDARD, normal, 1.0)


def test_a_callable_prior_returns_a_distribution():
    with says("return a distribution", "got float"):
        _ = et.LatentVariableModel(lambda: 1.0, normal).prior


@pytest.mark.parametrize("likelihood", [STANDARD, None, 1.0])
def test_a_likelihood_is_callable(likelihood):
    with says(
        "expected likelihood to be a callable", type(likelihood).__name__, "lambda z"
    ):
        et.LatentVariableModel(STANDARD, likelihood)


def test_a_likelihood_returns_a_distribution():
    with says("return a distribution over x", "got EagerTensor"):
        et.LatentVariableModel(STANDARD, lambda z: z).log_joint(1.0)(tf.constant(0.0))


def keras_priors():
    import keras

    v = keras.Variable(0.5, name="loc")
    bijector = tfp.bijectors.Shift(v)
    yield tfd.Normal(v, 1.0)
    yield tfd.Independent(tfd.Normal([0.0], keras.Variable([1.0])), 1)
    yield tfd.TransformedDistribution(STANDARD, bijector)
    yield tfd.MixtureSameFamily(
        tfd.Categorical(logits=[0.0, 0.0]), tfd.Normal(keras.Variable([0.0, 1.0]), 1.0)
    )


def test_a_prior_built_once_from_keras_variables_has_no_gradient():
    for prior in keras_priors():
        for arguments in ((prior, normal), (STANDARD, normal, prior)):
            with says("to be a callable", "Keras variables", "no gradient", "=lambda"):
                et.LatentVariableModel(*arguments)
    et.LatentVariableModel(lambda: next(keras_priors()), normal)
    et.LatentVariableModel(tfd.Normal(tf.Variable(0.0), 1.0), normal)


def test_an_error_of_the_likelihood_names_its_shapes():
    class Picky(tfd.Normal):
        def _log_prob(self, x):
            raise ValueError("only non-negative ones")

    model = et.LatentVariableModel(STANDARD, lambda z: Picky(z, 1.0))
    with says("got x of shape ()", "likelihood of batch shape ()", "non-negative"):
        model.log_joint(-1.0)(tf.constant(0.0))


# wrong data


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        ([1.0, np.nan, np.nan], ["without NaN", "got 2 of 3", "mask"]),
        (tf.zeros([0]), ["at least one datum", "(0,)"]),
        (tf.zeros([0, 4]), ["at least one datum", "(0, 4)"]),
    ],
)
def test_data_that_give_no_number_are_errors(x, parts):
    with says("expected", *parts):
        MODEL.log_joint(x)


def test_data_of_unknown_rank_are_an_error():
    unknown = tf.function(
        lambda x: MODEL.log_joint(x).x, input_signature=[tf.TensorSpec(None)]
    )
    with says("known rank"):
        unknown(X)


def test_a_value_outside_the_support_is_no_bound():
    model = et.LatentVariableModel(STANDARD, normal, support=lambda x: "3 odd values")
    with says("that the likelihood can give", "3 odd values"):
        model.log_joint(X)


@pytest.mark.parametrize("num_data", [None])
def test_forgetting_num_data_is_an_error(num_data):
    with says("num_data", "whole data set", "got num_data=None"):
        SHARED.log_joint(X)


def test_num_data_without_a_global_prior_is_an_error():
    with says(
        "num_data goes with a global prior", "got num_data=3", "global_prior=None"
    ):
        MODEL.log_joint(X, num_data=3)


@pytest.mark.parametrize("num_data", [2, 0, -1, np.int64(2), np.nan, 3.5, "3"])
def test_num_data_is_at_least_the_batch(num_data):
    with says("at least the size of x", f"got num_data={num_data}", "(3,)"):
        SHARED.log_joint(X, num_data=num_data)
    assert SHARED.log_joint(X, num_data=3).num_data == 3
    SHARED.log_joint(X, num_data=tf.constant(2))


@pytest.mark.parametrize(
    ("z", "got"),
    [
        (tf.zeros([3, 1]), "event shape ()"),
        (tf.zeros([3], tf.float64), "float64"),
        ((tf.zeros(3), tf.zeros(3)), "(3,) float32, (3,) float32"),
    ],
)
def test_latents_that_the_prior_does_not_have(z, got):
    prior = tfd.Normal(0.0, 1.0)
    model = et.LatentVariableModel(prior, lambda z: tfd.Normal(tf.zeros(3), 1.0))
    with pytest.raises(ValueError) as caught:
        model.log_joint(tf.zeros(3))(z)
    assert got in str(caught.value)


def test_a_likelihood_that_gives_its_event_shape_as_a_tensor_only():
    def likelihood(z):
        def given(x):
            # x_d | x_<d, z ~ N(z + x_d-1 / 2, 1)
            before = tf.concat([tf.zeros_like(x[..., :1]), x[..., :-1]], -1)
            loc = z[..., tf.newaxis] + before / 2
            return tfd.Independent(tfd.Normal(loc, tf.ones([], z.dtype)), 1)

        start = tf.zeros(tf.concat([tf.shape(z), [3]], 0), z.dtype)
        return tfd.Autoregressive(given, start, num_steps=3)

    model = et.LatentVariableModel(tfd.Normal(np.zeros([]), 1.0), likelihood)
    x = np.random.default_rng(0).normal(size=[4, 3])
    q = tfd.Normal(np.zeros(4), 1.0)
    draws = et.draw(model.log_joint(x), q, 5, seed=0)
    before = np.concatenate([np.zeros([4, 1]), x[:, :-1]], 1)
    exact = stats.norm.logpdf(x, draws.z.numpy()[..., None] + before / 2).sum(-1)
    np.testing.assert_allclose(draws.log_likelihood, exact, rtol=1e-12)
    with says("one number per sample and datum", "(4, 2)"):
        et.draw(model.log_joint(x[:, :2]), q, 5, seed=0)
    with says("one number per sample and datum", "(1, 3)"):
        et.draw(model.log_joint(x[:1]), q, 5, seed=0)
    # x - before / 2 is three readings of z
    exact = stats.multivariate_normal(np.zeros(3), np.eye(3) + 1)
    found = et.gaps.evidence(model, x, "quadrature").estimate
    np.testing.assert_allclose(found, exact.logpdf(x - before / 2), atol=1e-8)
