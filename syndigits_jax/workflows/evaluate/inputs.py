"""A user's tables for an evaluation: read, matched and checked, all problems said at once."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from syndigits_jax.datasets import read_questions, read_table
from syndigits_jax.panel import Panel
from syndigits_jax.results.names import nearest
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frames import Table, is_frame
from syndigits_jax.tables.responses import identifier, some
from syndigits_jax.workflows.blocks import warn_of_codes, with_batteries, with_questions
from syndigits_jax.workflows.evaluate.checks import checked_labels, inputs_of
from syndigits_jax.workflows.evaluate.evidence import Inputs
from syndigits_jax.workflows.people import (
    people_column,
    people_labels,
    people_weights,
    without_columns,
)
from syndigits_jax.workflows.problems import Problems


def read_inputs(
    human: Table,
    twin: Table,
    *,
    questions: Table | None = None,
    people: Table | None = None,
    weights: str | None = None,
    groups: Sequence[str] = (),
    blocks: str | None = None,
    arms: str | None = None,
    retest: Table | None = None,
    id_column: str | None = None,
    join: str = "error",
    missing: str | Iterable[Any] = (),
    batteries: bool = False,
) -> Inputs:
    """Read the tables of an evaluation and match them by identifier.

    **Arguments:**

    - `human`, `twin`: the tables of people's and of twins' answers, people x questions. Each table
      here is a path, or a data frame of pandas, polars or Arrow.
    - `questions`: a table or file of questions, for their ranges and blocks.
    - `people`: a table of the people, with columns that describe them.
    - `weights`, `groups`, `arms`: columns of `people`, `human` or `twin`, in this order: a survey
      weight, groups, and the randomised arm of each person.
    - `blocks`: the column of `questions` that names blocks; by default `block`.
    - `retest`: a table of the same people's second answers.
    - `id_column`, `missing`: as in [`read_table`][syndigits_jax.datasets.read_table], for all
      tables of people.
    - `join`: `"inner"` drops people without a twin, and questions that the twins were not asked;
      `"error"` refuses them. Twins of people without any answer are always dropped.
    - `batteries`: as in [`with_batteries`][syndigits_jax.workflows.blocks.with_batteries], where
      nothing else names blocks.

    **Returns:** [`Inputs`][syndigits_jax.workflows.evaluate.evidence.Inputs], whose notes say what
    was left out.

    **Raises:** `ValueError` with a line for each thing that is wrong with the tables, the columns
    and the options; `FileNotFoundError`; `ImportError` without pandas.
    """
    problems, codes = Problems(), MissingCodes.of(missing)
    paths = {"people": people, "human": human, "twin": twin, "retest": retest}
    tables: dict[str, Any] = {}
    for name, path in paths.items():
        with problems.collected():
            if path is not None:
                tables[name] = read_table(
                    path,
                    id_column,
                    missing=codes,
                    numeric=False,
                    questions=questions,
                    argument=name,
                )
    asked: tuple[Any, ...] = ()
    with problems.collected():
        if questions is not None:
            asked = read_questions(questions)
            if blocks is not None:
                asked = _with_blocks(asked, blocks)
        elif blocks is not None:
            problems.say("`blocks` is a column of the file of questions: give `questions` too")
    if not {"human", "twin"} <= set(tables):
        problems.refuse()

    wanted = [("weights", weights), *(("groups", group) for group in groups), ("arms", arms)]
    wanted = [(argument, column) for argument, column in wanted if column is not None]
    answers = {name: tables[name] for name in ("human", "twin")}
    sources = {name: tables[name] for name in ("people", "human", "twin") if name in tables}
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for argument, column in dict.fromkeys(wanted):
        with problems.collected():
            cells[argument, column] = people_column(sources, column, argument)
    known = {column for table in sources.values() for column in table.columns}
    columns = {column for _, column in wanted}
    # What a mistyped column may have meant is no question either, and no second problem.
    meant = {near for column in columns - known for near in nearest(column, known)}
    answers = without_columns(answers, columns | meant)

    panel, notes = None, []
    with problems.collected():
        panel = Panel.from_frames(
            answers["human"], answers["twin"], join=join, new_questions=True, new_users=True,
            missing=codes,
        )  # fmt: skip
        panel, notes = _answered(panel)
    with problems.collected():
        if panel is not None and asked:
            nominal = {q.identifier for q in asked if q.scale and q.scale.kind == "nominal"}
            panel = with_questions(panel, asked)
            panel, more = _without_codes(panel, nominal)
            notes += more
    if panel is None:
        users = [str(identifier(who)) for who in answers["human"].index]
    else:
        users = panel.users
        if batteries and not panel.blocks:
            panel = with_batteries(panel)
    weight, label = None, {}
    for (argument, column), found in cells.items():
        with problems.collected():
            if argument == "weights":
                weight = people_weights(found, users)
            else:
                label[argument, column] = people_labels(found, users)
                if panel is None:  # else they are checked with it
                    checked_labels(label[argument, column], len(users), argument, column)
    inputs = None
    with problems.collected():
        if panel is not None:
            inputs = inputs_of(
                panel,
                weights=weight,
                groups={
                    column: found for (kind, column), found in label.items() if kind == "groups"
                },
                arms=next((found for (kind, _), found in label.items() if kind == "arms"), None),
                retest=tables.get("retest"),
                names=_names(paths | {"questions": questions}),
                notes=notes,
            )
    problems.refuse()
    assert inputs is not None
    warn_of_codes(inputs.panel)
    return inputs


def _names(paths: Mapping[str, Any]) -> dict[str, str]:
    order = ("human", "twin", "questions", "people", "retest")
    given = {name: paths[name] for name in order if paths[name] is not None}
    return {name: Path(path).name for name, path in given.items() if not is_frame(path)}


def _with_blocks(questions: Sequence[Any], column: str) -> tuple[Any, ...]:
    """The questions with their blocks from a column of their table."""
    if column == "block":
        return tuple(questions)
    if not any(column in question.item for question in questions):
        known = ["block", *dict.fromkeys(name for q in questions for name in q.item)]
        close = nearest(column, known)
        tail = f"; did you mean {close[0]!r}?" if close else f"; it has {some(known)}"
        raise ValueError(f"`blocks`: no column {column!r} in the file of questions{tail}")
    return tuple(dataclasses.replace(q, block=q.item.get(column, "")) for q in questions)


def _answered(panel: Panel) -> tuple[Panel, list[str]]:
    """The panel without people who answered nothing, and what was dropped, in sentences."""
    notes = [
        f"{_count(count, kind)} {only} left out, as only one table has {them}."
        for key, kind, only, them in (
            ("human_users", ("person", "people"), "without a twin", "them"),
            ("human_questions", ("question", "questions"), "not put to the twins", "them"),
        )
        if (count := panel.dropped.get(key, 0))
    ]
    silent = panel.new_users
    if silent:
        notes.append(
            f"{_count(len(silent), ('person', 'people'))} without any answer left out, with the "
            "twins."
        )
        panel = panel.drop(users=silent)
    return panel, notes


def _without_codes(panel: Panel, nominal: set[str]) -> tuple[Panel, list[str]]:
    names = [name for name in panel.questions if name in nominal]
    if not names:
        return panel, []
    many = _count(len(names), ("question", "questions"))
    note = f"{many} left out, as answers are codes without an order: {some(names)}."
    return panel.drop(questions=names), [note]


def _count(number: int, words: tuple[str, str]) -> str:
    return f"{number} {words[number != 1]}"
