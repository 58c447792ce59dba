"""What a panel holds: checks of its contents, and questions about its columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..tables.responses import some


def check_contents(
    human: Float[np.ndarray, "n m"],
    twin: Float[np.ndarray, "n m"],
    users: Sequence[str],
    questions: Sequence[str],
    low: Float[np.ndarray, " m"],
    high: Float[np.ndarray, " m"],
) -> None:
    """Refuse fields of a [`Panel`][] that leave nothing to calibrate, or answers out of range.

    **Raises:** `ValueError` naming the argument.
    """
    for count, argument, what in (
        (len(questions), "questions", "questions"),
        (len(users), "users", "respondents"),
    ):
        if count < 2:
            raise ValueError(f"`{argument}`: a panel needs at least two {what}, got {count}")
    silent = names_where(questions, np.isnan(twin).all(axis=0))
    if silent:
        raise ValueError(
            f"`twin` has no answer at all to {len(silent)} questions ({some(silent)}); drop them, "
            "or ask the twins"
        )
    if np.isnan(human).all():
        raise ValueError("`human` has no answer at all; there is nothing to calibrate against")
    for least, most, question in zip(low, high, questions):
        if least >= most:
            raise ValueError(f"`low` must be below `high`, got {least} and {most} for {question!r}")
    outside = (human < low[None, :]) | (human > high[None, :])
    if outside.any():
        i, j = np.argwhere(outside)[0]
        raise ValueError(
            f"`human`: {int(outside.sum())} answers outside the question's range, the first "
            f"{human[i, j]:g} by {users[i]!r} to {questions[j]!r}, which goes "
            f"from {low[j]:g} to {high[j]:g}; a code for refusal must become NaN "
            f"(missing='{human[i, j]:g}')"
        )


def at(count: int, wanted: Any, argument: str) -> Int[np.ndarray, " k"]:
    """Positions below `count` that integers, a slice or a mask select; all for `None`.

    **Raises:** `ValueError` naming the argument.
    """
    everything = np.arange(count)
    if wanted is None:
        return everything
    try:
        found = everything[wanted]
    except IndexError as error:
        raise ValueError(f"`{argument}` must be positions in 0 to {count - 1}: {error}") from None
    if found.ndim != 1:
        raise ValueError(
            f"`{argument}` must be positions (k,), a slice or a mask, got {found.ndim} dimensions"
        )
    return found


def names_where(names: Sequence[str], flags: Any) -> tuple[str, ...]:
    """The names whose flag is true."""
    return tuple(name for name, flag in zip(names, flags) if flag)


def shared_value(values: np.ndarray) -> float | None:
    """The one finite value that all entries have, or `None`."""
    return float(values[0]) if np.all(values == values[0]) else None


def constant_columns(values: np.ndarray) -> Bool[np.ndarray, " m"]:
    """Columns with at least one observed entry and all observed entries equal."""
    high = np.max(np.where(np.isnan(values), -np.inf, values), axis=0)
    low = np.min(np.where(np.isnan(values), np.inf, values), axis=0)
    return high == low
