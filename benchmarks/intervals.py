"""Intervals for people's answers on the public data, by interval score, against the whole scale.

Every known question gets intervals from the estimator's nested hold-out and from the scores of the
other questions (blocks for a new survey), and so does every control: one prediction in place of the
estimator's, re-centred on the level that the known questions predict, its errors learnt and its
intervals made in the same way. The shape of the intervals was chosen on simulated panels, on
MovieLens and on the default construction of Twin-2K-500; on the others this was run once.
"""

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.estimation.components import COMPONENTS
from syndigits_jax.estimation.difficulty import (
    NestedScales,
    expected_residuals,
    nested_scales,
    stack_weights,
)
from syndigits_jax.estimation.grouping import blocks_from_names
from syndigits_jax.estimation.levels import weighted_moments
from syndigits_jax.estimation.person_intervals import Judged, judge, known_scores
from syndigits_jax.estimation.questions import Nested, Problem, Scale, nested, prepare
from syndigits_jax.studies.beyond.units import NEW_SURVEY, NEW_USERS, TWIN_2K_500, Unit, load, plan

LEVELS = (0.8, 0.9)
CONTROLS = {
    "nothing but the level": (None, False),
    "the person's mean": ("PersonMean", False),
    "the person's mean, spread as the twins": ("PersonMean", True),
    "the twin": ("Twin", False),
    "the twin, spread as the twins": ("Twin", True),
}
"""The component that predicts, and whether it keeps the twins' spread."""

NOT_USEFUL = "no useful interval"


def without_block(values: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """The mean over questions, and its standard error, leaving out one block in turn."""
    names = np.unique(group)
    means = np.array([values[group != name].mean() for name in names])
    square = np.sum((means - means.mean()) ** 2) * (len(names) - 1) / len(names)
    return float(values.mean()), float(np.sqrt(square))


def only(judged: Judged, keep: np.ndarray) -> Judged:
    """Of the questions whose positions `keep` names."""
    mine = np.isin(judged.question, keep)
    fields = ("coverage", "width", "score", "question", "unit")
    return dataclasses.replace(judged, **{name: getattr(judged, name)[mine] for name in fields})


def summarised(judged: Judged, names: np.ndarray) -> dict[str, Any]:
    """Means over questions, with standard errors over blocks, and the spread over blocks."""
    group = names[judged.question]
    found: dict[str, Any] = {}
    for name in ("coverage", "width", "score"):
        found[name], found[f"{name}_se"] = without_block(getattr(judged, name), group)
    blocks = [float(judged.coverage[group == name].mean()) for name in np.unique(group)]
    spread = {"min": min(blocks), "median": float(np.median(blocks)), "max": max(blocks)}
    return found | {"blocks": len(blocks), "block_coverage": spread}


def control_scores(
    problem: Problem, run: Nested, scales: NestedScales, name: str
) -> tuple[Nested, NestedScales, list[np.ndarray], np.ndarray | None]:
    """The hold-out with a control in the estimator's place."""
    component, as_twins = CONTROLS[name]
    weights = [np.array([c == component for c in COMPONENTS], float)] * (len(run.scales) + 1)
    spread = None
    if as_twins:
        _, spread, _ = weighted_moments(problem.panel.twin, problem.weight)

        def replaced(scale: Scale) -> Scale:
            sd = jnp.asarray(spread, jnp.asarray(scale.levels.sd).dtype)
            return dataclasses.replace(
                scale, levels=eqx.tree_at(lambda levels: levels.sd, scale.levels, sd)
            )

        run = dataclasses.replace(run, scales=tuple(map(replaced, run.scales)))
    prediction = np.zeros_like(run.prediction)
    for f, scale in enumerate(run.scales):
        inside = np.flatnonzero(run.moments.fold == f)
        stack = scale.stack(weights[f], problem.known[inside], problem.weight)
        prediction[inside] = stack(jnp.asarray(run.moments.values[inside]))
    return dataclasses.replace(run, prediction=prediction), scales, weights, spread


def compared(unit: Unit, panel: Any) -> dict[str, Any]:
    """Figures of one panel and setting: ours, every control, and paired differences."""
    blocks = blocks_from_names(panel.questions) if unit.dataset == TWIN_2K_500 else None
    problem = prepare(panel, np.zeros(0, np.int64), blocks, None)
    setting = "new survey" if unit.setting == NEW_SURVEY else "known battery"
    run = nested(problem, setting, workers=os.cpu_count() or 1)
    scales = nested_scales(problem, run, problem.levels(problem.known))
    names = np.asarray(panel.questions if blocks is None else blocks)
    judged: dict[str, list[Judged]] = {}
    for name in ("ours", *CONTROLS):
        its = (run, scales, stack_weights(run), None)
        if name != "ours":
            its = control_scores(problem, run, scales, name)
        scores = known_scores(problem, its[0], expected_residuals(problem, *its))
        judged[name] = [judge(scores, level) for level in LEVELS]
    two = np.array([len(points) == 2 for points in scores.points])
    kinds = {"all": problem.known}
    if two.any() and not two.all():
        kinds |= {"two options": problem.known[two], "more options": problem.known[~two]}
    out: dict[str, Any] = {}
    for i, level in enumerate(LEVELS):
        for kind, keep in kinds.items():
            mine = {name: only(found[i], keep) for name, found in judged.items()}
            rows = {name: summarised(one, names) for name, one in mine.items()}
            best = min(CONTROLS, key=lambda name, rows=rows: rows[name]["score"])
            ours = mine["ours"]
            for other, score in (("whole_scale", 1.0), ("best_control", mine[best].score)):
                gain, error = without_block(ours.score - score, names[ours.question])
                rows["ours"] |= {f"less_{other}": gain, f"less_{other}_se": error}
            out[f"{level:.0%}, {kind}"] = {
                "questions": len(keep),
                "rows": rows,
                "best_control": best,
                "verdict": verdict(rows["ours"], level),
            }
    return out


def verdict(ours: dict[str, Any], level: float) -> str:
    """By rule: coverage kept, and a lower score than the whole scale's; and than a control's."""
    if ours["coverage"] < level - 2 * ours["coverage_se"]:
        return f"{NOT_USEFUL}: coverage is not kept"
    if ours["less_whole_scale"] >= 0:
        return f"{NOT_USEFUL}: the whole scale has as good a score"
    said = []
    for other in ("whole_scale", "best_control"):
        gain, error = ours[f"less_{other}"], ours[f"less_{other}_se"]
        how = "clearly below" if gain < -2 * error else "below" if gain < 0 else "not below"
        said.append(f"{how} the {other.replace('_', ' ')}")
    return f"useful: {', '.join(said)}"


def printed(unit: Unit, found: dict[str, Any]) -> None:
    for level, part in found.items():
        print(f"\n{unit.label}, {level} ({part['questions']} questions): {part['verdict']}")
        print(f"best control: {part['best_control']}")
        print(f"{'':<40}{'coverage':>9}{'blocks':>22}{'width':>8}{'score':>8}{'s.e.':>8}")
        for name, row in part["rows"].items():
            spread = " ".join(f"{x:.2f}" for x in row["block_coverage"].values())
            print(
                f"{name:<40}{row['coverage']:9.3f}{spread:>22}{row['width']:8.3f}"
                f"{row['score']:8.3f}{row['score_se']:8.3f}"
            )
        ours = part["rows"]["ours"]
        for other in ("whole_scale", "best_control"):
            gain, error = ours[f"less_{other}"], ours[f"less_{other}_se"]
            print(f"score less {other.replace('_', ' ')}: {gain:.4f} (s.e. {error:.4f})")


def conclusions(units: Sequence[tuple[Unit, dict[str, Any]]]) -> list[str]:
    """How many hold-outs have useful intervals, by level and kind of question."""
    said = []
    kinds = dict.fromkeys(kind for _, found in units for kind in found)
    for kind in kinds:
        verdicts = [found[kind]["verdict"] for _, found in units if kind in found]
        useful = [v for v in verdicts if not v.startswith(NOT_USEFUL)]
        clear = sum("clearly below the whole" in v for v in useful)
        better = sum(v.endswith("below the best control") and "not below" not in v for v in useful)
        said.append(
            f"{kind}: useful intervals in {len(useful)} of {len(verdicts)} hold-outs, clearly in "
            f"{clear}; below the best control's too in {better}"
        )
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--data", type=Path, default=found, required=found is None)
    parser.add_argument("--dataset", nargs="*", default=(), help="by default both")
    parser.add_argument("--construction", nargs="*", default=(), help="by default all")
    parser.add_argument("--out", type=Path, default=RESULTS / "intervals.json")
    args = parser.parse_args()
    units, panel, loaded = [], None, None
    chosen = plan(args.data, datasets=args.dataset, constructions=args.construction)
    for unit in chosen:
        if unit.setting == NEW_USERS:
            continue
        if loaded != (unit.dataset, unit.construction):
            loaded = unit.dataset, unit.construction
            panel = load(args.data, *loaded)
        units.append((unit, compared(unit, panel)))
        printed(*units[-1])
    said = conclusions(units)
    print("\n" + "\n".join(said))
    rows = [dataclasses.asdict(unit) | {"levels": figures} for unit, figures in units]
    write_report(args.out, holdouts=rows, conclusions=said)


if __name__ == "__main__":
    main()
