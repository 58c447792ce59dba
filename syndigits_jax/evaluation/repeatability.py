"""Reliability: how well people's answers repeat, over time and over halves of the people.

Reliability is the correlation of two equally good measurements of the same thing: two answers of a
person (test and retest), or the means of two halves of the people, corrected to the whole by
Spearman and Brown's 2r / (1 + r).
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..inference.resampling import BootstrapResult, bootstrap, nan_mean
from ..inference.sample_weight import checked_weight
from ..panel import Panel
from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_count
from ..solvers.keys import PRNGKey
from ..solvers.units import largest
from ..tables.frame_table import FrameTable
from .weighted_correlation import weighted_correlation

FEWEST_COMMON = 3
"""People who answered twice that a question needs for a correlation."""


class Retest(eqx.Module):
    """How people's answers repeat.

    - `reliability`: (m,) correlation over people of the first and the second answers to each
      question; NaN with fewer than three people or where either does not vary.
    - `agreement`: (m,) share of people who answered exactly alike.
    - `difference`: (m,) mean absolute difference, in units of the answers.
    - `count`: (m,) people who answered twice.
    """

    reliability: Float[Array, " m"]
    agreement: Float[Array, " m"]
    difference: Float[Array, " m"]
    count: Int[Array, " m"]


def retest_answers(panel: Panel, frame: Any, *, id_column: str | None = None) -> np.ndarray:
    """A second table of people's answers in the order of a panel, (n, m), NaN where it has none.

    **Arguments:** `panel`: the people and questions; `frame`: a data frame of any kind, a row
    per person; `id_column`: the column of identifiers, by default the index, or the first column of
    frames that have none.

    **Raises:** `ValueError` for a table that shares no person, or no question, with the panel.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.evaluation import retest_answers
        >>> panel = sample_panel().take(users=slice(0, 3), questions=slice(0, 2))
        >>> again = pd.DataFrame({panel.questions[0]: [5, 4]}, index=list(panel.users[1:]))
        >>> print(retest_answers(panel, again)[:, 0])
        [nan  5.  4.]
    """
    table = FrameTable.read(frame, "frame", id_column)
    for kind, ours, theirs in (
        ("person", panel.users, table.users),
        ("question", panel.questions, table.questions),
    ):
        if not set(ours) & set(theirs):
            raise ValueError(
                f"`frame` has no {kind} in common with the panel: it has {theirs[0]!r}, the panel "
                f"{ours[0]!r}"
            )
    return table.at(panel.users, panel.questions)


def retest_reliability(
    first: Numbers, second: Numbers, *, sample_weight: Numbers | None = None
) -> Retest:
    """The reliability of single answers, from people who answered the same questions twice.

    **Arguments:** `first`, `second`: (n, m) answers of the same people to the same questions, NaN
    where missing (see [`retest_answers`][]); `sample_weight`: (n,) weights of the people.

    **Returns:** a [`Retest`][].

    **Raises:** `ValueError` for shapes that do not fit, negative weights and, where the answers are
    known, nobody who answered a question twice.

    **Example:**

        >>> from syndigits_jax.evaluation import retest_reliability
        >>> first = [[1.0], [2.0], [3.0], [4.0], [2.0]]
        >>> second = [[1.0], [3.0], [3.0], [4.0], [float("nan")]]
        >>> found = retest_reliability(first, second)
        >>> print(found.reliability.round(2), found.agreement, found.count)
        [0.92] [0.75] [4]
    """
    x, y = as_floats(first=first, second=second)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"`second` must have the shape of `first`, people x questions, got {y.shape} and "
            f"{x.shape}; `retest_answers` aligns a table with a panel"
        )
    weight = checked_weight(sample_weight, x.shape[0], x.dtype)
    both = ~(jnp.isnan(x) | jnp.isnan(y)) & (weight > 0)[:, None]
    known = concrete(both)
    if known is not None and not known.any():
        raise ValueError(
            "`second`: nobody answered a question in both tables; are their people in one order?"
        )
    x, y = jnp.where(both, x, 0), jnp.where(both, y, 0)
    weights = jnp.where(both, weight[:, None], 0)
    total = jnp.sum(weights, axis=0)
    safe = jnp.where(total > 0, total, 1)

    def mean(values):
        return jnp.where(total > 0, jnp.sum(weights * values, axis=0) / safe, jnp.nan)

    count = jnp.sum(both, axis=0)
    correlation = weighted_correlation(x.T / largest(x), y.T / largest(y), weights.T)
    return Retest(
        jnp.where(count >= FEWEST_COMMON, correlation, jnp.nan),
        mean((x == y).astype(x.dtype)),
        mean(jnp.abs(x - y)),
        count,
    )


def spearman_brown(correlation: Numbers, factor: Numbers = 2.0) -> Float[Array, "*shape"]:
    """The reliability of a measurement `factor` times as long: f·r / (1 + (f - 1)·r).

    **Arguments:** `correlation`: of two measurements; `factor`: 2 for halves of a whole.

    **Example:**

        >>> from syndigits_jax.evaluation.repeatability import spearman_brown
        >>> print(spearman_brown(0.6))
        0.75
    """
    r, factor = as_floats(correlation=correlation, factor=factor)
    return factor * r / (1 + (factor - 1) * r)


class SplitHalf(eqx.Module):
    """How a question's mean, or its shares, repeat over halves of the people.

    - `reliability`: of the whole sample, over questions (and options): the mean correlation of the
      halves, corrected by Spearman and Brown.
    - `distance`: mean distance of the halves: absolute, in units of the answers, or total variation
      of shares. Two independent samples of half the size are so far apart.
    - `correlations`: (r,) correlation of the halves in each repetition.
    """

    reliability: Float[Array, ""]
    distance: Float[Array, ""]
    correlations: Float[Array, " r"]


def split_half(
    answers: Numbers,
    *,
    key: PRNGKey,
    of: str = "means",
    size: int | None = None,
    sample_weight: Numbers | None = None,
    repeats: int = 100,
) -> SplitHalf:
    """The reliability of questions' means or shares, from random halves of the people.

    **Arguments:**

    - `answers`: (n, m), NaN where missing; for `"shares"` positions 0 to `size` - 1 of options.
    - `key`: of the random halves.
    - `of`: `"means"`, or `"shares"` of `size` options.
    - `size`: how many options.
    - `sample_weight`: (n,) weights of the people.
    - `repeats`: number of random splits.

    **Returns:** a [`SplitHalf`][]. A question that a half did not answer is left out of that split.

    **Raises:** `ValueError` for shapes or weights that do not fit, fewer than two people or
    questions, `"shares"` without `size`, answers that are no positions, and all answers equal.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import split_half
        >>> answers = [[1.0, 4.0, 2.0], [2.0, 5.0, 2.0], [1.0, 4.0, 3.0], [2.0, 5.0, 3.0]]
        >>> print(split_half(answers, key=jax.random.key(0)).reliability > 0.9)
        True
    """
    values = as_float("answers", answers)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            f"`answers` must be people x questions, at least two of each, got {values.shape}"
        )
    if of not in ("means", "shares"):
        raise ValueError(f"`of` must be 'means' or 'shares', got {of!r}")
    check_count("repeats", repeats)
    weight = checked_weight(sample_weight, values.shape[0], values.dtype)
    known = concrete(values)
    if known is not None:
        _check_answers(known, of, size)
    keys = jax.random.split(key, repeats)
    unit = jnp.ones((), values.dtype)
    if of == "means":
        unit = largest(jnp.where(jnp.isnan(values), 0, values))
    correlations, distances = _halved(keys, values / unit, weight, of, int(size or 2))
    mean = nan_mean(correlations)
    return SplitHalf(spearman_brown(mean), unit * jnp.mean(distances), correlations)


@functools.partial(jax.jit, static_argnames=("of", "size"))
def _halved(keys, values, weight, of: str, size: int) -> tuple[Array, Array]:
    """Correlation and distance of two halves of the people, of every split."""
    there = ~jnp.isnan(values)
    filled = jnp.where(there, values, 0)
    if of == "shares":
        columns = jax.nn.one_hot(filled.astype(jnp.int32), size, dtype=values.dtype)
    else:
        columns = filled[..., None]
    people = values.shape[0]

    def one(split_key):
        order = jax.random.permutation(split_key, people)
        first = order < people // 2
        halves = [
            _means(columns, jnp.where(there & half[:, None], weight[:, None], 0))
            for half in (first, ~first)
        ]
        both = ~(jnp.isnan(halves[0]) | jnp.isnan(halves[1]))
        x, y = (jnp.where(both, half, 0).reshape(-1) for half in halves)
        counted = both.astype(x.dtype)
        gap = jnp.sum(jnp.abs(jnp.where(both, halves[0] - halves[1], 0)), axis=-1)
        gap = gap / 2 if of == "shares" else gap
        asked = counted[:, 0]
        distance = jnp.sum(gap * asked) / jnp.maximum(jnp.sum(asked), 1)
        return weighted_correlation(x, y, counted.reshape(-1)), distance

    return jax.lax.map(one, keys)


def mean_reliability(
    answers: Numbers,
    *,
    key: PRNGKey,
    sample_weight: Numbers | None = None,
    replicates: int = 2000,
    level: float = 0.95,
) -> BootstrapResult:
    """The reliability of questions' means in closed form, with an interval over questions.

    The share of the variance of the means over questions that is not the sampling of people:
    1 - (mean of s² / n) / (variance of the means). [`split_half`][] estimates the same from random
    halves.

    **Arguments:** `answers`: (n, m), NaN where missing, in units in which the questions' means can
    be compared; `key`: of the resampling of questions; `sample_weight`: (n,) weights of the people,
    where n is Kish's number; `replicates`, `level`: as in
    [`bootstrap`][syndigits_jax.inference.bootstrap].

    **Returns:** a [`BootstrapResult`][syndigits_jax.inference.BootstrapResult]; NaN where means do
    not differ, or fewer than two people or questions.

    **Raises:** `ValueError` for shapes or weights that do not fit, and without questions.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import mean_reliability
        >>> answers = [[1.0, 4.0, 2.0], [2.0, 5.0, 2.0], [1.0, 4.0, 3.0], [2.0, 5.0, 3.0]]
        >>> print(mean_reliability(answers, key=jax.random.key(0)).estimate > 0.9)
        True
    """
    values = as_float("answers", answers)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"`answers` must be people x questions, got shape {values.shape}")
    values = values / largest(jnp.where(jnp.isnan(values), 0, values))
    weight = jnp.where(
        jnp.isnan(values), 0, checked_weight(sample_weight, values.shape[0], values.dtype)[:, None]
    )
    filled = jnp.where(jnp.isnan(values), 0, values)
    total, square = jnp.sum(weight, axis=0), jnp.sum(weight**2, axis=0)
    safe = jnp.where(total > 0, total, 1)
    mean = jnp.sum(weight * filled, axis=0) / safe
    count = total * total / jnp.where(square > 0, square, 1)
    spread = jnp.sum(weight * (filled - mean[None, :]) ** 2, axis=0) / safe
    noise = spread / jnp.maximum(count - 1, 1)
    known = jnp.stack([mean, noise], axis=1)
    known = jnp.where((count > 1)[:, None], known, jnp.nan)
    return bootstrap(key, _reliability, known, replicates=replicates, level=level)


def _reliability(rows: Float[Array, "m 2"]) -> Float[Array, ""]:
    """1 less the share of noise in the variance of means; rows are (mean, noise)."""
    there = ~jnp.isnan(rows[:, 0])
    size = jnp.sum(there, dtype=rows.dtype)
    centre = jnp.where(there, rows[:, 0] - nan_mean(rows[:, 0]), 0)
    variance = jnp.sum(centre**2) / jnp.maximum(size - 1, 1)
    varies = (size > 1) & (variance > 0)
    share = 1 - nan_mean(rows[:, 1]) / jnp.where(varies, variance, 1)
    return jnp.where(varies, share, jnp.nan)


def _means(columns: Float[Array, "n m k"], weight: Float[Array, "n m"]) -> Float[Array, "m k"]:
    total = jnp.sum(weight, axis=0)[:, None]
    mean = jnp.einsum("nm,nmk->mk", weight, columns) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, jnp.nan)


def _check_answers(values: np.ndarray, of: str, size: int | None) -> None:
    some = values[~np.isnan(values)]
    if not some.size:
        raise ValueError("`answers`: all are missing")
    if np.ptp(some) == 0:
        raise ValueError(f"`answers` are all {some[0]:g}: nothing differs, so nothing can repeat")
    if of == "means":
        return
    if size is None or size < 2:
        raise ValueError(f"`size`, the number of options, must be at least 2, got {size}")
    if np.any(some != np.round(some)) or some.min() < 0 or some.max() >= size:
        raise ValueError(
            f"`answers` must be positions 0 to {size - 1} of options, got {some.min():g} to "
            f"{some.max():g}"
        )
