"""One array as a tensor: numbers stay what they are, and the rest is refused."""

import types

import numpy as np
import pytest
import tensorflow as tf

from elbo_tfp.ground.arrays import as_array, refuse_masked
from tests.statistics import says

NUMPY = {"Int64": "int64", "Float32": "float32", "boolean": "bool"}


class Column:
    """What is asked of a column, where pandas is not; the real one is tested too."""

    iloc, ndim = None, 1

    def __init__(self, values, dtype, name):
        self.name, self.values = name, values
        self.size, self.shape = len(values), (len(values),)
        kinds = NUMPY if dtype in NUMPY else {dtype: dtype.strip("Sparse[]")}
        plain = np.dtype("O" if dtype == "category" else kinds[dtype])
        self.dtype = plain
        if dtype in NUMPY:
            self.dtype = types.SimpleNamespace(kind=plain.kind, numpy_dtype=plain)
        elif dtype.startswith("Sparse"):
            self.dtype = types.SimpleNamespace(kind=plain.kind, subtype=plain)

    def isna(self):
        return np.array([v is None or v != v for v in self.values])

    def to_numpy(self, dtype, na_value):
        return np.array([na_value if v is None else v for v in self.values], dtype)

    def __array__(self, dtype=None, copy=None):
        assert None not in self.values  # which older editions of pandas do not convert
        return np.array(self.values, dtype)


class Frame:
    """A table of such columns."""

    ndim = 2

    def __init__(self, columns):
        rows = columns[0].size if columns else 4
        self.columns, self.shape = columns, (rows, len(columns))
        self.size, self.iloc = rows * len(columns), self

    def __getitem__(self, index):
        rows, j = index
        assert rows == slice(None)
        return self.columns[j]


@pytest.fixture(params=["pandas", "like pandas"])
def column(request):
    if request.param == "like pandas":
        return Column
    pd = pytest.importorskip("pandas")
    return lambda values, dtype, name: pd.Series(values, dtype=dtype, name=name)


@pytest.fixture
def frame(column):
    if column is Column:
        return Frame
    pd = pytest.importorskip("pandas")
    return lambda columns: (
        pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(4))
    )


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2, 3], "int64", "int64"),
        ([1, 2, 3], "uint8", "uint8"),
        ([0.5, np.nan, 3.0], "float32", "float32"),
        ([True, False, True], "bool", "bool"),
        ([1, 2, 3], "Int64", "int64"),
        ([True, False, True], "boolean", "bool"),
        ([0.5, None, 3.0], "Float32", "float32"),
        ([0.5, 0.0, 3.0], "Sparse[float32]", "float32"),
    ],
)
def test_columns_keep_their_type_and_missing_floats_are_nan(
    column, frame, values, dtype, expected
):
    one = column(values, dtype, "a")
    want = np.array([np.nan if v is None else v for v in values], expected)
    for found, shape in (
        (as_array(one, "x"), (3,)),
        (as_array(frame([one]), "x"), (3, 1)),
    ):
        assert found.dtype.name == expected and found.shape == shape
        np.testing.assert_array_equal(np.ravel(found), want)


def test_columns_of_a_table_stand_side_by_side_in_a_type_for_all(column, frame):
    whole, real = column([1, 2, 3], "Int64", "a"), column([0.5, 1, 2], "float64", "b")
    found = as_array(frame([whole, real]), "x")
    assert found.dtype == tf.float64
    np.testing.assert_array_equal(found, [[1, 0.5], [2, 1], [3, 2]])


@pytest.mark.parametrize(
    ("values", "dtype", "parts"),
    [
        ([1, None, None], "Int64", ["2 missing (NA) in column 'b' of", "Drop", "mask"]),
        ([True, None], "boolean", ["without missing values; got 1 missing", "'b'"]),
        (["u", "v"], "category", ["every column of x to be numbers", "'b'", "Code"]),
        ([1j, 2j], "complex128", ["every column of x", "'b' of complex128", "pairs"]),
    ],
)  # fmt: skip
def test_columns_that_are_no_numbers_are_named(column, frame, values, dtype, parts):
    good, bad = column([0.5] * len(values), "float32", "a"), column(values, dtype, "b")
    for table in (bad, frame([good, bad])):
        with says(*parts):
            as_array(table, "x")


def test_tables_without_rows_or_columns_are_empty(column, frame):
    none = column([], "float32", "a")
    for table, shape in (
        (none, "(0,)"),
        (frame([none]), "(0, 1)"),
        (frame([]), "(4, 0)"),
    ):
        with says("x to hold at least one datum; got an empty array of shape", shape):
            as_array(table, "x")


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("dtype", ["float32", "object", "U1"])
def test_empty_arrays_of_any_type_are_empty(shape, dtype):
    with says(f"x to hold at least one datum; got an empty array of shape {shape}"):
        as_array(np.zeros(shape, dtype), "x")


@pytest.mark.parametrize("value", [3, 0, True, np.float64(0.5), np.ones([1, 1])])
def test_one_number_is_not_empty(value):
    np.testing.assert_array_equal(as_array(value, "x"), value)


def test_lists_of_numbers_may_hold_tensors_and_numpy_numbers():
    for kind in (np.float32, tf.constant):
        found = as_array([[kind(1.0), kind(2.0)], [3.0, 4.0]], "x")
        np.testing.assert_array_equal(found, [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ([[1.0, None]], ["to be numbers", "a missing value (None)", "Drop the rows"]),
        ([[1.0], [{"a": 1.0}]], ["a list of dicts"]),
        ([np.ones(1)], ["a list of 1 arrays", "numpy.stack"]),
        ([[1.0, 2.0], 3.0], ["a list whose parts have the lengths 2, None. Pad"]),
        ([tf.constant(1.0), tf.ones(2)], ["lengths None, 2. Pad"]),
        ([[0] * n for n in range(1, 6)], ["lengths 1, 2, 3, 4, 5. Pad"]),
        ([[0] * n for n in range(1, 7)], ["lengths 1, 2, 3, 4, 5 .... Pad"]),
        ([np.ma.masked, 1.0], ["without masked entries", "1 masked", "observed"]),
        ([[1.0, 2.0], list(np.ma.masked_equal([1.0, 9.0], 9.0))], ["1 masked"]),
    ],
)  # fmt: skip
def test_lists_that_are_no_array_say_why(value, parts):
    with says("expected x", *parts):
        as_array(value, "x")


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (np.array("1"), "columns 0"),
        (np.str_("1"), "columns 0"),
        (np.array(["1", "2"]), "columns 0"),
        (np.array([[1, "a", 2, None]], object), "columns 1, 3"),
        (np.array([[[1, 2], [3, "a"]], [[1, 2], [3, 4]]], object), "columns 3"),
        (np.array([[1.0, np.nan], [1.0, 2.0]], object), "columns 1"),
        (np.array([["a"] * 5]), "columns 0, 1, 2, 3, 4 are"),
        (np.array([["a"] * 6]), "columns 0, 1, 2, 3, 4 ... are"),
    ],
)
def test_columns_of_an_array_that_are_no_numbers_are_numbered(value, columns):
    with says(f"dtype {value.dtype}: not all of {columns}", "column by column", "Drop"):
        as_array(value, "x")


@pytest.mark.parametrize("values", [3, [1, 2.5], [True, 2.0], [np.True_, 1]])
def test_numbers_as_objects_are_told_to_be_converted(values):
    with says("dtype object: all are numbers", "array.astype(numpy.float32)"):
        as_array(np.array(values, object), "x")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("first\nsecond"), "first"),
        (RuntimeError(), "RuntimeError"),
        (TypeError("no array"), "no array"),
    ],
)
def test_what_tensorflow_cannot_convert_is_told_in_one_line(error, reason):
    class Odd:
        dtype = "odd8"

        def __array__(self, dtype=None, copy=None):
            raise error

    with pytest.raises(ValueError) as caught:
        as_array(Odd(), "x")
    assert str(caught.value) == (
        "expected x to be an array of numbers, or a tuple or dict of such arrays; got "
        f"Odd odd8. TensorFlow says: {reason}"
    )


def test_a_masked_array_with_nothing_masked_is_an_array():
    whole = np.ma.masked_array([1.0, 2.0])
    refuse_masked(whole, "x")
    np.testing.assert_array_equal(as_array(whole, "x"), [1.0, 2.0])
    with says(
        "x without masked entries", "with 2 masked", "models.observed", "filled(0)"
    ):
        refuse_masked(np.ma.masked_less([1.0, 2.0, 3.0], 3.0), "x")


def test_arrays_of_unknown_shape_are_taken_in_a_graph():
    for shape in (None, [None, 2]):
        spec = tf.TensorSpec(shape)
        traced = tf.function(lambda x: as_array(x, "x"), input_signature=[spec])
        np.testing.assert_array_equal(traced(tf.ones([3, 2])), np.ones([3, 2]))
