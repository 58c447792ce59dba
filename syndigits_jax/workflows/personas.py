"""Personas from tables, by kind and options, for `syndigits personas` and pipelines."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.personas import read_personas
from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.datasets.surveys.files import is_survey
from syndigits_jax.datasets.text_tables import read_rows, unique
from syndigits_jax.respond.personas.attributes import (
    DEFAULT_MARGINALS,
    backstory_prompts,
    demographic_prompts,
    read_marginals,
)
from syndigits_jax.respond.personas.builders import (
    demographics_personas,
    summary_personas,
    survey_personas,
    with_json,
)
from syndigits_jax.respond.personas.histories import grounded_prompts, history_personas
from syndigits_jax.results.keys import Key
from syndigits_jax.schema import Persona, Question
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frames import import_pandas, is_frame, place_of
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.files import (
    USER_COLUMNS,
    read_rating_table,
    without_missing,
)
from syndigits_jax.workflows.files import Files
from syndigits_jax.workflows.questions import select_questions

_Path = str | PathLike[str]
_Table = str | PathLike[str] | Any  # or a data frame; a pipeline sees that it is a path


def survey(
    human: _Table,
    questions: _Table,
    *,
    ask: Sequence[str] = (),
    block: Sequence[str] = (),
    ask_questions: _Table | None = None,
    form: str = "text",
    leave_out: str = "block",
    shown: int | None = None,
    characters: int | None = None,
    people: int | None = None,
    id_column: str | None = None,
    missing: str = "",
    files: Files | None = None,
) -> tuple[Persona, ...]:
    """Personas from respondents' answers to a survey, without what will be asked.

    **Arguments:**

    - `human`: a table of human answers. Each table and file here, and in the functions below, is a
      path, or a data frame of pandas, polars or Arrow.
    - `questions`: the catalogue of its questions.
    - `ask`, `block`, `ask_questions`: what will be asked: questions by identifier, all questions of
      blocks, and the questions of a file that are in the catalogue.
    - `form`, `leave_out`, `shown`, `characters`: as in
      [`survey_personas`][syndigits_jax.respond.survey_personas].
    - `people`: use only this many respondents, the first ones; all by default.
    - `id_column`: the column of identifiers; by default the first.
    - `missing`: what stands for a missing answer, as in
      [`read_table`][syndigits_jax.datasets.read_table].
    - `files`: what has been read already; nothing by default.

    **Raises:** `ValueError` naming the argument or the file.
    """
    files = files or Files()
    catalogue = files.questions(questions)
    asked = _asked(catalogue, ask, block, ask_questions, files)
    frame, codes = files.answers(human, id_column, missing, questions)
    codes.warn_unmet(str(place_of(human, "human")))
    frame = _first(frame, people, place_of(human, "human"))
    try:
        return survey_personas(
            frame, catalogue, asked=asked, form=form, leave_out=leave_out, shown=shown,
            characters=characters,
        )  # fmt: skip
    except ValueError as error:
        said = str(error).removeprefix("`answers`: ")  # which are this table
        raise ValueError(f"{place_of(human, 'human')}: {said}") from None


def demographics(
    table: _Table,
    *,
    column: Sequence[str] = (),
    questions: _Table | None = None,
    people: int | None = None,
    id_column: str | None = None,
    files: Files | None = None,
) -> tuple[Persona, ...]:
    """Personas from the demographic variables of a table.

    **Arguments:**

    - `table`: the table.
    - `column`: the columns to use; by default those of the fourteen variables that
      [`demographics_personas`][syndigits_jax.respond.demographics_personas] recognises.
    - `questions`: a catalogue of questions whose options give the meaning of codes.
    - `people`, `id_column`, `files`: as in [`survey`][].

    **Raises:** `ValueError` naming the argument or the file.
    """
    files = files or Files()
    if not is_frame(table) and is_survey(table):  # its cells are codes of its own questions
        frame = files.answers(table, id_column, "", questions)[0]
        coded = files.questions(table if questions is None else questions)
    else:
        frame = _text_frame(table, id_column)
        coded = () if questions is None else files.questions(questions)
    frame = _first(frame, people, place_of(table, "table"))
    try:
        return demographics_personas(frame, list(column) or None, questions=coded)
    except ValueError as error:
        raise ValueError(f"{place_of(table, 'table')}: {error}") from None


def summary(
    table: _Table,
    *,
    column: str = "summary",
    surveys: _Table | None = None,
    people: int | None = None,
    id_column: str | None = None,
) -> tuple[Persona, ...]:
    """Personas from summaries in a table.

    **Arguments:**

    - `table`: the table.
    - `column`: the column of the summaries.
    - `surveys`: personas of the same people; their texts are put before the summaries.
    - `people`, `id_column`: as in [`survey`][].

    **Raises:** `ValueError` naming the argument or the file.
    """
    frame = _first(_text_frame(table, id_column), people, place_of(table, "table"))
    try:
        summaries = summary_personas(frame, column)
        return summaries if surveys is None else with_json(summaries, read_personas(surveys))
    except ValueError as error:
        raise ValueError(f"{place_of(table, 'table')}: {error}") from None


def history(
    ratings: _Table,
    items: _Table,
    *,
    ask: Sequence[str] = (),
    ask_questions: _Table | None = None,
    shown: int = 250,
    in_context: bool = False,
    as_text: bool = False,
    user: Sequence[str] = (),
    people: int | None = None,
    key: Key = 0,
    missing: str = "",
    files: Files | None = None,
) -> tuple[Persona, ...]:
    """Personas from users' rating histories.

    **Arguments:**

    - `ratings`, `items`: the tables, or MovieLens folders.
    - `ask`, `ask_questions`: the items that will be asked, by identifier and as the questions of a
      file.
    - `shown`, `in_context`, `as_text`, `key`: as in
      [`history_personas`][syndigits_jax.respond.history_personas].
    - `user`: identifiers of the users; by default all, or the first `people` of them.
    - `people`: number of users; not together with `user`.
    - `missing`: what stands for a missing rating; its row is left out.
    - `files`: as in [`survey`][].

    **Raises:** `ValueError` naming the argument or the file.
    """
    files = files or Files()
    table, fields = _rated(ratings, items, missing, files)
    asked = _identifiers(ask, ask_questions, files)
    users = list(user) or None
    if people is not None:
        if users is not None:
            raise ValueError("`people`: give either users or how many, not both")
        rated = [name for name, n in zip(table.users, table.user_counts()) if n]
        users = rated[: _enough(people, len(rated), place_of(ratings, "ratings"))]
    return history_personas(
        table, fields, shown=shown, asked=asked or None,
        in_context=in_context, as_text=as_text, users=users, key=key,
    )  # fmt: skip


def sampled(
    people: int = 100, *, marginals: _Path | None = None, key: Key = 0
) -> tuple[Persona, ...]:
    """Personas with attributes drawn from marginals, for which a model is to write the texts.

    `marginals`: path of a TOML file; by default those of the package. `key`: a JAX random key or an
    integer.

    **Raises:** `ValueError` naming the argument or the file.
    """
    shares = DEFAULT_MARGINALS if marginals is None else read_marginals(marginals)
    return demographic_prompts(people, shares, key=key)


def backstory(people: int = 100) -> tuple[Persona, ...]:
    """Personas without attributes, for which a model is to write the texts.

    **Raises:** `ValueError` naming the argument.
    """
    return backstory_prompts(people)


def grounded(
    ratings: _Table,
    items: _Table,
    people: int = 100,
    *,
    shown: int = 20,
    ask: Sequence[str] = (),
    ask_questions: _Table | None = None,
    fewest: int = 10,
    category_label: str = "films",
    key: Key = 0,
    missing: str = "",
    files: Files | None = None,
) -> tuple[Persona, ...]:
    """Personas with real users' highest-rated items, from which a model is to write the texts.

    **Arguments:**

    - `ratings`, `items`: the tables, or MovieLens folders.
    - `people`, `shown`, `fewest`, `category_label`, `key`: as in
      [`grounded_prompts`][syndigits_jax.respond.grounded_prompts].
    - `ask`, `ask_questions`: the items that will be asked, by identifier and as the questions of a
      file; they are not shown.
    - `missing`: what stands for a missing rating; its row is left out.
    - `files`: as in [`survey`][].

    **Raises:** `ValueError` naming the argument or the file.
    """
    files = files or Files()
    table, fields = _rated(ratings, items, missing, files)
    return grounded_prompts(
        table, fields, people, shown=shown, fewest=fewest, category_label=category_label,
        exclude=_identifiers(ask, ask_questions, files), key=key,
    )  # fmt: skip


def rewritten(personas: _Table) -> tuple[Persona, ...]:
    """Personas of a file, from which a model is to write other texts, such as summaries.

    **Raises:** `ValueError` naming the file.
    """
    return read_personas(personas)


KINDS: dict[str, Callable[..., tuple[Persona, ...]]] = {
    "survey": survey,
    "demographics": demographics,
    "summary": summary,
    "history": history,
    "sampled": sampled,
    "backstory": backstory,
    "grounded": grounded,
    "rewritten": rewritten,
}
"""The function that builds personas of each kind, by the name of its command."""

FROM_FILES = ("survey", "demographics", "history", "grounded")
"""Kinds whose functions take `files`, what has been read already."""

WRITTEN_KINDS = ("sampled", "backstory", "grounded", "rewritten")
"""Kinds whose texts a model is to write."""


def _asked(
    catalogue: Sequence[Question],
    ask: Sequence[str],
    blocks: Sequence[str],
    path: _Table | None,
    files: Files,
) -> list[str]:
    chosen = select_questions(catalogue, ask, blocks) if ask or blocks else ()
    asked = dict.fromkeys(question.identifier for question in chosen)
    known = {question.identifier for question in catalogue}
    if path is not None:
        found = [q.identifier for q in files.questions(path) if q.identifier in known]
        if not found:
            raise ValueError(
                f"`ask_questions`: none of the questions of {place_of(path, 'questions')} is in "
                "the catalogue of the survey, so nothing is to be left out; do without it"
            )
        asked |= dict.fromkeys(found)
    return list(asked)


def _identifiers(ask: Iterable[str], path: _Table | None, files: Files) -> list[str]:
    """Identifiers of what will be asked, each once."""
    asked = [*ask]
    if path is not None:
        asked += [question.identifier for question in files.questions(path)]
    return list(dict.fromkeys(asked))


def _first(frame: Any, people: int | None, path: Path) -> Any:
    return frame if people is None else frame.iloc[: _enough(people, len(frame), path)]


def _enough(people: int, there: int, path: Path) -> int:
    if not 1 <= people <= there:
        raise ValueError(f"`people`: {people} wanted, but {path} has {there}")
    return people


def _text_frame(path: _Table, id_column: str | None) -> Any:
    """A table of text as a data frame, identifiers in the index."""
    pd = import_pandas()
    header, rows = read_rows(path)
    key = 0 if id_column is None else int(positions(header, [id_column], "id_column")[0])
    names = unique(place_of(path, "table"), [row[key] for row in rows])
    index = pd.Index(names, name=header[key], dtype=object)
    return pd.DataFrame(rows, index=index, columns=list(header)).drop(columns=header[key])


def _rated(
    ratings: _Table, items: _Table, missing: str, files: Files
) -> tuple[RatingTable, dict[str, dict[str, str]]]:
    """The ratings of the items in the items file, and the items' fields; `ratings`, `items` may be
    MovieLens folders."""
    fields = files.items(items)
    if not is_frame(ratings) and Path(ratings).is_dir():
        ratings = Path(ratings) / "ratings.csv"
    place = place_of(ratings, "ratings")
    codes = MissingCodes.of(missing)
    frame = without_missing(files.columns(ratings), codes)
    codes.warn_unmet(str(place))
    return read_rating_table(frame, place, USER_COLUMNS, tuple(fields))[0], fields
