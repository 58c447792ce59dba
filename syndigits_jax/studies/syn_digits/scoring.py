"""From a hold-out evaluation to per-target scores, and from these to records."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from syndigits_jax import calibration
from syndigits_jax.calibration.calibrators import FitAndTransfer
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.evaluation.metrics import METRICS, fisher_z_mean, percent_delta, residual_pearson
from syndigits_jax.results.records import Record
from syndigits_jax.solvers.solution import Status
from syndigits_jax.studies.syn_digits.paper_values import paper_value
from syndigits_jax.studies.syn_digits.protocol import Unit

CENTRED = "pearson_item_centred"
_DIAGNOSTICS = ("training_mse", "status", "steps", "optimality", "imputation_status")
_CORRELATIONS = ("pearson", CENTRED)


def target_scores(holdout: HoldOut) -> dict[str, np.ndarray]:
    """Scores and diagnostics per held-out target, by `method/metric`, each (t,).

    For new users there is also `pearson_item_centred`, the correlation after the other users' mean
    answer to each question is subtracted from both sides: the personal part of the correlation.
    `method/seconds` (the method's own fits) and `preparation_seconds` (work common to all methods)
    are scalars.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in holdout.predictions:
        for metric in METRICS:
            arrays[f"{name}/{metric}"] = np.asarray(holdout.scores(metric, name))
        if "ItemMean" in holdout.predictions:
            arrays[f"{name}/{CENTRED}"] = _item_centred(holdout, name)
        for field in _DIAGNOSTICS:
            if name in getattr(holdout, field):
                arrays[f"{name}/{field}"] = np.asarray(getattr(holdout, field)[name])
        if name in holdout.seconds:
            arrays[f"{name}/seconds"] = np.asarray(holdout.seconds[name])
    arrays["preparation_seconds"] = np.asarray(holdout.preparation_seconds)
    return arrays


def methods_in(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Methods and controls that have scores, in the order of evaluation."""
    return tuple(dict.fromkeys(key.split("/", 1)[0] for key in arrays if "/" in key))


def unit_records(unit: Unit, arrays: Mapping[str, np.ndarray]) -> list[Record]:
    """One record per method and metric: mean, standard error and count over the targets.

    In addition to the metrics: `pearson_fisher_z` (the mean on Fisher's scale),
    `pearson_gain_percent` over the uncalibrated twins and, if there are any,
    `pearson_gain_in_context_percent` over in-context twins; `converged`, the share of fits that
    converged; and for regressions `imputation_converged`, the share of targets before whose fit the
    imputation of the donors did. These have no standard error.
    """
    records: list[Record] = []
    names = methods_in(arrays)
    for name in names:

        def add(metric: str, mean: float, se: float, count: int, name: str = name) -> None:
            paper = paper_value(unit.table, unit.dataset, unit.construction, name, metric)
            seconds = arrays.get(f"{name}/seconds")
            records.append(
                Record(
                    unit.table,
                    unit.dataset,
                    unit.construction,
                    unit.direction,
                    name,
                    unit.setting,
                    metric,
                    mean,
                    se,
                    count,
                    None if paper is None else paper.mean,
                    None if paper is None else paper.se,
                    None if seconds is None else float(seconds),
                )
            )

        for metric in (*METRICS, CENTRED):
            scores = arrays.get(f"{name}/{metric}")
            if scores is not None:
                add(metric, *mean_and_se(scores))
        for metric in _CORRELATIONS:
            scores = arrays.get(f"{name}/{metric}")
            if scores is not None:
                mean = float(fisher_z_mean(jnp.asarray(scores)))
                add(f"{metric}_fisher_z", mean, np.nan, int(np.sum(~np.isnan(scores))))
        mean, _, count = mean_and_se(arrays[f"{name}/pearson"])
        for base, label in (("Baseline", ""), ("InContext", "in_context_")):
            if base in names and name != base:
                reference, _, _ = mean_and_se(arrays[f"{base}/pearson"])
                gain = float(percent_delta(mean, reference))
                add(f"pearson_gain_{label}percent", gain, np.nan, count)
        status = arrays.get(f"{name}/status")
        if status is not None:
            add("converged", share_converged(status), np.nan, status.size)
        before = arrays.get(f"{name}/imputation_status")
        if before is not None and issubclass(getattr(calibration, name, object), FitAndTransfer):
            add("imputation_converged", share_converged(before), np.nan, before.size)
    return records


def mean_and_se(scores: np.ndarray) -> tuple[float, float, int]:
    """Mean, std(ddof=1) / sqrt(count) and count over the scores that are not NaN."""
    valid = np.asarray(scores, dtype=np.float64)
    valid = valid[~np.isnan(valid)]
    count = valid.size
    mean = float(valid.mean()) if count else np.nan
    se = float(valid.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
    return mean, se, count


@jax.jit
def _beyond_item_means(prediction, truth, mask, reference):
    return jax.vmap(residual_pearson)(prediction, truth, mask, reference)


def _item_centred(holdout: HoldOut, name: str) -> np.ndarray:
    prediction = holdout.predictions[name]
    mask = ~np.isnan(holdout.truth) & ~np.isnan(prediction)
    arrays = (np.where(mask, prediction, 0), np.where(mask, holdout.truth, 0), mask)
    return np.asarray(_beyond_item_means(*arrays, holdout.predictions["ItemMean"]))


def share_converged(*status: np.ndarray) -> float:
    """The share of targets all of whose codes, (t,) each, say that a solver has done its work."""
    well = [np.isin(codes, [Status.CONVERGED, Status.FIXED_STEPS]) for codes in status]
    return float(np.mean(np.all(well, axis=0)))
