"""The numbers of fidelity as tables, with those of the paper below, if it prints any."""

import math
from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table

from syndigits_jax.results.format import fixed
from syndigits_jax.workflows.fidelity.records import FidelityRecord, is_personas

_INDEX = {
    "fgi_frechet": "FGI\nFréchet",
    "fgi_mmd2": "FGI\nMMD²",
    "fgi_sliced_wasserstein": "FGI\nsliced W.",
    "fgi_coverage": "FGI\ncoverage",
}
_PLAIN = {
    "coverage": "coverage",
    "cosine_mean": "mean\ncosine",
    "norm_ratio": "norm\nratio",
    "mmd_p": "MMD\np",
}
_PAIRED = {
    "paired_cosine_distance": "cosine distance",
    "paired_distance": "distance",
    "paired_norm_ratio": "norm ratio (median)",
    "rank_accuracy": "rank accuracy",
    "rating_correlation": "rating correlation",
}
_ACCURACY = {
    "pairwise_accuracy": "any earlier\nitem",
    "pairwise_accuracy_both_test": "both test\nitems",
    "pairwise_accuracy_both_held_out": "both held\nout",
}
_FIXED = ("real", "noise")  # floor and ceiling: their index is 0 and 1 by definition

PaperValues = Callable[[FidelityRecord], tuple[float, float] | None]
"""A function from a record to the lowest and highest comparable printed number, or None."""


def accuracy_table(records: Sequence[FidelityRecord]) -> Table:
    """A table of held-out pairwise accuracies: a row per ranker, a column per kind of pair."""
    found: dict[str, dict[str, FidelityRecord]] = {}
    for r in records:
        if r.metric in _ACCURACY:
            found.setdefault(r.population, {})[r.metric] = r
    metrics = [m for m in _ACCURACY if any(m in row for row in found.values())]
    labels = ["mean"] if len(metrics) == 1 else [_ACCURACY[m] for m in metrics]
    table = _table("held-out pairwise accuracy", *labels)
    for name, row in found.items():
        table.add_row(name.replace("_", " "), *(_cell(row.get(m), digits=3) for m in metrics))
    return table


def population_table(
    records: Sequence[FidelityRecord], reference: str, paper: PaperValues | None = None
) -> Table:
    """A table of indices and metrics of all populations compared with one placement of real users.

    `paper`: adds the paper's numbers.
    """
    rows: dict[tuple[str, str], dict[str, FidelityRecord]] = {}
    for r in records:
        if r.reference == reference:
            rows.setdefault((r.population, r.procedure), {}).setdefault(r.metric, r)
    table = _table("population", *_INDEX.values(), *_PLAIN.values())
    for (population, procedure), row in rows.items():
        name = population.replace("_", " ")
        if is_personas(population) or procedure != reference:
            name += f", {placed(procedure)}"
        fixed = population in _FIXED and procedure == reference
        index = [_number(row.get(m)) if fixed else _cell(row.get(m)) for m in _INDEX]
        table.add_row(name, *index, *(_number(row.get(m)) for m in _PLAIN))
        if paper is not None:
            _add_paper(table, [row.get(m) for m in (*_INDEX, *_PLAIN)], paper)
    return table


def paired_table(records: Sequence[FidelityRecord], pairs: Sequence[tuple[str, str, str]]) -> Table:
    """A table of paired metrics of personas and seeds by (population, procedure, reference).

    Values with shuffled seeds are in brackets.
    """
    found = {
        (r.population, r.procedure, r.reference, r.metric): r
        for r in records
        if is_personas(r.population)
    }
    several = len({population for population, _, _ in pairs}) > 1
    table = _table(
        "",
        *(
            (f"{who}\n" if several else "") + f"{placed(p)}, seeds {placed(r)}"
            for who, p, r in pairs
        ),
    )
    for metric, label in _PAIRED.items():
        mine = [found.get((*pair, metric)) for pair in pairs]
        others = [found.get((*pair, f"{metric}_shuffled")) for pair in pairs]
        cells = [f"{_number(a, 3)} ({_number(b, 3)})" for a, b in zip(mine, others, strict=True)]
        table.add_row(label, *cells)
    return table


def seeds_table(records: Sequence[FidelityRecord], paper: PaperValues | None = None) -> Table:
    """A table with a row per population and placement and a column per paired metric.

    Values with shuffled seeds are in brackets.
    """
    rows: dict[tuple[str, str], dict[str, FidelityRecord]] = {}
    for r in records:
        if r.metric.removesuffix("_shuffled") in _PAIRED:
            rows.setdefault((r.population, r.procedure), {}).setdefault(r.metric, r)
    table = _table("population", *(label.replace(" ", "\n", 1) for label in _PAIRED.values()))
    for (population, procedure), row in rows.items():
        mine = [row.get(metric) for metric in _PAIRED]
        others = [row.get(f"{metric}_shuffled") for metric in _PAIRED]
        cells = [f"{_number(a, 3)} ({_number(b, 3)})" for a, b in zip(mine, others, strict=True)]
        table.add_row(f"{population.replace('_', ' ')}, {placed(procedure)}", *cells)
        if paper is not None:
            _add_paper(table, mine, paper)
    return table


def placed(procedure: str) -> str:
    """The placement of raters, in words."""
    return "as trained" if procedure == "trained" else f"by {procedure.replace('_', ' ')}"


def _add_paper(table: Table, row: Sequence[FidelityRecord | None], paper: PaperValues) -> None:
    values = [None if record is None else paper(record) for record in row]
    if any(value is not None for value in values):
        table.add_row("  paper", *("" if value is None else _span(*value) for value in values))


def _span(low: float, high: float) -> str:
    return fixed(low, 2) if low == high else f"{fixed(low, 2)}..{fixed(high, 2)}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _number(record: FidelityRecord | None, digits: int = 2) -> str:
    return fixed(None if record is None else record.mean, digits)


def _cell(record: FidelityRecord | None, digits: int = 2) -> str:
    text = _number(record, digits)
    if record is None or text == "-" or not math.isfinite(record.low):
        return text
    return f"{text}\n{fixed(record.low, digits)}..{fixed(record.high, digits)}"
