"""The predictions of `syndigits calibrate-distribution` as tables."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax.cli.render.console import output
from syndigits_jax.solvers.solution import Status
from syndigits_jax.workflows.distributions import (
    HELD_OUT,
    MEAN,
    UNIFORM,
    CalibratedDistributions,
)
from syndigits_jax.workflows.people import weights_said

_SHOWN = 12  # questions printed; all of them are in --out


def print_distributions(
    result: CalibratedDistributions, out: Path, intervals: float | None
) -> None:
    """Print the fit, its errors and the predicted shares; `intervals`: their nominal coverage."""
    console = output()
    frame = result.predictions
    if result.weight is not None:
        console.print(f"survey weights: {weights_said(result.weight)}", soft_wrap=True)
    _print_fit(console, result)
    _print_predictions(console, result, with_intervals=intervals is not None)
    if intervals is not None and (
        note := _empty_intervals(frame, len(result.report), 1 - intervals)
    ):
        console.print(f"note: {note}", soft_wrap=True)
    if result.assumed:
        console.print(f"note: {_assumptions(result.assumed)}", soft_wrap=True)
    rows, columns = frame.shape
    console.print(f"written: {out} ({rows} x {columns})", soft_wrap=True)


def _print_fit(console: Console, result: CalibratedDistributions) -> None:
    fit, spec, means = result.ensemble, result.spec, result.report.mean()
    penalty = f", entropy penalty {spec.entropy:g}" if spec.entropy else ""
    title = f"{spec.divergence}, {spec.variant}{penalty}; mean over {len(result.report)} questions"
    console.print(f"\n{title}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("fitted", justify="right")
    table.add_column("held out", justify="right")
    name = "weighted twins"
    if result.share_of_mean:
        name += f" and {100 * result.share_of_mean:.0f}% mean distribution"
    table.add_row(name, f"{means['training']:.4f}", f"{means[HELD_OUT]:.4f}")
    table.add_row("all twins alike", "", f"{means[UNIFORM]:.4f}")
    table.add_row("mean distribution", "", f"{means[MEAN]:.4f}")
    console.print(table)
    console.print(
        f"certified gap {float(fit.gap):.0e} ({Status(int(fit.status)).word}), effective "
        f"sample size {float(fit.effective_sample_size):.1f}"
    )
    if result.carriers:
        heaviest = ", ".join(f"{name} {100 * weight:.1f}%" for name, weight in result.carriers)
        console.print(f"heaviest twins: {heaviest}", soft_wrap=True)


def _empty_intervals(frame: Any, questions: int, alpha: float) -> str | None:
    """A note if intervals are from 0 to 1, because too few questions have the option."""
    options = [
        option
        for option in frame.columns[: frame.shape[1] // 3]
        if ((frame[f"{option}_lower"] == 0) & (frame[f"{option}_upper"] == 1)).any()
    ]
    # The quantile is the ceil((m + 1)(1 - alpha))-th smallest error of m questions, if it exists.
    needed = math.ceil(1 / alpha - 1 - 1e-9)
    if not options:
        return None
    which = "all of them run"
    if questions >= needed:
        which = f"those of {', '.join(options)}, which fewer questions have, run"
    return (
        f"intervals that cover {1 - alpha:g} need {needed} questions with counts, there are "
        f"{questions}: {which} from 0 to 1"
    )


def _assumptions(assumed: Mapping[str, Sequence[str]]) -> str:
    """A note on the options that were inferred, for the first questions."""
    listed = [f"{name}={','.join(options)}" for name, options in assumed.items()]
    more = f" and {len(listed) - _SHOWN} more questions" if len(listed) > _SHOWN else ""
    return (
        "the questions with counts differ in their options. Those of new questions were inferred "
        f"from what twins chose: {' '.join(listed[:_SHOWN])}{more}. State them with --options"
    )


def _print_predictions(
    console: Console, result: CalibratedDistributions, with_intervals: bool
) -> None:
    frame = result.predictions
    options = list(frame.columns[: frame.shape[1] // (3 if with_intervals else 1)])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("new question")
    for option in options:
        table.add_column(option, justify="right")
    for name, row in frame.head(_SHOWN).iterrows():
        cells = []
        for option in options:
            text = f"{row[option]:.3f}"
            if with_intervals:
                text += f"\n{row[f'{option}_lower']:.2f}..{row[f'{option}_upper']:.2f}"
            cells.append(text)
        table.add_row(str(name), *cells)
    console.print(table)
    rest = len(frame) - _SHOWN
    if rest > 0:
        console.print(f"... and {rest} more")
