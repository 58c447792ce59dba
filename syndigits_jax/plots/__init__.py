"""Figures with matplotlib. Every function takes an Axes, or makes one, and returns it."""

from syndigits_jax.plots.adaptive import plot_adaptive_curve
from syndigits_jax.plots.agreement import plot_agreement
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
from syndigits_jax.plots.intervals import plot_dot_intervals, plot_group_intervals
from syndigits_jax.plots.methods import plot_methods, plot_score_differences
from syndigits_jax.plots.questions import plot_questions
from syndigits_jax.plots.reliability import plot_reliability
from syndigits_jax.plots.save import save_figure
from syndigits_jax.plots.variance import plot_cumulative_variance
from syndigits_jax.plots.worth import plot_error_by_people

__all__ = [
    "has_umap",
    "plot_adaptive_curve",
    "plot_agreement",
    "plot_alignment",
    "plot_answer_distribution",
    "plot_collapse",
    "plot_cumulative_variance",
    "plot_dot_intervals",
    "plot_error_by_people",
    "plot_few_shot",
    "plot_fidelity_gap",
    "plot_gap",
    "plot_group_intervals",
    "plot_histograms",
    "plot_local_against_global",
    "plot_methods",
    "plot_principal_cosines",
    "plot_projection",
    "plot_projection_distance",
    "plot_questions",
    "plot_reliability",
    "plot_score_differences",
    "plot_variance_ratios",
    "save_figure",
]
