"""The truth about simulated twins: of their law, of drawn questions, and of a procedure.

- Of the law (`law_truth`): what raw twins are like over all questions and people of a kind, from
  many of them, or exactly where the law says so.
- Of drawn questions (`panel_truth`): what raw twins of other people do with them.
- Of the procedure (`procedure_truth`): what calibration comes to on average over panels of this
  size; the mean over the other panels of the same kind.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syndigits_jax.datasets import SimulatedQuestions, simulate_answers, simulate_questions

PEOPLE, TWINS = 120, 24
MANY_PEOPLE, MANY_QUESTIONS = 3000, 1200
THRESHOLDS = np.arange(1, 5) + 0.5
RANGE = 4.0

Numbers = dict[str, Any]


@functools.cache
def law_truth(kind: Any) -> Numbers:
    """Of raw twins of a kind, for people and questions of this law."""
    questions = simulate_questions(kind, MANY_QUESTIONS, key=10**6)
    answers = simulate_answers(questions, MANY_PEOPLE, key=10**6)
    human, twin = (answers.human - 1) / RANGE, (answers.twin - 1) / RANGE
    correlation = _correlations(human, twin)
    bias = np.mean(twin - human, axis=0)
    # The same people: what their sampling adds to squares is known.
    noise = np.var(twin - human, axis=0, ddof=1) / MANY_PEOPLE
    variance, twin_variance = human.var(axis=0), twin.var(axis=0)
    effects = [_effects(values, answers.treated) for values in (human, twin)]
    some = questions.effect != 0
    found: Numbers = {
        "correlation": 0.0 if kind == "useless" else float(correlation.mean()),
        "spread": 1.0 if kind == "good" else float(np.mean(np.sqrt(twin_variance / variance))),
        # Squared error of the mean of 120 twins, over the variance of a person's answers.
        "relative": float(
            (np.mean(bias**2 - noise) * (kind != "good") + np.mean(twin_variance) / PEOPLE)
            / variance.mean()
        ),
        "direction": 0.5 if kind == "useless" else 1.0,
        "slope": {"good": 1.0, "useless": 0.0}.get(
            kind, float(np.sum(effects[0][some] * effects[1][some]) / np.sum(effects[0][some] ** 2))
        ),
    }
    alike = kind != "group-biased"
    for name, label in (("north", False), ("south", True)):
        mine = answers.second == label
        part = slice(None) if alike else mine
        h, t = human[part], twin[part]
        found[f"level {name}"] = _square(t - h)
        found[f"correlation {name}"] = found["correlation"]
        if not alike:
            found[f"correlation {name}"] = float(_correlations(h, t).mean())
        gaps = [
            _square((t * RANGE + 1 <= at).astype(float) - (h * RANGE + 1 <= at))
            for at in THRESHOLDS
        ]
        # Twelve thresholds, three between two options of five each, four at the ends of none.
        found[f"distribution {name}"] = float(np.mean(gaps))
    return found


def panel_truth(questions: SimulatedQuestions, key: int) -> Numbers:
    """Of raw twins of other people, on drawn questions."""
    from syndigits_jax.evaluation import joint_structure
    from syndigits_jax.fidelity import effective_numbers

    kind = questions.kind
    answers = simulate_answers(questions, MANY_PEOPLE, key=10**7 + key)
    alike = (questions.effect == questions.twin_effect) & (questions.mean == questions.twin_mean)
    alike &= kind in ("good", "biased")
    found: Numbers = {
        "level": (~alike).tolist(),
        "effect": (questions.effect != 0).tolist(),
        "apart": (~((questions.effect == 0) | alike)).tolist(),
    }
    if kind == "good":
        return found | {"joint": 0.0, "factor": 0.0, "distinct": 1.0}
    joint = joint_structure(answers.human, answers.twin)
    few = slice(0, 1500)
    numbers = effective_numbers(answers.human[few], answers.twin[few])
    alone = 1 / PEOPLE  # the likeness of somebody drawn twice
    likeness = [(1 / e - 1 / 1500) / (1 - 1 / 1500) for e in (numbers.people, numbers.twins)]
    of_few = [1 / (alone + (1 - alone) * one) for one in likeness]
    return found | {
        "joint": joint.difference.estimate,
        "factor": joint.factor_gap.estimate,
        "distinct": of_few[1] / of_few[0],
    }


MEANS = (
    "quality.auto_correlation", "quality.calibration_gain", "quality.gate", "left_to_twins.lift",
    "left_to_twins.raw", "worth.beside", "worth.trial", "effects.sign_calibrated",
)  # fmt: skip
"""Sentences whose truth is the mean of their estimates."""


def procedure_truth(records: Sequence[Numbers], law: Numbers) -> Numbers:
    """What calibration comes to on average, from the reports on other panels of a kind."""
    found: Numbers = {
        name: _mean(one["claims"].get(name, {}).get("estimate") for one in records)
        for name in MEANS
    }
    # Of ratios, the mean of what is estimated without bias.
    found["worth.alone"] = _mean(
        1 / one["claims"]["worth.alone"]["estimate"]
        if "estimate" in one["claims"].get("worth.alone", {}) else 0.0
        for one in records
    )  # fmt: skip
    found["effects.size_calibrated"] = _median(
        one["claims"].get("effects.size_calibrated", {}).get("estimate") for one in records
    )
    scores: dict[str, list[float]] = {}
    for one in records:
        for row in one["rows"]["quality_scores"]:
            scores.setdefault(row["prediction"], []).append(row["correlation"])
    found["scores"] = {name: float(np.mean(values)) for name, values in scores.items()}
    found["mean_error"] = _mean(
        row["mean_error"] for one in records for row in one["rows"]["quality_differences"]
        if row["beside"] == "raw twins"
    )  # fmt: skip
    for measure, title in MEASURES.items():
        for group in ("north", "south"):
            rows = [
                row for one in records for row in one["rows"]["groups_region"]
                if row["measure"] == title and row["group"] == group
            ]  # fmt: skip
            gain = _mean(row["gain_value"] for row in rows)
            found[f"gain {measure} {group}"] = gain
            better = 1.0 if measure == "correlation" else -1.0
            found[f"{measure} {group}"] = law[f"{measure} {group}"] + better * gain
    return found


MEASURES = {
    "level": "Error of the mean",
    "correlation": "Correlation",
    "distribution": "Error of the distribution",
}


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = ((values - values.mean(axis=0)) / values.std(axis=0) for values in (x, y))
    return np.mean(x * y, axis=0)


def _effects(values: np.ndarray, treated: np.ndarray) -> np.ndarray:
    return values[treated].mean(axis=0) - values[~treated].mean(axis=0)


def _square(gap: np.ndarray) -> float:
    """Mean over questions of the squared mean, without the noise of people."""
    return float(np.mean(gap.mean(axis=0) ** 2 - gap.var(axis=0, ddof=1) / len(gap)))


def _mean(values: Any) -> float:
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _median(values: Any) -> float:
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
