"""Records of a hold-out: four summaries of every prediction, with standard errors over blocks."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from syndigits_jax.datasets import DEFAULT_CONSTRUCTION
from syndigits_jax.estimation import AUTO
from syndigits_jax.evaluation.metrics import fisher_z_mean
from syndigits_jax.inference.resampling import nan_mean
from syndigits_jax.results.names import METHODS
from syndigits_jax.results.records import Record
from syndigits_jax.studies.beyond.units import ALONE, NEW_SURVEY, NEW_USERS, Unit, scores_of
from syndigits_jax.studies.syn_digits.paper_values import (
    MOVIELENS,
    TWIN_2K_500,
    PaperValue,
    paper_value,
)
from syndigits_jax.studies.syn_digits.scoring import share_converged

TABLE = "beyond"
"""The study's name in records."""


def _root_mean_square(values: Float[Array, " t"]) -> Float[Array, ""]:
    return jnp.sqrt(nan_mean(values**2))


_Summary = Callable[[Float[Array, " t"]], Float[Array, ""]]
METRICS: dict[str, tuple[str, _Summary]] = {
    "pearson": ("pearson", nan_mean),
    "pearson_fisher_z": ("pearson", fisher_z_mean),
    "mse_over_range2": ("squared_error", nan_mean),
    "mean_rmse_over_range": ("mean_error", _root_mean_square),
}
"""The score of every target that a metric summarises, and how; NaN scores are left out."""

HIGHER_IS_BETTER = ("pearson", "pearson_fisher_z")


def less(metric: str, name: str) -> str:
    """The metric of the estimator's difference from prediction `name`."""
    return f"{metric}_less_{name}"


def summary(
    metric: str,
    group: Int[np.ndarray, " t"],
    scores: Float[np.ndarray, " t"],
    other: Float[np.ndarray, " t"] | None = None,
) -> tuple[float, float, int]:
    """A metric over targets, its standard error, and the number of targets.

    The standard error is the jackknife's over groups of targets, each left out in turn: targets of
    one group may be alike. It is NaN for fewer than two groups.

    **Arguments:**

    - `metric`: one of [`METRICS`][].
    - `group`: (t,) the group of each target.
    - `scores`: (t,) the scores that the metric summarises, NaN where there is none.
    - `other`: (t,) scores of another prediction, whose metric is subtracted; targets where either
      is NaN are left out.
    """
    _, function = METRICS[metric]
    both = [scores] if other is None else [scores, other]
    valid = np.all([~np.isnan(values) for values in both], axis=0)
    if not valid.any():
        return float("nan"), float("nan"), 0
    names, member = np.unique(group[valid], return_inverse=True)
    keep = np.concatenate(
        [np.ones((1, member.size), bool), np.arange(len(names))[:, None] != member]
    )
    found = [np.asarray(_over(function, values[valid], keep), np.float64) for values in both]
    value = found[0] if other is None else found[0] - found[1]
    without, count = value[1:], len(names)
    se = float("nan")
    if count > 1:
        se = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    return float(value[0]), se, int(valid.sum())


def _over(function: _Summary, values: np.ndarray, keep: np.ndarray) -> Array:
    numbers = jnp.asarray(values)
    return jax.vmap(lambda kept: function(jnp.where(kept, numbers, jnp.nan)))(jnp.asarray(keep))


def papers_best(unit: Unit) -> tuple[str, PaperValue] | None:
    """The method with the highest printed correlation, in hindsight, and what is printed of it.

    `None` for a new survey, which the paper has not, and for new users of other constructions than
    its own.
    """
    if unit.setting == NEW_SURVEY:
        return None
    table = {MOVIELENS: "table2", TWIN_2K_500: "table4"}[unit.dataset]
    if unit.setting == NEW_USERS:
        table = "table5"
        if unit.dataset == TWIN_2K_500 and unit.construction != DEFAULT_CONSTRUCTION.folder:
            return None
    printed = {
        name: value
        for name in METHODS
        if (value := paper_value(table, unit.dataset, unit.construction, name)) is not None
    }
    best = max(printed, key=lambda name: printed[name].mean, default=None)
    return None if best is None else (best, printed[best])


def unit_records(unit: Unit, arrays: Mapping[str, np.ndarray]) -> list[Record]:
    """Every metric of every prediction, and the estimator's differences from the controls.

    Besides: `converged`, the share of targets whose fits, imputation included, met their tolerance;
    and the paper's best method with its printed correlation.
    """
    scores, group = scores_of(arrays), np.asarray(arrays["group"])
    records: list[Record] = []

    def add(method: str, metric: str, mean: float | None, se: float | None, count: int, **more):
        place = unit.dataset, unit.construction, unit.direction
        mean, se = (None if x is None or not math.isfinite(x) else x for x in (mean, se))
        records.append(Record(TABLE, *place, method, unit.setting, metric, mean, se, count, **more))

    for name in scores:
        for metric, (score, _) in METRICS.items():
            add(name, metric, *summary(metric, group, scores[name][score]))
    for control in scores:
        if control == AUTO or control.endswith(ALONE):
            continue
        for metric, (score, _) in METRICS.items():
            found = summary(metric, group, scores[AUTO][score], scores[control][score])
            add(AUTO, less(metric, control), *found)
    status = arrays[f"{AUTO}/status"], arrays[f"{AUTO}/imputation_status"]
    add(AUTO, "converged", share_converged(*status), None, status[0].size)
    best = papers_best(unit)
    if best is not None:
        name, value = best
        add(name, "pearson", None, None, 0, paper_mean=value.mean, paper_se=value.se)
    return records
