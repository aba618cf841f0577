"""Latents integrated out of a joint distribution whose data are pinned."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import elbo_tfp as et
from elbo_tfp import marginals

tfd = tfp.distributions
Root = tfd.JointDistributionCoroutine.Root
LOGITS, CENTRES = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0])
X = np.array([0.3, 1.0, 2.0, -1.0])


def of_z(k):
    return tfd.Normal(tf.gather(tf.constant(CENTRES), k), tf.ones([], tf.float64))


def of_x(z):
    return tfd.Independent(tfd.Normal(z[..., None] * np.ones(4), 2.0), 1)


def of_x_alone(z):
    return tfd.Independent(tfd.Normal(z * np.ones(4), 2.0), 1)


def generator(root, x):
    def model():
        k = yield root(tfd.Categorical(logits=LOGITS, name="k"))
        z = yield of_z(k).copy(name="z")
        yield x(z).copy(name="x")

    return model


K = tfd.Categorical(logits=LOGITS)
JOINTS = {
    "coroutine": lambda: tfd.JointDistributionCoroutine(generator(Root, of_x)),
    "coroutine, batched": lambda: tfd.JointDistributionCoroutineAutoBatched(
        generator(lambda k: k, of_x_alone)
    ),
    "named": lambda: tfd.JointDistributionNamed({"k": K, "z": of_z, "x": of_x}),
    "named, batched": lambda: tfd.JointDistributionNamedAutoBatched(
        {"k": K, "z": of_z, "x": of_x_alone}
    ),
    "list": lambda: tfd.JointDistributionSequential([K, of_z, lambda z, k: of_x(z)]),
}


def pinned(kind):
    joint = JOINTS[kind]()
    return joint.experimental_pin(
        *([None, None, X] if kind == "list" else ()),
        **({} if kind == "list" else {"x": X}),
    )


def log_joint(k, z):
    prior = LOGITS[k] - special.logsumexp(LOGITS) + stats.norm(CENTRES[k]).logpdf(z)
    return prior + stats.norm(np.expand_dims(z, -1), 2.0).logpdf(X).sum(-1)


@pytest.mark.parametrize("kind", JOINTS)
def test_a_pinned_joint_of_every_kind(kind):
    names = (0, 1) if kind == "list" else ("k", "z")
    z = np.array([0.1, 2.0])
    summed = marginals.enumerate_discrete(pinned(kind), names[0])
    each = np.array([log_joint(k, z) for k in range(3)])
    np.testing.assert_allclose(summed(z), special.logsumexp(each, 0), rtol=1e-12)
    # p(k | z, x)
    p = special.softmax(each, 0).T
    found = summed.model.conditional(z, summed.x)
    np.testing.assert_allclose(tf.nn.softmax(found.logits), p, rtol=1e-10)
    integrated = marginals.linear_gaussian(pinned(kind), names[1])
    expected = [
        np.log(integrate.quad(lambda z, k=k: np.exp(log_joint(k, z)), -20, 20)[0])
        for k in range(3)
    ]
    np.testing.assert_allclose(integrated(tf.range(3)), expected, rtol=1e-7)


def test_the_target_serves_draw_and_evidence():
    target = marginals.enumerate_discrete(pinned("named"), "k")
    q = tfd.Normal(np.float64(0.8), 0.8)
    elbo = float(et.bounds.elbo(et.draw(target, q, 4_000, seed=0)))
    found = et.gaps.evidence(target, surrogate_posterior=q, seed=1, sample_size=4_000)
    truth = np.log(
        integrate.quad(
            lambda z: sum(np.exp(log_joint(k, z)) for k in range(3)), -20, 20
        )[0]
    )
    assert elbo < truth
    assert abs(float(found.estimate) - truth) < 4 * float(found.standard_error) < 0.05


def test_a_latent_that_hangs_on_the_pinned_part():
    # z given the data is known in this order too: p(y) p(z | y) p(k | z)
    joint = tfd.JointDistributionNamed(
        {
            "y": tfd.Normal(np.float64(0), 1.0),
            "z": lambda y: tfd.Normal(2 * y, 1.0),
            "k": lambda z: tfd.Bernoulli(logits=z),
        }
    )
    target = marginals.enumerate_discrete(
        joint.experimental_pin(y=np.float64(0.7)), "k"
    )
    z = np.array([0.2, 3.0])
    expected = stats.norm.logpdf(0.7) + stats.norm(1.4).logpdf(z)
    np.testing.assert_allclose(target(z), expected, rtol=1e-12)


def test_what_cannot_be_opened_is_refused():
    joint = JOINTS["named"]()
    with pytest.raises(ValueError, match=r"one pinned part.*\['x', 'z'\]"):
        marginals.enumerate_discrete(joint.experimental_pin(x=X, z=np.float64(1)), "k")
    with pytest.raises(ValueError, match="shape of that part"):
        marginals.enumerate_discrete(joint.experimental_pin(x=X[:1]), "k")
    with pytest.raises(ValueError, match="pin the data"):
        marginals.enumerate_discrete(joint, "k")
    with pytest.raises(ValueError, match="names of latents"):
        marginals.enumerate_discrete(pinned("named"), "x")


@pytest.mark.parametrize("names", ["k", ["k"], None])
def test_the_only_latent_may_be_named(names):
    joint = tfd.JointDistributionNamed(
        {"k": K, "x": lambda k: tfd.Normal(tf.gather(tf.constant(CENTRES), k), 2.0)}
    )
    target = marginals.enumerate_discrete(
        joint.experimental_pin(x=np.float64(0.7)), names
    )
    p = special.softmax(LOGITS)
    expected = np.log((p * stats.norm(CENTRES, 2.0).pdf(0.7)).sum())
    np.testing.assert_allclose(
        target.model.log_evidence(target.x), expected, rtol=1e-12
    )
    with pytest.raises(ValueError, match="names of latents"):
        marginals.enumerate_discrete(joint.experimental_pin(x=np.float64(0.7)), "q")
