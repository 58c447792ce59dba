"""Reading and writing of questions: survey catalogues and a user's own tables.

Entries are checked here rather than by a library: they are converted at the same time (labels to
coded options, cells to numbers), and tables, lists and catalogues share these checks.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..results.files import write_text
from ..schema import SCALE_KINDS, Option, Question, Scale
from ..tables.frames import is_frame, place_of
from .distributions import REFUSED
from .surveys.files import is_survey, read_survey_questions
from .syn_digits import twin_question
from .text_tables import (
    TABLES,
    as_text,
    entry_text,
    known_keys,
    read_json,
    read_rows,
    suffix_of,
    text_mapping,
    unique,
)

_FIELDS = (
    "identifier", "text", "options", "scale", "refusal", "reverse_coded", "block", "item",
)  # fmt: skip
_COLUMNS = (
    "identifier", "text", "options", "low", "high", "step", "kind", "refusal", "reverse_coded",
    "block",
)  # fmt: skip
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0", "")


def read_questions(path: str | PathLike[str] | Any) -> tuple[Question, ...]:
    """Questions, in the order of the file, whose format is recognised from its content.

    - A `.json` object of questions by identifier: the Twin-2K-500 catalogue, as in
      [`read_twin_2k_500_questions`][syndigits_jax.datasets.read_twin_2k_500_questions], or that of
      OpinionQA (`question`, `choices`, `choice_to_numeric`): its questions carry their options at
      the end of the text, from which they are removed; the option "Refused" is the refusal.
    - A `.json` list of objects with the fields of [`Question`][], of which only `identifier` is
      needed. `options` are `{"value": 1, "label": "Yes"}` or just labels, coded 1, 2, ...; `scale`
      is `{"low": 0, "high": 100, "step": 1}`, also with `kind`. This is what
      [`write_questions`][] writes.
    - A `.csv`, `.tsv` or `.parquet` table, or a data frame of pandas, polars or Arrow, a row per
      question, columns `identifier` and, as far as there are any, `text` (or, where there is none,
      `question`), `options` (`1=Yes|2=No`, or `Yes|No` coded 1, 2), `low`, `high`, `step` and
      `kind` (ordinal, interval or nominal) of the scale, `refusal`, `reverse_coded` (true or
      false), `block`. Any other column is a field of the item.
    - A `.qsf` questionnaire of Qualtrics ([`read_qualtrics`][]), or an SPSS or Stata file
      ([`read_spss`][], [`read_stata`][]); also Qualtrics' export of answers with its three header
      rows, which has no options. A warning says which questions are left out.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file and the entry that is wrong;
    `ImportError` without pandas (Parquet) or pyreadstat (SPSS, Stata).

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from syndigits_jax.datasets import read_questions
        >>> table = pd.DataFrame({"identifier": ["q1"], "options": ["1=Yes|2=No"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "questions.csv"
        ...     table.to_csv(path, index=False)
        ...     print(read_questions(path)[0].options)
        (Option(value=1.0, label='Yes'), Option(value=2.0, label='No'))
    """
    if is_frame(path):
        return _from_table(path)
    path = Path(path)
    if is_survey(path):
        return read_survey_questions(path)
    if suffix_of(path) in TABLES:
        return _from_table(path)
    if suffix_of(path) != ".json":
        raise ValueError(
            f"{path}: unknown format of questions; expected .json, .csv, .tsv, .parquet, .qsf, "
            ".sav or .dta"
        )
    content = read_json(path)
    if isinstance(content, list):
        questions = _each(path, enumerate(content, start=1), _from_entry)
    elif isinstance(content, dict) and _all_have(content, "text", "options", "range"):
        questions = _each(path, content.items(), _twin_2k_500)
    elif isinstance(content, dict) and _all_have(content, "question", "choices"):
        questions = _each(path, content.items(), _opinionqa)
    else:
        raise ValueError(
            f"{path}: expected a list of questions, or the catalogue of Twin-2K-500 or OpinionQA"
        )
    if not questions:
        raise ValueError(f"{path}: there are no questions in it")
    unique(path, [question.identifier for question in questions])
    return questions


def write_questions(path: str | PathLike[str], questions: Iterable[Question]) -> None:
    """Write questions as a `.json` that [`read_questions`][] reads back unchanged.

    The file is written completely or not at all. **Raises:** `ValueError` for another suffix,
    repeated identifiers, or a refusal that is not a number.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.datasets import read_questions, write_questions
        >>> from syndigits_jax.schema import Question, Scale
        >>> questions = [Question("q1", "How old are you?", scale=Scale(18, 99, 1))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "questions.json"
        ...     write_questions(path, questions)
        ...     print(list(read_questions(path)) == questions)
        True
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"{path}: questions are written as .json")
    questions = tuple(questions)
    unique(path, [question.identifier for question in questions])
    entries = [_entry(question) for question in questions]
    write_text(path, json.dumps(entries, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _entry(question: Question) -> dict[str, Any]:
    scale = question.scale
    return {
        "identifier": question.identifier,
        "text": question.text,
        "options": [{"value": o.value, "label": o.label} for o in question.options],
        "scale": scale
        and {"low": scale.low, "high": scale.high, "step": scale.step, "kind": scale.kind},
        "refusal": question.refusal,
        "reverse_coded": question.reverse_coded,
        "block": question.block,
        "item": dict(question.item),
    }


def _all_have(content: Mapping[str, Any], *keys: str) -> bool:
    return bool(content) and all(
        isinstance(entry, Mapping) and all(key in entry for key in keys)
        for entry in content.values()
    )


def _each(path: Path, entries: Iterable[tuple[Any, Any]], build: Any) -> tuple[Question, ...]:
    questions = []
    for key, entry in entries:
        try:
            questions.append(build(key, entry))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            name = str(key).encode(errors="backslashreplace").decode()
            raise ValueError(f"{path}: question {name}: {error}") from error
    return tuple(questions)


def _twin_2k_500(name: Any, entry: Mapping[str, Any]) -> Question:
    """A question of a catalogue, after checking its texts for lone surrogates."""
    question = twin_question(name, entry)
    for text in (question.identifier, question.text, question.block):
        as_text(text, "its text")
    for option in question.options:
        as_text(option.label, "`options`: a label")
    return question


def _from_entry(key: Any, entry: Any) -> Question:
    entry = known_keys(entry, _FIELDS)
    if "identifier" not in entry:
        raise ValueError("it has no `identifier`")
    reverse = entry.get("reverse_coded", False)
    if not isinstance(reverse, bool):
        raise ValueError(f"`reverse_coded` must be true or false, got {reverse!r}")
    refusal = entry.get("refusal")
    return Question(
        identifier=entry_text(entry, "identifier").strip() and entry_text(entry, "identifier"),
        text=entry_text(entry, "text"),
        options=_options(entry.get("options") or []),
        scale=_scale(entry.get("scale")),
        refusal=None if refusal is None else _number(refusal, "`refusal`"),
        reverse_coded=reverse,
        block=entry_text(entry, "block"),
        item=text_mapping(entry.get("item") or {}, "`item`"),
    )


def _options(given: Any) -> tuple[Option, ...]:
    if not isinstance(given, list):
        raise ValueError(f"`options` must be a list, got {given!r:.80}")
    coded = [isinstance(option, Mapping) for option in given]
    if any(coded) and not all(coded):
        raise ValueError("`options`: some have values and some have none")
    options = []
    for position, option in enumerate(given, start=1):
        if isinstance(option, Mapping):
            option = known_keys(option, ("value", "label"))
            if "value" not in option:
                raise ValueError(f"`options`: number {position} has no `value`")
            value = _number(option["value"], f"`options`: the value of number {position}")
            label = as_text(option.get("label", option["value"]), "`options`: a label")
        else:
            value, label = position, as_text(option, "`options`: a label")
        options.append(Option(value, label))
    return tuple(options)


def _scale(given: Any) -> Scale | None:
    if given is None:
        return None
    if isinstance(given, list) and len(given) in (2, 3):
        given = dict(zip(("low", "high", "step"), given))
    given = known_keys(given, ("low", "high", "step", "kind"))
    if not {"low", "high"} <= set(given):
        raise ValueError("`scale` needs `low` and `high`")
    step = given.get("step")
    return Scale(
        _number(given["low"], "`scale`: `low`"),
        _number(given["high"], "`scale`: `high`"),
        None if step is None else _number(step, "`scale`: `step`"),
        given.get("kind", "ordinal"),
    )


def _number(value: Any, what: str) -> float:
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a number, got {value!r}")
    return number


def _opinionqa(name: Any, entry: Mapping[str, Any]) -> Question:
    labels = [as_text(label, "`choices`") for label in entry["choices"]]
    codes = entry.get("choice_to_numeric") or dict(zip(labels, range(1, len(labels) + 1)))
    missing = [label for label in labels if label not in codes]
    if missing:
        raise ValueError(f"`choice_to_numeric` has no {missing[0]!r}")
    options = tuple(Option(_number(codes[label], f"{label!r}"), label) for label in labels)
    refused = [option.value for option in options if option.label == REFUSED]
    return Question(
        identifier=as_text(name, "its identifier"),
        text=_without_options(as_text(entry["question"], "`question`"), labels),
        options=options,
        refusal=refused[0] if refused else None,
    )


def _without_options(text: str, labels: Sequence[str]) -> str:
    """The text of the question without the list of its options at the end, if it has one."""
    start = text.rfind("[")
    if start >= 0 and text.rstrip().endswith("]") and all(x in text[start:] for x in labels):
        return text[:start].rstrip()
    return text


def _from_table(table: Any) -> tuple[Question, ...]:
    path = place_of(table, "questions")
    header, rows = read_rows(table)
    if "identifier" not in header:
        raise ValueError(f"{path}: no column 'identifier'; there are {list(header)}")
    names = unique(path, [row[header.index("identifier")] for row in rows])
    entries = ((name, dict(zip(header, row))) for name, row in zip(names, rows))
    return _each(path, entries, _from_row)


def _from_row(name: Any, row: Mapping[str, str]) -> Question:
    cells = {column: row.get(column, "").strip() for column in _COLUMNS}
    numbers = {
        column: _number(cells[column], f"`{column}`") if cells[column] else None
        for column in ("low", "high", "step", "refusal")
    }
    low, high, step = numbers["low"], numbers["high"], numbers["step"]
    if (low is None) != (high is None) or (low is None and step is not None):
        raise ValueError("`low` and `high` are given together, or neither")
    reverse = cells["reverse_coded"].lower()
    if reverse not in (*_TRUE, *_FALSE):
        raise ValueError(f"`reverse_coded` must be true or false, got {reverse!r}")
    words = "text" if "text" in row else "question"
    question = Question(
        identifier=str(name),
        text=row.get(words, ""),
        options=_cell_options(cells["options"]),
        scale=None if low is None or high is None else Scale(low, high, step),
        refusal=numbers["refusal"],
        reverse_coded=reverse in _TRUE,
        block=cells["block"],
        item={
            column: cell
            for column, cell in row.items()
            if column not in (*_COLUMNS, words) and cell
        },
    )
    kind = cells["kind"].lower()
    if not kind:
        return question
    if kind not in SCALE_KINDS:
        raise ValueError(f"`kind` is that of the scale, one of {SCALE_KINDS}, got {kind!r}")
    if question.scale is None:
        raise ValueError("`kind` needs a scale: `low` and `high`, or two `options`")
    return dataclasses.replace(question, scale=dataclasses.replace(question.scale, kind=kind))


def _cell_options(cell: str) -> tuple[Option, ...]:
    """Options written as `1=Yes|2=No` or `Yes|No`; a label may contain "="."""
    if not cell:
        return ()
    parts = [part.strip() for part in cell.split("|")]
    if not all(parts):
        raise ValueError(f"`options`: {cell!r} has an empty option")
    split = [part.split("=", 1) for part in parts]
    coded = [len(pair) == 2 and _is_number(pair[0]) for pair in split]
    if any(coded) and not all(coded):
        raise ValueError(f"`options`: some of {cell!r} have values and some have none")
    if all(coded):
        return tuple(Option(float(value), label.strip()) for value, label in split)
    return tuple(Option(float(i), label) for i, label in enumerate(parts, start=1))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
