"""`syndigits calibrate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from syndigits_jax.cli._console import output, showing_step
from syndigits_jax.studies.own_files import calibrate_files, check_table_path, write_table

_SHOWN = 12  # targets printed; all of them are in --report


def run(
    human: Path,
    twin: Path,
    out: Path,
    *,
    method: str,
    hyperparameters: Mapping[str, Any],
    new_users: bool,
    targets: Sequence[str] | None,
    id_column: str | None,
    join: str,
    report: Path | None,
) -> None:
    """Calibrate two tables and write the predictions, and the report if one is wanted."""
    if join not in ("error", "inner"):
        raise ValueError(f"join: must be 'error' or 'inner', got '{join}'")
    for path in (out, report):
        if path is not None:
            check_table_path(path)
    with showing_step(f"calibrating {twin} with {method} ..."):
        result = calibrate_files(
            human,
            twin,
            method,
            hyperparameters=hyperparameters,
            new_users=new_users,
            targets=targets,
            id_column=id_column,
            join=join,  # pyright: ignore[reportArgumentType]
        )
        if report is not None:
            write_table(report, result.report)
        write_table(out, result.predictions)
    console = output()
    table = Table(title=f"{result.method}", title_justify="left")
    table.add_column(f"new {result.direction}")
    for name in ("human answers", "training MSE", "status"):
        table.add_column(name, justify="right")
    for name, row in result.report.head(_SHOWN).iterrows():
        table.add_row(str(name), str(row.human_answers), f"{row.training_mse:.3f}", str(row.status))
    console.print(table)
    rest = len(result.report) - _SHOWN
    if rest > 0:
        console.print(f"... and {rest} more")
    rows, columns = result.predictions.shape
    console.print(f"written: {out} ({rows} x {columns})", soft_wrap=True)
