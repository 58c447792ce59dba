"""`auto` for new users: estimates of their answers, and the nested hold-out of the known ones."""

from collections.abc import Iterable

import numpy as np

from ..evaluation.controls import controls
from ..evaluation.holdout import threads
from ..evaluation.holdout_result import HoldOut
from ..inference.conformal import Interval
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from .questions import responses_of, without_answers
from .results import Estimates, expectation
from .stack import OnFit
from .targets import AUTO, NEW_USERS, chosen_targets, known_users, steps
from .units import answer_units
from .user_components import USER_COMPONENTS
from .users import UserFolds, predict_users, ranges_without, user_folds
from .weights import USER_FIXED_WEIGHTS


def estimate_users(
    panel: Panel,
    targets: Iterable[str] | None = None,
    *,
    sample_weight: Numbers | None = None,
    expect: bool = True,
    key: Key = 0,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> Estimates:
    """Estimate the answers of new users from their twins, everything chosen by the known users.

    Where the twins, out of fold, predict the known users no better than the questions' means do,
    the estimate is these means.

    **Arguments:**

    - `panel`, `key`, `workers`, `on_fit`: as in `estimate_questions`.
    - `targets`: identifiers of the users to estimate; by default those without human answers.
    - `sample_weight`: (n,) weights of the known users, as in `estimate_questions`.
    - `expect`: whether to find out, by a nested hold-out, what to expect.

    **Returns:** [`Estimates`][].

    **Raises:** `ValueError` as `estimate_questions`, with users for questions.
    """
    names = chosen_targets(panel.users, panel.new_users, targets, "user")
    at = np.array([panel.users.index(name) for name in names])
    responses = responses_of(panel, sample_weight)
    known = known_users(panel, responses, at)
    panel = without_answers(panel, users=at)
    units, every = answer_units(panel), np.arange(panel.m)
    found = user_folds(
        responses, known, nested=expect, key=key, workers=threads(workers), on_fit=on_fit
    )
    values, mean, sd, weights = predict_users(responses, found, at)
    low, high = ranges_without(units.panel(panel), at)
    values = np.clip(values, low, high)
    values, mean, low, high = (units.original(x, every) for x in (values, mean, low, high))
    expected = {}
    if expect:
        held = _users_held_out(panel, found)
        names_of = [name for name in held.predictions if name != AUTO]
        unknown = np.full(len(known), np.nan)
        expected[NEW_USERS] = expectation(
            held.scores("pearson", AUTO),
            unknown,
            unknown,
            np.arange(len(known)),
            {name: held.scores("pearson", name) for name in names_of},
        )
    unlimited = np.full(panel.m, np.inf)
    return Estimates(
        direction="user",
        users=names,
        questions=panel.questions,
        prediction=values,
        mean=mean,
        sd=units.unit * sd,
        mean_interval=Interval(-unlimited, unlimited),
        level=1.0,
        low=low,
        high=high,
        step=steps(panel, every),
        setting=(NEW_USERS,) * len(names),
        weights={NEW_USERS: dict(zip(USER_COMPONENTS, map(float, weights), strict=True))},
        learnt={NEW_USERS: found.weights(USER_FIXED_WEIGHTS)[1]},
        known_answers=np.zeros(len(names), np.int64),
        status=np.zeros(len(names), np.int32),
        imputation_status=np.zeros(len(names), np.int32),
        expected=expected,
    )


def hold_out_users(
    panel: Panel,
    *,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> HoldOut:
    """Every user with human answers, estimated from the users of other folds.

    Nothing that is chosen or fitted for a user has seen the human answers of its fold.

    **Arguments:**

    - `panel`, `sample_weight`, `key`, `workers`, `on_fit`: as in [`estimate_users`][].

    **Returns:** a [`HoldOut`][syndigits_jax.evaluation.HoldOut] with a row per user and predictions
    `"Auto"` and of the controls.

    **Raises:** `ValueError` as [`estimate_users`][].
    """
    responses = responses_of(panel, sample_weight)
    known = known_users(panel, responses, np.zeros(0, np.int64))
    found = user_folds(responses, known, key=key, workers=threads(workers), on_fit=on_fit)
    return _users_held_out(panel, found)


def _users_held_out(panel: Panel, found: UserFolds) -> HoldOut:
    known, units = found.known, answer_units(panel)
    plain = units.panel(panel)
    auto = np.full((len(known), panel.m), np.nan)
    for f in range(int(found.fold.max()) + 1):
        inside = found.fold == f
        weights, _ = found.weights(USER_FIXED_WEIGHTS, f)
        low, high = ranges_without(plain, known[inside])
        values = np.clip(found.predictions(weights)[inside], low, high)
        auto[inside] = units.original(values, np.arange(panel.m))
    nothing = np.zeros(len(known), np.int32)
    return HoldOut(
        direction="user",
        panel=panel,
        targets=known,
        truth=panel.human[known],
        predictions={**controls(panel, known, "user"), AUTO: auto},
        status={AUTO: nothing},
        imputation_status={AUTO: nothing},
    )
