"""Answers in units that single precision holds: the origin and the unit of every question.

Answers such as years in seconds differ in their last digits only, and other answers are in a unit
that is far too large or too small for a scale. These are moved and scaled on the host, in double
precision; the answers to all other questions stay what they are, to the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..panel import Panel
from .levels import extremes

FAR = 4096.0
"""Answers larger than so many spans of the twins' answers are counted from another origin."""

SMALLEST_SPAN, LARGEST_SPAN = 1e-3, 1e6
"""Questions with other spans of the twins' answers get another unit."""

_MOST_STEPS = 1000
_ROUNDING = 1e-6


@dataclass(frozen=True)
class AnswerUnits:
    """Of m questions: an answer x is (x - origin) / unit inside the estimator.

    - `origin`, `unit`: (m,), 0 and 1 for ordinary questions.
    """

    origin: Float[np.ndarray, " m"]
    unit: Float[np.ndarray, " m"]

    def plain(self, values: Float[np.ndarray, "*k m"]) -> Float[np.ndarray, "*k m"]:
        """Answers to all questions in plain units; whole numbers where they are so to rounding."""
        moved = (values - self.origin) / self.unit
        whole = np.round(moved)
        near = (np.abs(moved - whole) < _ROUNDING) & (self.unit != 1)
        return np.where(near, whole, moved)

    def original(
        self, values: Float[np.ndarray, "*k t"], at: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "*k t"]:
        """Plain answers to the questions at positions `at` (the last axis) as they were given."""
        return self.origin[at] + self.unit[at] * values

    def panel(self, panel: Panel) -> Panel:
        """The panel in plain units; the same one if all its questions are ordinary."""
        if np.all(self.origin == 0) and np.all(self.unit == 1):
            return panel
        low, high = self.plain(panel.low), self.plain(panel.high)
        human = self.plain(panel.human)
        # Rounding must not put an answer beyond the end of its range.
        human = np.where(human < low, low, np.where(human > high, high, human))
        return panel.replace(
            human=human, twin=self.plain(panel.twin), low=low, high=high,
            step=panel.step / self.unit,
        )  # fmt: skip


def answer_units(panel: Panel) -> AnswerUnits:
    """The units of a panel's questions, from the twins' answers and the declared scales alone."""
    low, high = extremes(panel.twin)
    low, high = np.fmin(low, panel.low), np.fmax(high, panel.high)
    span, size = high - low, np.maximum(np.abs(low), np.abs(high))
    origin = np.where(size > FAR * np.where(span > 0, span, 1), low, 0.0)
    unit = np.ones(panel.m)
    odd = np.flatnonzero((span > 0) & ((span < SMALLEST_SPAN) | (span > LARGEST_SPAN)))
    gaps = {j: _gap(panel.twin[:, j]) for j in odd}
    smallest = min(gaps.values(), default=np.nan)
    for j in odd:
        steps = _on_grid(panel.twin[:, j], (panel.step[j], smallest, gaps[j]))
        unit[j] = next(steps, 2.0 ** np.floor(np.log2(span[j])))
    return AnswerUnits(origin, unit)


def _gap(answers: Float[np.ndarray, " n"]) -> float:
    """The smallest difference of two answers that is more than rounding."""
    values = np.unique(answers[~np.isnan(answers)])
    gaps = np.diff(values)
    return float(np.min(gaps, where=gaps > _ROUNDING * np.ptp(values), initial=np.inf))


def _on_grid(answers: Float[np.ndarray, " n"], steps: tuple[float, ...]) -> Iterator[float]:
    """Those of the steps of which all answers are a few multiples from the smallest."""
    above = answers[~np.isnan(answers)] - np.nanmin(answers)
    for step in steps:
        if np.isfinite(step):
            count = above / step
            if np.all(np.abs(count - np.round(count)) < _ROUNDING) and count.max() <= _MOST_STEPS:
                yield step
