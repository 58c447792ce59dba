"""`syndigits demo`."""

from pathlib import Path

from syndigits_jax.cli._console import output, print_block, showing_progress
from syndigits_jax.cli._figures import (
    adaptive_figure,
    alignment_figures,
    methods_figure,
    save_figure,
)
from syndigits_jax.datasets import sample_panel
from syndigits_jax.studies.comparison import blocks, printed_blocks
from syndigits_jax.studies.demo import run_demo
from syndigits_jax.studies.figure5 import figure5
from syndigits_jax.studies.tables import RESULTS

_CURVES = ("Ridge", "ElasticNet")


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
    console.print("written:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True)
