"""`syndigits demo`."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax.cli._console import output, print_block, showing_progress, showing_step
from syndigits_jax.cli._figures import (
    adaptive_figure,
    alignment_figures,
    distribution_figure,
    methods_figure,
    save_figure,
)
from syndigits_jax.datasets import sample_panel
from syndigits_jax.studies.comparison import blocks, printed_blocks
from syndigits_jax.studies.demo import run_demo, run_distribution_demo
from syndigits_jax.studies.figure5 import figure5
from syndigits_jax.studies.records import Record
from syndigits_jax.studies.tables import RESULTS

_CURVES = ("Ridge", "ElasticNet")
_VARIANTS = {
    "both": "weighted ensemble",
    "personas": "  personas only",
    "dummies": "  dummies only",
    "blend": "penalised, with the mean (blend)",
    "uniform": "control: equal weights",
    "mean-distribution": "control: mean distribution",
}
_METRICS = {"tv": "TV", "kl": "KL", "cdf_l1": "CDF ℓ1"}


def run(out: Path) -> None:
    """Calibrate the sample panel, print the tables, draw the figures."""
    panel = sample_panel()
    console = output()
    console.print(
        f"A simulated survey: {panel.n} people answered {panel.m} questions on a scale from 1 to "
        "5, and so did their digital twins. Each question is held out in turn: how well are the "
        "human answers to it predicted? Correlation, mean ± standard error."
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
    console.print("written:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True)


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


def _print_divergences(console: Console, records: Sequence[Record]) -> None:
    means = {(r.variant, r.metric): r.mean for r in records if r.mean is not None}
    gaps = {r.variant: r.gap for r in records if r.gap is not None}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for title in (*_METRICS.values(), "gap"):
        table.add_column(title, justify="right")
    best = {m: min(means[variant, m] for variant in _VARIANTS) for m in _METRICS}
    for variant, title in _VARIANTS.items():
        cells = []
        for metric in _METRICS:
            text = f"{means[variant, metric]:.3f}"
            cells.append(f"[bold]{text}[/bold]" if means[variant, metric] == best[metric] else text)
        gap = gaps.get(variant)
        table.add_row(title, *cells, "" if gap is None else f"{gap:.0e}")
    console.print(table)
