"""The three problems in TensorFlow Probability's `vi`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import problem as p
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_loop import runner

tfd = tfp.distributions
kinds = tfp.vi.GradientEstimators
NAMES = {kinds.REPARAMETERIZATION: "reparam.", kinds.DOUBLY_REPARAMETERIZED: "DReG"}


def normal(loc, log_scale):
    return tfd.Independent(tfd.Normal(loc, tf.exp(log_scale)), 1)


def loss(target, q, seed, kind, samples, importance=1, stopped=None):
    return -tfp.vi.monte_carlo_variational_loss(
        target,
        q,
        sample_size=samples,
        importance_sample_size=importance,
        gradient_estimator=kind,
        stopped_surrogate_posterior=stopped,
        seed=seed,
    )


def log_joint(w, x, prior):
    def target(z):
        mean = tf.linalg.matvec(w, z)
        log_x = tfd.Independent(tfd.Normal(mean, 1.0), 1).log_prob(x)
        return prior.log_prob(z) + log_x

    return target


def iwae():
    loc, log_scale, w = (tf.Variable(v) for v in (p.LOC, p.LOG_SCALE, p.W))
    prior = tfd.Independent(tfd.Normal(tf.zeros(10), tf.ones(10)), 1)
    target = log_joint(w, p.X, prior)
    for kind in (kinds.REPARAMETERIZATION, kinds.DOUBLY_REPARAMETERIZED):
        note = " (wrong for W)" if kind == kinds.DOUBLY_REPARAMETERIZED else ""

        def bound(seed, kind=kind):
            stopped = normal(tf.stop_gradient(loc), tf.stop_gradient(log_scale))
            q = normal(loc, log_scale)
            return loss(target, q, seed, kind, 1, p.SAMPLES, stopped)

        yield NAMES[kind] + note, bound, [loc, log_scale, w], 2


def enum():
    loc, log_scale = tf.Variable(p.MEANS_LOC), tf.Variable(p.MEANS_LOG_SCALE)

    def target(means):
        each = tfd.Normal(means[..., tf.newaxis, :], 1.0).log_prob(p.DATA[:, None])
        log_x = tf.reduce_logsumexp(each, -1) - tf.math.log(5.0)
        prior = tfd.Normal(0.0, 3.0).log_prob(means)
        return tf.reduce_sum(log_x, -1) + tf.reduce_sum(prior, -1)

    def bound(seed):
        kind = kinds.REPARAMETERIZATION
        return loss(target, normal(loc, log_scale), seed, kind, p.SAMPLES)

    yield "reparameterization", bound, [loc, log_scale], 2


def score():
    logits, w = tf.Variable(p.LOGITS), tf.Variable(p.W)
    prior = tfd.Independent(tfd.Bernoulli(tf.zeros(10), dtype=tf.float32), 1)
    target = log_joint(w, p.X_BITS, prior)

    def bound(seed):
        q = tfd.Independent(tfd.Bernoulli(logits, dtype=tf.float32), 1)
        return loss(target, q, seed, kinds.SCORE_FUNCTION, p.SAMPLES)

    yield "score_function", bound, [logits, w], 1


if __name__ == "__main__":
    case, seconds, seed = p.arguments()
    for name, bound, variables, watched in globals()[case]():
        p.report(name, runner(bound, variables, watched), seconds, seed)
