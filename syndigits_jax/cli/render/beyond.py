"""The study of the estimator on the papers' public data."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from syndigits_jax.cli.render.console import bold, output, showing_progress
from syndigits_jax.results.format import UNDEFINED, with_error
from syndigits_jax.results.records import RESULTS, read_results
from syndigits_jax.studies.beyond.comparison import (
    TITLES,
    Cell,
    Row,
    Table,
    findings,
    has_methods,
    notes,
    tables,
)
from syndigits_jax.studies.beyond.study import run_beyond
from syndigits_jax.studies.beyond.summaries import HIGHER_IS_BETTER

_WIDTH = 176  # of a pipe
_HEADS = {
    "Baseline": "raw twins",
    "InContext": "in-context",
    "UserMean": "user mean",
    "ZScoredUserMean": "z-scored mean",
    "ItemMean": "item mean",
}


def show_beyond(
    data: Path, out: Path, datasets: Sequence[str], constructions: Sequence[str]
) -> list[Path]:
    """Run the study, print its tables and what they show; return the files.

    **Arguments:** `data`: the folder of the public data; `out`, `datasets`, `constructions`: as in
    [`run_beyond`][syndigits_jax.studies.beyond.study.run_beyond].
    """
    with showing_progress() as on_progress:
        run = run_beyond(
            data, datasets=datasets, constructions=constructions, out=out, on_progress=on_progress
        )
    path = out / RESULTS
    kept = [record for record in read_results(path)[1] if record.table != run[0].table]
    made, console = tables([*run, *kept]), output(_WIDTH)
    for table in made:
        print_table(console, table)
    console.print()
    for text in findings(made):
        console.print(text, soft_wrap=True)
    for text in notes(made, has_methods(kept)):
        console.print(f"note: {text}", soft_wrap=True)
    console.print(f"written: {path}", soft_wrap=True)
    return [path]


def print_table(console: Console, table: Table) -> None:
    """Print one hold-out: a row per metric; the best number of a row is bold."""
    unit = table.unit
    where = unit.dataset if unit.where == unit.dataset else f"{unit.dataset}, {unit.where}"
    text = f"\n{where}: {unit.setting}, {table.count} {unit.direction}s"
    console.print(text, style="bold", soft_wrap=True)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("")
    heads = [_HEADS.get(name, name) for name in table.rows[0].controls]
    for head in (*heads, "paper's best", "best alone", "auto", "auto - best control"):
        grid.add_column(head, justify="right")
    for row in table.rows:
        grid.add_row(TITLES[row.metric], *_cells(row))
    console.print(grid)
    if table.converged < 1:
        share = min(99, int(100 * table.converged))
        console.print(f"not all fits of auto met their tolerance, but {share}%", soft_wrap=True)


def _cells(row: Row) -> list[str | Text]:
    cells = [*row.controls.values(), row.published, row.alone, row.auto]
    known = [c.mean for c in cells if c is not None and c.mean is not None]
    best = (max if row.metric in HIGHER_IS_BETTER else min)(known, default=None)
    digits = 4 if row.metric == "mse_over_range2" else 3
    texts: list[str | Text] = []
    for cell in cells:
        text = _text(cell, digits)
        texts.append(bold(text, cell is not None and cell.mean == best))
    return [*texts, _text(row.lead, digits, signed=True)]


def _text(cell: Cell | None, digits: int, signed: bool = False) -> str:
    if cell is None:
        return UNDEFINED
    text = with_error(cell.mean, cell.se, digits)
    if signed and cell.mean is not None and cell.mean > 0:
        text = f"+{text}"
    return f"{text}\n{_HEADS.get(cell.name, cell.name)}" if cell.name else text
