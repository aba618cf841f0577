"""Finite latents summed out, against sums and integrals that know no TensorFlow."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import elbo_tfp as et
from elbo_tfp import marginals
from tests.statistics import assert_mean, says

tfd = tfp.distributions
WEIGHTS = np.array([0.2, 0.5, 0.3])
CENTRES = np.array([-2.0, 0.5, 3.0])


def switching(order="k first"):
    """z and a three-valued k; x given both is Gaussian."""
    centres = tf.constant(CENTRES)
    k = tfd.Categorical(probs=WEIGHTS)
    if order == "k first":
        parts = {
            "k": k,
            "z": lambda k: tfd.Normal(tf.gather(centres, k), tf.ones([], tf.float64)),
        }
    elif order == "apart":
        parts = {"k": k, "z": tfd.Normal(tf.zeros([], tf.float64), 1.0)}
    else:
        parts = {
            "z": tfd.Normal(tf.zeros([], tf.float64), 1.0),
            "k": lambda z: tfd.Bernoulli(logits=2 * z),
        }
    return et.LatentVariableModel(
        tfd.JointDistributionNamed(parts),
        lambda z: tfd.Normal(
            z["z"] + tf.gather(centres, z["k"]), 0.5 + tf.cast(z["k"], tf.float64)
        ),
    )


def log_joint(order, x, z, k):
    """log p(x, z, k) in NumPy."""
    if order == "k first":
        prior = np.log(WEIGHTS[k]) + stats.norm(CENTRES[k], 1).logpdf(z)
    elif order == "apart":
        prior = np.log(WEIGHTS[k]) + stats.norm(0, 1).logpdf(z)
    else:
        p = special.expit(2 * z)
        prior = np.log(p if k else 1 - p) + stats.norm(0, 1).logpdf(z)
    return prior + stats.norm(z + CENTRES[k], 0.5 + k).logpdf(x)


@pytest.mark.parametrize("order", ["k first", "apart", "z first"])
def test_joint_density_evidence_and_conditional(order):
    small = marginals.enumerate_discrete(switching(order), "k")
    states = 2 if order == "z first" else 3
    x, z = np.array([0.7, -1.0]), np.linspace(-9, 9, 601)[:, None] * np.ones(2)
    terms = np.stack([log_joint(order, x, z, k) for k in range(states)], -1)
    log_p = small.log_joint(x)(tf.constant(z))
    np.testing.assert_allclose(log_p, special.logsumexp(terms, -1), atol=1e-9)
    # the evidence, as an integral of the smaller model's density
    for b in range(2):
        evidence = np.log(integrate.trapezoid(np.exp(log_p[:, b]), z[:, b]))
        t = np.linspace(-13, 13, 4001)
        density = sum(np.exp(log_joint(order, x[b], t, k)) for k in range(states))
        exact = np.log(integrate.trapezoid(density, t))
        assert abs(evidence - exact) < 1e-8
    found = small.conditional(tf.constant(z), x)
    expected = terms - special.logsumexp(terms, -1, keepdims=True)
    np.testing.assert_allclose(found.logits, expected, atol=1e-9)
    ones = tf.ones(z.shape, tf.int32)
    np.testing.assert_allclose(found.log_prob(ones), expected[..., 1], atol=1e-9)


def test_prior_of_what_remains_is_plain_where_it_can_be():
    apart = marginals.enumerate_discrete(switching("apart"), "k").prior
    assert isinstance(apart, tfd.Normal)
    mixed = marginals.enumerate_discrete(switching("k first"), "k").prior
    z = np.linspace(-3, 3, 7)
    exact = special.logsumexp(
        [np.log(w) + stats.norm.logpdf(z - c) for w, c in np.c_[WEIGHTS, CENTRES]], 0
    )
    np.testing.assert_allclose(mixed.log_prob(tf.constant(z)), exact, atol=1e-12)
    drawn = mixed.sample(4000, seed=0)
    assert_mean(drawn, WEIGHTS @ CENTRES, fault=0.3)


def test_summing_out_never_lowers_the_elbo():
    """L(q1) - L(q1 q2) = E KL(q2 || p(k | z, x)), draw for draw in expectation of k."""
    model, x = switching("k first"), tf.constant([0.7, -1.0], tf.float64)
    small = marginals.enumerate_discrete(model, "k")
    q1 = tfd.Normal(tf.constant([0.2, -0.3], tf.float64), 0.8)
    z = q1.sample(50, seed=(0, 1))
    q2 = np.array([0.3, 0.3, 0.4])
    larger = sum(
        w * (model.log_joint(x)({"z": z, "k": tf.fill(z.shape, k)}) - np.log(w))
        for k, w in enumerate(q2)
    )
    smaller = small.log_joint(x)(z)
    kl = np.sum(q2 * (np.log(q2) - small.conditional(z, x).logits), -1)
    assert np.all(smaller >= larger)
    np.testing.assert_allclose(smaller - larger, kl, atol=1e-10)


def several():
    """Two binary vectors and one count, and a continuous z between them."""
    prior = tfd.JointDistributionNamed(
        {
            "a": tfd.Sample(tfd.Bernoulli(probs=tf.constant(0.3, tf.float64)), 2),
            "n": tfd.Binomial(
                tf.constant(3.0, tf.float64), probs=tf.constant(0.4, tf.float64)
            ),
            "z": lambda n: tfd.Normal(n, tf.ones([], tf.float64)),
        }
    )

    def likelihood(z):
        bits = tf.cast(z["a"], tf.float64)
        mean = bits * z["n"][..., None] + z["z"][..., None]
        return tfd.Independent(tfd.Normal(mean, tf.ones([], tf.float64)), 1)

    return et.LatentVariableModel(prior, likelihood)


def test_several_latents_at_once_vectors_and_counts():
    small = marginals.enumerate_discrete(several(), ["a", "n"])
    x, z = np.array([[1.0, 2.0]]), np.array([[0.4], [2.0]])
    exact = np.zeros((2, 1))
    for a0, a1, n in itertools.product([0, 1], [0, 1], range(4)):
        prior = 0.3 ** (a0 + a1) * 0.7 ** (2 - a0 - a1) * stats.binom(3, 0.4).pmf(n)
        prior = prior * stats.norm(n, 1).pdf(z)
        mean = np.array([a0, a1]) * n + z[..., None]
        exact += prior * stats.norm(mean, 1).pdf(x).prod(-1)
    log_p = small.log_joint(tf.constant(x))(tf.constant(z))
    np.testing.assert_allclose(log_p, np.log(exact), atol=1e-10)
    found = small.conditional(tf.constant(z), tf.constant(x))
    assert found.logits.shape == (2, 1, 16) and set(found.states) == {"a", "n"}
    whole = small.complete(tf.constant(z), tf.constant(x), seed=0)
    assert whole["a"].shape == (2, 1, 2) and whole["n"].shape == (2, 1)
    assert np.isfinite(found.log_prob({k: whole[k] for k in ("a", "n")})).all()
    # automatic choice: latents of integer type (here the bits, not the float count)
    assert list(marginals.enumerate_discrete(several()).prior.event_shape) == ["n", "z"]


def test_nothing_left_means_an_exact_evidence_and_posterior():
    model = et.LatentVariableModel(
        tfd.Categorical(probs=WEIGHTS),
        lambda k: tfd.Normal(tf.gather(tf.constant(CENTRES), k), 1.0),
    )
    small = marginals.enumerate_discrete(model)
    x = np.array([0.3, 2.5])
    terms = np.log(WEIGHTS) + stats.norm(CENTRES, 1).logpdf(x[:, None])
    exact = special.logsumexp(terms, -1)
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-12)
    np.testing.assert_allclose(
        small.posterior(x).logits, terms - exact[:, None], atol=1e-12
    )
    log_p = small.log_joint(x)(tf.zeros([5, 2, 0], tf.float64))
    np.testing.assert_allclose(log_p, np.tile(exact, [5, 1]), atol=1e-12)
    z, x = small.sample(2000, seed=0)
    assert z.shape == (2000, 0)
    assert_mean(x, WEIGHTS @ CENTRES, fault=0.5)


def test_samples_of_latents_and_data_follow_the_marginal():
    small = marginals.enumerate_discrete(switching("apart"), "k")
    z, x = small.sample(4000, seed=1)
    assert_mean(x, WEIGHTS @ CENTRES, fault=0.5)
    exact = small.likelihood(z).mean()
    assert_mean(x - exact, 0.0, fault=0.5)
    draws = small.conditional(z[:1], x[:1]).sample(3000, seed=0)
    exact = np.exp(small.conditional(z[:1], x[:1]).logits)[0, 2]
    assert_mean(draws[:, 0].numpy() == 2, exact, fault=0.1)


def test_global_latents_pass_through_and_gradients_reach_the_model():
    shift = tf.Variable(0.5, dtype=tf.float64)
    model = et.LatentVariableModel(
        tfd.JointDistributionNamed(
            {
                "k": tfd.Bernoulli(logits=tf.zeros([], tf.float64)),
                "z": tfd.Normal(tf.zeros([], tf.float64), 1.0),
            }
        ),
        lambda z, w: tfd.Normal(
            z["z"] + shift * tf.cast(z["k"], tf.float64) + w[..., None], 1.0
        ),
        tfd.Normal(tf.zeros([], tf.float64), 1.0),
    )
    small, x = marginals.enumerate_discrete(model, "k"), np.array([0.2, 1.0])
    z, w = np.array([[0.1, -0.4]] * 3), np.array([0.3, 0.0, -1.0])
    with tf.GradientTape() as tape:
        log_p = small.log_joint(x, num_data=10)((tf.constant(z), tf.constant(w)))
        total = tf.reduce_sum(log_p)
    sides = [
        np.log(0.5) + stats.norm(z + s + w[:, None], 1).logpdf(x) for s in (0, 0.5)
    ]
    exact = special.logsumexp(sides, 0) + stats.norm.logpdf(z)
    np.testing.assert_allclose(log_p, exact + stats.norm.logpdf(w)[:, None] / 10)
    assert abs(tape.gradient(total, shift)) > 0.1
    completed = small.complete((tf.constant(z), tf.constant(w)), x, seed=0)
    assert completed[0]["k"].shape == (3, 2) and completed[1].shape == (3,)


@pytest.mark.parametrize("kind", [list, tuple])
def test_parts_without_names_are_numbered(kind):
    joint = tfd.JointDistributionSequential(
        kind(
            [
                tfd.Normal(tf.zeros([], tf.float64), 1.0),
                tfd.Bernoulli(probs=tf.constant(0.3, tf.float64)),
            ]
        )
    )
    model = et.LatentVariableModel(
        joint, lambda z: tfd.Normal(z[0] + tf.cast(z[1], tf.float64), 1.0)
    )
    for small in (
        marginals.enumerate_discrete(model, 1),
        marginals.enumerate_discrete(model),
    ):
        log_p = small.log_joint(tf.constant(0.5, tf.float64))(
            tf.constant([0.2], tf.float64)
        )
        exact = stats.norm.logpdf(0.2) + np.log(
            0.7 * stats.norm.pdf(0.3) + 0.3 * stats.norm.pdf(0.7)
        )
        np.testing.assert_allclose(log_p, [exact])


def test_given_states_stand_in_for_an_unknown_support():
    model = et.LatentVariableModel(
        tfd.Poisson(tf.constant(1.5, tf.float64)),
        lambda n: tfd.Normal(n, tf.ones([], tf.float64)),
    )
    small = marginals.enumerate_discrete(model, support={"z": np.arange(40.0)})
    n = np.arange(40)
    exact = np.sum(stats.poisson(1.5).pmf(n) * stats.norm(n, 1).pdf(2.0))
    np.testing.assert_allclose(
        small.log_evidence(tf.constant(2.0, tf.float64)), np.log(exact)
    )


def test_errors_name_the_size_and_the_latent():
    with says("finitely many", "'z'", "Poisson", "infinite"):
        marginals.enumerate_discrete(
            et.LatentVariableModel(tfd.Poisson(1.0), lambda n: tfd.Normal(n, 1.0)), "z"
        )
    with says("not known to be finite", "support="):
        marginals.enumerate_discrete(
            et.LatentVariableModel(tfd.Normal(0.0, 1.0), lambda z: tfd.Normal(z, 1.0)),
            "z",
        )
    bits = et.LatentVariableModel(
        tfd.Sample(tfd.Bernoulli(0.0), 40),
        lambda z: tfd.Normal(tf.reduce_sum(tf.cast(z, tf.float32), -1), 1.0),
    )
    with says("max_states=100,000", "1,099,511,627,776"):
        marginals.enumerate_discrete(bits)
    with says("names of latents", "['k', 'z']", "'j'"):
        marginals.enumerate_discrete(switching(), "j")
    smooth = tfd.JointDistributionNamed(
        {"a": tfd.Normal(0.0, 1.0), "b": tfd.Normal(0.0, 1.0)}
    )
    with says("integer or boolean", "Name the latents"):
        marginals.enumerate_discrete(
            et.LatentVariableModel(smooth, lambda z: tfd.Normal(z["a"], 1.0))
        )


def test_two_unnamed_parts_remain_as_a_list():
    zero = tf.zeros([], tf.float64)
    model = et.LatentVariableModel(
        tfd.JointDistributionSequential(
            [
                tfd.Bernoulli(probs=zero + 0.3),
                tfd.Normal(zero, 1.0),
                tfd.Normal(zero, 2),
            ]
        ),
        lambda z: tfd.Normal(tf.cast(z[0], tf.float64) + z[1] - z[2], 1.0),
    )
    small = marginals.enumerate_discrete(model)
    u, v, x = np.array([[0.2], [1.0]]), np.array([[-0.4], [0.3]]), np.array([0.7])
    found = small.log_joint(tf.constant(x))([tf.constant(u), tf.constant(v)])
    likelihood = 0.7 * stats.norm.pdf(x, u - v) + 0.3 * stats.norm.pdf(x, 1 + u - v)
    exact = np.log(likelihood) + stats.norm.logpdf(u) + stats.norm(0, 2).logpdf(v)
    np.testing.assert_allclose(found, exact, atol=1e-10)
    assert isinstance(small.prior.event_shape, list)
    assert len(small.sample(3, seed=0)[0]) == 2


def labelled(num=50):
    """The class of every datum, and a shift that all share."""
    prior = tfd.JointDistributionNamed(
        {
            "shift": tfd.Normal(tf.zeros([], tf.float64), 1.0),
            "k": tfd.Sample(tfd.Categorical(probs=WEIGHTS), num),
        }
    )
    return et.LatentVariableModel(
        prior,
        lambda z: tfd.Independent(
            tfd.Normal(tf.gather(CENTRES, z["k"]) + z["shift"][..., None], 1.0), 1
        ),
    )


def test_independent_entries_are_summed_one_by_one():
    small = marginals.enumerate_discrete(labelled())
    x, shift = (
        np.random.default_rng(0).normal(size=[2, 50]),
        np.array([[0.3, -1.0]] * 3),
    )
    means = CENTRES + shift[..., None, None]
    terms = np.log(WEIGHTS) + stats.norm(means, 1).logpdf(x[..., None])
    exact = special.logsumexp(terms, -1)
    found = small.log_joint(x)(tf.constant(shift))
    np.testing.assert_allclose(found, exact.sum(-1) + stats.norm.logpdf(shift))
    after = small.conditional(tf.constant(shift), x)
    np.testing.assert_allclose(after.logits, terms - exact[..., None], atol=1e-10)
    whole = small.complete(tf.constant(shift), x, seed=0)
    ratio = labelled().log_joint(x)(whole) - after.log_prob(whole["k"])
    np.testing.assert_allclose(ratio, found, atol=1e-9)
    assert small.sample(7, seed=0)[1].shape == (7, 50)
    # entry by entry or all at once: one evidence
    few, states = labelled(3), np.array(list(itertools.product(range(3), repeat=3)))
    at_once = marginals.enumerate_discrete(few, support={"k": states})
    found = marginals.enumerate_discrete(few).log_joint(x[:, :3])(shift)
    np.testing.assert_allclose(found, at_once.log_joint(x[:, :3])(shift), atol=1e-10)


def test_entries_that_meet_in_the_data_are_summed_together():
    probs = tf.constant([0.3, 0.6], tf.float64)
    bits = tfd.Independent(tfd.Bernoulli(probs=probs), 1)
    model = et.LatentVariableModel(
        bits,
        lambda k: tfd.Independent(
            tfd.Normal(tf.cumsum(tf.cast(k, tf.float64), -1), 1.0), 1
        ),
    )
    small, x = marginals.enumerate_discrete(model), np.array([0.4, 1.2])
    exact = 0.0
    for a, b in itertools.product([0, 1], [0, 1]):
        prior = (0.3 if a else 0.7) * (0.6 if b else 0.4)
        exact += prior * stats.norm([a, a + b], 1).pdf(x).prod()
    np.testing.assert_allclose(small.log_evidence(x), np.log(exact))
    assert small.posterior(x).logits.shape == (4,)


@pytest.mark.skipif(
    not hasattr(et.LatentVariableModel, "local_prior"), reason="no tied priors yet"
)
def test_a_local_prior_that_hangs_on_the_global_latent():
    model = et.LatentVariableModel(
        lambda w: tfd.JointDistributionNamed(
            {"k": tfd.Bernoulli(probs=w), "u": tfd.Normal(w, np.ones([]))}
        ),
        lambda z, w: tfd.Normal(
            3 * tf.cast(z["k"], tf.float64) + z["u"] + w[..., None], np.ones([])
        ),
        tfd.Beta(2 * np.ones([]), 3.0),
    )
    x, w = np.array([0.2, 1.0, 3.0]), np.array([0.2, 0.5, 0.7, 0.9])
    u, v = np.random.default_rng(0).normal(size=[4, 3]), w[:, None]
    prior = stats.beta(2, 3).logpdf(v) / 9
    small = marginals.enumerate_discrete(model, "k")
    found = small.log_joint(x, num_data=9)((tf.constant(u), tf.constant(w)))
    sides = (1 - v) * stats.norm(u + v, 1).pdf(x) + v * stats.norm(u + v + 3, 1).pdf(x)
    exact = np.log(sides) + stats.norm(v, 1).logpdf(u) + prior
    np.testing.assert_allclose(found, exact, atol=1e-10)
    k = np.array([[0, 1, 1]] * 4, np.int32)
    other = marginals.linear_gaussian(model, "u")
    found = other.log_joint(x, num_data=9)((tf.constant(k), tf.constant(w)))
    exact = stats.norm(3 * k + 2 * v, 2**0.5).logpdf(x) + prior
    exact += np.log(np.where(k, v, 1 - v))
    np.testing.assert_allclose(found, exact, atol=1e-10)
