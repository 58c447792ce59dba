"""The demonstration: calibrated answers and answer distributions on simulated surveys."""

import dataclasses
import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.calibration import (
    AlternatingLeastSquares,
    ElasticNet,
    HardImpute,
    Lasso,
    NeuralNet,
    Ridge,
    Settings,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    SyntheticPrior,
)
from syndigits_jax.datasets import DistributionData, sample_panel, simulate_distributions
from syndigits_jax.distribution import Answers, Spec, fit_ensembles
from syndigits_jax.distribution.cross_validation import fit_blend
from syndigits_jax.distribution.design import VARIANTS
from syndigits_jax.distribution.evaluation import (
    mean_distribution,
    scores,
    uniform_ensemble,
    variance_ratio,
)
from syndigits_jax.distribution.targets import make_targets
from syndigits_jax.estimation import hold_out_questions
from syndigits_jax.evaluation.metrics import summarize
from syndigits_jax.inference.resampling import standard_error
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key
from syndigits_jax.results.progress import OnProgress
from syndigits_jax.results.records import RESULTS, Record, write_results
from syndigits_jax.studies.syn_digits.protocol import Unit
from syndigits_jax.studies.syn_digits.scoring import unit_records
from syndigits_jax.studies.syn_digits.tables import UnitResult, evaluate

_OBJECTIVE = "cdf_l1"
_METRICS = ("tv", "kl", "cdf_l1")
_ENTROPIES = (0.01, 0.03, 0.1, 0.3)
_PEOPLE, _TWINS, _PAST, _NEW = 400, 300, 40, 20
_CONTROLS = {"uniform": "Baseline", "mean-distribution": "MeanDistribution"}
_NOT_SCORES = ("/gap", "/seconds", "/shares")


def demo_methods() -> dict[str, Any]:
    """The ten calibrators with penalties suitable for a panel of 200 people and 40 questions."""
    return {
        "Ridge": Ridge(penalty=100.0),
        "Lasso": Lasso(alpha=0.02),
        "ElasticNet": ElasticNet(alpha=0.1, l1_ratio=0.1),
        "NeuralNet": NeuralNet(hidden=(8,), weight_decay=0.1),
        "SyntheticControl": SyntheticControl(penalty=1e-6),
        "SyntheticIntervention": SyntheticIntervention(rank=5, penalty=30.0),
        "HardImpute": HardImpute(rank=3),
        "SoftImpute": SoftImpute(rank=10, penalty=10.0),
        "AlternatingLeastSquares": AlternatingLeastSquares(rank=10, penalty=10.0),
        "SyntheticPrior": SyntheticPrior(rank=3),
    }


def run_demo(
    out: str | os.PathLike[str] | None = None, on_progress: OnProgress | None = None
) -> tuple[list[Record], UnitResult]:
    """Leave out every question of the sample panel in turn.

    Writes `results.json` to `out` and saves finished parts there, as `run_table` does. The table in
    records is `demo`.
    """
    methods, panel = demo_methods(), sample_panel()
    store = Checkpoints.under(out)
    unit = Unit("demo", "simulated", panel.name, "question", "default", tuple(methods))
    result = evaluate(unit, panel, methods, Settings(), store, on_progress)
    records = unit_records(unit, result.arrays)
    if out is not None:
        write_results(Path(out) / RESULTS, records)
    return records, result


def run_estimate_demo() -> dict[str, tuple[float, float, float]]:
    """Correlation, its standard error and the error of means, of the estimate and the controls.

    Every question of the sample panel is estimated without a tenth of the questions, its own among
    them. Errors are root mean squares, in units of the answers.
    """
    held = hold_out_questions(sample_panel())
    out = {}
    for name in ("Auto", "Baseline", "UserMean", "ZScoredUserMean"):
        summary = summarize(held.scores("pearson", name))
        predicted = np.where(np.isnan(held.truth), np.nan, held.predictions[name])
        error = np.nanmean(predicted, axis=1) - np.nanmean(held.truth, axis=1)
        out[name] = float(summary.mean), float(summary.se), float(np.sqrt(np.mean(error**2)))
    return out


@dataclass(frozen=True)
class DistributionDemo:
    """Predictions of the demonstration's ensembles for its new questions.

    - `past`, `new`: the questions with known answer counts, and those to predict.
    - `records`: mean divergences by metric and variant.
    - `predictions`, `ratios`: (q, K) shares, and (q,) variance ratios, by variant.
    """

    past: DistributionData
    new: DistributionData
    records: list[Record]
    predictions: dict[str, Float[np.ndarray, "q K"]]
    ratios: dict[str, Float[np.ndarray, " q"]]


def run_distribution_demo(out: str | os.PathLike[str] | None = None) -> DistributionDemo:
    """Predict answer distributions of new questions by ensembles and by the controls.

    Adds to `results.json` in `out` and saves finished work there, as [`run_demo`][] does.
    """
    past, new = demo_poll()
    compute = functools.partial(_predicted, past, new)
    data = [past.counts, past.choices, new.counts, new.choices]
    modules, fits = ("studies.demo.calibration",), [_OBJECTIVE, _ENTROPIES, _METRICS]
    key = functools.partial(unit_key, modules, demo=data, fits=fits)
    arrays, _ = kept(Checkpoints.under(out), key, compute)
    records = [_record(name, arrays) for name in arrays if not name.endswith(_NOT_SCORES)]
    if out is not None:
        write_results(Path(out) / RESULTS, records)
    variants = dict.fromkeys(str(r.variant) for r in records)
    return DistributionDemo(
        past,
        new,
        records,
        {v: arrays[f"{v}/shares"] for v in variants},
        {v: arrays[f"{v}/variance_ratio"] for v in variants},
    )


def demo_poll() -> tuple[DistributionData, DistributionData]:
    """Past and new questions of a simulated poll with twins that exaggerate likely answers.

    As language models do: the twin of a person who answers yes with probability 2/3 does so with
    probability 4/5.
    """
    data, truth = simulate_distributions(
        _TWINS, _PAST + _NEW, key=2, types=8, ratio=10.0, sample=_PEOPLE
    )
    sharp = truth.probabilities**2
    steps = np.cumsum(sharp / sharp.sum(axis=2, keepdims=True), axis=2)[:, :, :-1]
    draw = np.random.default_rng(0).random((*data.choices.shape, 1))
    data = dataclasses.replace(data, choices=(draw > steps).sum(axis=2).astype(float))
    return data.take(np.arange(_PAST)), data.take(np.arange(_PAST, _PAST + _NEW))


def _predicted(past: DistributionData, new: DistributionData) -> dict[str, np.ndarray]:
    """Predictions, scores and diagnostics, by `variant/name`."""
    start = time.perf_counter()
    k = len(past.options)
    answers, new_answers = (Answers.from_choices(d.choices, k) for d in (past, new))
    fits = fit_ensembles(past.counts, answers, [Spec(_OBJECTIVE, v) for v in VARIANTS])
    blend = fit_blend(past.counts, answers, _OBJECTIVE, entropies=_ENTROPIES)
    ensembles = dict(zip(VARIANTS, fits, strict=True))
    found = {f"{v}/gap": np.asarray(fit.gap) for v, fit in ensembles.items()}
    predictions = {v: fit.predict(new_answers) for v, fit in ensembles.items()}
    predictions["blend"] = blend.predict(new_answers)
    found["all/seconds"] = np.asarray(time.perf_counter() - start)
    predictions["uniform"] = uniform_ensemble(new_answers)
    predictions["mean-distribution"] = mean_distribution(make_targets(past.counts), new.kept)
    truth = make_targets(new.counts)
    for variant, by_metric in scores(new.counts, predictions, metrics=_METRICS).items():
        q = predictions[variant]
        found |= {f"{variant}/{metric}": values for metric, values in by_metric.items()}
        found[f"{variant}/variance_ratio"] = np.asarray(variance_ratio(truth, q))
        found[f"{variant}/shares"] = np.asarray(q)
    return found


def _record(name: str, arrays: Mapping[str, np.ndarray]) -> Record:
    variant, metric = name.split("/")
    values, gap = arrays[name], arrays.get(f"{variant}/gap")
    method = _CONTROLS.get(variant)
    return Record(
        table="demo",
        dataset="simulated",
        construction="poll",
        direction="question",
        method=method or "WeightedEnsemble",
        setting="default",
        metric=metric,
        mean=float(np.nanmean(values)),
        se=float(standard_error(values)),
        count=int(np.isfinite(values).sum()),
        seconds=None if method else float(arrays["all/seconds"]),
        objective=None if method else _OBJECTIVE,
        variant=variant,
        gap=None if gap is None else float(gap),
    )
