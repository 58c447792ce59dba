"""Qualtrics' questionnaires and exports of answers, read together or one of them alone."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...schema import Question
from ...tables.frames import import_pandas
from .cells import holds_labels, numbers, selected, single_codes, split_cells
from .columns import NO_ANSWER, SELECTED, WORDS, Column, NotRead
from .export import (
    Export,
    Place,
    identifier_column,
    is_own,
    people_of,
    read_export,
)
from .markup import plain
from .qsf import Questionnaire, read_questionnaire
from .survey import ORDER_SHOWN, LeftOut, Survey, distinct, named

_DETAILS = {
    "FIRST_CLICK": NO_ANSWER["Timing"], "LAST_CLICK": NO_ANSWER["Timing"],
    "PAGE_SUBMIT": NO_ANSWER["Timing"], "CLICK_COUNT": NO_ANSWER["Timing"],
    "BROWSER": NO_ANSWER["Meta"], "VERSION": NO_ANSWER["Meta"], "OS": NO_ANSWER["Meta"],
    "RESOLUTION": NO_ANSWER["Meta"], "NPS_GROUP": "it repeats another column in groups",
    "TEXT": WORDS, "DO": ORDER_SHOWN, "GROUP": NO_ANSWER["PGR"],
    "RANK": NO_ANSWER["PGR"], "TRANSLATION": WORDS, "TOPICS": WORDS, "SENTIMENT": WORDS,
}  # fmt: skip


def read_qualtrics(
    qsf: str | PathLike[str] | None = None,
    csv: str | PathLike[str] | None = None,
    *,
    id_column: str | None = None,
    unfinished: bool = False,
) -> Survey:
    """A survey of Qualtrics: its questions, and people's answers as codes.

    Multiple choice (also drop-down lists), matrices, sliders, sums, ranks, side-by-side questions
    and text fields that take numbers only are read; every other question is left out, and the
    survey's `report` says which and why. Codes are Qualtrics' recoded values, whether the export
    has numbers or the text of choices. A question with several answers, and a matrix, is one
    question per choice or row; a choice is 1 where it was selected and 0 where the person answered
    the question without it, or, where all had to answer and exports lack a choice, was shown it.
    A loop's questions have its number before their names, as in the export.

    **Arguments:**

    - `qsf`: the questionnaire (Survey > Tools > Import/Export > Export Survey).
    - `csv`: the export of answers with its three header rows: `.csv`, or `.tsv` (UTF-8, or UTF-16
      as Qualtrics writes it), possibly `.gz`. Without `qsf` only columns of numbers are read, and
      questions have no options.
    - `id_column`: the column that identifies people; by default Qualtrics' response identifier, or
      else the one further column whose entries all differ.
    - `unfinished`: keep responses that were not finished. Previews, tests, spam and empty responses
      are left out in any case, as are further responses of the same person.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it cannot be read, the answers
    are to another survey, or no column identifies people; `ImportError` without pandas (`csv`).

    **Example:**

        >>> import json
        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.datasets import read_qualtrics
        >>> car = {"QuestionID": "QID1", "DataExportTag": "car", "QuestionType": "MC",
        ...        "Selector": "SAVR", "QuestionText": "Do you own <b>a car</b>?",
        ...        "Choices": {"1": {"Display": "Yes"}, "2": {"Display": "No"}},
        ...        "RecodeValues": {"1": "1", "2": "0"}}
        >>> block = {"ID": "BL_1", "Type": "Default", "Description": "Home",
        ...          "BlockElements": [{"Type": "Question", "QuestionID": "QID1"}]}
        >>> elements = [{"Element": "BL", "Payload": [block]}, {"Element": "SQ", "Payload": car}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "survey.qsf"
        ...     _ = path.write_text(json.dumps({"SurveyElements": elements}))
        ...     survey = read_qualtrics(path)
        >>> print(survey.questions[0].text, survey.questions[0].options[1])
        Do you own a car? Option(value=0.0, label='No')
    """
    if qsf is None and csv is None:
        raise ValueError("`qsf`: give the questionnaire, the export of answers (`csv`), or both")
    questionnaire = None if qsf is None else read_questionnaire(Path(qsf))
    if csv is None:
        assert questionnaire is not None
        questions = tuple(column.question for column in questionnaire.columns)
        return Survey(questions, None, questionnaire.left_out, questionnaire.notes)
    path = Path(csv)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix.lower() == ".zip":
        raise ValueError(f"{path}: is a zip archive: unzip it, and give the table in it")
    import_pandas()  # its absence is said first
    export = read_export(path, unfinished=unfinished)
    return _Reading(export, questionnaire, path).survey(id_column)


def questions_of_export(path: Path) -> tuple[Question, ...]:
    """The questions of the numeric columns of an export, without options."""
    reading = _Reading(read_export(path), None, path)
    reading.all()
    return reading.questions()


class _Reading:
    """The columns of an export, one after the other, with what is known of them."""

    def __init__(self, export: Export, questionnaire: Questionnaire | None, path: Path):
        self.export, self.questionnaire, self.path = export, questionnaire, path
        self.left_out = LeftOut()
        self.unread: dict[str, str] = {}  # why questions of loops have no columns
        self.notes: list[str] = list(export.notes)
        self.columns: list[Column] = []
        self.values: list[np.ndarray] = []

    def survey(self, id_column: str | None) -> Survey:
        at = identifier_column(self.export, id_column, self.path)
        people, rows, notes = people_of(self.export, at, self.path)
        kept = tuple(self.export.rows[i] for i in rows)
        fields = (self.export.names, self.export.texts, self.export.places)
        self.export = Export(*fields, kept)
        self.notes += notes
        self.all(skip=at)
        pd = import_pandas()
        questions = self.questions()
        names = [question.identifier for question in questions]
        frame = pd.DataFrame(
            np.array(self.values).T.reshape(len(people), len(names)),
            index=pd.Index(people, name=self.export.names[at], dtype=object),
            columns=pd.Index(names, dtype=object),
        )
        return Survey(questions, frame, self.left_out, tuple(self.notes))

    def questions(self) -> tuple[Question, ...]:
        names = [column.name for column in self.columns]
        if self.questionnaire is None:
            names = distinct(names, [column.qid.split("#")[0] for column in self.columns])
        else:
            names = distinct(names, names)
        return named((column.question for column in self.columns), names)

    def all(self, skip: int | None = None) -> None:
        """Read all columns but the one of identifiers."""
        places = {j: place for j, place in enumerate(self.export.places) if j != skip}
        for j, place in places.items():
            if not place.qid:
                self._leave(j, is_own(place))
        asked = {j: place for j, place in places.items() if place.qid}
        known = self._known(asked) if self.questionnaire else self._guessed(asked)
        self._read(known)
        if not self.columns:
            raise ValueError(
                f"{self.path}: has no column of numeric answers"
                + ("" if self.questionnaire else "; give the questionnaire (.qsf) too")
            )
        if self.questionnaire:
            self.notes += self.questionnaire.notes

    def _leave(self, j: int, why: str) -> None:
        self.left_out.add(self.export.names[j], self.export.places[j].qid or str(j + 1), why)

    # --- with a questionnaire -------------------------------------------------------------------

    def _known(self, asked: dict[int, Place]) -> list[tuple[Column, list[str]]]:
        """The questionnaire's columns and their cells, in its order; [] for those without."""
        of = self.questionnaire
        assert of is not None
        qids = {place.qid.split("#")[0] for place in asked.values()}
        if not qids & set(of.payloads):
            raise ValueError(
                f"{self.path}: holds answers to another survey: none of its questions "
                f"({', '.join(sorted(qids)[:3])}) is in the questionnaire"
            )
        columns = list(of.columns)
        runs = {(one.loop, one.qid) for one in columns}
        for place in asked.values():  # loops that the questionnaire does not number itself
            if (place.loop, place.qid) not in runs and place.loop:
                qid, new = place.qid.split("#")[0], []
                try:
                    new = of.of_loop(qid, place.loop)
                except NotRead as reason:
                    self.unread[qid] = str(reason)
                columns += new
                runs |= {(one.loop, one.qid) for one in new} | {(place.loop, place.qid)}
        by_key = {column.key: position for position, column in enumerate(columns)}
        cells: dict[int, list[str]] = {}
        for j, place in asked.items():
            position = _position(place, by_key)
            if position is not None and position not in cells:
                cells[position] = self.export.cells(j)
            elif not self._take_list(j, place, columns, cells):
                self._leave(j, self._why(place))
        answered = {(columns[p].loop, columns[p].qid) for p in cells}
        return [
            (column, cells.get(position, []))
            for position, column in enumerate(columns)
            if (column.loop, column.qid) in answered
            and (position in cells or column.kind == "several")
        ]

    def _take_list(
        self, j: int, place: Place, columns: list[Column], cells: dict[int, list[str]]
    ) -> bool:
        """Split a column that has all the answers of a question with several."""
        if place.choice is not None:
            return False
        mine = [
            p for p, one in enumerate(columns)
            if one.kind == "several" and (one.loop, one.qid, one.part) == place.key[:3]
        ]  # fmt: skip
        if not mine:
            return False
        split, odd = split_cells([columns[p] for p in mine], self.export.cells(j))
        cells |= dict(zip(mine, split, strict=True))
        if odd:
            count = sum(odd.values())
            self.notes.append(
                f"{self.export.names[j]}: {count} cells are no list of its choices "
                f"({next(iter(odd))!r:.60}) and count as missing."
            )
        return True

    def _why(self, place: Place) -> str:
        of = self.questionnaire
        bare = place.qid.split("#")[0]
        detail = _detail(place.part)
        if of is None or bare not in of.payloads:
            return "the questionnaire has no such question"
        if bare in self.unread:
            return self.unread[bare]
        if bare in of.why and not (detail and of.why[bare].startswith("it is in a loop")):
            return of.why[bare]
        return detail or "the questionnaire has no such choice"

    # --- without one ----------------------------------------------------------------------------

    def _guessed(self, asked: dict[int, Place]) -> list[tuple[Column, list[str]]]:
        """Columns whose cells are numbers, and those of choices."""
        found = []
        for j, place in asked.items():
            cells = self.export.cells(j)
            name, text = self.export.names[j], plain(self.export.texts[j], lines=True)
            detail = _detail(place.part)
            whole = place.part == "TEXT"  # a question, not the words beside a choice
            if detail and not (whole and _all_numbers(cells)):
                self._leave(j, detail)
            elif place.choice is not None:
                question = Question(name, text, SELECTED)
                found.append((_plain_column(place, question, "several"), cells))
            elif _all_numbers(cells):
                found.append((_plain_column(place, Question(name, text), "number"), cells))
            else:
                self._leave(j, "its cells are texts, whose codes only the questionnaire (.qsf) has")
        return found

    # --- both -----------------------------------------------------------------------------------

    def _read(self, found: list[tuple[Column, list[str]]]) -> None:
        labels = holds_labels(found)
        shown = self._shown(found)
        several: dict[tuple[str, str], list[int]] = {}
        for position, (column, _) in enumerate(found):
            if column.kind == "several":
                several.setdefault(column.key[:2], []).append(position)
        marks: dict[int, np.ndarray] = {}
        for mine in several.values():
            columns, cells = zip(*(found[p] for p in mine), strict=True)
            sure = columns[0].sure and (columns[0].beyond or not all(cells))
            where = shown.get((columns[0].loop, columns[0].block)) if sure else None
            nobody = np.zeros(len(self.export.rows), bool)
            coded = selected(columns, cells, nobody if where is None else where)
            marks |= dict(zip(mine, coded, strict=True))
        for position, (column, cells) in enumerate(found):
            if column.kind == "several":
                if not cells:
                    why = "the export has no column for this choice"
                    self.left_out.add(column.name, column.qid, why)
                    continue
                values, notes = marks[position], ()
            elif column.kind == "single":
                values, notes = single_codes(column, cells, labels)
            else:
                values, notes = numbers(column, cells)
            self.columns.append(column)
            self.values.append(values)
            self.notes += notes

    def _shown(
        self, found: Iterable[tuple[Column, list[str]]]
    ) -> dict[tuple[str, str], Bool[np.ndarray, " n"]]:
        """By loop and block, who answered any question of it."""
        out: dict[tuple[str, str], np.ndarray] = {}
        for column, cells in found:
            if cells:
                here = np.array([bool(cell.strip()) for cell in cells], bool)
                before = out.get((column.loop, column.block))
                out[column.loop, column.block] = here if before is None else before | here
        return out


def _position(place: Place, by_key: dict[Any, int]) -> int | None:
    """Where a column of an export is among those of the questionnaire."""
    loop, qid, part, choice = place.key
    tries = [place.key]
    if choice is None and "_" in part:  # a matrix with several answers, or numbers
        row, answer = part.rsplit("_", 1)
        tries.append((loop, qid, row, answer))
    if choice is None and part:  # a choice of a question with several answers
        tries.append((loop, qid, "", part))
    if choice is not None and not part:
        tries.append((loop, qid, choice, None))
    if part in ("", "TEXT"):
        tries.append((loop, qid, "TEXT" if not part else "", None))
    for one in tries:
        if one in by_key and not (part == "TEXT" and one[2] == ""):
            return by_key[one]
    return None


def _plain_column(place: Place, question: Question, kind: str) -> Column:
    return Column(
        place.qid, question.identifier, question, kind, place.loop, place.part, place.choice
    )


def _detail(part: str) -> str | None:
    """Why a column beside the answers themselves is left out."""
    for ending, why in _DETAILS.items():
        if part == ending or part.endswith(f"_{ending}"):
            return why
    return None


def _all_numbers(cells: list[str]) -> bool:
    given = [cell.strip() for cell in cells if cell.strip()]
    try:
        return bool(given) and all(np.isfinite(float(cell)) for cell in given)
    except ValueError:
        return False
