"""Columns of a user's tables that describe people and are no questions: groups, survey weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.tables.responses import identifier, some


def take_column(
    tables: Mapping[str, Any], column: str, option: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A column of either table by person, and the tables without it.

    Where both have it, the first table's cells count, and the other's for people it lacks. Empty
    cells are left out.

    **Arguments:** `tables`: data frames with people's identifiers as the index, by name; `column`:
    which; `option`: the argument's name in messages.

    **Raises:** `ValueError` for a column that no table has.
    """
    having = [table for table in tables.values() if column in table.columns]
    if not having:
        raise ValueError(f"`{option}`: no column {column!r} in {' or '.join(tables)}")
    cells: dict[str, Any] = {}
    for table in reversed(having):
        found = table[column]
        cells |= {str(identifier(who)): cell for who, cell in found[found.notna()].items()}
    rest = {name: table.drop(columns=column, errors="ignore") for name, table in tables.items()}
    return cells, rest


def weights_of(
    cells: Mapping[str, Any], users: Sequence[str], option: str
) -> Float[np.ndarray, " n"]:
    """The survey weights of people from a column's cells.

    **Raises:** `ValueError` for cells that are missing, no number, or negative, naming the first
    person; and for weights that are all zero.
    """
    lost = [user for user in users if user not in cells]
    if lost:
        raise ValueError(
            f"`{option}`: {len(lost)} of {len(users)} people have no weight ({some(lost)})"
        )
    weights = np.empty(len(users))
    for i, user in enumerate(users):
        try:
            weights[i] = float(cells[user])
        except (TypeError, ValueError):
            raise ValueError(
                f"`{option}`: the weight of {user!r} is no number: {cells[user]!r}"
            ) from None
    return check_weights(weights, users, option)


def check_weights(
    weights: Float[np.ndarray, " n"], users: Sequence[str], option: str
) -> Float[np.ndarray, " n"]:
    """The weights as given.

    **Raises:** `ValueError` naming the first person whose weight is bad.
    """
    if weights.shape != (len(users),):
        raise ValueError(
            f"`{option}` must have a weight for each of {len(users)} people, got {weights.shape}"
        )
    for bad, what in (
        (~np.isfinite(weights), "must be finite numbers"),
        (weights < 0, "must not be negative"),
    ):
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(f"`{option}` {what}: that of {users[at]!r} is {weights[at]:g}")
    if not weights.any():
        raise ValueError(f"`{option}` are zero for everybody: nobody is left")
    return weights
