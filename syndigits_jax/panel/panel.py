"""Paired human and twin responses with identifiers (host side).

Longer than 400 lines: a panel describes every field, and shows how it is made.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..results.format import html_table, percent
from ..schema import ScaleLike, answer_ranges
from ..solvers.boundary import Numbers, as_mask
from ..tables.cells import MissingCodes
from ..tables.frame_table import FrameTable
from ..tables.frames import is_frame, long_frame, new_frame
from ..tables.matching import matched
from ..tables.responses import identifiers, matrix_shape, panel_fields, positions
from ._contents import at, check_contents, constant_columns, names_where, shared_value
from .arrays import PanelArrays, Responses

DROPPED = ("human_users", "twin_users", "human_questions", "twin_questions")
"""Keys of [`Panel`][]`.dropped`: counts of identifiers that only `human`, or only `twin`, has."""


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """Responses of n people and of their n digital twins to the same m questions.

    Everything is checked and copied on construction, and the arrays are read-only. NaN is missing.
    To build a panel from tables use [`from_frames`][], which aligns by identifier.

    **Arguments:**

    - `human`, `twin`: (n, m) responses, rows and columns in the same order.
    - `users`, `questions`: their identifiers (become strings).
    - `name`: name of the panel in reports.
    - `low`, `high`, `step`: (m,) range and grid of each question's answers, NaN where unknown
      or, for `step`, continuous.
    - `controls`: further predictions of `human`, (n, m) each, by name (in-context twins).
    - `dropped`: numbers of respondents and questions of the tables that are not in the panel, by
      `human_users`, `human_questions`, `twin_users`, `twin_questions` (`from_frames`).
    - `blocks`: the survey or battery of each question (becomes text); empty if that is not known.
      A question without one (`None`, NaN) is a block of its own, unless all are.

    A question without any human answer is a *new question*, a respondent without any is a *new
    user*; both are allowed, and `new_questions` and `new_users` list them. A respondent whose twin
    answered nothing is allowed too: methods that impute use column means for them.

    **Raises:** `ValueError` naming the argument if shapes or identifiers do not match, identifiers
    repeat, a response is not a number or is infinite, there are fewer than two questions or
    respondents, no human answer at all, a question without any twin answer, or a human answer
    outside the question's range.
    """

    human: Float[np.ndarray, "n m"]
    twin: Float[np.ndarray, "n m"]
    users: tuple[str, ...]
    questions: tuple[str, ...]
    name: str = ""
    low: Float[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0))
    high: Float[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0))
    step: Float[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0))
    controls: Mapping[str, Float[np.ndarray, "n m"]] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()

    def __post_init__(self):
        fields = panel_fields(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        for key, value in fields.items():
            object.__setattr__(self, key, value)
        check_contents(self.human, self.twin, self.users, self.questions, self.low, self.high)

    # --- construction -------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        human: Numbers,
        twin: Numbers,
        users: Iterable[Any] | None = None,
        questions: Iterable[Any] | None = None,
        *,
        name: str = "",
        scale: ScaleLike | Mapping[Any, ScaleLike] | None = None,
        controls: Mapping[str, Numbers] | None = None,
        missing: str | Iterable[Any] | MissingCodes = (),
    ) -> "Panel":
        """A panel from matrices whose rows and columns are already in the same order.

        **Arguments:**

        - `human`, `twin`: (n, m) NumPy (also masked) or JAX arrays, tensors that speak DLPack, or
          nested lists, of numbers, booleans or numeric text; NaN, `None`, `pandas.NA` and empty
          text are missing.
        - `users`, `questions`: identifiers; "user_0", ... and "question_0", ... by default.
        - `name`: name of the panel in reports.
        - `scale`: the answer range of all questions, a [`Scale`][] or `(low, high[, step])`, or a
          mapping from question identifiers to such (questions not in it have no known range).
        - `controls`: further predictions of `human` by name.
        - `missing`: as in `from_frames`.

        **Raises:** `ValueError` as the class does, and for data frames (see `from_frames`).

        **Example:**

            >>> from syndigits_jax import Panel
            >>> human = [[1, 2, None], [5, 4, None]]  # nobody has answered the third question yet
            >>> panel = Panel.from_arrays(human, [[1, 1, 3], [3, 5, 4]], scale=(1, 5, 1))
            >>> print(panel.questions, panel.new_questions, panel.scale)
            ('question_0', 'question_1', 'question_2') ('question_2',) (1.0, 5.0)
        """
        for argument, values in (("human", human), ("twin", twin), *(controls or {}).items()):
            if is_frame(values):
                raise ValueError(
                    f"`{argument}` is a data frame, which carries identifiers: use "
                    "`Panel.from_frames`, or pass its `.to_numpy()` if its order is known to match"
                )
        codes = MissingCodes.of(missing)
        n, m = matrix_shape(human, "human")
        if (shape := matrix_shape(twin, "twin")) != (n, m):
            raise ValueError(
                f"`twin` has shape {shape} but `human` has shape {(n, m)}; both must be "
                "(respondents x questions), rows and columns in the same order"
            )
        users = [f"user_{i}" for i in range(n)] if users is None else users
        questions = [f"question_{j}" for j in range(m)] if questions is None else questions
        questions = identifiers(questions, "questions")
        low, high, step = answer_ranges(scale, questions)
        fields = panel_fields(
            human, twin, users, questions, name, low, high, step, controls or {}, codes=codes
        )
        codes.warn_unmet("`human` or `twin`")
        return cls(**fields)

    @classmethod
    def from_frames(
        cls,
        human: Any,
        twin: Any,
        *,
        id_column: str | None = None,
        join: str = "error",
        new_questions: bool = False,
        new_users: bool = False,
        name: str = "",
        scale: ScaleLike | Mapping[Any, ScaleLike] | None = None,
        controls: Mapping[str, Any] | None = None,
        missing: str | Iterable[Any] | MissingCodes = (),
    ) -> "Panel":
        """A panel from data frames, aligned by identifier, never by position.

        Questions are the column names. Respondents are the column `id_column`; by default the index
        of pandas data frames, and of others the first column, if it holds text or whole numbers.
        The order is that of `human`; twin-only questions and users follow in the order of `twin`.

        **Arguments:**

        - `human`, `twin`: data frames of responses (pandas, polars, Arrow), of any two kinds; NaN,
          `None`, null, `pandas.NA` and empty text are missing.
        - `id_column`: column of respondent identifiers.
        - `name`: name of the panel in reports.
        - `new_questions`: keep questions that only `twin` has, as new questions, whatever `join`.
        - `new_users`: keep respondents that only `twin` has, as new users, whatever `join`.
        - `join`: what to do with other respondents and questions that only one frame has:
          `"error"`, or `"inner"`, which drops them; the panel's `dropped` counts them.
        - `scale`: as in `from_arrays`.
        - `controls`: further predictions of `human`; each must cover all respondents and
          questions of the panel, or with `join="inner"` is NaN where it does not.
        - `missing`: codes of missing answers besides empty cells: texts (regardless of case) and
          numbers (-99 is -99.0 too), or one text of them separated by commas. A warning names codes
          that no cell holds.

        **Raises:** `ValueError` as the class does, for identifiers that do not match (with the
        differences of those that nearly match), and for frames with a default index or default
        column names, which identify nothing. **Warns** (`TableWarning`) of dropped identifiers
        that nearly match.

        **Example:**

            >>> import pandas as pd
            >>> from syndigits_jax import Panel
            >>> human = pd.DataFrame({"q1": [1, 3], "q2": [2, 4]}, index=["ann", "bob"])
            >>> twin = pd.DataFrame({"q2": [5, 1], "q3": [3, 3], "q1": [3, 1]}, ["bob", "ann"])
            >>> panel = Panel.from_frames(human, twin, new_questions=True)
            >>> print(panel.users, panel.questions, panel.twin.tolist())
            ('ann', 'bob') ('q1', 'q2', 'q3') [[1.0, 1.0, 3.0], [3.0, 5.0, 3.0]]
        """
        if join not in ("error", "inner"):
            raise ValueError(f"`join` must be 'error' or 'inner', got {join!r}")
        codes = MissingCodes.of(missing)
        h = FrameTable.read(human, "human", id_column, codes)
        t = FrameTable.read(twin, "twin", id_column, codes)
        users, *lost_users = matched(h.users, t.users, "respondents", join, new_users, "new_users")
        questions, *lost_questions = matched(
            h.questions, t.questions, "questions", join, new_questions, "new_questions"
        )
        extra = {}
        for key, frame in (controls or {}).items():
            table = FrameTable.read(frame, f"controls[{key!r}]", id_column, codes)
            if join == "error":
                table.require(users, questions)
            extra[key] = table.at(users, questions)
        codes.warn_unmet("`human` or `twin`")
        panel = cls.from_arrays(
            h.at(users, questions),
            t.at(users, questions),
            users,
            questions,
            name=name,
            scale=scale,
            controls=extra,
        )
        if join == "inner":
            counts = zip(DROPPED, (*lost_users, *lost_questions), strict=True)
            panel = panel.replace(dropped=dict(counts))
        return panel

    # --- contents -----------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of respondents."""
        return len(self.users)

    @property
    def m(self) -> int:
        """Number of questions."""
        return len(self.questions)

    @property
    def human_mask(self) -> Bool[np.ndarray, "n m"]:
        """True where the human answer is observed."""
        return ~np.isnan(self.human)

    @property
    def twin_mask(self) -> Bool[np.ndarray, "n m"]:
        """True where the twin answered."""
        return ~np.isnan(self.twin)

    @property
    def new_questions(self) -> tuple[str, ...]:
        """Questions without any human answer."""
        return names_where(self.questions, ~self.human_mask.any(axis=0))

    @property
    def new_users(self) -> tuple[str, ...]:
        """Respondents without any human answer."""
        return names_where(self.users, ~self.human_mask.any(axis=1))

    @property
    def scale(self) -> tuple[float, float] | None:
        """The answer range `(low, high)` if all questions share one that is known, else `None`."""
        low, high = shared_value(self.low), shared_value(self.high)
        return None if low is None or high is None else (low, high)

    @property
    def steps(self) -> float | None:
        """The grid step if all questions share one that is known, else `None`."""
        return shared_value(self.step)

    def arrays(self, dtype: Any = None) -> PanelArrays:
        """The numbers alone, as JAX arrays; `dtype` defaults to JAX's default float."""
        dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)

        def responses(values: np.ndarray) -> Responses:
            numbers = jnp.asarray(np.nan_to_num(values, nan=0.0), dtype=dtype)
            return Responses(numbers, jnp.asarray(~np.isnan(values)))

        return PanelArrays(responses(self.human), responses(self.twin))

    def describe(self) -> dict[str, Any]:
        """Counts, missing fractions and irregularities, as plain Python values.

        `constant_twin_questions` are those whose twins all give one answer (their correlation is
        undefined); `twin_outside_range` counts twin answers outside a question's known range.
        """
        outside = (self.twin < self.low[None, :]) | (self.twin > self.high[None, :])
        return {
            "name": self.name,
            "users": self.n,
            "questions": self.m,
            "human_missing": float(np.mean(~self.human_mask)),
            "twin_missing": float(np.mean(~self.twin_mask)),
            "new_questions": self.new_questions,
            "new_users": self.new_users,
            "users_without_twin": names_where(self.users, ~self.twin_mask.any(axis=1)),
            "constant_human_questions": names_where(self.questions, constant_columns(self.human)),
            "constant_twin_questions": names_where(self.questions, constant_columns(self.twin)),
            "twin_outside_range": int(outside.sum()),
            "scale": self.scale,
            "controls": tuple(self.controls),
            "dropped": dict(self.dropped),
        }

    def __repr__(self) -> str:
        parts = [
            f"{self.n} users x {self.m} questions",
            f"human {np.mean(~self.human_mask):.0%} missing",
            f"twin {np.mean(~self.twin_mask):.0%} missing",
        ]
        if self.controls:
            parts.append("controls " + ", ".join(self.controls))
        return f"Panel({self.name!r}: {'; '.join(parts)})"

    def _repr_html_(self) -> str:
        known = self.describe()
        rows = [
            ("users", self.n),
            ("questions", self.m),
            ("human answers missing", percent(known["human_missing"])),
            ("twin answers missing", percent(known["twin_missing"])),
            ("questions that nobody has answered", len(self.new_questions)),
            ("users who have not answered", len(self.new_users)),
            ("scale", "not the same for all" if self.scale is None else self.scale),
        ]
        if self.blocks:
            rows.append(("blocks of questions", len(set(self.blocks))))
        return html_table(self.name or "Panel", [], rows)

    # --- changes, each a new panel ------------------------------------------------------------

    def select(
        self, users: Iterable[Any] | None = None, questions: Iterable[Any] | None = None
    ) -> "Panel":
        """The panel of these respondents and questions, in the order given; `None` keeps all.

        **Raises:** `ValueError` for identifiers that are not in the panel, or given twice.
        """
        return self.take(
            None if users is None else positions(self.users, users, "users"),
            None if questions is None else positions(self.questions, questions, "questions"),
        )

    def drop(self, users: Iterable[Any] = (), questions: Iterable[Any] = ()) -> "Panel":
        """The panel without these. **Raises:** `ValueError` for identifiers not in the panel."""
        return self.take(
            np.delete(np.arange(self.n), positions(self.users, users, "users")),
            np.delete(np.arange(self.m), positions(self.questions, questions, "questions")),
        )

    def take(self, users: Any = None, questions: Any = None) -> "Panel":
        """As `select`, by positions (integers, a slice, or a Boolean mask).

        **Raises:** `ValueError` for positions beyond the panel, or given twice.
        """
        i, j = at(self.n, users, "users"), at(self.m, questions, "questions")

        def cells(values: np.ndarray) -> np.ndarray:
            return values[np.ix_(i, j)]

        return Panel(
            human=cells(self.human),
            twin=cells(self.twin),
            users=tuple(self.users[k] for k in i),
            questions=tuple(self.questions[k] for k in j),
            name=self.name,
            low=self.low[j],
            high=self.high[j],
            step=self.step[j],
            controls={key: cells(values) for key, values in self.controls.items()},
            dropped=self.dropped,
            blocks=tuple(self.blocks[k] for k in j) if self.blocks else (),
        )

    def replace(self, **changes: Any) -> "Panel":
        """The panel with other values for the named fields, checked anew."""
        old = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Panel(**panel_fields(**{**old, **changes}))

    def with_missing(self, *, human: Any = None, twin: Any = None) -> "Panel":
        """The panel with responses removed where the given (n, m) Boolean masks are true."""
        changes = {}
        for key, mask in (("human", human), ("twin", twin)):
            if mask is None:
                continue
            mask = np.asarray(as_mask(key, mask))
            if mask.shape != (self.n, self.m):
                raise ValueError(
                    f"`{key}` must be boolean of shape {(self.n, self.m)}, got shape {mask.shape}"
                )
            changes[key] = np.where(mask, np.nan, getattr(self, key))
        return self.replace(**changes)

    def with_scale(self, scale: ScaleLike | Mapping[Any, ScaleLike]) -> "Panel":
        """The panel with known answer ranges; `scale` as in `from_arrays`.

        Questions that a mapping leaves out keep the range they had.
        """
        low, high, step = answer_ranges(scale, self.questions)
        known = ~np.isnan(low)
        return self.replace(
            low=np.where(known, low, self.low),
            high=np.where(known, high, self.high),
            step=np.where(known, step, self.step),
        )

    def with_blocks(self, blocks: Mapping[Any, Any] | Iterable[Any]) -> "Panel":
        """The panel with the survey or battery of each question.

        **Arguments:** `blocks`: one per question, in their order; or by question identifier, where
        a question left out is a block of its own. `None` is no block.

        **Raises:** `ValueError` for another number of blocks, or a question not in the panel.
        """
        if isinstance(blocks, Mapping):
            of = dict(zip(identifiers(blocks, "blocks"), blocks.values()))
            positions(self.questions, of, "blocks")
            blocks = [of.get(name) for name in self.questions]
        return self.replace(blocks=blocks)

    def with_observed_ranges(self) -> "Panel":
        """Unknown ranges replaced by the extremes of all observed answers, human and twin.

        The step becomes 1 where all of these are whole numbers. A question whose answers are all
        equal keeps an unknown range. These ranges use the human answers: scale a metric by them,
        but do not use them for a prediction.
        """
        both = np.concatenate([self.human, self.twin])
        low, high = np.nanmin(both, axis=0), np.nanmax(both, axis=0)
        whole = np.all(np.isnan(both) | (both == np.round(both)), axis=0)
        fill = (np.isnan(self.low) | np.isnan(self.high)) & (high > low)
        return self.replace(
            low=np.where(fill, low, self.low),
            high=np.where(fill, high, self.high),
            step=np.where(fill, np.where(whole, 1.0, np.nan), self.step),
        )

    def to_frames(self, backend: str = "pandas") -> tuple[Any, Any]:
        """`(human, twin)` as data frames, a row per respondent and a column per question.

        **Arguments:** `backend`: `"pandas"`, with respondents in the index `user`; `"polars"` or
        `"pyarrow"`, with respondents in the first column `user`.

        **Raises:** `ValueError` for another `backend`, or a question called `user`; `ImportError`
        where it is not installed.

        **Example:**

            >>> from syndigits_jax import Panel
            >>> panel = Panel.from_arrays([[1, None], [5, 4]], [[1, 1], [3, 5]])
            >>> human, twin = panel.to_frames("pyarrow")
            >>> print(human.column_names, human["question_1"].to_pylist())
            ['user', 'question_0', 'question_1'] [None, 4.0]
        """
        human, twin = (
            new_frame(dict(zip(self.questions, values.T.copy())), backend, self.users)
            for values in (self.human, self.twin)
        )
        return human, twin

    def to_long(self, backend: str = "pandas") -> Any:
        """One data frame in long form: a row per respondent and question, as mixed models want it.

        Its columns are `user`, `question`, `block` (where blocks are known), `human`, `twin`, and
        the controls by name. Missing answers have a row too.

        **Arguments** and **raises:** as [`to_frames`][].

        **Example:**

            >>> from syndigits_jax import Panel
            >>> panel = Panel.from_arrays([[1, None], [5, 4]], [[1, 1], [3, 5]])
            >>> print(panel.to_long().dropna().values.tolist()[0])
            ['user_0', 'question_0', 1.0, 1.0]
        """
        columns = {"block": np.array(self.blocks, object)} if self.blocks else {}
        columns |= {"human": self.human, "twin": self.twin, **self.controls}
        return long_frame(self.users, self.questions, columns, backend)
