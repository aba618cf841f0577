"""Refinement: the best member of a family per datum, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp import families, gaps, models
from elbo_tfp.families.base import raw_of_positive
from elbo_tfp.gaps import climb
from elbo_tfp.ground import compiled as cache
from elbo_tfp.ground.seeds import fold_in
from tests.changing import PLACES, kept, model_of
from tests.statistics import says

tfd = tfp.distributions
WEIGHTS = np.array([[1.0, 0.6], [0.2, 0.9], [0.7, 0.4]])
X = np.random.default_rng(0).normal(size=[12, 3])


MODEL = models.linear_gaussian(WEIGHTS, 0.1, 0.5)
MEAN_FIELD = families.mean_field(2, dtype=tf.float64)
FULL_RANK = families.full_rank(2, dtype=tf.float64)


def posterior():
    """(mean map, precision) of p(z | x), NumPy only."""
    precision = np.eye(2) + WEIGHTS.T @ WEIGHTS / 0.25
    return np.linalg.solve(precision, WEIGHTS.T) / 0.25, precision


def exact_encoder(family):
    """The best member of the family for every datum."""
    gain, precision = posterior()
    full = family.parameters_size > 4
    cov = np.linalg.inv(precision)
    # best mean-field scales: 1 / sqrt(P_ii), not the marginal ones
    tril = np.linalg.cholesky(cov) if full else np.diag(np.diag(precision) ** -0.5)
    raw = raw_of_positive(tf.constant(np.diag(tril)))
    # beside the diagonal: in units of the row's diagonal
    rest = tf.constant([tril[1, 0] / tril[1, 1]] if full else [], tf.float64)

    def network(x):
        mean = tf.linalg.matvec(tf.constant(gain), x - 0.1)
        tail = tf.concat([raw, rest], 0)
        return tf.concat([mean, tf.broadcast_to(tail, [len(x), len(tail)])], -1)

    return families.Encoder(network, family)


def crude_encoder(family):
    """One answer for all data, far from most."""
    start = tf.convert_to_tensor(family.free_parameters)
    return families.Encoder(
        lambda x: tf.broadcast_to(start, [len(x), len(start)]), family
    )


def best_elbo(mean_field):
    """max ELBO per datum: log p(x) less KL of the best Gaussian, closed form."""
    log_p = MODEL.log_evidence(X).numpy()
    _, precision = posterior()
    # min KL over diagonal Gaussians = (sum log P_ii - log det P) / 2
    gap = np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]
    return log_p - gap / 2 * mean_field, gap / 2


@pytest.mark.parametrize("family", [MEAN_FIELD, FULL_RANK], ids=["mean", "full"])
def test_a_crude_start_climbs_to_the_best_member(family):
    found = gaps.refine(crude_encoder(family), MODEL, X, seed=0)
    exact, gap = best_elbo(family is MEAN_FIELD)
    assert gap > 0.1  # a mean field is not exact here
    assert found.converged.all() and found.rounds < 10
    away = found.after.value - exact
    assert np.abs(away.mean()) < 0.01 and (np.abs(away) < 0.1).all(), away
    # paired noise: what a round is judged by is known better than either side
    np.testing.assert_allclose(
        found.gain.value, found.after.value - found.before.value, atol=1e-12
    )
    assert found.gain.value.min() > 0.1
    again = found.surrogate_posterior.mean()
    gain, _ = posterior()
    np.testing.assert_allclose(again, (X - 0.1) @ gain.T, atol=0.05)


def test_nothing_is_gained_from_the_posterior_itself():
    encoder = exact_encoder(FULL_RANK)
    found = gaps.refine(encoder, MODEL, X, seed=0)
    assert found.rounds == 1 and found.converged.all()
    assert (np.abs(found.gain.value) <= 4 * found.gain.standard_error).all()
    assert found.gain.standard_error.max() < 1e-4
    log_p = MODEL.log_evidence(X)
    np.testing.assert_allclose(found.after.value, log_p, atol=1e-4)


def test_the_start_is_kept_where_a_round_makes_it_worse():
    encoder = exact_encoder(MEAN_FIELD)
    found = gaps.refine(
        encoder, MODEL, X, num_steps=2, max_rounds=1, learning_rate=3.0, seed=0
    )
    np.testing.assert_allclose(found.parameters, encoder.network(X))
    assert not found.gain.value.any()


def test_too_few_steps_do_not_pass_for_convergence():
    encoder = crude_encoder(MEAN_FIELD)
    found = gaps.refine(encoder, MODEL, X, num_steps=20, max_rounds=1, seed=0)
    assert found.rounds == 1 and not found.converged.any()
    assert found.gain.value.min() > 0


def test_one_seed_one_answer_and_one_datum():
    encoder = crude_encoder(MEAN_FIELD)
    options = {"num_steps": 20, "max_rounds": 1}
    first, again, other = (
        gaps.refine(encoder, MODEL, X[:1], seed=s, **options) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert not np.array_equal(first.parameters, other.parameters)
    assert first.after.value.shape == (1,) and np.isnan(first.after.mean.data_error)


def test_a_bare_network_and_a_bare_distribution_with_their_family():
    family = MEAN_FIELD
    options = {"num_steps": 20, "max_rounds": 1, "seed": 0}
    network = crude_encoder(family).network
    first = gaps.refine(families.Encoder(network, family), MODEL, X, **options)
    second = gaps.refine(network, MODEL, X, family=family, **options)
    third = gaps.refine(
        lambda x: family(network(x)), MODEL, X, family=family, **options
    )
    np.testing.assert_array_equal(first.parameters, second.parameters)
    np.testing.assert_array_equal(first.parameters, third.parameters)
    # the same noise, whichever way q came about
    np.testing.assert_allclose(first.before.value, third.before.value, atol=1e-9)


def test_ascent_is_adam_with_a_cosine_and_an_average():
    x, seed, steps, rate = tf.constant(X[:3]), (0, 5), 4, 0.1
    at = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
    target = MODEL.log_joint(x)
    found = climb.ascend(
        target,
        MEAN_FIELD,
        tf.constant(at),
        num_steps=steps,
        learning_rate=rate,
        sample_size=3,
        seed=seed,
    )
    mean = square = last = 0.0
    for step in range(steps):
        parameters = tf.constant(at)
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            estimate = et.gradients.sticking_the_landing(
                target, MEAN_FIELD(parameters), sample_size=3, seed=fold_in(seed, step)
            )
            total = tf.reduce_sum(estimate.surrogate)
        slope = tape.gradient(total, parameters).numpy()
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        ratio = mean / (1 - 0.9 ** (step + 1))
        ratio /= np.sqrt(square / (1 - 0.99 ** (step + 1))) + 1e-6
        at = at + rate * (1 + np.cos(np.pi * step / steps)) / 2 * ratio
        last = last + at / 2 if step >= 2 else last
    np.testing.assert_allclose(found, last, atol=1e-9)


def test_other_data_seeds_weights_and_objects_compile_nothing():
    cache.clear()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model = models.linear_gaussian(rng.normal(size=[3, 2]), 0.1, 0.5)
        family = families.mean_field(2, dtype=tf.float64, seed=seed)
        gaps.refine(
            crude_encoder(family),
            model,
            X + seed,
            seed=seed,
            num_steps=50 * (seed + 1),
            max_rounds=1 + seed,
            learning_rate=0.01 * (seed + 1),
        )
        assert cache.count() == 2  # the climb, and the weights that judge it


@pytest.mark.parametrize("place", PLACES)
def test_refinement_sees_a_setting_that_changed(place):
    """At x = 6 the best mean is 6 / (1 + s^2): 3 for s = 1, 0.6 for s = 3."""
    read, change = kept(place)
    model, family = model_of(read, 1), families.mean_field(1, dtype=tf.float64)
    x, options = np.full([1, 1], 6.0), {"num_steps": 60, "max_rounds": 1, "seed": 0}
    for scale in (1.0, 3.0):
        change(scale)
        found = gaps.refine(
            crude_encoder(family), model, x, learning_rate=0.2, **options
        )
        exact = 6 / (1 + scale**2)
        np.testing.assert_allclose(
            found.surrogate_posterior.mean(), [[exact]], atol=0.5
        )
        log_p = stats.norm(0, (1 + scale**2) ** 0.5).logpdf(6)
        np.testing.assert_allclose(found.after.value, [log_p], atol=0.3)


def test_blocks_of_a_known_length_change_no_number():
    x = tf.constant(X[:3])
    options = {"num_steps": 6, "learning_rate": 0.1, "sample_size": 2, "seed": (0, 5)}
    target, start = MODEL.log_joint(x), tf.zeros([3, 4], tf.float64)
    one, two, six = (
        climb.ascend(target, MEAN_FIELD, start, block=n, **options) for n in (1, 2, 6)
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)
    np.testing.assert_allclose(one, six, rtol=1e-12)
    assert np.abs(one).max() > 0.1


def test_a_pin_is_one_datum_and_its_family_s_own_member_the_start():
    """x_n ~ N(z, 1), z ~ N(0, 1): the posterior is a Gaussian, so nothing is left."""
    joint = tfd.JointDistributionSequentialAutoBatched(
        [
            tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), 1),
            lambda z: tfd.Sample(tfd.Normal(z[..., 0], tf.ones([], tf.float64)), 3),
        ]
    )
    pin = joint.experimental_pin(None, X[0])
    target = lambda z: pin.unnormalized_log_prob([z])  # noqa: E731
    q = families.mean_field(1, dtype=tf.float64)
    found = gaps.refine(q, target, num_steps=100, seed=0)
    log_p = stats.multivariate_normal(np.zeros(3), np.eye(3) + 1).logpdf(X[0])
    np.testing.assert_allclose(found.after.value, [log_p], atol=0.01)
    np.testing.assert_allclose(
        found.surrogate_posterior.mean(), [X[0].sum() / 4], atol=0.01
    )
    report = gaps.gap_report(target, q, num_steps=100, seed=0)
    assert report.amortization_gap.value[0] > 0.1
    np.testing.assert_allclose(report.approximation_gap.value, [0.0], atol=0.01)
    exact = gaps.gap_report(
        target, q, evidence="quadrature", num_steps=100, jit_compile=False, seed=0
    )
    np.testing.assert_allclose(exact.evidence.value, [log_p], atol=1e-6)
    with says("a family of one member", "got Normal"):
        gaps.refine(tfd.Normal(0.0, 1.0), target, seed=0)
    with says("x=None with a target that holds its data"):
        gaps.refine(q, target, X, seed=0)


def test_a_global_latent_has_no_gap_of_one_datum():
    model = et.LatentVariableModel(
        tfd.Normal(0.0, 1.0), lambda z, w: tfd.Normal(z + w, 1.0), tfd.Normal(0.0, 1.0)
    )
    with says("the pair (encoder, q of the global latent)", "one gap for all"):
        gaps.refine(ENCODER, model, X, seed=0)
    with says("a family of one member", "got Normal"):
        gaps.refine((ENCODER, tfd.Normal(0.0, 1.0)), model, X, seed=0)


ENCODER = crude_encoder(MEAN_FIELD)


def cut(x):
    return ENCODER.network(x)[:-1]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((ENCODER.network, MODEL, X), {}, ["Encoder(network, family)", "family="]),
        ((ENCODER, MODEL, X), {"family": families.mean_field(2)}, ["family=None"]),
        ((MODEL, ENCODER, X), {}, ["a LatentVariableModel", "got Encoder", "order"]),
        ((ENCODER, MODEL, X[0]), {}, ["[B]", "x[tf.newaxis]"]),
        ((ENCODER, MODEL, None), {}, ["expected x"]),
        (
            (families.Encoder(cut, ENCODER.family), MODEL, X),
            {},
            ["one row per datum, batch shape [12]; got [11]"],
        ),
        (
            (families.Encoder(lambda x: x, ENCODER.family), MODEL, X),
            {},
            ["parameters [..., 4]"],
        ),
        ((ENCODER, MODEL, X), {"num_steps": 0}, ["num_steps to be a positive int"]),
        ((ENCODER, MODEL, X), {"max_rounds": "2"}, ["max_rounds", "'2'"]),
        (
            (ENCODER, MODEL, X),
            {"tolerance": np.nan},
            ["tolerance", "positive number; got nan"],
        ),
        (
            (ENCODER, MODEL, X),
            {"tolerance": -1.0},
            ["tolerance", "positive number; got -1.0"],
        ),
        (
            (ENCODER, MODEL, np.ones([3, 3], int)),
            {},
            ["likelihood's dtype float64; got int64"],
        ),
        (
            (ENCODER, MODEL, X),
            {"evaluation_size": 1},
            ["evaluation_size", ">= 2", "got 1"],
        ),
        (
            (ENCODER, MODEL, X),
            {"learning_rate": 0.0},
            ["learning_rate to be a positive number"],
        ),
    ],
)
def test_wrong_input_is_named(arguments, options, words):
    with says(*words):
        gaps.refine(*arguments, seed=0, **options)


def test_an_encoder_outside_the_support_is_named():
    model = et.LatentVariableModel(
        tfd.Independent(tfd.Normal(np.zeros(2), 1.0), 1),
        lambda z: tfd.Independent(tfd.Uniform(z[..., :1] - 0.1, z[..., :1] + 0.1), 1),
    )
    with says("ELBO to be finite", "12 data"):
        gaps.refine(ENCODER, model, X[:, :1], num_steps=2, max_rounds=1, seed=0)
    bounded = et.LatentVariableModel(
        model.prior,
        lambda z: tfd.Independent(
            tfd.Uniform(z[..., :1] * 0 - 5, z[..., :1] * 0 + 5), 1
        ),
    )
    x = np.where(np.arange(12)[:, None] == 3, 7.0, X[:, :1])
    with says("ELBO to be finite", "for 1 of 12 data"):
        gaps.refine(ENCODER, bounded, x, num_steps=2, max_rounds=1, seed=0)


# semi-amortized training


def trainable_bias():
    bias = tf.Variable(np.zeros(4), name="bias")
    family = MEAN_FIELD
    network = lambda x: bias + tf.zeros([x.shape[0], 1], x.dtype)  # noqa: E731
    return bias, families.Encoder(network, family)


def test_semi_amortized_gradients_decoder_refined_encoder_its_own():
    bias, encoder = trainable_bias()
    weights = tf.Variable(WEIGHTS)
    model = models.linear_gaussian(weights, 0.1, 0.5)
    objective = gaps.semi_amortized(
        model, encoder, num_steps=150, refine_sample_size=16, sample_size=10_000
    )

    @tf.function(jit_compile=True)
    def run(seed):
        with tf.GradientTape() as tape:
            made = objective(tf.constant(X), seed)
            total = tf.reduce_mean(made.surrogate)
        return made, tape.gradient(total, [weights, bias])

    made, (for_model, for_encoder) = run((0, 1))
    np.testing.assert_array_equal(made.value, made.surrogate)
    np.testing.assert_array_equal(made.value, made.elbo)
    exact, _ = best_elbo(True)
    np.testing.assert_allclose(made.value, exact, atol=0.1)
    # the encoder's: d ELBO / d mean at q = N(0, I), the prior: W' (x - b) / s^2
    np.testing.assert_allclose(
        for_encoder[:2], (WEIGHTS.T @ (X - 0.1).mean(0)) / 0.25, atol=0.1
    )
    # the model's: E_q[(x - b - W z) z'] / s^2 at the best q, mean over data
    gain, precision = posterior()
    mean, var = (X - 0.1) @ gain.T, np.diag(1 / np.diag(precision))
    at_best = [
        np.outer(x - 0.1 - WEIGHTS @ m, m) - WEIGHTS @ var
        for x, m in zip(X, mean, strict=True)
    ]
    np.testing.assert_allclose(for_model, np.mean(at_best, 0) / 0.25, atol=0.06)


def test_semi_amortized_training_runs_in_fit_with_a_weight():
    _, encoder = trainable_bias()
    objective = gaps.semi_amortized(MODEL, encoder, num_steps=3)
    result = et.fit(
        objective,
        data=X,
        batch_size=6,
        num_steps=40,
        kl_schedule=et.KLSchedule.linear(20),
        optimizer=keras.optimizers.Adam(0.05),
        seed=0,
    )
    assert result.compiled and np.isfinite(result.elbo).all()
    assert result.elbo[-10:].mean() > result.elbo[:10].mean()
    with says("Encoder(network, family)"):
        gaps.semi_amortized(MODEL, encoder.network)
    with says("num_steps to be a positive int"):
        gaps.semi_amortized(MODEL, encoder, num_steps=0)
    for rate in (-1.0, 0.0, np.nan, "a"):
        with says("learning_rate to be a positive number", f"got {rate!r}"):
            gaps.semi_amortized(MODEL, encoder, learning_rate=rate)
    with says("a LatentVariableModel first", "got Encoder"):
        gaps.semi_amortized(encoder, MODEL)
    answer = families.Encoder(lambda x: encoder(x), MEAN_FIELD)
    with says("the family's parameters", "got the distribution"):
        gaps.semi_amortized(MODEL, answer)(tf.constant(X), 0)
