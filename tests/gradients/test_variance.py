"""`per_sample` and `report`: the same numbers as the estimator, seed by seed."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp import gradients
from elbo_tfp.ground import compiled as cache
from elbo_tfp.ground.seeds import fold_in
from tests.changing import PLACES, kept, model_of
from tests.statistics import assert_mean

tfd = tfp.distributions
X = np.array([[0.5, -1.0], [1.0, 0.3], [-0.2, 0.1]])


@pytest.fixture(scope="module")
def problem():
    """A linear model with a trainable bias, and a mean-field q."""
    bias = tf.Variable(np.array([0.1, -0.2]), name="bias")
    weights = np.array([[1.0], [0.5]])
    model = et.models.linear_gaussian(weights, bias, 0.8)
    q = et.families.mean_field(1, batch_shape=[3], dtype=tf.float64, scale=0.5)
    return model.log_joint(X), q, [q.free_parameters, bias]


def one(estimator, problem, seed, **options):
    target, q, variables = problem
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(estimator(target, q, seed=seed, **options).surrogate)
    return tape.gradient(bound, variables)


@pytest.mark.parametrize("size", [1, 3])
def test_each_is_the_estimators_own_gradient(problem, size):
    estimator = gradients.doubly_reparameterized
    found = gradients.per_sample(
        estimator, *problem, num_samples=4, importance_sample_size=size, seed=5
    )
    assert [g.shape for g in found] == [(4, 3, 2), (4, 2)]
    for i in (0, 3):
        expected = one(estimator, problem, fold_in(5, i), importance_sample_size=size)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-10)
    assert not np.allclose(found[0][0], found[0][1])


def test_options_reach_the_estimator(problem):
    plain = gradients.per_sample(
        gradients.reparameterized, *problem, num_samples=2, seed=5, kl_weight=0.0
    )
    expected = one(gradients.reparameterized, problem, fold_in(5, 1), kl_weight=0.0)
    np.testing.assert_allclose(plain[0][1], expected[0], rtol=1e-10)
    pairs = gradients.per_sample(
        gradients.sticking_the_landing, *problem, num_samples=2, sample_size=3, seed=5
    )
    expected = one(
        gradients.sticking_the_landing, problem, fold_in(5, 1), sample_size=3
    )
    np.testing.assert_allclose(pairs[0][1], expected[0], rtol=1e-10)


def test_unused_variables_get_zeros(problem):
    target, q, _ = problem
    unused = tf.Variable([1.0, 2.0])
    (found,) = gradients.per_sample(
        gradients.reparameterized, target, q, [unused], num_samples=3, seed=0
    )
    np.testing.assert_array_equal(found, np.zeros([3, 2], np.float32))


def test_a_network_of_keras_is_rebuilt_for_each_gradient():
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    family = et.families.mean_field(1)
    encoder = et.Encoder(network, family)
    x = X.astype(np.float32)
    model = et.models.linear_gaussian(np.array([[1.0], [0.5]], np.float32))
    found = gradients.per_sample(
        gradients.sticking_the_landing,
        model.log_joint(x),
        lambda: encoder(x),
        network.trainable_weights,
        num_samples=5,
        seed=0,
        jit_compile=True,
    )
    assert [g.shape for g in found] == [(5, 2, 2), (5, 2)]
    assert all(np.std(g, 0).min() > 0 for g in found)
    rows = gradients.report(
        gradients.reparameterized,
        model.log_joint(x),
        lambda: encoder(x),
        num_samples=4,
        seed=0,
    ).rows
    assert {row.mean.shape for row in rows} == {(2, 2), (2,)}


def test_report_is_mean_error_and_ratio(problem):
    found = gradients.report(
        gradients.reparameterized, *problem, num_samples=50, seed=3, sample_size=2
    )
    samples = gradients.per_sample(
        gradients.reparameterized, *problem, num_samples=50, seed=3, sample_size=2
    )
    assert found.num_samples == 50
    assert [row.name for row in found.rows] == ["free_parameters", "bias"]
    for row, g in zip(found.rows, samples, strict=True):
        mean, spread = np.mean(g, 0), np.std(g, 0, ddof=1)
        assert row.estimator == "reparameterized"
        np.testing.assert_allclose(row.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(row.standard_error, spread / 50**0.5, rtol=1e-10)
        np.testing.assert_allclose(row.snr, np.abs(mean) / spread, rtol=1e-10)


def test_report_compares_estimators_on_variables_it_finds(problem):
    target, q, _ = problem
    found = gradients.report(
        {"plain": gradients.reparameterized, "path": gradients.sticking_the_landing},
        target,
        q,
        num_samples=10,
        seed=0,
    )
    assert [(r.estimator, r.name) for r in found.rows] == [
        ("plain", "bias"),
        ("plain", "free_parameters"),
        ("path", "bias"),
        ("path", "free_parameters"),
    ]
    # the model's gradient is the same number under both
    np.testing.assert_allclose(found.rows[0].mean, found.rows[2].mean, rtol=1e-10)


def row(name, mean, error, snr, estimator="e"):
    return gradients.variance.ParameterGradient(
        estimator, name, *(np.asarray(v) for v in (mean, error, snr))
    )


def test_tables():
    report = gradients.GradientReport(
        (
            row("loc<0>", [3.0, 4.0], [0.3, 0.4], [5.0, 5.0]),
            row("kernel", 2.0, 0.1, 0.01, "longer"),
        ),
        100,
    )
    assert report.snr_floor == pytest.approx(0.2)
    assert str(report).splitlines() == [
        "estimator  parameter  shape  |mean|  |error|  median SNR",
        "e          loc<0>     2           5      0.5           5",
        "longer     kernel     1           2      0.1       < 0.2",
    ]
    page = report._repr_html_()
    assert "<caption>Gradients over 100 samples</caption>" in page
    assert "<td>loc&lt;0&gt;</td>" in page and "<td>&lt; 0.2</td>" in page
    assert page.count("<tr>") == 3 and page.count("<td>") == 12
    assert page.count('<th scope="col">') == 6
    assert not re.search(r"style=|class=", page)


def test_an_exact_gradient_has_no_noise():
    loc = tf.Variable(np.float64(2.5))
    rows = gradients.report(
        gradients.sticking_the_landing,
        lambda z: -0.5 * z**2,
        lambda: tfd.Normal(loc, np.float64(1.0)),
        num_samples=4,
        seed=0,
    ).rows
    # q = N(2.5, 1) for N(0, 1): every sample's gradient is -2.5
    np.testing.assert_allclose(rows[0].mean, -2.5)
    assert rows[0].snr > 1e10
    loc.assign(0.0)
    rows = gradients.report(
        gradients.sticking_the_landing,
        lambda z: 0.0 * z - 0.5 * z**2,
        lambda: tfd.Normal(tf.stop_gradient(loc), np.float64(1.0)),
        [loc],
        num_samples=4,
        seed=0,
    ).rows
    assert rows[0].mean == 0 and rows[0].snr == 0


def test_names_stay_apart():
    twins = [tf.Variable(1.0, name="kernel") for _ in range(2)]
    found = gradients.report(
        gradients.reparameterized,
        lambda z: -z * twins[0],
        lambda: tfd.Normal(twins[1], 1.0),
        twins,
        num_samples=3,
        seed=0,
    )
    assert [r.name for r in found.rows] == ["kernel_0", "kernel_1"]


@pytest.mark.parametrize("number", [0, -1, True])
def test_num_samples_is_positive(problem, number):
    with pytest.raises(ValueError, match="num_samples to be a positive int"):
        gradients.per_sample(
            gradients.reparameterized, *problem, num_samples=number, seed=0
        )


def test_a_report_needs_two_gradients(problem):
    with pytest.raises(ValueError, match="num_samples to be an int >= 2"):
        gradients.report(gradients.reparameterized, *problem, num_samples=1, seed=0)


def test_variables_are_a_list(problem):
    target, q, variables = problem
    for wrong in ([], variables[1], None):
        with pytest.raises(ValueError, match="expected variables to be a list"):
            gradients.per_sample(
                gradients.reparameterized, target, q, wrong, num_samples=2, seed=0
            )
    with pytest.raises(ValueError, match="expected variables to be a list"):
        gradients.report(
            gradients.reparameterized,
            lambda z: -z,
            tfd.Normal(0.0, 1.0),
            num_samples=2,
            seed=0,
        )


@pytest.mark.parametrize("place", PLACES)
def test_a_setting_that_changed_is_seen_and_other_values_compile_nothing(place):
    """At q = N(m, 1) the mean of d ELBO / d m is (x - m) / s^2 - m, s the noise."""
    read, change = kept(place)
    model, x, counts = model_of(read, 1), np.ones([1, 1]), []
    cache.clear()
    for scale, start in ((1.0, 0.0), (1.0, 0.2), (3.0, 0.0)):
        change(scale)
        m = tf.Variable([[start]], dtype=tf.float64)
        (found,) = gradients.per_sample(
            gradients.reparameterized,
            model.log_joint(x),
            lambda m=m: tfd.Independent(tfd.Normal(m, tf.ones_like(m)), 1),
            [m],
            num_samples=2_000,
            seed=0,
        )
        assert_mean(found[:, 0, 0], (1 - start) / scale**2 - start, fault=0.5)
        counts.append(cache.count())
    assert counts[0] == counts[1] == 1
