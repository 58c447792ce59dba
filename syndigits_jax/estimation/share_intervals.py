"""Shares of people per option, and intervals for them, conformal over questions.

Every known question was predicted without its fold. Its estimated shares, made like those of a new
question, miss the shares of people who answered; these errors, of questions with the same kind of
scale and in units that grow with a share's own uncertainty, decide the width. An interval holds the
share of an option drawn at random from a question drawn like the known ones.
"""

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from ..inference.conformal import Interval, hierarchical_quantile
from .answer_shapes import OptionUse, ShapeData, option_use
from .levels import FEWEST_ANSWERS
from .options import number_of_options, option_probabilities

FLOOR = 0.01
"""Variance that is added to p (1 - p), so that an option nobody seems to choose has some too."""

MOST_OPTIONS = 101
"""Questions with more options have no shares."""

_probabilities = jax.jit(option_probabilities)


def probabilities_on(
    prediction: Float[np.ndarray, " n"],
    sd: float,
    low: float,
    high: float,
    step: float,
    weight: Float[np.ndarray, " n"],
    base: Float[np.ndarray, " k"] | None = None,
) -> Float[np.ndarray, "n k"]:
    """Every person's probabilities of the options of a scale.

    Counted in steps from the lowest option, which every precision holds.

    **Arguments:**

    - `prediction`: (n,); `sd`: of all answers; `low`, `high`, `step`: the scale, in one unit.
    - `weight`: (n,) weights of the people.
    - `base`: (k,) how often options are used beyond that ([`OptionUse`][]).
    """
    options = np.arange(number_of_options(low, high, step), dtype=np.float64)
    place = (prediction - low) / step
    found = _probabilities(place, sd / step, options, base=base, sample_weight=weight)
    return np.asarray(found, np.float64)


def chosen_options(
    answers: Float[np.ndarray, " n"], low: float, step: float, count: int
) -> Float[np.ndarray, "n k"]:
    """1 for the option nearest to each answer, 0 for the others and without an answer.

    **Arguments:** `answers`: (n,), NaN where missing; `low`, `step`, `count`: the options.
    """
    known = ~np.isnan(answers)
    nearest = np.round((np.where(known, answers, low) - low) / step).astype(int)
    return np.where(known[:, None], np.eye(count)[np.clip(nearest, 0, count - 1)], 0.0)


def share_scale(share: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The unit of a share's error, from the estimate alone: √(p (1 - p) + 0.01)."""
    return np.sqrt(share * (1 - share) + FLOOR)


@dataclass(frozen=True)
class KnownShares:
    """Known questions as predicted without their fold: what errors of shares are learnt from.

    - `prediction`: (k, n); `sd`: (k,) of the answers; `low`, `high`, `step`: (k,) the scales.
    - `answers`: (k, n) people's answers, NaN where missing.
    - `declared`: (k,) whether the range is declared, not guessed from answers.
    - `kind`: of each question's scale; `group`: (k,) what was left out together.
    - `weight`: (n,) weights of the people.
    """

    prediction: Float[np.ndarray, "k n"]
    sd: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    step: Float[np.ndarray, " k"]
    answers: Float[np.ndarray, "k n"]
    declared: Bool[np.ndarray, " k"]
    kind: tuple[str, ...]
    group: Int[np.ndarray, " k"]
    weight: Float[np.ndarray, " n"]

    def margin(self, kind: str, alpha: float) -> float:
        """Half the width of an interval, in units of [`share_scale`][]; infinite if too few.

        **Arguments:** `kind`: of the scale; `alpha`: the probability of a miss.
        """
        rows: dict[int, list[float]] = {}
        for j in np.flatnonzero([one == kind for one in self.kind]):
            rows.setdefault(int(self.group[j]), []).extend(self._scores[j])
        filled = [row for row in rows.values() if row]
        if not filled:
            return float("inf")
        scores = np.full((len(filled), max(map(len, filled))), np.nan)
        for i, row in enumerate(filled):
            scores[i, : len(row)] = row
        mask = ~np.isnan(scores)
        return float(hierarchical_quantile(np.where(mask, scores, 0), mask, alpha))

    @functools.cached_property
    def _scores(self) -> tuple[list[float], ...]:
        """By question, the absolute errors of its shares in their units; none if unknown."""
        return tuple(self._errors(j) for j in range(len(self.kind)))

    @functools.cached_property
    def _shapes(self) -> ShapeData:
        return ShapeData(self.low, self.high, self.step, self.declared)

    @functools.cached_property
    def _uses(self) -> dict[int, OptionUse]:
        """By number of options, how people use them."""
        places = np.arange(len(self.kind))
        counts = {self._shapes.count(int(j)) for j in places} - {0}
        human = self.answers.T
        return {
            count: option_use(
                self._shapes, count, places, human, self.prediction, self.sd, self.weight
            )
            for count in sorted(counts)
        }

    def _base(self, j: int) -> Float[np.ndarray, " c"] | None:
        """Base shares from the questions that were not left out with j."""
        use = self._uses.get(self._shapes.count(j))
        return None if use is None else use.base(self.group == self.group[j])

    def _errors(self, j: int) -> list[float]:
        low, high, step = self.low[j], self.high[j], self.step[j]
        count = number_of_options(low, high, step)
        # Those who answered, for whom both are known.
        weight = np.where(np.isnan(self.answers[j]), 0, self.weight)
        if not 2 <= count <= MOST_OPTIONS or np.sum(weight > 0) < FEWEST_ANSWERS:
            return []
        mine = self.prediction[j], self.sd[j], low, high, step, self.weight
        found = probabilities_on(*mine, base=self._base(j))
        estimate = np.average(found, axis=0, weights=weight)
        chosen = chosen_options(self.answers[j], low, step, count)
        truth = np.average(chosen, axis=0, weights=weight)
        return list(np.abs(estimate - truth) / share_scale(estimate))


def interval_of_shares(
    share: Float[np.ndarray, " k"],
    estimated: Float[np.ndarray, " k"],
    margin: float,
    unknown: float,
) -> Interval:
    """Ends of the shares, within [0, 1].

    **Arguments:**

    - `share`: (k,) of all people, those who answered standing for themselves.
    - `estimated`: (k,) as if nobody had answered, which sets the unit of the error.
    - `margin`: from [`KnownShares`][], perhaps larger; `unknown`: the share of people who have not
      answered, whose part alone is uncertain.
    """
    # An infinite margin says nothing, but of those who are known.
    half = unknown * np.minimum(margin * share_scale(estimated), 1)
    return Interval(np.maximum(share - half, 0), np.minimum(share + half, 1))
