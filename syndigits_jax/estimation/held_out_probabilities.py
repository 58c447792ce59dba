"""The estimate's option probabilities for known questions, as if nobody had answered them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..evaluation.holdout import threads
from ..evaluation.option_forecasts import option_positions
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from .options import number_of_options, option_probabilities
from .questions import (
    MANY_QUESTIONS,
    PRIOR,
    Nested,
    Problem,
    Setting,
    nested,
    prepare_hold_out,
)
from .stack import OnFit

MOST_OPTIONS = 11
"""Questions of more options are left out, unless more are asked for."""


@dataclass(frozen=True)
class HeldOutProbabilities:
    """Probabilities of the options of t questions for n people, each made without its fold.

    - `questions`: (t,) identifiers, of the known questions with listed options.
    - `options`: (t,) the values of each question's options.
    - `probabilities`: (t, n, k) with k the largest number of options; 0 beyond a question's own.
    - `answers`: (t, n) positions of the options that people chose, NaN where missing.
    - `fold`: (t,) which questions were left out together.
    - `mean`, `sd`: (t, n) and (t,), what the probabilities were made from.
    - `sample_weight`: (n,) weights of the people.
    - `without`: (g, t, n, k) for each fold of `fold`, in ascending order, the probabilities of all
      questions made without that fold's answers, if asked for.
    """

    questions: tuple[str, ...]
    options: tuple[Float[np.ndarray, " _"], ...]
    probabilities: Float[np.ndarray, "t n k"]
    answers: Float[np.ndarray, "t n"]
    fold: Int[np.ndarray, " t"]
    mean: Float[np.ndarray, "t n"]
    sd: Float[np.ndarray, " t"]
    sample_weight: Float[np.ndarray, " n"]
    without: Float[np.ndarray, "g t n k"] | None = None

    @property
    def sizes(self) -> Int[np.ndarray, " t"]:
        """(t,) numbers of options."""
        return np.array([len(values) for values in self.options])

    def distributed(
        self, function: Callable[[int, Float[np.ndarray, " _"]], Any]
    ) -> Float[np.ndarray, "t n k"]:
        """Other forecasts in the same layout, such as those of a control.

        **Arguments:** `function`: takes the place of a question, 0 to t - 1, and the values of its
        options (k,), and returns (n, k) probabilities, NaN where there is no forecast.
        """
        out = np.zeros(self.probabilities.shape)
        for i, values in enumerate(self.options):
            out[i, :, : len(values)] = function(i, values)
        return np.where(np.isnan(out).any(axis=2, keepdims=True), np.nan, out)

    def spread(
        self, mean: Float[np.ndarray, "t n"], sd: Float[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t n k"]:
        """Other means and standard deviations as probabilities, by [`option_probabilities`][].

        **Arguments:** `mean`: (t, n), NaN where there is none; `sd`: (t,).
        """
        return _spread(self.options, mean, sd, self.sample_weight)


def hold_out_probabilities(
    panel: Panel,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    most_options: int = MOST_OPTIONS,
    without_folds: bool = False,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> HeldOutProbabilities:
    """The estimate's option probabilities for every known question whose options can be listed.

    As [`hold_out_questions`][] predicts and [`option_probabilities`][] spreads; nothing chosen or
    fitted for a question has seen the answers of its fold.

    **Arguments:**

    - `panel`, `setting`, `blocks`, `sample_weight`, `key`, `workers`, `on_fit`: as in
      [`hold_out_questions`][]; ranges and steps of the questions say what the options are.
    - `most_options`: questions with more options are left out.
    - `without_folds`: whether to keep, for every fold, the probabilities of all questions without
      its answers. With them
      [`nested_probability_calibration`][syndigits_jax.evaluation.nested_probability_calibration]
      (`groups=found.fold, without=found.without`) uses no answer of a fold for its own forecasts.
      For at most 400 known questions, in memory of about 60 numbers an answer.

    **Returns:** [`HeldOutProbabilities`][].

    **Raises:** `ValueError` as [`hold_out_questions`][], if no question's options are known, for
    an answer that is none of the options, and for too many questions with `without_folds`.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import hold_out_probabilities
        >>> from syndigits_jax.evaluation import log_score
        >>> panel = sample_panel().take(users=slice(0, 50), questions=slice(0, 8))
        >>> found = hold_out_probabilities(panel)
        >>> print(found.probabilities.shape, log_score(found.probabilities, found.answers).shape)
        (8, 50, 5) (8,)
    """
    problem = prepare_hold_out(panel, setting, blocks, sample_weight)
    if without_folds and len(problem.known) > MANY_QUESTIONS:
        raise ValueError(
            f"`without_folds` is for at most {MANY_QUESTIONS} known questions, got "
            f"{len(problem.known)}"
        )
    at = listed_questions(problem, most_options)
    if not at.size:
        raise ValueError(
            "`panel`: no known question has a known range and step, and so a list of at most "
            f"{most_options} options; give them by `panel.with_scale`"
        )
    pairs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def keep(pair: tuple[int, int], members: np.ndarray, values: np.ndarray) -> None:
        pairs[pair] = members, values

    run = nested(
        problem,
        setting,
        key=key,
        workers=threads(workers),
        on_fit=on_fit,
        on_pair=keep if without_folds else None,
    )
    return probabilities_of(run, at, pairs if without_folds else None)


def listed_questions(problem: Problem, most_options: int) -> Int[np.ndarray, " t"]:
    """Positions of the known questions whose options can be listed, in at most so many."""
    known, panel = problem.known, problem.panel
    return np.array([j for j in known if 2 <= _count(panel, j) <= most_options], int)


def probabilities_of(
    run: Nested,
    at: Int[np.ndarray, " t"],
    pairs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] | None = None,
) -> HeldOutProbabilities:
    """The probabilities of a nested hold-out.

    **Arguments:**

    - `run`: the hold-out.
    - `at`: (t,) positions of the questions ([`listed_questions`][]).
    - `pairs`: by pair of folds, members and components, for probabilities without each fold.
    """
    problem = run.problem
    panel, units, weight = problem.panel, problem.units, problem.weight
    place = {j: i for i, j in enumerate(problem.known)}
    kept = np.array([place[j] for j in at])
    fold, names = run.moments.fold[kept], panel.questions
    options = tuple(panel.low[j] + panel.step[j] * np.arange(_count(panel, j)) for j in at)
    sd = np.stack([np.asarray(scale.levels.sd) for scale in run.scales])[fold, at]
    answers = [option_positions(panel.human[:, j], v) for j, v in zip(at, options, strict=True)]
    without = None
    if pairs is not None:
        parts = [_without(run, pairs, int(f)) for f in np.unique(fold)]
        without = np.stack([_spread(options, m[kept], s[kept], weight) for m, s in parts])
    return HeldOutProbabilities(
        tuple(names[j] for j in at),
        tuple(units.origin[j] + units.unit[j] * v for j, v in zip(at, options, strict=True)),
        _spread(options, run.prediction[kept], sd, weight),
        np.asarray(answers, np.float64),
        fold,
        units.original(run.prediction[kept].T, at).T,
        units.unit[at] * sd,
        weight,
        without,
    )


def _count(panel: Panel, j: int | np.integer) -> int:
    return number_of_options(panel.low[j], panel.high[j], panel.step[j])


def _without(
    run: Nested, pairs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]], f: int
) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, " k"]]:
    """Means and standard deviations of all known questions, without any answer of fold f.

    Components and levels are without a question's own fold too; the few weights of the components
    are those of f.
    """
    problem, fold = run.problem, run.moments.fold
    mean, sd = run.prediction.copy(), np.zeros(len(fold))
    weights, _ = run.moments.weights(PRIOR[run.setting], f)
    for g in range(len(run.scales)):
        members, values = pairs[min(f, g), max(f, g)]
        inside = fold[members] == g
        mine = members[inside]
        scale = (
            run.scales[f] if f == g else problem.levels(problem.known[(fold != f) & (fold != g)])
        )
        at = problem.known[mine]
        sd[mine] = np.asarray(scale.levels.sd)[at]
        mean[mine] = scale.stack(weights, at, problem.weight)(jnp.asarray(values[inside]))
    return mean, sd


@jax.jit
def _by_question(
    mean: Float[Array, "t n"],
    sd: Float[Array, " t"],
    options: Float[Array, "t k"],
    weight: Float[Array, "t n"],
) -> Float[Array, "t n k"]:
    def one(item: tuple[Array, ...]) -> Float[Array, "n k"]:
        return option_probabilities(*item[:3], sample_weight=item[3])

    return jax.lax.map(one, (mean, sd, options, weight))


def _spread(
    options: Sequence[Float[np.ndarray, " _"]],
    mean: Float[np.ndarray, "t n"],
    sd: Float[np.ndarray, " t"],
    weight: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "t n k"]:
    """[`option_probabilities`][] of every question, those of as many options together."""
    sizes = np.array([len(values) for values in options])
    out = np.zeros((*mean.shape, sizes.max()))
    missing = np.isnan(mean)
    dtype = jnp.result_type(float)
    for size in np.unique(sizes):
        at = np.flatnonzero(sizes == size)
        values = np.stack([v for v in options if len(v) == size])
        middle = values.mean(axis=1)[:, None]
        people = np.where(missing[at], 0, weight[None, :])
        numbers = (np.where(missing[at], middle, mean[at]), np.asarray(sd)[at], values, people)
        found = _by_question(*(jnp.asarray(array, dtype) for array in numbers))
        out[at, :, :size] = np.where(missing[at][..., None], np.nan, found)
    return np.where(missing[..., None], np.nan, out)
