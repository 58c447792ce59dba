"""The SYN-DIGITS paper's tables of weighted ensembles."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax.cli.render.console import bold, output, showing_progress
from syndigits_jax.cli.render.figures import save_ensemble_figures
from syndigits_jax.distribution import DIVERGENCES
from syndigits_jax.results.format import as_published
from syndigits_jax.results.progress import Progress
from syndigits_jax.results.records import RESULTS, Record
from syndigits_jax.studies.syn_digits.ensembles import run_ensembles

Row = dict[str, Record]
"""The records of one fit or control, by metric."""


def show_ensembles(table: str, data: Path, out: Path, setting: str) -> list[Path]:
    """Evaluate a table of ensembles, print it and draw its figures; return the files.

    **Arguments:** `table`, `out`, `setting`: as in
    [`run_ensembles`][syndigits_jax.studies.syn_digits.ensembles.run_ensembles]; `data`: the folder
    of the public data.
    """
    units: list[tuple] = []

    def keep(*unit) -> None:
        units.append(unit)

    with showing_progress() as show:

        def on_progress(*place) -> None:
            progress = Progress(*place)
            counted = "step" if progress.total == 1 else "steps"
            show(dataclasses.replace(progress, counted=counted))

        records = run_ensembles(
            table, data, setting=setting, out=out, on_progress=on_progress, on_unit=keep
        )
    figures: list[Path] = []
    if table == "table6":
        for unit in units:
            figures += save_ensemble_figures(out, *unit)
    console = output()
    for key in dict.fromkeys((r.dataset, r.construction, r.setting) for r in records):
        dataset, construction, name = key
        mine = [r for r in records if (r.dataset, r.construction, r.setting) == key]
        what = dataset if construction == "summary" else f"{dataset}, {construction}"
        print_ensembles(console, f"{what}: new questions, {name} setting", mine)
    furthest = furthest_from_paper(records)
    if furthest is not None:
        difference, record = furthest
        console.print(
            f"largest difference from the paper: {100 * difference:+.2f}% ({record.dataset}, "
            f"{record.variant}, {record.metric})"
        )
    written = [out / RESULTS, *figures]
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True)
    return written


def print_ensembles(console: Console, title: str, records: Sequence[Record]) -> None:
    """Print test divergences of every fit and control; the lowest of a column is bold.

    The paper's numbers are below the package's. `training` is the divergence attained by the fit;
    `leaked` the weight that the published single-block fits leave on the other block; `gap` the
    certified distance from the best fit, relative to the improvement over equal weights.
    """
    rows: dict[tuple[str, str], Row] = {}
    for r in records:
        rows.setdefault((r.objective or "", r.variant or ""), {})[r.metric] = r
    console.print(f"\n{title}{_took(rows)}", style="bold", soft_wrap=True)
    certified = any(r.gap is not None for r in records)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("objective")
    table.add_column("variant")
    for name in (*DIVERGENCES, "training", "gap" if certified else "leaked"):
        table.add_column(name, justify="right")
    best = {m: min(_mean(row, m) for row in rows.values()) for m in DIVERGENCES}
    before = ""
    for (objective, variant), row in rows.items():
        cells = []
        for metric in DIVERGENCES:
            text = as_published(_mean(row, metric))
            cells.append(bold(text, _mean(row, metric) == best[metric]))
        training = f"{_mean(row, 'training'):.4f}" if "training" in row else ""
        objective = objective or "control"
        shown = objective if objective != before else ""
        table.add_row(shown, _variant(variant, row), *cells, training, _quality(row))
        paper = [row[m].paper_mean if m in row else None for m in DIVERGENCES]
        if any(number is not None for number in paper):
            table.add_row(
                "", "  paper", *("" if p is None else as_published(p) for p in paper), "", ""
            )
        before = objective
    console.print(table)


def furthest_from_paper(records: Sequence[Record]) -> tuple[float, Record] | None:
    """The largest relative difference from a printed number, and its record."""
    found = [(r.mean / r.paper_mean - 1, r) for r in records if r.paper_mean and r.mean is not None]
    return max(found, key=lambda pair: abs(pair[0]), default=None)


def _took(rows: dict[tuple[str, str], Row]) -> str:
    """The number of fits and their total time, including compilation."""
    fits = [row["training"] for row in rows.values() if "training" in row]
    blends = [row["share_of_mean"] for row in rows.values() if "share_of_mean" in row]
    parts = [
        f"{len(some)} {what} in {some[0].seconds:.1f} s"
        for some, what in ((fits, "fits"), (blends, "cross-validated blends"))
        if some and some[0].seconds is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _mean(row: Row, metric: str) -> float:
    record = row.get(metric)
    return float("inf") if record is None or record.mean is None else record.mean


def _variant(variant: str, row: Row) -> str:
    share = row.get("share_of_mean")
    if share is None or share.mean is None:
        return variant
    return f"{variant}, {100 * share.mean:.0f}% mean"


def _quality(row: Row) -> str:
    gap, leaked = row.get("gap"), row.get("leaked_mass")
    if gap is not None and gap.mean is not None:
        return f"{gap.mean:.0e}"
    # With personas and dummies together no weight is fixed.
    if leaked is not None and leaked.mean is not None and leaked.variant != "both":
        return f"{100 * leaked.mean:.1f}%"
    return ""
