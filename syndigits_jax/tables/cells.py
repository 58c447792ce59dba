"""Cells of response tables: numbers, codes for missing answers, and a list of all other cells."""

import csv
import datetime
import math
import numbers
import warnings
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import cell_number, is_missing
from .frames import pandas_cells

_EXAMPLES, _NAMES, _VALUES = 2, 3, 6  # numbers of examples that an error shows
_LONGEST = 440  # characters of an error, without what it is about and the advice at its end
_ADVICE = "responses must be numeric codes, missing ones empty or NaN"
_KINDS = {"M": "dates", "m": "durations", "c": "complex numbers", "S": "bytes", "V": "records"}
# By the name of the type, so that pandas need not be installed.
_OF_TYPES = {
    "date": "dates",
    "datetime": "dates",
    "datetime64": "dates",
    "Timestamp": "dates",
    "time": "times of day",
    "timedelta": "durations",
    "timedelta64": "durations",
    "Timedelta": "durations",
    "Period": "periods",
    "Interval": "intervals",
    "bytes": "bytes",
    "bytearray": "bytes",
    "list": "lists",
    "tuple": "lists",
    "set": "sets",
    "ndarray": "lists",
    "dict": "mappings",
    "complex": "complex numbers",
    "str": "text",
}
# Texts that readers treat as missing in any case, and so never occur as codes.
_ALWAYS = frozenset(["", "na", "n/a", "#n/a", "#na", "nan", "-nan", "null", "none", "<na>"])


class TableWarning(UserWarning):
    """A property of a table that may be a mistake."""


class MissingCodes:
    """The codes of missing answers, and which of them have occurred.

    Numbers are compared as numbers, in text too; texts regardless of case and surrounding spaces.

    **Example:**

        >>> from syndigits_jax.tables.cells import MissingCodes
        >>> codes = MissingCodes.of("-99, refused")
        >>> print(codes.hit("Refused"), codes.hit(-99.0), codes.hit(99))
        True True False
    """

    def __init__(self, given: Iterable[Any] = ()):
        self._given: dict[float | str, str] = {}
        self._met: set[float | str] = set()
        for code in given:
            if is_missing(code):
                continue
            number = None if isinstance(code, bool) else _number(code)
            if number is None and not isinstance(code, str):
                raise ValueError(f"`missing` must hold texts and numbers, got {code!r:.80}")
            key = str(code).strip().casefold() if number is None else number
            self._given[key] = str(code).strip()

    @classmethod
    def of(cls, missing: Any) -> "MissingCodes":
        """From texts and numbers, or one text of them separated by commas (quoted as in CSV).

        **Raises:** `ValueError` for codes that are neither text nor numbers.
        """
        if isinstance(missing, cls):
            return missing
        if isinstance(missing, str):
            missing = next(csv.reader([missing], skipinitialspace=True), [])
        if missing is None or isinstance(missing, int | float):
            missing = () if missing is None else (missing,)
        return cls(missing)

    def __bool__(self) -> bool:
        return bool(self._given)

    def hit(self, cell: Any) -> bool:
        """Whether a cell is one of the codes."""
        if not self._given or isinstance(cell, bool | np.bool_):
            return False
        key = cell.strip().casefold() if isinstance(cell, str) else None
        if key is None or key not in self._given:
            key = _number(cell)
        if key is None or key not in self._given:
            return False
        self._met.add(key)
        return True

    def blanked(self, cells: Sequence[str]) -> list[str]:
        """Text cells, "" in place of codes."""
        return ["" if self.hit(cell) else cell for cell in cells]

    def without(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Numbers, NaN in place of codes."""
        for code in [code for code in self._given if isinstance(code, float)]:
            here = values == code
            if here.any():
                self._met.add(code)
                values = np.where(here, np.nan, values)
        return values

    def masked(self, frame: Any) -> Any:
        """A data frame, missing in place of codes; columns without codes keep their type."""
        hits = {
            j: np.array([self.hit(cell) for cell in frame.iloc[:, j].tolist()], bool)
            for j in range(frame.shape[1])
        }
        columns = {
            j: _gappy(frame.iloc[:, j]).mask(hits[j]) if hits[j].any() else frame.iloc[:, j]
            for j in hits
        }
        return type(frame)(columns, index=frame.index).set_axis(frame.columns, axis=1)

    def unmet(self) -> tuple[str, ...]:
        """Codes that no cell held."""
        return tuple(
            text for key, text in self._given.items() if key not in self._met and key not in _ALWAYS
        )

    def warn_unmet(self, where: str) -> None:
        """Warn of codes that no cell of `where` held: a misspelt code leaves false answers."""
        if unmet := self.unmet():
            said = ", ".join(repr(text) for text in unmet)
            warnings.warn(f"`missing`: no cell of {where} is {said}", TableWarning, stacklevel=3)


class Unusable:
    """A list of the cells of a table that are not finite numbers.

    **Arguments:** `subject`: name of the table in messages; `users`, `questions`: names of its rows
    and columns, positions by default; `what`: name of its cells.
    """

    def __init__(
        self,
        subject: str,
        users: Sequence[str] | None = None,
        questions: Sequence[str] | None = None,
        what: str = "responses",
    ):
        self.subject, self.users, self.questions, self.what = subject, users, questions, what
        self._kinds: dict[int, str] = {}  # columns of which no cell is a number
        self._cells: dict[int, list[tuple[int, Any]]] = {}
        self._sizes: dict[int, int] = {}

    def numbers(
        self, cells: np.ndarray, j: int, codes: MissingCodes | None = None, dtype: str = ""
    ) -> Float[np.ndarray, " n"]:
        """Column `j` as float64, NaN where it is missing or unusable.

        **Arguments:** `cells`: (n,) of the column; `j`: its position; `codes`: of missing answers;
        `dtype`: name of its type in messages, that of `cells` by default.
        """
        codes = MissingCodes() if codes is None else codes
        self._sizes[j] = len(cells)
        kind = "" if _is_plain(cells) else _KINDS.get(cells.dtype.kind, "")
        if kind:
            self._kinds[j] = f"{kind} ({dtype or cells.dtype})"
            return np.full(len(cells), np.nan)
        if _is_plain(cells):
            with np.errstate(over="ignore"):
                out = cells.astype(np.float64)
            if cells.dtype.kind != "b":
                out = codes.without(out)
            given: Sequence[Any] = out.tolist()
        else:
            given = cells.tolist()
            out = np.empty(len(given))
            bad = []
            for i, cell in enumerate(given):
                try:
                    out[i] = math.nan if codes.hit(cell) else _cell(cell)
                except (TypeError, ValueError, OverflowError):
                    out[i] = math.nan
                    bad.append((i, cell))
            if bad:
                self._cells[j] = bad
                kinds = {_kind_of(cell) for _, cell in bad}
                if len(kinds) == 1 and "text" not in kinds and np.isnan(out).all():
                    self._kinds[j] = kinds.pop() + (f" ({dtype})" if dtype != "object" else "")
        infinite = np.flatnonzero(np.isinf(out)).tolist()
        if infinite:
            self._cells[j] = sorted(
                [*self._cells.get(j, []), *((i, given[i]) for i in infinite)],
                key=lambda one: one[0],
            )
        return out

    def refuse(self) -> None:
        """Report the list. **Raises:** `ValueError` with columns, examples and advice."""
        single = {j: cells for j, cells in self._cells.items() if j not in self._kinds}
        count = sum(map(len, single.values()))
        if not count and not self._kinds:
            return
        if not self._kinds and all(_is_infinite(c) for one in single.values() for _, c in one):
            j = min(single, key=lambda j: (single[j][0][0], j))
            raise ValueError(
                f"{self.subject}: {count} infinite {self.what}, the first at "
                f"{self._row(single[j][0][0])}, {self._column(j)}; "
                f"missing {self.what} must be NaN"
            )
        end = f"; {_ADVICE}{self._suggestion(single)}"
        if count == 1 and not self._kinds:
            [(j, [(i, cell)])] = single.items()
            said = f"{_shown(cell)} at {self._row(i)}, {self._column(j)} is not a number"
        else:
            said = self._all(single, count)
        raise ValueError(f"{self.subject}: {said}{end}")

    def _all(self, single: dict[int, list[tuple[int, Any]]], count: int) -> str:
        """The list, column by column, in about `_LONGEST` characters."""
        columns = sorted({*single, *self._kinds})
        parts = [f"{count} cells"] if count else []
        if self._kinds:
            whole = len(self._kinds)
            parts.insert(0, "1 column" if whole == 1 else f"{whole} columns")
        are = "is not a number" if parts == ["1 column"] else "are not numbers"
        inside = f" in {len(single)} columns" if len(single) > 1 else ""
        said = f"{' and '.join(parts)}{inside} {are}: "
        listed: list[str] = []
        for position, j in enumerate(columns):
            detail = self._detail(j, single.get(j, []))
            rest = columns[position:]
            if listed and len(said) + sum(map(len, listed)) + len(detail) > _LONGEST - 60:
                named = ", ".join(map(self._name, rest[:_NAMES]))
                more = ", ..." if len(rest) > _NAMES else ""
                listed.append(f"and {len(rest)} more columns ({named}{more})")
                break
            listed.append(detail)
        return said + "; ".join(listed)

    def _detail(self, j: int, cells: list[tuple[int, Any]]) -> str:
        if j in self._kinds:
            return f"{self._column(j)} holds {self._kinds[j]}"
        examples = ", ".join(f"{_shown(cell)} at {self._row(i)}" for i, cell in cells[:_EXAMPLES])
        more = ", ..." if len(cells) > _EXAMPLES else ""
        number = "all" if len(cells) == self._sizes[j] else f"{len(cells)} of"
        return f"{self._column(j)} {number} {self._sizes[j]} ({examples}{more})"

    def _suggestion(self, single: dict[int, list[tuple[int, Any]]]) -> str:
        texts = {
            j: {cell.strip(): None for _, cell in cells if isinstance(cell, str)}
            for j, cells in single.items()
        }
        if (every := {t for found in texts.values() for t in found}) and all(
            map(_decimal_comma, every)
        ):
            return "; decimal commas? Write 1.5, not 1,5"
        among = {text: None for j, found in texts.items() if not self._is_text(j) for text in found}
        text_columns = [
            j for j, found in texts.items() if self._is_text(j) and len(found.keys() - among) > 1
        ]
        codes = {t: None for j, found in texts.items() if j not in text_columns for t in found}
        out = ""
        if text_columns or self._kinds:
            named = ", ".join(self._name(j) for j in sorted({*text_columns, *self._kinds})[:_NAMES])
            out = f"; leave out columns that are no questions (such as {named})"
        if codes and len(codes) <= _VALUES and all(len(text) <= 40 for text in codes):
            listed = ",".join(f'"{text}"' if "," in text else text for text in codes)
            out += f"; if these stand for missing answers, missing={listed!r}"
        return out

    def _is_text(self, j: int) -> bool:
        """Whether no cell of a column is a number or missing."""
        return len(self._cells[j]) == self._sizes[j]

    def _row(self, i: int) -> str:
        return f"row {i}" if self.users is None else f"row {_shown(self.users[i])}"

    def _name(self, j: int) -> str:
        return str(j) if self.questions is None else _shown(self.questions[j])

    def _column(self, j: int) -> str:
        return f"column {self._name(j)}"


def refuse_unusable(frame: Any, subject: str) -> None:
    """**Raises:** `ValueError` listing cells of a pandas data frame that are no finite numbers."""
    unusable = Unusable(subject, list(frame.index), list(frame.columns))
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        unusable.numbers(pandas_cells(column), j, dtype=str(column.dtype))
    unusable.refuse()


def _gappy(column: Any) -> Any:
    """A column in a type that can hold missing cells without rounding the others."""
    whole = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu"
    if not whole or np.abs(column.to_numpy().astype(np.float64)).max(initial=0) < 2**53:
        return column
    return column.astype("UInt64" if column.dtype.kind == "u" else "Int64")


def _is_plain(array: np.ndarray) -> bool:
    """Numbers that convert as a whole; "V" are the extension types of JAX (bfloat16)."""
    return array.dtype.kind in "biuf" or (array.dtype.kind == "V" and array.dtype.names is None)


def _cell(cell: Any) -> float:
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        cell = cell.item()
    if not (is_missing(cell) or isinstance(cell, str | numbers.Real | Decimal | np.bool_)):
        raise TypeError
    return cell_number(cell)


def _number(cell: Any) -> float | None:
    if is_missing(cell) or isinstance(cell, bool | np.bool_):
        return None
    try:
        number = _cell(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _kind_of(cell: Any) -> str:
    if isinstance(cell, datetime.date):
        return "dates"
    if isinstance(cell, str):
        return "text"
    name = type(cell).__name__
    if name.startswith("complex"):
        return "complex numbers"
    return _OF_TYPES.get(name, f"objects of type {name}")


def _is_infinite(cell: Any) -> bool:
    try:
        return math.isinf(_cell(cell))
    except (TypeError, ValueError, OverflowError):
        return False


def _decimal_comma(text: str) -> bool:
    whole, comma, decimals = text.lstrip("+-").partition(",")
    return bool(comma) and whole.isdigit() and decimals.isdigit()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 43 else text[:40] + "..."
