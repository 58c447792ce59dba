"""What all sections of the report rest on: every known question, predicted without itself.

Computed once; each section is a function of it. All arrays have a row per judged question and a
column per person, in the units of the answers.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from syndigits_jax.estimation import (
    ExpectedQuality,
    HeldOutProbabilities,
    hold_out_learned_control,
    hold_out_quality,
)
from syndigits_jax.estimation.expected_quality import OUTCOMES
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.panel import Panel
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key

OnShare = Callable[[str, float], None]
"""Called with the name of a hold-out and the share of it that is done."""

BATTERY, CONTROL = "known questions", "learned control"
SURVEY, SURVEY_CONTROL = "new surveys", "learned control of new surveys"
"""Names of the hold-outs."""

AUTO = "calibrated twins"
RAW = "raw twins"
LEARNED = "learned control, no twins"
CONTROLS = {  # as the hold-out names them
    "UserMean": "person's mean, no twins",
    "ZScoredUserMean": "person's mean z-score, no twins",
}

_CODE = ("estimation.expected_quality", "estimation.learned_control", "panel.panel")
_PREDICTED, _SPREADS, _EXPECTED = "predicted ", "options ", "expected "
_SPREAD = ("questions", "probabilities", "answers", "fold", "mean", "sd", "sample_weight")


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
    - `expected`: quality that was to be expected of the judged questions, in their order, and then
      of the questions that nobody has answered; where none of their block has been, as is to be
      expected of a new survey.
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
    expected: ExpectedQuality | None = None
    level: float = 0.95
    key: int = 0

    @property
    def width(self) -> Float[np.ndarray, " q"]:
        """(q,) widths of the ranges, 1 for a point."""
        return np.where(self.high > self.low, self.high - self.low, 1.0)

    @property
    def blocks(self) -> tuple[str, ...] | None:
        """(q,) names of the blocks that intervals resample; `None` unless there are several."""
        return self.block if self.block is not None and len(set(self.block)) > 1 else None

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
    store: Checkpoints | None = None,
    on_share: OnShare | None = None,
) -> Evidence:
    """Hold out every known question, and every block where there are several.

    **Arguments:** `inputs`; `level`: of all intervals; `key`: of folds and resampling; `store`:
    where finished hold-outs are kept and found again; `on_share`: progress.

    **Raises:** `ValueError` as
    [`hold_out_questions`][syndigits_jax.estimation.hold_out_questions].
    """
    panel, weight = inputs.panel.with_observed_ranges(), inputs.weight
    found: dict[str, Mapping[str, np.ndarray]] = {}
    for one in hold_outs(inputs, key, level):
        share = _nothing if on_share is None else functools.partial(on_share, one.name)
        compute = functools.partial(one.compute, share)
        share(0.0)
        found[one.name], _ = kept(store, one.key, compute)
        share(1.0)
    battery = found[BATTERY]
    at = battery["at"]
    survey, expected = {}, _expected(battery, level)
    if SURVEY in found:
        expected = with_new_surveys(expected, _expected(found[SURVEY], level), panel)
        survey = _predictions(found[SURVEY]) | _predictions(found[SURVEY_CONTROL])
    ones = np.ones(panel.n) if weight is None else np.asarray(weight, np.float64)
    return Evidence(
        inputs=inputs,
        questions=tuple(panel.questions[j] for j in at),
        at=at,
        truth=np.array(panel.human[:, at].T),
        twin=np.array(panel.twin[:, at].T),
        low=panel.low[at],
        high=panel.high[at],
        block=tuple(panel.blocks[j] for j in at) if panel.blocks else None,
        predictions=_predictions(battery) | _predictions(found[CONTROL]),
        survey=survey,
        weight=effective_weight(ones),
        probabilities=_probabilities(battery),
        expected=expected,
        level=level,
        key=key,
    )


@dataclass(frozen=True)
class HeldOutUnit:
    """A hold-out that is kept on its own.

    - `name`: one of [`BATTERY`][], [`CONTROL`][], [`SURVEY`][] and [`SURVEY_CONTROL`][].
    - `key`: a hash of all that determines it.
    - `compute`: returns its arrays; takes a function that is told which share is done.
    """

    name: str
    key: str
    compute: Callable[[Callable[[float], None]], dict[str, np.ndarray]]


def hold_outs(inputs: Inputs, key: int = 0, level: float = 0.95) -> tuple[HeldOutUnit, ...]:
    """The hold-outs that [`gather_evidence`][] needs, in their order."""
    panel, weight = inputs.panel, inputs.weight
    if weight is not None:
        weight = np.asarray(weight, np.float64)
    known = counted_answers(panel, weight).any(axis=0)
    blocks = {panel.blocks[j] for j in np.flatnonzero(known)} if panel.blocks else set()
    names = [(BATTERY, CONTROL), (SURVEY, SURVEY_CONTROL)][: 2 if len(blocks) > 1 else 1]

    def unit(name: str, function: Any, **options: Any) -> HeldOutUnit:
        settings = {"sample_weight": weight, "key": key, **options}
        identity = unit_key(_CODE, part=name, panel=panel, **settings)

        def compute(share: Callable[[float], None]) -> dict[str, np.ndarray]:
            return function(panel, on_fit=lambda done, total: share(done / total), **settings)

        return HeldOutUnit(name, identity, compute)

    found = []
    for (estimate, control), setting in zip(names, ("known battery", "new survey"), strict=False):
        found.append(unit(estimate, _estimate, setting=setting, level=level))
        found.append(unit(control, _control, setting=setting))
    return tuple(found)


def _estimate(panel: Panel, **options: Any) -> dict[str, np.ndarray]:
    """The estimate, controls and probabilities of options, as arrays."""
    held, found, expected = hold_out_quality(panel, **options)
    names = {"Auto": AUTO, "Baseline": RAW, **CONTROLS}
    arrays = {_PREDICTED + new: held.predictions[old] for old, new in names.items()}
    arrays["at"] = np.asarray(held.targets)
    for name in ("questions", "known", "fold", "features"):
        arrays[_EXPECTED + name] = np.asarray(getattr(expected, name))
    for name in ("expected", "lower", "upper"):
        arrays[_EXPECTED + name] = np.stack([getattr(expected, name)[one] for one in OUTCOMES])
    if found is None:
        return arrays
    options_of = np.full((len(found.options), int(found.sizes.max())), np.nan)
    for row, values in zip(options_of, found.options, strict=True):
        row[: len(values)] = values
    for name in _SPREAD:
        arrays[_SPREADS + name] = np.asarray(getattr(found, name))
    return arrays | {_SPREADS + "options": options_of}


def _control(panel: Panel, **options: Any) -> dict[str, np.ndarray]:
    held = hold_out_learned_control(panel.with_observed_ranges(), **options)
    return {_PREDICTED + LEARNED: held.predictions["LearnedControl"]}


def _predictions(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(_PREDICTED): np.asarray(values, np.float64)
        for name, values in arrays.items()
        if name.startswith(_PREDICTED)
    }


def _probabilities(arrays: Mapping[str, np.ndarray]) -> HeldOutProbabilities | None:
    if _SPREADS + "options" not in arrays:
        return None
    fields: dict[str, Any] = {name: arrays[_SPREADS + name] for name in _SPREAD}
    fields["questions"] = tuple(map(str, fields["questions"]))
    options = tuple(row[~np.isnan(row)] for row in arrays[_SPREADS + "options"])
    return HeldOutProbabilities(options=options, **fields)


def _expected(arrays: Mapping[str, np.ndarray], level: float) -> ExpectedQuality:
    fields: dict[str, Any] = {
        name: arrays[_EXPECTED + name] for name in ("known", "fold", "features")
    }
    for name in ("expected", "lower", "upper"):
        fields[name] = dict(zip(OUTCOMES, arrays[_EXPECTED + name], strict=True))
    questions = tuple(map(str, arrays[_EXPECTED + "questions"]))
    return ExpectedQuality(questions=questions, level=level, **fields)


def with_new_surveys(
    expected: ExpectedQuality, survey: ExpectedQuality, panel: Panel
) -> ExpectedQuality:
    """Expectations of known batteries, and those of new surveys for questions of unknown blocks.

    **Arguments:** `expected`, `survey`: of the same questions, learnt from questions and from whole
    blocks left out; `panel`: with the blocks.
    """
    block = dict(zip(panel.questions, panel.blocks, strict=True))
    named = zip(expected.questions, expected.known, strict=True)
    answered = {block[name] for name, known in named if known}
    new = np.array([block[name] not in answered for name in expected.questions])

    def chosen(name: str) -> dict[str, np.ndarray]:
        ours, theirs = getattr(expected, name), getattr(survey, name)
        return {one: np.where(new, theirs[one], ours[one]) for one in ours}

    return dataclasses.replace(
        expected,
        expected=chosen("expected"),
        lower=chosen("lower"),
        upper=chosen("upper"),
        features=np.where(new[:, None], survey.features, expected.features),
    )


def counted_answers(
    panel: Panel, weight: Float[np.ndarray, " n"] | None
) -> Bool[np.ndarray, "n m"]:
    """Where people of positive weight have answered."""
    return panel.human_mask if weight is None else panel.human_mask & (weight > 0)[:, None]


def _nothing(share: float) -> None:
    pass
