"""How good are these twins? Every question held out in turn, and what that says in plain words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from syndigits_jax.calibration import HoldOut, Settings, leave_one_question_out
from syndigits_jax.calibration.calibrators import Calibrator
from syndigits_jax.panel import Panel

TWINS = "Baseline"  # the control that is the twins' own answers
_CLEAR = 2.0  # standard errors that a difference takes to be told from chance
_MEANT = {
    TWINS: "twins as they are",
    "UserMean": "people's mean answer to other questions",
}


@dataclass(frozen=True)
class TwinQuality:
    """What a hold-out says of the twins and of calibrating them.

    - `holdout`: all predictions. `rows`: a row per predictor, controls first: `method`, then
      `correlation`, its standard error `se`, and `mse`, means over the questions.
    - `spread`: standard deviation of the twins' answers over that of the people's, the median over
      the questions (1: as different from each other as people are; 0: all alike).
    - `alike`: questions to which all twins give the same answer.
    """

    holdout: HoldOut
    rows: tuple[Mapping[str, float | str], ...]
    spread: float
    alike: tuple[str, ...]

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the numbers say, one sentence each."""
        return tuple(_verdict(self))


def judge_twins(
    panel: Panel,
    methods: Mapping[str, Calibrator],
    *,
    settings: Settings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TwinQuality:
    """Hold every question out in turn and compare predictions of people's answers to it.

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
        }
        for name in (*controls, *holdout.methods)
    )
    twin, human = (_deviation(x) for x in (panel.twin, panel.human))
    ratio = twin / np.where(human > 0, human, np.nan)
    alike = tuple(np.array(panel.questions)[twin <= 1e-9].tolist())
    return TwinQuality(holdout, rows, _median(ratio), alike)


def _verdict(quality: TwinQuality) -> list[str]:
    by_name = {str(row["method"]): row for row in quality.rows}
    twins = by_name[TWINS]
    said = [
        f"The twins' own answers correlate with people's at {_value(twins)} per question: "
        f"{_against_chance(twins)}."
    ]
    said.append(
        f"They differ from each other {quality.spread:.2f} times as much as people do"
        + (f"; to {len(quality.alike)} questions all answer alike." if quality.alike else ".")
    )
    trivial = [row for name, row in by_name.items() if name in _MEANT]
    best = max(trivial, key=_correlation)
    methods = [by_name[name] for name in quality.holdout.methods]
    if not methods or not math.isfinite(max(map(_correlation, methods))):
        return said
    winner = max(methods, key=_correlation)
    gain, se = _difference(quality.holdout, str(winner["method"]), str(best["method"]))
    if gain > _CLEAR * se:
        words = "more than"
    elif gain < -_CLEAR * se:
        words = "less than"
    else:
        words = "which cannot be told from"
    said.append(
        f"Calibrated, they reach {_value(winner)} ({winner['method']}, the best of "
        f"{len(methods)}), {words} {_MEANT[str(best['method'])]} ({_value(best)})."
    )
    return said


def _against_chance(row: Mapping[str, float | str]) -> str:
    mean, se = float(row["correlation"]), float(row["se"])
    if not math.isfinite(mean):
        return "there is nothing to correlate"
    if mean > _CLEAR * se:
        return "more than chance would give"
    return "less than nothing" if mean < -_CLEAR * se else "not to be told from chance"


def _difference(holdout: HoldOut, first: str, second: str) -> tuple[float, float]:
    """Mean difference of correlations over questions that both have, and its standard error."""
    apart = holdout.scores("pearson", first) - holdout.scores("pearson", second)
    apart = apart[np.isfinite(apart)]
    if len(apart) < 2:
        return math.nan, math.nan
    return float(apart.mean()), float(apart.std(ddof=1) / math.sqrt(len(apart)))


def _correlation(row: Mapping[str, float | str]) -> float:
    value = float(row["correlation"])
    return value if math.isfinite(value) else -math.inf


def _value(row: Mapping[str, float | str]) -> str:
    return f"{float(row['correlation']):.3f} ± {float(row['se']):.3f}"


def _deviation(answers: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " m"]:
    """Standard deviation of each column over who answered; NaN where fewer than two did."""
    there = ~np.isnan(answers)
    count = there.sum(axis=0)
    filled = np.where(there, answers, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(there, (answers - mean[None, :]) ** 2, 0.0).sum(axis=0)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def _median(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
