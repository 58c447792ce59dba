"""The figures of results, and how they are saved."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syndigits_jax.datasets import DistributionData
from syndigits_jax.diagnostics.alignment import alignment
from syndigits_jax.diagnostics.rank_selection import svd_diagnostics
from syndigits_jax.panel import Panel
from syndigits_jax.plots import (
    plot_adaptive_curve,
    plot_alignment,
    plot_answer_distribution,
    plot_cumulative_variance,
    plot_fidelity_gap,
    plot_methods,
    plot_projection,
    plot_variance_ratios,
    save_figure,
)
from syndigits_jax.plots.style import label
from syndigits_jax.results.records import Record
from syndigits_jax.studies.demo.calibration import DistributionDemo
from syndigits_jax.studies.demo.fidelity import FidelityDemo
from syndigits_jax.studies.syn_digits.comparison import Block, blocks
from syndigits_jax.studies.syn_digits.ensembles import EnsembleUnit
from syndigits_jax.studies.syn_digits.figure5 import Figure5, figure5
from syndigits_jax.studies.syn_digits.tables import UnitResult

# Each candidate is a program to compile; three suffice for the simulated panel of rank 3.
_RANKS = (1, 3, 5)


def save_result_figures(
    out: Path, records: Sequence[Record], results: Sequence[UnitResult]
) -> list[Path]:
    """The figures of a table: bars per panel and setting, and the adaptive curves of Figure 5."""
    paths = []
    for block in blocks(records):
        if block.table == "figure5":
            continue
        for setting in block.settings:
            path = out / f"{block.table}-{_file_name(block)}-{setting}.png"
            paths.append(save_figure(methods_figure(block, setting), path))
    for result in results:
        if result.unit.table == "figure5":
            curves = figure5(result.arrays)
            path = out / f"figure5-{_plain(result.unit.construction)}-{result.unit.setting}.png"
            paths.append(save_figure(adaptive_figure(curves), path))
    return paths


def methods_figure(block: Block, setting: str) -> Axes:
    """Bars of one printed block."""
    ours = {row.method: row.ours.get(setting, (None, None)) for row in block.rows}
    return plot_methods(
        {name: _number(mean) for name, (mean, _) in ours.items()},
        {name: _number(se) for name, (_, se) in ours.items()},
        paper={row.method: _number(row.paper[0]) for row in block.rows},
        title=block.title,
    )


def adaptive_figure(curves: Mapping[str, Figure5]) -> Axes:
    """One panel per method, with one vertical axis."""
    figure = Figure(figsize=(4.4 * len(curves), 3.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, (name, curve) in zip(panels, curves.items(), strict=True):
        plot_adaptive_curve(
            curve.thresholds,
            curve.mean,
            baseline=curve.baseline,
            always=curve.always,
            se=curve.se,
            metric="Mean correlation" if ax is panels[0] else "",
            ax=ax,
            title=label(name),
        )
    return panels[0]


def alignment_figures(panel: Panel) -> dict[str, Axes]:
    """Row and column spaces of humans and twins, and the cumulative variance, by file name."""
    names = {"row": "Space of questions", "column": "Space of people"}
    figures = {}
    for space, title in names.items():
        aligned = alignment(
            jax.random.key(0), panel.human, panel.twin, space=space, candidates=_RANKS
        )
        series = {
            "Twins": aligned.twin,
            "Random matrix": aligned.normal,
            "Shuffled humans": aligned.shuffled,
        }
        left, _ = plot_alignment(
            {name: np.asarray(value.cosine) for name, value in series.items()},
            {name: np.asarray(value.projection_norm) for name, value in series.items()},
            title=f"{title}: humans against ...",
        )
        figures[f"alignment-{space}-space"] = left
    human, twin = jax.jit(svd_diagnostics)(panel.human, panel.twin)
    figures["cumulative-variance"] = plot_cumulative_variance(
        {"Humans": np.asarray(human), "Twins": np.asarray(twin)}
    )
    return figures


def distribution_figure(demo: DistributionDemo) -> Axes:
    """The new question with the median error, and the spread of all new questions."""
    left, right = Figure(figsize=(9.2, 3.6), layout="constrained").subplots(1, 2)
    true = demo.new.counts / demo.new.counts.sum(axis=1, keepdims=True)
    blend, uniform = demo.predictions["blend"], demo.predictions["uniform"]
    off = np.abs(blend - true).sum(axis=1)
    j = int(np.argsort(off)[len(off) // 2])
    plot_answer_distribution(
        blend[j],
        true=true[j],
        baseline=uniform[j],
        options=demo.new.options,
        ax=left,
        title="The new question of median error",
    )
    plot_variance_ratios(
        demo.ratios["blend"], demo.ratios["uniform"], ax=right, title="Spread, all new questions"
    )
    return left


def fidelity_demo_figure(demo: FidelityDemo) -> Axes:
    """Users and personas in preference space, and their distances before and after repair."""
    left, right = Figure(figsize=(10.4, 3.9), layout="constrained").subplots(1, 2)
    names = {
        "real": "real users",
        "collapsed": "collapsed personas",
        "transported": "the same, moved",
    }
    plot_projection(
        {title: demo.populations[name] for name, title in names.items()},
        ax=left,
        title="Preference space",
    )
    metrics = {
        "frechet": "Fréchet",
        "sliced_wasserstein": "Sliced Wasserstein",
        "coverage": "Coverage",
    }
    repaired = {"reweighted": "weighted", "transported": "moved"}
    found = {
        repaired.get(name, name): {
            title: demo.number(name, f"fgi_{metric}") for metric, title in metrics.items()
        }
        for name in ("faithful", "collapsed", *repaired)
    }
    plot_fidelity_gap(
        {name: {m: r.mean for m, r in row.items()} for name, row in found.items()},
        {name: {m: (r.low, r.high) for m, r in row.items()} for name, row in found.items()},
        interval_label="95% interval",
        ax=right,
        title="0: as real users, 1: as noise",
    )
    return left


def save_ensemble_figures(
    out: Path, unit: EnsembleUnit, data: DistributionData, arrays: Mapping[str, np.ndarray]
) -> list[Path]:
    """Figures 8 and 9 of one data set and setting: predicted answers, and their spread.

    **Arguments:** `out`: the folder; `unit`, `data`, `arrays`: as `on_unit` of
    [`run_ensembles`][syndigits_jax.studies.syn_digits.ensembles.run_ensembles] receives them.
    """
    test = data.take(data.published_split()[1])
    name = unit.dataset if unit.construction == "summary" else f"{unit.dataset} without refused"
    ending = f"{_plain(name)}-{unit.setting}.png"
    ratios = plot_variance_ratios(
        arrays["cdf_l1/both/variance_ratio"],
        arrays["/uniform/variance_ratio"],
        title=f"{name}, {unit.setting} setting: new questions",
    )
    answers = new_answers_figure(test, arrays["shares"], arrays["uniform_shares"])
    return [
        save_figure(answers, out / f"figure8-{ending}"),
        save_figure(ratios, out / f"figure9-{ending}"),
    ]


def new_answers_figure(
    new: DistributionData,
    shares: Float[np.ndarray, "q K"],
    uniform: Float[np.ndarray, "q K"],
) -> Axes:
    """Three new questions: at the first, second and third quartile of the error."""
    true = np.where(new.kept, new.counts, 0)
    true = true / true.sum(axis=1, keepdims=True)
    order = np.argsort(np.abs(shares - true).sum(axis=1), kind="stable")
    titles = ("First quartile of error", "Median error", "Third quartile of error")
    panels = Figure(figsize=(12.6, 3.6), layout="constrained").subplots(1, 3)
    for quarter, (ax, title) in enumerate(zip(panels, titles, strict=True), start=1):
        j = int(order[quarter * (len(order) - 1) // 4])
        kept = np.flatnonzero(new.kept[j])
        plot_answer_distribution(
            shares[j, kept],
            true=true[j, kept],
            baseline=uniform[j, kept],
            options=[new.options[k] for k in kept],
            ax=ax,
            title=shorten(f"{title}: {new.questions[j]}", 46, placeholder=" ..."),
        )
    return panels[0]


def _file_name(block: Block) -> str:
    return _plain(block.dataset if block.dataset == "movielens" else block.construction)


def _plain(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in ".-" else " " for c in name.lower())
    return "-".join(part for part in kept.replace("-", " ").split() if part)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
