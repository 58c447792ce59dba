"""Draws of people's answers beside raw twins and calibrated means: are they a population of people?

Every question is left out with its fold (random fifths of the questions, or whole blocks), and
estimated and drawn as if nobody had answered it. Panels that the file has already are kept, those
that are run again replaced. The draws were chosen on simulators, on MovieLens
and on the construction Text Persona - GPT4.1-mini; on other constructions they are run once.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets import load_movielens, load_twin_2k_500
from syndigits_jax.estimation import blocks_from_names, estimate_questions
from syndigits_jax.estimation.draws import draw_answers
from syndigits_jax.estimation.grouping import block_folds, random_folds
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.evaluation.draw_metrics import (
    correlation_distance,
    energy_score,
    wasserstein_from_draws,
)
from syndigits_jax.evaluation.metrics import crps_from_draws, sd_ratio
from syndigits_jax.fidelity import coverage, expected_coverage, fidelity_gap_index
from syndigits_jax.panel import Panel

CHOSEN_ON = ("movielens", "Text Persona - GPT4.1-mini")
ONCE = ("Demographics Only - GPT4.1-mini",)
TWINS, MEANS, DRAWS, FORMER = "twins", "calibrated means", "draws", "former draws"
PER_QUESTION = ("wasserstein", "sd_ratio", "crps")
PER_BATTERY = ("correlation_distance", "energy")
COMPONENTS, NEIGHBOURS, HALVES = 10, 5, 20
FOLDS = 5


def answers(panel: Panel, setting: str, draws: int, former: bool) -> dict[str, Any]:
    """Every question's answers by twins, means and draws, made without its fold.

    **Returns:** `fold` (m,), and by population (d, n, m), d = 1 for those that are one population.
    """
    blocks = panel.blocks or None
    if setting == "new survey":
        fold = block_folds(panel.blocks, FOLDS)
    else:
        fold = random_folds(panel.m, FOLDS, 0)
    shape = (draws, panel.n, panel.m)
    found = {TWINS: panel.twin[None], MEANS: np.zeros((1, *shape[1:])), DRAWS: np.zeros(shape)}
    if former:
        found[FORMER] = np.zeros(shape)
    for f in range(int(fold.max()) + 1):
        inside = fold == f
        hidden = panel.with_missing(human=np.broadcast_to(inside, panel.human.shape))
        names = [name for name, left_out in zip(panel.questions, inside, strict=True) if left_out]
        estimates = estimate_questions(hidden, names, blocks=blocks, expect=False)
        found[MEANS][0][:, inside] = estimates.prediction
        found[DRAWS][:, :, inside] = estimates.draws(draws, key=jax.random.key(f))
        if former:
            found[FORMER][:, :, inside] = former_draws(hidden, estimates, draws, f)
        print(f"  {setting}: fold {f + 1} of {int(fold.max()) + 1}", flush=True)
    return {"fold": fold, "answers": found}


def former_draws(panel: Panel, estimates: Any, draws: int, f: int) -> np.ndarray:
    """`draw_answers` from the residuals of the known questions: each question by itself."""
    source = estimates.source
    held = source.held[estimates.setting[0]]
    known = source.problem.known
    holdout = HoldOut("question", panel, known, panel.human[:, known].T, {"Auto": held.prediction})
    out = []
    for i, j in enumerate(source.at):
        key = jax.random.fold_in(jax.random.key(f), i)
        ends = (panel.low[j], panel.high[j], panel.step[j])
        args = estimates.prediction[:, i], panel.twin[:, j], holdout, "Auto"
        low, high, step = map(float, ends)
        drawn = draw_answers(*args, key=key, num_draws=draws, low=low, high=high, step=step)
        out.append(np.asarray(drawn))
    return np.stack(out, axis=2)


def of_questions(panel: Panel, drawn: np.ndarray, width: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of every question, in units of its range."""

    @jax.jit
    def scores(draws, truth, mask):
        ratio = jnp.mean(jax.vmap(lambda row: sd_ratio(row, truth, mask))(draws))
        fair = draws.shape[0] > 1  # one answer is a certainty, whose score is its distance
        crps = crps_from_draws(draws, truth, mask, fair=fair)
        return wasserstein_from_draws(draws, truth, mask), ratio, crps

    rows = []
    for j in range(panel.m):
        mask = ~np.isnan(panel.human[:, j]) & ~np.isnan(panel.twin[:, j])
        sides = drawn[:, :, j] / width[j], panel.human[:, j] / width[j]
        rows.append(scores(*(jnp.asarray(np.nan_to_num(a)) for a in sides), jnp.asarray(mask)))
    return dict(zip(PER_QUESTION, np.array(rows, float).T, strict=True))


def of_batteries(
    panel: Panel, drawn: np.ndarray, width: np.ndarray, fold: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of the questions that were left out and drawn together."""

    @jax.jit
    def scores(draws, truth, mask):
        far = jnp.mean(jax.lax.map(lambda one: correlation_distance(one, truth, mask), draws))
        return far, energy_score(draws, truth, mask, fair=draws.shape[0] > 1)

    rows = []
    for f in range(int(fold.max()) + 1):
        inside = np.flatnonzero(fold == f)
        mask = ~np.isnan(panel.human[:, inside]) & ~np.isnan(panel.twin[:, inside])
        truth = np.nan_to_num(panel.human[:, inside] / width[inside])
        draws = np.nan_to_num(drawn[:, :, inside] / width[inside])
        rows.append(scores(jnp.asarray(draws), jnp.asarray(truth), jnp.asarray(mask)))
    return dict(zip(PER_BATTERY, np.array(rows, float).T, strict=True))


def coverages(panel: Panel, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Coverage of one half of the people by the other half's answers, twins, means and draws.

    Answers are standardised as people's are, missing ones (the same for all) at the mean, and
    projected on the leading components of people's. The ceiling is noise of the same variances.
    Every row of the result is one random division of the people.
    """
    seen = ~np.isnan(panel.human) & ~np.isnan(panel.twin)
    human = np.where(seen, panel.human, np.nan)
    mean, sd = np.nanmean(human, axis=0), np.nanstd(human, axis=0)
    sd = np.where(sd > 0, sd, 1)

    def standard(values: np.ndarray) -> np.ndarray:
        return np.where(seen, (np.nan_to_num(values) - mean) / sd, 0)

    _, _, axes = np.linalg.svd(standard(human), full_matrices=False)
    axes = axes[:COMPONENTS].T
    real = standard(human) @ axes
    covered = jax.jit(lambda x, y: coverage(x, y, NEIGHBOURS))
    out: dict[str, list[float]] = {name: [] for name in ("people", *found, "noise")}
    rng = np.random.default_rng(0)
    for i in range(HALVES):
        order = rng.permutation(panel.n)
        judge, other = order[: panel.n // 2], order[panel.n // 2 :]
        noise = rng.normal(size=(len(other), COMPONENTS)) * real.std(axis=0)
        clouds = {"people": real[other], "noise": noise + real.mean(axis=0)}
        for name, values in found.items():
            clouds[name] = (standard(values[i % len(values)]) @ axes)[other]
        for name, cloud in clouds.items():
            out[name].append(float(covered(*map(jnp.asarray, (real[judge], cloud)))))
    return {name: np.array(values) for name, values in out.items()}


def mean_and_error(values: np.ndarray, group: np.ndarray) -> dict[str, float]:
    """Mean, and the jackknife's standard error over groups, each left out in turn."""
    valid = ~np.isnan(values)
    values, group = values[valid], group[valid]
    names = np.unique(group)
    without = np.array([values[group != name].mean() for name in names])
    count = len(names)
    square = (count - 1) / count * np.sum((without - without.mean()) ** 2)
    return {"mean": float(values.mean()), "se": float(np.sqrt(square))}


def measured(panel: Panel, setting: str, draws: int, former: bool) -> dict[str, Any]:
    """All figures of a panel, and the differences of the draws from the others, paired."""
    made = answers(panel, setting, draws, former)
    fold, found = made["fold"], made["answers"]
    ranges = panel.with_observed_ranges()
    width = np.where(ranges.high > ranges.low, ranges.high - ranges.low, 1.0)
    names = panel.blocks or panel.questions
    group = np.unique(names, return_inverse=True)[1]
    batteries = np.arange(int(fold.max()) + 1)
    scores = {
        name: of_questions(panel, values, width) | of_batteries(panel, values, width, fold)
        for name, values in found.items()
    }
    figures: dict[str, Any] = {}
    for name, of in scores.items():
        figures[name] = {
            metric: mean_and_error(values, group if metric in PER_QUESTION else batteries)
            for metric, values in of.items()
        }
    less = {
        name: {
            metric: mean_and_error(
                scores[DRAWS][metric] - values, group if metric in PER_QUESTION else batteries
            )
            for metric, values in of.items()
        }
        for name, of in scores.items()
        if name != DRAWS
    }
    covered = coverages(panel, found)
    floor, ceiling = covered["people"].mean(), covered["noise"].mean()
    for name, values in covered.items():
        figures.setdefault(name, {})["coverage"] = {
            "mean": float(values.mean()),
            "sd_over_halves": float(values.std(ddof=1)),
        }
        index = float(fidelity_gap_index(values.mean(), floor, ceiling))
        figures[name]["coverage_index"] = {"mean": index}
    half = panel.n // 2
    return {
        "people": panel.n,
        "questions": panel.m,
        "batteries": len(batteries),
        "figures": figures,
        "draws_less": less,
        "expected_coverage_of_people": expected_coverage(half, panel.n - half, NEIGHBOURS),
    }


def load(data: Path, name: str) -> Panel:
    if name == "movielens":
        return load_movielens(data, in_context=False)
    panel = load_twin_2k_500(data, name)
    return panel.with_blocks(blocks_from_names(panel.questions))


def show(name: str, setting: str, found: dict[str, Any]) -> None:
    print(f"{name}, {setting}")
    metrics = (*PER_QUESTION, *PER_BATTERY, "coverage", "coverage_index")
    print(f"{'':>18}" + "".join(f"{metric:>22}" for metric in metrics))
    for population, figures in found["figures"].items():
        cells = [figures.get(metric, {}).get("mean", float("nan")) for metric in metrics]
        print(f"{population:>18}" + "".join(f"{cell:22.4f}" for cell in cells))
    for population, figures in found["draws_less"].items():
        cells = [
            f"{figures[m]['mean']:.4f} ± {figures[m]['se']:.4f}" if m in figures else ""
            for m in metrics
        ]
        print(f"{'less ' + population:>22}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS / "draws.json")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--panels", nargs="*", default=[*CHOSEN_ON, *ONCE])
    parser.add_argument("--settings", nargs="*", default=["known battery", "new survey"])
    parser.add_argument("--no-former", action="store_true", help="leave out the former draws")
    args = parser.parse_args()
    settings = {"draws": args.draws, "folds": FOLDS, "components": COMPONENTS,
                "neighbours": NEIGHBOURS, "halves": HALVES, "chosen_on": CHOSEN_ON}  # fmt: skip
    panels = json.loads(args.out.read_text())["panels"] if args.out.exists() else []
    for name in args.panels:
        panel = load(args.data, name)
        for setting in args.settings:
            if setting == "new survey" and not panel.blocks:
                continue
            found = measured(panel, setting, args.draws, not args.no_former)
            show(name, setting, found)
            panels = [p for p in panels if (p["panel"], p["setting"]) != (name, setting)]
            panels.append({"panel": name, "setting": setting, **found})
            write_report(args.out, settings=settings, panels=panels)


if __name__ == "__main__":
    main()
