"""What the estimator returns, and what to expect of it: both host side."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..inference.conformal import Interval
from ..results.format import fixed, html_table, text_table, whole
from ..results.keys import Key, random_key
from ..solvers.checks import check_count, check_probability
from ..tables.frames import long_frame
from .answer_model import AnswerModel, draw_people
from .options import number_of_options
from .person_intervals import Judged, PersonIntervals
from .question_draws import DrawSource
from .share_intervals import (
    MOST_OPTIONS,
    KnownShares,
    chosen_options,
    interval_of_shares,
    probabilities_on,
)

_SHOWN = 20  # targets that a display lists


@dataclass(frozen=True)
class Expected:
    """How well known targets were predicted without their own answers (nested hold-out).

    All correlations are means over the same targets, those with answers to judge the estimate by.
    A prediction without a correlation there, because it is constant or there is none, counts as 0,
    as in every hold-out. They count everyone of positive weight alike. Both errors likewise are
    over the same targets.

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


@dataclass(frozen=True, repr=False)
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
    - `answers`: (n, q) those answers, NaN elsewhere; `sample_weight`: (n,) of the people, if given.
    - `known_shares`: by setting, what intervals of shares are learnt from; `kind`: of every
      target's scale; `widened`: (q,) by how much known answers say that errors are larger.
    - `status`, `imputation_status`: (t,) worst status of the fits and of the imputation.
    - `people`: what [`intervals`][] are made of, where they were asked for; `judged`: by setting,
      how those of the levels asked for do on the known questions.
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
    answers: Float[np.ndarray, "n q"] | None = None
    known_shares: Mapping[str, KnownShares] = field(default_factory=dict)
    kind: tuple[str, ...] = ()
    widened: Float[np.ndarray, " q"] | None = None
    people: PersonIntervals | None = field(default=None, repr=False)
    judged: Mapping[str, tuple[Judged, ...]] = field(default_factory=dict, repr=False)
    source: DrawSource | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        size = f"{len(self.users)} users x {len(self.questions)} questions"
        return f"Estimates({size}; {self.direction}s, {', '.join(dict.fromkeys(self.setting))})"

    def __str__(self) -> str:
        return text_table(*self._shown())

    def _repr_html_(self) -> str:
        return html_table(*self._shown())

    def _shown(self) -> tuple[str, list[str], list[list[str]]]:
        """Title, head and rows of a table of the targets, at most twenty of them."""
        names = self.questions if self.direction == "question" else self.users
        rows = []
        for t, name in enumerate(names[:_SHOWN]):
            row = [name, self.setting[t], whole(int(self.known_answers[t]))]
            if self.direction == "question":
                ends = self.mean_interval
                low, high = float(ends.lower[t]), float(ends.upper[t])
                finite = np.isfinite([low, high]).all()
                interval = f"{fixed(low, 2)} to {fixed(high, 2)}" if finite else "too few known"
                row += [fixed(float(self.mean[t]), 2), interval, fixed(float(self.sd[t]), 2)]
            rows.append(row)
        head = ["", "setting", "answers"]
        if self.direction == "question":
            head += ["mean", f"{self.level:.0%} interval", "SD"]
        more = f", the first {_SHOWN}" if len(names) > _SHOWN else ""
        return f"Estimates of {len(names)} new {self.direction}s{more}", head, rows

    def to_long(self, backend: str = "pandas", *, level: float | None = None) -> Any:
        """A data frame in long form: a row per person and question.

        Its columns are `user`, `question`, `prediction`, `answer` where human answers to the
        targets were used, and with a `level` the ends `lower` and `upper` of [`intervals`][].

        **Arguments:** `backend`: as in [`Panel.to_frames`][]; `level`: as in [`intervals`][].

        **Raises:** `ValueError` as these.

        **Example:**

            >>> from syndigits_jax import estimate_questions
            >>> from syndigits_jax.datasets import sample_panel
            >>> panel = sample_panel()
            >>> found = estimate_questions(panel, panel.questions[-2:], expect=False)
            >>> print(found.to_long("pyarrow").column_names)
            ['user', 'question', 'prediction', 'answer']
        """
        cells = {"prediction": self.prediction}
        if self.answers is not None:
            cells["answer"] = self.answers
        if level is not None:
            ends = self.intervals(level)
            cells |= {"lower": np.asarray(ends.lower), "upper": np.asarray(ends.upper)}
        return long_frame(self.users, self.questions, cells, backend)

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

    def answer_model(self) -> tuple[AnswerModel, dict[str, bool]]:
        """The joint distribution of everybody's answers to the targets, for `draw_people`.

        Answers of an extreme unit or origin are in a plain one here
        (`source.problem.units`), which single precision holds; [`draws`][] are not.

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
        units, at = self.source.problem.units, self.source.at
        return self.source.model(
            (self.prediction - units.origin[at]).T / units.unit[at][:, None],
            self.sd / units.unit[at],
        )

    def draws(self, num_draws: int | np.integer, *, key: Key = 0) -> Float[np.ndarray, "d n q"]:
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
        check_count("num_draws", num_draws)
        model, _ = self.answer_model()
        assert self.source is not None  # or there were no model
        found = np.asarray(draw_people(model, int(num_draws), key=random_key(key)), np.float64)
        found = self.source.problem.units.original(found, self.source.at)
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
        count = number_of_options(self.low[at], self.high[at], self.step[at])
        if count > MOST_OPTIONS:
            raise ValueError(f"`question`: {question!r} has {count} options, too many to list")
        return self.low[at] + self.step[at] * np.arange(count)

    def option_probabilities(self, question: str) -> Float[np.ndarray, "n k"]:
        """Each person's probabilities of the [`options`][]; their means are the predictions.

        How people use the options is learnt from known questions with as many.

        **Raises:** `ValueError` as [`options`][].
        """
        at, _ = self._at(question), self.options(question)
        scale = self.low[at], self.high[at], self.step[at]
        base = None if self.source is None else self.source.base(at)
        return probabilities_on(self.prediction[:, at], self.sd[at], *scale, self._weight, base)

    def shares(self, question: str) -> Float[np.ndarray, " k"]:
        """The estimated share of people who choose each of the [`options`][].

        People who have answered stand for themselves, as in the mean.

        **Raises:** `ValueError` as [`options`][].
        """
        return self._shares(question, self.option_probabilities(question))

    def _shares(
        self, question: str, probabilities: Float[np.ndarray, "n k"]
    ) -> Float[np.ndarray, " k"]:
        """[`shares`][] from the estimated probabilities."""
        known, at, count = self._known(question), self._at(question), probabilities.shape[1]
        if known.any() and self.answers is not None:
            chosen = chosen_options(self.answers[:, at], self.low[at], self.step[at], count)
            probabilities = np.where(known[:, None], chosen, probabilities)
        return np.average(probabilities, axis=0, weights=self._weight)

    def shares_interval(self, question: str, level: float | None = None) -> Interval:
        """Ends of the [`shares`][], which hold the true share of an option, by questions.

        Conformal over known questions with the same kind of scale, or over blocks for a new survey:
        from 0 to 1 with too few of them, or without a nested hold-out. The shares of those who
        answered are certain, so that each answer narrows it.

        **Arguments:** `level`: the probability; by default that of the means' intervals.

        **Raises:** `ValueError` as [`options`][], and for a `level` outside (0, 1).
        """
        level = self.level if level is None else level
        check_probability(level=level)
        probabilities, at = self.option_probabilities(question), self._at(question)
        margin = np.inf
        learnt = self.known_shares.get(self.setting[at]) if self.known_shares else None
        if learnt is not None:
            margin = learnt.margin(self.kind[at], 1 - level)
            margin *= 1.0 if self.widened is None else self.widened[at]
        share = self._shares(question, probabilities)
        estimated = np.average(probabilities, axis=0, weights=self._weight)
        unknown = float(np.average(~self._known(question), weights=self._weight))
        return interval_of_shares(share, estimated, margin, unknown)

    @property
    def _weight(self) -> Float[np.ndarray, " n"]:
        return np.ones(len(self.users)) if self.sample_weight is None else self.sample_weight

    def _known(self, question: str) -> Bool[np.ndarray, " n"]:
        """Who has answered, and counts."""
        if self.answers is None:
            return np.zeros(len(self.users), bool)
        return ~np.isnan(self.answers[:, self._at(question)]) & (self._weight > 0)

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

    - `correlations`: (k,) of the estimate, NaN where there is no answer to judge it by.
    - `errors`, `twin_errors`: (k,) errors of the mean answer, in units of the range; NaN where
      unknown.
    - `groups`: (k,) the group of each target.
    - `controls`: (k,) correlations of each control, by name; NaN where it predicts nothing.
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

    both = ~np.isnan(errors) & ~np.isnan(twin_errors)

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values[both] ** 2))) if both.any() else float("nan")

    def mean(scores: np.ndarray) -> float:
        return float(np.nan_to_num(scores[judged]).mean()) if judged.any() else float("nan")

    return Expected(
        int(judged.sum()),
        len(names),
        centre,
        error,
        rms(errors),
        rms(twin_errors),
        {name: mean(scores) for name, scores in controls.items()},
    )
