"""Numbers to the last digit, and shapes at run time."""

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground import checks
from elbo_tfp.ground.structures import per_datum
from tests.statistics import says


@pytest.mark.parametrize("value", [0.3, np.float64(0.3), tf.constant(0.3, tf.float64)])
def test_numbers_keep_every_digit(value):
    assert checks.number(value, tf.float64).numpy() == 0.3
    assert checks.number(3, tf.float32).dtype == tf.float32
    local = tf.zeros([1, 1], tf.float64)
    share = per_datum(local, tf.ones([1], tf.float64), value)
    assert share.numpy().item() == 1 / 0.3


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("spec", [[None], [5]])
def test_shapes_are_checked_at_run_time(jit_compile, spec):
    """TensorFlow's graph optimizer drops a reshape, XLA an assertion."""

    def check(x, like):
        return checks.at_run_time(x, tf.shape(like), "five!") * tf.ones([3, 5])

    signature = [tf.TensorSpec([None]), tf.TensorSpec(spec)]
    check = tf.function(
        check, input_signature=signature, jit_compile=jit_compile, autograph=False
    )
    np.testing.assert_array_equal(check(tf.range(5.0), tf.zeros(5))[2], np.arange(5))
    for size in (1, 3):
        expected = None if jit_compile else "five!"
        with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
            check(tf.ones(size), tf.zeros(5))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), tf.constant(3).numpy()])
def test_whole_numbers(value):
    found = checks.whole("size", value)
    assert found == 3 and type(found) is int
    assert checks.whole("size", 0, least=0) == 0


@pytest.mark.parametrize("value", [0, -1, 3.0, True, np.True_, "3", None, [3]])
def test_what_is_no_positive_int(value):
    with says("expected size to be a positive int", f"got {value!r}.", "Use 1"):
        checks.whole("size", value, remedy="Use 1.")
    with says("an int >= 2"):
        checks.whole("size", 1, least=2)


@pytest.mark.parametrize(
    ("value", "interval"),
    [(0.5, "(0, inf)"), (np.float32(1), "(0, 1]"), (0, "[0, inf)"), (2, "(1, 3)")],
)
def test_real_numbers(value, interval):
    found = checks.real("rate", value, interval)
    assert found == value and type(found) is float


@pytest.mark.parametrize(
    ("value", "interval", "words"),
    [
        (0, "(0, inf)", "a positive number"),
        (float("inf"), "(0, inf)", "a positive number"),
        (float("nan"), "[0, inf)", "a number >= 0"),
        (1.0, "(0, 1)", "a number in (0, 1)"),
        (-0.1, "[0, 1]", "a number in [0, 1]"),
        (True, "(0, inf)", "a positive number"),
        ("1", "(0, inf)", "a positive number"),
    ],
)
def test_what_is_no_such_number(value, interval, words):
    with says(f"expected rate to be {words}; got {value!r}.", "Less"):
        checks.real("rate", value, interval, "Less.")
