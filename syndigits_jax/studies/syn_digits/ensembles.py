"""Tables 6, 9 and 10: weighted ensembles on the public data, with all controls."""

import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets import DistributionData, load_movielens_distributions, load_opinionqa
from syndigits_jax.distribution import DIVERGENCES, Answers, Spec, fit_ensembles
from syndigits_jax.distribution.cross_validation import fit_blend
from syndigits_jax.distribution.design import VARIANTS, DenseDesign, make_design
from syndigits_jax.distribution.evaluation import (
    divergence_by_question,
    mean_distribution,
    scores,
    uniform_ensemble,
    variance_ratio,
)
from syndigits_jax.distribution.published import STEPS, published_fits
from syndigits_jax.distribution.targets import Targets, make_targets
from syndigits_jax.inference.resampling import standard_error
from syndigits_jax.results.checkpoints import ENSEMBLES, Checkpoints, kept, unit_key
from syndigits_jax.results.names import setting_names
from syndigits_jax.results.records import Record, write_results
from syndigits_jax.studies.syn_digits.paper_values import MOVIELENS, OPINIONQA, table6_value

DISTRIBUTION_TABLES = ("table6", "tables9-10")
_READERS: dict[str, Callable[..., DistributionData]] = {
    MOVIELENS: load_movielens_distributions,
    OPINIONQA: functools.partial(load_opinionqa, drop_refused=False),
}
_WITHOUT_REFUSED = "summary-without-refused"
_SHARES = ("shares", "uniform_shares")


@dataclass(frozen=True)
class EnsembleUnit:
    """One data set in one setting, with all its fits.

    `construction`: `summary`, the published twins, made from summaries of persons; or
    `summary-without-refused`, the same answers without the option "Refused", which the published
    tables rank as the highest value.
    """

    table: str
    dataset: str
    setting: str
    construction: str = "summary"

    @property
    def label(self) -> str:
        """A description for progress lines."""
        without = " without refusals" if self.construction == _WITHOUT_REFUSED else ""
        return f"{self.dataset}{without}, answer distributions, {self.setting}"

    @property
    def fits(self) -> list[tuple[str, str]]:
        """The (objective, variant) of every fit."""
        objectives = ("cdf_l1",) if self.table == "table6" else DIVERGENCES
        return [(objective, variant) for objective in objectives for variant in VARIANTS]


def run_ensembles(
    table: str,
    data_dir: str | os.PathLike[str],
    *,
    setting: str = "reference",
    out: str | os.PathLike[str] | None = None,
    steps: int = STEPS,
    on_progress: Callable[[int, int, str, int, int, bool], None] | None = None,
    on_unit: Callable[[EnsembleUnit, DistributionData, Mapping[str, np.ndarray]], None]
    | None = None,
) -> list[Record]:
    """Evaluate Table 6, or the full cross-metric Tables 9 and 10, and return their records.

    **Arguments:**

    - `table`: `table6` or `tables9-10`.
    - `data_dir`: the folder of the public data.
    - `setting`: `reference`, `default` or `both`.
    - `out`: a folder for `results.json` and finished units, which later calls reuse; nothing is
      written if `None`.
    - `steps`: of the published optimiser.
    - `on_progress`: called with (unit, units, label, done, total, resumed).
    - `on_unit`: called with every finished unit, its data and its arrays.

    **Raises:** `ValueError` for an unknown name; `FileNotFoundError` if the data are absent.
    """
    if table not in DISTRIBUTION_TABLES:
        raise ValueError(f"unknown table '{table}'; known: {', '.join(DISTRIBUTION_TABLES)}")
    data = {name: read(data_dir) for name, read in _READERS.items()}
    units = [EnsembleUnit(table, name, s) for name in data for s in setting_names(setting)]
    if OPINIONQA in data and "default" in setting_names(setting):
        units.append(EnsembleUnit(table, OPINIONQA, "default", _WITHOUT_REFUSED))
    store = Checkpoints.under(out)
    records = []
    for index, unit in enumerate(units):

        def report(done: int, total: int, resumed: bool = False, index=index, unit=unit) -> None:
            if on_progress is not None:
                on_progress(index, len(units), unit.label, done, total, resumed)

        source = data[unit.dataset]
        if unit.construction == _WITHOUT_REFUSED:
            source = load_opinionqa(data_dir, drop_refused=True)
        key = functools.partial(
            unit_key,
            ENSEMBLES,
            table=table,
            dataset=unit.dataset,
            construction=unit.construction,
            setting=unit.setting,
            steps=steps,
            counts=source.counts,
            choices=source.choices,
            keeps=_SHARES,
        )
        compute = functools.partial(
            evaluate_ensembles, unit, source, steps=steps, on_progress=report
        )
        arrays, was_there = kept(store, key, compute)
        if was_there:
            report(1, 1, True)
        if on_unit is not None:
            on_unit(unit, source, arrays)
        records += _records(unit, arrays)
    if out is not None:
        write_results(Path(out) / "results.json", records)
    return records


def evaluate_ensembles(
    unit: EnsembleUnit,
    data: DistributionData,
    *,
    steps: int = STEPS,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Test divergences of every fit of a unit, and of the controls.

    **Arguments:** `unit`: the data set and setting; `data`: its counts and choices; `steps`: of the
    published optimiser; `on_progress`: called with (done, total), in steps of the published
    optimiser or in objectives.

    **Returns:** named arrays. `shares` and `uniform_shares` are the predicted distributions of the
    test questions, by twins and dummies fitted to CDF ℓ1 and by equal weights. `seconds` and
    `blend_seconds` are the times of all fits, and of all blends, including compilation.
    """
    objectives = list(dict.fromkeys(objective for objective, _ in unit.fits))
    if on_progress is not None:
        on_progress(0, steps if unit.setting == "reference" else len(objectives))
    train, test = data.published_split()
    seen, unseen = data.take(train), data.take(test)
    k = len(data.options)
    answers = Answers.from_choices(seen.choices, k)
    new_answers = Answers.from_choices(unseen.choices, k)
    truth = make_targets(seen.counts, options=seen.kept)
    new_truth = make_targets(unseen.counts, options=unseen.kept)
    predictions: dict[tuple[str, str], Float[np.ndarray, "q K"]] = {}
    found: dict[str, np.ndarray] = {}
    seconds, blend_seconds, start = 0.0, 0.0, time.perf_counter()
    if unit.setting == "reference":
        design = make_design(answers, truth.options)
        if not isinstance(design, DenseDesign):
            raise ValueError("the published procedure is for populations of thousands, not more")
        weights = published_fits(truth, design, unit.fits, steps=steps, on_progress=on_progress)
        new_design = make_design(new_answers, new_truth.options)
        for (objective, variant), row in zip(unit.fits, np.asarray(weights), strict=True):
            predictions[objective, variant] = np.asarray(new_design.mix(jnp.asarray(row)))
            name = f"{objective}/{variant}"
            found[f"{name}/training"] = _mean(objective, truth, design.mix(jnp.asarray(row)))
            frozen = {"personas": row[-k:], "dummies": row[:-k]}.get(variant, row[:0])
            found[f"{name}/leaked_mass"] = np.asarray(frozen.sum())
        seconds = time.perf_counter() - start
    else:
        for i, objective in enumerate(objectives):
            specs = [Spec(o, v) for o, v in unit.fits if o == objective]
            start = time.perf_counter()
            fits = fit_ensembles(seen.counts, answers, specs, options=seen.kept)
            for spec, fit in zip(specs, fits, strict=True):
                name = f"{objective}/{spec.variant}"
                q = fit.predict(new_answers, options=unseen.kept)
                predictions[objective, spec.variant] = np.asarray(q)
                found[f"{name}/training"] = np.asarray(fit.divergence)
                found[f"{name}/gap"] = np.asarray(fit.gap)
                found[f"{name}/effective_sample_size"] = np.asarray(fit.effective_sample_size)
            fitted = time.perf_counter()
            blend = fit_blend(seen.counts, answers, objective, options=seen.kept)
            q = blend.predict(new_answers, options=unseen.kept)
            predictions[objective, "blend"] = np.asarray(q)
            found[f"{objective}/blend/share_of_mean"] = np.asarray(blend.share)
            seconds += fitted - start
            blend_seconds += time.perf_counter() - fitted
            if on_progress is not None:
                on_progress(i + 1, len(objectives))
    found["seconds"] = np.asarray(seconds)
    found["blend_seconds"] = np.asarray(blend_seconds)
    everywhere = {
        "uniform": uniform_ensemble(new_answers, unseen.kept),
        "mean-distribution": mean_distribution(truth, new_truth.options),
    }
    # For Figures 8 and 9: the published objective, even if there are several.
    kept = predictions["cdf_l1", "both"], everywhere["uniform"]
    found |= {name: np.asarray(q) for name, q in zip(_SHARES, kept, strict=True)}
    named = {f"{o}/{v}": jnp.asarray(q) for (o, v), q in predictions.items()}
    named |= {f"/{name}": q for name, q in everywhere.items()}
    for name, by_metric in scores(unseen.counts, named, options=unseen.kept).items():
        for metric, per_question in by_metric.items():
            found[f"{name}/{metric}"] = per_question
        found[f"{name}/variance_ratio"] = np.asarray(variance_ratio(new_truth, named[name]))
    return found


def _mean(objective: str, truth: Targets, q) -> np.ndarray:
    by_question = divergence_by_question(objective, truth, q)
    return np.asarray(jnp.dot(truth.weight, by_question))


def _records(unit: EnsembleUnit, arrays: Mapping[str, np.ndarray]) -> Iterable[Record]:
    seconds = float(arrays["seconds"]), float(arrays["blend_seconds"])
    for name, values in arrays.items():
        if "/" not in name:
            continue
        objective, variant, metric = name.split("/")
        control = variant in ("uniform", "mean-distribution")
        method = {"uniform": "Baseline", "mean-distribution": "MeanDistribution"}.get(
            variant, "WeightedEnsemble"
        )
        published = unit.construction == "summary" and (unit.setting == "reference" or control)
        paper = table6_value(unit.dataset, objective, variant, metric) if published else None
        several = values.ndim > 0
        gap = arrays.get(f"{objective}/{variant}/gap")
        yield Record(
            table=unit.table,
            dataset=unit.dataset,
            construction=unit.construction,
            direction="question",
            method=method,
            setting=unit.setting,
            metric=metric,
            mean=float(np.nanmean(values)),
            se=float(standard_error(values)) if several else None,
            count=int(np.isfinite(values).sum()),
            paper_mean=paper,
            seconds=None if control else seconds[variant == "blend"],
            objective=objective or None,
            variant=variant,
            gap=None if gap is None else float(gap),
        )
