"""Output about requests to a model: dry runs, progress and reports."""

import contextlib
import math
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from syndigits_jax.cli.render.console import SECONDS_BETWEEN_LINES, progress_output
from syndigits_jax.respond.asking.collect import CollectionProgress, OnCollection, Report
from syndigits_jax.respond.asking.dry_run import DryRun
from syndigits_jax.respond.prompts.templates import list_templates
from syndigits_jax.results.format import duration, short


@contextlib.contextmanager
def showing_collection() -> Iterator[OnCollection]:
    """Yield a callback that shows rate, time left and tokens: a bar, or lines in a pipe."""
    console = progress_output()
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("responses"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Bars(*columns, console=console) as bars:
        task = bars.add_task("", total=None, said="")

        def show(progress: CollectionProgress) -> None:
            done, total = progress.done + progress.already, progress.total + progress.already
            bars.update(task, completed=done, total=total, said=said(progress))

        yield show


def said(progress: CollectionProgress) -> str:
    """Rate, time left, tokens and failures in one line."""
    parts = []
    if progress.total and not progress.done:
        parts.append("waiting for the engine")
    if progress.done:
        parts.append(f"{progress.rate:.1f}/s")
    if 0 < progress.done < progress.total:
        parts.append(f"{duration(progress.seconds_left)} left")
    tokens = progress.prompt_tokens + progress.completion_tokens
    if tokens:
        cached = progress.cached_tokens / max(progress.prompt_tokens, 1)
        parts.append(f"{short(tokens)} tokens" + (f" ({cached:.0%} cached)" if cached else ""))
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return ", ".join(parts)


def print_report(console: Console, report: Report) -> None:
    """Print the counts of a collection, and the reasons for failures."""
    found = {name: getattr(report, name) for name in ("answered", "refused", "unparsed", "empty")}
    counts = ", ".join(f"{count} {name}" for name, count in found.items() if count)
    lines = [
        f"{report.asked} asked in {duration(report.seconds)} ({report.rate:.1f}/s)"
        + (f": {counts}" if counts else "")
        + (f"; {report.already} were there already" if report.already else "")
    ]
    if report.prompt_tokens or report.completion_tokens:
        cached = f", {report.cached_tokens} of them cached" if report.cached_tokens else ""
        lines.append(
            f"{report.prompt_tokens} prompt tokens{cached}; {report.completion_tokens} completion "
            "tokens"
        )
    if not math.isnan(report.outside):
        lines.append(f"probability of anything but an answer: {report.outside:.3f} on average")
    for reason, count in report.reasons.items():
        lines.append(f"failed {count} times: {reason}")
    for line in lines:
        console.print(line, soft_wrap=True)


def _lines(console: Console):
    latest = -math.inf

    def show(progress: CollectionProgress) -> None:
        nonlocal latest
        now, done = time.monotonic(), progress.done + progress.already
        if progress.done < progress.total and now - latest < SECONDS_BETWEEN_LINES:
            return
        latest, more = now, said(progress)
        console.print(
            f"{done} of {progress.total + progress.already} responses"
            + (f", {more}" if more else ""),
            soft_wrap=True,
        )

    return show


def print_dry_run(
    console: Console, found: DryRun, input_price: float | None, output_price: float | None
) -> None:
    """Print a few complete prompts, the counts of requests and tokens, and the cost.

    **Arguments:** `console`: where to print; `found`: the dry run; `input_price`, `output_price`:
    per million tokens; no cost is printed if both are `None`.
    """
    for number, messages in enumerate(found.examples, start=1):
        console.print(f"--- prompt {number} ---")
        for message in messages:
            console.print(f"[{message.role}]\n{message.content}", soft_wrap=True)
    console.print("---")
    of = "" if found.counted == found.requests else f", from {found.counted} of them"
    lines = [
        f"{found.requests} requests",
        f"{short(found.prompt_tokens)} prompt tokens ({found.how}{of}), {found.shared:.0%} of them "
        "as in the prompt before, which a prefix cache need not compute again",
        f"about {short(found.completion_tokens)} completion tokens (full length; answers whose "
        "probabilities are read count as one token each)",
    ]
    if input_price is not None or output_price is not None:
        cost = found.cost(input_price or 0.0, output_price or 0.0)
        lines.append(f"cost: about {cost:.2f}, nothing off for what is cached")
    for line in lines:
        console.print(line, soft_wrap=True)


def print_templates(console: Console) -> None:
    """Print the built-in templates."""
    for template in list_templates():
        slots = ", ".join(template.slots)
        settings = ", ".join(f"{name} {value}" for name, value in template.decoding.items())
        console.print(f"{template.name} {template.version} ({template.hash[:8]})", style="bold")
        source = " ".join(template.source.split())
        for line in (source, f"slots: {slots}", f"defaults: {settings or 'none'}"):
            console.print(f"  {line}", soft_wrap=True)
