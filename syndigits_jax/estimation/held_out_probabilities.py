"""The estimate's option probabilities for known questions, as if nobody had answered them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..evaluation.holdout import threads
from ..evaluation.option_forecasts import option_positions
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from .options import option_probabilities
from .questions import PRIOR, Nested, Setting, nested, prepare, without_answers
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
    """

    questions: tuple[str, ...]
    options: tuple[Float[np.ndarray, " k"], ...]
    probabilities: Float[np.ndarray, "t n k"]
    answers: Float[np.ndarray, "t n"]
    fold: Int[np.ndarray, " t"]
    mean: Float[np.ndarray, "t n"]
    sd: Float[np.ndarray, " t"]

    @property
    def sizes(self) -> Int[np.ndarray, " t"]:
        """(t,) numbers of options."""
        return np.array([len(values) for values in self.options])

    def distributed(
        self, function: Callable[[int, Float[np.ndarray, " k"]], Any]
    ) -> Float[np.ndarray, "t n k"]:
        """Other forecasts in the same layout, such as those of a control.

        **Arguments:** `function`: takes the place of a question, 0 to t - 1, and the values of its
        options (k,), and returns (n, k) probabilities.
        """
        out = np.zeros(self.probabilities.shape)
        for i, values in enumerate(self.options):
            out[i, :, : len(values)] = function(i, values)
        return out


def hold_out_probabilities(
    panel: Panel,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    most_options: int = MOST_OPTIONS,
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

    **Returns:** [`HeldOutProbabilities`][].

    **Raises:** `ValueError` as [`hold_out_questions`][], if no question's options are known, and
    for an answer that is none of the options.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import hold_out_probabilities
        >>> from syndigits_jax.evaluation import log_score
        >>> panel = sample_panel().take(users=slice(0, 50), questions=slice(0, 8))
        >>> found = hold_out_probabilities(panel)
        >>> print(found.probabilities.shape, log_score(found.probabilities, found.answers).shape)
        (8, 50, 5) (8,)
    """
    if setting not in PRIOR:
        raise ValueError(f"`setting` must be one of {tuple(PRIOR)}, got {setting!r}")
    problem = prepare(panel, np.zeros(0, np.int64), blocks, sample_weight)
    if setting == "new survey" and len(problem.known_blocks()) < 2:
        raise ValueError("`blocks` must name at least two blocks to leave out one at a time")
    run = nested(problem, setting, key=key, workers=threads(workers), on_fit=on_fit)
    return _probabilities(run, most_options)


def _probabilities(run: Nested, most_options: int) -> HeldOutProbabilities:
    problem, panel, fold = run.problem, run.problem.panel, run.moments.fold
    count = np.round((panel.high - panel.low) / panel.step) + 1  # NaN where not known
    listed = (count >= 2) & (count <= most_options)
    kept = np.flatnonzero(listed[problem.known])
    if not kept.size:
        raise ValueError(
            "`panel`: no known question has a known range and step, and so a list of at most "
            f"{most_options} options; give them by `panel.with_scale`"
        )
    at = problem.known[kept]
    sd = np.stack([np.asarray(scale.levels.sd) for scale in run.scales])[fold[kept], at]
    options = tuple(panel.low[j] + panel.step[j] * np.arange(int(count[j])) for j in at)
    probabilities = np.zeros((len(at), panel.n, max(map(len, options))))
    answers = np.full((len(at), panel.n), np.nan)
    for i, (j, values) in enumerate(zip(at, options, strict=True)):
        found = option_probabilities(
            run.prediction[kept[i]], sd[i], values, sample_weight=problem.weight
        )
        probabilities[i, :, : len(values)] = found
        answers[i] = option_positions(panel.human[:, j], values)
    return HeldOutProbabilities(
        tuple(panel.questions[j] for j in at),
        options,
        probabilities,
        answers,
        fold[kept],
        run.prediction[kept],
        sd,
    )


def hold_out_without_groups(
    panel: Panel,
    held_out: HeldOutProbabilities,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> Float[np.ndarray, "g t n k"]:
    """The same probabilities once more for every fold, made without that fold's answers.

    What [`nested_probability_calibration`][syndigits_jax.evaluation.nested_probability_calibration]
    needs as `without`, with `groups=held_out.fold`, so that no answer of a fold touches its own
    calibration. It takes as long as so many hold-outs.

    **Arguments:**

    - `panel`, `setting`, `blocks`, `sample_weight`, `key`, `workers`, `on_fit`: as in
      [`hold_out_probabilities`][], which found `held_out`.
    - `held_out`: which questions and folds.

    **Returns:** (g, t, n, k); the rows of the fold that is left out are those of `held_out`, and
    are not to be learnt from.
    """
    place = {name: i for i, name in enumerate(held_out.questions)}
    folds = np.unique(held_out.fold)
    out = np.repeat(held_out.probabilities[None], len(folds), axis=0)
    size = held_out.probabilities.shape[2]
    for g, fold in enumerate(folds):
        hidden = [
            panel.questions.index(held_out.questions[i])
            for i in np.flatnonzero(held_out.fold == fold)
        ]
        found = hold_out_probabilities(
            without_answers(panel, questions=np.array(hidden)),
            setting=setting,
            blocks=blocks,
            sample_weight=sample_weight,
            key=key,
            most_options=size,
            workers=workers,
            on_fit=on_fit,
        )
        for i, name in enumerate(found.questions):
            if name in place:
                out[g, place[name], :, : found.probabilities.shape[2]] = found.probabilities[i]
    return out
