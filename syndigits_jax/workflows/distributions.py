"""Answer distributions of a user's own questions, predicted from twins, as tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from syndigits_jax.datasets import DistributionData, load_distributions, read_table
from syndigits_jax.distribution import Answers, Ensemble, Spec, fit_blend, fit_ensembles
from syndigits_jax.distribution.cross_validation import cross_fit
from syndigits_jax.distribution.evaluation import (
    divergence_by_question,
    mean_distribution,
    uniform_ensemble,
)
from syndigits_jax.distribution.intervals import intervals_around
from syndigits_jax.distribution.targets import Targets, make_targets
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.solvers.checks import check_probability
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frame_table import FrameTable
from syndigits_jax.tables.frames import Table, backend_of, import_pandas, with_backend
from syndigits_jax.tables.responses import identifier, some
from syndigits_jax.workflows.people import people_column, people_weights, without_columns

HELD_OUT, UNIFORM, MEAN = "held_out", "uniform_twins", "mean_distribution"
# Folds for the choice of a penalty, and for the errors in reports and intervals.
_CHOICE_FOLDS, _ERROR_FOLDS = 5, 10


@dataclass(frozen=True)
class CalibratedDistributions:
    """Predicted distributions and their diagnostics.

    - `predictions`: data frame, new questions x options, then `<option>_lower`, `<option>_upper`.
    - `report`: data frame with one row per question that people answered: the number of human
      answers, and the divergence between these answers and the fit to all questions (`training`),
      the fit without this question (`held_out`), and the controls.
    - `ensemble`: the fit to all questions; `spec`: the objective that it minimises;
      `share_of_mean`: the weight, from 0 to 1, of the other questions' mean distribution in a
      prediction; `carriers`: the twins with the largest weights, in descending order, with weights.
    - `assumed`: the options of new questions that were inferred rather than given, by question: see
      `load_distributions`.
    - `weight`: (n,) survey weights of the people whose answers were counted, if there are any.
    """

    predictions: Any
    report: Any
    ensemble: Ensemble
    spec: Spec
    share_of_mean: float
    carriers: tuple[tuple[str, float], ...]
    assumed: Mapping[str, tuple[str, ...]]
    weight: Float[np.ndarray, " n"] | None = None


def drop_options(data: DistributionData, dropped: Iterable[str]) -> Bool[np.ndarray, " K"]:
    """Which options remain, (K,), without those with the names (or values) `dropped`.

    **Raises:** `ValueError` for an unknown name, or if fewer than two options remain, a question
    has no option left, or all answers to a question were dropped.
    """
    keep = np.ones(len(data.options), bool)
    for name in dropped:
        same = np.array([name.strip() == option for option in data.options])
        if not same.any():
            same = data.values == _number(name)
        if not same.any():
            raise ValueError(
                f"drop: no option '{name}'; the targets have {', '.join(data.options)}"
            )
        keep &= ~same
    if keep.sum() < 2:
        raise ValueError("drop: at least two options must stay")
    none = [q for q, kept in zip(data.questions, data.kept) if not (kept & keep).any()]
    if none:
        raise ValueError(f"drop: no option is left in {len(none)} questions ({some(none)})")
    left = np.nansum(np.where(keep, data.counts, 0), axis=1)
    lost = [q for q, total, asked in zip(data.questions, left, data.asked) if asked and total == 0]
    if lost:
        raise ValueError(
            f"drop: no other option was chosen in {len(lost)} questions ({some(lost)})"
        )
    return keep


def calibrate_distributions(
    data: DistributionData,
    divergence: str = "tv",
    *,
    variant: str = "both",
    drop: Iterable[str] = (),
    blend: bool = True,
    weight_by_count: bool = False,
    alpha: float | None = None,
) -> CalibratedDistributions:
    """Predict the answer distributions of the questions without human answers.

    **Arguments:**

    - `data`: counts of human answers and the twins' choices.
    - `divergence`, `variant`: as in `fit_ensemble`.
    - `drop`: options that are ignored, such as refusals, by name or value.
    - `blend`: whether to choose an entropy penalty and the weight of the mean distribution by
      cross-validation over the questions with human answers.
    - `weight_by_count`: whether to weight questions in the fit by their number of human answers;
      by default all have equal weight.
    - `alpha`: one minus the nominal coverage of the prediction intervals; no intervals if `None`.

    **Raises:** `ValueError` for an unknown name; if there is no question to predict, or fewer than
    two with counts; if it is not known which options a new question has (`data.unknown`); for an
    `alpha` outside (0, 1).
    """
    if alpha is not None:
        check_probability(alpha=alpha)
    asked = np.flatnonzero(data.asked)
    new = np.flatnonzero(~data.asked)
    if not len(new):
        raise ValueError("twins: it has no question without targets, so there is none to predict")
    if len(asked) < 2:
        raise ValueError("targets: at least two questions with counts are needed")
    if data.unknown:
        raise ValueError(
            f"new_options: the questions of targets differ in their options, and those of "
            f"{len(data.unknown)} new questions are not known ({some(data.unknown)}); name them, "
            f"such as --options {_example(data)}"
        )
    options = drop_options(data, drop)
    seen, unseen = data.take(asked), data.take(new)
    keep, new_keep = seen.kept & options, unseen.kept & options
    k = len(data.options)
    answers = Answers.from_choices(seen.choices, k)
    new_answers = Answers.from_choices(unseen.choices, k)
    weight = np.nansum(np.where(keep, seen.counts, 0), axis=1) if weight_by_count else None
    truth = make_targets(seen.counts, options=keep, values=data.values, weight=weight)
    given: Any = {"options": keep, "values": data.values}
    if blend:
        folds = min(_CHOICE_FOLDS, len(asked))
        chosen = fit_blend(
            seen.counts, answers, divergence, variant=variant, folds=folds, weight=weight, **given
        )
        ensemble, spec, share = chosen.ensemble, chosen.spec, chosen.share
        q = chosen.predict(new_answers, options=new_keep)
    else:
        spec, share = Spec(divergence, variant, weight=weight), 0.0
        ensemble = fit_ensembles(seen.counts, answers, [spec], **given)[0]
        q = ensemble.predict(new_answers, options=new_keep)
    folds = min(_ERROR_FOLDS, len(asked))
    [crossed], means = cross_fit(seen.counts, answers, [spec], folds=folds, **given)
    mixed = (1 - share) * crossed + share * means
    fitted = (1 - share) * ensemble.predict(answers, options=keep)
    fitted = fitted + share * mean_distribution(truth, keep)
    interval = None
    if alpha is not None:
        interval = intervals_around(q, mixed, truth, alpha=alpha, options=new_keep)
    predicted = {
        "training": fitted,
        HELD_OUT: mixed,
        UNIFORM: uniform_ensemble(answers, keep),
        MEAN: means,
    }
    return CalibratedDistributions(
        predictions=_predictions(unseen, np.asarray(q), interval, options),
        report=_report(seen, truth, divergence, predicted, keep),
        ensemble=ensemble,
        spec=spec,
        share_of_mean=share,
        carriers=tuple((data.twins[i], float(w)) for i, w in zip(*ensemble.carriers(5)) if w > 0),
        assumed={
            name: tuple(data.options[k] for k in np.flatnonzero(new_keep[j]))
            for j, name in enumerate(unseen.questions)
            if name in unseen.assumed
        },
    )


def _example(data: DistributionData) -> str:
    """The options that twins chose in the first question whose options are not known."""
    name = data.unknown[0]
    chosen = data.choices[:, data.questions.index(name)]
    used = np.unique(chosen[~np.isnan(chosen)]).astype(int)
    return f"{name}={','.join(data.options[k] for k in used)}"


def calibrate_distribution_files(
    targets: Table,
    twins: Table,
    divergence: str,
    *,
    weights: str | None = None,
    new_options: Mapping[str, Sequence[str]] | None = None,
    missing: str | Iterable[Any] = (),
    backend: str | None = None,
    **options: Any,
) -> CalibratedDistributions:
    """Read two tables, match them by question, and predict the questions without human answers.

    **Arguments:**

    - `targets`: the table of human counts; `twins`: the table of twin answers: paths, or data
      frames of pandas, polars or Arrow.
    - `weights`: a column of survey weights. `targets` is then a table of people's answers, a row
      per person, which are counted by [`weighted_counts`][].
    - `new_options`, `missing`: as in `load_distributions`.
    - `backend`: the kind of the result's data frames, as in [`Panel.to_frames`][]; by default that
      of `targets`, and pandas for a file.
    - `divergence`, `options`: arguments of [`calibrate_distributions`][].

    **Raises:** `FileNotFoundError`, `ValueError`, `ImportError` as `load_distributions` and
    `calibrate_distributions` do.
    """
    backend = backend_of(targets) if backend is None else backend
    if weights is None:
        data = load_distributions(targets, twins, new_options=new_options, missing=missing)
        return with_backend(calibrate_distributions(data, divergence, **options), backend)
    codes = MissingCodes.of(missing)
    people, answers = (
        read_table(table, missing=codes, numeric=False, argument=name)
        for name, table in (("targets", targets), ("twins", twins))
    )
    codes.warn_unmet("the tables")
    cells = people_column({"human": people}, weights, "weights")
    given = without_columns({"human": people}, [weights])["human"]
    weight = people_weights(cells, [str(identifier(who)) for who in people.index])
    counts = weighted_counts(given, weight, answers)
    data = load_distributions(counts, answers, new_options=new_options)
    found = replace(calibrate_distributions(data, divergence, **options), weight=weight)
    return with_backend(found, backend)


def weighted_counts(people: Any, weight: Float[np.ndarray, " n"], twins: Any) -> Any:
    """How many people chose each option, by survey weights, as a table of questions x options.

    The counts of a question sum to the effective number of the people who answered it
    ([`effective_weight`][syndigits_jax.estimation.people.effective_weight]). Its options are those
    that a person or a twin chose; others are blank. A question that nobody of positive weight
    answered is left out.

    **Arguments:** `people`, `twins`: data frames of answers, people in the index (of polars or
    Arrow the first column); `weight`: (n,) of the people.

    **Returns:** a pandas data frame.

    **Raises:** `ValueError` for cells that are no numbers.

    **Example:**

        >>> import numpy as np
        >>> import pandas as pd
        >>> from syndigits_jax.workflows.distributions import weighted_counts
        >>> people = pd.DataFrame({"q1": [1, 2, 2]}, index=["ann", "bob", "eve"])
        >>> twins = pd.DataFrame({"q1": [1, 3]}, index=["t1", "t2"])
        >>> print(weighted_counts(people, np.array([1.0, 1.0, 2.0]), twins).loc["q1"].tolist())
        [0.6666666666666666, 2.0, 0.0]
    """
    human, twin = (
        FrameTable.read(frame, name, None) for frame, name in ((people, "human"), (twins, "twin"))
    )
    rows: dict[str, dict[float, float]] = {}
    for j, name in enumerate(human.questions):
        answers = human.values[:, j]
        share = effective_weight(np.where(np.isnan(answers), 0.0, weight))
        if share.any():
            chosen = np.concatenate([answers, twin.at(twin.users, [name])[:, 0]])
            options = np.unique(chosen[~np.isnan(chosen)])
            rows[name] = {float(v): float(share[answers == v].sum()) for v in options}
    values = sorted({value for row in rows.values() for value in row})
    columns = {f"{v:.15g}": [row.get(v, np.nan) for row in rows.values()] for v in values}
    pd = import_pandas()
    return pd.DataFrame(columns, index=pd.Index(list(rows), name="question", dtype=object))


def _predictions(data: DistributionData, q: np.ndarray, interval, options) -> Any:
    pd = import_pandas()
    columns = {}
    for suffix, cells in (
        ("", q),
        *(
            (f"_{end}", np.asarray(getattr(interval, end)))
            for end in ("lower", "upper")
            if interval
        ),
    ):
        for j in np.flatnonzero(options):
            columns[f"{data.options[j]}{suffix}"] = cells[:, j]
    return pd.DataFrame(columns, index=pd.Index(data.questions, name="question"))


def _report(
    data: DistributionData,
    truth: Targets,
    divergence: str,
    predicted: dict[str, Any],
    keep: Bool[np.ndarray, "m K"],
) -> Any:
    pd = import_pandas()
    columns: dict[str, Any] = {"human_answers": np.nansum(np.where(keep, data.counts, 0), axis=1)}
    for name, q in predicted.items():
        q = jnp.asarray(q, truth.p.dtype)
        columns[name] = np.asarray(divergence_by_question(divergence, truth, q))
    return pd.DataFrame(columns, index=pd.Index(data.questions, name="question"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
