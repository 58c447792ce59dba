"""Files of survey tools wherever a table or a file of questions is read."""

import warnings
from os import PathLike
from pathlib import Path
from typing import Any

from ...schema import Question
from ...tables.cells import TableWarning
from ..text_tables import TableError, suffix_of
from .export import is_export
from .labelled import SPSS, STATA, read_labelled
from .qualtrics import questions_of_export, read_qualtrics
from .survey import Survey

QUESTIONNAIRE = ".qsf"
_LABELLED = (*SPSS, *STATA)


def is_survey(path: str | PathLike[str]) -> bool:
    """Whether a file is one of a survey tool: by its suffix, or its rows under the header."""
    path = Path(path)
    return suffix_of(path) in (QUESTIONNAIRE, *_LABELLED) or is_export(path)


def read_answers(
    path: Path, id_column: str | None = None, questions: str | PathLike[str] | None = None
) -> Any:
    """The answers in a file of a survey tool, as a data frame.

    **Arguments:** `id_column`: the column of identifiers; `questions`: a file of questions, which
    is used if it is a questionnaire of Qualtrics.

    **Raises:** `ValueError` naming the file. **Warns** (`TableWarning`) of what is left out.
    """
    if suffix_of(path) == QUESTIONNAIRE:
        raise TableError(
            f"{path}: is a questionnaire, without answers; give the export of answers (.csv)"
        )
    if suffix_of(path) in _LABELLED:
        survey = read_labelled(path, id_column)
        if survey.answers is None:
            raise TableError(f"{path}: no variable identifies people; name one (`id_column`)")
    else:
        of = questions if suffix_of(Path(questions or "")) == QUESTIONNAIRE else None
        survey = read_qualtrics(of, path, id_column=id_column)
    _tell(path, survey)
    return survey.answers


def read_survey_questions(path: Path) -> tuple[Question, ...]:
    """The questions of a file of a survey tool.

    **Raises:** `ValueError` naming the file. **Warns** (`TableWarning`) of what is left out.
    """
    if is_export(path):
        return questions_of_export(path)
    if suffix_of(path) == QUESTIONNAIRE:
        survey = read_qualtrics(path)
    else:
        survey = read_labelled(path, answers=False)
    _tell(path, survey)
    return survey.questions


def _tell(path: Path, survey: Survey) -> None:
    if survey.summary:
        warnings.warn(f"{path}: {survey.summary}", TableWarning, stacklevel=4)
