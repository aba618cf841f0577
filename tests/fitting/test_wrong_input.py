"""Wrong input: every error names what was expected, what came, what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.fitting import Convergence, FitResult, fit
from elbo_tfp.fitting.optimizers import check, check_unbuilt
from elbo_tfp.types import Draws, Estimate

V = tf.Variable([1.0, 2.0], name="v")
ROWS = np.ones([6, 2], np.float32)


def bound(batch):
    return tf.reduce_sum(batch * V, -1)


def attempt(objective=bound, **keywords):
    keywords = {"num_steps": 2, "seed": 0, "data": ROWS, **keywords}
    return fit(objective, **{k: v for k, v in keywords.items() if v is not ...})


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"num_steps": 0}, "num_steps to be a positive int; got 0"),
        ({"num_steps": -3}, "num_steps to be a positive int; got -3"),
        ({"num_steps": 2.0}, "num_steps to be a positive int; got 2.0"),
        ({"num_steps": True}, "num_steps to be a positive int; got True"),
        ({"seed": ...}, "seed to be an int.*got None"),
        ({"seed": 1.5}, "seed to be an int.*got 1.5"),
        (
            {"data": np.ones([0, 2])},
            r"data to hold at least one datum; got .* shape \(0, 2\)",
        ),
        ({"data": ()}, "data to have parts"),
        ({"data": 3.0}, "data to have data along the first axis; got one number"),
        ({"data": np.array(["a", "b"])}, "data to be an array of numbers; got .*<U1"),
        ({"data": {"x": object()}}, r"data\['x'\] to be .* a tuple or dict.*object"),
        ({"data": (ROWS, np.ones(5))}, r"same length; got \[6, 5\]"),
        (
            {"data": np.float32([[1, 2], [np.nan, 1], [np.inf, 0]])},
            "2 of 6 values, in 2 rows",
        ),
        ({"data": [[1.0, 2.0], [3.0, -np.inf]]}, "in 1 rows, first in row 1"),
        ({"data": ...}, "asks for a batch, but fit got no data"),
        ({"batch_size": 7}, "at most the number of data, 6; got 7"),
        ({"batch_size": 0}, "batch_size to be a positive int; got 0"),
        (
            {"batch_size": 4, "shards": 3},
            "batch, 4 rows, to be .*; got 3 shards",
        ),
        ({"shards": 4}, "batch, 6 rows, to be equal shards; got 4 shards"),
        ({"shards": 0}, "shards to be a positive int"),
        ({"num_data": 0}, "num_data to be a positive int"),
        ({"trace_fn": 3}, "trace_fn to be callable; got 3"),
        ({"kl_schedule": 1.0}, "got a kl_schedule, but .* names no kl_weight"),
        ({"held_out": ROWS * np.nan}, "held_out without NaN"),
        ({"convergence_criterion": 0.1}, "convergence_criterion to be Convergence"),
        (
            {"trainable_variables": [3.0]},
            "to be TensorFlow or Keras variables",
        ),
        ({"trainable_variables": []}, "trainable_variables is empty"),
        ({"trainable_variables": [tf.Variable(1.0, name="w")]}, "bound reaches w"),
        ({"checkpoint": 3}, "checkpoint's folder to be a path; got 3"),
        ({"optimizer": "adam"}, "optimizer to be a Keras 3 optimizer.*got 'adam'"),
    ],
)
def test_wrong_arguments(keywords, text):
    with pytest.raises(ValueError, match=text):
        attempt(**keywords)


def asks_for_more(batch, temperature):
    return bound(batch)


def positional(batch, /):
    return bound(batch)


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (3, "objective to be callable; got int"),
        (asks_for_more, "asks for temperature; fit calls .* closure"),
        (positional, "asks for batch"),
        (lambda seed: tf.reduce_sum(V), "got data, but .* names no batch"),
        (lambda batch: None, "got NoneType. Is a `return` missing?"),
        (lambda batch: (bound(batch), 1.0), "got tuple. Return one tensor"),
        (lambda batch: Draws(None, None, None, bound(batch)), "return .*elbo.draws"),
        (lambda batch: tf.cast(bound(batch), tf.int32), "floating point; got int32"),
        (lambda batch: batch * V, r"scalar; got value of shape \(6, 2\). Average"),
        (lambda batch: bound(batch)[:4], r"shape \[6\], .* got value of shape \(4,\)"),
        (
            lambda batch: Estimate(bound(batch), bound(batch)[:3], bound(batch)),
            r"got surrogate of shape \(3,\)",
        ),
        (lambda batch: tf.reduce_sum(batch, -1), "reads no trainable variable"),
        (
            lambda batch: tf.stop_gradient(bound(batch)),
            "gradient .* reaches v.*score",
        ),
        (lambda batch, num_data, **_: bound(batch), None),
    ],
)
def test_wrong_objectives(objective, text):
    if text is None:
        attempt(objective)
        return
    with pytest.raises(ValueError, match=text):
        attempt(objective)


def test_num_data_is_given_or_asked_for():
    seen = []

    def objective(batch, num_data):
        seen.append(num_data)
        return bound(batch)

    attempt(objective)
    attempt(objective, num_data=60)
    # traced, then called once in eager mode
    assert seen == [6, 6, 60, 60]
    with pytest.raises(ValueError, match="asks for num_data.* pass num_data="):
        attempt(lambda num_data: tf.reduce_sum(V), data=...)
    attempt(lambda num_data=None: tf.reduce_sum(V), data=...)


def test_batch_size_without_data():
    with pytest.raises(ValueError, match="batch_size but no data"):
        attempt(lambda: tf.reduce_sum(V), data=..., batch_size=3)
    with pytest.raises(ValueError, match="held_out needs an objective"):
        attempt(lambda: tf.reduce_sum(V), data=..., held_out=ROWS)


def test_a_variable_without_gradient_is_a_warning():
    w = tf.Variable(1.0, name="cut")

    def rounded(batch):
        return bound(batch) * tf.cast(tf.cast(w, tf.int32), tf.float32)

    with pytest.warns(UserWarning, match="no gradient reaches cut"):
        result = attempt(
            lambda batch: (
                bound(batch) * tf.sign(tf.cast(tf.cast(w, tf.int32), tf.float32))
            )
        )
    assert [v is V for v in result.variables] == [True]
    with pytest.raises(ValueError, match="bound reaches cut"):
        attempt(
            lambda batch: bound(batch) * tf.stop_gradient(w), trainable_variables=[w, V]
        )


def test_optimizers_that_cannot_work_are_named():
    names = {"Muon", "Adafactor", "LossScaleOptimizer"} & set(dir(keras.optimizers))
    assert len(names) >= 2  # an older Keras has no Muon
    for name in names:
        kind = getattr(keras.optimizers, name)
        inner = (keras.optimizers.Adam(),) if name == "LossScaleOptimizer" else ()
        with pytest.raises(ValueError, match=f"{name} does not work in fit.*Adam"):
            check(kind(*inner))
    with pytest.raises(ValueError, match="option use_ema=True"):
        check(keras.optimizers.Adam(use_ema=True))
    with pytest.raises(ValueError, match="option loss_scale_factor=8"):
        check(keras.optimizers.Adam(loss_scale_factor=8.0))
    default = check(None)
    assert isinstance(default, keras.optimizers.Adam)
    np.testing.assert_allclose(default.learning_rate, 1e-3)


def test_an_optimizer_built_on_other_variables_is_an_error():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.5)
    assert not check_unbuilt(optimizer, (V,))
    other = tf.Variable(0.0)
    optimizer.apply([tf.constant(1.0)], [other])
    with pytest.raises(ValueError, match="built on 1 other variables.*trains 1"):
        attempt(optimizer=optimizer)
    own = keras.optimizers.SGD(0.1, momentum=0.5)
    own.apply([tf.constant([1.0, 1.0])], [V])
    before = V.numpy()
    attempt(optimizer=own, num_steps=1)
    # momentum 0.5 * (-0.1), then + 0.1 * mean(batch) = 0.1
    np.testing.assert_allclose(V - before, 0.05, rtol=1e-5)


def test_init_must_match():
    first = attempt()
    with pytest.raises(ValueError, match=r"seed \(0, 0\); got another one, \(0, 1\)"):
        attempt(init=first, seed=1)
    with pytest.raises(ValueError, match="another objective or optimizer"):
        attempt(init=first, optimizer=keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="init and checkpoint cannot"):
        attempt(init=first, checkpoint="x")
    assert attempt(init=first, seed=0).steps == 4


def test_result_reads_well():
    result = attempt(convergence_criterion=Convergence())
    text = repr(result)
    assert text.startswith("FitResult(steps=2, elbo=") and "nats per datum" in text
    for field in FitResult._fields:
        assert len(getattr(FitResult, field).__doc__) > 20
    assert isinstance(result.converged, bool) and not result.converged
