"""The predictions of `syndigits calibrate` as a table."""

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from syndigits_jax.cli.render.console import output
from syndigits_jax.cli.render.missing import dropped_text
from syndigits_jax.results.format import fixed
from syndigits_jax.workflows.calibrate import CalibratedFiles, method_title

_SHOWN = 12  # targets printed; all of them are in --report


def print_calibrated(result: CalibratedFiles, out: Path, *, joined: bool) -> None:
    """Print one row per target; with `joined`, also what was dropped."""
    console = output()
    if joined:
        console.print(dropped_text(result.dropped), soft_wrap=True)
    console.print(f"\n{method_title(result.method)}", style="bold", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"new {result.direction}")
    for name in ("human answers", "training MSE", "status", "used"):
        table.add_column(name, justify="right")
    for name, row in result.report.head(_SHOWN).iterrows():
        error = fixed(row.training_mse)
        table.add_row(str(name), *map(str, (row.human_answers, error, row.status, _used(row))))
    console.print(table)
    unfinished = sorted(set(result.report["imputation"]) - {"converged"})
    if unfinished:
        console.print(f"imputation of the other {result.direction}s: {', '.join(unfinished)}")
    rest = len(result.report) - _SHOWN
    if rest > 0:
        console.print(f"... and {rest} more")
    rows, columns = result.predictions.shape
    console.print(f"written: {out} ({rows} x {columns})", soft_wrap=True)


def _used(row: Any) -> str:
    if not row.transferred:
        return "twins as they are"
    if row.twins_alike:
        return "human answers" if row.human_answers else "nothing to learn from"
    return "calibrated"
