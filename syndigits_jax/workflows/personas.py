"""Personas built from files: what `syndigits personas` and pipelines call, by kind and options."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.films import read_items
from syndigits_jax.datasets.personas import read_personas
from syndigits_jax.datasets.questions import read_questions
from syndigits_jax.datasets.rating_files import read_columns
from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.datasets.tables import read_table
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
from syndigits_jax.schema import Persona, Question
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frames import import_pandas
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.files import (
    USER_COLUMNS,
    read_item_table,
    read_rating_table,
    without_missing,
)

_Path = str | PathLike[str]


def survey(
    human: _Path,
    questions: _Path,
    *,
    ask: Sequence[str] = (),
    block: Sequence[str] = (),
    ask_questions: _Path | None = None,
    form: str = "text",
    leave_out: str = "block",
    shown: int | None = None,
    characters: int | None = None,
    people: int | None = None,
    id_column: str | None = None,
    missing: str = "",
) -> tuple[Persona, ...]:
    """Respondents' answers to a survey, without what will be asked.

    **Arguments:** `human`: a table of human answers; `questions`: the catalogue of its columns.
    What will be asked: questions by identifier (`ask`), whole blocks (`block`), or those of a
    file (`ask_questions`), as far as the catalogue has them. `people`: only the
    first so many respondents. `shown`: at most so many answers are told. `missing`: what stands
    for a missing answer, as in [`read_table`][syndigits_jax.datasets.read_table]. The others as in
    [`survey_personas`][syndigits_jax.respond.survey_personas].

    **Raises:** `ValueError` naming the argument or the file.
    """
    catalogue = read_questions(questions)
    asked = _asked(catalogue, ask, block, ask_questions)
    frame = read_table(human, id_column, missing=missing, numeric=False)
    frame = _first(frame, people, human)
    try:
        return survey_personas(
            frame, catalogue, asked=asked, form=form, leave_out=leave_out, shown=shown,
            characters=characters,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{human}: {error}") from None


def demographics(
    table: _Path,
    *,
    column: Sequence[str] = (),
    questions: _Path | None = None,
    people: int | None = None,
    id_column: str | None = None,
) -> tuple[Persona, ...]:
    """Demographic variables of a table; `questions` say what its codes mean.

    **Raises:** `ValueError` naming the argument or the file.
    """
    coded = () if questions is None else read_questions(questions)
    frame = _first(_text_frame(table, id_column), people, table)
    try:
        return demographics_personas(frame, list(column) or None, questions=coded)
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None


def summary(
    table: _Path,
    *,
    column: str = "summary",
    surveys: _Path | None = None,
    people: int | None = None,
    id_column: str | None = None,
) -> tuple[Persona, ...]:
    """Summaries of a table, behind the `surveys` (personas of the same people) if given.

    **Raises:** `ValueError` naming the argument or the file.
    """
    frame = _first(_text_frame(table, id_column), people, table)
    try:
        summaries = summary_personas(frame, column)
        return summaries if surveys is None else with_json(summaries, read_personas(surveys))
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None


def history(
    ratings: _Path,
    items: _Path,
    *,
    ask: Sequence[str] = (),
    ask_questions: _Path | None = None,
    shown: int = 250,
    in_context: bool = False,
    as_text: bool = False,
    user: Sequence[str] = (),
    people: int | None = None,
    seed: int = 0,
    missing: str = "",
) -> tuple[Persona, ...]:
    """Users' rating histories; see [`history_personas`][syndigits_jax.respond.history_personas].

    **Arguments:** `ask`, `ask_questions`: the items that will be asked, by identifier or as the
    questions of a file. `user`: whose histories; by default all, or the first `people`.
    `missing`: what stands for a missing rating; its row is left out.

    **Raises:** `ValueError` naming the argument or the file.
    """
    table = _rated(ratings, items, missing)
    asked = [*ask]
    if ask_questions is not None:
        asked += [question.identifier for question in read_questions(ask_questions)]
    users = list(user) or None
    if people is not None:
        if users is not None:
            raise ValueError("`people`: give either users or how many, not both")
        rated = [name for name, n in zip(table.users, table.user_counts()) if n]
        users = rated[: _enough(people, len(rated), ratings)]
    return history_personas(
        table, read_items(items), shown=shown, asked=list(dict.fromkeys(asked)) or None,
        in_context=in_context, as_text=as_text, users=users, seed=seed,
    )  # fmt: skip


def sampled(
    people: int = 100, *, marginals: _Path | None = None, seed: int = 0
) -> tuple[Persona, ...]:
    """People drawn from marginals (a TOML file, or ours), whose text a model is to write.

    **Raises:** `ValueError` naming the argument or the file.
    """
    shares = DEFAULT_MARGINALS if marginals is None else read_marginals(marginals)
    return demographic_prompts(people, shares, seed=seed)


def backstory(people: int = 100) -> tuple[Persona, ...]:
    """People of whom nothing is given, whose text a model is to write.

    **Raises:** `ValueError` naming the argument.
    """
    return backstory_prompts(people)


def grounded(
    ratings: _Path,
    items: _Path,
    people: int = 100,
    *,
    shown: int = 20,
    ask_questions: _Path | None = None,
    fewest: int = 10,
    category_label: str = "films",
    seed: int = 0,
    missing: str = "",
) -> tuple[Persona, ...]:
    """Real users' highest-rated items, from which a model is to write a text.

    **Arguments:** `ask_questions`: questions of the items that will be asked; these are not shown.
    `missing`: what stands for a missing rating; its row is left out.
    The others as in [`grounded_prompts`][syndigits_jax.respond.grounded_prompts].

    **Raises:** `ValueError` naming the argument or the file.
    """
    table = _rated(ratings, items, missing)
    asked = () if ask_questions is None else read_questions(ask_questions)
    return grounded_prompts(
        table, read_items(items), people, shown=shown, fewest=fewest, category_label=category_label,
        exclude=[question.identifier for question in asked], seed=seed,
    )  # fmt: skip


def rewritten(personas: _Path) -> tuple[Persona, ...]:
    """Personas of a file, from which a model is to write others, such as summaries.

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
"""What builds personas of each kind, by the names of the commands."""

WRITTEN_KINDS = ("sampled", "backstory", "grounded", "rewritten")
"""Kinds whose texts a model is to write."""


def _asked(
    catalogue: Sequence[Question],
    ask: Sequence[str],
    blocks: Sequence[str],
    path: _Path | None,
) -> list[str]:
    known = {question.identifier for question in catalogue}
    asked = dict.fromkeys(ask)
    for block in blocks:
        members = [q.identifier for q in catalogue if q.block == block]
        if not members or not block:
            there = sorted({q.block for q in catalogue if q.block})
            raise ValueError(f"`block`: no block {block!r}; there are {', '.join(there)}")
        asked |= dict.fromkeys(members)
    if path is not None:
        found = [q.identifier for q in read_questions(path) if q.identifier in known]
        if not found:
            raise ValueError(
                f"`ask_questions`: none of the questions of {path} is in the catalogue of the "
                "survey, so nothing is to be left out; do without it"
            )
        asked |= dict.fromkeys(found)
    return list(asked)


def _first(frame: Any, people: int | None, path: _Path) -> Any:
    return frame if people is None else frame.iloc[: _enough(people, len(frame), path)]


def _enough(people: int, there: int, path: _Path) -> int:
    if not 1 <= people <= there:
        raise ValueError(f"`people`: {people} wanted, but {path} has {there}")
    return people


def _text_frame(path: _Path, id_column: str | None) -> Any:
    """A table of text as a data frame, identifiers in the index."""
    pd = import_pandas()
    header, rows = read_rows(path)
    key = 0 if id_column is None else int(positions(header, [id_column], "id_column")[0])
    index = pd.Index(unique(Path(path), [row[key] for row in rows]), name=header[key], dtype=object)
    return pd.DataFrame(rows, index=index, columns=list(header)).drop(columns=header[key])


def _rated(ratings: _Path, items: _Path, missing: str) -> RatingTable:
    """The ratings of all items of the items file; of a MovieLens release, if folders are named."""
    ratings, items = Path(ratings), Path(items)
    items = items / "movies.csv" if items.is_dir() else items
    ratings = ratings / "ratings.csv" if ratings.is_dir() else ratings
    names, _ = read_item_table(read_columns(items), items)
    codes = MissingCodes.of(missing)
    frame = without_missing(read_columns(ratings), codes)
    codes.warn_unmet(str(ratings))
    return read_rating_table(frame, ratings, USER_COLUMNS, names)[0]
