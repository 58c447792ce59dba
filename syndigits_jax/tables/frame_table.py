"""Tables of responses with the identifiers of their rows and columns, from any data frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .cells import MissingCodes, Unusable
from .frames import is_frame, open_frame
from .near_misses import hint, only_in
from .responses import identifiers, some


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Responses with their row and column identifiers."""

    argument: str
    users: tuple[str, ...]
    questions: tuple[str, ...]
    values: Float[np.ndarray, "n m"]

    @classmethod
    def read(
        cls,
        frame: Any,
        argument: str,
        id_column: str | None,
        codes: MissingCodes | None = None,
    ) -> "FrameTable":
        """From a data frame of any kind.

        **Arguments:** `frame`: respondents in rows, questions in columns; `argument`: its name in
        messages; `id_column`: column of respondent identifiers, `None` for the index, or the first
        column of frames that have none; `codes`: of missing answers.

        **Raises:** `ValueError` naming `argument` as [`open_frame`][], for repeated identifiers,
        and listing the cells that are not finite numbers.
        """
        if not is_frame(frame) and not hasattr(frame, "collect"):
            raise ValueError(
                f"`{argument}` must be a data frame (pandas, polars, Arrow), got "
                f"{type(frame).__name__}; for arrays in matching order use `Panel.from_arrays`"
            )
        found = open_frame(frame, argument, id_column)
        users = identifiers(found.labels, f"{argument} ({found.place})")
        questions = identifiers(found.names, f"{argument} (columns)")
        unusable = Unusable(f"`{argument}`", users, questions)
        values = np.empty((len(users), len(questions)))
        for j, (cells, kind) in enumerate(zip(found.cells, found.kinds, strict=True)):
            values[:, j] = unusable.numbers(cells, j, codes, kind)
        unusable.refuse()
        return cls(argument, users, questions, values)

    def at(self, users: Sequence[str], questions: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """The responses of `users` to `questions`, NaN where this table does not have them."""
        padded = np.pad(self.values, ((0, 1), (0, 1)), constant_values=np.nan)
        row = {name: i for i, name in enumerate(self.users)}
        column = {name: j for j, name in enumerate(self.questions)}
        i = [row.get(name, -1) for name in users]  # -1 is the padding
        j = [column.get(name, -1) for name in questions]
        return padded[np.ix_(i, j)]

    def require(self, users: Sequence[str], questions: Sequence[str]) -> None:
        """**Raises:** `ValueError` if this table does not cover all `users` and `questions`."""
        for kind, names, have in (
            ("respondents", users, self.users),
            ("questions", questions, self.questions),
        ):
            absent, extra = only_in(names, have), only_in(have, names)
            if absent:
                raise ValueError(
                    f"`{self.argument}` lacks {len(absent)} {kind} of the panel ({some(absent)})"
                    + hint(absent, extra)
                )
