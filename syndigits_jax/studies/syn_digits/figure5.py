"""Figure 5: the adaptive rule over its threshold, from the per-target scores of a unit."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from syndigits_jax.evaluation.adaptive import (
    adaptive_curve,
    best_threshold,
    leave_one_out_threshold,
    local_uncertainty_rule,
)
from syndigits_jax.results.records import Record
from syndigits_jax.studies.syn_digits.paper_values import paper_value
from syndigits_jax.studies.syn_digits.protocol import Unit
from syndigits_jax.studies.syn_digits.scoring import mean_and_se, methods_in

_curve = jax.jit(adaptive_curve)
_chosen = jax.jit(leave_one_out_threshold)
_uncertain = jax.jit(local_uncertainty_rule)


@dataclass(frozen=True)
class Figure5:
    """One method's panel of Figure 5, as NumPy arrays.

    - `thresholds`, `mean`, `se`: (k,) thresholds on the training MSE, and the mean score over the
      targets with its standard error at each.
    - `baseline`, `always`: mean score of the uncalibrated twins, and of calibrating everything.
    - `best_threshold`: where the mean is highest; chosen on the same scores, so optimistic.
    - `chosen`: (t,) scores when each target's threshold is the best one on the other targets.
    - `uncertainty`: (t,) scores when the smaller conformal bound on 1 - correlation decides.
    """

    thresholds: Float[np.ndarray, " k"]
    mean: Float[np.ndarray, " k"]
    se: Float[np.ndarray, " k"]
    baseline: float
    always: float
    best_threshold: float
    chosen: Float[np.ndarray, " t"]
    uncertainty: Float[np.ndarray, " t"]


def figure5(arrays: Mapping[str, np.ndarray]) -> dict[str, Figure5]:
    """The panel of every method of a unit that has a training error."""
    return {
        name: _panel(arrays, name)
        for name in methods_in(arrays)
        if f"{name}/training_mse" in arrays
    }


def _panel(arrays: Mapping[str, np.ndarray], name: str) -> Figure5:
    scores, baseline = arrays[f"{name}/pearson"], arrays["Baseline/pearson"]
    training_mse = arrays[f"{name}/training_mse"].astype(scores.dtype)
    transferred = _uncertain(1 - scores, 1 - baseline, training_mse).transferred
    curve = _curve(scores, baseline, training_mse)
    return Figure5(
        # The grid is in hundredths; rounding removes single-precision errors.
        thresholds=np.round(np.asarray(curve.tau, dtype=np.float64), 2),
        mean=np.asarray(curve.summary.mean, dtype=np.float64),
        se=np.asarray(curve.summary.se, dtype=np.float64),
        baseline=mean_and_se(baseline)[0],
        always=mean_and_se(scores)[0],
        best_threshold=round(float(best_threshold(curve)), 2),
        chosen=np.asarray(_chosen(scores, baseline, training_mse).scores, dtype=np.float64),
        uncertainty=np.where(transferred, scores, baseline).astype(np.float64),
    )


def records(unit: Unit, arrays: Mapping[str, np.ndarray]) -> list[Record]:
    """The curves as records.

    Metrics: `adaptive_pearson@0.16` (at that threshold), `adaptive_pearson_best` and
    `adaptive_threshold_best` (the maximum of the curve, chosen on the same scores),
    `adaptive_pearson_chosen` (each target's threshold chosen on the other targets), and
    `adaptive_pearson_uncertainty` (conformal bounds in place of a threshold).
    """
    found = []
    for name, panel in figure5(arrays).items():
        count = int(np.sum(~np.isnan(panel.chosen)))
        best = int(np.nanargmax(panel.mean))
        numbers = [
            (f"adaptive_pearson@{tau:.2f}", mean, se)
            for tau, mean, se in zip(panel.thresholds, panel.mean, panel.se, strict=True)
        ]
        numbers += [
            ("adaptive_pearson_best", panel.mean[best], panel.se[best]),
            ("adaptive_threshold_best", panel.best_threshold, np.nan),
            ("adaptive_pearson_chosen", *mean_and_se(panel.chosen)[:2]),
            ("adaptive_pearson_uncertainty", *mean_and_se(panel.uncertainty)[:2]),
        ]
        for metric, mean, se in numbers:
            paper = paper_value(unit.table, unit.dataset, unit.construction, name, metric)
            found.append(
                Record(
                    unit.table,
                    unit.dataset,
                    unit.construction,
                    unit.direction,
                    name,
                    unit.setting,
                    metric,
                    float(mean),
                    float(se),
                    count,
                    None if paper is None else paper.mean,
                    None if paper is None else paper.se,
                )
            )
    return found
