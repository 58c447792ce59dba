"""`syndigits calibrate`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from syndigits_jax.cli.commands.tables_options import as_options, dropped_text
from syndigits_jax.cli.render.console import output, showing_step
from syndigits_jax.workflows.calibrate import (
    AUTO,
    calibrate_files,
    check_table_path,
    method_title,
    write_table,
)

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
    threshold: float | None,
    report: Path | None,
    missing: str = "",
) -> None:
    """Calibrate two tables and write the predictions, and the report if one is wanted."""
    if join not in ("error", "inner"):
        raise ValueError(f"join: must be 'error' or 'inner', got '{join}'")
    for path in (out, report):
        if path is not None:
            check_table_path(path)
            if any(path.resolve() == given.resolve() for given in (human, twin)):
                raise ValueError(f"out: {path} is an input and would be overwritten")
    if report is not None and report.resolve() == out.resolve():
        raise ValueError(f"report: {report} is the table of predictions too; name another file")
    with as_options(), showing_step(f"calibrating {twin} with {method} ..."):
        result = calibrate_files(
            human,
            twin,
            method,
            hyperparameters=hyperparameters,
            new_users=new_users,
            targets=targets,
            id_column=id_column,
            threshold=threshold,
            join=join,  # pyright: ignore[reportArgumentType]
            missing=missing,
        )
        if report is not None:
            write_table(report, result.report)
        write_table(out, result.predictions)
    console = output()
    if join == "inner":
        console.print(dropped_text(result.dropped), soft_wrap=True)
    console.print(f"\n{method_title(result.method)}", style="bold", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"new {result.direction}")
    for name in ("human answers", "training MSE", "status", "used"):
        table.add_column(name, justify="right")
    for name, row in result.report.head(_SHOWN).iterrows():
        error = "-" if math.isnan(row.training_mse) else f"{row.training_mse:.3f}"
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


def number_or_auto(option: str, text: str | None) -> float | str | None:
    """A penalty as it was typed. **Raises:** `ValueError` for what is neither."""
    if text is None or text == AUTO:
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{option}: must be a number or {AUTO}, got '{text}'") from None
