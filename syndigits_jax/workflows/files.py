"""Files of a user's own, each read once however many parts of a workflow need it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.films import read_items
from syndigits_jax.datasets.questions import read_questions
from syndigits_jax.datasets.rating_files import read_columns
from syndigits_jax.datasets.surveys.files import QUESTIONNAIRE
from syndigits_jax.datasets.tables import read_table
from syndigits_jax.schema import Question
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frames import Table, is_frame
from syndigits_jax.workflows.questions import read_asked


class Files:
    """Readers of a workflow's files, which keep what they have read. Data frames are read too.

    What is returned is shared, so it must not be changed. Each method raises what the reader it
    calls raises: `FileNotFoundError`, or `ValueError` naming the file.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[Any, ...], Any] = {}

    def questions(self, path: Table, scale: str | None = None) -> tuple[Question, ...]:
        """The questions of a file, as
        [`read_asked`][syndigits_jax.workflows.questions.read_asked] reads them."""
        if scale is not None:
            return self._once(("asked", scale), path, lambda: read_asked(path, scale))
        return self._once(("questions",), path, lambda: read_questions(path))

    def answers(
        self,
        path: Table,
        id_column: str | None = None,
        missing: str = "",
        questions: Table | None = None,
    ) -> tuple[Any, MissingCodes]:
        """A table of answers as [`read_table`][syndigits_jax.datasets.read_table] reads it, with
        any columns, and its codes of missing answers, of which nobody has been warned yet.

        **Arguments:** `path`, `id_column`, `missing`, `questions`: as there.
        """

        def read() -> tuple[Any, MissingCodes]:
            codes = MissingCodes.of(missing)
            frame = read_table(
                path, id_column, missing=codes, numeric=False, questions=questions, argument="human"
            )
            return frame, codes

        given = None if questions is None or is_frame(questions) else Path(questions)
        of = given if given is not None and given.suffix.lower() == QUESTIONNAIRE else None
        return self._once(("answers", id_column, missing, of and str(of)), path, read)

    def columns(self, path: Table) -> Any:
        """A table of ratings or items, as `read_columns` reads it."""
        return self._once(
            ("columns",), path, lambda: read_columns(path if is_frame(path) else Path(path))
        )

    def items(self, path: Table) -> dict[str, dict[str, str]]:
        """The fields of items, as [`read_items`][syndigits_jax.datasets.read_items] reads them."""
        return self._once(("items",), path, lambda: read_items(path))

    def _once(self, how: tuple[Any, ...], path: Table, read: Callable[[], Any]) -> Any:
        if is_frame(path):
            return read()
        key = (*how, os.path.realpath(path))
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]
