"""Rank selection, alignment and error bounds: units change nothing, containers neither."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.diagnostics.alignment import (
    alignment,
    alignment_of_complete,
    singular_subspace,
    subspace_alignment,
)
from syndigits_jax.diagnostics.error_bound import (
    ErrorBound,
    LatentPanel,
    estimate_error_bound,
    estimate_error_bounds,
    gaussian_moments,
    representing_coefficients,
    theorem_4_1,
)
from syndigits_jax.diagnostics.rank_selection import (
    cumulative_variance,
    hide_entries,
    scaled_columns,
    select_rank,
    svd_diagnostics,
)
from syndigits_jax.solvers.solution import Status

KEY = jax.random.key(0)
POWERS = [1e-25, 1e-9, 1e-3, 1e3, 1e9, 1e17]
every_power = pytest.mark.parametrize("power", POWERS)
choose = jax.jit(select_rank, static_argnames=("candidates", "repeats", "max_steps"))


def responses(seed, shape=(40, 12), rank=2, missing=0.1):
    """Centred answers with holes coded as NaN."""
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    x += 0.3 * rng.normal(size=shape)
    return np.where(rng.random(shape) < missing, np.nan, x - x.mean(axis=0))


def in_units(x, power, dtype):
    return (x * power).astype(dtype)


@every_power
def test_the_chosen_rank_and_its_errors_have_no_unit(power, dtype):
    x = responses(0)
    mask, filled = ~np.isnan(x), np.nan_to_num(x)
    one = choose(KEY, in_units(filled, 1, dtype), mask, (1, 2), repeats=2)
    other = choose(KEY, in_units(filled, power, dtype), mask, (1, 2), repeats=2)
    assert int(one.rank) == int(other.rank) == 2
    np.testing.assert_allclose(other.errors, one.errors, rtol=2e-3)
    np.testing.assert_array_equal(other.status, Status.CONVERGED)


def test_rank_selection_reports_what_has_not_converged():
    x = responses(1)
    got = choose(KEY, np.nan_to_num(x).astype(np.float32), ~np.isnan(x), (1, 4), max_steps=1)
    assert got.status.shape == (1, 2)
    np.testing.assert_array_equal(got.status, Status.MAX_STEPS)
    zero = choose(KEY, np.zeros((10, 8), np.float32), np.ones((10, 8), bool), (1, 2))
    np.testing.assert_array_equal(zero.status, Status.CONVERGED)
    np.testing.assert_array_equal(zero.errors, 0)


@every_power
def test_scaled_columns_have_the_unit_of_none(power, dtype):
    x = 5 + responses(2)
    mask, filled = ~np.isnan(x), np.nan_to_num(x)
    powers = np.where(np.arange(12) % 3 == 0, power, 1.0)
    got = scaled_columns(in_units(filled, powers, dtype), mask, min_sd=0.0)
    want = np.nan_to_num((x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0))
    np.testing.assert_allclose(got, want, atol=1e-4)


@every_power
def test_the_floor_of_scaled_columns_is_in_the_unit_of_the_answers(power, dtype):
    x = np.nan_to_num(responses(3)) / 100
    got = scaled_columns(in_units(x, power, dtype), np.ones(x.shape, bool), min_sd=1.0 * power)
    np.testing.assert_allclose(np.asarray(got, float) / power, x - x.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("answer", [0.0, 0.1, 7.3, 1e-25, -3e17])
@pytest.mark.parametrize("min_sd", [0.0, 1.0])
def test_columns_of_equal_answers_scale_to_nothing(answer, min_sd, dtype):
    mask = np.random.default_rng(4).random((37, 3)) < 0.7
    mask[:, 2] = False
    x = np.full((37, 3), answer, dtype)
    np.testing.assert_array_equal(scaled_columns(x, mask, min_sd=min_sd), 0)
    np.testing.assert_array_equal(cumulative_variance(x), 1)


@every_power
def test_cumulative_variance_has_no_unit(power, dtype):
    x = np.nan_to_num(responses(5))
    want = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    got = cumulative_variance(in_units(x, power, dtype))
    np.testing.assert_allclose(got, np.cumsum(want) / want.sum(), atol=1e-4)
    human, _ = svd_diagnostics(
        in_units(responses(6), power, dtype), in_units(responses(7), 1, dtype), rank=2
    )
    same, _ = svd_diagnostics(responses(6).astype(dtype), responses(7).astype(dtype), rank=2)
    np.testing.assert_allclose(human, same, atol=1e-3)
    x[3, 2] = np.nan
    assert np.all(np.isnan(cumulative_variance(x.astype(dtype))))


@pytest.mark.parametrize("space", ["row", "column"])
@every_power
def test_alignment_of_complete_matrices_has_no_unit(power, space, dtype):
    human, twin = (np.nan_to_num(responses(seed)) for seed in (8, 9))
    one, *_ = alignment_of_complete(KEY, human.astype(dtype), twin.astype(dtype), 2, space=space)
    other, normal, shuffled = alignment_of_complete(
        KEY, in_units(human, power, dtype), in_units(twin, 1 / power, dtype), 2, space=space
    )
    np.testing.assert_allclose(other.cosine, one.cosine, atol=1e-4)
    np.testing.assert_allclose(other.projection_norm, one.projection_norm, atol=1e-4)
    for baseline in (normal, shuffled):
        assert np.all(np.isfinite(baseline.cosine))
    right = np.linalg.svd(human if space == "row" else human.T)[2]
    basis = singular_subspace(in_units(human, power, dtype), 2, space)
    np.testing.assert_allclose(
        np.linalg.svd(right[:2] @ np.asarray(basis, float), compute_uv=False), 1, atol=1e-4
    )


def test_alignment_of_scaled_columns_has_the_unit_of_none(dtype):
    human, twin = responses(10), responses(11)
    powers = np.where(np.arange(12) % 2 == 0, 1e6, 1e-6)
    one = alignment(KEY, human.astype(dtype), twin.astype(dtype), candidates=(1, 2), min_sd=0.0)
    other = alignment(
        KEY, in_units(human, powers, dtype), in_units(twin, 100, dtype),
        candidates=(1, 2), min_sd=0.0,
    )  # fmt: skip
    assert one.status == other.status == Status.CONVERGED
    for name in ("human_rank", "twin_rank", "stacked_rank"):
        assert getattr(one, name) == getattr(other, name)
    # The leading directions; those beyond the rank are noise, and as sensitive.
    np.testing.assert_allclose(other.twin.cosine, one.twin.cosine, atol=5e-3)
    np.testing.assert_allclose(
        other.twin.projection_norm[:2], one.twin.projection_norm[:2], atol=5e-3
    )
    # Above the published floor single columns may change their unit too.
    large = 100 * human
    above = [
        alignment(KEY, in_units(large, factor, dtype), twin.astype(dtype), rank=2)
        for factor in (1.0, np.where(np.arange(12) % 2 == 0, 10.0, 1.0))
    ]
    np.testing.assert_allclose(above[1].twin.cosine, above[0].twin.cosine, atol=5e-3)


DEGREES = dict.fromkeys(
    ("sample_curvature", "population_curvature", "gram_error", "cross_error"), 2
) | dict.fromkeys(("population_coef_norm", "coef_error", "coef_gap"), 0)
"""Powers of the unit; 1 for all other terms."""


@pytest.mark.parametrize("power", [1e-12, 1e-9, 1e-3, 1e3, 1e9, 1e12])
def test_terms_of_the_bound_scale_as_the_theorem_says(power, dtype):
    """One unit for both sides, in which the coefficients have none."""
    human, twin = responses(12), responses(13)
    one, other = (
        estimate_error_bound(
            in_units(human, unit, dtype), in_units(twin, unit, dtype), 3, 0.7 * unit**2, 2, KEY,
            representation_penalty=0.3,
        )
        for unit in (1.0, power)
    )  # fmt: skip
    for name in ErrorBound.__dataclass_fields__:
        got = float(getattr(other, name)) / power ** DEGREES.get(name, 1)
        np.testing.assert_allclose(got, float(getattr(one, name)), rtol=1e-2, err_msg=name)
        assert np.isfinite(got)


@every_power
def test_representing_coefficients_have_no_unit(power, dtype):
    rng = np.random.default_rng(14)
    factors, new = rng.normal(size=(6, 3)), rng.normal(size=3)
    want = np.linalg.pinv(factors.T) @ new
    got = representing_coefficients(in_units(factors, power, dtype), in_units(new, power, dtype))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


# Containers.

GRID = np.round(4 * responses(15, missing=0.0)).astype(int)
CONTAINERS = {
    "lists": GRID.tolist(),
    "integers": GRID.astype(np.int16),
    "half precision": GRID.astype(np.float16),
    "big-endian": GRID.astype(">f8"),
    "a frame": pd.DataFrame(GRID),
    "a nullable frame": pd.DataFrame(GRID).astype("Int64"),
    "a masked array": np.ma.array(GRID),
    "text": GRID.astype(str),
}
HOLES = {
    "None": [[None if (i, j) == (2, 1) else v for j, v in enumerate(row)]
             for i, row in enumerate(GRID.tolist())],
    "pandas.NA": pd.DataFrame(GRID).astype("Int64").mask(
        pd.DataFrame(np.arange(GRID.size).reshape(GRID.shape) == 2 * GRID.shape[1] + 1)),
    "a masked array": np.ma.array(
        GRID, mask=np.arange(GRID.size).reshape(GRID.shape) == 2 * GRID.shape[1] + 1),
}  # fmt: skip
MASK = np.ones(GRID.shape, bool)
FUNCTIONS = {
    "scaled_columns": lambda x: scaled_columns(x, MASK.tolist()),
    "select_rank": lambda x: select_rank(KEY, x, MASK.tolist(), (1, 2)).errors,
    "cumulative_variance": cumulative_variance,
    "svd_diagnostics": lambda x: svd_diagnostics(x, x, rank=2)[0],
    "singular_subspace": lambda x: singular_subspace(x, 2, "row"),
    "subspace_alignment": lambda x: subspace_alignment(x, x).projection_norm,
    "alignment_of_complete": lambda x: alignment_of_complete(KEY, x, x, 2)[1].cosine,
    "alignment": lambda x: alignment(KEY, x, x, rank=2).normal.cosine,
    "estimate_error_bound": lambda x: estimate_error_bound(x, x, 1, 0.5, 2, KEY).error,
    "estimate_error_bounds": lambda x: estimate_error_bounds(x, x, [0, 1], 0.5, 2, KEY).error,
    "representing_coefficients": lambda x: representing_coefficients(x, [1] * 12, 0.5),
    "gaussian_moments": lambda x: gaussian_moments(x, [1] * 12, np.eye(12).tolist(), 1)[1],
}
TAKES_HOLES = ("svd_diagnostics", "alignment", "estimate_error_bound", "estimate_error_bounds")


@functools.cache
def expected(name: str):
    return np.asarray(FUNCTIONS[name](jnp.asarray(GRID, jnp.result_type(float))))


@pytest.mark.parametrize("given", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_holds_the_numbers(name, given):
    np.testing.assert_allclose(FUNCTIONS[name](given), expected(name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TAKES_HOLES)
def test_missing_answers_in_any_code(name):
    holes = GRID.astype(float)
    holes[2, 1] = np.nan
    want = np.asarray(FUNCTIONS[name](holes))
    assert np.all(np.isfinite(want))
    for given in HOLES.values():
        np.testing.assert_allclose(FUNCTIONS[name](given), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_number_is_refused_by_name(name):
    with pytest.raises(ValueError, match=r"^`\w+`.*(not a number|real numbers)"):
        FUNCTIONS[name]([["yes"] * 12] * 12)
    with pytest.raises(ValueError, match=r"^`\w+`.*real numbers"):
        FUNCTIONS[name](GRID + 1j)


@pytest.mark.parametrize("name", TAKES_HOLES)
def test_infinite_answers_are_refused_by_name(name):
    spoilt = GRID.astype(float)
    spoilt[2, 1] = np.inf
    with pytest.raises(ValueError, match="`human` contains infinities"):
        FUNCTIONS[name](spoilt)


def test_the_theorem_takes_lists():
    rng = np.random.default_rng(16)
    sides = [
        [rng.normal(size=size).round(2) for size in ((9, 2), (4, 2), 2, (9, 4), 9)]
        for _ in range(2)
    ]
    human, twin = (LatentPanel(*(jnp.asarray(v) for v in side)) for side in sides)
    moments = gaussian_moments(sides[1][1], sides[1][2], np.eye(2), 1.0)
    want = theorem_4_1(human, twin, *moments, jnp.ones(4), 0.5).bound
    human, twin = (LatentPanel(*(v.tolist() for v in side)) for side in sides)
    got = theorem_4_1(human, twin, *(np.asarray(v).tolist() for v in moments), [1] * 4, 0.5).bound
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hide_entries(KEY, [[0, 1]]), "`mask` must be boolean"),
        (lambda: scaled_columns(GRID, MASK[:2]), "`mask` must have the shape of `x`"),
        (lambda: select_rank(KEY, GRID, MASK, (1,), repeats=0), "`repeats` must be at least 1"),
        (lambda: estimate_error_bounds(GRID, GRID, [0.5], 0.1, 2, KEY), "`target` must be"),
        (lambda: estimate_error_bound(GRID, GRID, 12, 0.1, 2, KEY), "`target` must lie"),
        (lambda: representing_coefficients(GRID, [1]), "`new_question` must have"),
        (lambda: gaussian_moments(GRID, [1] * 12, np.eye(12), -1), "`noise_variance` must not"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
