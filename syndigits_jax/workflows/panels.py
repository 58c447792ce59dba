"""A user's tables of answers, read the same way by every command that estimates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets import read_questions, read_table
from syndigits_jax.panel import Panel
from syndigits_jax.tables.frames import Table
from syndigits_jax.workflows.blocks import warn_of_codes, with_batteries, with_questions
from syndigits_jax.workflows.people import people_column, people_weights, without_columns


@dataclass(frozen=True)
class ReadPanel:
    """`panel`; (n,) survey `weight` or `None`; `index`: what the column of people is called."""

    panel: Panel
    weight: Float[np.ndarray, " n"] | None
    index: str


def read_panel(
    human: Table,
    twin: Table,
    *,
    weights: str | None = None,
    questions: Table | None = None,
    batteries: bool = False,
    new_users: bool = False,
    id_column: str | None = None,
    join: str = "error",
    missing: str | Iterable[Any] = (),
) -> ReadPanel:
    """Read tables of human and of twin answers and match them by identifier.

    **Arguments:**

    - `human`, `twin`: paths or data frames of any kind, respondents x questions, as in
      [`read_table`][syndigits_jax.datasets.read_table].
    - `weights`: a column of either table that is a survey weight and no question; everybody needs
      one.
    - `questions`: a file or data frame of questions, for their ranges and blocks; `batteries`: as
      in [`with_batteries`][syndigits_jax.workflows.blocks.with_batteries], where it names none.
    - `new_users`: keep the twins' new respondents rather than their new questions.
    - `id_column`, `join`, `missing`: as in [`load_panel`][syndigits_jax.datasets.load_panel].

    **Raises:** `FileNotFoundError`, and `ValueError` for tables, weights or questions that cannot
    be used; `ImportError` without pandas.
    """
    tables = {
        name: read_table(path, id_column, numeric=False, questions=questions, argument=name)
        for name, path in (("human", human), ("twin", twin))
    }
    index = str(tables["human"].index.name or "user")
    cells = None if weights is None else people_column(tables, weights, "weights")
    tables = tables if weights is None else without_columns(tables, [weights])
    panel = Panel.from_frames(
        tables["human"], tables["twin"], join=join, new_questions=not new_users,
        new_users=new_users, missing=missing,
    )  # fmt: skip
    if questions is not None:
        panel = with_questions(panel, read_questions(questions))
    warn_of_codes(panel)
    if batteries and not panel.blocks:
        panel = with_batteries(panel)
    return ReadPanel(panel, None if cells is None else people_weights(cells, panel.users), index)
