"""Data frames as labelled tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from .cells import MissingCodes, Unusable, frame_columns
from .near_misses import hint, only_in
from .responses import identifiers, some


def import_pandas() -> Any:
    """The pandas module. **Raises:** `ImportError` that says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            'tables need pandas, which is not installed: pip install "syndigits-jax[study]"'
        ) from error
    return pandas


def read_parquet(pd: Any, path: Path) -> Any:
    """A Parquet file as a data frame.

    **Raises:** `ImportError` that says what to install; `OSError` if it cannot be opened;
    `ValueError`, which does not name the file, if it cannot be read.
    """
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow, which is not installed: pip install "syndigits-jax[study]"'
        ) from error
    except OSError:
        raise
    except Exception as error:  # Arrow's own classes have nothing else in common
        raise ValueError(f"{type(error).__name__}: {error}") from error


def is_frame(values: Any) -> bool:
    """Whether `values` looks like a pandas data frame (without importing pandas)."""
    return all(hasattr(values, name) for name in ("iloc", "columns", "index"))


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
        """From a pandas data frame.

        **Arguments:** `frame`: respondents in rows, questions in columns; `argument`: its name in
        messages; `id_column`: column of respondent identifiers, `None` for the index; `codes`: of
        missing answers.

        **Raises:** `ValueError` naming `argument`, for default or hierarchical labels, repeated
        identifiers, and listing the cells that are not finite numbers.
        """
        if not is_frame(frame):
            raise ValueError(
                f"`{argument}` must be a pandas data frame, got {type(frame).__name__}; for "
                "arrays in matching order use `Panel.from_arrays`"
            )
        if id_column is not None:
            if id_column not in frame.columns:
                raise ValueError(f"`{argument}` has no column {id_column!r} (`id_column`)")
            frame = frame.set_index(id_column)
        _refuse_default_labels(frame.index, f"`{argument}` has a default index: set its index to")
        _refuse_default_labels(
            frame.columns, f"`{argument}` has default column names: name them by"
        )
        if getattr(frame.columns, "nlevels", 1) > 1 or getattr(frame.index, "nlevels", 1) > 1:
            raise ValueError(f"`{argument}` has hierarchical labels; flatten them first")
        users = identifiers(frame.index, f"{argument} (rows)")
        questions = identifiers(frame.columns, f"{argument} (columns)")
        unusable = Unusable(f"`{argument}`", users, questions)
        values = frame_columns(frame, unusable, codes)
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


def _refuse_default_labels(labels: Any, message: str) -> None:
    # Default labels (0, 1, ...) are positions: matching them would be matching by position.
    if type(labels).__name__ == "RangeIndex" and labels.name is None:
        raise ValueError(message + " the identifiers")
