"""A user's questions: their ranges and blocks, from a file or names, and answers that look odd."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from syndigits_jax.estimation import blocks_from_names
from syndigits_jax.panel import Panel
from syndigits_jax.tables.cells import TableWarning
from syndigits_jax.tables.odd_answers import warn_of_odd_answers


def warn_of_codes(panel: Panel) -> None:
    """Warn (`TableWarning`) of answers without a declared range that look like codes.

    See [`odd_answers`][syndigits_jax.tables.odd_answers.odd_answers].
    """
    open_ = np.isnan(panel.low) | np.isnan(panel.high)
    names = [name for name, one in zip(panel.questions, open_, strict=True) if one]
    for argument, answers in (("human", panel.human), ("twin", panel.twin)):
        warn_of_odd_answers(answers[:, open_], names, argument)


def with_questions(panel: Panel, questions: Sequence[Any]) -> Panel:
    """The panel with the ranges and blocks of `questions`; questions it does not have are ignored.

    Answers that are a question's refusal become missing.

    **Raises:** `ValueError` if none of them is in the panel, or an answer is outside its range.
    """
    names = set(panel.questions)
    of = {question.identifier: question for question in questions if question.identifier in names}
    if not of:
        raise ValueError("`questions`: none of the file's questions is a column of the tables")
    refusals = np.array([_refusal(of.get(name)) for name in panel.questions])
    refused = {"human": panel.human == refusals[None], "twin": panel.twin == refusals[None]}
    if any(cells.any() for cells in refused.values()):
        panel = panel.with_missing(**refused)
    scales = {name: question.scale for name, question in of.items() if question.scale is not None}
    if scales:
        panel = panel.with_scale(scales)
    blocks = {name: question.block for name, question in of.items() if question.block}
    return panel.with_blocks(blocks) if blocks else panel


def _refusal(question: Any) -> float:
    return math.nan if question is None or question.refusal is None else question.refusal


def with_batteries(panel: Panel) -> Panel:
    """The panel with blocks from the names of its questions ([`blocks_from_names`][]).

    **Warns** (`TableWarning`) if the names make a single block, which says nothing, so that the
    panel gets none; and if every question is a block of its own, so that all targets are taken for
    questions of a new survey.
    """
    blocks = blocks_from_names(panel.questions)
    stems = set(blocks) if len(set(blocks)) == 1 else {q.rstrip("0123456789") for q in blocks}
    if len(stems) == 1:
        warnings.warn(
            f"`batteries`: by their names all questions are one battery, {stems.pop()!r}; they are "
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
