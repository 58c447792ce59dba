"""What the estimator returns, and what to expect of it: both host side."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ..inference.conformal import Interval
from ..results.keys import Key, random_key
from .answer_model import AnswerModel, draw_people
from .options import option_probabilities
from .question_draws import DrawSource


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
    - `source`: what draws of new questions are made of.
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
    source: DrawSource | None = field(default=None, repr=False, compare=False)

    def answer_model(self) -> tuple[AnswerModel, dict[str, bool]]:
        """The joint distribution of everybody's answers to the targets, for `draw_people`.

        **Returns:** the model, a pytree, and by setting whether enough known questions decided how
        a person's errors on different questions go together (with few of them, a prior does).

        **Raises:** `ValueError` for new users, a question whose range is not known (its twins all
        answer alike), or too few known questions to learn a level and a spread.
        """
        return self._model

    @functools.cached_property
    def _model(self) -> tuple[AnswerModel, dict[str, bool]]:
        if self.source is None:
            raise ValueError("`draws` are for new questions, not for new users")
        return self.source.model(self.prediction.T, self.sd)

    def draws(self, num_draws: int, *, key: Key = 0) -> Float[np.ndarray, "d n q"]:
        """Answers that people could give, several for each person and jointly over questions.

        The mean over draws is the prediction; each draw is a population that varies as people do,
        question by question and together. Known answers to a target are not drawn. What draws do
        not vary is a question's level: how far its mean may be off, `mean_interval` says.

        **Arguments:**

        - `num_draws`: d. The first draws are the same however many there are.
        - `key`: a JAX random key or an integer. The draws of a question do not depend on the
          questions that are estimated with it, as long as they have no human answers.

        **Returns:** (d, n, q) answers on each question's scale.

        **Raises:** `ValueError` as [`answer_model`][], and for fewer than one draw.

        **Example:**

            >>> from syndigits_jax import estimate_questions
            >>> from syndigits_jax.datasets import sample_panel
            >>> panel = sample_panel()
            >>> found = estimate_questions(panel, panel.questions[-2:], expect=False)
            >>> draws = found.draws(3, key=1)
            >>> print(draws.shape, (draws == found.draws(3, key=1)).all())
            (3, 200, 2) True
        """
        if num_draws < 1:
            raise ValueError(f"`num_draws` must be at least 1, got {num_draws}")
        model, _ = self.answer_model()
        found = np.asarray(draw_people(model, num_draws, key=random_key(key)), np.float64)
        # In double precision, so that an answer is written as it would be in a survey.
        step = np.where(np.isnan(self.step), 1, self.step)
        exact = self.low + np.round((found - self.low) / step) * step
        return np.where(np.isnan(self.step), found, np.clip(exact, self.low, self.high))

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

        How people use the options is learnt from known questions with as many.

        **Raises:** `ValueError` as [`options`][].
        """
        at, options = self._at(question), self.options(question)
        base = None if self.source is None else self.source.base(at)
        return np.asarray(
            option_probabilities(
                self.prediction[:, at],
                self.sd[at],
                options,
                base=base,
                sample_weight=self.sample_weight,
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
