"""Level and spread of a new question, from its twins and from what the known questions show.

Twins answer too high or too low, and too alike, in ways that repeat over questions. In units of the
question's range, a ridge regression over the known questions predicts how far the humans' mean is
from the twins', and the humans' standard deviation.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Candidate penalties, in numbers of questions; one is chosen by leave-one-out errors."""

FEWEST_FOR_LEVELS = 5
"""With fewer known questions the level is the twins' and the spread that of known questions."""

FEWEST_ANSWERS = 5
"""Human answers that a question needs for a mean and a spread."""

GROUP_PENALTY = 3.0
"""What a deviation shared by a block or a kind of scale costs, relative to a slope."""


class QuestionTable(eqx.Module):
    """What is known of m questions without the humans' answers to them, and their moments.

    - `low`, `width`: (m,) lower end and width of the range.
    - `twin_mean`, `twin_sd`: (m,) of the twins, in units of the range, the mean from its lower end.
    - `human_mean`, `human_sd`: (m,) of the humans, likewise; 0 where `answered` is false.
    - `answered`: (m,) whether humans answered enough for a mean and a spread.
    - `groups`: (m, g) membership of blocks and kinds of scale, 0 or 1.
    """

    low: Float[Array, " m"]
    width: Float[Array, " m"]
    twin_mean: Float[Array, " m"]
    twin_sd: Float[Array, " m"]
    human_mean: Float[Array, " m"]
    human_sd: Float[Array, " m"]
    answered: Bool[Array, " m"]
    groups: Float[Array, "m g"]


class Line(eqx.Module):
    """A regression over questions: `features @ coef`, and the size of its leave-one-out errors.

    - `coef`: (f,); `penalty`: the one chosen; `error`: root mean square; `errors`: (k,) their
      absolute values, ascending, infinite beyond the known questions.
    """

    coef: Float[Array, " f"]
    penalty: Float[Array, ""]
    error: Float[Array, ""]
    errors: Float[Array, " k"]


class Levels(eqx.Module):
    """Predicted mean and standard deviation of every question, in units of the answers.

    - `mean`, `sd`: (m,).
    - `mean_line`, `sd_line`: the regressions behind them, in units of the range.
    """

    mean: Float[Array, " m"]
    sd: Float[Array, " m"]
    mean_line: Line
    sd_line: Line


def _mean_features(table: QuestionTable) -> Float[Array, "m f"]:
    place = 2 * table.twin_mean - 1
    spread = 4 * table.twin_sd - 1
    terms = [jnp.ones_like(place), place, place**2, spread, place * spread]
    return jnp.concatenate([jnp.stack(terms, 1), table.groups], 1)


def _sd_features(table: QuestionTable, mean: Float[Array, " m"]) -> Float[Array, "m f"]:
    spread = 4 * table.twin_sd - 1
    twin_room = 4 * table.twin_mean * (1 - table.twin_mean)
    room = 4 * mean * (1 - mean)
    terms = [jnp.ones_like(room), spread, twin_room, room]
    return jnp.concatenate([jnp.stack(terms, 1), table.groups], 1)


def ridge_over_questions(
    features: Float[Array, "m f"],
    truth: Float[Array, " m"],
    weight: Float[Array, " m"],
    penalised: Float[Array, " f"],
) -> Line:
    """Ridge regression over questions, its penalty chosen by leave-one-out errors in closed form.

    **Arguments:**

    - `features`: (m, f); `truth`: (m,).
    - `weight`: (m,) 1 for questions to learn from, else 0; nothing is read where it is 0.
    - `penalised`: (f,) relative penalty of each feature, 0 for none.
    """
    used = weight > 0
    x = jnp.where(used[:, None], features, 0)
    y = jnp.where(used, truth, 0)
    count = jnp.maximum(jnp.sum(weight), 1)
    tiny = 1e-6

    def fit(penalty):
        system = x.T @ x + jnp.diag(penalty * penalised + tiny)
        solve = jnp.linalg.solve(system, jnp.concatenate([x.T, (x.T @ y)[:, None]], 1))
        coef = solve[:, -1]
        leverage = jnp.sum(x * solve[:, :-1].T, axis=1)
        residual = jnp.where(used, (y - x @ coef) / jnp.maximum(1 - leverage, 1e-3), 0)
        return coef, residual

    penalties = jnp.asarray(PENALTIES, x.dtype)
    fits = [fit(penalty) for penalty in penalties]
    coefs = jnp.stack([coef for coef, _ in fits])
    residuals = jnp.stack([residual for _, residual in fits])
    squares = jnp.sum(residuals**2, axis=1) / count
    best = jnp.argmin(squares)
    errors = jnp.sort(jnp.where(used, jnp.abs(residuals[best]), jnp.inf))
    return Line(coefs[best], penalties[best], jnp.sqrt(squares[best]), errors)


@jax.jit
def fit_levels(table: QuestionTable, known: Bool[Array, " m"]) -> Levels:
    """Level and spread of all m questions, learnt from those that `known` names only.

    With fewer than [`FEWEST_FOR_LEVELS`][] the mean is the twins' and the standard deviation that
    of the known questions, or of the twins where none is known.

    **Arguments:**

    - `table`: what twins and humans show of each question.
    - `known`: (m,) the questions whose human answers may be used.
    """
    dtype = table.twin_mean.dtype
    weight = (known & table.answered).astype(dtype)
    enough = jnp.sum(weight) >= FEWEST_FOR_LEVELS
    groups = jnp.full((table.groups.shape[1],), GROUP_PENALTY, dtype)
    free = jnp.zeros((1,), dtype)

    x = _mean_features(table)
    slopes = jnp.ones((x.shape[1] - 1 - groups.shape[0],), dtype)
    deviation = table.human_mean - table.twin_mean
    mean_line = ridge_over_questions(x, deviation, weight, jnp.concatenate([free, slopes, groups]))
    shift = jnp.where(enough, x @ mean_line.coef, 0)
    mean = jnp.clip(table.twin_mean + shift, 0, 1)

    z = _sd_features(table, mean)
    slopes = jnp.ones((z.shape[1] - 1 - groups.shape[0],), dtype)
    sd_line = ridge_over_questions(
        z, table.human_sd, weight, jnp.concatenate([free, slopes, groups])
    )
    count = jnp.sum(weight)
    common = jnp.sum(weight * jnp.where(weight > 0, table.human_sd, 0)) / jnp.maximum(count, 1)
    plain = jnp.where(count > 0, common, table.twin_sd)
    largest = jnp.sqrt(mean * (1 - mean))  # of any answers with this mean on this range
    smallest = jnp.minimum(0.1 * plain, largest)
    sd = jnp.clip(jnp.where(enough, z @ sd_line.coef, plain), smallest, largest)
    return Levels(table.low + table.width * mean, table.width * sd, mean_line, sd_line)


def question_ranges(
    low: Float[np.ndarray, " m"],
    high: Float[np.ndarray, " m"],
    human: Float[np.ndarray, "n m"],
    twin: Float[np.ndarray, "n m"],
    known: Bool[np.ndarray, " m"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Range of every question: as declared; else that of a known question which holds its twins'.

    Never from the humans' answers to the question itself: of the other known questions without a
    declared range, whose human and twin answers together span an interval, the most frequent
    interval that holds the twins' answers to this one, and of several the shortest; without any,
    the span of these.

    **Arguments:**

    - `low`, `high`: (m,) declared ends, NaN where unknown.
    - `human`, `twin`: (n, m) answers, NaN where missing.
    - `known`: (m,) the questions whose human answers may be used.
    """
    low, high = low.copy(), high.copy()
    open_ = np.isnan(low) | np.isnan(high)
    if not open_.any():
        return low, high
    twin_low, twin_high = extremes(twin)
    human_low, human_high = extremes(human)
    span_low, span_high = np.minimum(human_low, twin_low), np.maximum(human_high, twin_high)
    donors = np.flatnonzero(open_ & known & np.isfinite(human_low))
    for j in np.flatnonzero(open_):
        others = donors[donors != j]
        holds = (span_low[others] <= twin_low[j]) & (span_high[others] >= twin_high[j])
        others = others[holds & (span_high[others] > span_low[others])]
        if others.size:
            spans, counts = np.unique(
                np.stack([span_low[others], span_high[others]], 1), axis=0, return_counts=True
            )
            widths = spans[:, 1] - spans[:, 0]
            low[j], high[j] = spans[np.lexsort((widths, -counts))[0]]
        else:
            low[j], high[j] = twin_low[j], twin_high[j]
    return low, high


def extremes(
    values: Float[np.ndarray, "n m"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Smallest and largest answer of every column; infinite, the wrong way round, without any."""
    missing = np.isnan(values)
    return (
        np.min(np.where(missing, np.inf, values), axis=0),
        np.max(np.where(missing, -np.inf, values), axis=0),
    )


def question_table(
    human: Float[np.ndarray, "n m"],
    twin: Float[np.ndarray, "n m"],
    low: Float[np.ndarray, " m"],
    high: Float[np.ndarray, " m"],
    weight: Float[np.ndarray, " n"],
    *,
    blocks: Sequence[Any] | None = None,
    fewest: int = FEWEST_ANSWERS,
) -> QuestionTable:
    """The [`QuestionTable`][] of m questions.

    **Arguments:**

    - `human`, `twin`: (n, m) answers, NaN where missing.
    - `low`, `high`: (m,) ranges, from [`question_ranges`][].
    - `weight`: (n,) weights of the users.
    - `blocks`: the block of every question; by default there are none.
    - `fewest`: human answers that a question needs for a mean and a spread.
    """
    width = np.where(high > low, high - low, 1.0)
    twin_mean, twin_sd, _ = weighted_moments(twin, weight)
    human_mean, human_sd, count = weighted_moments(human, weight)
    answered = count >= fewest
    kinds = [scale_kind(column) for column in twin.T]
    labels = [kinds] if blocks is None else [kinds, list(blocks)]
    groups = [np.zeros((len(width), 0))]
    for label in labels:
        names = sorted(set(label), key=str)
        if len(names) > 1:
            groups.append(np.array([[name == one for name in names] for one in label], float))
    return QuestionTable(
        *map(
            jnp.asarray,
            (
                low,
                width,
                np.clip((twin_mean - low) / width, 0, 1),
                twin_sd / width,
                np.where(answered, (human_mean - low) / width, 0),
                np.where(answered, human_sd / width, 0),
            ),
        ),
        answered=jnp.asarray(answered),
        groups=jnp.asarray(np.concatenate(groups, 1)),
    )


def weighted_moments(
    values: Float[np.ndarray, "n m"], weight: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Mean and standard deviation of every column, 0 without answers, and how many count."""
    seen = ~np.isnan(values)
    w = seen * weight[:, None]
    total = w.sum(0)
    total = np.where(total > 0, total, 1)
    filled = np.where(seen, values, 0)
    mean = (w * filled).sum(0) / total
    sd = np.sqrt((w * (filled - mean) ** 2).sum(0) / total)
    return mean, sd, (w > 0).sum(0)


def scale_kind(answers: np.ndarray) -> str:
    """The kind of scale that the twins' answers show: two options, a few whole steps, or more."""
    values = np.unique(answers[~np.isnan(answers)])
    if len(values) <= 2 and np.ptp(values, axis=0) <= 1:
        return "two options"
    steps = values[-1] - values[0]
    if np.all(values * 2 == np.round(values * 2)) and steps <= 12:
        return "ordinal"
    return "numeric"
