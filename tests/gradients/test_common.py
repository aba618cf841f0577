"""One value, whatever the estimator: value and gradient are separate things."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import bounds, gradients
from tests.statistics import close, says

tfd = tfp.distributions
ESTIMATORS = [
    name
    for name in gradients.__all__
    if {"surrogate_posterior", "importance_sample_size"}
    <= set(inspect.signature(getattr(gradients, name)).parameters)
    and name not in {"per_sample", "report"}
]
# what an estimator needs beyond a continuous q and any (S, K)
DISCRETE_ONLY = {"relaxed"}
ONE_IMPORTANCE_SAMPLE = {"sticking_the_landing", "leave_one_out"}
NEEDS_SEVERAL = {"vimco"}


def scene(discrete):
    """A model of two bits or two numbers that shape three, at four data."""
    x = tf.constant(np.random.default_rng(0).normal(size=[4, 3]))
    logits = tf.constant([[0.3, -1.0], [0.0, 0.5], [2.0, 0.1], [-0.4, 0.0]], tf.float64)
    weights = tf.constant([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]], tf.float64)

    def likelihood(z):
        mean = tf.linalg.matvec(weights, z)
        return tfd.Independent(tfd.Normal(mean, tf.ones([], tf.float64)), 1)

    if discrete:
        prior = tfd.Bernoulli(logits=tf.zeros(2, tf.float64), dtype=tf.float64)
        q = tfd.Bernoulli(logits=logits, dtype=tf.float64)
    else:
        prior = tfd.Normal(tf.zeros(2, tf.float64), tf.ones([], tf.float64))
        q = tfd.Normal(logits, tf.ones([], tf.float64))
    model = et.LatentVariableModel(tfd.Independent(prior, 1), likelihood)
    return model.log_joint(x), tfd.Independent(q, 1)


@pytest.mark.parametrize("sizes", [(3, 1), (2, 4)])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_estimators_return_one_value(name, sizes):
    if sizes[1] > 1 and name in ONE_IMPORTANCE_SAMPLE:
        return
    if sizes[1] == 1 and name in NEEDS_SEVERAL:
        return
    target, q = scene(discrete=name in DISCRETE_ONLY)
    found = getattr(gradients, name)(
        target, q, sample_size=sizes[0], importance_sample_size=sizes[1], seed=5
    )
    draws = et.draw(target, q, sizes, seed=5)
    expected = tf.reduce_mean(bounds.iwae(draws, axis=1), 0)
    np.testing.assert_allclose(found.value, expected, rtol=1e-13)
    np.testing.assert_allclose(found.elbo, bounds.elbo(draws, axis=(0, 1)), rtol=1e-13)
    # to the last bit, or a trace of the loss would depend on the estimator
    np.testing.assert_array_equal(found.surrogate, found.value)
    assert found.value.shape == found.elbo.shape == (4,)


ANY_BOUND = {"reparameterized", "doubly_reparameterized", "score_function"}
OWN_BOUND = {"vimco": bounds.iwae, "relaxed": bounds.iwae}


def renyi(draws):
    return bounds.renyi(draws, alpha=np.float32(0.5))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_value_of_another_bound_or_a_reason(name):
    target, q = scene(discrete=name in DISCRETE_ONLY)
    estimator, sizes = getattr(gradients, name), (np.int64(2), np.int32(3))
    sizes = sizes if name not in ONE_IMPORTANCE_SAMPLE else (2, 1)
    options = dict(zip(("sample_size", "importance_sample_size"), sizes, strict=True))
    draws = et.draw(target, q, sizes, seed=5)
    if name in ANY_BOUND:
        found = estimator(target, q, seed=5, bound=renyi, **options)
        expected = tf.reduce_mean(bounds.renyi(draws, 0.5, axis=1), 0)
    else:
        own = OWN_BOUND.get(name, bounds.elbo)
        with says(f"bound=bounds.{own.__name__} for {name}: ", "Use reparameterized"):
            estimator(target, q, seed=5, bound=renyi, **options)
        found = estimator(target, q, seed=5, bound=own, **options)
        expected = tf.reduce_mean(bounds.iwae(draws, axis=1), 0)
    np.testing.assert_allclose(found.value, expected, rtol=1e-13)
    np.testing.assert_array_equal(found.surrogate, found.value)
    np.testing.assert_allclose(found.elbo, bounds.elbo(draws, axis=(0, 1)), rtol=1e-13)


@pytest.mark.parametrize("name", sorted(ANY_BOUND))
def test_what_is_no_bound(name):
    target, q = scene(discrete=False)
    estimator = getattr(gradients, name)
    for bound, got in [
        (0.5, "got 0.5"),
        (lambda d: tf.reduce_mean(bounds.elbo(d)), "got shape ()"),
        (lambda d: tf.convert_to_tensor(getattr(d, "log_weights", d)), "got shape (1,"),
    ]:
        with says("bound to be a function of Draws", "one number per datum", got):
            estimator(target, q, seed=0, bound=bound)
    if name != "doubly_reparameterized":
        with says("kl_weight=1 and free_bits=0 with bound=", "kl_weight=2.0", "lambda"):
            estimator(target, q, seed=0, bound=bounds.elbo, kl_weight=2.0)


def test_a_weight_of_one_s_own_goes_into_the_bound():
    target, q = scene(discrete=False)
    options = {"sample_size": 3, "seed": 0}
    found = gradients.reparameterized(
        target, q, bound=lambda d: bounds.elbo(d, kl_weight=2.0), **options
    )
    expected = gradients.reparameterized(target, q, kl_weight=2.0, **options)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-13)


def test_the_estimators_were_found():
    assert set(ESTIMATORS) >= {"reparameterized", "sticking_the_landing"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_value_and_elbo_carry_no_gradient(name):
    target, q = scene(discrete=name in DISCRETE_ONLY)
    shift = tf.Variable(tf.zeros([], tf.float64))
    model = et.LatentVariableModel(
        target.model.prior,
        lambda z: tfd.Independent(
            tfd.Normal(tf.zeros(3, tf.float64) + shift + 0 * z[..., :1], 1.0), 1
        ),
    )
    sizes = {"sample_size": 2, "importance_sample_size": 2}
    if name in ONE_IMPORTANCE_SAMPLE:
        sizes["importance_sample_size"] = 1
    with tf.GradientTape(persistent=True) as tape:
        found = getattr(gradients, name)(model.log_joint(target.x), q, seed=0, **sizes)
    assert tape.gradient(found.value, shift) is None
    assert tape.gradient(found.elbo, shift) is None
    # d log p(x | z) / d shift = sum of x - shift, whatever z is
    close(tape.gradient(found.surrogate, shift), tf.reduce_sum(target.x))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_says_what_it_requires(name):
    text = inspect.getdoc(getattr(gradients, name))
    for part in ("**Requires:**", "Source:", "Raises:"):
        assert part in text, f"{name} has no {part}"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_gives_the_waist_s_errors(name):
    target, q = scene(discrete=name in DISCRETE_ONLY)
    estimator = getattr(gradients, name)
    with says("expected sample_size"):
        estimator(target, q, sample_size=0, seed=0)
    with says("expected seed"):
        estimator(target, q, seed=None)
    with says("expected"):
        estimator(target._replace(x=target.x[:3]), q, seed=0)
