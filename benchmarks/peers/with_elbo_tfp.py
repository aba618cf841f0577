"""The three problems in elbo_tfp."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import problem as p
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_loop import runner

import elbo_tfp as et

tfd, g = tfp.distributions, et.gradients


def normal(loc, log_scale):
    return tfd.Independent(tfd.Normal(loc, tf.exp(log_scale)), 1)


def iwae():
    loc, log_scale, w = (tf.Variable(v) for v in (p.LOC, p.LOG_SCALE, p.W))
    model = et.LatentVariableModel(
        tfd.Independent(tfd.Normal(tf.zeros(10), tf.ones(10)), 1),
        lambda z: tfd.Independent(tfd.Normal(tf.linalg.matvec(w, z), 1.0), 1),
    )
    target = model.log_joint(p.X)
    for estimator in (g.reparameterized, g.doubly_reparameterized):

        def bound(seed, estimator=estimator):
            q = normal(loc, log_scale)
            found = estimator(target, q, importance_sample_size=p.SAMPLES, seed=seed)
            return found.surrogate

        yield estimator.__name__, bound, [loc, log_scale, w], 2


def enum():
    loc, log_scale = tf.Variable(p.MEANS_LOC), tf.Variable(p.MEANS_LOG_SCALE)

    def log_p(means):
        each = tfd.Normal(means[..., tf.newaxis, :], 1.0).log_prob(p.DATA[:, None])
        log_x = tf.reduce_logsumexp(each, -1) - tf.math.log(5.0)
        prior = tfd.Normal(0.0, 3.0).log_prob(means)
        return tf.reduce_sum(log_x, -1) + tf.reduce_sum(prior, -1)

    for estimator in (g.reparameterized, g.sticking_the_landing):

        def bound(seed, estimator=estimator):
            q = normal(loc, log_scale)
            return estimator(log_p, q, sample_size=p.SAMPLES, seed=seed).surrogate

        yield estimator.__name__, bound, [loc, log_scale], 2


def score():
    logits, w = tf.Variable(p.LOGITS), tf.Variable(p.W)
    model = et.LatentVariableModel(
        tfd.Independent(tfd.Bernoulli(tf.zeros(10), dtype=tf.float32), 1),
        lambda z: tfd.Independent(tfd.Normal(tf.linalg.matvec(w, z), 1.0), 1),
    )
    target = model.log_joint(p.X_BITS)
    choices = {
        "score_function": (g.score_function, {"sample_size": p.SAMPLES}),
        "leave_one_out": (g.leave_one_out, {"sample_size": p.SAMPLES}),
        "vimco (bound L_16)": (g.vimco, {"importance_sample_size": p.SAMPLES}),
        "relaxed (biased)": (g.relaxed, {"sample_size": p.SAMPLES}),
    }
    for name, (estimator, sizes) in choices.items():

        def bound(seed, estimator=estimator, sizes=sizes):
            q = tfd.Independent(tfd.Bernoulli(logits, dtype=tf.float32), 1)
            return estimator(target, q, seed=seed, **sizes).surrogate

        yield name, bound, [logits, w], 1


if __name__ == "__main__":
    case, seconds, seed = p.arguments()
    for name, bound, variables, watched in globals()[case]():
        p.report(name, runner(bound, variables, watched), seconds, seed)
