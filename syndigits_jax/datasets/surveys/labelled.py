"""SPSS and Stata files: numbers with labels of variables, values and missing codes."""

import dataclasses
import datetime
import functools
import math
import re
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...schema import Option, Question, Scale
from ...solvers.boundary import is_missing
from ...tables.compressed import ExpansionError, most_expanded, refuse_expanded
from ...tables.frames import import_pandas
from ...tables.responses import identifier, some
from .columns import SELECTED
from .markup import plain
from .stata_sizes import refuse_expanding_stata
from .survey import LeftOut, Survey

SPSS = (".sav", ".zsav", ".por")
STATA = (".dta",)
_STEM = re.compile(r"(.*?)[_.]?\d+[A-Za-z]?")
_KINDS = {"nominal": "nominal", "ordinal": "ordinal", "scale": "interval"}
_TEXT = "it is text"
_CELL = 64  # bytes of a short text in memory


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A variable: its values, NaN for system-missing; labels of values, missing ones too."""

    name: str
    text: str
    values: Float[np.ndarray, " n"]
    labels: Mapping[float, str]
    missing: frozenset[float]
    measure: str

    @property
    def answers(self) -> Float[np.ndarray, " n"]:
        """The values, NaN also for user-missing codes."""
        return np.where(np.isin(self.values, [*self.missing]), np.nan, self.values)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFile:
    """What a file holds: its columns as they are, its numeric variables, and what is left out."""

    path: Path
    frame: Any
    variables: Mapping[str, Variable]
    groups: tuple[tuple[str, ...], ...]
    left_out: LeftOut


def read_spss(
    path: str | PathLike[str], *, id_column: str | None = None, encoding: str | None = None
) -> Survey:
    """A survey in an SPSS file (`.sav`, `.zsav`, `.por`): questions with options, and answers.

    A numeric variable is a question: its text is the variable's label, its options the labels of
    its values. Where only some values of a grid have labels ("1 = not at all, 7 = very"), the
    others are options too; where labels do not cover the values, the answer is an open number.
    User-missing codes and ranges are missing answers; a single such code with a label is the
    question's refusal. Text and dates are left out. Variables of a several-answer set, declared or
    each with the label of its only value, become 1 and 0. The survey's `report` says all this.

    **Arguments:**

    - `id_column`: the variable that identifies people; by default the first, or else the one text
      variable, whose values all differ. Without such, only questions are read.
    - `encoding`: of the texts, where the file states it wrongly (`"cp1252"`).

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it cannot be read or has no
    numeric variable, or for an `id_column` that is absent, has gaps or repeats; `ImportError`
    without pyreadstat (the extra `labels`).

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> import pyreadstat
        >>> from syndigits_jax.datasets import read_spss
        >>> table = pd.DataFrame({"who": ["ann", "bob"], "car": [1.0, 9.0]})
        >>> labels = {"car": {1: "Yes", 2: "No", 9: "Refused"}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "survey.sav"
        ...     pyreadstat.write_sav(
        ...         table, path, variable_value_labels=labels, missing_ranges={"car": [9]}
        ...     )
        ...     survey = read_spss(path)
        >>> print(survey.answers["car"].tolist(), survey.questions[0].refusal)
        [1.0, nan] 9.0
    """
    return _survey(_read_file(path, SPSS, encoding), id_column)


def read_stata(
    path: str | PathLike[str], *, id_column: str | None = None, encoding: str | None = None
) -> Survey:
    """A survey in a Stata file (`.dta`): as [`read_spss`][]; .a to .z are missing answers.

    **Raises:** as [`read_spss`][].

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> import pyreadstat
        >>> from syndigits_jax.datasets import read_stata
        >>> table = pd.DataFrame({"who": ["ann", "bob"], "car": [1.0, 2.0]})
        >>> labels = {"car": {1: "Yes", 2: "No"}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "survey.dta"
        ...     pyreadstat.write_dta(
        ...         table, path, column_labels={"car": "A car?"}, variable_value_labels=labels
        ...     )
        ...     question = read_stata(path).questions[0]
        >>> print(question.text, question.options[0].label)
        A car? Yes
    """
    return _survey(_read_file(path, STATA, encoding), id_column)


def read_labelled(path: Path, id_column: str | None = None, *, answers: bool = True) -> Survey:
    """What [`read_spss`][] or [`read_stata`][] read, with or without answers."""
    return _survey(_read_file(path, (*SPSS, *STATA), None), id_column, answers)


def _read_file(
    path: str | PathLike[str], suffixes: tuple[str, ...], encoding: str | None
) -> LabelledFile:
    """The variables of a file. **Raises:** as [`read_spss`][]."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: expected a file {', '.join(suffixes)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    frame, meta = _read(path, encoding)
    if not len(frame):
        raise ValueError(f"{path}: has variables, but no people")
    variables, left_out = {}, LeftOut()
    for name in frame.columns:
        labels = (meta.variable_value_labels or {}).get(name) or {}
        found = _variable(frame[name], str(name), meta, labels)
        if isinstance(found, str):
            left_out.add(str(name), str(name), found)
        else:
            variables[str(name)] = found
    sets = _declared(meta, variables) or _apparent(variables)
    return LabelledFile(path, frame, variables, sets, left_out)


def _read(path: Path, encoding: str | None) -> tuple[Any, Any]:
    import_pandas()
    try:
        import pyreadstat  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "SPSS and Stata files need pyreadstat, which is not installed: "
            'pip install "syndigits-jax[labels]"'
        ) from error
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        raise ValueError(f"{path}: is a zip archive: unzip it, and give the {suffix} in it")
    read = {".por": pyreadstat.read_por, ".dta": pyreadstat.read_dta}.get(
        suffix, pyreadstat.read_sav
    )
    try:
        if suffix == ".dta":
            refuse_expanding_stata(path)
        if start == b"$FL3":
            _refuse_expanding(path, functools.partial(read, str(path), encoding=encoding))
        options = {} if suffix == ".por" else {"user_missing": True, "encoding": encoding}
        frame, meta = read(str(path), **options)
        # Variables may share their labels in the file, but not here.
        refuse_expanded(path, _CELL * sum(map(len, (meta.variable_value_labels or {}).values())))
        return frame, meta
    except ExpansionError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # pyreadstat's own class is private
        told = str(error) or type(error).__name__
        coded = "encoding" in told.lower() or "convert" in told.lower()
        hint = "; give its `encoding`, such as 'cp1252'" if coded else "; is it whole?"
        raise ValueError(f"{path}: cannot be read as {suffix} ({told}{hint})") from error


def _refuse_expanding(path: Path, read: Callable[..., tuple[Any, Any]]) -> None:
    """**Raises:** `ExpansionError` for a `.zsav` file, the only kind that is compressed as a whole,
    that holds too much. It is read in parts unless the widths of its variables exclude this."""
    meta = read(metadataonly=True)[1]
    row = sum(max(_CELL, width) for width in meta.variable_storage_width.values())
    most = most_expanded(path)
    if meta.number_rows is not None and meta.number_rows * row <= most:
        return
    rows, done, size = max(1, most // max(1, row)), 0, 0
    while True:
        part = read(row_offset=done, row_limit=rows)[0]
        size += int(part.memory_usage(deep=True).sum())
        refuse_expanded(path, size)
        done += len(part)
        if len(part) < rows:
            return


def _variable(column: Any, name: str, meta: Any, labels: Mapping[Any, str]) -> Variable | str:
    """A numeric variable, or why it is left out."""
    if getattr(column.dtype, "kind", "O") in "mM":
        return "it is a date"
    tagged = set((getattr(meta, "missing_user_values", None) or {}).get(name) or ())
    cells = [math.nan if is_missing(c) or c in tagged else c for c in column.tolist()]
    kinds = (datetime.date, datetime.time, datetime.timedelta)
    if any(isinstance(cell, kinds) for cell in cells):
        return "it is a date or time"
    text = meta.readstat_variable_types.get(name) == "string"
    if text or not all(isinstance(cell, int | float) for cell in cells):
        return _TEXT
    values = np.array(cells, np.float64)
    numeric = {
        float(value): plain(label)
        for value, label in labels.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    ranges = (meta.missing_ranges or {}).get(name) or []
    known = {*values[~np.isnan(values)].tolist(), *numeric}
    missing = frozenset(value for value in known if _within(value, ranges))
    text = plain((meta.column_names_to_labels or {}).get(name)) or name
    measure = (meta.variable_measure or {}).get(name, "")
    return Variable(name, text, values, numeric, missing, measure)


def _within(value: float, ranges: list[Any]) -> bool:
    for one in ranges:
        low, high = (one["lo"], one["hi"]) if isinstance(one, Mapping) else (one, one)
        if isinstance(low, str) or isinstance(high, str):
            continue
        if low <= value <= high:
            return True
    return False


def _declared(meta: Any, variables: Mapping[str, Variable]) -> tuple[tuple[str, ...], ...]:
    """Sets of dichotomies that the file declares."""
    out = []
    for one in (getattr(meta, "mr_sets", None) or {}).values():
        names = [str(name) for name in one.get("variable_list") or ()]
        if one.get("is_dichotomy") and len(names) > 1 and all(n in variables for n in names):
            out.append(tuple(names))
    return tuple(out)


def _apparent(variables: Mapping[str, Variable]) -> tuple[tuple[str, ...], ...]:
    """Neighbours such as Q7_1, Q7_2 that each hold one value and its label, where not missing."""
    groups: dict[tuple[str, float], list[Variable]] = {}
    for one in variables.values():
        stem = _STEM.fullmatch(one.name)
        held = _held(one)
        if stem and stem[1] and len(one.labels) == 1 and held <= set(one.labels):
            groups.setdefault((stem[1], next(iter(one.labels))), []).append(one)
    return tuple(
        tuple(one.name for one in group)
        for group in groups.values()
        if len({*(label for one in group for label in one.labels.values())}) == len(group) > 1
        and all(np.isnan(one.values).any() for one in group)
    )


def _survey(file: LabelledFile, id_column: str | None, answers: bool = True) -> Survey:
    pd = import_pandas()
    key = _identifying(file, id_column)
    questions, columns, notes = [], {}, []
    grouped = {name: group for group in file.groups for name in group}
    for name, one in file.variables.items():
        if name == key:
            continue
        if name in grouped:
            question, values = _of_set(one, [file.variables[other] for other in grouped[name]])
        else:
            question, more = _question(one)
            notes += more
            values = one.answers
        if one.missing and (gone := np.isin(one.values, [*one.missing])).any():
            which = ", ".join(f"{value:g}" for value in sorted({*one.values[gone].tolist()}))
            count = int(gone.sum())
            are = "1 answer is a" if count == 1 else f"{count} answers are"
            notes.append(f"{name}: {are} user-missing code{'s' * (count > 1)} ({which}).")
        questions.append(question)
        columns[name] = values
    if not questions:
        raise ValueError(f"{file.path}: has no numeric variable")
    frame = None
    left_out = {name: why for name, why in file.left_out.items() if name != key}
    if answers and key is None:
        notes.append("No variable identifies people, so their answers are not read (`id_column`).")
    elif answers:
        people = [identifier(cell) for cell in file.frame[key].tolist()]
        frame = pd.DataFrame(columns, index=pd.Index(people, name=key, dtype=object))
    return Survey(tuple(questions), frame, left_out, tuple(notes))


def _identifying(file: LabelledFile, id_column: str | None) -> str | None:
    """The variable that identifies people."""

    def names(name: str) -> list[str]:
        cells = [identifier(cell) for cell in file.frame[name].tolist()]
        return [cell.strip() for cell in cells if cell is not None and cell.strip()]

    def able(name: str) -> bool:
        found = names(name)
        return len(found) == len(file.frame) == len(set(found))

    everything = [str(name) for name in file.frame.columns]
    if id_column is not None:
        if id_column not in everything:
            raise ValueError(f"{file.path}: no variable {id_column!r} (`id_column`)")
        if not able(id_column):
            found = names(id_column)
            again = [name for i, name in enumerate(found) if name in found[:i]]
            why = f"repeats {some(again)}" if again else "has gaps"
            raise ValueError(f"{file.path}: {id_column!r} (`id_column`) {why}")
        return id_column
    first = everything[0]
    labelled = first in file.variables and file.variables[first].labels
    if able(first) and not labelled:
        return first
    texts = [name for name, why in file.left_out.items() if why == _TEXT and able(name)]
    return texts[0] if len(texts) == 1 else None


def _question(one: Variable) -> tuple[Question, list[str]]:
    """A question, with options where labels cover the values, and notes."""
    labels = {value: label for value, label in one.labels.items() if value not in one.missing}
    coded = [value for value in one.labels if value in one.missing]
    held = _held(one)
    notes = []
    options: tuple[Option, ...] = ()
    if len(labels) > 1 or (labels and held <= set(labels)):
        beyond = sorted(held - set(labels))
        inside = all(min(labels) < value < max(labels) for value in beyond)
        if not beyond:
            options = tuple(Option(value, label) for value, label in sorted(labels.items()))
        elif inside and all(value.is_integer() for value in (*beyond, *labels)):
            grid = range(int(min(labels)), int(max(labels)) + 1)
            if len(grid) <= 101:
                options = tuple(Option(float(v), labels.get(float(v), str(v))) for v in grid)
        if not options:
            notes.append(
                f"{one.name}: its labels ({some([*labels.values()])}) do not cover its values, so "
                "that it is an open number."
            )
    refusal = None
    if options and len(coded) == 1:
        refusal = coded[0]
        options = (*options, Option(refusal, one.labels[refusal]))
    elif options and coded:
        told = some([one.labels[value] for value in coded])
        notes.append(f"{one.name}: its several missing codes ({told}) are none of its options.")
    question = Question(one.name, one.text, options, refusal=refusal)
    kind = _KINDS.get(one.measure)
    if question.scale is not None and kind:
        scale: Scale = dataclasses.replace(question.scale, kind=kind)
        question = dataclasses.replace(question, scale=scale)
    return question, notes


def _of_set(one: Variable, group: list[Variable]) -> tuple[Question, np.ndarray]:
    """A choice of a question with several answers: 1 selected, 0 not, NaN if nothing is."""
    label = next((text for value, text in one.labels.items() if value == _counted(one)), "")
    text = one.text if not label or label in one.text else f"{one.text} - {label}"
    answered = np.any([~np.isnan(other.answers) for other in group], axis=0)
    chosen = one.answers == _counted(one)
    return Question(one.name, text, SELECTED), np.where(answered, chosen * 1.0, np.nan)


def _counted(one: Variable) -> float:
    """The value that stands for a choice that was selected: the larger of two, or the only one."""
    return max({*one.labels} - one.missing | _held(one), default=1.0)


def _held(one: Variable) -> set[float]:
    """The values that are answers."""
    return {*one.answers[~np.isnan(one.answers)].tolist()}
