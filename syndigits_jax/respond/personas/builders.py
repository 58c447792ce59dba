"""Personas from survey answers, demographics and summaries (SYN-DIGITS, Table 3, appendix A.3)."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...schema import Persona, Question
from ...solvers.boundary import is_missing
from ...solvers.checks import check_count
from ...tables.frame_table import FrameTable
from ...tables.frames import as_pandas, is_frame
from ...tables.responses import identifiers, positions, some

FORMS = ("text", "json")
LEAVE_OUT = ("block", "question")

DEMOGRAPHICS = {
    "region": ("geographic region", "census region", "location"),
    "sex": ("gender",),
    "age": ("age group",),
    "education": ("education level", "highest education"),
    "race": ("race or origin", "ethnicity"),
    "citizenship": ("citizen", "us citizen"),
    "marital status": ("marital",),
    "religion": (),
    "religious attendance": ("church attendance", "attendance"),
    "political party": ("party", "political affiliation", "party affiliation"),
    "household income": ("income",),
    "political ideology": ("ideology", "political views"),
    "household size": (),
    "employment status": ("employment",),
}
"""The fourteen demographic variables of SYN-DIGITS, appendix A.3, each with its synonyms."""


def survey_personas(
    answers: Any,
    questions: Sequence[Question],
    *,
    asked: Iterable[str] = (),
    form: str = "text",
    leave_out: str = "block",
    shown: int | None = None,
    characters: int | None = None,
    respondents: Iterable[str] | None = None,
) -> tuple[Persona, ...]:
    """Personas that consist of respondents' answers to a survey, as text or as JSON.

    A persona does not contain what will be asked of it: the questions `asked`, the other questions
    of their blocks, and questions with the same wording are left out.

    **Arguments:**

    - `answers`: a data frame of numbers, respondents in the index (of polars or Arrow the first
      column) and questions in the columns. Missing answers and refusals are skipped. Answers to
      questions with options are shown by the option's label, other answers as numbers.
    - `questions`: the questions of all columns; there may be more.
    - `asked`: identifiers of the questions that will be asked.
    - `form`: `"text"`, one line each for question and answer, or `"json"`, objects by block.
    - `leave_out`: `"block"`, as above, or `"question"`: leave out only the questions asked and
      those with the same wording, and show the others of their blocks.
    - `shown`: the most answers shown; all by default.
    - `characters`: the most characters of a persona's text; no limit by default. 5,000 suit a
      context of 2,048 tokens. With either limit, answers are taken from all blocks in turn; those
      that no longer fit are skipped.
    - `respondents`: identifiers of the respondents to use, in this order; all by default.

    **Returns:** one persona per respondent, with the respondent's identifier.

    **Raises:** `ValueError` naming the argument for unknown questions or respondents, columns
    without a question, answers that are none of a question's options, or a respondent without an
    answer to show.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.respond import survey_personas
        >>> from syndigits_jax.schema import Option, Question
        >>> options = (Option(1, "Yes"), Option(2, "No"))
        >>> questions = [Question("car", "A car?", options), Question("dog", "A dog?", options)]
        >>> answers = pd.DataFrame({"car": [1, 2], "dog": [2, 1]}, index=["ann", "bob"])
        >>> personas = survey_personas(answers, questions, asked=["dog"])
        >>> print(personas[0].identifier, "A dog?" in personas[0].text)
        ann False
    """
    for name, value, known in (("form", form, FORMS), ("leave_out", leave_out, LEAVE_OUT)):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}, got {value!r}")
    for name, limit in (("shown", shown), ("characters", characters)):
        if limit is not None:
            check_count(name, limit)
    table = FrameTable.read(answers, "answers", None)
    by_name = dict(zip(identifiers([q.identifier for q in questions], "questions"), questions))
    unknown = [name for name in table.questions if name not in by_name]
    if unknown:
        raise ValueError(
            f"`answers`: {len(unknown)} columns are not among the questions ({some(unknown)}); "
            "drop them, or add what they ask"
        )
    kept_questions = _questions_to_show(by_name, table.questions, asked, leave_out)
    rows = range(len(table.users))
    if respondents is not None:
        rows = positions(table.users, respondents, "respondents").tolist()
    personas, empty = [], []
    for i in rows:
        entries = [
            (question, _answer_text(question, value, table.users[i]))
            for question, j in kept_questions
            if not math.isnan(value := table.values[i, j]) and value != question.refusal
        ]
        entries = _limited(entries, form, shown, characters)
        if entries:
            personas.append(Persona(table.users[i], _written(entries, form)))
        else:
            empty.append(table.users[i])
    if empty:
        raise ValueError(
            f"`answers`: {len(empty)} respondents have no answer to show ({some(empty)}); "
            "leave them out, or ask fewer questions"
        )
    return tuple(personas)


def demographics_personas(
    table: Any, columns: Sequence[str] | None = None, *, questions: Iterable[Question] = ()
) -> tuple[Persona, ...]:
    """Personas that consist of demographics only, one variable per line.

    Each variable is also an attribute, named like the column in lower case with underscores, so
    that templates can use it as a slot.

    **Arguments:**

    - `table`: a data frame, people in the index (of polars or Arrow the first column). Empty cells
      are skipped.
    - `columns`: the columns to use; by default those of the fourteen [`DEMOGRAPHICS`][] that the
      table has, by name or synonym, ignoring case.
    - `questions`: for columns of codes, the questions whose options give their meaning; a
      question's identifier is the name of its column.

    **Raises:** `ValueError` naming the argument for absent columns (by default, if the table has
    none of the fourteen), codes that are no option, or a person without any value.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.respond import demographics_personas
        >>> table = pd.DataFrame({"Age": ["18 to 39"], "Job": ["nurse"]}, index=["ann"])
        >>> print(demographics_personas(table, ["Age", "Job"])[0].attributes)
        {'age': '18 to 39', 'job': 'nurse'}
    """
    rows, names, cells = _people(table, "table")
    chosen = _demographic_columns(names) if columns is None else list(columns)
    where = positions(names, chosen, "columns")
    coded = {question.identifier: question for question in questions}
    personas = []
    for i, person in enumerate(rows):
        facts = {}
        for j in where:
            text = _fact(cells[j][i], coded.get(names[j]), person)
            if text:
                facts[names[j]] = text
        if not facts:
            raise ValueError(f"`table`: nothing is known about {person!r}")
        lines = [f"{name[:1].upper()}{name[1:]}: {fact}" for name, fact in facts.items()]
        text = "The person's demographics are the following.\n" + "\n".join(lines)
        personas.append(Persona(person, text, {_slot(k): v for k, v in facts.items()}))
    return tuple(personas)


def summary_personas(table: Any, column: str = "summary") -> tuple[Persona, ...]:
    """Personas whose text is an existing summary, in the column `column` of a table.

    `table` is a data frame with people in the index (of polars or Arrow the first column); its
    other columns become attributes.
    To have a model write summaries, use the template `persona-summary` and
    [`written_personas`][].

    **Raises:** `ValueError` if the column is absent or a summary is empty.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.respond import summary_personas
        >>> table = pd.DataFrame({"summary": ["A nurse of 30."]}, index=["ann"])
        >>> print(summary_personas(table)[0].text)
        A nurse of 30.
    """
    people, names, columns = _people(table, "table")
    summary = int(positions(names, [column], "column")[0])
    personas = []
    for i, person in enumerate(people):
        cells = [_fact(column[i], None, person) for column in columns]
        if not cells[summary].strip():
            raise ValueError(f"`table`: the {column!r} of {person!r} is empty")
        facts = {_slot(names[j]): cell for j, cell in enumerate(cells) if j != summary and cell}
        personas.append(Persona(person, cells[summary], facts))
    return tuple(personas)


def with_json(summaries: Sequence[Persona], surveys: Sequence[Persona]) -> tuple[Persona, ...]:
    """The hybrid construction: a survey as JSON, followed by the summary of the same person.

    Personas are in the order of `summaries`. They have the attributes of both; where names
    coincide, the summary's.

    **Raises:** `ValueError` if the two are not of the same people.

    **Example:**

        >>> from syndigits_jax.respond import with_json
        >>> from syndigits_jax.schema import Persona
        >>> summaries = [Persona("ann", "A nurse of 30.")]
        >>> surveys = [Persona("ann", '{"car": "Yes"}')]
        >>> print(with_json(summaries, surveys)[0].text.splitlines()[0])
        {"car": "Yes"}
    """
    survey = dict(zip(identifiers([p.identifier for p in surveys], "surveys"), surveys))
    names = identifiers([p.identifier for p in summaries], "summaries")
    unmatched = sorted(set(names) ^ set(survey))
    if unmatched:
        raise ValueError(
            f"`surveys`: {len(unmatched)} people have a survey or a summary, not both "
            f"({some(unmatched)})"
        )
    return tuple(
        replace(
            survey[name],
            text=f"{survey[name].text}\n\nSummary of this person:\n{summary.text}",
            attributes={**survey[name].attributes, **summary.attributes},
        )
        for name, summary in zip(names, summaries)
    )


def _questions_to_show(
    by_name: dict[str, Question], columns: Sequence[str], asked: Iterable[str], leave_out: str
) -> list[tuple[Question, int]]:
    """The questions that may be shown, with their columns."""
    names = identifiers(asked, "asked")
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ValueError(f"`asked`: not among the questions: {some(absent)}")
    out, blocks = set(names), {by_name[name].block for name in names}
    wordings = {_wording(by_name[name]) for name in names}
    kept_questions = []
    for j, column in enumerate(columns):
        question = by_name[column]
        same_block = leave_out == "block" and question.block and question.block in blocks
        if column not in out and not same_block and _wording(question) not in wordings:
            kept_questions.append((question, j))
    return kept_questions


def _wording(question: Question) -> str:
    """Text and item fields, normalised; equal for one question under two identifiers."""
    words = (question.text, *(f"{k}:{v}" for k, v in sorted(question.item.items())))
    text = " ".join(" ".join(words).casefold().split())
    return text or question.identifier


def _answer_text(question: Question, value: float, who: str) -> str:
    """An answer in words."""
    if not question.options:
        number = np.format_float_positional(value, trim="-")
        scale = question.scale
        return number if scale is None else f"{number} (from {scale.low:g} to {scale.high:g})"
    for option in question.options:
        if option.value == value:
            return option.label
    raise ValueError(
        f"`answers`: {value:g}, by {who!r} to question {question.identifier!r}, is none of its "
        f"options ({', '.join(f'{option.value:g}' for option in question.options)})"
    )


def _limited(
    entries: list[tuple[Question, str]], form: str, shown: int | None, characters: int | None
) -> list[tuple[Question, str]]:
    """As many entries as allowed, spread over blocks, in their original order."""
    if shown is None and characters is None:
        return entries
    seen: dict[str, int] = {}
    ranks = []
    for position, (question, _) in enumerate(entries):
        block = question.block or f"\0{position}"
        ranks.append((seen.setdefault(block, 0), position))
        seen[block] += 1
    kept: list[int] = []
    for _, position in sorted(ranks):
        if shown is not None and len(kept) == shown:
            break
        trial = sorted([*kept, position])
        if characters is None or len(_written([entries[p] for p in trial], form)) <= characters:
            kept = trial
    return [entries[p] for p in kept]


def _written(entries: Sequence[tuple[Question, str]], form: str) -> str:
    if form == "text":
        return "\n\n".join(
            f"Question: {_text(question)}\nAnswer: {answer}" for question, answer in entries
        )
    blocks: dict[str, list[dict[str, str]]] = {}
    for question, answer in entries:
        pair = {"question": _text(question), "answer": answer}
        blocks.setdefault(question.block or "Survey", []).append(pair)
    return json.dumps(blocks, ensure_ascii=False, indent=1)


def _text(question: Question) -> str:
    return question.text.strip() or question.identifier


def _people(table: Any, argument: str) -> tuple[tuple[str, ...], list[str], list[list[Any]]]:
    """People, names of columns, and the cells by column of a table."""
    if is_frame(table) and hasattr(table, "__len__") and not len(table):
        raise ValueError(f"`{argument}` has no rows")
    frame = as_pandas(table, argument)
    names = identifiers(frame.columns, f"{argument} (columns)")
    cells = [frame.iloc[:, j].tolist() for j in range(len(names))]
    return identifiers(frame.index, f"{argument} (rows)"), list(names), cells


def _demographic_columns(names: Sequence[str]) -> list[str]:
    known = {" ".join(name.lower().replace("_", " ").split()): name for name in names}
    chosen = []
    for variable, others in DEMOGRAPHICS.items():
        found = [known[name] for name in (variable, *others) if name in known]
        chosen.extend(found[:1])
    if not chosen:
        raise ValueError(
            f"`columns`: the table has none of {', '.join(DEMOGRAPHICS)}; name those it has"
        )
    return chosen


def _fact(cell: Any, question: Question | None, who: str) -> str:
    if is_missing(cell):
        return ""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if question is not None and question.options:
        try:
            value = float(cell)
        except (TypeError, ValueError):
            return str(cell).strip()  # already text
        return "" if value == question.refusal else _answer_text(question, value, who)
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _slot(name: str) -> str:
    """A column's name as a slot of a template."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
