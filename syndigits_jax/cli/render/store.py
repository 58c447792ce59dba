"""The runs of a store, and tables of its responses."""

from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax.cli.options import check_distinct, check_tables
from syndigits_jax.cli.render.console import output
from syndigits_jax.cli.render.missing import dropped_text
from syndigits_jax.datasets.tables import write_table
from syndigits_jax.respond.readouts.outcomes import STATUSES
from syndigits_jax.respond.store.export import (
    choose_run,
    read_frame,
    read_ratings,
    read_records,
    read_tensor,
    to_panel,
)
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.results.files import together
from syndigits_jax.tables.frames import import_pandas


def show_store(store: Path) -> dict[str, Any]:
    """Print one line per run; return the runs."""
    with ResponseStore(store, read_only=True) as opened:
        _describe(output(), opened)
        return {"runs": [{"run": one.id, "what": str(one)} for one in opened.runs()]}


def write_tables(
    store: Path,
    out: Path | None,
    *,
    run: str | None,
    human: Path | None,
    join: str,
    tensor: Path | None,
    ratings: Path | None,
    records: Path | None,
    everything: bool,
    missing: str = "",
) -> dict[str, Any]:
    """Write tables of a run; return the files and the number of the run.

    **Arguments:**

    - `store`: path of the store; `run`: as in
      [`choose_run`][syndigits_jax.respond.choose_run].
    - `out`: the table of values; `ratings`: the table of ratings; `records`: the table of all
      responses; `tensor`: the `.npz` file. Those that are `None` are not written.
    - `human`: a table of human answers with which `out` is aligned; `join`, `missing`: as in
      [`to_panel`][syndigits_jax.respond.to_panel].
    - `everything`: include all personas and questions that were ever asked.

    **Raises:** `ValueError` naming the option.
    """
    tables = {"out": out, "ratings": ratings, "records": records}
    check_tables(tables, [store])
    if tensor is not None and tensor.suffix != ".npz":
        raise ValueError(f"{tensor}: a tensor is written to a file that ends in .npz")
    check_distinct({**tables, "tensor": tensor}, [store])
    if human is not None and out is None:
        raise ValueError("`human` aligns the table of `out` with it; give that too")
    if missing and human is None:
        raise ValueError("`missing` is about the table of `human`; give that too")
    console = output()
    with ResponseStore(store, read_only=True) as opened:
        chosen = choose_run(opened, run)
        # Everything is read before anything is written.
        made: list[tuple[Path, Any]] = []
        if out is not None:
            made.append((out, _table(console, opened, chosen.id, human, join, everything, missing)))
        if ratings is not None:
            frame = read_ratings(opened, chosen.id, everything=everything)
            made.append((ratings, frame.set_index("persona")))
        if records is not None:
            made.append((records, read_records(opened, chosen.id).set_index("run")))
        if tensor is not None:
            made.append((tensor, read_tensor(opened, chosen.id, everything=everything)))
    console.print(f"run {chosen.id}: {chosen}", soft_wrap=True)
    with together():
        for path, content in reversed(made):  # the table of values comes last
            if path == tensor:
                content.save(path)
            else:
                write_table(path, content)
    written = ", ".join(str(path) for path, _ in made)
    console.print(f"written: {written}", soft_wrap=True)
    return {"written": [path for path, _ in made], "run": chosen.id}


def _table(
    console: Console,
    store: ResponseStore,
    run: int,
    human: Path | None,
    join: str,
    all_: bool,
    missing: str,
) -> Any:
    if human is None:
        frame = read_frame(store, run, everything=all_)
        _say_missing(console, frame.to_numpy(), "personas")
        return frame
    panel = to_panel(
        store, human, run, everything=all_, join=join, new_questions=True, new_users=True,
        missing=missing,
    )  # fmt: skip
    if join == "inner":
        console.print(dropped_text(panel.dropped), soft_wrap=True)
    _say_missing(console, panel.twin, "respondents")
    new = len(panel.new_questions), len(panel.new_users)
    console.print(
        f"human answers: {np.mean(~panel.human_mask):.1%} missing; {new[0]} questions and {new[1]} "
        "respondents without any",
        soft_wrap=True,
    )
    pd = import_pandas()
    index = pd.Index(panel.users, name="persona", dtype=object)
    return pd.DataFrame(panel.twin, index=index, columns=list(panel.questions))


def _say_missing(console: Console, values: np.ndarray, people: str) -> None:
    n, m = values.shape
    console.print(f"{n} {people} x {m} questions, {np.isnan(values).mean():.1%} missing")


def _describe(console: Console, store: ResponseStore) -> None:
    """Print one line per run."""
    counts: dict[tuple[int, str], int] = {}
    for number, status, count in store.rows(
        "SELECT run, status, COUNT(*) FROM responses GROUP BY run, status"
    ):
        counts[number, status] = count
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "template, model, settings", "personas", "questions", *STATUSES):
        table.add_column(name)
    for one in store.runs():
        grid = store.grid(one.id)
        sizes = [str(len(grid.personas)), str(len(grid.questions))]
        found = [str(counts.get((one.id, status), 0)) for status in STATUSES]
        table.add_row(str(one.id), str(one), *sizes, *found)
    console.print(table)
