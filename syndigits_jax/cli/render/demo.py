"""The output of the demonstration on simulated people."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax.cli.render.console import (
    bold,
    output,
    print_block,
    showing_progress,
    showing_step,
)
from syndigits_jax.cli.render.figures import (
    adaptive_figure,
    alignment_figures,
    distribution_figure,
    fidelity_demo_figure,
    methods_figure,
    save_figure,
)
from syndigits_jax.datasets import sample_panel
from syndigits_jax.results.format import UNDEFINED, fixed
from syndigits_jax.results.records import RESULTS, Record
from syndigits_jax.studies.demo.calibration import (
    run_demo,
    run_distribution_demo,
    run_estimate_demo,
)
from syndigits_jax.studies.demo.fidelity import KNOWN, FidelityDemo, run_fidelity_demo
from syndigits_jax.studies.demo.fidelity import RESULTS as FIDELITY_RESULTS
from syndigits_jax.studies.syn_digits.comparison import blocks, printed_blocks
from syndigits_jax.studies.syn_digits.figure5 import figure5
from syndigits_jax.workflows.fidelity.records import FidelityRecord

_CURVES = ("Ridge", "ElasticNet")
_ESTIMATES = {
    "Auto": "estimate (auto)",
    "Baseline": "control: twins as they are",
    "UserMean": "control: the person's mean",
    "ZScoredUserMean": "control: the same, standardised",
}
_VARIANTS = {
    "both": "weighted ensemble",
    "personas": "  personas only",
    "dummies": "  dummies only",
    "blend": "penalised, with the mean (blend)",
    "uniform": "control: equal weights",
    "mean-distribution": "control: mean distribution",
}
_METRICS = {"tv": "TV", "kl": "KL", "cdf_l1": "CDF ℓ1"}
_POPULATIONS = {
    "real": "real users (floor)",
    "faithful": "faithful personas",
    "collapsed": "collapsed personas",
    "reweighted": "  weighted",
    "transported": "  moved (transport map)",
    "noise": "noise (ceiling)",
}
_DISTANCES = {
    "frechet": "Fréchet",
    "mmd2": "MMD²",
    "sliced_wasserstein": "sliced W.",
    "coverage": "coverage",
}


def show_demo(out: Path) -> list[Path]:
    """Run all parts of the demonstration, print tables and draw figures; return the files."""
    panel = sample_panel()
    console = output()
    console.print(
        f"A simulated survey: {panel.n} people answered {panel.m} questions on a scale from 1 to "
        "5, and so did their digital twins. Held out, how well are the human answers to a question "
        "predicted? First by the one estimate that chooses everything by the other questions:"
    )
    with showing_step("estimating ..."):
        estimate = run_estimate_demo()
    console.print(_estimates(estimate))
    console.print(
        "One method at a time, each question held out in turn. Correlation, mean ± standard error."
    )
    with showing_progress() as on_progress:
        records, result = run_demo(out, on_progress)
    paths = [out / RESULTS]
    for block in printed_blocks(records):
        print_block(console, block)
    for block in blocks(records):
        path = out / "methods.png"
        paths.append(save_figure(methods_figure(block, "default"), path))
    curves = figure5(result.arrays)
    shown = {name: curves[name] for name in _CURVES}
    paths.append(save_figure(adaptive_figure(shown), out / "adaptive.png"))
    for name, ax in alignment_figures(panel).items():
        paths.append(save_figure(ax, out / f"{name}.png"))
    paths.append(run_distributions(console, out))
    paths += run_fidelity(console, out)
    console.print("written:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True)
    return paths


def _estimates(found: dict[str, tuple[float, float, float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("correlation", "error of a question's mean"):
        table.add_column(name, justify="right")
    for name, (correlation, se, error) in found.items():
        table.add_row(_ESTIMATES[name], f"{fixed(correlation)} ± {fixed(se)}", fixed(error))
    return table


def run_distributions(console: Console, out: Path) -> Path:
    """Predict answer distributions, print the table, draw the figure and return its path."""
    with showing_step("weighing twins ..."):
        demo = run_distribution_demo(out)
    people, options = int(demo.past.counts[0].sum()), len(demo.past.options)
    twins, past, new = (len(x) for x in (demo.past.twins, demo.past.questions, demo.new.questions))
    console.print(
        f"\nA simulated poll: how many of {people} people chose each of {options} options is known "
        f"of {past} past questions, and nothing else. {twins} twins, who overdo what is likely, "
        f"answered them and {new} new ones. Weights are fitted to the past questions; how far off "
        "are the predicted distributions of the new ones? Mean divergences, less is better. Gap: "
        "how far from the best fit, at most, relative to the gain over equal weights."
    )
    _print_divergences(console, demo.records)
    return save_figure(distribution_figure(demo), out / "answer-distributions.png")


def run_fidelity(console: Console, out: Path) -> list[Path]:
    """Measure and repair personas, print the tables, draw the figure and return the files."""
    with showing_step("placing personas ..."):
        demo = run_fidelity_demo(out)
    judged, items = demo.settings.judged, demo.settings.items
    console.print(
        f"\nSimulated personas: {judged} faithful ones, who prefer what a real user prefers, and "
        f"{judged} collapsed ones: {demo.settings.shrink:.0%} of the distance from the average "
        f"user is left, and they lean to the majority. They and {judged} other real users are "
        f"placed in preference space by their ratings of {items} items. How far are they from the "
        "real users? In brackets at the true positions:"
    )
    console.print(_distances(demo))
    own, other = (
        demo.number("collapsed", name).mean for name in ("rank_accuracy", "rank_accuracy_shuffled")
    )
    console.print(
        f"One by one the collapsed personas look right: they order {own:.0%} of pairs of items as "
        f"their own user does ({other:.0%} as another user does). Repairs are fitted to users who "
        "are not judged here. Fidelity Gap Index, 0: as real users, 1: as noise; 95% intervals:"
    )
    console.print(_indices(demo))
    figure = save_figure(fidelity_demo_figure(demo), out / "fidelity.png")
    return [out / FIDELITY_RESULTS, figure]


def _distances(demo: FidelityDemo) -> Table:
    titles = {**_DISTANCES, "cosine_mean": "mean cosine"}
    table = _table(*titles.values())
    for population, title in _POPULATIONS.items():
        cells = []
        for metric in titles:
            text = fixed(demo.number(population, metric).mean, 3)
            if population in ("faithful", "collapsed"):
                text += f" ({fixed(demo.number(population, metric, KNOWN).mean, 3)})"
            cells.append(text)
        table.add_row(title, *cells)
    return table


def _indices(demo: FidelityDemo) -> Table:
    table = _table(*_DISTANCES.values())
    for population, title in _POPULATIONS.items():
        if population not in ("real", "noise"):
            found = [demo.number(population, f"fgi_{metric}") for metric in _DISTANCES]
            table.add_row(title, *map(_with_interval, found))
    return table


def _with_interval(record: FidelityRecord) -> str:
    """An index with its interval; a dash if it is undefined."""
    if not math.isfinite(record.mean):
        return UNDEFINED
    mean, low, high = (fixed(value, 2) for value in (record.mean, record.low, record.high))
    return f"{mean} ({low}..{high})"


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right")
    return table


def _print_divergences(console: Console, records: Sequence[Record]) -> None:
    means = {(r.variant, r.metric): r.mean for r in records if r.mean is not None}
    gaps = {r.variant: r.gap for r in records if r.gap is not None}
    table = _table(*_METRICS.values(), "gap")
    best = {m: min(means[variant, m] for variant in _VARIANTS) for m in _METRICS}
    for variant, title in _VARIANTS.items():
        cells = []
        for metric in _METRICS:
            text = f"{means[variant, metric]:.3f}"
            cells.append(bold(text, means[variant, metric] == best[metric]))
        gap = gaps.get(variant)
        table.add_row(title, *cells, "" if gap is None else f"{gap:.0e}")
    console.print(table)
