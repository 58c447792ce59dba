"""The values that a question can be answered with, and how often they are chosen.

Questions with a short list of options have a grid. How people use it beyond a mean and a spread
(round numbers, the ends, the middle) repeats over questions with as many options, and is learnt
from the known ones. Other questions, such as counts and amounts of money, have the shape of their
twins' answers, moved to the estimated mean and spread by a monotone map that keeps the lower end.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from .options import Tilt, fit_tilt, number_of_options

MOST_OPTIONS = 121
"""Questions with more options than this have no grid."""

MOST_GUESSED = 13
"""The same where the range is guessed from answers."""

PRIOR_QUESTIONS = 2.0
"""For how many questions it counts that all options are used as a mean and a spread imply."""

MOST_QUESTIONS = 60
"""Of more known questions with as many options, those with most human answers are learnt from."""

_POINTS = 101
_STEEPEST = 20.0


@dataclass(frozen=True)
class Shape:
    """Options of a question and their base shares, (k,) each, and whether answers lie between."""

    options: Float[np.ndarray, " k"]
    base: Float[np.ndarray, " k"]
    smooth: bool

    def padded(self, size: int) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
        """Options and logarithms of base shares, with more options that nobody chooses."""
        rest = (0, size - len(self.options))
        options = np.pad(self.options, rest, mode="edge")
        return options, np.pad(np.log(self.base), rest, constant_values=-np.inf)


@dataclass(frozen=True)
class ShapeData:
    """What is known of m questions for their shapes.

    - `low`, `high`, `step`: (m,) range and step, NaN for no step.
    - `declared`: (m,) whether the range is declared, not guessed from answers.
    """

    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    step: Float[np.ndarray, " m"]
    declared: np.ndarray

    def count(self, j: int) -> int:
        """Options of question j; 0 if it has no grid.

        A guessed range with many options is that of an open answer, which is no grid.
        """
        count = number_of_options(self.low[j], self.high[j], self.step[j])
        most = MOST_OPTIONS if self.declared[j] else MOST_GUESSED
        return count if count <= most else 0

    def grid(self, j: int) -> Float[np.ndarray, " k"]:
        """The options of question j, which has a grid."""
        return self.low[j] + self.step[j] * np.arange(self.count(j))


@dataclass(frozen=True)
class OptionUse:
    """How people use the options of known questions with equally many.

    - `place`: (a,) places of these questions among the known ones.
    - `people`, `implied`: (a, c) shares of people per option, and those that a mean and a spread
      imply; 0 for a question without answers.
    """

    place: Int[np.ndarray, " a"]
    people: Float[np.ndarray, "a c"]
    implied: Float[np.ndarray, "a c"]

    def base(self, without: Bool[np.ndarray, " k"] | None = None) -> Float[np.ndarray, " c"]:
        """How much more often people choose each option than a mean and a spread imply.

        **Arguments:** `without`: (k,) which of the known questions say nothing.
        """
        count = self.people.shape[1]
        used = np.ones(len(self.place), bool) if without is None else ~without[self.place]
        if not used.any() or count <= 2:
            return np.ones(count)
        people, implied = self.people[used].sum(axis=0), self.implied[used].sum(axis=0)
        prior = PRIOR_QUESTIONS * np.maximum(implied / max(implied.sum(), 1), 1e-9)
        return (people + prior) / (implied + prior)


def option_use(
    data: ShapeData,
    count: int,
    questions: Int[np.ndarray, " k"],
    human: Float[np.ndarray, "n k"],
    prediction: Float[np.ndarray, "k n"],
    sd: Float[np.ndarray, " k"],
    weight: Float[np.ndarray, " n"],
) -> OptionUse:
    """How people use the options of the known questions with `count` of them.

    **Arguments:**

    - `data`: of all questions; `count`: options of the target.
    - `questions`: (k,) positions of the known questions.
    - `human`, `prediction`, `sd`: their answers, and what was predicted of them without their own.
    - `weight`: (n,) of the people.
    """
    alike = np.array([i for i, j in enumerate(questions) if data.count(int(j)) == count], int)
    if not len(alike) or count <= 2:
        return OptionUse(np.zeros(0, int), np.zeros((0, count)), np.zeros((0, count)))
    answers = np.sum(~np.isnan(human[:, alike]), axis=0)
    alike = np.sort(alike[np.argsort(-answers, kind="stable")[:MOST_QUESTIONS]])
    shapes = [Shape(data.grid(int(questions[i])), np.ones(count), False) for i in alike]
    tilts, sizes = fit_tilts(shapes, prediction[alike], sd[alike], weight)
    people, implied = np.zeros((len(alike), count)), np.zeros((len(alike), count))
    for row, (i, shape) in enumerate(zip(alike, shapes, strict=True)):
        seen = ~np.isnan(human[:, i]) & (weight > 0)
        if not seen.any():
            continue
        tilt = jax.tree.map(lambda leaf, row=row: leaf[row], tilts)
        padded = (jnp.asarray(a, tilt.slope.dtype) for a in shape.padded(sizes[row]))
        p = np.asarray(_probabilities(tilt, *padded), float)[:, :count]
        step = data.step[questions[i]]
        chosen = np.round((human[seen, i] - shape.options[0]) / step).astype(int)
        share = np.bincount(np.clip(chosen, 0, count - 1), weight[seen], count)
        people[row] = share / share.sum()
        implied[row] = np.average(p[seen], axis=0, weights=weight[seen])
    return OptionUse(alike, people, implied)


def twin_shape(
    twin: Float[np.ndarray, " n"],
    weight: Float[np.ndarray, " n"],
    mean: float,
    sd: float,
    low: float,
    high: float,
) -> Shape:
    """The shape of the twins' answers, moved to a mean and a spread.

    The map is low + a (y - low)^b: b decides the spread relative to the mean, and a both. Twins who
    all answer alike show no shape: the range is then covered evenly.

    **Arguments:** `twin`: (n,) answers, NaN where missing; `weight`: (n,); `mean`, `sd`, `low`,
    `high`: of the people.
    """
    grid = (np.arange(_POINTS) + 0.5) / _POINTS
    seen = ~np.isnan(twin) & (weight > 0)
    values = twin[seen]
    evenly = Shape(low + (high - low) * grid, np.ones(_POINTS), True)
    if not seen.any() or np.ptp(values) <= 0 or not low < mean < high:
        return evenly
    order = np.argsort(values)
    upto = np.cumsum(weight[seen][order]) - weight[seen][order] / 2
    place = np.interp(grid, upto / weight[seen].sum(), values[order])
    place = np.clip((place - low) / (high - low), 0, 1)
    wanted = sd / (mean - low)

    def varied(power: float) -> float:
        raised = place**power
        return float(raised.std() / raised.mean()) if raised.mean() > 0 else np.inf

    smallest, largest = 1 / _STEEPEST, _STEEPEST
    for _ in range(50):
        middle = np.sqrt(smallest * largest)
        if varied(middle) > wanted:
            largest = middle
        else:
            smallest = middle
    raised = place ** np.sqrt(smallest * largest)
    if not raised.mean() > 0:
        return evenly
    options = low + np.minimum((mean - low) * raised / raised.mean(), high - low)
    return Shape(options, np.ones(_POINTS), True) if np.ptp(options) > 0 else evenly


def fit_tilts(
    shapes: list[Shape],
    mean: Float[np.ndarray, "t n"],
    sd: Float[np.ndarray, " t"],
    weight: Float[np.ndarray, " n"],
) -> tuple[Tilt, list[int]]:
    """The distributions of all questions, and the number of options that each was padded to.

    Options are padded to a power of two, so that few programs are compiled.

    **Arguments:** `shapes`: of t questions; `mean`, `sd`: of each, as in
    [`fit_tilt`][syndigits_jax.estimation.options.fit_tilt]; `weight`: (n,) of the people.
    """
    sizes = [1 << max(1, (len(shape.options) - 1).bit_length()) for shape in shapes]
    dtype = jnp.result_type(float)
    slope, curve = np.zeros(mean.shape, dtype), np.zeros(len(shapes), dtype)
    # One question at a time: programs do not depend on how many there are.
    for i, (shape, size) in enumerate(zip(shapes, sizes, strict=True)):
        arrays = mean[i], sd[i], *shape.padded(size), weight
        found = _fit_tilt(*(jnp.asarray(array, dtype) for array in arrays))
        slope[i], curve[i] = found.slope, found.curve
    return Tilt(jnp.asarray(slope), jnp.asarray(curve)), sizes


_fit_tilt = jax.jit(fit_tilt)
_probabilities = jax.jit(Tilt.probabilities)
