"""Figures with matplotlib. Every function takes an Axes, or makes one, and returns it."""

from syndigits_jax.plots.adaptive import plot_adaptive_curve
from syndigits_jax.plots.alignment import (
    plot_alignment,
    plot_principal_cosines,
    plot_projection_distance,
)
from syndigits_jax.plots.ensembles import plot_answer_distribution, plot_gap, plot_variance_ratios
from syndigits_jax.plots.few_shot import plot_few_shot
from syndigits_jax.plots.fidelity import (
    has_umap,
    plot_collapse,
    plot_fidelity_gap,
    plot_histograms,
    plot_local_against_global,
    plot_projection,
)
from syndigits_jax.plots.methods import plot_methods, plot_score_differences
from syndigits_jax.plots.reliability import plot_reliability
from syndigits_jax.plots.variance import plot_cumulative_variance

__all__ = [
    "has_umap",
    "plot_adaptive_curve",
    "plot_alignment",
    "plot_answer_distribution",
    "plot_collapse",
    "plot_cumulative_variance",
    "plot_few_shot",
    "plot_fidelity_gap",
    "plot_gap",
    "plot_histograms",
    "plot_local_against_global",
    "plot_methods",
    "plot_principal_cosines",
    "plot_projection",
    "plot_projection_distance",
    "plot_reliability",
    "plot_score_differences",
    "plot_variance_ratios",
]
