"""What tables say of people besides their answers: columns of weights, groups and arms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.results.names import nearest
from syndigits_jax.solvers.boundary import cell_number, host_array
from syndigits_jax.tables.responses import identifier, some


def people_column(tables: Mapping[str, Any], name: str, argument: str) -> dict[str, Any]:
    """The cells of a column by person, without missing ones; those of earlier tables come first.

    **Arguments:** `tables`: data frames with people in the index, by name; `name`: of the column;
    `argument`: what asks for it, in messages.

    **Raises:** `ValueError` for a column that no table has, with the nearest one.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.workflows.people import people_column
        >>> human = pd.DataFrame({"q1": [1, 2], "sex": ["f", None]}, index=["ann", "bob"])
        >>> print(people_column({"human": human}, "sex", "groups"))
        {'ann': 'f'}
    """
    having = [table for table in tables.values() if name in table.columns]
    if not having:
        close = nearest(name, [column for table in tables.values() for column in table.columns])
        tail = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"`{argument}`: no column {name!r} in {_listed(list(tables))}{tail}")
    cells: dict[str, Any] = {}
    for table in reversed(having):
        column = table[name]
        cells |= {str(identifier(who)): cell for who, cell in column[column.notna()].items()}
    return cells


def without_columns(tables: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The tables without these columns, where they have them."""
    names = list(names)
    return {key: table.drop(columns=names, errors="ignore") for key, table in tables.items()}


def people_labels(cells: Mapping[str, Any], users: Sequence[str]) -> tuple[str, ...]:
    """Every person's label as text, "" where it is missing; 1 and 1.0 are both "1".

    **Example:**

        >>> from syndigits_jax.workflows.people import people_labels
        >>> print(people_labels({"ann": 1.0, "bob": "1"}, ["ann", "bob", "eve"]))
        ('1', '1', '')
    """
    return tuple(as_label(cells.get(user)) for user in users)


def as_label(cell: Any) -> str:
    """A label as text, "" for `None`; a whole number is the same in whatever form."""
    text = "" if cell is None else str(cell).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else "" if np.isnan(number) else text


def people_weights(
    cells: Mapping[str, Any], users: Sequence[str], argument: str = "weights"
) -> Float[np.ndarray, " n"]:
    """Every person's survey weight, checked as by [`checked_weights`][].

    **Raises:** `ValueError` naming people whose weight is missing or no number, and as there.
    """
    values, wrong = np.full(len(users), np.nan), []
    for i, user in enumerate(users):
        try:
            values[i] = cell_number(cells.get(user))
        except (ValueError, TypeError, OverflowError):
            wrong.append(user)
    if wrong:
        raise ValueError(
            f"`{argument}`: {len(wrong)} weights are no numbers, the first "
            f"{str(cells[wrong[0]])!r} of {wrong[0]!r}"
        )
    return checked_weights(values, users, argument)


def checked_weights(
    weight: Any, users: Sequence[str], argument: str = "weights"
) -> Float[np.ndarray, " n"]:
    """Survey weights as numbers, checked.

    **Arguments:** `weight`: (n,); `users`: (n,) identifiers, for messages; `argument`: its name in
    messages.

    **Raises:** `ValueError` for another shape, missing, infinite or negative weights, or if fewer
    than two people have a positive one.
    """
    given = host_array(argument, weight)
    if given.dtype.kind == "O":
        given = np.array([cell_number(cell) for cell in given.ravel()]).reshape(given.shape)
    values = given.astype(np.float64)
    if values.shape != (len(users),):
        raise ValueError(f"`{argument}` must hold one weight per person, {len(users)} in all")
    for wrong, what in (
        (np.isnan(values), "have no weight; give them one, or leave them out"),
        (np.isinf(values), "have an infinite weight"),
        (values < 0, "have a negative weight"),
    ):
        if wrong.any():
            names = [user for user, one in zip(users, wrong, strict=True) if one]
            raise ValueError(
                f"`{argument}`: {len(names)} of {len(users)} people {what} ({some(names)})"
            )
    if np.sum(values > 0) < 2:
        raise ValueError(f"`{argument}`: {np.sum(values > 0)} people have a weight above 0")
    return values


def weights_of(
    some_users: Sequence[str], weight: Any, users: Sequence[str]
) -> Float[np.ndarray, " k"] | None:
    """The weights of some of the users, checked; `None` without weights.

    **Arguments:** `some_users`: (k,); `weight`: (n,) of all `users`, or `None`.

    **Raises:** `ValueError` as [`checked_weights`][].
    """
    if weight is None:
        return None
    given = dict(zip(users, checked_weights(weight, users, "sample_weight"), strict=True))
    return np.array([given[user] for user in some_users])


def design_effect(weight: Float[np.ndarray, " n"]) -> float:
    """How much larger the variance of a mean is than with equal weights: n Σw² / (Σw)².

    Of the n people of positive weight (Kish 1965, Survey Sampling); their effective number is n
    over it.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.workflows.people import design_effect
        >>> print(design_effect(np.array([1.0, 1.0, 2.0, 0.0])))
        1.125
    """
    used = weight[weight > 0] / weight.max()
    return float(len(used) * np.sum(used**2) / np.sum(used) ** 2)


def weights_said(weight: Float[np.ndarray, " n"]) -> str:
    """What survey weights cost, in words: their design effect, and as how many people they count.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.workflows.people import weights_said
        >>> print(weights_said(np.array([1.0, 1.0, 2.0, 4.0])))
        design effect 1.38: 4 people count as 2.9
    """
    effect, people = design_effect(weight), int(np.sum(weight > 0))
    worth = people / effect
    return (
        f"design effect {effect:.2f}: {people} people count as {worth:.{0 if worth >= 10 else 1}f}"
    )


def _listed(names: Sequence[str]) -> str:
    names = [f"`{name}`" for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
