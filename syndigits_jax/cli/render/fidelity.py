"""The results of `syndigits fidelity`: tables."""

from pathlib import Path

from syndigits_jax.cli.render.console import output
from syndigits_jax.cli.render.fidelity_tables import (
    accuracy_table,
    paired_table,
    placed,
    population_table,
)
from syndigits_jax.workflows.fidelity.measure import FidelityReport


def show_fidelity(report: FidelityReport) -> list[Path]:
    """Print the results, and which files have them; return these."""
    console, counts = output(), report.counts
    console.print(
        f"\n{counts['users']} users ({counts['users_without_pairs']} without a training pair, left "
        f"out), {counts['personas']} personas ({counts['constant_personas']} without a pair of "
        f"ratings, left out), {counts['items']} items",
        soft_wrap=True,
    )
    if any(r.metric == "pairwise_accuracy" for r in report.records):
        console.print(accuracy_table(report.records))
    for reference in report.populations:
        title = f"against real users, {placed(reference)} (0: as real users, 1: as noise)"
        console.print(f"\n{title}", style="bold", soft_wrap=True)
        console.print(population_table(report.records, reference))
    if report.paired:
        title = "personas and their seeds; in brackets with the seeds shuffled"
        console.print(f"\n{title}", style="bold", soft_wrap=True)
        console.print(paired_table(report.records, list(report.paired)))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    written = list(report.files)
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True)
    return written
