"""Paths of discrete states summed out, against the sum over all of them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import elbo_tfp as et
from elbo_tfp import marginals
from tests import oracles
from tests.statistics import assert_mean, assert_within, says

tfd = tfp.distributions
one = np.ones([])
T = 4
START = np.array([0.2, 0.5, 0.3])
# left to right, except from the last state: two transitions are impossible
MOVES = np.array([[0.7, 0.2, 0.1], [0.0, 0.8, 0.2], [0.3, 0.0, 0.7]])
CENTRES = np.array([-1.0, 0.0, 2.0])
PATHS = np.array(list(itertools.product(range(3), repeat=T)), np.int32)


def hidden_chain(start=START, moves=MOVES, steps=T):
    return tfd.MarkovChain(
        tfd.Categorical(probs=start),
        lambda t, k: tfd.Categorical(probs=tf.gather(moves, k)),
        steps,
    )


def gaussian():
    return et.LatentVariableModel(
        hidden_chain(),
        lambda k: tfd.Independent(tfd.Normal(tf.gather(CENTRES, k), 0.8 * one), 1),
    )


def log_paths(x, start=START, moves=MOVES, emit=None):
    """log p(x, path) for all paths, `[paths]`, of one series."""
    with np.errstate(divide="ignore"):
        prior = np.log(start)[PATHS[:, 0]]
        prior = prior + np.log(moves)[PATHS[:, :-1], PATHS[:, 1:]].sum(-1)
    emit = emit or (lambda k: stats.norm(CENTRES[k], 0.8).logpdf(x).sum(-1))
    return prior + emit(PATHS)


def test_evidence_marginals_and_log_prob_of_every_path():
    model, x = gaussian(), np.random.default_rng(0).normal(size=[2, T])
    small = marginals.forward(model)
    found = small.posterior(x)
    per_step = found.marginals().probs_parameter()
    log_q = found.log_prob(np.repeat(PATHS[:, None], 2, 1))
    for i in range(2):
        terms = log_paths(x[i])
        exact = special.logsumexp(terms)
        assert abs(small.log_evidence(x)[i] - exact) < 1e-10
        np.testing.assert_allclose(log_q[:, i], terms - exact, atol=1e-10)
        weights = np.exp(terms - exact)
        expected = [
            [weights[PATHS[:, t] == k].sum() for k in range(3)] for t in range(T)
        ]
        np.testing.assert_allclose(per_step[i], expected, atol=1e-10)
    log_p = small.log_joint(x)(tf.zeros([5, 2, 0], tf.float64))
    np.testing.assert_allclose(log_p, np.tile(small.log_evidence(x), [5, 1]))


def test_the_package_s_own_distributions_may_be_emitted():
    # around these TFP returns an _Independent, which is no tfd.Independent
    logits, x = np.array([-1.0, 0.0, 2.0]), np.array([[0.0, 1.0, 4.0, 3.0]])

    def emission(k):
        ours = et.distributions.BetaBinomial(4, tf.gather(logits, k), 0.5)
        return tfd.Independent(ours, 1)

    def emit(k):
        a, b = 2 * special.expit(logits[k]), 2 * special.expit(-logits[k])
        return stats.betabinom(4, a, b).logpmf(x).sum(-1)

    small = marginals.forward(et.LatentVariableModel(hidden_chain(), emission))
    exact = special.logsumexp(log_paths(x[0], emit=emit))
    np.testing.assert_allclose(small.log_evidence(x), [exact], rtol=1e-10)


def test_compiled_draws_follow_the_posterior_of_whole_paths():
    small, x = marginals.forward(gaussian()), np.array([[0.5, -1.0, 1.0, 0.2]])

    @tf.function(jit_compile=True)
    def draws():
        return small.posterior(x).sample(20_000, seed=(0, 1)), small.sample(9, seed=0)

    path, (z, data) = draws()
    assert path.dtype == tf.int32 and z.shape == (9, 0) and data.shape == (9, T)
    terms = log_paths(x[0])
    weights = np.exp(terms - special.logsumexp(terms))
    code = path[:, 0].numpy() @ 3 ** np.arange(T)[::-1]
    found = np.bincount(code, minlength=81) / len(code)
    error = np.sqrt(weights * (1 - weights) / len(code))
    likely = weights > 5e-4
    assert_within(found[likely], error[likely], weights[likely], fault=0.03)
    assert found[weights == 0].sum() == 0 and likely.sum() > 12
    # data simulated from the smaller model have the right mean at each step
    _, data = small.sample(4000, seed=1)
    chances = [START]
    for _ in range(T - 1):
        chances.append(chances[-1] @ MOVES)
    assert_mean(data, np.array(chances) @ CENTRES, fault=0.3)


def by_latents():
    """Moves and emissions hang on a latent each, and on time; x holds count pairs."""
    rates = np.array([[1.0, 2.0], [3.0, 0.5], [6.0, 6.0]])
    trend = np.array([1.0, 2.0, 0.5, 1.0])

    def chain(a):
        def move(t, k):
            # odd steps stay, even ones move by MOVES
            even = tf.cast(t % 2 == 0, tf.float64)
            even = tf.reshape(
                even, even.shape + [1] * (k.shape.rank + 1 - even.shape.rank)
            )
            stay = tf.one_hot(k, 3, dtype=tf.float64)
            probs = even * tf.gather(MOVES, k) + (1 - even) * stay
            return tfd.Categorical(probs=(1 - a[..., None]) * probs + a[..., None] / 3)

        start = START + 0 * a[..., None]
        return tfd.MarkovChain(tfd.Categorical(probs=start), move, T)

    prior = tfd.JointDistributionNamed(
        {"a": tfd.Beta(2 * one, 2.0), "k": chain, "s": tfd.LogNormal(0 * one, 0.3)}
    )

    def likelihood(z):
        rate = tf.gather(rates, z["k"]) * trend[:, None] * z["s"][..., None, None]
        return tfd.Independent(tfd.Poisson(rate), 2)

    def exact(x, a, s):
        moves = [MOVES if t % 2 == 0 else np.eye(3) for t in range(T - 1)]
        prior = np.log(START)[PATHS[:, 0]]
        for t, m in enumerate(moves):
            prior = prior + np.log((1 - a) * m + a / 3)[PATHS[:, t], PATHS[:, t + 1]]
        rate = rates[PATHS] * trend[:, None] * s
        terms = prior + stats.poisson(rate).logpmf(x).sum((-1, -2))
        prior = stats.beta(2, 2).logpdf(a) + stats.lognorm(0.3).logpdf(s)
        return special.logsumexp(terms), prior

    return et.LatentVariableModel(prior, likelihood), exact


def test_other_latents_time_and_data_of_several_dimensions():
    model, exact = by_latents()
    small = marginals.forward(model, "k")
    x = np.array([[[1, 0], [4, 2], [3, 3], [0, 2]], [[9, 7], [5, 1], [0, 0], [6, 5]]])
    x = x.astype(float)
    a, s = np.array([[0.2, 0.7], [0.5, 0.4], [0.9, 0.1]]), np.full([3, 2], 1.3)
    z = {"a": tf.constant(a), "s": tf.constant(s)}
    log_p = small.log_joint(x)(z)
    whole = small.complete(z, x, seed=0)
    assert whole["k"].shape == (3, 2, T) and whole["k"].dtype == tf.int32
    for i, j in itertools.product(range(3), range(2)):
        assert abs(log_p[i, j] - sum(exact(x[j], a[i, j], 1.3))) < 1e-9
    after = small.conditional(z, x)
    ratio = model.log_joint(x)(whole) - after.log_prob(whole["k"])
    np.testing.assert_allclose(ratio, log_p, atol=1e-9)
    more = after.sample(7, seed=1)
    assert more.shape == (7, 3, 2, T) and np.isfinite(after.log_prob(more)).all()


def test_summing_the_path_never_lowers_the_elbo():
    """L(q1) - L(q1 q2) = E KL(q2 || p(k | z, x)), by enumeration of q2."""
    model, _ = by_latents()
    small, x = (
        marginals.forward(model, "k"),
        np.array([[[1.0, 0], [4, 2], [3, 3], [0, 2]]]),
    )
    z = {
        "a": tf.constant([[0.3], [0.6]], tf.float64),
        "s": tf.constant([[1.0], [2.0]], tf.float64),
    }
    log_q2 = np.log(np.random.default_rng(0).dirichlet(np.ones(len(PATHS))))
    many = {k: tf.repeat(v[None], len(PATHS), 0) for k, v in z.items()}
    path = tf.constant(np.tile(PATHS[:, None, None], [1, 2, 1, 1]))
    terms = model.log_joint(x)(many | {"k": path}).numpy()[..., 0]
    larger = (np.exp(log_q2)[:, None] * (terms - log_q2[:, None])).sum(0)
    smaller = small.log_joint(x)(z).numpy()[:, 0]
    after = small.conditional(z, x).log_prob(path).numpy()[..., 0]
    kl = (np.exp(log_q2)[:, None] * (log_q2[:, None] - after)).sum(0)
    assert (kl > 0).all()
    np.testing.assert_allclose(smaller - larger, kl, atol=1e-9)


def test_gradient_is_finite_with_impossible_moves_and_right():
    centres = tf.Variable(CENTRES)
    start = np.array([1.0, 0.0, 0.0])  # most of the first states cannot be
    chain = hidden_chain(start)
    model = et.LatentVariableModel(
        chain,
        lambda k: tfd.Independent(tfd.Normal(tf.gather(centres, k), 0.8 * one), 1),
    )
    small, x = marginals.forward(model), np.array([[0.5, -1.0, 1.0, 0.2]])

    @tf.function(jit_compile=True)
    def slope():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(small.log_evidence(x))
        return value, tf.convert_to_tensor(tape.gradient(value, centres))

    value, gradient = slope()
    terms = log_paths(x[0], start)
    weights = np.exp(terms - special.logsumexp(terms))
    exact = [
        np.sum(weights[:, None] * (k == PATHS) * (x[0] - CENTRES[k])) / 0.64
        for k in range(3)
    ]
    assert abs(value - special.logsumexp(terms)) < 1e-10
    np.testing.assert_allclose(gradient, exact, atol=1e-9)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_impossible_moves_stay_so_however_far_the_data_are(dtype):
    """Left to right, while the data return: only the path that stays explains them."""
    far, start = 60.0, np.array([1.0, 0.0, 0.0])
    moves = np.array([[0.8, 0.2, 0.0], [0.0, 0.7, 0.3], [0.0, 0.0, 1.0]])
    x, centres = np.array([0.0, far, 1.0, -1.0]), np.array([0.0, far, -far])

    def exact(v):
        table = np.concatenate([special.softmax(v), [0.0]])
        at = log_paths(
            x,
            start,
            np.stack([table, *moves[1:]]),
            lambda k: stats.norm(centres[k], 1).logpdf(x).sum(-1),
        )
        return special.logsumexp(at)

    first = tf.Variable(np.log([0.8, 0.2]), dtype=dtype)

    def chain():
        # the 0 is one of a softmax, or a constant
        top = tf.nn.softmax(tf.concat([first, [tf.cast(-np.inf, dtype)]], 0))
        table = tf.concat([top[tf.newaxis], tf.cast(moves[1:], dtype)], 0)
        return hidden_chain(tf.cast(start, dtype), table)

    small = marginals.forward(
        et.LatentVariableModel(
            chain,
            lambda k: tfd.Independent(
                tfd.Normal(tf.gather(tf.cast(centres, dtype), k), tf.ones([], dtype)), 1
            ),
        )
    )
    data = tf.constant(x[np.newaxis], dtype)

    @tf.function(jit_compile=True)
    def asked():
        with tf.GradientTape(persistent=True) as tape:
            value, after = small.log_evidence(data), small.posterior(data)
            most = after.marginals().logits_parameter()[..., 0]
        slopes = tape.gradient(value, first), tape.gradient(most, first)
        return value, slopes, after.sample(5, seed=(0, 1)), tf.exp(most)

    value, (slope, of_marginals), path, chances = asked()
    rtol = 1e-6 if dtype == tf.float32 else 1e-13
    np.testing.assert_allclose(value, [exact(first.numpy())], rtol=rtol)
    difference = oracles.difference(exact, first.numpy().astype(float))
    np.testing.assert_allclose(slope, difference, atol=1e-5)
    assert np.isfinite(of_marginals).all()
    np.testing.assert_array_equal(path, np.zeros([5, 1, T]))
    np.testing.assert_allclose(chances, np.ones([1, T]), atol=1e-6)


def test_data_that_no_path_can_give():
    """Evidence -inf with a gradient of 0; the other series is not disturbed."""
    logits = tf.Variable(np.log(MOVES + 0.1))
    # a normal's density at 1e200 is 0
    x = np.array([[0.5, 1e200, 1.0, 0.2], [0.5, -1.0, 1.0, 0.2]])
    model = et.LatentVariableModel(
        lambda: hidden_chain(moves=tf.nn.softmax(logits)), gaussian().likelihood
    )
    small = marginals.forward(model)
    with tf.GradientTape(persistent=True) as tape:
        value = small.log_evidence(x)
        alone = small.log_evidence(x[1:])
    assert value[0] == -np.inf and np.isfinite(value[1])
    slope = tape.gradient(value, logits)
    np.testing.assert_allclose(slope, tape.gradient(alone, logits), atol=1e-12)


def test_one_step_is_a_mixture():
    model = et.LatentVariableModel(
        hidden_chain(steps=1),
        lambda k: tfd.Independent(tfd.Normal(tf.gather(CENTRES, k), one), 1),
    )
    x = np.array([[0.3], [2.0]])
    exact = np.log(np.sum(START * stats.norm(CENTRES, 1).pdf(x), -1))
    small = marginals.forward(model)
    np.testing.assert_allclose(small.log_evidence(x), exact, atol=1e-12)
    assert small.posterior(x).sample(3, seed=0).shape == (3, 2, 1)


def emitting(likelihood):
    return et.LatentVariableModel(hidden_chain(), likelihood)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            et.LatentVariableModel(tfd.Categorical(probs=START), tfd.Poisson),
            ["'z' to be a tfd.MarkovChain", "Categorical"],
        ),
        (
            et.LatentVariableModel(
                tfd.MarkovChain(
                    tfd.Normal(0 * one, 1.0), lambda t, z: tfd.Normal(z, one), T
                ),
                lambda z: tfd.Independent(tfd.Normal(z, one), 1),
            ),
            ["states of 'z' to be tfd.Categorical", "Normal"],
        ),
        (
            emitting(lambda k: tfd.Normal(tf.gather(CENTRES, k[..., 0]), one)),
            ["likelihood of a series", "T=4", "Normal"],
        ),
        (
            emitting(
                lambda k: tfd.Independent(
                    tfd.Normal(tf.gather(CENTRES, tf.roll(k, 1, -1)), one), 1
                )
            ),
            ["data depend on other steps of 'z'"],
        ),
    ],
)
def test_errors_say_what_is_no_hidden_markov_model(model, message):
    with says(*message):
        marginals.forward(model)


def test_errors_about_the_other_latents():
    tied = tfd.JointDistributionNamed(
        {
            "k": hidden_chain(),
            "v": lambda k: tfd.Normal(tf.gather(CENTRES, k[..., 0]), 1.0),
        }
    )
    model = et.LatentVariableModel(
        tied,
        lambda z: tfd.Independent(tfd.Normal(tf.gather(CENTRES, z["k"]), one), 1),
    )
    with says("another latent depends on 'k'"):
        marginals.forward(model, "k")


def test_hidden_steps_and_a_fit_that_compiles():
    logits, seen = tf.Variable(np.log(MOVES + 0.1)), np.array([True, False, True, True])
    model = et.LatentVariableModel(
        lambda: hidden_chain(moves=tf.nn.softmax(logits)),
        lambda k: tfd.Independent(
            tfd.Masked(tfd.Normal(tf.gather(CENTRES, k), 0.8 * one), seen), 1
        ),
    )
    small, x = marginals.forward(model), np.array([0.5, 1e6, 1.0, 0.2])

    def exact(v):
        def emit(k):
            return stats.norm(CENTRES[k], 0.8).logpdf(x)[:, seen].sum(-1)

        moves = special.softmax(v, -1)
        return special.logsumexp(log_paths(x, moves=moves, emit=emit))

    before = logits.numpy()
    with tf.GradientTape() as tape:
        value = small.log_evidence(x)
    assert abs(value - exact(before)) < 1e-10
    gradient = oracles.difference(exact, before)
    np.testing.assert_allclose(tape.gradient(value, logits), gradient, atol=1e-7)
    optimizer = keras.optimizers.SGD(0.1)
    result = et.fit(
        lambda: small.log_evidence(x),
        num_steps=2,
        optimizer=optimizer,
        seed=0,
        progress=False,
    )
    assert result.compiled and abs(result.elbo[0] - exact(before)) < 1e-5
    np.testing.assert_allclose(
        result.elbo[1], exact(before + 0.1 * gradient), atol=1e-5
    )


def test_several_series_a_sample_and_the_mean():
    small, x = (
        marginals.forward(gaussian()),
        np.random.default_rng(1).normal(size=[6, 2, T]),
    )
    given = small.likelihood(tf.zeros([2, 0], tf.float64))
    exact = [[special.logsumexp(log_paths(row)) for row in pair] for pair in x]
    np.testing.assert_allclose(given.log_prob(x), exact, atol=1e-10)
    chances = [START]
    for _ in range(T - 1):
        chances.append(chances[-1] @ MOVES)
    mean = np.array(chances) @ CENTRES
    np.testing.assert_allclose(given.mean(), [mean, mean], atol=1e-10)


def test_slopes_beside_forbidden_moves_and_without_any_path():
    table = tf.Variable([[1.0, 2.0, -np.inf], [-np.inf, 0.5, 0.2], [0.0, -np.inf, 1.0]])
    limits = tf.constant([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])

    def model():
        return et.LatentVariableModel(
            tfd.MarkovChain(
                tfd.Categorical(logits=tf.zeros(3)),
                lambda t, k: tfd.Categorical(logits=tf.gather(table, k)),
                T,
            ),
            lambda k: tfd.Independent(
                tfd.Uniform(*tf.unstack(tf.gather(limits, k), axis=-1)), 1
            ),
        )

    # the path 0, 1, 2, 0 is told exactly; then one with a forbidden move
    told, never = [[0.5, 2.5, 4.5, 0.5]], [[0.5, 4.5, 4.5, 0.5]]
    with tf.GradientTape(persistent=True) as tape:
        small = marginals.forward(model())
        seen, impossible = small.log_evidence(told), small.log_evidence(never)
        moves = tf.math.log_softmax(table)
        by_hand = moves[0, 1] + moves[1, 2] + moves[2, 0] - np.log(3)
    np.testing.assert_allclose(seen[0], by_hand, rtol=1e-6)
    slopes = [
        tf.convert_to_tensor(tape.gradient(value, table)).numpy()
        for value in (seen, by_hand, impossible)
    ]
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-6)
    assert impossible[0] == -np.inf and np.all(np.isfinite(slopes[2]))


def test_data_of_bounded_support_that_depend_on_another_step_are_refused():
    # x_t ~ U(k_t + 4 k_t-1, ... + 1/2): along most paths log p(x) of others is -inf
    def likelihood(k):
        k = tf.cast(k, tf.float32)
        before = tf.concat([tf.zeros_like(k[..., :1]), k[..., :-1]], -1)
        return tfd.Independent(tfd.Uniform(k + 4 * before, k + 4 * before + 0.5), 1)

    chain = hidden_chain(np.float32(START), np.float32(MOVES))
    with says("a step's data depend on other steps of 'z'"):
        marginals.forward(et.LatentVariableModel(chain, likelihood))
