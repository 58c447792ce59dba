"""Consoles of the commands: progress on the error stream, results on standard output."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from syndigits_jax.cli.command import showing
from syndigits_jax.results.format import duration, with_error
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.studies.syn_digits.comparison import Block, Row

# A pipe has no width, and narrow tables are unreadable.
_PLAIN_WIDTH = 120
SECONDS_BETWEEN_LINES = 15


def output(width: int = _PLAIN_WIDTH) -> Console:
    """The console for results, silent if they are not shown; `width`: used for a pipe.

    Names and paths are users': square brackets in them are shown as they are.
    """
    if not showing().results:
        return Console(quiet=True, markup=False)
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=width)


def progress_output() -> Console:
    """The console for progress, on the error stream; silent if progress is not shown."""
    return Console(stderr=True, highlight=False, markup=False, quiet=not showing().progress)


def bold(text: str, wanted: bool = True) -> Text:
    """A cell, in bold letters where it is `wanted`."""
    return Text.assemble((text, "bold" if wanted else ""))


@contextlib.contextmanager
def showing_progress() -> Iterator[OnProgress]:
    """Yield a callback that shows a table's progress: a bar per unit, or lines in a pipe."""
    console = progress_output()
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[int, object] = {}
        left = _Left()

        def show(progress: Progress) -> None:
            place = f"[{progress.unit + 1}/{progress.units}] {progress.label}"
            if progress.resumed:
                place += " (resumed)"
            if progress.unit not in tasks:
                tasks[progress.unit] = bars.add_task(place, total=progress.total, left="")
            bars.update(
                tasks[progress.unit],  # pyright: ignore[reportArgumentType]
                description=place,
                completed=progress.done,
                total=progress.total,
                left=left(progress),
            )

        yield show


class _Left:
    """How long the rest of a unit takes if it goes on as since its first report; may be "".

    What was done at the first report counts for nothing: it was read back, or done before.
    """

    def __init__(self) -> None:
        self._first: dict[int, tuple[float, int]] = {}

    def __call__(self, progress: Progress) -> str:
        now = time.monotonic()
        start, before = self._first.setdefault(progress.unit, (now, progress.done))
        if not before < progress.done < progress.total:
            return ""
        rate = (now - start) / (progress.done - before)
        return f"{duration(rate * (progress.total - progress.done))} left"


@contextlib.contextmanager
def showing_step(text: str) -> Iterator[None]:
    """Show a spinner beside `text` while a step of unknown length runs, or one line in a pipe."""
    console = progress_output()
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        yield
        return
    with console.status(Text(text)):
        yield


def print_block(console: Console, block: Block) -> None:
    """Print the package's and the paper's numbers; the best mean of a column is bold."""
    console.print(f"\n{block.title}", style="bold", soft_wrap=True)
    console.print(_comparison(block))
    _print_shares(console, "fits", block.unfinished)
    _print_shares(console, "imputations", block.unimputed)


def _print_shares(
    console: Console, what: str, by_setting: Mapping[str, Mapping[str, float]]
) -> None:
    """Say which share of `what` met the tolerance, by setting and method."""
    for setting, shares in by_setting.items():
        alike: dict[str, list[str]] = {}
        for method, share in shares.items():
            # Never "100%" unless it is all of them.
            alike.setdefault(f"{min(99, round(100 * share))}%", []).append(method)
        said = "; ".join(f"{share} of {', '.join(methods)}" for share, methods in alike.items())
        text = f"{setting}: not all {what} met their tolerance, but {said}"
        console.print(text, soft_wrap=True)


def _comparison(block: Block) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    with_gain = {
        s for s in block.settings if any(row.gain.get(s) is not None for row in block.rows)
    }
    with_paper = any(row.paper[0] is not None for row in block.rows)
    if with_paper:
        table.add_column("paper", justify="right")
    for setting in block.settings:
        table.add_column(setting, justify="right")
        if with_paper and setting == "reference":
            table.add_column("diff.", justify="right")
        if setting in with_gain:
            table.add_column("%Δ", justify="right")
    best = {setting: _best(block.rows, setting) for setting in block.settings}
    for row in block.rows:
        cells: list[str | Text] = [row.method]
        if with_paper:
            cells.append(with_error(*row.paper))
        for setting in block.settings:
            text = with_error(*row.ours.get(setting, (None, None)))
            cells.append(bold(text, row.method == best[setting]))
            if with_paper and setting == "reference":
                difference = row.difference(setting)
                cells.append("" if difference is None else f"{difference:+.3f}")
            if setting in with_gain:
                gain = row.gain.get(setting)
                cells.append("" if gain is None else f"{gain:+.1f}")
        table.add_row(*cells)
    return table


def _best(rows: Sequence[Row], setting: str) -> str | None:
    means = {row.method: row.ours.get(setting, (None, None))[0] for row in rows}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return max(known, key=lambda name: known[name], default=None)


def _lines(console: Console) -> Callable[[Progress], None]:
    started: dict[int, float] = {}
    said: dict[int, float] = {}
    ended: set[int] = set()
    time_left = _Left()

    def show(progress: Progress) -> None:
        unit, now = progress.unit, time.monotonic()
        start = started.setdefault(unit, now)
        text, left = None, time_left(progress)
        if progress.done >= progress.total:
            if unit not in ended:
                ended.add(unit)
                text = "resumed" if progress.resumed else f"done in {now - start:.1f} s"
        elif unit not in said:
            text = f"{progress.total} {progress.counted} ..."
        elif now - said[unit] > SECONDS_BETWEEN_LINES:
            text = f"{progress.done} of {progress.total} {progress.counted}, {now - start:.0f} s"
            text += left and f", {left}"
        if text is not None:
            said[unit] = now
            place = f"[{unit + 1}/{progress.units}] {progress.label}"
            console.print(f"{place}: {text}", soft_wrap=True)

    return show
