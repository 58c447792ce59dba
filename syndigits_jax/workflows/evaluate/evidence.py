"""What all sections of the report rest on: every known question, predicted without itself.

Computed once; each section is a function of it. All arrays have a row per judged question and a
column per person, in the units of the answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.estimation import (
    HeldOutProbabilities,
    hold_out_learned_control,
    hold_out_probabilities,
    hold_out_questions,
)
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.panel import Panel

AUTO = "calibrated twins"
RAW = "raw twins"
LEARNED = "learned control, no twins"
CONTROLS = {  # as the hold-out names them
    "UserMean": "person's mean, no twins",
    "ZScoredUserMean": "person's mean z-score, no twins",
}


@dataclass(frozen=True)
class Inputs:
    """A user's tables, read and checked.

    - `panel`: human and twin answers, with ranges and blocks where they are given.
    - `weight`: (n,) survey weights as given, or `None`.
    - `groups`: by column, the group of each person ("" where missing).
    - `arms`: (n,) the randomised arm of each person, or `None`; "" for people without one.
    - `retest`: (n, m) people's second answers, NaN where there is none, or `None`.
    - `names`: of the files, for the report's head, such as `{"human": "humans.csv"}`.
    - `notes`: what was dropped or looked odd while reading.
    - `outcome_arms`: by question, (n,) the arm of each person, for questions with an experiment of
      their own (see [`merge_versions`][syndigits_jax.datasets.merge_versions]).
    - `versions`: by arm, (n, m) what every twin answers when shown that arm's version, where twins
      answered all of them; empty if each answered its person's.
    """

    panel: Panel
    weight: Float[np.ndarray, " n"] | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    arms: tuple[str, ...] | None = None
    retest: Float[np.ndarray, "n m"] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outcome_arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: Mapping[str, Float[np.ndarray, "n m"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Held-out predictions of every known question.

    - `inputs`: the tables; `key`: an integer, of all random numbers; `level`: of intervals.
    - `questions`: (q,) names of the judged questions; `at`: (q,) their positions in the panel.
    - `truth`, `twin`: (q, n) answers, NaN where missing.
    - `low`, `high`: (q,) ranges; `width`: their widths, 1 for a point.
    - `block`: (q,) names of their blocks, or `None`.
    - `predictions`: by name ([`AUTO`][], [`RAW`][], [`LEARNED`][] and those of [`CONTROLS`][]),
      (q, n), each made without the human answers of its fold; folds are tenths of the questions.
    - `survey`: the same with folds of whole blocks; empty without two blocks.
    - `weight`: (n,) in units of people ([`effective_weight`][]): ones without weights.
    - `probabilities`: the calibrated twins' probabilities of options, for the questions whose
      options can be listed; `None` if there are none.
    """

    inputs: Inputs
    questions: tuple[str, ...]
    at: np.ndarray
    truth: Float[np.ndarray, "q n"]
    twin: Float[np.ndarray, "q n"]
    low: Float[np.ndarray, " q"]
    high: Float[np.ndarray, " q"]
    block: tuple[str, ...] | None
    predictions: Mapping[str, Float[np.ndarray, "q n"]]
    survey: Mapping[str, Float[np.ndarray, "q n"]]
    weight: Float[np.ndarray, " n"]
    probabilities: HeldOutProbabilities | None = None
    level: float = 0.95
    key: int = 0

    @property
    def width(self) -> Float[np.ndarray, " q"]:
        """(q,) widths of the ranges, 1 for a point."""
        return np.where(self.high > self.low, self.high - self.low, 1.0)

    @property
    def unit_truth(self) -> Float[np.ndarray, "q n"]:
        """The answers as shares of the range."""
        return self.units(self.truth)

    def units(self, answers: Float[np.ndarray, "q n"]) -> Float[np.ndarray, "q n"]:
        """Answers to the judged questions as shares of the range, 0 at its low end."""
        return (answers - self.low[:, None]) / self.width[:, None]


def gather_evidence(
    inputs: Inputs,
    *,
    level: float = 0.95,
    key: int = 0,
    on_fit: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Hold out every known question, and every block where there are several.

    **Arguments:** `inputs`; `level`: of all intervals; `key`: of folds and resampling; `on_fit`:
    called with (fits done, fits in all) of each hold-out.

    **Raises:** `ValueError` as
    [`hold_out_questions`][syndigits_jax.estimation.hold_out_questions].
    """
    panel, weight = inputs.panel.with_observed_ranges(), inputs.weight
    options: dict[str, Any] = {"sample_weight": weight, "key": key, "on_fit": on_fit}
    found = hold_out_questions(inputs.panel, **options)
    predictions = _by_name(found.predictions)
    control = hold_out_learned_control(panel, **options)
    predictions[LEARNED] = control.predictions["LearnedControl"]
    try:
        probabilities = hold_out_probabilities(inputs.panel, **options)
    except ValueError:  # no question's options can be listed
        probabilities = None
    survey: dict[str, np.ndarray] = {}
    at = np.asarray(found.targets)
    block = tuple(panel.blocks[j] for j in at) if panel.blocks else None
    if block is not None and len(set(block)) > 1:
        options["setting"] = "new survey"
        survey = _by_name(hold_out_questions(inputs.panel, **options).predictions)
        survey[LEARNED] = hold_out_learned_control(panel, **options).predictions["LearnedControl"]
    ones = np.ones(panel.n) if weight is None else np.asarray(weight, np.float64)
    return Evidence(
        inputs=inputs,
        questions=tuple(found.target_ids),
        at=at,
        truth=np.asarray(found.truth, np.float64),
        twin=np.asarray(panel.twin[:, at].T, np.float64),
        low=np.asarray(panel.low[at], np.float64),
        high=np.asarray(panel.high[at], np.float64),
        block=block,
        predictions=predictions,
        survey=survey,
        weight=effective_weight(ones),
        probabilities=probabilities,
        level=level,
        key=key,
    )


def _by_name(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = {"Auto": AUTO, "Baseline": RAW, **CONTROLS}
    return {new: np.asarray(found[old], np.float64) for old, new in names.items()}
