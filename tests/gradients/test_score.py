"""Score-function gradients: averaged exactly over every possible draw of a toy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp import LatentVariableModel, bounds, draw, gradients
from elbo_tfp.types import Draws

tfd = tfp.distributions
X = np.array([2.0, -1.0])
LOGITS = tf.Variable([[0.3, -0.4, 0.1], [-1.0, 0.2, 0.5]], dtype=tf.float64)
TABLE = tf.Variable([-1.5, 0.2, 1.9], dtype=tf.float64)
PRIOR = tf.Variable([0.0, 0.5, -0.3], dtype=tf.float64)
ALL = [LOGITS, TABLE, PRIOR]


class Planted:
    """q whose next samples are known: averages over draws become sums."""

    def __init__(self, q, z):
        self.q, self.z = q, z

    def sample(self, sample_shape, seed):
        return self.z

    def log_prob(self, z):
        return self.q.log_prob(z)


def q():
    return tfd.Categorical(LOGITS)


def model():
    return LatentVariableModel(
        lambda: tfd.Categorical(PRIOR), lambda z: tfd.Normal(tf.gather(TABLE, z), 1.0)
    )


def parts(z):
    """(log p(x | z), log p(z), log q(z)) of both data for one z each, `[2]`."""
    draws = draw(model().log_joint(X), Planted(q(), z[None]), seed=0)
    return draws.log_likelihood[0], draws.log_prior[0], draws.log_q[0]


def gradient(value):
    """Gradients with respect to LOGITS, TABLE and PRIOR of the data's mean."""
    with tf.GradientTape() as tape:
        mean = tf.reduce_mean(value())
    grads = tape.gradient(mean, ALL, unconnected_gradients="zero")
    return np.concatenate([tf.convert_to_tensor(g).numpy().ravel() for g in grads])


def exact_elbo(kl_weight=1.0):
    """E_q[log p(x | z)] - beta KL, `[2]`, summed over the three values of z."""
    total = 0.0
    for k in range(3):
        likelihood, prior, log_q = parts(tf.constant([k, k]))
        total += tf.exp(log_q) * (likelihood + kl_weight * (prior - log_q))
    return total


def exact_iwae():
    """E log((w_1 + w_2) / 2), `[2]`, summed over the nine pairs."""
    total = 0.0
    for j, k in itertools.product(range(3), repeat=2):
        first, second = parts(tf.constant([j, j])), parts(tf.constant([k, k]))
        log_w = [a + b - c for a, b, c in (first, second)]
        mean = tf.reduce_logsumexp(log_w, 0) - np.log(2.0)
        total += tf.exp(first[2] + second[2]) * mean
    return total


def exact_bound(bound):
    """E bound(w_1, w_2), `[2]`, summed over the nine pairs."""
    total = 0.0
    for j, k in itertools.product(range(3), repeat=2):
        both = [parts(tf.constant([i, i])) for i in (j, k)]
        log_w = tf.stack([a + b - c for a, b, c in both])
        total += tf.exp(both[0][2] + both[1][2]) * bound(log_w)
    return total


@pytest.mark.parametrize(
    "bound",
    [
        lambda d: bounds.renyi(d, alpha=0.5),
        lambda d: bounds.tvo(d, [0, 0.4, 1]),
        bounds.elbo,
    ],
)
def test_any_bound_by_enumeration(bound):
    options = {"bound": bound, "baseline": -1.0}
    found = expectation(gradients.score_function, (1, 2), **options)
    exact = gradient(lambda: exact_bound(bound))
    assert np.abs(exact).max() > 0.05
    np.testing.assert_allclose(found, exact, atol=1e-12)


def every_draw(estimator, sizes, offset=0.0, **options):
    """(probability, gradient) of an estimate for every possible draw of both data.

    The data share their draws: the mean over data of each one's gradient needs only
    each datum's own average, so the draws of datum 2 may follow those of datum 1.
    An `offset` of the target stands for an evidence far from 0.
    """
    joint = model().log_joint(X)
    target = joint if not offset else lambda z: joint(z) + offset
    count = int(np.prod(sizes))
    for ks in itertools.product(range(3), repeat=count):
        z = tf.constant([[k, k] for k in ks])
        log_q = sum(parts(row)[2] for row in tf.unstack(z))
        z = tf.reshape(z, [*sizes, 2])
        weights = tf.exp(log_q)

        def value(z=z, weights=weights):
            made = estimator(
                target,
                Planted(q(), z),
                sample_size=sizes[0],
                importance_sample_size=sizes[1],
                seed=0,
                **options,
            )
            return tf.stop_gradient(weights) * made.surrogate

        yield weights.numpy(), gradient(value)


def expectation(estimator, sizes, **options):
    return sum(g for _, g in every_draw(estimator, sizes, **options))


@pytest.mark.parametrize(
    ("estimator", "sizes", "options"),
    [
        (gradients.score_function, (1, 1), {}),
        (gradients.score_function, (2, 1), {"baseline": 0.7}),
        (gradients.score_function, (1, 1), {"baseline": np.array([3.0, -2.0])}),
        (gradients.score_function, (1, 1), {"kl_weight": 0.3}),
        (gradients.leave_one_out, (2, 1), {}),
        (gradients.leave_one_out, (3, 1), {}),
        (gradients.leave_one_out, (2, 1), {"kl_weight": 0.3}),
    ],
)
def test_expected_gradient_over_all_draws_is_the_exact_one(estimator, sizes, options):
    exact = gradient(lambda: exact_elbo(options.get("kl_weight", 1.0)))
    found = expectation(estimator, sizes, **options)
    np.testing.assert_allclose(found, exact, atol=1e-13)
    assert (np.abs(exact) > 1e-3).all()  # no entry passes by being zero


def test_two_importance_samples_climb_the_importance_weighted_bound():
    exact = gradient(exact_iwae)
    found = expectation(gradients.score_function, (1, 2))
    np.testing.assert_allclose(found, exact, atol=1e-13)
    assert np.abs(exact - gradient(exact_elbo)).max() > 0.01


def test_leave_one_out_has_less_variance_at_the_same_number_of_samples():
    def variance(estimator):
        draws = list(every_draw(estimator, (2, 1), offset=-10.0))
        p = np.array([w[0] for w, _ in draws])
        # gradient of datum 1's logits only, its weight removed
        g = np.array([g[:3] / w[0] for w, g in draws])
        return p @ np.square(g - p @ g).sum(1)

    plain, better = map(variance, [gradients.score_function, gradients.leave_one_out])
    assert better < 0.1 * plain


def test_hand_formula_on_a_fixed_draw_of_a_normal():
    m, x, z = 0.5, 2.0, np.array([0.1, 1.7, -0.6])
    loc = tf.Variable(m, dtype=tf.float64)
    normal = tfd.Normal(loc, tf.constant(1.0, tf.float64))
    one = tf.constant(1.0, tf.float64)
    target = LatentVariableModel(
        tfd.Normal(0 * one, one), lambda z: tfd.Normal(z, one)
    ).log_joint(x * one)

    def of(estimator, **options):
        with tf.GradientTape() as tape:
            made = estimator(
                target, Planted(normal, z[:, None]), sample_size=3, seed=0, **options
            )
        return float(tape.gradient(made.surrogate, loc)), made

    def log_normal(v, mean):
        return -0.5 * (v - mean) ** 2 - 0.5 * np.log(2 * np.pi)

    f = log_normal(z, 0) + log_normal(x, z) - log_normal(z, m)
    score = z - m
    slope, made = of(gradients.score_function)
    np.testing.assert_allclose(slope, np.mean(f * score), rtol=1e-12)
    np.testing.assert_allclose([made.value, made.elbo, made.surrogate], f.mean())
    slope, _ = of(gradients.score_function, baseline=-3.0)
    np.testing.assert_allclose(slope, np.mean((f + 3) * score), rtol=1e-12)
    others = np.array([f[1] + f[2], f[0] + f[2], f[0] + f[1]]) / 2
    slope, _ = of(gradients.leave_one_out)
    np.testing.assert_allclose(slope, np.mean((f - others) * score), rtol=1e-12)


def test_one_value_whatever_the_estimator():
    one = tf.constant(1.0, tf.float64)
    target = LatentVariableModel(
        tfd.Normal(0 * one, one), lambda z: tfd.Normal(z, one)
    ).log_joint(X)
    normal = tfd.Normal(X / 3, one)
    made = [
        estimator(target, normal, sample_size=4, seed=3, kl_weight=0.5)
        for estimator in (
            gradients.reparameterized,
            gradients.score_function,
            gradients.leave_one_out,
        )
    ]
    for other in made[1:]:
        np.testing.assert_allclose(other.value, made[0].value, rtol=1e-13)
        np.testing.assert_allclose(other.elbo, made[0].elbo, rtol=1e-13)
        np.testing.assert_array_equal(other.surrogate, other.value)
    assert np.abs(made[0].value - made[0].elbo).max() > 0.01


def test_structured_z_with_a_discrete_part_is_unbiased():
    """400 estimates of 25 samples; a term left out moves a z-score beyond 10."""
    logits = tf.Variable([0.4, -0.6], dtype=tf.float64)
    locs = tf.Variable([-0.5, 1.0], dtype=tf.float64)
    one = tf.constant(1.0, tf.float64)

    def q():
        return tfd.JointDistributionNamed(
            {
                "k": tfd.Categorical(logits),
                "u": lambda k: tfd.Normal(tf.gather(locs, k), one),
            }
        )

    def target(k, u):  # p(k) uniform, u ~ N(2 k, 1), x = 1.5 ~ N(u, 1)
        u_given_k = tfd.Normal(2.0 * tf.cast(k, tf.float64), one).log_prob(u)
        return u_given_k + tfd.Normal(u, one).log_prob(1.5) - np.log(2.0)

    @tf.function(jit_compile=True)
    def estimates(estimator_seeds):
        def one_gradient(seed):
            with tf.GradientTape() as tape:
                made = gradients.leave_one_out(target, q(), sample_size=25, seed=seed)
            return tf.concat(tape.gradient(made.surrogate, [logits, locs]), 0)

        return tf.map_fn(one_gradient, estimator_seeds, fn_output_signature=tf.float64)

    seeds = np.stack([np.zeros(400), np.arange(400)], 1).astype(np.int32)
    found = estimates(tf.constant(seeds)).numpy()
    with tf.GradientTape() as tape:
        mean = 2.0 * np.arange(2)
        # E over u ~ N(a, 1): -(a - 2k)^2 / 2 - (a - 1.5)^2 / 2, up to constants
        inner = -0.5 * (locs - mean) ** 2 - 0.5 * (locs - 1.5) ** 2
        log_q = tf.nn.log_softmax(logits)
        elbo = tf.reduce_sum(tf.exp(log_q) * (inner - log_q))
    exact = tf.concat(tape.gradient(elbo, [logits, locs]), 0).numpy()
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - exact) < 4.5 * error).all()
    assert (error < np.abs(exact) / 10).all()


def test_a_shared_latent_is_scored_in_full():
    one = tf.constant(1.0, tf.float64)
    z, w = np.array([[0.3, -0.8]]), np.array([0.9])
    loc, shared_loc = (tf.Variable(v, dtype=tf.float64) for v in ([0.1, 0.2], 0.4))
    target = LatentVariableModel(
        tfd.Normal(0 * one, one),
        lambda z, w: tfd.Normal(z + w[..., None], one),
        global_prior=tfd.Normal(0 * one, one),
    ).log_joint(X, num_data=10)
    with tf.GradientTape() as tape:
        pair = (
            Planted(tfd.Normal(loc, one), z[None]),
            Planted(tfd.Normal(shared_loc, one), w[None]),
        )
        made = gradients.score_function(target, pair, seed=0)
    grads = tape.gradient(made.surrogate, [loc, shared_loc])

    def log_normal(v, mean):
        return -0.5 * (v - mean) ** 2 - 0.5 * np.log(2 * np.pi)

    shared = log_normal(w, 0) - log_normal(w, 0.4)
    local = log_normal(X, z + w) + log_normal(z, 0) - log_normal(z, [0.1, 0.2])
    f = (local + shared / 10)[0]
    np.testing.assert_allclose(grads[0], f * (z[0] - [0.1, 0.2]), rtol=1e-12)
    np.testing.assert_allclose(grads[1], f.sum() * (0.9 - 0.4), rtol=1e-12)


def test_a_shared_latent_alone_is_scored():
    """Without local latents q is one distribution, not a pair."""
    one = tf.constant(1.0, tf.float64)
    loc = tf.Variable(0.4, dtype=tf.float64)
    w = np.array([0.9, -0.2])
    target = LatentVariableModel(
        None,
        lambda w: tfd.Normal(w[..., None], one),
        global_prior=tfd.Normal(0 * one, one),
    ).log_joint(X, num_data=10)

    def log_normal(v, mean):
        return -0.5 * (v - mean) ** 2 - 0.5 * np.log(2 * np.pi)

    f = log_normal(X, w[:, None])
    f += (log_normal(w, 0) - log_normal(w, 0.4))[:, None] / 10
    score = (w - 0.4)[:, None]
    for name, centred in (
        ("score_function", f),
        ("leave_one_out", 2 * (f - f.mean(0))),
    ):
        with tf.GradientTape() as tape:
            planted = Planted(tfd.Normal(loc, one), w[:, None])
            made = getattr(gradients, name)(target, planted, sample_size=2, seed=0)
        np.testing.assert_allclose(made.value, f.mean(0), rtol=1e-12)
        exact = (centred * score).mean(0).sum()
        np.testing.assert_allclose(tape.gradient(made.surrogate, loc), exact, 1e-12)


def test_below_the_floor_the_rate_exerts_no_pull():
    def of(free_bits):
        return gradient(
            lambda: (
                gradients.leave_one_out(
                    model().log_joint(X),
                    q(),
                    sample_size=4,
                    seed=1,
                    free_bits=free_bits,
                ).surrogate
            )
        )

    def reconstruction_only():
        return gradients.leave_one_out(
            model().log_joint(X), q(), sample_size=4, seed=1, kl_weight=0.0
        ).surrogate

    rate = draw(model().log_joint(X), q(), 4, seed=1)
    rate = float(tf.reduce_mean(rate.log_q - rate.log_prior))
    np.testing.assert_allclose(
        of(rate + 5.0), gradient(reconstruction_only), atol=1e-12
    )
    np.testing.assert_allclose(of(1e-9), of(0.0), atol=1e-12)
    assert np.abs(of(rate + 5.0) - of(0.0)).max() > 0.01


def test_a_negative_estimate_of_the_rate_is_kept():
    """A floor of zero is no floor: clipping at 0 would bias the weighted bound."""
    rates = tf.constant([[-0.3], [-0.1]], tf.float64)
    zero = tf.zeros_like(rates)
    draws = Draws(None, zero + 1.0, zero, rates)
    np.testing.assert_allclose(bounds.elbo(draws, kl_weight=0.5), [1.1])
    np.testing.assert_allclose(bounds.elbo(draws, free_bits=0.2), [0.8])


def test_compiled_and_eager_agree_on_a_discrete_q():
    def value(z):
        return gradients.leave_one_out(
            model().log_joint(X), Planted(q(), z), sample_size=3, seed=0
        ).surrogate

    z = tf.constant([[[0, 2]], [[1, 1]], [[2, 0]]])
    compiled = tf.function(value, jit_compile=True)
    np.testing.assert_allclose(compiled(z), value(z), rtol=1e-12)
    np.testing.assert_allclose(
        gradient(lambda: compiled(z)), gradient(lambda: value(z))
    )


def test_errors():
    target = model().log_joint(X)
    with pytest.raises(ValueError, match="sample_size of at least 2.*got 1"):
        gradients.leave_one_out(target, q(), sample_size=1, seed=0)
    with pytest.raises(ValueError, match="importance_sample_size=1.*got 3.*vimco"):
        gradients.leave_one_out(target, q(), importance_sample_size=3, seed=0)
    with pytest.raises(ValueError, match="expected kl_weight=1 and free_bits=0"):
        gradients.score_function(
            target, q(), importance_sample_size=2, kl_weight=0.5, seed=0
        )
    with pytest.raises(ValueError, match="bare target"):
        gradients.score_function(lambda z: target(z), q(), kl_weight=0.5, seed=0)
    with pytest.raises(ValueError, match="leave_one_out or score_function"):
        gradients.reparameterized(target, q(), seed=0)
