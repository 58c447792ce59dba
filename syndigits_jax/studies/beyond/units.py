"""The hold-outs of the study, and the scores of every prediction in them.

The estimator was chosen on simulated panels, on MovieLens and on the default construction of
Twin-2K-500. Nothing here is chosen: the random folds are those of the default seed.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets import CONSTRUCTIONS, present_constructions
from syndigits_jax.estimation import (
    AUTO,
    blocks_from_names,
    hold_out_questions,
    hold_out_users,
)
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.evaluation.controls import controls
from syndigits_jax.panel import Panel
from syndigits_jax.results.names import Direction, construction_names, near
from syndigits_jax.studies.syn_digits.paper_values import MOVIELENS, TWIN_2K_500, ZERO_SHOT
from syndigits_jax.studies.syn_digits.protocol import load as load

DATASETS = (MOVIELENS, TWIN_2K_500)
KNOWN_BATTERY, NEW_SURVEY, NEW_USERS = "known battery", "new survey", "new users"
ALONE = " alone"
"""Ends the name of a component of the estimator that predicts without the others."""

SCORES = ("pearson", "squared_error", "mean_error")
"""Scores of a prediction of one target: correlation over its cells; mean squared error over
squared ranges; error of the mean answer over the range, with its sign."""


@dataclass(frozen=True)
class Unit:
    """One nested hold-out: a panel, and what is left out together.

    `setting`: `known battery` (random tenths of the questions), `new survey` (whole blocks of
    questions) or `new users` (random tenths of the people).
    """

    dataset: str
    construction: str
    setting: str

    @property
    def direction(self) -> Direction:
        """What is held out."""
        return "user" if self.setting == NEW_USERS else "question"

    @property
    def where(self) -> str:
        """The panel."""
        return self.dataset if self.construction == ZERO_SHOT else self.construction

    @property
    def label(self) -> str:
        """A description for progress lines."""
        return f"{self.where}, {self.setting}"


def plan(
    data_dir: str | os.PathLike[str],
    *,
    datasets: Iterable[str] = (),
    constructions: Iterable[str] = (),
) -> list[Unit]:
    """The units of the study, in the order in which they run.

    **Arguments:**

    - `data_dir`: the folder of the public data.
    - `datasets`: `movielens`, `twin-2k-500`; both by default.
    - `constructions`: folder names of Twin-2K-500; by default all that are present.

    **Raises:** `ValueError` for an unknown name, or constructions without Twin-2K-500;
    `FileNotFoundError` if the data are absent.
    """
    chosen, typed = list(datasets) or list(DATASETS), list(constructions)
    for name in chosen:
        if name not in DATASETS:
            raise ValueError(f"`dataset` {name!r} is unknown; {near(name, DATASETS)}")
    if typed and TWIN_2K_500 not in chosen:
        raise ValueError(f"`construction`: {MOVIELENS} has only one; leave it out")
    units = []
    if MOVIELENS in chosen:
        units += [Unit(MOVIELENS, ZERO_SHOT, setting) for setting in (KNOWN_BATTERY, NEW_USERS)]
    if TWIN_2K_500 in chosen:
        present = [c.folder for c in present_constructions(data_dir)]
        if not present:
            raise FileNotFoundError(f"no construction of Twin-2K-500 in {os.fspath(data_dir)}")
        known = [c.folder for c in CONSTRUCTIONS]
        for construction in construction_names(typed, present, known):
            for setting in (KNOWN_BATTERY, NEW_SURVEY, NEW_USERS):
                units.append(Unit(TWIN_2K_500, construction, setting))
    return units


def hold_out(
    unit: Unit, panel: Panel, on_fit: Callable[[int, int], None] | None = None
) -> dict[str, np.ndarray]:
    """Scores of all predictions of a unit, one per target, by `name/score` (see [`SCORES`][]).

    Names are those of the controls, of the estimator (`Auto`), and of its components. `group` is
    the block of every target: of questions, for MovieLens the question itself; of people, the
    person. `Auto/status` and `Auto/imputation_status` are the worst codes of each target's fits.

    **Arguments:**

    - `unit`: what is held out.
    - `panel`: its human and twin answers.
    - `on_fit`: called with (fits done, fits in all).
    """
    blocks = blocks_from_names(panel.questions) if unit.dataset == TWIN_2K_500 else None
    if unit.setting == NEW_USERS:
        held = hold_out_users(panel, on_fit=on_fit)
        group = np.arange(len(held.targets))
    else:
        setting = NEW_SURVEY if unit.setting == NEW_SURVEY else KNOWN_BATTERY
        held = hold_out_questions(panel, setting=setting, blocks=blocks, on_fit=on_fit)
        names = panel.questions if blocks is None else blocks
        _, group = np.unique([names[j] for j in held.targets], return_inverse=True)
    trivial = controls(panel, held.targets, held.direction)
    alone = {
        f"{name}{ALONE}": prediction
        for name, prediction in held.predictions.items()
        if name not in trivial and name != AUTO
    }
    predictions = {**trivial, AUTO: held.predictions[AUTO], **alone}
    found = target_scores(dataclasses.replace(held, predictions=predictions))
    found["group"] = group
    for field in ("status", "imputation_status"):
        found[f"{AUTO}/{field}"] = getattr(held, field)[AUTO]
    return found


def target_scores(held: HoldOut) -> dict[str, np.ndarray]:
    """Every score of every prediction, (t,) each, by `name/score`.

    The mean answer to a question is predicted by the mean over everyone for whom there is a
    prediction, and judged by the mean over those who answered. The mean answer of a person is that
    to the questions that were answered and predicted.
    """
    width = _widths(held)
    scaled = dataclasses.replace(
        held,
        truth=held.truth / width,
        predictions={name: values / width for name, values in held.predictions.items()},
    )
    found = {}
    for name in held.predictions:
        found[f"{name}/pearson"] = held.scores("pearson", name)
        found[f"{name}/squared_error"] = scaled.scores("mse", name)
        found[f"{name}/mean_error"] = _mean_errors(scaled, name)
    return found


def _mean_errors(scaled: HoldOut, name: str) -> Float[np.ndarray, " t"]:
    prediction, truth = scaled.predictions[name], scaled.truth
    if scaled.direction == "user":
        prediction = np.where(np.isnan(truth), np.nan, prediction)
        truth = np.where(np.isnan(prediction), np.nan, truth)
    return _row_means(prediction) - _row_means(truth)


def _row_means(values: Float[np.ndarray, "t s"]) -> Float[np.ndarray, " t"]:
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _widths(held: HoldOut) -> Float[np.ndarray, "t s"]:
    """The range of every cell's question; 1 for a question that everyone answers alike."""
    panel = held.panel.with_observed_ranges()
    width = panel.high - panel.low
    width = np.where(width > 0, width, 1.0)
    if held.direction == "question":
        return np.broadcast_to(width[held.targets][:, None], held.truth.shape)
    return np.broadcast_to(width[None, :], held.truth.shape)


def scores_of(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The scores of a unit, by name of the prediction and by score."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in arrays.items():
        name, _, score = key.partition("/")
        if score in SCORES:
            found.setdefault(name, {})[score] = np.asarray(values, np.float64)
    return found
