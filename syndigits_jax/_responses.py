"""Checks of what users bring: response matrices and identifiers, with errors that name the cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .solvers.boundary import cell_number, is_missing

_SHOWN = 3


def some(names: Sequence[str]) -> str:
    """The first few of `names`, for an error message."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


def identifiers(values: Iterable[Any], argument: str) -> tuple[str, ...]:
    """Identifiers as strings, in order; whole numbers lose their decimal point (1634.0 is "1634").

    So a column of identifiers that one file stores as numbers and another as text still matches.

    **Raises:** `ValueError` if one is missing or empty, or if two are the same.
    """
    if isinstance(values, str):
        raise ValueError(f"`{argument}` must be a sequence of identifiers, not one string")
    out = []
    for position, value in enumerate(values):
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if is_missing(value) or not str(value).strip():
            raise ValueError(f"`{argument}`: the identifier at position {position} is missing")
        out.append(str(value))
    if len(set(out)) < len(out):
        seen: set[str] = set()
        repeated = sorted({name for name in out if name in seen or seen.add(name)})
        raise ValueError(f"`{argument}`: duplicate identifiers {some(repeated)}")
    return tuple(out)


def positions(names: Sequence[str], wanted: Iterable[Any], argument: str) -> Int[np.ndarray, " k"]:
    """Where in `names` the `wanted` are. **Raises:** `ValueError` if one is absent or repeated."""
    index = {name: position for position, name in enumerate(names)}
    wanted = identifiers(wanted, argument)
    absent = [name for name in wanted if name not in index]
    if absent:
        raise ValueError(f"`{argument}`: not in the panel: {some(absent)}")
    return np.array([index[name] for name in wanted], dtype=int)


def matrix_shape(values: Any, argument: str) -> tuple[int, int]:
    """The shape of a matrix. **Raises:** `ValueError` naming `argument` if it is not a matrix."""
    try:
        shape = np.shape(values)
    except ValueError:
        raise ValueError(f"`{argument}`: its rows differ in length") from None
    if len(shape) != 2:
        raise ValueError(
            f"`{argument}` must be a matrix (respondents x questions), got shape {shape}"
        )
    return shape[0], shape[1]


def response_matrix(
    values: Any,
    argument: str,
    users: Sequence[str] | None = None,
    questions: Sequence[str] | None = None,
) -> Float[np.ndarray, "n m"]:
    """`values` as a float64 matrix, NaN where missing (`None`, NaN, `pandas.NA`, empty text).

    Takes nested lists, NumPy (also masked) and JAX arrays of numbers, booleans or numeric text.

    **Raises:** `ValueError` naming `argument` if it is not a matrix, and naming row, column and
    value for the first cell that is not a number or is infinite.
    """
    matrix_shape(values, argument)
    masked = isinstance(values, np.ma.MaskedArray)
    matrix = np.asarray(np.ma.getdata(values) if masked else values)
    out = np.empty(matrix.shape)
    for j in range(matrix.shape[1]):
        out[:, j] = numeric_column(matrix[:, j], argument, users, label(questions, j, "column"))
    if masked:
        out[np.ma.getmaskarray(values)] = np.nan
    refuse_infinities(out, argument, users, questions)
    return out


def refuse_infinities(
    matrix: Float[np.ndarray, "n m"],
    argument: str,
    users: Sequence[str] | None,
    questions: Sequence[str] | None,
) -> None:
    """**Raises:** `ValueError` with the number of infinite cells and the first of them, if any."""
    infinite: Bool[np.ndarray, "n m"] = np.isinf(matrix)
    if infinite.any():
        i, j = np.argwhere(infinite)[0].tolist()
        raise ValueError(
            f"`{argument}`: {int(infinite.sum())} infinite responses, the first at "
            f"{label(users, i, 'row')}, {label(questions, j, 'column')}; "
            "missing responses must be NaN"
        )


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
) -> dict[str, Any]:
    """The fields of a panel in their types, shapes checked. **Raises:** `ValueError`."""
    users, questions = identifiers(users, "users"), identifiers(questions, "questions")
    shape = (len(users), len(questions))

    def matrix(values: Any, argument: str) -> np.ndarray:
        found = matrix_shape(values, argument)
        if found != shape:  # before looking at the cells, so that labels fit
            raise ValueError(
                f"`{argument}` has shape {found}, but there are {shape[0]} `users` and "
                f"{shape[1]} `questions`"
            )
        return _frozen(response_matrix(values, argument, users, questions))

    def per_question(values: Any, argument: str) -> np.ndarray:
        vector = np.array(values, dtype=np.float64)
        if vector.size == 0:
            vector = np.full(shape[1], np.nan)
        if vector.shape != shape[1:]:
            raise ValueError(
                f"`{argument}` has shape {vector.shape}, but there are {shape[1]} `questions`"
            )
        return _frozen(vector)

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
    }


def _frozen(values: np.ndarray) -> np.ndarray:
    values = np.array(values)
    values.flags.writeable = False
    return values


def _plain(array: np.ndarray) -> bool:
    """Numbers that convert as a whole; "V" are the extension types of JAX (bfloat16)."""
    return array.dtype.kind in "biufV"


def label(names: Sequence[str] | None, position: int, kind: str) -> str:
    return f"{kind} {position}" if names is None else f"{kind} {names[position]!r}"


def numeric_column(
    cells: np.ndarray, argument: str, users: Sequence[str] | None, where: str
) -> Float[np.ndarray, " n"]:
    if _plain(cells):
        return cells.astype(np.float64)
    out = np.empty(len(cells))
    for i, cell in enumerate(cells.tolist()):
        try:
            out[i] = cell_number(cell)
        except (TypeError, ValueError):
            raise ValueError(
                f"`{argument}`: {cell!r} at {label(users, i, 'row')}, {where} is not a number; "
                "responses must be numeric codes, missing ones empty or NaN"
            ) from None
    return out
