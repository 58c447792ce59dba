"""Checks of response matrices and identifiers, with errors that name the cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..solvers.boundary import Numbers, host_array, is_missing, listed, refuse_no_numbers
from .cells import MissingCodes, Unusable
from .near_misses import hint, only_in

_SHOWN = 3


def some(names: Sequence[str]) -> str:
    """The first few of `names`, for an error message."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


def identifiers(values: Iterable[Any], argument: str) -> tuple[str, ...]:
    """Identifiers as strings, in order; whole numbers lose their decimal point (1634.0 is "1634").

    So identifiers that one file stores as numbers and another as text still match.

    **Raises:** `ValueError` if one is missing or empty, or if two are the same.

    **Example:**

        >>> from syndigits_jax.tables.responses import identifiers
        >>> print(identifiers([1634.0, "007"], "users"))
        ('1634', '007')
    """
    if isinstance(values, str):
        raise ValueError(f"`{argument}` must be a sequence of identifiers, not one string")
    out = []
    for position, value in enumerate(listed(values)):
        name = identifier(value)
        if name is None or not name.strip():
            raise ValueError(f"`{argument}`: the identifier at position {position} is missing")
        out.append(name)
    if len(set(out)) < len(out):
        seen: set[str] = set()
        repeated = sorted({name for name in out if name in seen or seen.add(name)})
        raise ValueError(f"`{argument}`: duplicate identifiers {some(repeated)}")
    return tuple(out)


def identifier(value: Any) -> str | None:
    """One identifier as text: 1634 and 1634.0 are "1634", text is unchanged; `None` if missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if is_missing(value) else str(value)


def positions(names: Sequence[str], wanted: Iterable[Any], argument: str) -> Int[np.ndarray, " k"]:
    """Positions of `wanted` in `names`. **Raises:** `ValueError` if one is absent or repeated."""
    index = {name: position for position, name in enumerate(names)}
    wanted = identifiers(wanted, argument)
    absent = [name for name in wanted if name not in index]
    if absent:
        near = hint(absent, only_in(names, wanted))
        raise ValueError(f"`{argument}`: not in the panel: {some(absent)}{near}")
    return np.array([index[name] for name in wanted], dtype=int)


def matrix_shape(values: Numbers, argument: str) -> tuple[int, int]:
    """The shape of a matrix. **Raises:** `ValueError` naming `argument` if it is not a matrix."""
    shape = host_array(argument, values).shape
    if len(shape) != 2:
        raise ValueError(
            f"`{argument}` must be a matrix (respondents x questions), got shape {shape}"
        )
    return shape[0], shape[1]


def response_matrix(
    values: Numbers,
    argument: str,
    users: Sequence[str] | None = None,
    questions: Sequence[str] | None = None,
    codes: MissingCodes | None = None,
) -> Float[np.ndarray, "n m"]:
    """`values` as a float64 matrix, NaN where missing (`None`, NaN, `pandas.NA`, empty text).

    **Arguments:** `values`: numbers, booleans or numeric text ([`as_float`][]); `argument`: their
    name in messages; `users`, `questions`: names of rows and columns in messages, positions by
    default; `codes`: of missing answers.

    **Raises:** `ValueError` naming `argument` if it is not a matrix or not numeric, and naming
    rows, columns and values of the cells that are not finite numbers.

    **Example:**

        >>> from syndigits_jax.tables.responses import response_matrix
        >>> print(response_matrix([["1", None], [2, True]], "human"))
        [[ 1. nan]
         [ 2.  1.]]
    """
    matrix_shape(values, argument)
    matrix = host_cells(argument, values)
    out = np.empty(matrix.shape)
    unusable = Unusable(f"`{argument}`", users, questions)
    for j in range(matrix.shape[1]):
        out[:, j] = unusable.numbers(matrix[:, j], j, codes)
    unusable.refuse()
    return out


def host_cells(argument: str, values: Numbers) -> np.ndarray:
    """`values` as NumPy, cells unchanged. **Raises:** `ValueError` for non-numeric types."""
    array = host_array(argument, values)
    refuse_no_numbers(argument, array.dtype)
    return array


def panel_fields(
    human: Any,
    twin: Any,
    users: Iterable[Any],
    questions: Iterable[Any],
    name: str,
    low: Any,
    high: Any,
    step: Any,
    controls: Mapping[str, Any],
    dropped: Mapping[str, int] | None = None,
    blocks: Iterable[Any] = (),
    *,
    codes: MissingCodes | None = None,
) -> dict[str, Any]:
    """The fields of a [`Panel`][], converted and with their shapes checked.

    **Arguments:** `human`, `twin`, `users`, `questions`, `name`, `low`, `high`, `step`, `controls`,
    `dropped`, `blocks`: as in [`Panel`][]; `codes`: of missing answers.

    **Raises:** `ValueError` for shapes, identifiers or cells that do not fit.
    """
    users, questions = identifiers(users, "users"), identifiers(questions, "questions")
    shape = (len(users), len(questions))

    def matrix(values: Any, argument: str) -> np.ndarray:
        found = matrix_shape(values, argument)
        if found != shape:  # before looking at the cells, so that labels fit
            raise ValueError(
                f"`{argument}` has shape {found}, but there are {shape[0]} `users` and "
                f"{shape[1]} `questions`"
            )
        return _frozen(response_matrix(values, argument, users, questions, codes))

    def per_question(values: Any, argument: str) -> np.ndarray:
        vector = host_cells(argument, values)
        if vector.size == 0:
            vector = np.full(shape[1], np.nan)
        if vector.shape != shape[1:]:
            raise ValueError(
                f"`{argument}` has shape {vector.shape}, but there are {shape[1]} `questions`"
            )
        return _frozen(numeric_column(vector, argument, questions, "ranges"))

    labels = block_labels(blocks, questions)
    return {
        "human": matrix(human, "human"),
        "twin": matrix(twin, "twin"),
        "users": users,
        "questions": questions,
        "name": name,
        "low": per_question(low, "low"),
        "high": per_question(high, "high"),
        "step": per_question(step, "step"),
        "controls": {
            key: matrix(values, f"controls[{key!r}]") for key, values in dict(controls).items()
        },
        "dropped": dict(dropped or {}),
        "blocks": labels,
    }


def block_labels(blocks: Iterable[Any], questions: Sequence[str]) -> tuple[str, ...]:
    """The block of each question as text; empty if that of none is known.

    A question whose block is missing (`None`, NaN, `pandas.NA`, empty text) is a block of its own.

    **Arguments:** `blocks`: one per question, or none at all; `questions`: identifiers.

    **Raises:** `ValueError` for text, or another number of blocks.
    """
    if isinstance(blocks, str):
        raise ValueError(f"`blocks` must hold one block per question, got the text {blocks!r}")
    found = [None if is_missing(block) else str(block).strip() or None for block in listed(blocks)]
    if found and len(found) != len(questions):
        raise ValueError(
            f"`blocks` must name the block of each of the {len(questions)} questions, got "
            f"{len(found)}"
        )
    names = set(found)
    labels = []
    for block, question in zip(found, questions):
        own = question
        while own in names:
            own += " alone"
        labels.append(own if block is None else block)
    return () if names <= {None} else tuple(labels)


def _frozen(values: np.ndarray) -> np.ndarray:
    values = np.array(values)
    values.flags.writeable = False
    return values


def numeric_column(
    cells: np.ndarray, argument: str, rows: Sequence[str] | None, what: str = "responses"
) -> Float[np.ndarray, " n"]:
    """A column as float64, NaN where missing.

    **Arguments:** `cells`: (n,); `argument`: name of the column in messages; `rows`: names of the
    rows in messages, positions by default; `what`: name of the cells.

    **Raises:** `ValueError` listing the cells that are not finite numbers.
    """
    unusable = Unusable(f"`{argument}`", rows, [argument], what)
    out = unusable.numbers(cells, 0)
    unusable.refuse()
    return out
