"""The report of `syndigits evaluate` in short: its first sentences, and where the rest is."""

from pathlib import Path

from syndigits_jax.cli.render.console import output
from syndigits_jax.report import Report


def print_evaluation(report: Report, out: Path) -> None:
    """Print the summary and the notes of a report, and its folder."""
    console = output()
    facts = report.facts
    console.print(f"\n{facts['people']} people, {facts['questions']} questions", style="bold")
    for claim in report.summary:
        console.print(claim.text, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(
        f"written: {out / 'report.html'}, the same as report.md, results.json, tables and figures",
        soft_wrap=True,
    )
