"""All containers of numbers become the same array, or an error that names the argument."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.solvers.boundary import as_float, as_floats, as_mask

GRID = [[1.0, 2.0], [3.0, 4.0]]
ARRAY = np.array(GRID)

SAME = {
    "nested lists": GRID,
    "tuples of integers": ((1, 2), (3, 4)),
    "integers": ARRAY.astype(np.int8),
    "half precision": ARRAY.astype(np.float16),
    "bfloat16": jnp.asarray(ARRAY, jnp.bfloat16),
    "longdouble": ARRAY.astype(np.longdouble),
    "big-endian": ARRAY.astype(">f4"),
    "big-endian integers": ARRAY.astype(">i4"),
    "JAX integers": jnp.asarray(GRID, jnp.int32),
    "a frame": pd.DataFrame(GRID, columns=["a", "b"]),
    "a frame of two types": pd.DataFrame({"a": [1, 3], "b": [2.0, 4.0]}),
    "a nullable frame": pd.DataFrame(GRID).astype("Int64"),
    "an unmasked masked array": np.ma.array(ARRAY),
    "objects": np.array([[1, 2.0], [decimal.Decimal(3), np.float32(4)]], object),
    "numeric text": [["1", "2"], ["3 ", "4.0"]],
    "a transposed view": np.array([[1.0, 3.0], [2.0, 4.0]]).T,
}

HOLES = {
    "None": [[1.0, None], [3.0, 4.0]],
    "NaN": [[1.0, np.nan], [3.0, 4.0]],
    "pandas.NA": np.array([[1, pd.NA], [3, 4]], object),
    "a nullable frame": pd.DataFrame({"a": [1, 3], "b": pd.array([pd.NA, 4], "Int64")}),
    "a masked array": np.ma.array(ARRAY, mask=[[False, True], [False, False]]),
    "masked integers": np.ma.array(ARRAY.astype(int), mask=[[False, True], [False, False]]),
    "masked big-endian": np.ma.array(ARRAY.astype(">f8"), mask=[[0, 1], [0, 0]]),
    "masked text": np.ma.array(ARRAY.astype(str), mask=[[False, True], [False, False]]),
    "empty text": [["1", ""], ["3", "4"]],
}

REFUSED = {
    "complex": (ARRAY + 1j, "real numbers"),
    "complex cells": ([[1.0, 2j], [3, 4]], "real numbers"),
    "dates": (np.array([["2026-01-01"]], "datetime64[ns]"), "dates"),
    "durations": (pd.DataFrame({"a": pd.to_timedelta([1, 2], "s")}), "durations"),
    "text": ([["yes", "1"]], r"'yes' at \[0, 0\]"),
    "thousands": ([["1_000"]], "1_000"),
    "bytes": (np.array([[b"1"]]), "numbers"),
    "masked dates": (
        np.ma.array(ARRAY.astype("timedelta64[ns]"), mask=ARRAY > 3),
        "durations",
    ),
    "arrays in cells": (
        pd.DataFrame({"a": pd.Series([np.ones(1), np.ones(1)], dtype=object)}),
        r"array\(\[1.\]\) at \[0, 0\]",
    ),
    "complex objects": (np.array([[np.complex128(1), 2]], object), "not a number"),
    "ragged rows": ([[1.0], [2.0, 3.0]], "rows differ in length"),
    "a dictionary": ({"a": 1}, "not a number"),
}


@pytest.mark.parametrize("given", SAME.values(), ids=SAME)
def test_same_numbers_are_the_same_array(given):
    array = as_float("x", given)
    assert array.dtype in (jnp.float32, jnp.float64)
    np.testing.assert_array_equal(array, ARRAY)


@pytest.mark.parametrize("given", HOLES.values(), ids=HOLES)
def test_missing_cells_are_nan(given):
    np.testing.assert_array_equal(as_float("x", given), [[1, np.nan], [3, 4]])


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_number_is_refused_by_name(given, reason):
    with pytest.raises(ValueError, match=f"`answers`.*{reason}"):
        as_float("answers", given)


def test_numbers_too_large_for_the_type_are_refused():
    if jax.config.read("jax_enable_x64"):
        pytest.skip("float64 holds them")
    with pytest.raises(ValueError, match=r"`x` holds 1e\+300, more than float32"):
        as_float("x", [1.0, 1e300])
    assert np.isinf(as_float("x", [np.inf]))[0]  # for the caller to judge


def test_arrays_of_several_precisions_share_the_widest():
    x, y, none = as_floats(x=np.ones(2, np.float16), y=jnp.ones(2, jnp.result_type(float)), z=None)
    assert none is None
    assert x is not None and y is not None and x.dtype == y.dtype == jnp.result_type(float)


def test_a_python_number_takes_the_type_of_the_others():
    x, low, high = as_floats(x=np.ones(2, np.float32), low=1, high=5.0)
    assert x.dtype == low.dtype == high.dtype == jnp.float32
    assert as_floats(low=1, high=5.0)[0].dtype == jnp.result_type(float)


def test_traced_arrays_pass_through():
    assert jax.jit(lambda x: as_float("x", x))(jnp.ones(2, jnp.float16)).dtype == jnp.float32
    text = str(jax.make_jaxpr(lambda x: as_float("x", x))(jnp.ones(2)))
    assert "convert" not in text


@pytest.mark.parametrize("given", [[True, False], np.array([True, False], object)])
def test_masks(given):
    np.testing.assert_array_equal(as_mask("mask", given), [True, False])
    with pytest.raises(ValueError, match="`mask` must be boolean"):
        as_mask("mask", [1, 0])
