"""The waist: one place that draws, and no shape mistake that becomes a number."""

from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

import elbo_tfp as et
from elbo_tfp.draws import evaluate, lead_shape
from elbo_tfp.targets import as_target, call_target
from tests.statistics import close, says

tfd = tfp.distributions
X = np.arange(5, dtype=np.float32)
STANDARD = tfd.Normal(0.0, 1.0)


def forgotten_reduce(z):
    return STANDARD.log_prob(z) + tfd.Normal(z, 1.0).log_prob(X)


def remembered_reduce(z):
    likelihood = tfd.Normal(z[..., tf.newaxis], 1.0)
    return STANDARD.log_prob(z) + tf.reduce_sum(likelihood.log_prob(X), -1)


def pinned():
    joint = tfd.JointDistributionNamed(
        {
            "a": tfd.Normal(0.0, 1.0),
            "b": tfd.Gamma(2.0, 1.0),
            "x": lambda a, b: tfd.Sample(tfd.Normal(a, b), 3),
        }
    )
    return joint, joint.experimental_pin(x=[0.1, 0.2, 0.3])


# what comes back


def test_densities_are_those_of_the_samples():
    model, q = et.models.normal_normal(), tfd.Normal(X, 0.5)
    draws = et.draw(model.log_joint(X), q, 3, seed=0)
    assert draws.z.shape == draws.log_q.shape == (3, 5)
    close(draws.log_q, q.log_prob(draws.z))
    close(draws.log_prior, STANDARD.log_prob(draws.z))
    close(draws.log_likelihood, tfd.Normal(draws.z, 1.0).log_prob(X))
    assert draws.log_target is None and draws.num_data is None


def test_a_bare_target_has_no_parts():
    draws = et.draw(remembered_reduce, STANDARD, 3, seed=0)
    assert draws.log_likelihood is None and draws.log_prior is None
    close(draws.log_p, remembered_reduce(draws.z))


@pytest.mark.parametrize("sample_size", [1, 3, np.int64(3), (2, 3), [3]])
@pytest.mark.parametrize("batch", [(), (5,)])
def test_samples_lead_then_the_batch(sample_size, batch):
    x = X[0] if batch == () else X
    q = tfd.Normal(tf.zeros(batch), 1.0)
    draws = et.draw(et.models.normal_normal().log_joint(x), q, sample_size, seed=0)
    assert draws.log_weights.shape == (*lead_shape(sample_size), *batch)


@pytest.mark.parametrize("seed", [7, (0, 7), tf.constant([0, 7]), np.int64(7)])
def test_seeds_reproduce(seed):
    target = et.models.normal_normal().log_joint(1.0)
    first, again, seven, other = (
        et.draw(target, STANDARD, 4, seed=s).z for s in (seed, seed, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, seven)
    assert not np.array_equal(first, other)


def test_one_sample_unless_asked_for_more():
    assert et.draw(remembered_reduce, STANDARD, seed=0).z.shape == (1,)


def test_a_seed_is_required():
    with pytest.raises(TypeError, match="seed"):
        et.draw(remembered_reduce, STANDARD)
    with says("expected seed"):
        et.draw(remembered_reduce, STANDARD, seed=None)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_and_xla_draw_as_eager_code_does(jit_compile):
    model = et.models.normal_normal(dtype=tf.float64)
    q = tfd.Normal(tf.zeros(5, tf.float64), 1.0)

    def weights(x):
        draws = et.draw(model.log_joint(x), q, 3, seed=0)
        return draws.z, draws.log_weights

    x = tf.constant(X.astype(np.float64))
    compiled = tf.function(weights, jit_compile=jit_compile, autograph=False)
    z, log_weights = compiled(x)
    close(log_weights, model.log_joint(x)(z) - q.log_prob(z))
    np.testing.assert_array_equal(compiled(x)[0], z)
    if not jit_compile:  # XLA has another generator: another stream, as repeatable
        np.testing.assert_array_equal(weights(x)[0], z)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_dtype_follows_the_inputs(dtype):
    model = et.models.normal_normal(dtype=dtype)
    x = tf.cast(X, dtype)
    draws = et.draw(model.log_joint(x), tfd.Normal(x, 1.0), 2, seed=0)
    assert {t.dtype for t in draws[:4]} == {dtype}


def test_evaluate_is_draw_at_given_samples():
    target = et.models.normal_normal().log_joint(X)
    q = tfd.Normal(X, 1.0)
    draws = et.draw(target, q, 3, seed=0)
    close(evaluate(target, q, draws.z, 3).log_weights, draws.log_weights)


class SampleOnly:
    """A surrogate without `experimental_sample_and_log_prob`."""

    def sample(self, shape, seed):
        return STANDARD.sample(shape, seed=seed)

    def log_prob(self, z):
        return STANDARD.log_prob(z)


def test_a_surrogate_needs_no_more_than_sample_and_log_prob():
    plain = et.draw(remembered_reduce, SampleOnly(), 4, seed=0)
    close(plain.log_q, STANDARD.log_prob(plain.z))
    np.testing.assert_array_equal(
        plain.z, et.draw(remembered_reduce, STANDARD, 4, seed=0).z
    )


# structured z: TFP pins and surrogates


def surrogate(kind, pin):
    if kind == "joint":
        parts = {"a": tfd.Normal(0.0, 1.0), "b": tfd.LogNormal(0.0, 1.0)}
        return tfd.JointDistributionNamed(parts)
    options = {
        "bijector": pin.experimental_default_event_space_bijector(),
        "seed": (0, 0),
    }
    if kind == "affine":
        return tfp.experimental.vi.build_affine_surrogate_posterior(
            pin.event_shape, "diag", **options
        )
    return tfp.experimental.vi.build_factored_surrogate_posterior(
        pin.event_shape, **options
    )


@pytest.mark.parametrize("kind", ["joint", "affine", "factored"])
def test_pins_with_tfp_surrogates(kind):
    joint, pin = pinned()
    q = surrogate(kind, pin)
    draws = et.draw(pin, q, 4, seed=0)
    values = draws.z if isinstance(draws.z, dict) else draws.z._asdict()
    expected = joint.log_prob({**values, "x": tf.constant([0.1, 0.2, 0.3])})
    close(draws.log_p, expected)
    close(draws.log_q, q.log_prob(draws.z))


@pytest.mark.parametrize(
    "make",
    [tfd.JointDistributionSequential, tfd.JointDistributionSequentialAutoBatched],
)
@pytest.mark.parametrize("q_type", [list, tuple])
def test_pins_with_tuples_and_lists(make, q_type):
    joint = make(
        [
            tfd.Normal(0.0, 1.0),
            tfd.Normal(1.0, 1.0),
            lambda b, a: tfd.Normal(a * b, 1.0),
        ]
    )
    q = tfd.JointDistributionSequential(
        q_type([tfd.Normal(0.0, 1.0), tfd.Normal(0.5, 2.0)])
    )
    draws = et.draw(joint.experimental_pin(None, None, 1.0), q, 4, seed=0)
    close(draws.log_p, joint.log_prob([*draws.z, tf.ones(4)]))


def test_pins_of_coroutines_with_struct_tuples():
    @tfd.JointDistributionCoroutineAutoBatched
    def joint():
        a = yield tfd.Normal(0.0, 1.0, name="a")
        b = yield tfd.Normal(tf.zeros(2), 1.0, name="b")
        yield tfd.Normal(a + tf.reduce_sum(b), 1.0, name="x")

    pin = joint.experimental_pin(x=1.0)
    draws = et.draw(pin, et.families.mean_field_for(pin), 4, seed=0)
    a, b = draws.z
    close(draws.log_p, joint.log_prob(a, b, tf.ones(4)))


def test_a_pin_with_one_free_part_takes_a_tensor():
    joint = tfd.JointDistributionSequential(
        [tfd.Normal(0.0, 1.0), lambda z: tfd.Normal(z, 1.0)]
    )
    draws = et.draw(joint.experimental_pin(None, 1.0), STANDARD, 4, seed=0)
    model = et.models.normal_normal()
    close(draws.log_p, model.log_joint(1.0)(draws.z))


# how a target is called

A, B = tf.constant(2.0), tf.constant(3.0)
Pair = namedtuple("Pair", ["a", "b"])


@pytest.mark.parametrize(
    ("fn", "z"),
    [
        (lambda z: z, A),
        (lambda z: z[0], (A, B)),
        (lambda z: z[0], [A, B]),
        (lambda z: z["a"], {"a": A, "b": B}),
        (lambda a: a, {"a": A}),
        (lambda a, b: a, (A, B)),
        (lambda a, b: a, [A, B]),
        (lambda u, v: u, Pair(A, B)),
        (lambda b, a: a, Pair(A, B)),
        (lambda b, a: a, {"a": A, "b": B}),
        (lambda a, *, b: a, {"a": A, "b": B}),
        (lambda a, b=1: a, {"a": A, "b": B}),
        (lambda z, temperature=1: z["a"], {"a": A, "b": B}),
        (lambda z, temperature=1: z[0], (A, B)),
        (lambda u, v, w=1: u, (A, B)),
        (lambda *z: z[0], (A, B)),
        (lambda **z: z["a"], {"a": A, "b": B}),
        (lambda *a, **z: z["a"], {"a": A, "b": B}),
        (lambda *a, **z: a[0], Pair(A, B)),
        (lambda z, **options: z["a"], {"a": A, "b": B}),
        (lambda *z: z[0]["a"], {"a": A, "b": B}),
        (tf.function(lambda a, b: a), (A, B)),
    ],
)
def test_z_is_one_value_unless_the_signature_asks_for_several(fn, z):
    assert call_target(fn, z) is A or float(call_target(fn, z)) == 2.0


def test_a_target_without_a_signature_takes_z_whole():
    assert call_target(dict, {"a": A}) == {"a": A}
    assert call_target(max, (1, 2)) == 2


@pytest.mark.parametrize(
    ("fn", "z", "got"),
    [
        (lambda a, b, c: a, (A, B), "2 unnamed parts"),
        (lambda a, b: a, (A, B, A), "3 unnamed parts"),
        (lambda a, c: a, {"a": A, "b": B}, "['a', 'b']"),
        (lambda a, b: a, {"a": A, "b": B, "c": A}, "['a', 'b', 'c']"),
    ],
)
def test_arguments_that_z_does_not_have_are_errors(fn, z, got):
    with says("expected z to have the parts", "['a'", "got " + got, "as one"):
        call_target(fn, z)


# shape mistakes


@pytest.mark.parametrize(
    "sample_size", [1, 5, 7, (1, 5), (5, 1), (2, 5), (5, 5), (5, 2)]
)
def test_a_forgotten_reduce_is_an_error_at_every_sample_size(sample_size):
    with says("did you forget a reduce_sum", "Independent"):
        et.draw(forgotten_reduce, STANDARD, sample_size, seed=0)
    et.draw(remembered_reduce, STANDARD, sample_size, seed=0)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_no_number_of_data_passes_for_samples(size):
    x = X[:size]
    with says("sizes agree by chance"):
        et.draw(lambda z: tfd.Normal(z, 1.0).log_prob(x), STANDARD, size, seed=0)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("size", [2, 5])
def test_a_forgotten_reduce_is_an_error_when_the_graph_knows_no_sizes(
    jit_compile, size
):
    def weights(x):
        def target(z):
            return tfd.Normal(z, 1.0).log_prob(x)

        return et.draw(target, STANDARD, size, seed=0).log_p

    spec = [tf.TensorSpec([None])]
    compiled = tf.function(
        weights, input_signature=spec, jit_compile=jit_compile, autograph=False
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        compiled(X[:size])
    assert compiled(X[:1]).shape == size  # a single datum needs no sum


def test_a_target_of_unknown_size_is_checked_when_it_runs():
    def log_p(num):
        def target(z):
            return STANDARD.log_prob(z)[:num]

        return et.draw(target, STANDARD, 5, seed=0).log_p

    spec = [tf.TensorSpec([], tf.int32)]
    compiled = tf.function(log_p, input_signature=spec, autograph=False)
    assert compiled(9).shape == 5
    with pytest.raises(tf.errors.InvalidArgumentError, match="log p: did you forget"):
        compiled(3)


@pytest.mark.parametrize("sample_size", [1, 5, 7])
def test_models_give_the_error_too(sample_size):
    model = et.models.normal_normal()
    with says("one number per sample and datum", "(5,)", "batch shape", "global_prior"):
        et.draw(model.log_joint(X), STANDARD, sample_size, seed=0)


@pytest.mark.parametrize("sample_size", [5, 7])
def test_a_constant_of_a_model_cannot_pass_for_samples(sample_size):
    model = et.LatentVariableModel(STANDARD, lambda z: tfd.Normal(z, 1 + X))
    with pytest.raises(ValueError):
        et.draw(model.log_joint(1.0), STANDARD, sample_size, seed=0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_row_is_not_broadcast_where_a_graph_knows_no_sizes(jit_compile):
    model, q = et.models.normal_normal(), tfd.Normal(tf.zeros(5), 1.0)

    def weights(x):
        draws = et.draw(model.log_joint(x), q, 3, seed=0)
        return draws.z, draws.log_likelihood

    spec = [tf.TensorSpec([None])]
    compiled = tf.function(
        weights, input_signature=spec, jit_compile=jit_compile, autograph=False
    )
    z, log_likelihood = compiled(X)
    close(log_likelihood, tfd.Normal(z, 1.0).log_prob(X))
    for size in (1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError):
            compiled(X[:size])


VECTOR = et.LatentVariableModel(
    tfd.MultivariateNormalDiag(tf.zeros(2)),
    lambda z: tfd.Independent(tfd.Normal(z, 1.0), 1),
)
ROWS = tf.ones([5, 2])


@pytest.mark.parametrize(
    ("name", "x", "q"),
    [
        ("x one row short", ROWS[:4], tfd.MultivariateNormalDiag(ROWS)),
        ("x one row only", ROWS[:1], tfd.MultivariateNormalDiag(ROWS)),
        ("x without rows", ROWS[0], tfd.MultivariateNormalDiag(ROWS)),
        (
            "x with a column of its own",
            ROWS[..., None],
            tfd.MultivariateNormalDiag(ROWS),
        ),
        ("x of one column", ROWS[:, :1], tfd.MultivariateNormalDiag(ROWS)),
        ("x of three columns", tf.ones([5, 3]), tfd.MultivariateNormalDiag(ROWS)),
        ("x transposed", tf.transpose(ROWS), tfd.MultivariateNormalDiag(ROWS)),
        ("q without rows", ROWS, tfd.MultivariateNormalDiag(ROWS[0])),
        ("q of one row", ROWS, tfd.MultivariateNormalDiag(ROWS[:1])),
        ("q of one dimension", ROWS, tfd.MultivariateNormalDiag(ROWS[:, :1])),
        ("q of three dimensions", ROWS, tfd.MultivariateNormalDiag(tf.ones([5, 3]))),
        ("q not Independent", ROWS, tfd.Normal(ROWS, 1.0)),
        ("q not Independent, no rows", ROWS[0], tfd.Normal(ROWS[0], 1.0)),
        ("q scalar", ROWS, tfd.Normal(ROWS[:, 0], 1.0)),
        ("x of integers", tf.ones([5, 2], tf.int32), tfd.MultivariateNormalDiag(ROWS)),
        ("x in float64", tf.ones([5, 2], tf.float64), tfd.MultivariateNormalDiag(ROWS)),
        ("q in float64", ROWS, tfd.MultivariateNormalDiag(tf.ones([5, 2], tf.float64))),
    ],
)
@pytest.mark.parametrize("sample_size", [1, 5])
def test_wrong_data_and_wrong_q_never_give_a_number(name, x, q, sample_size):
    with says("expected"):
        et.draw(VECTOR.log_joint(x), q, sample_size, seed=0)


@pytest.mark.parametrize(
    ("name", "prior", "likelihood"),
    [
        ("likelihood not Independent", VECTOR.prior, lambda z: tfd.Normal(z, 1.0)),
        ("prior not Independent", tfd.Normal(tf.zeros(2), 1.0), VECTOR.likelihood),
        (
            "prior with a batch",
            tfd.MultivariateNormalDiag(tf.zeros([3, 2])),
            VECTOR.likelihood,
        ),
        (
            "likelihood of one dimension",
            VECTOR.prior,
            lambda z: tfd.Independent(tfd.Normal(z[..., :1], 1.0), 1),
        ),
        (
            "likelihood without samples",
            VECTOR.prior,
            lambda z: VECTOR.likelihood(tf.zeros(2)),
        ),
        (
            "likelihood reduced",
            VECTOR.prior,
            lambda z: tfd.Independent(tfd.Normal(z, 1.0), 2),
        ),
        ("likelihood of no event", VECTOR.prior, lambda z: tfd.Normal(z[..., 0], 1.0)),
        ("likelihood a tensor", VECTOR.prior, lambda z: z),
    ],
)
@pytest.mark.parametrize("sample_size", [2, 5])
def test_wrong_models_never_give_a_number(name, prior, likelihood, sample_size):
    model = et.LatentVariableModel(prior, likelihood)
    for x, q in [
        (ROWS, tfd.MultivariateNormalDiag(ROWS)),
        (ROWS[:2], tfd.MultivariateNormalDiag(ROWS[:2])),
        (ROWS[0], tfd.MultivariateNormalDiag(ROWS[0])),
    ]:
        with says("expected"):
            et.draw(model.log_joint(x), q, sample_size, seed=0)


@pytest.mark.parametrize("sample_size", [1, 2, 3])
def test_a_batch_of_priors_goes_with_the_data_only(sample_size):
    batch = tfd.MultivariateNormalDiag(tf.zeros([2, 2]) + [[0.0], [1.0]])
    model = et.LatentVariableModel(batch, VECTOR.likelihood)
    q = tfd.MultivariateNormalDiag(ROWS[:2])
    draws = et.draw(model.log_joint(ROWS[:2]), q, sample_size, seed=0)
    close(draws.log_prior[:, 1], batch[1].log_prob(draws.z[:, 1]))
    with says("expected one event of the prior", "batch shape (2,)"):
        et.draw(model.log_joint(ROWS[0]), q[0], sample_size, seed=0)


def test_images_need_independent_pixels():
    model = et.LatentVariableModel(
        tfd.Sample(STANDARD, 2),
        lambda z: tfd.Bernoulli(logits=tf.zeros([*z.shape[:-1], 64])),
    )
    with says("event shape ()", "tfd.Independent"):
        et.draw(
            model.log_joint(tf.zeros([5, 64])),
            tfd.MultivariateNormalDiag(ROWS),
            2,
            seed=0,
        )


# wrong arguments


@pytest.mark.parametrize("size", [0, -1, 2.0, None, (), (0, 2), (2, 2.0), True, "2"])
def test_sample_sizes_are_positive_ints(size):
    got = repr(size) if not isinstance(size, tuple) else ""
    with says("sample_size", "positive int", got):
        et.draw(remembered_reduce, STANDARD, size, seed=0)


class NoDensity:
    """It samples, and that is all."""

    sample = STANDARD.sample


@pytest.mark.parametrize(
    "q", [lambda x: STANDARD, (STANDARD, STANDARD), None, NoDensity()]
)
def test_a_surrogate_that_cannot_sample_is_an_error(q):
    with says(
        "surrogate_posterior", "`sample` and `log_prob`", type(q).__name__, "encoder(x)"
    ):
        et.draw(remembered_reduce, q, seed=0)


@pytest.mark.parametrize("target", [et.models.normal_normal(), 3.0, None])
def test_a_target_that_cannot_be_called_is_an_error(target):
    with says("expected target", "model.log_joint(x)", type(target).__name__):
        et.draw(target, STANDARD, seed=0)


class Lossy(SampleOnly):
    """A surrogate whose log_prob loses the sample dimension."""

    def log_prob(self, z):
        return tf.reduce_sum(super().log_prob(z))


def test_a_surrogate_that_loses_samples_is_an_error():
    with says("expected log q(z) to start with the sample shape [4]", "got shape ()"):
        et.draw(remembered_reduce, Lossy(), 4, seed=0)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (lambda z: None, ["leading shape [4]", "ValueError", "reduce_sum"]),
        (lambda z: 0.0, ["shape of log q(z), (4,)", "got ()"]),
        (lambda z: z[:2], ["(4,)", "got (2,)"]),
        (
            lambda z: tf.cast(z, tf.float64),
            ["dtype, float32", "got float64", "precision"],
        ),
        (lambda z: tf.cast(z, tf.int32), ["dtype, float32", "got int32"]),
    ],
)
def test_a_target_that_returns_something_else_is_an_error(target, parts):
    with says("expected", *parts):
        et.draw(target, STANDARD, 4, seed=0)


def test_an_error_inside_a_target_is_passed_on():
    def target(z):
        raise ValueError("")

    with says("failed with ValueError: no message"):
        et.draw(target, STANDARD, seed=0)
    with pytest.raises(KeyError):
        et.draw(lambda z: {}["missing"], STANDARD, seed=0)


def test_nan_stays_nan():
    draws = et.draw(lambda z: z * float("nan"), STANDARD, 2, seed=0)
    assert np.isnan(draws.log_weights).all()


# a latent that all data share


def shared_model(dtype=tf.float32):
    zero = tf.zeros([], dtype)
    return et.LatentVariableModel(
        tfd.Normal(zero, 1.0),
        lambda z, w: tfd.Normal(z + w[..., tf.newaxis], 1.0),
        global_prior=tfd.Normal(zero, 2.0),
    )


def test_the_shares_of_all_data_add_up_to_the_joint():
    local, shared = tfd.Normal(X, 1.0), tfd.Normal(0.5, 0.3)
    draws = et.draw(shared_model().log_joint(X, num_data=5), (local, shared), 3, seed=0)
    z, w = draws.z
    assert z.shape == (3, 5) and w.shape == (3,) and draws.num_data == 5
    whole = tf.reduce_sum(STANDARD.log_prob(z), 1) + tfd.Normal(0.0, 2.0).log_prob(w)
    close(tf.reduce_sum(draws.log_prior, 1), whole)
    log_q = tf.reduce_sum(local.log_prob(z), 1) + shared.log_prob(w)
    close(tf.reduce_sum(draws.log_q, 1), log_q)
    close(draws.log_likelihood, tfd.Normal(z + w[:, None], 1.0).log_prob(X))
    again = evaluate(
        shared_model().log_joint(X, num_data=5), (local, shared), (z, w), 3
    )
    close(again.log_weights, draws.log_weights)


def test_local_and_global_draws_are_independent():
    q = tfd.Normal(tf.zeros(1), 1.0), tfd.Normal(0.0, 1.0)
    target = shared_model().log_joint(X[:1], num_data=9)
    z, w = et.draw(target, q, 2_000, seed=0).z
    # the correlation of independent draws has standard error 1 / sqrt(S) = 0.022
    assert abs(np.corrcoef(z[:, 0], w)[0, 1]) < 4 * 0.0224


@pytest.mark.parametrize("q", [STANDARD, (STANDARD,), (STANDARD,) * 3])
def test_a_global_prior_needs_a_pair(q):
    target = shared_model().log_joint(X, num_data=5)
    with says(
        "pair", "global prior", f"got {type(q).__name__}", "(encoder(x), q_global)"
    ):
        et.draw(target, q, seed=0)


@pytest.mark.parametrize(
    ("local", "shared"),
    [
        (tfd.Normal(0.0, 1.0), tfd.Normal(X, 1.0)),
        (tfd.Normal(0.0, 1.0), tfd.Normal(0.0, 1.0)),
        (tfd.Normal(X, 1.0), tfd.Normal(X, 1.0)),
        (tfd.Normal(X, 1.0), tfd.Normal(X[:1], 1.0)),
        (tfd.Normal(X[:1], 1.0), tfd.Normal(0.0, 1.0)),
        (tfd.Normal(X, 1.0), tfd.MultivariateNormalDiag(X[:1])),
    ],
)
@pytest.mark.parametrize("sample_size", [1, 2, 5])
def test_wrong_pairs_never_give_a_number(local, shared, sample_size):
    target = shared_model().log_joint(X, num_data=5)
    with says("expected"):
        et.draw(target, (local, shared), sample_size, seed=0)


# shapes, dtypes and structures at large


@st.composite
def settings_of_a_draw(draw):
    event = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=1)))
    lead = draw(st.one_of(st.integers(1, 3), st.tuples(*[st.integers(1, 3)] * 2)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    structure = draw(st.sampled_from(["tensor", "dict", "list"]))
    return event, batch, lead, dtype, structure


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(settings_of_a_draw())
def test_any_shape_dtype_and_structure(case):
    event, batch, lead, dtype, structure = case

    def normal(shape):
        return tfd.Independent(tfd.Normal(np.zeros(shape, dtype), dtype(1)), len(event))

    def pack(make):
        if structure == "tensor":
            return make()
        parts = {"a": make(), "b": make()}
        if structure == "dict":
            return tfd.JointDistributionNamed(parts)
        return tfd.JointDistributionSequential(list(parts.values()))

    def likelihood(z):
        return tfd.Independent(tfd.Normal(tf.nest.flatten(z)[-1], dtype(1)), len(event))

    model = et.LatentVariableModel(pack(lambda: normal(event)), likelihood)
    x = np.ones((*batch, *event), dtype)
    q = pack(lambda: normal((*batch, *event)))
    draws = et.draw(model.log_joint(x), q, lead, seed=0)
    sizes = lead_shape(lead)
    assert draws.log_weights.shape == (*sizes, *batch)
    assert draws.log_weights.dtype == dtype
    for part in tf.nest.flatten(draws.z):
        assert part.shape == (*sizes, *batch, *event) and part.dtype == dtype
    # prior and q are alike: what is left of a weight is the likelihood
    mean = tf.nest.flatten(draws.z)[-1]
    squares = ((np.asarray(mean) - 1) ** 2 + np.log(2 * np.pi)) / -2
    expected = squares.sum(tuple(range(squares.ndim - len(event), squares.ndim)))
    np.testing.assert_allclose(draws.log_weights, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError):
        et.draw(model.log_joint(x[np.newaxis]), q, lead, seed=0)


# a q whose samples have no gradient


def mixture(logits, loc=(-2.0, 2.0)):
    return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tfd.Normal(loc, 0.5))


BLIND = {
    "mixture": (mixture, STANDARD.log_prob),
    "bernoulli": (
        lambda logits: tfd.Bernoulli(logits=logits[0], dtype=tf.float32),
        tfd.Bernoulli(logits=0.0).log_prob,
    ),
    "joint": (
        lambda logits: tfd.JointDistributionSequential([STANDARD, mixture(logits)]),
        lambda z: STANDARD.log_prob(z[0]) + STANDARD.log_prob(z[1]),
    ),
}


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", BLIND)
def test_a_gradient_that_lacks_a_term_is_refused(name, mode):
    make, target = BLIND[name]
    logits = tf.Variable([0.3, 0.0])

    def gradient():
        with tf.GradientTape() as tape:
            bound = et.bounds.elbo(et.draw(target, make(logits), 8, seed=0))
        return bound, tape.gradient(bound, logits)

    if mode != "eager":
        gradient = tf.function(gradient, jit_compile=mode == "xla", autograph=False)
    with says("reparameterized", "leave_one_out", "stop_gradient"):
        gradient()
    # its value is what it was, and the score estimators are for it
    draws = et.draw(target, make(logits), 8, seed=0)
    close(draws.log_q, make(logits).log_prob(draws.z))
    with tf.GradientTape() as tape:
        found = et.gradients.leave_one_out(target, make(logits), seed=0).surrogate
    assert tape.gradient(found, logits) is not None


def test_the_model_s_gradient_alone_is_right_under_any_q():
    theta = tf.Variable(0.5)
    q = tfd.Bernoulli(logits=[0.3], dtype=tf.float32)
    model = et.LatentVariableModel(
        tfd.Bernoulli(logits=0.0, dtype=tf.float32),
        lambda z: tfd.Normal(theta * z, 1.0),
    )
    with tf.GradientTape() as tape:
        draws = et.draw(model.log_joint([2.0]), q, 4, seed=0)
        bound = tf.reduce_sum(et.bounds.elbo(draws))
    # d/d theta log N(x; theta z, 1) = (x - theta z) z
    exact = tf.reduce_mean((2.0 - 0.5 * draws.z) * draws.z)
    close(tape.gradient(bound, theta), exact)


def test_a_decomposition_is_not_differentiated_under_such_a_q():
    logits = tf.Variable([0.3])
    q = tfd.Bernoulli(logits=logits, dtype=tf.float32)
    model = et.LatentVariableModel(
        tfd.Bernoulli(logits=0.0, dtype=tf.float32), lambda z: tfd.Normal(z, 1.0)
    )
    with tf.GradientTape() as tape:
        found = et.bounds.decompose(model, q, [2.0], 8, seed=0).elbo
    with says("reparameterized"):
        tape.gradient(found, logits)


def test_a_mixture_that_tfp_cannot_sample_says_what_to_build():
    components = tfd.MultivariateNormalDiag(tf.zeros([2, 2]), tf.ones([2, 2]))
    weights = tfd.Categorical(logits=[0.0, 0.0])
    q = tfd.MixtureSameFamily(weights, components, reparameterize=True)
    with says("can be sampled", "scalar", "tfd.Independent", "families.mixture"):
        et.draw(components[0].log_prob, q, 3, seed=0)


def test_a_density_that_underflows_is_named():
    q = tfd.Dirichlet(tf.fill([30], 0.02))
    with says("finite at samples of q", "zeros", "float32", "float64"):
        et.draw(q.log_prob, q, 50, seed=0)
    q = tfd.Dirichlet(tf.fill([30], np.float64(0.02)))
    close(et.draw(q.log_prob, q, 50, seed=0).log_weights, np.zeros(50))
    with says("1 of 1", "0 zeros", "NaN among q's parameters"):
        et.draw(STANDARD.log_prob, tfd.Normal(np.float32(np.nan), 1.0), seed=0)


# pins


@pytest.mark.parametrize("value", [np.float32(0.1), np.float32([0.1])])
def test_a_pin_must_not_be_repeated(value):
    joint, _ = pinned()
    q = tfd.JointDistributionNamed({"a": STANDARD, "b": tfd.LogNormal(0.0, 1.0)})
    with says("pin of 'x'", "(3,)", f"got {value.shape}", "count several times"):
        et.draw(joint.experimental_pin(x=value), q, 2, seed=0)


def test_a_target_in_one_form():
    joint, pin = pinned()
    z = {"a": tf.constant([0.3]), "b": tf.constant([2.0])}
    found = as_target(pin)
    assert as_target(found) is found and found.num_data is None
    close(found.log_prob(z), pin.unnormalized_log_prob(z))
    parts = as_target(et.models.normal_normal().log_joint(X))
    assert parts.has_parts and len(parts.densities(tf.zeros(5), 0)) == 2
