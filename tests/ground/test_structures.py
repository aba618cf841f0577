"""What a datum is made of; what one counts; nothing loses its meaning on conversion."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from elbo_tfp.ground.structures import (
    as_data,
    batch_size,
    check_finite,
    check_mask,
    filled,
    per_datum,
    rows,
    specs,
)
from tests.statistics import says

SHARED = tf.constant([1.0, 2.0])
Pair = namedtuple("Pair", "left right")
ROWS = np.arange(6.0).reshape(3, 2)


def test_the_global_part_is_counted_once_over_the_data():
    local = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    share = per_datum(local, SHARED, 3)
    np.testing.assert_allclose(tf.reduce_sum(share, 1), [6 + 1, 15 + 2], rtol=1e-6)


@pytest.mark.parametrize("local", [SHARED, tf.zeros([2, 1, 3])])
def test_the_global_part_must_not_broadcast(local):
    with says("[S, B]", "[S]", str(local.shape), "(2,)", "row per datum"):
        per_datum(local, SHARED, 3)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (ROWS, "float64"),
        (ROWS.astype("float32"), "float32"),
        (ROWS.astype("float16"), "float16"),
        (ROWS.astype(">f8"), "float64"),
        (ROWS.astype("int64"), "int64"),
        (ROWS.astype("uint8"), "uint8"),
        (ROWS.astype(">i4"), "int32"),
        (ROWS > 2, "bool"),
        (ROWS.T[::1].T, "float64"),
        (np.ma.array(ROWS), "float64"),
        (ROWS.astype(int).tolist(), "int32"),
        ([tuple(row) for row in ROWS.astype(int).tolist()], "int32"),
        ([[0, 1.0], [2, 3], [4, 5]], "float32"),
        (tf.Variable(ROWS), "float64"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_arrays_keep_their_values_and_type(value, dtype):
    found = as_data(value)
    assert found.dtype.name == dtype
    np.testing.assert_array_equal(found, np.asarray(value))


def test_structures_keep_their_form():
    value = {"x": Pair(ROWS, [1, 2, 3]), "given": (ROWS[:, 0],)}
    found = as_data(value)
    assert isinstance(found["x"], Pair) and isinstance(found["given"], tuple)
    assert batch_size(found) == 3 and batch_size(found["given"]) == 3
    assert type(as_data(OrderedDict(value))) is dict
    some = rows(found, [2, 0])
    np.testing.assert_array_equal(some["x"].left, ROWS[[2, 0]])
    np.testing.assert_array_equal(some["given"][0], [4.0, 0.0])
    np.testing.assert_array_equal(rows(found, slice(1, 3))["x"].left, ROWS[1:])
    assert rows(ROWS, tf.zeros([4, 5], tf.int32)).shape == (4, 5, 2)
    assert specs(found, 7)["x"].left == tf.TensorSpec([7, 2], tf.float64)
    assert specs(found, None)["given"][0] == tf.TensorSpec([None], tf.float64)


def test_a_batch_of_unknown_size_is_none():
    seen = []
    tf.function(
        lambda x: seen.append(batch_size((x, x))),
        input_signature=[tf.TensorSpec([None, 2])],
    ).get_concrete_function()
    assert seen == [None]


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ((1.0, 2.0), ["data along the first axis", "one number", "list"]),
        ((ROWS, ROWS[:2]), ["the same length", "[3, 2]"]),
    ],
)
def test_a_datum_has_a_row_in_every_part(data, parts):
    with says(*parts):
        batch_size(as_data(data))


RECORDS = np.zeros(2, [("a", "f4"), ("b", "i4")])
RAGGED = tf.ragged.constant([[1.0], []])


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (np.ma.masked_equal(ROWS, 3.0), ["masked", "1 masked", "observed", "filled"]),
        ([ROWS, ROWS], ["a list of 2 arrays", "tuple (a, b)", "numpy.stack"]),
        ([tf.zeros(3), tf.zeros(3)], ["a list of 2 arrays", "tuple"]),
        ([[ROWS[0], ROWS[1]]], ["a list of 2 arrays"]),
        ([ROWS, ROWS[:2]], ["lengths 3, 2", "Pad", "tuple"]),
        ([[1.0, 2.0], [3.0]], ["lengths 2, 1", "Pad", "mask"]),
        ([[[1.0], [2.0, 3.0]]], ["lengths 1, 2", "Pad"]),
        ([1.0, None], ["missing value", "Drop the rows"]),
        ([{"a": 1.0}], ["a list of dicts", "dict of arrays"]),
        (np.array([[1, "a"], [2, 3]], object), ["object", "columns 1", "astype"]),
        (np.array([[1, 2], [None, 3]], object), ["object", "columns 0", "missing"]),
        (np.array([1, 2.5], object), ["object", "all are numbers", "astype"]),
        (np.array([ROWS, ROWS[:2]], object), ["holds arrays", "Pad"]),
        (np.array(["1", "2"]), ["<U1", "columns 0"]),
        (tf.constant(["a"]), ["to be numbers", "string", "whole numbers"]),
        (ROWS.astype(complex), ["to be numbers", "complex128"]),
        (np.array(["2020-01-01"], "M8[D]"), ["array of numbers", "datetime64[D]"]),
        (ROWS.astype(np.longdouble), ["array of numbers", "longdouble|float128"]),
        (RECORDS, ["records", "['a', 'b']", "dict of the fields"]),
        (RAGGED, ["RaggedTensor", "Pad", "to_tensor", "mask"]),
        (scipy.sparse.csr_matrix(ROWS), ["sparse csr_matrix", "toarray"]),
        (scipy.sparse.coo_array(ROWS), ["sparse coo_array", "toarray"]),
        (tf.sparse.from_dense(ROWS), ["SparseTensor", "to_dense"]),
        (ROWS[:0], ["at least one datum", "(0, 2)"]),
        ([], ["at least one datum", "(0,)"]),
        ((), ["to have parts", "()"]),
        ({}, ["to have parts", "{}"]),
        (None, ["array of numbers", "NoneType"]),
        ({1.0, 2.0}, ["array of numbers", "got set"]),
    ],
)
def test_what_would_lose_its_meaning_is_refused(value, parts):
    with pytest.raises(ValueError) as caught:
        as_data(value)
    for part in parts:
        assert any(p in str(caught.value) for p in part.split("|")), part
    with says("expected held_out['x'][1]"):
        as_data({"x": (ROWS, value)}, "held_out")


def test_tables_of_pandas():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.0]})
    for own in (table, table.convert_dtypes()):
        np.testing.assert_array_equal(as_data(own), [[1.0, 0.5], [2.0, 1.0]])
        assert as_data(own["a"]).dtype == tf.int64
    assert as_data(table.astype("float32")).dtype == tf.float32
    missing = pd.DataFrame({"a": [0.5, None], "b": [True, False]}).convert_dtypes()
    np.testing.assert_array_equal(as_data(missing), [[0.5, 1.0], [np.nan, 0.0]])
    with says("1 missing (NA) in column 'a' of Int64", "Drop"):
        as_data(pd.DataFrame({"a": [1, None]}).convert_dtypes())
    with says("every column", "column 'b'", "whole numbers"):
        as_data(pd.DataFrame({"a": [1.0], "b": ["x"]}))
    with says("column 'kind' of category"):
        as_data(pd.Series(["x"], dtype="category", name="kind"))


HOLE = np.where(ROWS == 3, np.nan, ROWS)
SEEN = ~np.isnan(HOLE)


def test_missing_values_are_named_unless_they_are_masked():
    with says("without NaN or inf", "1 of 6 values, in 1 rows", "row 1, columns [1]"):
        check_finite(as_data(HOLE))
    with says("data[1] without NaN", "mask", "models.observed"):
        check_finite(as_data((ROWS, HOLE)))
    with says("data['given']"):
        check_finite(as_data({"x": ROWS, "given": HOLE, "mask": SEEN}))
    check_finite(as_data({"x": HOLE, "mask": SEEN}))
    with says("data['x']", "1 of 6"):
        check_finite(as_data({"x": HOLE, "mask": ROWS != 2}))
    check_finite(as_data([1.0, np.inf]), infinite=True)
    with says("2 of 2 values", "row 0"):
        check_finite(as_data([np.inf, -np.inf]))
    with says("1 of 1 values"):
        check_finite(as_data(np.nan))


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        (SEEN.astype(int), ["bool, True where x is observed", "int64", "== 1"]),
        (SEEN[:, 0], ["of the shape of x, (3, 2)", "(3,)", "broadcast_to"]),
        (SEEN[:1], ["of the shape of x, (3, 2)", "(1, 2)"]),
    ],
)
def test_a_mask_is_boolean_and_of_the_shape_of_x(mask, parts):
    data = as_data({"x": HOLE, "mask": mask})
    for check in (check_mask, check_finite):
        with says("data['mask']", *parts):
            check(data)


def test_bad_rows_of_tables_and_images_are_counted():
    for shape in ([5, 2], [5, 2, 3], [5]):
        x = np.zeros(shape, np.float32)
        x[[1, 3]] = np.nan
        with says("in 2 rows", "first in row 1"):
            check_finite(as_data(x, "x"), "x")


def test_what_is_hidden_is_filled_only_where_there_is_a_mask():
    x = tf.constant([1.0, 2.0])
    data = {"x": x, "mask": tf.constant([True, False])}
    np.testing.assert_array_equal(filled(data)["x"], [1.0, 0.0])
    for whole in (x, {"x": x, "lengths": tf.constant([1, 2])}):
        assert filled(whole) is whole


@pytest.mark.parametrize("shape", [[5, 2, 3], [5]])
def test_columns_are_named_of_tables_only(shape):
    x = np.full(shape, np.nan)
    with pytest.raises(ValueError, match="first in row 0[.]"):
        check_finite(as_data(x))
    with says("in 5 rows, first in row 0, columns [0, 1, 2, 3, 4]."):
        check_finite(as_data(np.full([5, 7], np.nan)))
    with says("in 1 rows, first in row 2, columns [1]."):
        check_finite(as_data(np.where(ROWS == 5, np.nan, ROWS)))


def test_one_missing_number_is_row_0():
    with says("data without NaN or infinite values; got 1 of 1", "1 rows", "row 0."):
        check_finite(tf.constant(np.nan))
    with says("expected data without NaN; got 1 of 2 values, in 1 rows"):
        check_finite(tf.constant([np.inf, np.nan]), infinite=True)


def test_infinite_values_may_be_allowed_in_all_parts():
    data = {"x": as_data([np.inf]), "given": (as_data([-np.inf]),)}
    check_finite(data, infinite=True)
    for part in (data["given"], {"given": data["given"][0]}):
        with says("1 of 1 values"):
            check_finite(part)


def test_whole_numbers_and_tensors_in_a_graph_have_nothing_missing():
    check_finite(as_data([1, 2]))
    check_finite(as_data([True, False]))
    tf.function(lambda x: check_finite((x, {"x": x})))(tf.constant([np.nan]))
    with says("data['x']"):
        check_finite({"x": as_data(HOLE)})


def test_a_mask_of_parts_tells_their_shapes():
    x = as_data((ROWS, ROWS[:, 0]))
    with says("['mask'] of the shape of x, (TensorShape([3, 2]), TensorShape([3]))"):
        check_mask({"x": x, "mask": tf.constant(SEEN)})


def test_shapes_that_are_not_known_yet_pass():
    def share(local, shared):
        return per_datum(local, shared, 2)

    for signature in ([tf.TensorSpec(None)] * 2, [tf.TensorSpec([None, None])] * 2):
        signature[1] = tf.TensorSpec(None)
        traced = tf.function(share, input_signature=signature)
        found = traced(tf.ones([2, 3]), SHARED)
        np.testing.assert_array_equal(found, [[1.5] * 3, [2.0] * 3])
    sizes = []
    tf.function(lambda x, y: sizes.append(batch_size((x, y)))).get_concrete_function(
        tf.TensorSpec(None), tf.TensorSpec([4, 2])
    )
    assert sizes == [4]
