"""Forecasts of answers as probabilities of a question's options, and what else becomes one.

Everywhere, `probabilities` are (..., n, k): for n people the probabilities of k options, which sum
to 1 and are NaN throughout where there is no forecast. `answers` are (..., n): the positions 0 to
k - 1 of the options that were chosen, NaN or negative where unknown. Leading axes are questions. A
question with fewer options than others has probability 0 at the options that it lacks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, as_floats, as_mask, concrete
from ..solvers.checks import check_fraction, check_penalty, check_scalar

SLACK = 1e-3
"""How far probabilities may be from a sum of 1, as rounded percentages are."""


def as_probabilities(name: str, values: Numbers) -> Float[Array, "*rows k"]:
    """Checked probabilities over the last axis, which then sum to 1; NaN rows are missing.

    **Raises:** `ValueError` naming `name` for fewer than two options and, where the numbers are
    known, for entries that are negative or infinite, rows in part NaN, and rows that do not sum to
    1 within 1e-3.
    """
    given = as_float(name, values)
    if given.ndim < 1 or given.shape[-1] < 2:
        raise ValueError(
            f"`{name}` must have the options on its last axis, at least two, got shape "
            f"{given.shape}"
        )
    known = concrete(given)
    if known is not None:
        _refuse_no_probabilities(name, known)
    missing = jnp.any(jnp.isnan(given), axis=-1, keepdims=True)
    total = jnp.sum(jnp.where(missing, 1, given), axis=-1, keepdims=True)
    return jnp.where(missing, jnp.nan, given / jnp.where(total > 0, total, 1))


def _refuse_no_probabilities(name: str, given: np.ndarray) -> None:
    missing = np.isnan(given)
    gone = missing.all(axis=-1)
    with np.errstate(invalid="ignore"):
        total = given.sum(axis=-1, dtype=np.float64)
        for wrong, what in (
            (missing.any(axis=-1) & ~gone, "is NaN at some options and not at others"),
            (np.isinf(given).any(axis=-1), "is infinite"),
            ((given < 0).any(axis=-1), "has a negative entry: are these log-probabilities?"),
            (~gone & ~(np.abs(total - 1) <= SLACK), "does not sum to 1: are these counts?"),
        ):
            if wrong.any():
                place = [int(i) for i in np.argwhere(wrong)[0]]
                raise ValueError(f"`{name}`: the row at {place} {what}")


def scored_cells(
    probabilities: Numbers,
    answers: Numbers,
    *,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> tuple[Float[Array, "*t n k"], Int[Array, "*t n"], Float[Array, "*t n"]]:
    """Checked forecasts, answers and weights; what is not scored has weight 0.

    **Arguments:** `probabilities`: (..., n, k); `answers`: (..., n); `mask`: (..., n), true for
    the answers to score, all by default; `sample_weight`: (n,) weights of the people.

    **Returns:** the probabilities and answers, in which uniform forecasts and answers of 0 stand
    for what is missing, and the weights (..., n).

    **Raises:** `ValueError` as [`as_probabilities`][], for shapes that do not fit, answers that are
    no positions of options, and weights that are negative or all zero.
    """
    p = as_probabilities("probabilities", probabilities)
    if p.ndim < 2:
        raise ValueError(f"`probabilities` must be (..., n, k), got shape {p.shape}")
    cells, size = p.shape[:-1], p.shape[-1]
    y = as_float("answers", answers).astype(p.dtype)
    if y.shape != cells:
        raise ValueError(
            f"`answers` must have shape {cells}, one for every forecast of `probabilities`, got "
            f"{y.shape}"
        )
    known = concrete(y)
    if known is not None:
        _refuse_no_positions(known, size)
    counted = (y >= 0) & ~jnp.isnan(p[..., 0])
    if mask is not None:
        given = as_mask("mask", mask)
        if given.shape != cells:
            raise ValueError(f"`mask` must have shape {cells}, got {given.shape}")
        counted = counted & given
    weight = jnp.ones((cells[-1],), p.dtype)
    if sample_weight is not None:
        weight = as_float("sample_weight", sample_weight).astype(p.dtype)
        if weight.shape != cells[-1:]:
            raise ValueError(f"`sample_weight` must have shape {cells[-1:]}, got {weight.shape}")
        check_penalty("sample_weight", weight)
        numbers = concrete(weight)
        if numbers is not None and not numbers.any():
            raise ValueError("`sample_weight` is zero for every person")
    weight = jnp.where(counted, jnp.broadcast_to(weight, cells), 0)
    p = jnp.where(counted[..., None], p, 1 / size)
    return p, jnp.where(counted, y, 0).astype(jnp.int32), weight


def _refuse_no_positions(answers: np.ndarray, size: int) -> None:
    some = answers[~np.isnan(answers)]
    if np.any(some != np.round(some)):
        raise ValueError(
            "`answers` must be positions of options (0, 1, ...), got fractions: `option_positions` "
            "makes positions of the options' values"
        )
    if np.any(some >= size):
        raise ValueError(
            f"`answers` must be below {size}, the number of options, got {some.max():g}: are they "
            "numbered from 1, or are the options of `probabilities` others?"
        )


def option_positions(values: Numbers, options: Numbers) -> Float[Array, "*cells"]:
    """Positions of answers among the options' values, NaN where missing.

    **Arguments:** `values`: answers of any shape; `options`: (k,) ascending values.

    **Raises:** `ValueError` for options that do not ascend, and answers that are none of them.

    **Example:**

        >>> from syndigits_jax.evaluation.option_forecasts import option_positions
        >>> print(option_positions([0.5, 5.0, float("nan")], [0.5, 1.0, 5.0]))
        [ 0.  2. nan]
    """
    values, grid = as_floats(values=values, options=options)
    _check_options(grid)
    spacing = jnp.min(jnp.diff(grid))
    nearest, missing = _nearest(values, grid), jnp.isnan(values)
    off = ~missing & (jnp.abs(values - grid[nearest]) > 1e-3 * spacing)
    found = concrete(off)
    if found is not None and found.any():
        wrong = np.asarray(values)[found].flat[0]
        raise ValueError(f"`values`: the answer {wrong:g} is none of the options {options}")
    return jnp.where(missing | off, jnp.nan, nearest.astype(grid.dtype))


def _check_options(grid: Float[Array, " k"]) -> None:
    known = concrete(grid)
    if grid.ndim != 1 or grid.shape[0] < 2:
        raise ValueError(f"`options` must be (k,) values, at least two, got shape {grid.shape}")
    if known is not None and not (np.isfinite(known).all() and (np.diff(known) > 0).all()):
        raise ValueError("`options` must be finite and ascending")


def _nearest(values: Float[Array, "*cells"], grid: Float[Array, " k"]) -> Int[Array, "*cells"]:
    """The position of the nearest option, of two the lower."""
    distance = jnp.abs(values[..., None] - jnp.broadcast_to(grid, (*values.shape, grid.shape[0])))
    return jnp.argmin(distance, axis=-1)


def even_probabilities(
    shape: tuple[int, ...], dtype: Any, options: Numbers | None = None
) -> Float[Array, "*rows k"]:
    """Uniform probabilities over the options that exist.

    **Arguments:** `shape`: (..., k); `dtype`: of the result; `options`: a mask that
    broadcasts to it, true for those that exist, all by default.

    **Raises:** `ValueError` for a mask that does not fit.
    """
    here = jnp.ones(shape, bool)
    if options is not None:
        given = as_mask("options", options)
        fits = given.ndim <= len(shape) and given.shape[-1:] == shape[-1:]
        if not fits or any(a not in (1, b) for a, b in zip(given.shape[::-1], shape[::-1])):
            raise ValueError(f"`options` must have shape {shape}, got {given.shape}")
        here = jnp.broadcast_to(given, shape)
    here = here.astype(dtype)
    return here / jnp.maximum(jnp.sum(here, axis=-1, keepdims=True), 1)


def from_points(points: Numbers, options: Numbers) -> Float[Array, "*cells k"]:
    """Point predictions as probabilities: all on the nearest option, of two the lower.

    **Arguments:** `points`: predicted answers of any shape, NaN where missing; `options`: (k,)
    ascending values.

    A forecast of 0 for what happens has an infinite log score: see [`smoothed`][]. **Raises:**
    `ValueError` for options that do not ascend.

    **Example:**

        >>> from syndigits_jax.evaluation.option_forecasts import from_points
        >>> print(from_points([1.2, 2.6], [1.0, 2.0, 3.0]))
        [[1. 0. 0.]
         [0. 0. 1.]]
    """
    points, grid = as_floats(points=points, options=options)
    _check_options(grid)
    found = jax.nn.one_hot(_nearest(points, grid), grid.shape[0], dtype=grid.dtype)
    return jnp.where(jnp.isnan(points)[..., None], jnp.nan, found)


def from_draws(draws: Numbers, options: Numbers) -> Float[Array, "*cells k"]:
    """Drawn answers as probabilities: the share of the draws that lie nearest to every option.

    **Arguments:** `draws`: (d, ...) answers, NaN where missing; `options`: (k,) ascending values.

    Of continuous draws, [`crps_from_draws`][syndigits_jax.evaluation.metrics.crps_from_draws] is
    the score. **Raises:** `ValueError` as [`from_points`][].

    **Example:**

        >>> from syndigits_jax.evaluation.option_forecasts import from_draws
        >>> print(from_draws([[1.0, 2.0], [1.0, 1.0]], [1.0, 2.0]))  # two draws, two people
        [[1.  0. ]
         [0.5 0.5]]
    """
    draws = as_float("draws", draws)
    if draws.ndim < 1 or draws.shape[0] < 1:
        raise ValueError(f"`draws` must be (d, ...) with a draw at least, got shape {draws.shape}")
    chosen = from_points(draws, options)
    there = ~jnp.isnan(chosen)
    count = jnp.sum(there, axis=0, dtype=chosen.dtype)
    total = jnp.sum(jnp.where(there, chosen, 0), axis=0)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


def smoothed(
    probabilities: Numbers, share: Numbers, *, options: Numbers | None = None
) -> Float[Array, "*rows k"]:
    """(1 - share) · probabilities + share · uniform: no forecast is 0, no log score infinite.

    **Arguments:** `probabilities`: (..., k); `share`: in [0, 1]; `options`: which options a
    question has, a mask that broadcasts to (..., k), all by default.

    **Raises:** `ValueError` as [`as_probabilities`][], and for a share outside [0, 1].

    **Example:**

        >>> from syndigits_jax.evaluation.option_forecasts import smoothed
        >>> print(smoothed([1.0, 0.0], 0.1))
        [0.95 0.05]
    """
    p = as_probabilities("probabilities", probabilities)
    check_scalar("share", share)
    check_fraction("share", share)
    share = as_float("share", share).astype(p.dtype)
    return (1 - share) * p + share * even_probabilities(p.shape, p.dtype, options)


def marginal_of_others(
    answers: Numbers,
    size: int,
    *,
    sample_weight: Numbers | None = None,
    prior: float = 1.0,
    options: Numbers | None = None,
) -> Float[Array, "*t n k"]:
    """Every person's forecast by the shares of all others' answers to the same question.

    It knows the question and nothing of the person, so that skill against it is skill at telling
    people apart. For a question that nobody has answered it is out of reach.

    **Arguments:**

    - `answers`: (..., n) positions of options, NaN or negative where unknown.
    - `size`: k, the number of options.
    - `sample_weight`: (n,) weights of the people.
    - `prior`: so many further answers of mean weight are spread evenly over the options, so that
      none has probability 0.
    - `options`: (..., k), which options a question has; all by default.

    **Returns:** (..., n, k), of people without an answer too. Nothing of a person's own answer is
    in it, not even by rounding.

    **Raises:** `ValueError` for answers or weights that do not fit, and a negative prior.

    **Example:**

        >>> from syndigits_jax.evaluation.option_forecasts import marginal_of_others
        >>> print(marginal_of_others([0, 0, 1], 2, prior=0.0))
        [[0.5 0.5]
         [0.5 0.5]
         [1.  0. ]]
    """
    check_penalty("prior", prior)
    y = as_float("answers", answers)
    unknown = even_probabilities((*y.shape, size), y.dtype)
    _, y, weight = scored_cells(unknown, y, sample_weight=sample_weight)
    chosen = jax.nn.one_hot(y, size, dtype=weight.dtype) * weight[..., None]

    def before(x: Float[Array, "*t n k"]) -> Float[Array, "*t n k"]:
        first = jnp.zeros_like(x[..., :1, :])
        return jnp.concatenate([first, jnp.cumsum(x, axis=-2)[..., :-1, :]], axis=-2)

    # Those before and those after: the own answer is left out, not subtracted.
    others = before(chosen) + jnp.flip(before(jnp.flip(chosen, -2)), -2)
    mean = 1.0
    if sample_weight is not None:
        mean = jnp.mean(as_float("sample_weight", sample_weight).astype(weight.dtype))
    even = even_probabilities((*y.shape[:-1], size), weight.dtype, options)
    even = jnp.broadcast_to(even[..., None, :], others.shape)
    counts = others + jnp.asarray(prior * mean, weight.dtype) * even
    total = jnp.sum(counts, axis=-1, keepdims=True)
    return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1), even)
