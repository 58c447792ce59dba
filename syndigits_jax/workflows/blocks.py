"""Ranges and blocks of a user's questions: from a file of questions, or from their names."""

import warnings
from collections.abc import Sequence
from typing import Any

from syndigits_jax.estimation import blocks_from_names
from syndigits_jax.panel import Panel
from syndigits_jax.tables.cells import TableWarning


def with_questions(panel: Panel, questions: Sequence[Any]) -> Panel:
    """The panel with the ranges and blocks of `questions`; questions it does not have are ignored.

    **Raises:** `ValueError` if none of them is in the panel, or an answer is outside its range.
    """
    names = set(panel.questions)
    of = {question.identifier: question for question in questions if question.identifier in names}
    if not of:
        raise ValueError("`questions`: none of the file's questions is a column of the tables")
    scales = {name: question.scale for name, question in of.items() if question.scale is not None}
    if scales:
        panel = panel.with_scale(scales)
    blocks = {name: question.block for name, question in of.items() if question.block}
    return panel.with_blocks(blocks) if blocks else panel


def with_batteries(panel: Panel) -> Panel:
    """The panel with blocks from the names of its questions ([`blocks_from_names`][]).

    **Warns** (`TableWarning`) if the names make a single block, which says nothing, so that the
    panel gets none; and if every question is a block of its own, so that all targets are taken for
    questions of a new survey.
    """
    blocks = blocks_from_names(panel.questions)
    if len(set(blocks)) == 1:
        warnings.warn(
            f"`batteries`: by their names all questions are one battery, {blocks[0]!r}; they are "
            "taken without",
            TableWarning,
            stacklevel=2,
        )
        return panel
    if len(set(blocks)) == panel.m:
        warnings.warn(
            "`batteries`: no two names differ by a number only (Q5_1, Q5_2; Q5a, Q5b; item1, "
            "item2), so that every question is estimated as one of a new survey",
            TableWarning,
            stacklevel=2,
        )
    return panel.with_blocks(blocks)
