"""`auto` for new questions, and for new questions of new users, with its nested hold-out."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from ..evaluation.holdout import threads
from ..evaluation.holdout_result import HoldOut
from ..inference.conformal import Interval, hierarchical_quantile
from ..panel import Panel, Responses
from ..results.keys import Key
from ..solvers.boundary import Numbers
from ..solvers.checks import check_probability
from .components import COMPONENTS, WeightedPanel
from .held_out import held_out
from .known_answers import corrected, with_answers
from .levels import FEWEST_ANSWERS, scale_kind, weighted_moments
from .person_intervals import PersonIntervals, person_intervals
from .question_draws import DrawSource
from .questions import (
    PRIOR,
    Nested,
    Problem,
    Setting,
    most_of_a_pair,
    nested,
    prepare,
    prepare_hold_out,
    without_answers,
)
from .results import Estimates, Expected, expectation
from .share_intervals import KnownShares
from .stack import OnFit, fit_sizes, fold_moments, fold_pairs, predict
from .targets import AUTO, chosen_targets, declared_ranges, known_users, steps
from .users import predict_users, ranges_without, user_folds
from .weights import USER_FIXED_WEIGHTS


def estimate_questions(
    panel: Panel,
    targets: Iterable[str] | None = None,
    *,
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    alpha: float = 0.1,
    expect: bool = True,
    intervals: Sequence[float] = (),
    key: Key = 0,
    workers: int | None = None,
    on_fit: OnFit | None = None,
    mesh: Mesh | None = None,
) -> Estimates:
    """Estimate people's answers to new questions, everything chosen by the known questions.

    Predictions of the known questions, each made without its fold, decide the weights of a few
    methods, of the twin's own answer and of the person's mean; a regression over the known
    questions gives the level and the spread. Where some people have answered a target, their
    answers correct its estimate at the end, and stand for themselves in its mean.

    **Arguments:**

    - `panel`: human and twin answers.
    - `targets`: identifiers of the questions to estimate; by default those without human answers.
    - `blocks`: the survey or battery of each of the panel's m questions; by default the panel's
      own. One that is `None` is a block of its own, unless all are, which says nothing. A target
      whose block has known questions is estimated as a new question of that battery, others as a
      new survey, with weights, level and errors from leaving out whole blocks. Without blocks,
      every target is taken for a question like the known ones.
    - `sample_weight`: (n,) weights of the users, of which only the ratios matter: n equal weights
      count as n people, unequal ones as Kish's effective sample size (Σw)² / Σw². A weight of 2
      has the effect on every mean of listing the person twice; but a person listed twice counts as
      two answers to learn from, which shrinks estimates a little less.
    - `alpha`: the share of means that their intervals may miss.
    - `expect`: whether to find out, by a nested hold-out, what to expect; it takes about four times
      as long as the estimate alone. Without it, means have no finite interval.
    - `intervals`: levels, such as 0.9, of intervals for people's answers. The known questions judge
      these; [`Estimates.intervals`][] then gives intervals of any level.
    - `key`: decides the random folds; a JAX random key or an integer.
    - `workers`: folds computed at once; by default the number of cores on a CPU, else 1.
    - `on_fit`: called with (fits done, fits in all).
    - `mesh`: devices over whose first axis the fits without folds are spread, one
      at a time on each.

    **Returns:** [`Estimates`][].

    **Raises:** `ValueError` for a panel without targets, unknown targets, fewer than two other
    questions with human answers, blocks that do not fit the questions, weights that are negative or
    all zero, answers whose squares overflow, an `alpha` or a level outside (0, 1), intervals
    without `expect`, or several workers with a mesh.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax import Panel, estimate_questions
        >>> human = np.arange(30.0).reshape(10, 3) * [1, 2, 3] % 5 + 1
        >>> twin = np.minimum(human + 1, 5)
        >>> human[:, 2] = np.nan  # nobody has answered the third question yet
        >>> found = estimate_questions(Panel.from_arrays(human, twin, scale=(1, 5)), expect=False)
        >>> print(found.questions, found.prediction.shape, found.learnt)
        ('question_2',) (10, 1) {'known battery': False}
    """
    check_probability(alpha=alpha)
    for level in intervals:
        check_probability(intervals=level)
    if intervals and not expect:
        raise ValueError("`intervals` need the nested hold-out: leave `expect` true")
    count = threads(workers, mesh)
    names = chosen_targets(panel.questions, panel.new_questions, targets, "question")
    at = np.array([panel.questions.index(name) for name in names])
    problem = prepare(panel, at, blocks, sample_weight)
    settings: list[Setting] = [problem.setting(int(j)) for j in at]
    if on_fit is not None:  # before anything is compiled
        on_fit(0, len(fold_pairs(problem.folds(settings[0], key), expect)))
    together = fit_sizes(problem.folds(settings[0], key), expect, most_of_a_pair(problem.known))
    found, prepared = predict(problem.responses, problem.known, at, together[True])
    scale = problem.levels(problem.known)
    prediction, half = np.zeros((len(at), panel.n)), np.full(len(at), np.inf)
    weights, learnt, expected, shares, judged = {}, {}, {}, {}, {}
    reach, exchangeable = [np.zeros((0, 0))] * len(at), np.zeros(len(at), np.int64)
    found_moments, chosen_weights, scales = {}, {}, {}
    for setting in dict.fromkeys(settings):
        mine = np.flatnonzero([s == setting for s in settings])
        if expect:
            run = nested(problem, setting, key=key, workers=count, on_fit=on_fit, mesh=mesh)
            moments, scales[setting] = run.moments, run.scales
            expected[setting] = _expected(problem, run)
            shares[setting] = _known_shares(problem, run)
            half[mine] = mean_error_quantile(problem, run, alpha) * scale.width[at[mine]]
        else:
            fold = problem.folds(setting, key)
            moments = fold_moments(
                problem.responses,
                problem.known,
                fold,
                nested=False,
                workers=count,
                on_fit=on_fit,
                mesh=mesh,
            )
        chosen, learnt[setting] = moments.weights(PRIOR[setting])
        weights[setting] = dict(zip(COMPONENTS, map(float, chosen), strict=True))
        found_moments[setting], chosen_weights[setting] = moments, chosen
        stack = scale.stack(chosen, at[mine], problem.weight)
        prediction[mine] = stack(jnp.asarray(found.values[mine]))
        if intervals:
            people, judged[setting] = person_intervals(
                problem, run, scale, at[mine], prediction[mine], intervals, workers=count
            )
            exchangeable[mine] = people.units
            for place, one in zip(mine, people.reach, strict=True):
                reach[place] = one
    low, high = scale.low[at], scale.high[at]
    units, widened = problem.units, np.ones(len(at))
    answers = units.panel(panel).human[:, at]
    if not np.all(np.isnan(answers)):
        prediction, shrink = corrected(
            prediction,
            np.asarray(prepared.human)[:, np.asarray(prepared.used)],
            np.where((problem.weight > 0)[:, None], answers, np.nan),
            np.asarray(scale.levels.sd[at]),
            np.asarray(scale.levels.mean_line.error) * scale.width[at],
            problem.weight,
        )
        prediction, half = np.clip(prediction, low[:, None], high[:, None]), half * shrink
        widened = np.maximum(shrink, 1)
    mean, unknown = with_answers(prediction, answers, problem.weight)
    # A range of one point, from twins who all answer alike, is no range: it bounds nothing.
    point = low == high
    lower = np.where(point, -np.inf, np.maximum(mean - half * unknown, low))
    upper = np.where(point, np.inf, np.minimum(mean + half * unknown, high))
    prediction, mean, lower, upper, low, high = (
        units.original(values, at) for values in (prediction.T, mean, lower, upper, low, high)
    )
    return Estimates(
        direction="question",
        users=panel.users,
        questions=names,
        prediction=prediction,
        mean=mean,
        sd=units.unit[at] * np.asarray(scale.levels.sd[at]),
        mean_interval=Interval(lower, upper),
        level=1 - alpha,
        low=low,
        high=high,
        step=steps(panel, at),
        setting=tuple(settings),
        weights=weights,
        learnt=learnt,
        known_answers=np.sum(~np.isnan(answers[problem.weight > 0]), axis=0),
        status=np.asarray(found.status),
        imputation_status=np.full(len(at), np.max(np.asarray(prepared.status)), np.int32),
        expected=expected,
        sample_weight=None if sample_weight is None else problem.weight,
        answers=panel.human[:, at],
        known_shares=shares,
        kind=tuple(scale_kind(problem.panel.twin[:, j]) for j in at),
        widened=widened,
        people=PersonIntervals(tuple(reach), exchangeable) if intervals else None,
        judged=judged,
        source=DrawSource(
            problem, scale, at, settings, found_moments, chosen_weights, answers, scales
        ),
    )


def hold_out_questions(
    panel: Panel,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    workers: int | None = None,
    on_fit: OnFit | None = None,
    mesh: Mesh | None = None,
) -> HoldOut:
    """Every question with human answers, estimated from the questions of other folds.

    Nothing that is chosen or fitted for a question has seen the human answers of its fold:
    replacing them changes no prediction, bit for bit.

    **Arguments:**

    - `panel`, `blocks`, `sample_weight`, `key`, `workers`, `on_fit`, `mesh`: as
      in [`estimate_questions`][].
    - `setting`: `"known battery"` leaves out random tenths of the questions, `"new survey"` whole
      blocks.

    **Returns:** a [`HoldOut`][syndigits_jax.evaluation.HoldOut] with a row per question:
    predictions `"Auto"`, of each component alone on the same level and spread, and of the controls.

    **Raises:** `ValueError` as [`estimate_questions`][], and for a new survey without blocks.
    """
    workers = threads(workers, mesh)
    problem = prepare_hold_out(panel, setting, blocks, sample_weight)
    run = nested(problem, setting, key=key, workers=workers, on_fit=on_fit, mesh=mesh)
    return held_out(run)


def estimate_new_users_and_questions(
    panel: Panel,
    users: Iterable[str] | None = None,
    questions: Iterable[str] | None = None,
    *,
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    workers: int | None = None,
) -> Float[np.ndarray, "u q"]:
    """Estimate the answers of new users to new questions.

    The new users' answers to the known questions are estimated first, and take the place of human
    answers in the estimate of the new questions. Its weights fit the known users' answers to known
    questions, predicted from such estimates too, each without its fold of users.

    **Arguments:**

    - `panel`, `blocks`, `key`, `workers`: as in [`estimate_questions`][].
    - `users`, `questions`: identifiers of those to estimate; by default those without human
      answers. Human answers of these users, and to these questions, are not used.
    - `sample_weight`: (n,) weights of the known users where a mean is taken over people.

    **Returns:** (u, q) predictions on the questions' scales.

    **Raises:** `ValueError` as these do.
    """
    people = chosen_targets(panel.users, panel.new_users, users, "user")
    names = chosen_targets(panel.questions, panel.new_questions, questions, "question")
    rows = np.array([panel.users.index(name) for name in people])
    columns = np.array([panel.questions.index(name) for name in names])
    panel = without_answers(panel, users=rows, questions=columns)
    problem = prepare(panel, columns, blocks, sample_weight)
    responses = problem.responses
    known = known_users(panel, responses, rows)
    found = user_folds(
        responses, known, nested=False, key=key, workers=threads(workers), on_fit=None
    )
    low, high = ranges_without(problem.panel, rows)
    human = np.array(responses.human.values)
    human[known] = np.clip(found.predictions(found.weights(USER_FIXED_WEIGHTS)[0]), low, high)
    human[rows] = np.clip(predict_users(responses, found, rows)[0], low, high)
    counted = np.isin(np.arange(panel.n), known)
    filled_in = counted | np.isin(np.arange(panel.n), rows)
    filled = WeightedPanel(
        Responses.complete(jnp.asarray(human)).only(jnp.asarray(filled_in)[:, None]),
        responses.twin,
        jnp.where(jnp.asarray(counted), responses.weight, 0),
    )
    parts, _ = predict(filled, problem.known, columns)
    scale = problem.levels(problem.known)
    out = np.zeros((len(columns), panel.n))
    settings: list[Setting] = [problem.setting(int(j)) for j in columns]
    for setting in dict.fromkeys(settings):
        mine = np.flatnonzero([s == setting for s in settings])
        moments = fold_moments(
            filled,
            problem.known,
            problem.folds(setting, key),
            truth=responses.human,
            nested=False,
            workers=threads(workers),
        )
        weights, _ = moments.weights(PRIOR[setting])
        stack = scale.stack(weights, columns[mine], np.asarray(filled.weight))
        out[mine] = stack(jnp.asarray(parts.values[mine]))
    return problem.units.original(out[:, rows].T, columns)


def mean_error_quantile(problem: Problem, run: Nested, alpha: float) -> float:
    """Half the width of an interval for the mean of a new question, in units of its range.

    Conformal over what is exchangeable: questions, or blocks for a new survey; infinite where
    there are too few.

    **Arguments:** `problem`; `run`: its nested hold-out; `alpha`: the probability of a miss.
    """
    errors, _ = _mean_errors(problem, run)
    if run.setting == "known battery":
        rows = errors[:, None]
    else:
        member = problem.block_of_known()
        order = np.zeros(len(member), np.int64)
        for block in range(member.max() + 1):
            order[member == block] = np.arange(np.sum(member == block))
        rows = np.full((member.max() + 1, order.max() + 1), np.nan)
        rows[member, order] = errors
    mask = ~np.isnan(rows)
    return float(hierarchical_quantile(np.where(mask, np.abs(rows), 0), mask, alpha))


def _mean_errors(problem: Problem, run: Nested) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the known questions' means, of the estimate and of the twins, over the ranges."""
    panel, known, weight = problem.panel, problem.known, problem.weight

    def mean(values: np.ndarray, fewest: int) -> np.ndarray:
        found, _, count = weighted_moments(values, weight)
        return np.where(count >= fewest, found, np.nan)

    # The mean of a few answers is no truth to judge by.
    truth, twin = mean(panel.human[:, known], FEWEST_ANSWERS), mean(panel.twin[:, known], 1)
    estimate = run.prediction @ weight / weight.sum()
    return (estimate - truth) / run.width, (twin - truth) / run.width


def _expected(problem: Problem, run: Nested) -> Expected:
    held = held_out(run, components=False)
    # People without weight take no part, and are not judged.
    held = dataclasses.replace(held, truth=np.where(problem.weight > 0, held.truth, np.nan))
    trivial = [name for name in held.predictions if name != AUTO]
    errors, twin_errors = _mean_errors(problem, run)
    # One block alone has no standard error over blocks.
    whole = len(problem.known_blocks()) == 1
    groups = np.arange(len(problem.known)) if whole else problem.block_of_known()
    return expectation(
        held.scores("pearson", AUTO),
        errors,
        twin_errors,
        groups,
        {name: held.scores("pearson", name) for name in trivial},
    )


def _known_shares(problem: Problem, run: Nested) -> KnownShares:
    known, fold, panel = problem.known, run.moments.fold, problem.panel

    def of_known(values: Sequence[Any]) -> np.ndarray:
        return np.stack([np.asarray(one, np.float64) for one in values])[fold, known]

    alone = run.setting == "known battery"
    return KnownShares(
        run.prediction,
        of_known([scale.levels.sd for scale in run.scales]),
        of_known([scale.low for scale in run.scales]),
        of_known([scale.high for scale in run.scales]),
        steps(problem.given, known) / problem.units.unit[known],
        panel.human[:, known].T,
        declared_ranges(panel)[known],
        tuple(scale_kind(panel.twin[:, j]) for j in known),
        np.arange(len(known)) if alone else problem.block_of_known(),
        problem.weight,
    )
