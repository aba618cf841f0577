"""Models given a condition, models of what is observed, latents that all data share."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from tests.statistics import assert_mean, close, says

tfd = tfp.distributions
RNG = np.random.default_rng(0)


def normal(loc, scale=1.0):
    return tfd.Normal(loc, np.float64(scale))


# x given a condition: z | c ~ N(c, 1), x | z, c ~ N(z + 2 c, 1/4)


def shifted(z, c):
    both = tf.stack([z, 2 * c], -1)  # c is there for every sample
    return normal(tf.reduce_sum(both, -1), 0.5)


CONDITIONAL = et.models.ConditionalModel(lambda c: normal(c), shifted)
C = np.array([-1.0, 0.5, 2.0])
X = np.array([0.0, 2.0, 5.5])
DATA = {"x": X, "given": C}


def conditional_posterior(data):
    # precision 1 + 4; mean (c + 4 (x - 2 c)) / 5
    x, c = data["x"], data["given"]
    return normal((c + 4 * (x - 2 * c)) / 5, 0.2**0.5)


def test_at_the_exact_posterior_every_weight_is_the_evidence():
    target = CONDITIONAL.log_joint(DATA)
    exact = stats.norm.logpdf(X, 3 * C, 1.25**0.5)
    for size in (4, (2, 3)):
        draws = et.draw(target, conditional_posterior(target.x), size, seed=0)
        np.testing.assert_allclose(
            draws.log_weights, np.broadcast_to(exact, draws.log_q.shape), rtol=1e-10
        )
    close(draws.log_prior, stats.norm.logpdf(draws.z, C))
    bound = et.bounds.iwae(et.draw(target, normal(C), 20_000, seed=1))
    np.testing.assert_allclose(bound, exact, atol=0.1)
    found = target.prior().mean(), target.likelihood(tf.zeros([2, 3], tf.float64))
    np.testing.assert_array_equal(found[0], C)
    np.testing.assert_array_equal(found[1].mean(), np.stack([2 * C] * 2))


def test_the_model_at_given_conditions():
    given = CONDITIONAL.given(C)
    z, x = given.sample(20_000, seed=0)
    assert z.shape == x.shape == (20_000, 3)
    assert_mean(np.stack([x, (x - 3 * C) ** 2], -1), np.stack([3 * C, [1.25] * 3], 1),
                fault=0.12)  # fmt: skip
    one = given.sample(seed=0)[0]
    assert one.shape == (3,)
    close(given.log_joint(X)(one), CONDITIONAL.log_joint(DATA)(one))
    same = et.models.ConditionalModel(normal(0.0), shifted)
    assert same.given(C).prior.batch_shape == [3]
    assert float(same.prior.mean()) == 0
    target = same.log_joint(DATA)
    close(same.given(C).log_joint(X)(one), target(one))
    close(target.log_parts(one)[1], stats.norm.logpdf(one))
    with says("an x for each of the 3 conditions", "got 2"):
        given.log_joint(X[:2])


def test_an_encoder_sees_the_condition_and_fit_feeds_it():
    import keras

    weights = tf.Variable(np.zeros([2, 1]))
    family = et.families.mean_field(1, dtype=tf.float64)
    scale = tf.Variable(np.zeros([1]))

    def network(data):
        rows = tf.stack([data["x"], data["given"]], -1)
        mean = tf.matmul(rows, weights)
        return tf.concat([mean, tf.zeros_like(mean) + scale], -1)

    encoder = et.Encoder(network, family)
    model = et.models.ConditionalModel(
        lambda c: tfd.Independent(normal(c[:, tf.newaxis]), 1),
        lambda z, c: shifted(z[..., 0], c),
    )

    def objective(batch, seed):
        return et.gradients.reparameterized(
            model.log_joint(batch), encoder(batch), sample_size=8, seed=seed
        )

    et.fit(objective, num_steps=600, data=DATA, seed=0, progress=False,
           optimizer=keras.optimizers.Adam(0.02))  # fmt: skip
    # mean (4 x - 7 c) / 5
    np.testing.assert_allclose(weights[:, 0], [0.8, -1.4], atol=0.05)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (X, ['{"x"', '"given"', "EagerTensor|Tensor"]),
        ({"x": X}, ['"given"', "got ['x']"]),
        ({"x": X, "given": C[:2]}, ["the same length", "[2, 3]"]),
        ({"x": X[0], "given": C[0]}, ["first axis", "one number"]),
        ({**DATA, "mask": X > 0}, ["'mask'", "would ignore", "models.observed"]),
        ({"x": X, "given": C * np.nan}, ["x['given'] without NaN"]),
    ],
)
def test_conditional_data_have_both_parts(data, parts):
    with pytest.raises(ValueError) as caught:
        CONDITIONAL.log_joint(data)
    for part in parts:
        assert any(p in str(caught.value) for p in part.split("|")), caught.value


def test_what_needs_a_condition_says_so():
    for use in (
        lambda: CONDITIONAL.prior,
        lambda: CONDITIONAL.likelihood(0.0),
        lambda: CONDITIONAL.sample(seed=0),
        lambda: CONDITIONAL.joint(),
    ):
        with says("given(c)"):
            use()
    with says("without arguments", "global_prior=", "ConditionalModel"):
        et.LatentVariableModel(lambda c: normal(c), lambda z: normal(z))
    other = CONDITIONAL.with_prior(normal(1.0))
    assert float(other.prior.mean()) == 1 and other.reads == {"given"}


# what is observed


WEIGHTS = RNG.normal(size=(4, 2))
BIAS = RNG.normal(size=4)
LINEAR = et.models.linear_gaussian(WEIGHTS, BIAS, 0.7)
PARTIAL = et.models.observed(LINEAR)
FULL = RNG.normal(size=(5, 4))
MASK = (
    np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]]) > 0
)
HOLES = {"x": np.where(MASK, FULL, np.nan), "mask": MASK}


def observed_evidence(weights):
    """log N(x_o; b_o, (W W' + s^2 I)_oo), `[B]`."""
    cov = weights @ weights.T + 0.49 * np.eye(4)
    found = np.zeros(5)
    for i, m in enumerate(MASK[:4]):
        law = stats.multivariate_normal(BIAS[m], cov[np.ix_(m, m)])
        found[i] = law.logpdf(FULL[i, m])
    return found


def observed_posterior():
    """p(z | x_o), closed form."""
    locs, roots = [], []
    for x, m in zip(FULL, MASK, strict=True):
        w = WEIGHTS[m]
        cov = np.linalg.inv(np.eye(2) + w.T @ w / 0.49)
        locs.append(cov @ w.T @ (x[m] - BIAS[m]) / 0.49)
        roots.append(np.linalg.cholesky(cov))
    return tfd.MultivariateNormalTriL(np.stack(locs), np.stack(roots))


@pytest.mark.parametrize("compiled", [False, True])
def test_only_observed_coordinates_count(compiled):
    exact, q = observed_evidence(WEIGHTS), observed_posterior()

    def weights(x, mask):
        target = PARTIAL.log_joint({"x": x, "mask": mask})
        return et.draw(target, q, 3, seed=0).log_weights

    if compiled:
        weights = tf.function(weights, jit_compile=True, autograph=False)
    for other in (np.nan, 0.0, 1e300, np.inf):
        found = weights(tf.constant(np.where(MASK, FULL, other)), tf.constant(MASK))
        np.testing.assert_allclose(found, np.stack([exact] * 3), rtol=1e-9, atol=1e-9)


def test_everything_observed_is_the_complete_model():
    z = RNG.normal(size=(3, 5, 2))
    complete = {"x": FULL, "mask": np.ones_like(MASK)}
    found, plain = PARTIAL.log_joint(complete).log_parts(z), LINEAR.log_joint(FULL)
    for ours, theirs in zip(found, plain.log_parts(z), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_gradients_are_those_of_the_observed_evidence():
    weights = tf.Variable(WEIGHTS)
    model = et.models.observed(et.models.linear_gaussian(weights, BIAS, 0.7))
    with tf.GradientTape() as tape:
        # the exact posterior is fixed: E_q[grad log p(x, z)] = grad log p(x)
        draws = et.draw(model.log_joint(HOLES), observed_posterior(), 4_000, seed=0)
        value = tf.reduce_mean(draws.log_p, 0)
    rows = tape.jacobian(value, weights).numpy()
    assert np.isfinite(rows).all() and not rows[4].any()
    step = 1e-5
    for i, j in ((0, 0), (3, 1)):
        nudge = step * np.eye(4)[:, [i]] @ np.eye(2)[[j]]
        slope = observed_evidence(WEIGHTS + nudge) - observed_evidence(WEIGHTS - nudge)
        np.testing.assert_allclose(rows[:, i, j], slope / (2 * step), atol=0.15)


UNIT = RNG.uniform(0.1, 0.9, size=(5, 4))


@pytest.mark.parametrize(
    ("likelihood", "x"),
    [
        (lambda a: tfd.Gamma(tf.exp(a), np.float64(1)), UNIT),
        (lambda a: tfd.LogNormal(a, np.float64(1)), UNIT),
        (lambda a: tfd.Beta(tf.exp(a), np.float64(2)), UNIT),
        (lambda a: tfd.Uniform(a - 9, a + 9), UNIT),
        (lambda a: tfd.StudentT(np.float64(3), a, np.float64(1)), UNIT),
        (lambda a: tfd.Poisson(log_rate=a), np.round(9 * UNIT)),
        (lambda a: tfd.NegativeBinomial(np.float64(2), a), np.round(9 * UNIT)),
        (lambda a: tfd.Bernoulli(a, dtype=tf.float64), np.round(UNIT)),
        (lambda a: et.models.BetaBinomial(9, a, tf.exp(a)), np.round(9 * UNIT)),
    ],
)
def test_any_likelihood_of_independent_coordinates(likelihood, x):
    def given(z):
        return tfd.Independent(likelihood(z[..., tf.newaxis] * tf.ones(4, z.dtype)), 1)

    z = tf.constant(RNG.normal(size=(3, 5)))
    data = {"x": np.where(MASK, x, np.nan), "mask": MASK}
    model = et.models.observed(et.LatentVariableModel(normal(0.0), given))
    with tf.GradientTape() as tape:
        tape.watch(z)
        found, _ = model.log_joint(data).log_parts(z)
    each = likelihood(z[..., tf.newaxis] * tf.ones(4, z.dtype)).log_prob(x)
    np.testing.assert_allclose(found, tf.reduce_sum(tf.where(MASK, each, 0), -1))
    slope = tape.gradient(found, z).numpy()
    assert np.isfinite(slope).all() and not slope[:, 4].any()


def test_other_forms_of_independent_coordinates():
    z = tf.constant(RNG.normal(size=(3, 5)))
    forms = [
        lambda z: tfd.Sample(normal(z), 4),
        lambda z: tfd.MultivariateNormalDiag(tf.stack([z] * 4, -1)),
        lambda z: tfd.Independent(tfd.Sample(normal(tf.stack([z] * 2, -1)), 2), 1),
    ]
    exact = np.where(MASK, stats.norm.logpdf(FULL, z[..., np.newaxis]), 0).sum(-1)
    for form in forms:
        model, data = (
            et.models.observed(et.LatentVariableModel(normal(0.0), form)),
            HOLES,
        )
        if len(form(z).event_shape) == 2:
            data = {k: v.reshape(5, 2, 2) for k, v in HOLES.items()}
        np.testing.assert_allclose(model.log_joint(data).log_parts(z)[0], exact)
    full = et.LatentVariableModel(
        normal(0.0),
        lambda z: tfd.MultivariateNormalTriL(tf.stack([z] * 4, -1), np.eye(4)),
    )
    with says("independent scalar coordinates", "TriL", "tfd.Independent"):
        et.models.observed(full).log_joint(HOLES)(z)


SLOPES = np.array([1.0, 2.0, 5.0])


@pytest.mark.parametrize("copies", [3, (2,), (2, 4)])
@pytest.mark.parametrize(
    "vector",
    [
        lambda loc: tfd.Independent(normal(loc), 1),
        lambda loc: tfd.MultivariateNormalDiag(loc, np.ones(3)),
    ],
)
def test_repeated_vectors_keep_their_axes(vector, copies):
    def given(z):
        return tfd.Sample(vector(z[..., tf.newaxis] * SLOPES), copies)

    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(6, 5)), rng.normal(size=(5, *np.atleast_1d(copies), 3))
    mask = rng.uniform(size=x.shape) < 0.6
    model = et.models.observed(et.LatentVariableModel(normal(0.0), given))
    axes = tuple(range(2, 1 + x.ndim))
    each = stats.norm.logpdf(x, np.expand_dims(z, axes) * SLOPES)
    for seen in (mask, np.ones_like(mask)):
        data = {"x": np.where(seen, x, np.nan), "mask": seen}
        found = model.log_joint(data).log_parts(tf.constant(z))[0]
        np.testing.assert_allclose(found, np.where(seen, each, 0).sum(axes), 1e-12)


def test_repeats_of_repeats_keep_their_axes():
    def given(z):
        pairs = tfd.Independent(tfd.Sample(normal(z[..., tf.newaxis] * SLOPES), 2), 1)
        return tfd.Sample(pairs, 4)

    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(6, 5)), rng.normal(size=(5, 4, 3, 2))
    mask = rng.uniform(size=x.shape) < 0.6
    model = et.models.observed(et.LatentVariableModel(normal(0.0), given))
    found = model.log_joint({"x": x, "mask": mask}).log_parts(tf.constant(z))[0]
    means = z[..., np.newaxis, np.newaxis, np.newaxis] * SLOPES[:, np.newaxis]
    each = np.where(mask, stats.norm.logpdf(x, means), 0)
    np.testing.assert_allclose(found, each.sum((-3, -2, -1)), 1e-12)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (FULL, ['"mask"', "numpy.isnan"]),
        ({"x": HOLES["x"]}, ['"mask"', "['x']"]),
        ({"x": FULL, "mask": MASK.astype(int)}, ["bool", "int64"]),
        ({"x": FULL, "mask": MASK[:, :2]}, ["shape of x, (5, 4)", "(5, 2)"]),
        ({"x": FULL, "mask": MASK[0]}, ["(5, 4)", "(4,)"]),
        ({"x": FULL, "mask": MASK & False}, ["no observed value", "~mask"]),
        ({"x": HOLES["x"], "mask": ~MASK}, ["x['x'] without NaN", "mask"]),
    ],
)
def test_masks_that_cannot_be(data, parts):
    with says(*parts):
        PARTIAL.log_joint(data)


def test_missing_values_without_a_mask_are_offered_one():
    with says("without NaN", "models.observed", "mask"):
        LINEAR.log_joint(HOLES["x"])
    with says("'mask'", "would ignore", "models.observed"):
        LINEAR.log_joint(HOLES)
    with says("a LatentVariableModel", "LogJoint"):
        et.models.observed(LINEAR.log_joint(FULL))


def test_impossible_values_count_only_where_they_are_observed():
    model = et.models.observed(
        et.models.vae(4, 2, hidden=(3,), likelihood="bernoulli", seed=0).model
    )
    x = np.float32([[0, 1, 1, 0], [1, 7, 0, 0]])
    model.log_joint({"x": x, "mask": x < 2})
    with says("0s and 1s", "1 of 8"):
        model.log_joint({"x": x, "mask": x < 9})


def test_a_condition_and_a_mask():
    model = et.models.observed(CONDITIONAL)
    data = {"x": np.array([0.0, np.nan, 5.5]), "given": C, "mask": [True, False, True]}
    target = model.log_joint(data)
    z = tf.constant(RNG.normal(size=(2, 3)))
    exact = stats.norm.logpdf(X, z + 2 * C, 0.5) * [1, 0, 1]
    np.testing.assert_allclose(target.log_parts(z)[0], exact)
    part = {k: v for k, v in data.items() if k != "given"}
    close(model.given(C).log_joint(part)(z), target(z))
    with says('"given"'):
        model.log_joint(part)
    z, x = PARTIAL.sample(3, seed=0)
    assert bool(tf.reduce_all(x["mask"])) and x["x"].shape == (3, 4)


def test_an_encoder_gets_zeros_for_what_is_missing():
    encoder = et.Encoder(lambda data: data["x"][:, :2], et.families.mean_field(1))
    data = {"x": tf.constant([[np.nan, 2.0]]), "mask": tf.constant([[False, True]])}
    np.testing.assert_array_equal(encoder(data).mean(), [[0.0]])


# data that are structures


def two_views(z):
    left = tfd.Independent(normal(tf.stack([z, -z], -1)), 1)
    return tfd.JointDistributionNamed({"left": left, "right": normal(2 * z)})


def test_a_likelihood_of_several_parts():
    model = et.LatentVariableModel(normal(0.0), two_views)
    x = {"left": RNG.normal(size=(3, 2)), "right": RNG.normal(size=3)}
    z = RNG.normal(size=(4, 3))
    exact = stats.norm.logpdf(x["left"], np.stack([z, -z], -1)).sum(-1)
    exact += stats.norm.logpdf(x["right"], 2 * z)
    for data in (x, {**x, "label": np.arange(3)}, {"x": x, "given": np.arange(3)}):
        np.testing.assert_allclose(model.log_joint(data).log_parts(z)[0], exact)
    pair = et.LatentVariableModel(
        normal(0.0), lambda z: tfd.JointDistributionSequential([normal(z), normal(-z)])
    )
    exact = stats.norm.logpdf(X, z) + stats.norm.logpdf(C, -z)
    found = pair.log_joint((X, C)).log_parts(z)[0]
    np.testing.assert_allclose(found, exact)
    with says("one number per sample and datum"):
        model.log_joint({**x, "right": x["right"][:1]})(z)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        ((X, C), "a tuple with 2 parts"),
        ({"y": X, "c": C}, "a dict with the parts ['c', 'y']"),
    ],
)
def test_a_structure_is_that_of_the_likelihood(x, got):
    model = et.models.normal_normal(dtype=tf.float64)
    with says("structure of the likelihood's event", got, '"given"', "Conditional"):
        model.log_joint(x)
    close(model.log_joint({"x": X, "label": C})(X), model.log_joint(X)(X))


# latents that all data share


FEATURES = np.stack([np.ones(6), np.arange(6.0)], 1)
Y = 0.5 * np.arange(6.0) + RNG.normal(size=6)
PRIOR_W = tfd.MultivariateNormalDiag(np.zeros(2), np.full(2, 2.0))


def line(w, c):
    return normal(tf.reduce_sum(w[..., tf.newaxis, :] * c, -1))


def posterior_of_w():
    cov = np.linalg.inv(np.eye(2) / 4 + FEATURES.T @ FEATURES)
    return tfd.MultivariateNormalTriL(cov @ FEATURES.T @ Y, np.linalg.cholesky(cov))


def test_regression_has_a_global_latent_only():
    exact = stats.multivariate_normal(
        np.zeros(6), np.eye(6) + 4 * FEATURES @ FEATURES.T
    ).logpdf(Y)
    model = et.models.ConditionalModel(None, line, PRIOR_W)
    fixed = et.LatentVariableModel(None, lambda w: line(w, FEATURES), PRIOR_W)
    data = {"x": Y, "given": FEATURES}
    for target in (model.log_joint(data, num_data=6), fixed.log_joint(Y, num_data=6)):
        draws = et.draw(target, posterior_of_w(), 3, seed=0)
        # at the exact posterior the shares of the data sum to log p(y), always
        np.testing.assert_allclose(tf.reduce_sum(draws.log_weights, 1), [exact] * 3)
        assert draws.z[0].shape == (3, 6, 0) and draws.z[1].shape == (3, 2)
    small = model.log_joint({k: v[:2] for k, v in data.items()}, num_data=6)
    w = draws.z[1]
    np.testing.assert_allclose(
        small((None, w)),
        stats.norm.logpdf(Y[:2], line(w, FEATURES[:2]).mean())
        + PRIOR_W.log_prob(w).numpy()[:, np.newaxis] / 6,
    )
    w, y = fixed.sample(seed=0)
    assert w.shape == (2,) and y.shape == (6,)
    with says("no local latent"):
        _ = model.prior
    constant = et.LatentVariableModel(
        None, lambda w: normal(w[..., tf.newaxis]), normal(0.0)
    )
    assert constant.sample(7, seed=0)[1].shape == (7,)


def test_pathwise_gradients_of_a_global_latent_only():
    model = et.models.ConditionalModel(None, line, PRIOR_W)
    target = model.log_joint({"x": Y, "given": FEATURES}, num_data=6)
    exact = posterior_of_w()
    loc = tf.Variable(exact.mean())
    q = tfd.MultivariateNormalTriL(loc, exact.scale.to_dense())
    with tf.GradientTape() as tape:
        found = et.gradients.sticking_the_landing(target, q, sample_size=2, seed=0)
        value = tf.reduce_sum(found.surrogate)
    # at the exact posterior every single gradient vanishes
    np.testing.assert_allclose(tape.gradient(value, loc), [0, 0], atol=1e-8)


def test_a_local_prior_may_depend_on_the_global_latent():
    model = et.LatentVariableModel(
        lambda w: tfd.Bernoulli(probs=w, dtype=tf.float64),
        lambda z, w: normal(3 * z),
        tfd.Beta(np.float64(2), np.float64(1)),
    )
    assert model.prior_needs_global
    z = tf.constant([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], tf.float64)
    w = tf.constant([0.2, 0.6], tf.float64)
    assert model.local_prior(w).batch_shape == [2, 1]
    target = model.log_joint(X, num_data=9)
    likelihood, prior = target.log_parts((z, w), sample_ndims=1)
    np.testing.assert_allclose(likelihood, stats.norm.logpdf(X, 3 * z))
    mass = stats.bernoulli.logpmf(z, np.array([[0.2], [0.6]]))
    shared = stats.beta.logpdf(w, 2, 1)[:, np.newaxis] / 9
    np.testing.assert_allclose(prior, mass + shared)
    q = (
        tfd.Bernoulli(logits=tf.constant(X), dtype=tf.float64),
        tfd.Beta(np.float64(2), np.float64(2)),
    )
    assert et.draw(target, q, 4, seed=0).log_weights.shape == (4, 3)
    with says("depends on the global latent", "local_prior(w)"):
        _ = model.prior
    (z, w), x = model.sample(20_000, seed=0)
    assert z.shape == x.shape == (20_000,) and w.shape == ()
    assert_mean(z - w, 0.0, fault=0.05)
