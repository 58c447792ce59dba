"""Cells of Qualtrics' exports as codes: numbers, or labels in the words of the questionnaire."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ...tables.responses import some
from .columns import Column
from .export import SEEN
from .markup import comparable

Codes = Float[np.ndarray, " n"]


def holds_labels(columns: Sequence[tuple[Column, list[str]]]) -> bool:
    """Whether an export has labels, not codes, in the columns of single answers."""
    return any(
        _number(cell) is None and comparable(cell) in column.codes
        for column, cells in columns
        if column.kind == "single"
        for cell in cells
        if cell.strip()
    )


def single_codes(column: Column, cells: list[str], labels: bool) -> tuple[Codes, tuple[str, ...]]:
    """(codes, notes) of a question with one answer; cells that are no option are missing."""
    options = {option.value for option in column.question.options}
    given = [cell.strip() for cell in cells]
    words = [column.codes.get(comparable(cell)) if cell else None for cell in given]
    # In an export of labels a label may look like a code of another option ("2", recoded to 6).
    first = labels and all(word is not None for cell, word in zip(given, words) if cell)
    out = np.full(len(cells), np.nan)
    odd: Counter[str] = Counter()
    excluded = 0
    for i, (cell, word) in enumerate(zip(given, words)):
        number = _number(cell)
        code = number if number in options else None
        code = (word if word is not None else code) if first else (word if code is None else code)
        if code is None:
            if cell and cell not in SEEN:
                odd[cell] += 1
        elif code in column.excluded:
            excluded += 1
        else:
            out[i] = code
    notes = []
    if odd:
        which = some([*odd])
        notes.append(
            f"{column.name}: {_answers(sum(odd.values()))} no option of the question ({which}) and "
            "count as missing; a choice that was deleted?"
        )
    if excluded:
        notes.append(
            f"{column.name}: {_answers(excluded)} excluded from analysis by the survey, and "
            "missing here."
        )
    return out, tuple(notes)


def numbers(column: Column, cells: list[str]) -> tuple[Codes, tuple[str, ...]]:
    """(numbers, notes) of a question answered by a number; what is none is missing."""
    scale = column.question.scale
    out = np.full(len(cells), np.nan)
    odd: Counter[str] = Counter()
    for i, cell in enumerate(map(str.strip, cells)):
        number = _number(cell)
        inside = number is not None and (scale is None or scale.low <= number <= scale.high)
        if inside and not (scale is None and cell in SEEN):
            out[i] = number
        elif cell and cell not in SEEN:
            odd[cell] += 1
    if not odd:
        return out, ()
    return out, (
        f"{column.name}: {_answers(sum(odd.values()))} no number of the question's range "
        f"({some([*odd])}) and count as missing.",
    )


def selected(
    columns: Sequence[Column], cells: Sequence[list[str]], shown: np.ndarray
) -> list[Codes]:
    """1 where a choice was selected and 0 where it was not, of a question with several answers.

    **Arguments:** `columns`: of one question; `cells`: of each, empty where the export has no such
    column; `shown`: people who were shown the question, whether they selected anything or not.
    """
    marked = [
        np.array([_marks(cell) for cell in mine], bool) if mine else np.zeros(len(shown), bool)
        for mine in cells
    ]
    seen = shown.copy()
    for mine in cells:
        if mine:
            seen |= np.array([bool(cell.strip()) for cell in mine], bool)
    return [np.where(one, 1.0, np.where(seen, 0.0, np.nan)) for one in marked]


def split_cells(
    columns: Sequence[Column], cells: list[str]
) -> tuple[list[list[str]], Counter[str]]:
    """One column with all the answers of a person ("1,3"), as one column per choice.

    Also counts cells that hold anything else.
    """
    marks = {column.name.rsplit("_", 1)[-1]: j for j, column in enumerate(columns)}
    labels = {label: j for j, column in enumerate(columns) for label in column.codes}
    out = [[""] * len(cells) for _ in columns]
    odd: Counter[str] = Counter()
    for i, cell in enumerate(cells):
        text = cell.strip()
        if not text:
            continue
        parts = [part.strip() for part in text.split(",")]
        found = [marks[part] for part in parts if part in marks]
        if len(found) < len(parts):
            found = _labels_in(comparable(text), labels)
        if text in SEEN:
            found = []
        elif not found:
            odd[text] += 1
            continue
        for j in range(len(columns)):
            out[j][i] = "1" if j in found else "0"
    return out, odd


def _labels_in(text: str, labels: dict[str, int]) -> list[int]:
    """The choices whose labels, separated by commas, make up a text; none if anything is left."""
    found = []
    while text:
        ahead = [
            label for label in labels
            if text == label or text.startswith((f"{label},", f"{label} ,"))
        ]  # fmt: skip
        if not ahead:
            return []
        longest = max(ahead, key=len)
        found.append(labels[longest])
        text = text[len(longest) :].lstrip(" ,")
    return found


def _marks(cell: str) -> bool:
    """Whether a cell of a choice's own column says that it was selected."""
    text = cell.strip()
    return bool(text) and text not in SEEN and text not in ("0", "0.0")


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in cell else None


def _answers(count: int) -> str:
    return "1 answer is" if count == 1 else f"{count} answers are"
