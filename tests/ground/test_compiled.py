"""One cache of programs: never stale, and one compilation an architecture."""

import collections
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import elbo_tfp as et
from elbo_tfp.ground import compiled as cache
from elbo_tfp.ground.compiled import compiled
from tests.statistics import says

X = tf.constant([0.1, 0.2, 0.3])


@pytest.fixture(autouse=True)
def _empty():
    cache.clear()
    yield
    cache.clear()


def answer(function, *arguments):
    return compiled(function, *arguments)(*arguments)


SETTINGS = {"scale": 1.0}
NUMBER = 1.0


def _changes():
    """name -> (function of x, what changes its factor from 1 to 3)."""
    entries, numbers, array = {"a": {"b": 1.0}}, [1.0], np.ones(3, np.float32)
    holder = types.SimpleNamespace(inner=types.SimpleNamespace(scale=1.0))
    free = 1.0

    def closed(x):
        return x * free

    def rebind():
        nonlocal free
        free = 3.0

    def of_global(x):
        return x * NUMBER

    class Model:
        scale = 1.0

        def method(self, x):
            return x * self.scale

    model = Model()
    return {
        "dict": (lambda x: x * entries["a"]["b"], lambda: entries["a"].update(b=3.0)),
        "list": (lambda x: x * numbers[0], lambda: numbers.__setitem__(0, 3.0)),
        "array in place": (lambda x: x * array, lambda: array.fill(3.0)),
        "attribute": (model.method, lambda: setattr(model, "scale", 3.0)),
        "class attribute": (Model().method, lambda: setattr(Model, "scale", 3.0)),
        "namespace": (
            lambda x: x * holder.inner.scale,
            lambda: setattr(holder.inner, "scale", 3.0),
        ),
        "closure": (closed, rebind),
        "global": (of_global, lambda: globals().update(NUMBER=3.0)),
    }


@pytest.mark.parametrize("name", _changes())
@pytest.mark.parametrize("jit_compile", [False, True])
def test_what_changed_is_seen(name, jit_compile):
    function, change = _changes()[name]
    try:
        for factor in (1.0, 3.0):
            run = compiled(function, X, jit_compile=jit_compile)
            np.testing.assert_allclose(run(X), X * factor, rtol=1e-6)
            change()
    finally:
        globals().update(NUMBER=1.0)


def test_a_program_answers_for_the_time_it_was_asked_for():
    SETTINGS["scale"] = 1.0
    run = compiled(lambda x: x * SETTINGS["scale"], X)
    SETTINGS["scale"] = 3.0
    np.testing.assert_allclose(run(X), X)


def _loop(value):
    """Reads and assigns a variable, inside and outside a loop, beside constants."""
    v, w = tf.Variable(value), tf.constant([value, 2.0, 3.0])

    def function(x):
        v.assign_add(1.0)

        def body(i, total):
            v.assign_add(tf.reduce_sum(x))
            return i + 1, total + tf.reduce_sum(x * v * w)

        start = tf.constant(0), tf.constant(0.0)
        return tf.while_loop(lambda i, _: i < 3, body, start)[1], v + 0.0

    return function, v


@pytest.mark.parametrize("jit_compile", [False, True])
def test_loops_assignments_and_other_weights_share_a_program(jit_compile):
    for value in (1.0, 2.0, 5.0):
        (one, v), (other, u) = _loop(value), _loop(value)
        run = compiled(one, X, jit_compile=jit_compile)
        for _ in range(2):
            expected = other(X)
            np.testing.assert_allclose(run(X), expected, rtol=1e-6)
            np.testing.assert_allclose(v, u, rtol=1e-6)
    assert cache.count() == 1


def _vae_step(vae, sample_size=1):
    def step(x, seed):
        with tf.GradientTape() as tape:
            joint, q = vae.model.log_joint(x), vae.encoder(x)
            made = et.gradients.reparameterized(
                joint, q, sample_size=sample_size, seed=seed
            )
            total = tf.reduce_mean(made.surrogate)
        variables = tape.watched_variables()
        return total, dict(enumerate(tape.gradient(total, variables)))

    return step


def test_one_architecture_compiles_once():
    x, seed = tf.ones([4, 6]), tf.constant([0, 1])
    first = [et.models.vae(6, 2, hidden=(5,), seed=s) for s in range(4)]
    for vae in first:
        got, plain = answer(_vae_step(vae), x, seed), _vae_step(vae)(x, seed)
        for one, other in zip(*map(tf.nest.flatten, (got, plain)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    fresh = tf.function(_vae_step(vae), autograph=False, jit_compile=True)
    tf.nest.map_structure(np.testing.assert_array_equal, got, fresh(x, seed))
    count = cache.count()
    assert count <= 2  # Keras may trace a layer's first call otherwise
    answer(_vae_step(first[0]), x, seed + 1)
    assert cache.count() == count
    answer(_vae_step(first[0], 2), x, seed)  # another graph
    answer(_vae_step(first[0]), x[:3], seed)  # another shape
    assert cache.count() == count + 2


def test_a_flow_and_a_loop_over_draws_compile_once():
    for seed in range(3):
        q = et.families.flow(2, seed=seed)

        def weights(seed, q=q):
            return et.draw(lambda z: -tf.reduce_sum(z**2, -1), q, 9, seed=seed)[3]

        arguments = tf.constant([0, seed])
        got = answer(weights, arguments)
        np.testing.assert_allclose(got, weights(arguments), rtol=1e-4, atol=1e-5)
    expected = tf.function(weights, jit_compile=True, autograph=False)(arguments)
    np.testing.assert_array_equal(got, expected)
    assert cache.count() == 1


def test_scalars_written_as_tensors_are_arguments_and_integers_are_shapes():
    for scale, size in ((1.0, 2), (3.0, 2), (3.0, 3)):
        beta, n = tf.constant(scale), tf.constant(size)
        got = answer(lambda x, b=beta, n=n: tf.fill([n], b * x[0]), X)
        np.testing.assert_allclose(got, np.full(size, scale * 0.1), rtol=1e-6)
    assert cache.count() == 2


def test_structures_go_in_and_come_out():
    data = {"x": X, "mask": (X > 0.15, tf.constant(2))}

    def function(data, seed):
        total = tf.reduce_sum(tf.where(data["mask"][0], data["x"], 0.0))
        return et.Draws(None, total, None, {"n": data["mask"][1], "seed": seed})

    got = answer(function, data, X)
    assert isinstance(got, et.Draws) and got.z is None and got.log_prior is None
    np.testing.assert_allclose(got.log_likelihood, 0.5)
    assert int(got.log_q["n"]) == 2
    np.testing.assert_array_equal(got.log_q["seed"], X)


def test_an_unused_argument_and_an_argument_that_is_returned():
    got = answer(lambda x, unused: (x, tf.constant([1.0, 2.0])), X, X)
    np.testing.assert_array_equal(got[0], X)
    np.testing.assert_array_equal(got[1], [1, 2])


def test_another_structure_is_refused():
    run = compiled(lambda x: x["a"], {"a": X})
    with pytest.raises((TypeError, ValueError)):
        run({"b": X})


def test_programs_are_bounded_and_come_back(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 3)
    for number in (1.0, 2.0, 3.0, 1.0, 4.0, 5.0, 2.0, 1.0):
        got = answer(
            lambda x, n=number: tf.while_loop(
                lambda i, _: i < 2, lambda i, a: (i + 1, a * n), (0, x)
            )[1],
            X,
        )
        np.testing.assert_allclose(got, X * number**2, rtol=1e-6)
        assert cache.count() <= 3


def test_batch_normalization_and_dropout_keep_their_state():
    layers = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)]
    network = keras.Sequential([keras.Input((3,)), *layers])
    x = tf.constant(np.random.default_rng(0).normal(3, 1, [50, 3]), tf.float32)
    run = compiled(lambda x: network(x, training=True), x)
    first, second = run(x), run(x)
    assert not np.array_equal(first, second)  # another mask
    assert np.all(layers[0].moving_mean.numpy() > 0.03)


def test_errors_of_the_function_come_through():
    def function(x):
        raise ValueError("expected better")

    with says("expected better"):
        compiled(function, X)
    assert cache.count() == 0


def test_many_programs_make_tensorflow_log_nothing(caplog):
    for number in range(8):
        answer(lambda x, n=float(number): x * n, X)
    assert "retracing" not in caplog.text


def test_under_an_open_tape_the_answer_is_a_constant():
    def function(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a * x), (0, x))[1]

    with tf.GradientTape() as tape:
        tape.watch(X)
        got = answer(function, X)
    np.testing.assert_allclose(got, X**4, rtol=1e-6)
    assert tape.gradient(got, X) is None


def test_what_was_used_last_stays(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 2)
    kept = collections.OrderedDict()
    for key in "abac":
        assert cache._kept(kept, key, lambda key=key: key.upper()) == key.upper()
    assert list(kept) == ["a", "c"]


def test_settling_runs_a_program_once_and_tells_what_xla_said():
    program = compiled(tf.square, X)
    assert not program._program.settled
    assert program.settle(X) is None and program._program.settled
    program._program.refused = error = ValueError("what XLA said")
    assert program.settle("arguments that would fail") is error


def _weighted(weight, traces):
    def function(x):
        traces.append(x)
        return x * weight

    return function


def test_a_known_function_is_traced_once_and_reads_what_is_its_own():
    traces, weights = [], [tf.Variable([2.0, 3.0, 4.0]), tf.Variable([5.0, 6.0, 7.0])]
    for weight in (*weights, *weights):
        known = cache.Known(("weighted",), (weight.handle,))
        run = compiled(_weighted(weight, traces), X, jit_compile=False, known=known)
        np.testing.assert_array_equal(run(X), X * weight)
    assert len(traces) == 1 == cache.count()
    other = cache.Known(("another",), (weight.handle,))
    compiled(_weighted(weight, traces), X, jit_compile=False, known=other)
    compiled(_weighted(weight, traces), X[None], jit_compile=False, known=known)
    assert len(traces) == 3
    cache.clear()
    compiled(_weighted(weight, traces), X, jit_compile=False, known=known)
    assert len(traces) == 4 and cache.count() == 1


def test_a_function_that_reads_more_than_is_said_is_not_known():
    traces, known = [], cache.Known(("weighted",), ())
    for factor in (2.0, 3.0):
        weight = tf.Variable([factor] * 3)
        run = compiled(_weighted(weight, traces), X, jit_compile=False, known=known)
        np.testing.assert_array_equal(run(X), X * factor)
    assert len(traces) == 2


def test_a_graph_names_the_variables_it_reads_in_their_order():
    first, second = tf.Variable(1.0), tf.Variable(2.0)
    graph = cache.traced(lambda x: (x * second + first, None), X)
    assert [id(v) for v in graph.variables] == [id(second), id(first)]
    assert graph.outputs == (tf.TensorSpec([3]), None)
    part = tf.function(lambda x: graph((x,), graph.captured), autograph=False)(X)
    np.testing.assert_allclose(part[0], 2 * X + 1)
    assert part[1] is None


def test_a_program_can_read_other_tensors():
    mine, other = tf.Variable(2.0), tf.Variable(3.0)
    run = compiled(lambda x: x * mine, X, jit_compile=False)
    np.testing.assert_array_equal(run.reading(lambda _: other.handle)(X), X * 3.0)
    np.testing.assert_array_equal(run(X), X * 2.0)
    assert cache.count() == 1


def test_a_copy_of_a_distributed_variable_tells_whose():
    whole = tf.Variable(1.0)
    handle = types.SimpleNamespace(_distributed_container=lambda: whole)
    assert cache.undivided(types.SimpleNamespace(handle=handle)) is whole
    assert cache.undivided(whole) is whole


def _spelled(x):
    return tf.strings.length(tf.as_string(x, precision=1))


def test_what_xla_refuses_becomes_a_plain_graph():
    run = compiled(_spelled, X)
    assert run.jit_compile
    for _ in range(2):
        np.testing.assert_array_equal(run(X), [3, 3, 3])
    assert not run.jit_compile
    error = compiled(_spelled, X).settle(X)
    assert isinstance(error, tf.errors.OpError)
    assert not compiled(_spelled, X).jit_compile and cache.count() == 1


def test_an_error_of_a_plain_graph_is_no_refusal():
    def function(x):
        with tf.control_dependencies([tf.debugging.assert_positive(x, "plus!")]):
            return x + 0.0

    run = compiled(function, X, jit_compile=False)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="plus!"):
            run(-X)
        assert run.settle(X) is None


def test_a_program_that_ran_is_not_given_up_for_an_error():
    run = compiled(tf.square, X)
    run(X)

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "memory is full")

    run._program.run = full
    with pytest.raises(tf.errors.OpError, match="memory is full"):
        run(X)
    assert run.jit_compile and run.settle(X) is None


def test_compiling_is_the_default_and_another_program():
    assert compiled(tf.square, X).jit_compile
    assert not compiled(tf.square, X, jit_compile=False).jit_compile
    assert cache.count() == 2


def test_a_condition_on_a_tensor_is_not_rewritten():
    with pytest.raises(TypeError, match="symbolic"):
        compiled(lambda x: x if x[0] > 0 else -x, X)


def test_a_variable_made_while_tracing_has_its_value_at_once():
    made = []

    def function(x):
        if not made:
            made.append(tf.Variable([2.0, 3.0, 4.0]))
        return x * made[0]

    run = compiled(function, X, jit_compile=False)
    np.testing.assert_array_equal(made[0], [2.0, 3.0, 4.0])
    made[0].assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(run(X), X * [1.0, 2.0, 3.0])


def test_specs_stay_and_tensors_have_theirs():
    spec = tf.TensorSpec([None, 2], tf.int64, "own")
    assert cache.spec_of(spec) is spec
    assert cache.spec_of(np.float64([1, 2])) == tf.TensorSpec([2], tf.float64)


def test_arguments_of_unknown_length_are_taken():
    run = compiled(tf.square, tf.TensorSpec([None]), jit_compile=False)
    for size in (1, 3):
        np.testing.assert_array_equal(run(tf.ones(size) * 2.0), np.full(size, 4.0))
