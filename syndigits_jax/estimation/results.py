"""What the estimator returns, and what to expect of it: both host side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ..inference.conformal import Interval
from .options import option_probabilities
from .person_intervals import Judged, PersonIntervals


@dataclass(frozen=True)
class Expected:
    """How well known targets were predicted without their own answers (nested hold-out).

    - `count`: how many known targets were judged, in how many `groups` that were left out together.
    - `correlation`, `correlation_error`: mean over targets, and its standard error over groups.
    - `error`, `twin_error`: root mean square error of a target's mean answer, of the estimate and
      of the twins, in units of the range.
    - `controls`: mean correlation of every control, by name; the twins are `"Baseline"`.
    """

    count: int
    groups: int
    correlation: float
    correlation_error: float
    error: float
    twin_error: float
    controls: Mapping[str, float]

    @property
    def best_control(self) -> str:
        """The control of largest correlation."""
        return max(self.controls, key=lambda name: self.controls[name])


@dataclass(frozen=True)
class Estimates:
    """Estimated answers: one row per user, one column per question.

    - `direction`: whether the targets are questions (columns) or users (rows).
    - `users`, `questions`: identifiers of the rows and columns of `prediction`.
    - `prediction`: (n, q) on each question's scale, never beyond its range.
    - `mean`, `sd`: (q,) estimated mean and standard deviation of the people's answers; of users,
      those of the known users.
    - `mean_interval`: ends of the means (q,), which hold the true mean of a question drawn like the
      known ones with probability `level`; infinite where too few questions are known.
    - `low`, `high`: (q,) ranges; `step`: (q,) of the answers, NaN if not known.
    - `setting`: of every target, such as `"known battery"` or `"new survey"`.
    - `weights`: by setting, the weight of each component; `learnt`: by setting, whether the known
      targets decided them (with too few they are fixed).
    - `expected`: by setting, what to expect; empty if that was not asked for.
    - `known_answers`: (t,) human answers to each target that were used.
    - `status`, `imputation_status`: (t,) worst status of the fits and of the imputation.
    - `people`: what [`intervals`][] are made of, where they were asked for; `judged`: by setting,
      how those of the levels asked for do on the known questions.
    """

    direction: Literal["question", "user"]
    users: tuple[str, ...]
    questions: tuple[str, ...]
    prediction: Float[np.ndarray, "n q"]
    mean: Float[np.ndarray, " q"]
    sd: Float[np.ndarray, " q"]
    mean_interval: Interval
    level: float
    low: Float[np.ndarray, " q"]
    high: Float[np.ndarray, " q"]
    step: Float[np.ndarray, " q"]
    setting: tuple[str, ...]
    weights: Mapping[str, Mapping[str, float]]
    learnt: Mapping[str, bool]
    known_answers: Int[np.ndarray, " t"]
    status: Int[np.ndarray, " t"]
    imputation_status: Int[np.ndarray, " t"]
    expected: Mapping[str, Expected] = field(default_factory=dict)
    sample_weight: Float[np.ndarray, " n"] | None = None
    people: PersonIntervals | None = field(default=None, repr=False)
    judged: Mapping[str, tuple[Judged, ...]] = field(default_factory=dict, repr=False)

    def intervals(self, level: float) -> Interval:
        """An interval for every person's answer, (n, q), within each question's range.

        It holds the answer of a person drawn at random, to a question drawn like the known ones
        (from a block drawn like theirs, for a new survey), with probability at least
        1 - 2 (1 - `level`), in practice `level` or more. Of one question, and of questions chosen
        because they are hard, nothing is promised. With too few known questions or blocks
        (`fewest_units`: 9 for 90%, 4 for 80%) it is the whole range. Known answers to the question
        itself are not used.

        **Raises:** `ValueError` for a `level` outside (0, 1), or an estimate without intervals.
        """
        if self.people is None:
            raise ValueError(
                "`intervals` were not asked for: estimate_questions(..., intervals=[0.9])"
            )
        return self.people.at(level, self.low, self.high)

    def options(self, question: str) -> Float[np.ndarray, " k"]:
        """The values that a question can be answered with.

        **Raises:** `ValueError` for an unknown question, or one without a known step.
        """
        at = self._at(question)
        if np.isnan(self.step[at]):
            raise ValueError(f"`question`: {question!r} has no known step, so no list of options")
        count = round((self.high[at] - self.low[at]) / self.step[at]) + 1
        if count > 101:
            raise ValueError(f"`question`: {question!r} has {count} options, too many to list")
        return self.low[at] + self.step[at] * np.arange(count)

    def option_probabilities(self, question: str) -> Float[np.ndarray, "n k"]:
        """Each person's probabilities of the [`options`][]; their means are the predictions.

        **Raises:** `ValueError` as [`options`][].
        """
        at, options = self._at(question), self.options(question)
        return np.asarray(
            option_probabilities(
                self.prediction[:, at], self.sd[at], options, sample_weight=self.sample_weight
            )
        )

    def shares(self, question: str) -> Float[np.ndarray, " k"]:
        """The estimated share of people who choose each of the [`options`][].

        **Raises:** `ValueError` as [`options`][].
        """
        probabilities = self.option_probabilities(question)
        return np.average(probabilities, axis=0, weights=self.sample_weight)

    def _at(self, question: str) -> int:
        if question not in self.questions:
            raise ValueError(f"`question`: {question!r} is not among {list(self.questions)[:5]}")
        return self.questions.index(question)


def expectation(
    correlations: Float[np.ndarray, " k"],
    errors: Float[np.ndarray, " k"],
    twin_errors: Float[np.ndarray, " k"],
    groups: Int[np.ndarray, " k"],
    controls: Mapping[str, Float[np.ndarray, " k"]],
) -> Expected:
    """Averages over k known targets; standard errors over the groups left out together.

    **Arguments:**

    - `correlations`: (k,) of the estimate, NaN where undefined.
    - `errors`, `twin_errors`: (k,) errors of the mean answer, in units of the range.
    - `groups`: (k,) the group of each target.
    - `controls`: (k,) correlations of each control, by name.
    """
    judged = ~np.isnan(correlations)
    names = np.unique(groups[judged])
    means = np.array([correlations[judged & (groups == g)].mean() for g in names])
    sizes = np.array([np.sum(judged & (groups == g)) for g in names])
    centre = float(correlations[judged].mean()) if judged.any() else float("nan")
    error = float("nan")
    if len(names) > 1:
        share = sizes / sizes.sum()
        spread = np.sum((share * (means - centre)) ** 2) * len(names) / (len(names) - 1)
        error = float(np.sqrt(spread))

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean(values**2))) if np.any(~np.isnan(values)) else float("nan")

    return Expected(
        int(judged.sum()),
        len(names),
        centre,
        error,
        rms(errors),
        rms(twin_errors),
        {name: float(np.nanmean(values)) for name, values in controls.items()},
    )
