"""Continual learning against formulas by hand, batch answers and negative cases."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import elbo_tfp as et
from elbo_tfp import applications as ap
from elbo_tfp import families
from tests.statistics import says

tfb, tfd = tfp.bijectors, tfp.distributions
F64 = tf.float64
UNIT = tfd.Normal(np.float64(0), np.float64(1))
TASKS = [(0, 1), (2, 3)]


def gaussian(loc, covariance):
    return tfd.MultivariateNormalTriL(
        tf.constant(loc, F64), np.linalg.cholesky(np.array(covariance, float))
    )


def regression(num_tasks=6, size=4):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(num_tasks, 7, size)) @ rng.normal(size=(size, size))
    return features, rng.normal(size=(num_tasks, 7))


def model(prior):
    """Bayesian regression with a global latent."""
    return et.models.ConditionalModel(
        None,
        lambda w, c: tfd.Normal(tf.linalg.matmul(w, c, transpose_b=True), 0.5),
        prior,
    )


def test_fact_eleven_sequence_equals_batch():
    features, y = regression()
    start = gaussian(np.zeros(4), 4 * np.eye(4))
    q = start
    for f, t in zip(features, y, strict=True):
        q = ap.regress(q, f, t, noise=0.5)
    X, t = features.reshape(-1, 4), y.reshape(-1)
    # N(S X'y / s^2, S), S = (I/4 + X'X / s^2)^-1
    S = np.linalg.inv(np.eye(4) / 4 + X.T @ X / 0.25)
    np.testing.assert_allclose(q.mean(), S @ X.T @ t / 0.25, rtol=0, atol=1e-10)
    np.testing.assert_allclose(q.covariance(), S, rtol=0, atol=1e-10)


def test_carried_over_exact_posterior_keeps_the_evidence():
    features, y = regression(2)
    today = model(gaussian(np.zeros(4), 4 * np.eye(4)))
    log_p = 0.0
    for f, t in zip(features, y, strict=True):
        q = ap.regress(today.global_prior, f, t, noise=0.5)
        target = today.log_joint({"x": t, "given": f}, num_data=7)
        # with the exact posterior every draw's weight is the evidence
        weights = tf.reduce_sum(et.draw(target, q, 5, seed=0).log_weights, -1)
        np.testing.assert_allclose(weights, weights[0], rtol=0, atol=1e-9)
        log_p += float(weights[0])
        today = ap.carry_over(today, q)
    X, t = features.reshape(-1, 4), y.reshape(-1)
    batch = gaussian(np.zeros(14), 4 * X @ X.T + 0.25 * np.eye(14))
    assert log_p == pytest.approx(float(batch.log_prob(t)), abs=1e-9)


@pytest.mark.parametrize(
    "q",
    [
        families.mean_field(3, loc=0.3, dtype=F64),
        families.full_rank(3, dtype=F64, seed=0),
        families.low_rank(3, dtype=F64, seed=0),
        families.mixture(3, 2, dtype=F64, seed=0),
        families.flow(3, dtype=F64, seed=0),
        families.student_t(3, dtype=F64, seed=0),
        tfd.MultivariateNormalDiag(tf.Variable(np.ones(3))),
    ],
    ids=lambda q: q.name,
)
def test_a_frozen_q_is_the_same_and_never_moves(q):
    z = np.random.default_rng(0).normal(size=(5, 3))
    before = q.log_prob(z).numpy()
    frozen = ap.freeze(q)
    np.testing.assert_array_equal(frozen.log_prob(z), before)
    with tf.GradientTape() as tape:
        frozen.log_prob(z)
    assert not tape.watched_variables()
    for variable in q.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    assert np.max(np.abs(q.log_prob(z) - before)) > 0.1
    np.testing.assert_array_equal(frozen.log_prob(z), before)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    "made",
    [
        lambda v: tfd.Normal(v, np.float64(1)),
        lambda v: tfd.TransformedDistribution(UNIT, tfb.Shift(v)),
        lambda v: tfd.TransformedDistribution(
            UNIT, tfb.Invert(tfb.Chain([tfb.Tanh(), tfb.Scale(v), tfb.Shift(v)]))
        ),
        lambda v: tfd.TransformedDistribution(
            UNIT,
            tfb.Inline(
                lambda x: x + v,
                lambda y: y - v,
                lambda y: 0 * y,
                forward_min_event_ndims=0,
            ),
        ),
        lambda v: tfd.Normal(np.float64(0), tfp.util.DeferredTensor(v, tf.exp)),
        lambda v: tfd.Normal(
            np.float64(0), tfp.util.DeferredTensor(np.float64(1), tfb.Scale(v))
        ),
        lambda v: tfd.Independent(tfd.Sample(tfd.Normal(v, np.float64(1)), 2), 0),
        lambda v: tfd.MixtureSameFamily(
            tfd.Categorical(logits=np.zeros(2)),
            tfd.Normal(tf.constant([0.0, 1.0], F64), v),
        ),
    ],
)
def test_no_variable_moves_a_frozen_q(made, trainable):
    v = tf.Variable(np.float64(0.5), trainable=trainable)
    q = made(v)
    z = np.float64(0.3) * np.ones(q.event_shape)
    before = float(q.log_prob(z))
    frozen = ap.freeze(q)
    v.assign(0.8)
    assert float(frozen.log_prob(z)) == before != float(q.log_prob(z))


def test_a_joint_family_is_frozen_by_name():
    joint = tfd.JointDistributionNamed(
        {"a": tfd.Gamma(2.0, 1.0), "b": tfd.Normal(0.0, 1.0)}
    )
    q = families.mean_field_for(joint)
    frozen, z = ap.freeze(q), {"a": 1.5, "b": 0.3}
    before = float(q.log_prob(z))
    for variable in q.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    assert float(frozen.log_prob(z)) == before != float(q.log_prob(z))


def test_training_q_leaves_the_prior_it_was():
    q = families.mean_field(4, dtype=F64)
    today = ap.carry_over(model(gaussian(np.zeros(4), np.eye(4))), q)
    features, y = regression(1)
    data = {"x": y[0], "given": features[0]}

    def bound(seed, batch):
        target = today.log_joint(batch, num_data=7)
        return et.bounds.elbo(et.draw(target, q, 4, seed=seed))

    result = et.fit(bound, data=data, num_steps=5, seed=0, progress=False)
    assert [v is q.free_parameters for v in result.variables] == [True]
    np.testing.assert_array_equal(today.global_prior.mean(), np.zeros(4))


def test_what_is_observed_of_a_model_keeps_the_carried_prior():
    q, c = tfd.Normal(np.float64(7), np.float64(0.1)), np.array([1.0, 2.0])
    normal = tfd.Normal(np.float64(0), np.float64(1))
    shared = et.models.LatentVariableModel(
        normal, lambda z, w: tfd.Normal(z + w[..., tf.newaxis], np.float64(1)), normal
    )
    given = et.models.ConditionalModel(
        None, lambda w, c: tfd.Normal(w[..., tf.newaxis] * c, np.float64(1)), normal
    )
    today = ap.carry_over(et.models.observed(shared), q)
    tomorrow = today.with_prior(tfd.Normal(np.float64(0), np.float64(2)))
    (_, w), _ = tomorrow.sample(seed=0)
    assert abs(w - 7) < 1 and shared.global_prior is normal
    data = {"x": c, "mask": np.array([True, False])}
    z, w = np.array([[1.0, -1.0]]), np.array([6.9])
    log_prior = stats.norm.logpdf(z, 0, 2) + stats.norm.logpdf(w, 7, 0.1) / 2
    found = tomorrow.log_joint(data, num_data=2).log_parts((z, w))
    np.testing.assert_allclose(found[1], log_prior)
    np.testing.assert_allclose(found[0], [[stats.norm.logpdf(1, 7.9), 0]])
    there = ap.carry_over(et.models.observed(given), q).given(c)
    found = there.log_joint(data, num_data=2).log_parts((None, w))[1]
    np.testing.assert_allclose(found[0], [stats.norm.logpdf(6.9, 7, 0.1) / 2] * 2)


def test_a_prior_needs_a_global_latent_and_qs_shape():
    shared = model(gaussian(np.zeros(4), np.eye(4)))
    with says("a model with a global prior", "single data"):
        local = et.models.normal_normal()
        ap.carry_over(local, tfd.Normal(0.0, 1.0))
    with says("event shape (4,)", "got (3,)"):
        ap.carry_over(shared, families.mean_field(3, dtype=F64))
    with says("dtype <dtype: 'float64'>", "float32"):
        ap.carry_over(shared, families.mean_field(4))
    with says("q of batch shape ()", "(2,)", "one w"):
        ap.carry_over(shared, families.mean_field(4, batch_shape=(2,), dtype=F64))
    with says("with log_prob", "got function", "encoder"):
        ap.freeze(lambda x: x)


@pytest.mark.parametrize("trainable", [True, False])
def test_what_cannot_be_copied_is_named(trainable):
    class Hidden:
        scale = tf.Variable(1.0, name="hidden", trainable=trainable)

        def sample(self, shape=(), seed=None):
            return tf.zeros(shape)

        def log_prob(self, z):
            return tfd.Normal(0.0, self.scale).log_prob(z)

    with says("variables can be copied", "Hidden, which still reads hidden"):
        ap.freeze(Hidden())


def test_tasks_by_class_and_their_errors():
    rows = ap.split_tasks([0, 2, 1, 3, 3], TASKS)
    assert [list(r) for r in rows] == [[0, 2], [1, 3, 4]]
    with says("task (2, 3)", "no row of class 3", "empty"):
        ap.split_tasks([0, 1, 2], TASKS)
    for bad in [[(0, 1), (2,)], [(4, 4)], [()], []]:
        with says("tasks of at least two classes", "nothing to tell apart"):
            ap.split_tasks([0, 1, 2, 4], bad)


def test_a_head_is_a_softmax_over_its_own_classes():
    logits = tf.constant([[0.1, 0.7, -1.0, 3.0, 9.0], [1.0, 2.0, 3.0, 5.0, 9.0]], F64)
    found = tfd.Categorical(ap.multi_head(logits, [0, 1], TASKS)).log_prob([1, 2])
    hand = [0.7 - np.logaddexp(0.1, 0.7), 3 - np.logaddexp(3, 5)]
    np.testing.assert_allclose(found, hand, rtol=0, atol=1e-12)
    heads = ap.multi_head(logits, 1, TASKS).numpy()
    assert np.isneginf(heads[:, [0, 1, 4]]).all() and np.isfinite(heads[:, 2:4]).all()
    with says("classes below 3", "got 3"):
        ap.multi_head(logits[:, :3], 0, TASKS)
    with says("at least two classes", "got (2,)"):
        ap.multi_head(logits, 0, [(0, 1), (2,)])
    with says("for each row of logits (2, 5)", "shape (3,)"):
        ap.multi_head(logits, [0, 1, 1], TASKS)
    with says("for each row of logits (2, 5)", "shape (2, 1)"):
        ap.multi_head(logits, [[0], [1]], TASKS)


@pytest.mark.parametrize("task", [2, -1, [0, 2], [-1, 1]])
def test_a_task_that_does_not_exist_is_an_error_or_nan(task):
    logits = tf.constant(np.arange(10.0).reshape(2, 5))
    with says("tasks 0 to 1", "got", "count from 0"):
        ap.multi_head(logits, task, TASKS)
    late = tf.function(lambda t: ap.multi_head(logits, t, TASKS), jit_compile=True)
    found = late(tf.constant(task)).numpy()
    exists = np.broadcast_to(np.isin(task, [0, 1]), [2])
    assert np.isnan(found[~exists]).all()
    for row, one in enumerate(np.broadcast_to(task, [2])):
        if exists[row]:
            own = ap.multi_head(logits, one, TASKS)
            np.testing.assert_array_equal(found[row], own[row])


def test_coresets_are_distinct_rows_and_k_centre_spreads():
    x = np.array([[0.0], [0.1], [0.2], [10.0], [10.1], [-7.0]])
    for method in ("random", "k-centre"):
        rows = ap.coreset(x, 6, method=method, seed=3)
        assert sorted(rows) == list(range(6))
        np.testing.assert_array_equal(rows, ap.coreset(x, 6, method=method, seed=3))
    kept = x[ap.coreset(x, 3, method="k-centre", seed=1), 0]
    assert {round(v, -1) for v in kept} == {-10, 0, 10}
    # from each start, the farthest comes next
    for seed in range(5):
        first, second = x[ap.coreset(x, 2, method="k-centre", seed=seed), 0]
        assert abs(second - first) == np.max(np.abs(x[:, 0] - first))
    firsts = {int(ap.coreset(x, 1, seed=seed)[0]) for seed in range(20)}
    assert len(firsts) > 3


def test_coreset_errors():
    x = np.zeros([3, 2])
    with says("no larger than its task", "size 4 of 3 rows"):
        ap.coreset(x, 4, seed=0)
    with says("no larger than its task", "size 1 of 0 rows"):
        ap.coreset(x[:0], 1, seed=0)
    with says("size to be a positive int", "0"):
        ap.coreset(x, 0, seed=0)
    with says('"random" or "k-centre"', "'means'"):
        ap.coreset(x, 1, method="means", seed=0)
    # equal rows are still different rows
    assert sorted(ap.coreset(x, 3, method="k-centre", seed=0)) == [0, 1, 2]


def test_the_restricted_gaussian_is_the_best_independent_one():
    p = gaussian([1.0, -2.0], [[1.0, 0.7], [0.7, 2.0]])
    q = ap.restrict(p)
    precision = np.linalg.inv(p.covariance())
    np.testing.assert_allclose(q.variance(), 1 / np.diag(precision), atol=1e-12)
    best = float(tfd.kl_divergence(q, p))
    for step in ([0.01, 0], [0, -0.01]):
        for loc, scale in (
            (q.mean() + step, q.stddev()),
            (q.mean(), q.stddev() + step),
        ):
            other = tfd.MultivariateNormalTriL(loc, tf.linalg.diag(scale))
            assert float(tfd.kl_divergence(other, p)) > best


def test_restriction_in_sequence_errs_in_the_mean_only():
    features, y = regression()
    exact = q = gaussian(np.zeros(4), np.eye(4))
    for f, t in zip(features, y, strict=True):
        exact = ap.regress(exact, f, t)
        q = ap.restrict(ap.regress(q, f, t))
    once = ap.restrict(exact)
    np.testing.assert_allclose(q.variance(), once.variance(), rtol=1e-10)
    drift = (q.mean() - exact.mean()).numpy()
    # KL(sequence || exact) = KL(once || exact) + drift' precision drift / 2
    extra = drift @ np.linalg.solve(exact.covariance(), drift) / 2
    found = tfd.kl_divergence(q, exact) - tfd.kl_divergence(once, exact)
    assert extra > 0.01
    assert float(found) == pytest.approx(extra, abs=1e-9)


def test_regression_in_float32_far_from_zero():
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(100), rng.normal(1e4, 1, 100)], 1).astype(np.float32)
    y = (x @ [1.0, 2.0] + 0.01 * rng.normal(size=100)).astype(np.float32)
    precision = np.eye(2) / 100 + x.T.astype(float) @ x / 0.01**2
    exact = np.linalg.solve(precision, x.T.astype(float) @ y / 0.01**2)
    sd = np.diag(np.linalg.inv(precision)) ** 0.5
    q = tfd.MultivariateNormalDiag(tf.zeros(2), 10 * tf.ones(2))
    whole = ap.regress(q, x, y, noise=0.01)
    np.testing.assert_allclose(whole.stddev(), sd, rtol=1e-5)
    assert np.all(np.abs(whole.mean() - exact) < 1e-3 * sd)
    assert whole.dtype == tf.float32
    # an earlier posterior as prior keeps its digits too
    for part in (slice(50), slice(50, 100)):
        q = ap.regress(q, x[part], y[part], noise=0.01)
    np.testing.assert_allclose(q.stddev(), sd, rtol=0.02)


def test_regression_errors():
    prior = gaussian([0.0, 0.0], np.eye(2))
    for features, y in [
        (np.ones([3, 1]), np.ones(3)),
        (np.ones([3, 2]), np.ones(2)),
        (np.ones([3, 2]), np.ones([3, 1])),
        (np.ones([3, 2]), np.ones([1, 3])),
        (np.ones([1, 2]), np.ones([])),
    ]:
        with says("features [N, 2] and y [N]", "shapes"):
            ap.regress(prior, features, y)
    hidden = np.ma.masked_equal([[1.0, 9.0]], 9.0)
    for features, y, parts in [
        (np.ones([0, 2]), np.ones(0), ["features to hold at least one datum"]),
        (hidden, [1.0], ["features without masked entries"]),
        ([[1.0, 2.0]], hidden[0, 1:], ["y without masked entries"]),
        ([[1.0, np.nan]], [1.0], ["task['features'] without NaN", "columns [1]"]),
        ([[1.0, 2.0]], [np.inf], ["task['y'] without NaN or infinite"]),
        ([["a", "b"]], [1.0], ["features to be numbers"]),
    ]:
        with says(*parts):
            ap.regress(prior, features, y)
    with says("noise to be a positive number"):
        ap.regress(prior, np.ones([1, 2]), [1.0], noise=0.0)
    diagonal = tfd.Independent(tfd.Normal(np.zeros(2), 1.0), 1)
    one, other = (ap.regress(p, [[1.0, 2.0]], [1.0]) for p in (prior, diagonal))
    np.testing.assert_allclose(one.mean(), other.mean(), atol=1e-14)


def test_rows_without_a_distance_and_scalars_are_named():
    with pytest.raises(ValueError, match="finite x"):
        ap.coreset(np.full([3, 2], np.nan), 2, method="k-centre", seed=0)
    with pytest.raises(ValueError, match=r"event shape \[D\]"):
        ap.restrict(tfp.distributions.Normal(0.0, 1.0))


def test_heads_take_numpy_logits_and_whole_numbers():
    tasks, logits = [(0, 1), (1, 2)], np.zeros([2, 3], np.float32)
    found = ap.multi_head(logits, np.uint8(1), tasks)
    np.testing.assert_array_equal(found[0], [-np.inf, 0.0, 0.0])
    for wrong_logits, task in (
        (logits, 0.5),
        (logits, np.nan),
        (logits.astype(int), 0),
    ):
        with says("floating logits and whole numbers of tasks"):
            ap.multi_head(wrong_logits, task, tasks)
