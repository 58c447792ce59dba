"""Responses as arrays: what is missing stays marked, whatever part is taken."""

import jax
import numpy as np
import pytest

from syndigits_jax.panel import Responses

GIVEN = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, 6.0]], np.float32)


def back(responses: Responses) -> np.ndarray:
    assert np.all(np.isfinite(responses.values))
    return np.where(responses.mask, responses.values, np.nan)


def test_missing_ones_are_zero_and_marked():
    responses = Responses.from_nan(jax.numpy.asarray(GIVEN))
    np.testing.assert_array_equal(back(responses), GIVEN)
    assert responses.shape == (2, 3) and responses.dtype == np.float32
    assert np.all(responses.values[~responses.mask] == 0)


@pytest.mark.parametrize("index", [0, slice(1, None), np.array([1, 0, 1]), [True, False]])
def test_parts_are_those_of_numpy(index):
    index = np.array(index) if isinstance(index, list) else index
    responses = Responses.from_nan(jax.numpy.asarray(GIVEN))
    np.testing.assert_array_equal(back(responses.rows(index)), GIVEN[index])
    np.testing.assert_array_equal(back(responses.T), GIVEN.T)
    if not isinstance(index, np.ndarray) or index.dtype != bool:
        np.testing.assert_array_equal(back(responses.columns(index)), GIVEN[:, index])


def test_more_can_be_missing_and_nothing():
    responses = Responses.from_nan(jax.numpy.asarray(GIVEN))
    kept = jax.numpy.array([[True], [False]])
    np.testing.assert_array_equal(back(responses.only(kept)), np.where(kept, GIVEN, np.nan))
    np.testing.assert_array_equal(back(Responses.complete(responses.values)), responses.values)
