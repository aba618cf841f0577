"""`vimco`: every possible draw enumerated, so that the mean gradient has no error."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from elbo_tfp.draws import evaluate
from elbo_tfp.gradients import vimco
from elbo_tfp.gradients.vimco import _credit

tfd = tfp.distributions
LOGITS = np.array([0.2, -0.5, 0.9])
LOG_P = np.array([-1.0, -3.0, -0.5])


class Enumerated:
    """A categorical q that 'samples' all K-tuples, one per datum of a batch."""

    reparameterization_type = tfd.NOT_REPARAMETERIZED

    def __init__(self, logits, size):
        tuples = list(itertools.product(range(3), repeat=size))
        self.logits, self.tuples = logits, np.array(tuples).T[np.newaxis]

    def sample(self, sample_shape, seed=None):
        return tf.constant(self.tuples)

    def log_prob(self, z):
        return tf.gather(tf.nn.log_softmax(self.logits), z)


def mean_gradient(size, of):
    """The exact mean over all draws of d `of` / d (logits, model), and of its value."""
    logits, table = tf.constant(LOGITS), tf.constant(LOG_P)
    with tf.GradientTape() as tape:
        tape.watch([logits, table])
        q = Enumerated(logits, size)
        mass = tf.exp(tf.reduce_sum(q.log_prob(q.tuples[0]), 0))
        mean = tf.reduce_sum(of(mass, lambda z: tf.gather(table, z), q))
    slopes = tape.gradient(mean, [logits, table])
    return [tf.convert_to_tensor(g).numpy() for g in slopes], mean.numpy()


@pytest.mark.parametrize("size", [2, 3])
def test_mean_gradient_by_enumeration(size):
    def surrogate(mass, target, q):
        found = vimco(target, q, importance_sample_size=size, seed=0)
        return tf.stop_gradient(mass) * found.surrogate

    def exact(mass, target, q):
        z = et.draw(target, q, (1, size), seed=0).z
        draws = evaluate(target, q, z, (1, size))
        return mass * et.bounds.iwae(draws, axis=1)[0]

    found, value = mean_gradient(size, surrogate)
    truth, bound = mean_gradient(size, exact)
    np.testing.assert_allclose(value, bound, rtol=1e-14)
    for ours, theirs in zip(found, truth, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
        assert np.abs(theirs).max() > 0.02


def test_hand_formula_on_a_fixed_draw():
    loc, theta = tf.Variable(np.float64(0.3)), tf.Variable(np.float64(1.4))
    with tf.GradientTape() as tape:
        q = tfd.Normal(loc, np.float64(0.8))
        found = vimco(
            lambda z: -0.5 * theta * z**2, q, importance_sample_size=3, seed=4
        )
    slopes = tape.gradient(found.surrogate, [loc, theta])
    draws = et.draw(lambda z: -0.5 * theta * z**2, q, (1, 3), seed=4)
    z, log_w = draws.z.numpy()[0], draws.log_weights.numpy()[0]
    share = np.exp(log_w) / np.exp(log_w).sum()
    score = (z - 0.3) / 0.64
    bound = np.log(np.exp(log_w).mean())
    credit = []
    for k in range(3):
        others = np.delete(log_w, k)
        # log (1/K)(sum of the others + their geometric mean)
        stand_in = np.exp(others).sum() + np.exp(others.mean())
        credit.append(bound - np.log(stand_in / 3))
    by_hand = [
        np.sum(np.array(credit) * score) - np.sum(share * score),
        np.sum(share * -0.5 * z**2),
    ]
    np.testing.assert_allclose(slopes, by_hand, rtol=1e-11)


def test_less_noise_than_the_score_without_baseline():
    rows = 20_000
    logits = tf.Variable(np.tile(LOGITS, [rows, 1]))
    table = tf.constant(LOG_P)

    def target(z):
        return tf.gather(table, z) - 5.0

    with tf.GradientTape(persistent=True) as tape:
        q = tfd.Categorical(logits)
        found = vimco(target, q, importance_sample_size=5, seed=1)
        z = et.draw(target, q, (1, 5), seed=1).z
        draws = evaluate(target, q, z, (1, 5))
        bound = et.bounds.iwae(draws, axis=1)[0]
        plain = tf.stop_gradient(bound) * tf.reduce_sum(draws.log_q, (0, 1)) + bound
    np.testing.assert_array_equal(found.value, bound)
    ours, theirs = (tape.gradient(s, logits).numpy() for s in (found.surrogate, plain))
    assert (ours.std(0) < theirs.std(0) / 10).all()
    error = theirs.std(0) / np.sqrt(rows)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 4.5 * error).all()


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_stable_at_large_log_weights(scale):
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        found = vimco(
            lambda z: scale * (tf.gather(tf.constant(LOG_P), z) + 2e3),
            tfd.Categorical(logits),
            sample_size=6,
            importance_sample_size=4,
            seed=2,
        )
    slope = tape.gradient(found.surrogate, logits).numpy()
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() < 10 * scale


def test_compiles():
    logits = tf.Variable(LOGITS)

    def step():
        with tf.GradientTape() as tape:
            found = vimco(
                lambda z: tf.gather(tf.constant(LOG_P), z),
                Enumerated(logits, 2),
                importance_sample_size=2,
                seed=0,
            )
        return tape.gradient(found.surrogate, logits)

    compiled = tf.function(step, autograph=False, jit_compile=True)
    np.testing.assert_allclose(compiled(), step(), rtol=1e-12)


def test_needs_two_samples():
    with pytest.raises(ValueError, match="importance_sample_size of at least 2.*got 1"):
        vimco(lambda z: -z, tfd.Poisson(2.0), importance_sample_size=1, seed=0)
    with pytest.raises(ValueError, match="positive int"):
        vimco(lambda z: -z, tfd.Poisson(2.0), importance_sample_size=0, seed=0)


def test_two_samples_score_each_other():
    # K = 2: the stand-in is the other's weight, so the credit is L_2 - log w_other
    log_weights = np.array([[0.3], [-1.1]])
    bound = np.log(np.exp(log_weights).mean())
    expected = bound - log_weights[::-1]
    np.testing.assert_allclose(_credit(tf.constant(log_weights), 0), expected)


def test_no_global_latent():
    model = et.LatentVariableModel(
        tfd.Normal(0.0, 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0),
        global_prior=tfd.Normal(0.0, 1.0),
    )
    q = tfd.Normal([0.5, 0.2], 1.0), tfd.Normal(0.3, 1.0)
    with pytest.raises(ValueError, match="without a global latent"):
        vimco(
            model.log_joint([1.0, 2.0], num_data=10),
            q,
            importance_sample_size=2,
            seed=0,
        )
