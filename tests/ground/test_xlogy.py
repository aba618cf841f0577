"""At concentration exactly 1 the score is whole, as it is just beside it."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.draws import evaluate
from elbo_tfp.ground.xlogy import exact_xlogy
from tests.statistics import close

tfd = tfp.distributions
ONE = np.float64(1)
Z = np.array([0.2, 0.7])

FAMILIES = {
    "beta": (lambda a: tfd.Beta(a, ONE), Z),
    "beta, second": (lambda b: tfd.Beta(ONE, b), Z),
    "gamma": (lambda a: tfd.Gamma(a, ONE), Z),
    "chi2": (lambda a: tfd.Chi2(2 * a), Z),
    "dirichlet": (
        lambda a: tfd.Dirichlet(tf.stack([a, ONE])),
        np.stack([Z, 1 - Z], -1),
    ),
    "weibull": (lambda a: tfd.Weibull(a, np.float64(2)), Z),
    "kumaraswamy": (lambda a: tfd.Kumaraswamy(a, ONE), Z),
    "kumaraswamy, second": (lambda b: tfd.Kumaraswamy(ONE, b), Z),
    "independent": (
        lambda a: tfd.Independent(tfd.Gamma(tf.stack([a, ONE]), ONE), 1),
        np.stack([Z, Z], -1),
    ),
    "transformed": (
        lambda a: tfp.bijectors.Exp()(tfd.Gamma(a, ONE)),
        np.exp(Z),
    ),
}


def slope(make, z, at):
    a = tf.Variable(np.float64(at))
    with tf.GradientTape() as tape:
        draws = evaluate(lambda z: make(a).log_prob(z), make(a), z, 2)
    of_q = tape.gradient(draws.log_q, a)
    return float(of_q)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_score_is_continuous_at_one(name):
    make, z = FAMILIES[name]
    at_one, beside = (slope(make, z, at) for at in (1.0, 1 + 1e-7))
    assert abs(at_one - beside) < 1e-5 < abs(beside)


def test_a_target_has_its_whole_gradient_too():
    a = tf.Variable(ONE)
    with tf.GradientTape() as tape:
        draws = evaluate(tfd.Beta(a, ONE).log_prob, tfd.Beta(ONE, ONE), Z, 2)
    # d/da log Beta(z; a, 1) = log z + 1 / a
    close(tape.gradient(draws.log_target, a), np.sum(np.log(Z) + 1))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_values_and_other_gradients_are_tensorflows(jit_compile):
    from elbo_tfp.ground.xlogy import _math

    x = tf.constant([[0.0, 0.0, 2.0, -1.0]], tf.float64)
    y = tf.constant([[0.0], [0.5], [0.5]], tf.float64)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def both(function, x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            value = function(x, y)
        return value, *tape.gradient(value, [x, y])

    before = _math.xlogy, _math.xlog1py
    for name, log, shifted in (("xlogy", np.log, 0), ("xlog1py", np.log1p, 1)):
        y_ = y + 0.25 * (1 - shifted) * tf.cast(y == 0, y.dtype)
        with exact_xlogy(), exact_xlogy():
            function = getattr(_math, name)
            value, in_x, in_y = both(function, x, y_)
        np.testing.assert_allclose(value, x * log(y_))
        np.testing.assert_allclose(in_x, np.sum(log(y_) + 0 * x, 0, keepdims=True))
        exact = np.sum(x / (shifted + y_), 1, keepdims=True)
        np.testing.assert_allclose(in_y, exact)
    assert (_math.xlogy, _math.xlog1py) == before
    with exact_xlogy():
        value, in_x, _ = both(_math.xlogy, tf.zeros([1]), tf.zeros([1]))
    assert float(value[0]) == 0 == float(in_x[0])
    assert tf.math.xlogy is not _math.xlogy or before[0] is tf.math.xlogy


def test_tfps_own_functions_are_back_after_the_last_block():
    from elbo_tfp.ground.xlogy import _math, _theirs

    def now():
        return _math.xlogy, _math.xlog1py

    assert now() == _theirs
    with pytest.raises(KeyError), exact_xlogy():
        ours = now()
        with exact_xlogy():
            assert now() == ours
        assert now() == ours and not set(ours) & set(_theirs)
        raise KeyError
    assert now() == _theirs


def test_numbers_and_infinite_slopes_are_as_they_were():
    from elbo_tfp.ground.xlogy import _math

    x = tf.constant([1.0, 2.0])
    with exact_xlogy(), tf.GradientTape() as tape:
        np.testing.assert_allclose(_math.xlogy(2.0, x), 2 * np.log([1.0, 2.0]))
        np.testing.assert_allclose(_math.xlog1py(2.0, x), 2 * np.log([2.0, 3.0]))
        tape.watch(x)
        value = _math.xlogy(x, tf.zeros([2]))
    assert np.all(np.isneginf(tape.gradient(value, x)))
