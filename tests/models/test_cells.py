"""A VAE of counts: library sizes, batches, and the tables that it refuses."""

import re

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import elbo_tfp as et
from elbo_tfp import models

X = np.array([[3, 0, 2], [1, 5, 0], [0, 1, 7], [2, 2, 2]], "float32")
BATCH = np.array([0, 1, 1, 0], "int32")


@pytest.fixture(scope="module")
def pair():
    return models.count_vae(
        3, 2, num_batches=2, hidden=(4,), dispersion="gene_batch", seed=0
    )


def test_the_likelihood_is_scipys_at_library_and_batch(pair):
    raw = pair.model._raw
    raw.assign([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])
    library, z = (
        np.array([5, 50, 2, 9], "float32"),
        tf.random.stateless_normal([4, 2], [0, 1]),
    )
    data = {"x": X, "batch": BATCH, "library": library}
    found = pair.model.log_joint(data).likelihood(z[tf.newaxis]).log_prob(X)
    mean = library[:, None] * pair.model.shares(z, BATCH).numpy()
    r = 1 / np.log1p(np.exp(raw.numpy() + np.log(np.e - 1)))[BATCH]
    wanted = stats.nbinom.logpmf(X, r, r / (r + mean)).sum(-1)
    np.testing.assert_allclose(found[0], wanted, 1e-4)


def test_a_gene_has_one_dispersion_in_all_batches():
    model, _ = models.count_vae(3, 2, num_batches=2, hidden=(4,), seed=0)
    model._raw.assign([[0.0, 1.0, -1.0]])
    z = tf.random.stateless_normal([4, 2], [0, 1])
    found = model.log_joint({"x": X, "batch": BATCH}).likelihood(z).log_prob(X)
    mean = X.sum(-1, keepdims=True) * model.shares(z, BATCH).numpy()
    r = 1 / np.log1p(np.exp(np.array([0.0, 1.0, -1.0]) + np.log(np.e - 1)))
    wanted = stats.nbinom.logpmf(X, r, r / (r + mean)).sum(-1)
    np.testing.assert_allclose(found, wanted, 1e-4)


def test_shares_sum_to_one_and_know_the_batch(pair):
    z = tf.ones([4, 2])
    one, two = (pair.model.shares(z, b).numpy() for b in (0, 1))
    np.testing.assert_allclose(one.sum(-1), 1, 1e-5)
    assert np.abs(one - two).max() > 1e-3


def test_the_encoder_reads_shares_and_the_decoder_mirrors_it():
    model, encoder = models.count_vae(3, 2, hidden=(8, 5), seed=0)
    # twice as many counts of the same shares: the same cell, read more deeply
    one, two = encoder(X), encoder(2 * X)
    np.testing.assert_allclose(one.mean(), two.mean(), rtol=1e-5, atol=1e-6)
    assert np.abs(encoder(X[:, ::-1].copy()).mean() - one.mean()).max() > 1e-3
    with tf.GradientTape() as tape:
        tf.reduce_sum(model.shares(tf.ones([4, 2]), 0))
    shapes = [tuple(v.shape) for v in tape.watched_variables() if len(v.shape) == 2]
    # one more input: the batch
    assert {(5, 8), (8, 3)} <= set(shapes) and 5 in {s[1] for s in shapes}


@pytest.mark.parametrize(
    "likelihood",
    ["poisson", "zero_inflated_negative_binomial", "log_normal_counts"],
)
def test_each_likelihood_gives_a_bound(likelihood):
    model, encoder = models.count_vae(3, 2, likelihood=likelihood, hidden=(4,), seed=0)
    d = et.draw(model.log_joint(X), encoder(X), 3, seed=0)
    assert d.log_weights.shape == [3, 4] and np.isfinite(d.log_weights).all()
    # the library is the sum of counts, unless it is given
    again = et.draw(
        model.log_joint({"x": X, "library": X.sum(1)}), encoder(X), 3, seed=0
    )
    np.testing.assert_allclose(d.log_weights, again.log_weights, 1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": -X, "batch": BATCH}, "negative"),
        ({"x": X / 4, "batch": BATCH}, "% fractions among"),
        ({"x": X / X.sum(1, keepdims=True) * 1e4, "batch": BATCH}, "normalised"),
        (
            {"x": np.log1p(X / X.sum(1, keepdims=True) * 1e4), "batch": BATCH},
            "exp(x) - 1 sums to 10000 in every cell, as in normalised logs",
        ),
        ({"x": X * [[0], [1], [1], [1]], "batch": BATCH}, "none in cell 0"),
        ({"x": X, "batch": BATCH + 1}, "unknown batch"),
        ({"x": X}, "batch"),
        ({"x": X, "batch": BATCH, "library": 0 * X[:, 0]}, "positive library"),
    ],
)
def test_what_is_no_table_of_counts_is_refused(pair, data, words):
    data = {k: v.astype("float32") if k == "x" else v for k, v in data.items()}
    with pytest.raises(ValueError, match=re.escape(words)):
        pair.model.log_joint(data)


@pytest.mark.parametrize("hidden", [2.0, 1_000.0, -0.5, np.nan])
def test_hidden_counts_do_not_matter(hidden):
    model, encoder = models.count_vae(3, 2, likelihood="poisson", hidden=(4,), seed=0)
    mask = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    x = np.where(mask, [[3, 0, 9], [1, 5, 0], [9, 0, 9], [9, 9, 9]], hidden)
    library = np.array([5, 6, 8, 6], "float32")
    data = {"x": x.astype("float32"), "mask": mask, "library": library}
    target = models.observed(model).log_joint(data)
    z = tf.random.stateless_normal([4, 2], [0, 1])
    mean = library[:, None] * model.shares(z).numpy()
    each = np.where(mask, stats.poisson.logpmf(np.where(mask, x, 0), mean), 0)
    found = target.log_parts(z[tf.newaxis])[0][0]
    np.testing.assert_allclose(found, each.sum(-1), 1e-4, 1e-5)
    assert np.isfinite(et.draw(target, encoder(target.x), 3, seed=0).log_weights).all()


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({}, 'a "library" beside a mask'),
        ({"library": np.float32([5, 6, 8, 6]), "x": X / 4}, "% fractions among"),
        ({"library": np.float32([5, 6, 8, 6]), "x": -X}, "negative"),
    ],
)
def test_masked_counts_need_a_library_and_are_counts(part, words):
    model, _ = models.count_vae(3, 2, likelihood="poisson", hidden=(4,), seed=0)
    data = {"x": X, "mask": X > 0, **part}
    with pytest.raises(ValueError, match=words):
        models.observed(model).log_joint(data)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="poisson"):
        models.count_vae(3, 2, likelihood="gauss", seed=0)
