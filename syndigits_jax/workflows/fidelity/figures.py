"""The figures of a fidelity report (figures 2 to 7 of the paper)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from syndigits_jax.plots import (
    has_umap,
    plot_collapse,
    plot_fidelity_gap,
    plot_histograms,
    plot_local_against_global,
    plot_projection,
)
from syndigits_jax.workflows.fidelity.measure import FidelityReport
from syndigits_jax.workflows.fidelity.populations import PairedColumns
from syndigits_jax.workflows.fidelity.records import FidelityRecord, is_personas

_INDEX = {
    "fgi_frechet": "Fréchet",
    "fgi_mmd2": "MMD²",
    "fgi_sliced_wasserstein": "Sliced Wasserstein",
    "fgi_coverage": "Coverage",
}
_DRAWN = ("real", "noise", "random_mixture")
_MOST_DRAWN = 6
_Rows = Mapping[str, Mapping[str, FidelityRecord]]


def fidelity_figures(report: FidelityReport) -> dict[str, Axes]:
    """All figures for which the report has numbers, by name."""
    figures = {}
    for reference, populations in report.populations.items():
        figures |= reference_figures(report.records, reference, populations)
    return figures | paired_figures(report.paired)


def paired_figures(paired: Mapping[tuple[str, str, str], PairedColumns]) -> dict[str, Axes]:
    """Figures of the distances of personas to their own and to other personas' seeds, by name."""
    figures = {}
    several = len({population for population, _, _ in paired}) > 1
    for (population, procedure, reference), columns in paired.items():
        where = "trained users" if reference == "trained" else f"users by {reference}"
        made = f"{population.rpartition(': ')[2].replace(' ', '-')}-" if several else ""
        figures[f"paired-distance-{made}{procedure}-{reference}"] = plot_histograms(
            {"own seed": columns.own, "another's seed": columns.shuffled},
            title=f"{population.capitalize()} by {procedure}, {where}",
        )
    return figures


def reference_figures(
    records: Sequence[FidelityRecord],
    reference: str,
    populations: Mapping[str, np.ndarray],
    drawn: Sequence[str] | None = None,
) -> dict[str, Axes]:
    """Figures of all populations compared with one placement of real users, by name.

    **Arguments:**

    - `records`: of the report.
    - `reference`: how the real users were placed.
    - `populations`: embeddings (n, d) by name.
    - `drawn`: names of those whose embeddings are drawn, at most six; by default real users, the
      ceilings and personas.
    """
    if drawn is None:
        drawn = [*_DRAWN, *(name for name in populations if is_personas(name))][:_MOST_DRAWN]
    rows = _rows(records, reference)
    title = "Real users as trained" if reference == "trained" else f"Real users by {reference}"
    gaps = {
        name: {label: row[metric].mean for metric, label in _INDEX.items() if metric in row}
        for name, row in rows.items()
        if name not in ("real", "noise")
    }
    ends = {
        name: {
            label: (row[metric].low, row[metric].high)
            for metric, label in _INDEX.items()
            if metric in row
        }
        for name, row in rows.items()
    }
    figures = {
        f"gap-{reference}": plot_fidelity_gap(
            gaps, ends, interval_label="95% interval", title=title
        )
    }
    for metric, xlabel in (("cosine_mean", "Mean cosine within"), ("coverage", "Coverage")):
        found = {name: row[metric] for name, row in rows.items() if metric in row}
        figures[f"{metric.partition('_')[0]}-{reference}"] = plot_collapse(
            {name: r.mean for name, r in found.items()},
            {name: (r.low, r.high) for name, r in found.items()},
            reference="real", interval_label="95% interval", xlabel=xlabel, title=title,
        )  # fmt: skip
    both = {name: row for name, row in rows.items() if {"precision", "coverage"} <= row.keys()}
    figures[f"local-global-{reference}"] = plot_local_against_global(
        {name: row["precision"].mean for name, row in both.items()},
        {name: row["coverage"].mean for name, row in both.items()},
        title=title,
    )
    ranked = {
        name: row for name, row in rows.items() if {"rank_accuracy", "coverage"} <= row.keys()
    }
    if ranked:
        figures[f"rank-coverage-{reference}"] = plot_local_against_global(
            {name: row["rank_accuracy"].mean for name, row in ranked.items()},
            {name: row["coverage"].mean for name, row in ranked.items()},
            xlabel="Local fidelity (rank accuracy)", title=title,
        )  # fmt: skip
    shown = {name.replace("_", " "): populations[name] for name in drawn if name in populations}
    if not shown:
        return figures
    for method in ("pca", "umap") if has_umap() else ("pca",):
        # Personas are drawn last, over the others.
        figures[f"{method}-{reference}"] = plot_projection(shown, method=method, title=title)
    norms = {name: np.linalg.norm(z, axis=1) for name, z in shown.items()}
    figures[f"norms-{reference}"] = plot_histograms(
        norms, xlabel="Length of the embedding", ylabel="Population", title=title
    )
    return figures


def _rows(records: Sequence[FidelityRecord], reference: str) -> _Rows:
    """Records by population, then by metric; names include the procedure where ambiguous."""
    rows: dict[str, dict[str, FidelityRecord]] = {}
    for r in records:
        if r.reference == reference:
            apart = is_personas(r.population) or r.procedure != reference
            name = r.population.replace("_", " ")
            name = f"{name} ({r.procedure})" if apart else name
            rows.setdefault(name, {}).setdefault(r.metric, r)
    return rows
