"""Quality of twins: every question held out in turn, with a verdict in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from syndigits_jax.calibration import Settings
from syndigits_jax.calibration.calibrators import Calibrator
from syndigits_jax.evaluation import HoldOut, leave_one_question_out
from syndigits_jax.panel import Panel
from syndigits_jax.results.names import kebab

MEANT = {  # controls, which need no calibration
    "Baseline": "the twins as they are",
    "UserMean": "people's mean answer to other questions",
    "ZScoredUserMean": "people's mean z-score on other questions",
}
_TWINS = "Baseline"
_LEAST_SD = 1e-2  # below this standard deviation a correlation counts as 0; `metrics.pearson`


class MeanInterval(NamedTuple):
    """A mean over questions and its 95% interval; NaN if there are too few questions or people."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"95% interval {self.low:.3f} to {self.high:.3f}"


@dataclass(frozen=True)
class TwinQuality:
    """Results of a hold-out of every question, for the twins and for their calibration.

    - `holdout`: all predictions.
    - `rows`: one row per predictor, controls first: `method`; `correlation` and `mse`, means over
      the questions; `se`, the standard error of the correlation over questions; `count`, the number
      of questions with a correlation, to which the mean is restricted.
    - `spread`: standard deviation of the twins' answers relative to that of people's answers,
      median over the questions (1: twins differ as much as people; 0: all twins are alike).
    - `alike`: questions to which all twins give the same answer, only one twin answers, or the
      standard deviation of the answers is at most 0.01: their correlation counts as 0.
    - `best`: the method with the highest correlation.
    - `twins`: correlation of the twins' own answers with people's answers.
    - `calibrated`: correlation of calibrated answers; for each question, the method is the best
      one on the other questions. `plain`: the same for the controls. `gain`: `calibrated` less
      `plain`.

    As the best of several methods looks better than it is on the data that selected it, each
    question's method is chosen without that question. Intervals account for the sampling of both
    questions and people: their variance is the variance over questions plus that of the jackknife
    over people, which includes errors that are shared by questions.
    """

    holdout: HoldOut
    rows: tuple[Mapping[str, float | str], ...]
    spread: float
    alike: tuple[str, ...]
    best: str
    twins: MeanInterval
    calibrated: MeanInterval
    plain: MeanInterval
    gain: MeanInterval
    _plain_name: str

    @property
    def verdict(self) -> tuple[str, ...]:
        """The results in words, one sentence each."""
        return tuple(_verdict(self))


def judge_twins(
    panel: Panel,
    methods: Mapping[str, Calibrator],
    *,
    settings: Settings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TwinQuality:
    """Hold every question out in turn and compare predictions of people's answers to it.

    Questions without human answers are ignored.

    **Arguments:**

    - `panel`: human and twin answers.
    - `methods`: calibrators by name.
    - `settings`: of the calibration; the defaults if `None`.
    - `on_progress`: called as in [`leave_one_question_out`][].

    **Raises:** `ValueError` if fewer than three questions have human answers, and as
    [`leave_one_question_out`][] does.
    """
    panel = panel.drop(questions=panel.new_questions)
    if panel.m < 3:
        raise ValueError(
            f"human: {panel.m} questions have human answers; to hold one out at least 3 are needed"
        )
    holdout = leave_one_question_out(methods, panel, settings=settings, on_progress=on_progress)
    correlation = {row["method"]: row for row in holdout.summary("pearson")}
    error = {row["method"]: row["mean"] for row in holdout.summary("mse")}
    controls = [name for name in correlation if name not in holdout.methods]
    rows = tuple(
        {
            "method": name,
            "correlation": correlation[name]["mean"],
            "se": correlation[name]["se"],
            "mse": error[name],
            "count": correlation[name]["count"],
        }
        for name in (*controls, *holdout.methods)
    )
    scores = {name: _Scores.of(holdout, name) for name in (*holdout.methods, *MEANT)}
    calibrated, _ = _chosen([scores[name] for name in holdout.methods])
    plain, choice = _chosen([scores[name] for name in MEANT])
    twin, human = (_deviation(x) for x in (panel.twin, panel.human))
    return TwinQuality(
        holdout,
        rows,
        _median(twin / np.where(human > 0, human, np.nan)),
        tuple(np.array(panel.questions)[(twin <= _LEAST_SD) | holdout.twins_alike].tolist()),
        max(holdout.methods, key=lambda name: _or_least(correlation[name]["mean"])),
        scores[_TWINS].interval(),
        calibrated.interval(),
        plain.interval(),
        calibrated.less(plain).interval(),
        _one_of([list(MEANT.values())[i] for i in sorted(set(choice.tolist()))]),
    )


def _one_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    *others, last = names
    return f"the {'best' if others[1:] else 'better'} of {', '.join(others)} and {last}"


def _verdict(quality: TwinQuality) -> list[str]:
    twins, m = quality.twins, quality.holdout.panel.m
    if not math.isfinite(twins.mean):
        return ["The twins' own answers cannot be compared with people's: there are too few."]
    against = "which cannot be told from chance"
    if twins.low > 0:
        against = "more than chance would give"
    elif twins.high < 0:
        against = "less than chance would give"
    said = [
        f"The twins' own answers correlate with people's at {twins.mean:.3f} on average over "
        f"{m} questions ({twins}), {against}."
    ]
    if math.isfinite(quality.spread):
        said.append(
            f"Twins differ from each other {quality.spread:.2f} times as much as people do "
            "(standard deviations, median over questions)."
        )
    if quality.alike:
        said.append(
            f"To {len(quality.alike)} of {m} questions all twins give the same answer (standard "
            f"deviation at most {_LEAST_SD:g}); their correlation counts as 0."
        )
    gain, plain = quality.gain, quality._plain_name
    if not math.isfinite(gain.mean):
        return said
    methods = [kebab(name) for name in quality.holdout.methods]
    how = methods[0]
    if len(methods) > 1:
        how = f"for each question the one of {len(methods)} methods that is best on the others"
    compared = f"cannot be told from {plain} ({quality.plain.mean:.3f}; difference {gain.mean:+.3f}"
    if gain.low > 0 or gain.high < 0:
        more = "more" if gain.low > 0 else "less"
        compared = (
            f"is {abs(gain.mean):.3f} {more} than {plain} ({quality.plain.mean:.3f}; difference"
        )
        compared += f" {gain.mean:+.3f}"
    said.append(
        f"Calibrated ({how}), the correlation is {quality.calibrated.mean:.3f}, which {compared}, "
        f"{gain})."
    )
    return said


@dataclass(frozen=True)
class _Scores:
    """Correlations of one predictor: per question, and per question without each person."""

    whole: Float[np.ndarray, " m"]
    without: Float[np.ndarray, "n m"]

    @classmethod
    def of(cls, holdout: HoldOut, name: str) -> "_Scores":
        without = _without_each(holdout.predictions[name].T, holdout.truth.T)
        return cls(np.asarray(holdout.scores("pearson", name), float), without)

    def less(self, other: "_Scores") -> "_Scores":
        return _Scores(self.whole - other.whole, self.without - other.without)

    def interval(self) -> MeanInterval:
        known = np.isfinite(self.whole) & np.isfinite(self.without).all(axis=0)
        values, n = self.whole[known], len(self.without)
        m = len(values)
        if m < 2 or n < 2:
            return MeanInterval(math.nan, math.nan, math.nan)
        by_person = self.without[:, known].mean(axis=1)
        variance = values.var(ddof=1) / m + (n - 1) * by_person.var()
        mean, reach = float(values.mean()), _student(min(m, n) - 1) * math.sqrt(variance)
        return MeanInterval(mean, mean - reach, mean + reach)


def _chosen(candidates: Sequence[_Scores]) -> tuple[_Scores, Int[np.ndarray, " m"]]:
    """For each question the scores and the index of the candidate that is best on the others."""
    whole = np.stack([one.whole for one in candidates])
    known = np.isfinite(whole)
    filled = np.where(known, whole, 0.0)
    count = known.sum(axis=1, keepdims=True) - known
    others = (filled.sum(axis=1, keepdims=True) - filled) / np.maximum(count, 1)
    choice = np.argmax(np.where(count > 0, others, -np.inf), axis=0)
    column = np.arange(whole.shape[1])
    without = np.stack([one.without for one in candidates])
    return _Scores(whole[choice, column], without[choice, :, column].T), choice


def _without_each(
    prediction: Float[np.ndarray, "n m"], truth: Float[np.ndarray, "n m"]
) -> Float[np.ndarray, "n m"]:
    """The correlation of each column without each row, by the rules of `metrics.pearson`."""
    there = ~np.isnan(prediction) & ~np.isnan(truth)
    count = there.sum(axis=0)

    def centred(values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        return np.where(there, values - mean[None, :], 0.0)

    x, y = centred(np.asarray(prediction, float)), centred(np.asarray(truth, float))
    left = np.maximum(count[None, :] - there, 1)

    def moment(
        a: Float[np.ndarray, "n m"], b: Float[np.ndarray, "n m"]
    ) -> Float[np.ndarray, "n m"]:
        # Sums of centred values are 0, so without row i they are minus the value in row i.
        return ((a * b).sum(axis=0)[None, :] - a * b) / left - (a / left) * (b / left)

    x_sd, y_sd = (np.sqrt(np.maximum(moment(a, a), 0.0)) for a in (x, y))
    means_nothing = (x_sd <= _LEAST_SD) | (y_sd <= _LEAST_SD)
    value = moment(x, y) / np.where(means_nothing, 1.0, x_sd * y_sd)
    return np.where(means_nothing, 0.0, np.clip(value, -1.0, 1.0))


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, by its expansion about the normal's (Abramowitz and
    Stegun, 26.7.5): within 3% from two degrees of freedom on."""
    z, d = 1.959963985, max(freedom, 1)
    return (
        z
        + (z**3 + z) / (4 * d)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * d**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * d**3)
    )


def _or_least(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _deviation(answers: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " m"]:
    """Standard deviation of each column over its answers; NaN with fewer than two answers."""
    there = ~np.isnan(answers)
    count = there.sum(axis=0)
    mean = np.where(there, answers, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(there, (answers - mean[None, :]) ** 2, 0.0).sum(axis=0)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def _median(values: Float[np.ndarray, " m"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
