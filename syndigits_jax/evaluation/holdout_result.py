"""What hold-out evaluation returns: predictions, diagnostics and scores per target."""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..panel import Panel
from ..results.format import fixed, html_table, text_table, with_error
from ..tables.frames import long_frame
from .metrics import score_targets, summarize

_FAR = 4096.0
"""Answers that are so many ranges from 0 are counted from their smallest."""


@dataclass(frozen=True, repr=False)
class HoldOut:
    """Out-of-sample predictions of several methods: one row per target in both directions.

    - `direction`: whether the targets are questions or users of the `panel`.
    - `targets`: (t,) positions of the targets.
    - `truth`: (t, s) human answers, NaN where missing; the columns are users if the targets are
      questions, and questions if the targets are users.
    - `predictions`: by name, (t, s); the methods and the controls.
    - `training_mse`, `status`, `steps`, `optimality`, `imputation_status`: by method, (t,), as in
      [`Calibrated`][].
    - `twins_alike`: (t,) whether a target's twin answers are all alike, so that there is nothing to
      fit: the training error is NaN (`settings.fitting.alike_twins`).
    - `seconds`: by method, time in its own fits; `preparation_seconds`: time in work that all
      methods share. The first batch of a shape includes compilation.

    **Example:**

        >>> from syndigits_jax import Ridge, leave_one_question_out
        >>> from syndigits_jax.datasets import sample_panel
        >>> panel = sample_panel().take(questions=slice(0, 8))
        >>> held_out = leave_one_question_out([Ridge(10.0)], panel)
        >>> for row in held_out.summary("mae"):
        ...     print(row["method"], row["count"])
        Baseline 8
        UserMean 8
        ZScoredUserMean 8
        Ridge 8
    """

    direction: Literal["question", "user"]
    panel: Panel
    targets: Int[np.ndarray, " t"]
    truth: Float[np.ndarray, "t s"]
    predictions: dict[str, Float[np.ndarray, "t s"]]
    training_mse: dict[str, Float[np.ndarray, " t"]] = field(default_factory=dict)
    status: dict[str, Int[np.ndarray, " t"]] = field(default_factory=dict)
    steps: dict[str, Int[np.ndarray, " t"]] = field(default_factory=dict)
    optimality: dict[str, Float[np.ndarray, " t"]] = field(default_factory=dict)
    imputation_status: dict[str, Int[np.ndarray, " t"]] = field(default_factory=dict)
    twins_alike: Bool[np.ndarray, " t"] = field(default_factory=lambda: np.zeros(0, bool))
    seconds: dict[str, float] = field(default_factory=dict)
    preparation_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.twins_alike.size:  # not stated: no target counts as alike
            object.__setattr__(self, "twins_alike", np.zeros(self.targets.size, bool))

    @property
    def methods(self) -> list[str]:
        """Names of the calibrators, without the controls."""
        return list(self.training_mse)

    @property
    def target_ids(self) -> list[str]:
        """Identifiers of the targets."""
        names = self.panel.questions if self.direction == "question" else self.panel.users
        return [names[i] for i in self.targets]

    def scores(self, metric: str, name: str) -> Float[np.ndarray, " t"]:
        """One metric of one prediction for every target; NaN where there is nothing to judge.

        A correlation is 0 where a side hardly varies: by at most 0.01 in units of the answers,
        which is the published rule, or 0.01 of their range where that is below 1. For the methods,
        `"training_mse"` is a metric too.

        **Raises:** `ValueError` for an unknown metric or name.
        """
        if name not in self.predictions:
            raise ValueError(f"no predictions called {name!r}; there are {list(self.predictions)}")
        if metric == "training_mse":
            if name not in self.training_mse:
                raise ValueError(f"{name!r} is not fitted, so that it has no training error")
            return np.asarray(self.training_mse[name])
        prediction = self.predictions[name]
        # A cell without a prediction (because a twin gave no answer) is not scored.
        truth = np.where(np.isnan(prediction), np.nan, self.truth)
        prediction = np.where(np.isnan(prediction), 0, prediction)
        width, unit = self._width, 1.0
        widest = width.max(axis=1, keepdims=True)
        # Single precision does not hold answers that are large beside their range.
        known = ~np.isnan(truth)
        low = np.min(truth, axis=1, where=known, initial=np.inf, keepdims=True)
        size = np.max(np.abs(truth), axis=1, where=known, initial=0, keepdims=True)
        origin = np.where(np.isfinite(low) & (size > _FAR * widest), low, 0.0)
        prediction, truth = prediction - origin, truth - origin
        if metric == "accuracy":
            unit = width
        elif metric in ("pearson", "spearman"):
            unit = np.minimum(widest, 1.0)
        prediction, truth = prediction / unit, truth / unit
        return np.asarray(score_targets(metric, prediction, truth, scale=(0.0, 1.0)))

    def summary(self, metric: str = "pearson") -> list[dict]:
        """`method`, `metric`, `mean`, `se`, `count` and `fisher_z_mean` of every prediction.

        `left_out` is the number of targets without a score, which are not in the mean.
        """
        rows = []
        for name in self.methods if metric == "training_mse" else self.predictions:
            result = summarize(self.scores(metric, name))
            rows.append(
                {
                    "method": name,
                    "metric": metric,
                    "mean": float(result.mean),
                    "se": float(result.se),
                    "count": int(result.count),
                    "left_out": len(self.targets) - int(result.count),
                    "fisher_z_mean": float(result.fisher_z_mean),
                }
            )
        return rows

    def to_long(self, backend: str = "pandas") -> Any:
        """A data frame in long form: a row per target and person (or question).

        Its columns are `user`, `question`, `human`, the answer, and every prediction by name.

        **Arguments:** `backend`: as in [`Panel.to_frames`][].

        **Raises:** as there, and `ValueError` for a prediction called like another column.

        **Example:**

            >>> from syndigits_jax import Ridge, leave_one_question_out
            >>> from syndigits_jax.datasets import sample_panel
            >>> panel = sample_panel().take(questions=slice(0, 8))
            >>> rows = leave_one_question_out([Ridge(10.0)], panel).to_long()
            >>> print(len(rows), list(rows.columns)[:4])
            1600 ['user', 'question', 'human', 'Baseline']
        """
        taken = {"user", "question", "human"} & set(self.predictions)
        if taken:
            raise ValueError(f"`predictions`: one is called {min(taken)!r}, as is another column")
        cells = {"human": self.truth, **self.predictions}
        users, questions = self.panel.users, self.panel.questions
        if self.direction == "question":
            questions = self.target_ids
            cells = {name: np.transpose(values) for name, values in cells.items()}
        else:
            users = self.target_ids
        return long_frame(users, questions, cells, backend)

    def __str__(self) -> str:
        return text_table(self._title, *self._shown())

    def __repr__(self) -> str:
        names = ", ".join(self.predictions)
        held = f"{len(self.targets)} {self.direction}s of {self.panel.name!r} held out"
        return f"HoldOut({held}: {names})"

    def _repr_html_(self) -> str:
        return html_table(self._title, *self._shown())

    @property
    def _title(self) -> str:
        return f"{len(self.targets)} {self.direction}s held out in turn: means ± standard errors"

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        found = zip(self.summary("pearson"), self.summary("mse"), strict=True)
        rows = [
            [one["method"], with_error(one["mean"], one["se"]), fixed(two["mean"])]
            for one, two in found
        ]
        return ["", "correlation", "MSE"], rows

    @functools.cached_property
    def _width(self) -> Float[np.ndarray, "t s"]:
        """Answer range of every cell's question; 1 for a question that everyone answers alike."""
        panel = self.panel.with_observed_ranges()
        width = panel.high - panel.low
        width = np.where(width > 0, width, 1.0)
        if self.direction == "question":
            return np.broadcast_to(width[self.targets][:, None], self.truth.shape)
        return np.broadcast_to(width[None, :], self.truth.shape)
