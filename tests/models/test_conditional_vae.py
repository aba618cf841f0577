"""A conditional VAE: its bound against quadrature, its reports, its refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.models import conditional_vae
from tests.statistics import says

tfd = tfp.distributions
RNG = np.random.default_rng(0)
CLASSES = np.array([0, 2, 1, 2, 0])
PIXELS = RNG.integers(0, 2, (5, 3)).astype("float64")
BY_CLASS = {"x": PIXELS, "given": CLASSES}
BY_NUMBERS = {"x": PIXELS, "given": RNG.normal(size=(5, 2, 2))}
KINDS = [({"num_classes": 3}, BY_CLASS), ({"given_shape": (2, 2)}, BY_NUMBERS)]
SMALL = {"hidden": (5,), "activation": "tanh", "dtype": tf.float64, "seed": 0}
PRIORS = ["conditional", "standard"]


def small(latent_size=1, **more):
    return conditional_vae(3, latent_size, **{**SMALL, **more})


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("kind", "data"), KINDS)
def test_iwae_and_evidence_agree_with_quadrature(kind, data, prior):
    model, encoder = small(prior=prior, **kind)
    target = model.log_joint(data)
    grid, h = np.linspace(-12, 12, 2_001, retstep=True)
    z = tf.broadcast_to(grid[:, None, None], [2_001, 5, 1])
    exact = np.log(h * np.exp(target(z)).sum(0))
    q = et.families.mean_field(1, scale=2.0, batch_shape=[5], dtype=tf.float64).current
    draws = et.draw(target, q, 4_000, seed=0)
    np.testing.assert_allclose(et.bounds.iwae(draws), exact, atol=0.05)
    found = et.evidence.estimate(model, data, surrogate_posterior=q, seed=0)
    assert np.all(abs(found.estimate - exact) < 4 * found.standard_error + 0.002)
    # the same density where the condition is fixed beforehand
    at_c = model.given(data["given"]).log_joint(PIXELS)
    np.testing.assert_allclose(at_c(z[:7]), target(z[:7]), rtol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("kind", "data"), KINDS)
def test_every_network_sees_its_own_row_of_the_condition(kind, data, prior):
    model, encoder = small(2, prior=prior, **kind)
    z = tf.constant(RNG.normal(size=(4, 5, 2)))
    target = model.log_joint(data)
    whole = target.likelihood(z).mean(), encoder(data).mean(), target(z)
    other = {**data, "given": data["given"][[1, 0, 2, 4, 3]]}
    there = model.log_joint(other)
    changed = there.likelihood(z).mean(), encoder(other).mean(), there(z)
    # row 2 alone kept its condition
    for before, after, axis in zip(whole, changed, (1, 0, 1), strict=True):
        same = np.isclose(before, after, rtol=1e-12)
        rest = tuple(i for i in range(same.ndim) if i != axis)
        np.testing.assert_array_equal(same.all(rest), [0, 0, 1, 0, 0])
    moved = prior == "conditional"
    assert (model.prior_at(data).batch_shape.rank == 1) == moved
    for i in range(5):
        row = {k: v[i : i + 1] for k, v in data.items()}
        np.testing.assert_allclose(
            model.log_joint(row)(z[:, i : i + 1])[:, 0], whole[2][:, i], rtol=1e-12
        )


def test_standard_prior_and_two_sample_axes():
    model, _ = small(2, prior="standard", num_classes=3)
    prior = model.prior
    np.testing.assert_array_equal(prior.mean(), [0, 0])
    np.testing.assert_array_equal(prior.stddev(), [1, 1])
    z = tf.constant(RNG.normal(size=(2, 3, 5, 2)))
    target = model.log_joint(BY_CLASS)
    flat = tf.reshape(target(tf.reshape(z, [6, 5, 2])), [2, 3, 5])
    np.testing.assert_allclose(target(z), flat, rtol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_reports_run(prior):
    model, encoder = small(prior=prior, num_classes=3)
    gap = et.gaps.gap_report(
        model, encoder, BY_CLASS, sample_size=200, num_steps=50, max_rounds=1, seed=0
    )
    assert np.isfinite(gap.evidence.mean.value) and gap.amortization_gap.mean.value > 0
    collapse = et.gaps.collapse_report(model, encoder, BY_CLASS, sample_size=20, seed=0)
    q = encoder(BY_CLASS)
    exact = tfd.kl_divergence(q, model.prior_at(BY_CLASS)).numpy().mean()
    found = collapse.kl.mean
    assert abs(found.value - exact) < 4 * found.noise_error + 1e-12


def test_training_tells_the_classes_apart_and_compiles():
    data = {"x": np.eye(3, dtype="float32")[[0, 1, 2] * 40], "given": [0, 1, 2] * 40}
    data["given"] = np.array(data["given"])
    model, encoder = conditional_vae(3, 1, num_classes=3, hidden=(8,), seed=1)
    et.fit(
        lambda batch, seed: et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), seed=seed
        ),
        num_steps=300,
        data=data,
        batch_size=30,
        seed=0,
        progress=False,
        optimizer=keras.optimizers.Adam(0.03),
    )
    z, x = model.given(np.arange(3)).sample(200, seed=0)
    assert z.shape == (200, 3, 1)
    np.testing.assert_allclose(np.mean(x, 0), np.eye(3), atol=0.1)


def test_it_starts_at_its_seed():
    first, again, other = (
        small(num_classes=3, seed=s)[0].log_joint(BY_CLASS)(tf.ones([5, 1], tf.float64))
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"num_classes": None}, ["given_shape", "num_classes", "one of the two"]),
        ({"given_shape": 2}, ["given_shape=2", "num_classes=3"]),
        ({"num_classes": 1}, ["num_classes", "an int >= 2"]),
        ({"num_classes": None, "given_shape": (2, 0)}, ["given_shape", "positive int"]),
        ({"given_scale": 0}, ["given_scale", "positive number"]),
        ({"prior": "vamp"}, ["'conditional' or 'standard'", "'vamp'"]),
        ({"latent_size": 0}, ["latent_size", "positive int"]),
        ({"likelihood": "poisson"}, ["'bernoulli'", "'poisson'"]),
    ],
)
def test_constructions_that_cannot_be(change, parts):
    with says(*parts):
        small(**{"num_classes": 3, **change})


@pytest.mark.parametrize(
    ("kind", "given", "parts"),
    [
        (0, CLASSES[:4], ["same length", "4"]),
        (0, CLASSES - 1, ["classes from 0 to 2", "[-1]"]),
        (0, CLASSES + 1, ["classes from 0 to 2", "[3]"]),
        (0, CLASSES / 1, ["integers [B] from 0 to 2", "float64"]),
        (0, np.eye(3)[CLASSES], ["integers [B]", "[5, 3]", "given_shape"]),
        (1, np.zeros([5, 4]), ["[None, 2, 2]", "[5, 4]"]),
        (1, np.zeros([5, 2, 2], "float32"), ["float64", "float32"]),
        (1, np.full([5, 2, 2], np.nan), ["given", "without NaN"]),
    ],
)
def test_conditions_that_cannot_be(kind, given, parts):
    model, encoder = small(**KINDS[kind][0])
    data = {"x": PIXELS, "given": given}
    with says(*parts):
        model.log_joint(data)
    if "NaN" in parts[1]:
        return
    with says(*parts):
        encoder(data)


def test_data_that_cannot_be():
    model, encoder = small(num_classes=3)
    for use in (model.log_joint, encoder):
        with says('"given"', "['x']"):
            use({"x": PIXELS})
    with says("[None, 3]", "[5, 2]"):
        encoder({"x": PIXELS[:, :2], "given": CLASSES})
    impossible = {"x": PIXELS + 0.5, "given": CLASSES}
    with says("0s and 1s", "15 of 15"):
        model.log_joint(impossible)
    with says("0s and 1s"):
        model.given(CLASSES).log_joint(PIXELS + 0.5)
    with says("0s and 1s"):
        model.with_prior(tfd.MultivariateNormalDiag(np.zeros(1))).log_joint(impossible)
    with says("x for each of the 5 conditions", "4"):
        model.given(CLASSES).log_joint(PIXELS[:4])


@pytest.mark.parametrize("prior", PRIORS)
def test_an_unknown_class_is_refused_before_anything_is_computed(prior):
    model, _ = small(num_classes=3, prior=prior)
    other = model.with_prior(tfd.MultivariateNormalDiag(np.zeros(1)))
    for each in (model, other):
        with says("classes from 0 to 2", "[7]"):
            each.log_joint({"x": PIXELS, "given": np.array([0, 7, 1, 2, 0])})
        with says("classes from 0 to 2", "[7]"):
            each.given(np.array([0, 7, 1, 2, 0]))


def test_an_unknown_class_in_a_compiled_function_is_no_number():
    model, encoder = small(num_classes=3)

    @tf.function(jit_compile=True)
    def bound(x, c):
        data = {"x": x, "given": c}
        draws = et.draw(model.log_joint(data), encoder(data), 2, seed=0)
        return et.bounds.elbo(draws)

    found = bound(PIXELS, np.array([0, 3, -1, 2, 0])).numpy()
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, False, False])
    good = bound(PIXELS, CLASSES)
    eager = et.bounds.elbo(
        et.draw(model.log_joint(BY_CLASS), encoder(BY_CLASS), 2, seed=0)
    )
    np.testing.assert_allclose(good, eager, rtol=1e-10)
