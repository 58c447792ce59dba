"""The estimate of `syndigits estimate` as a table."""

import math
from pathlib import Path

from rich import box
from rich.table import Table

from syndigits_jax.cli.render.console import output
from syndigits_jax.cli.render.missing import dropped_text
from syndigits_jax.inference import Basis, Estimate, PointEstimate
from syndigits_jax.results.format import fixed
from syndigits_jax.workflows.target import OTHERS, TargetEstimate

_NOTES = {
    Basis.PEOPLE: "the twins did not help: the interval is that of people alone",
    Basis.ALIKE: "all people asked (or all of a group) gave the same answer: how much people "
    "differ is unknown; ask more",
}


def print_target(result: TargetEstimate, out: Path | None, *, joined: bool, weighted: bool) -> None:
    """Print the estimate, the others beside it, and how many people the twins were worth.

    **Arguments:** `joined`: whether to say who was dropped; `weighted`: whether people have survey
    weights, of which the design effect is said.
    """
    console = output()
    if joined:
        console.print(dropped_text(result.dropped), soft_wrap=True)
    found = result.estimate
    asked = int(found.people)
    console.print(f"\n{_title(result)}", style="bold")
    console.print(f"{asked} of {result.people} people were asked")
    if weighted:
        console.print(
            f"survey weights: design effect {fixed(result.design_effect, 2)}, as if "
            f"{asked / result.design_effect:.0f} people of equal weights had been asked"
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("estimate", f"{100 * result.level:g}% interval", "like people asked"):
        table.add_column(name, justify="right")
    table.add_row("people alone", *_cells(found.classical), str(asked))
    for name, one in result.estimates.items():
        style = "bold" if name == result.chosen else None
        table.add_row(name, *_cells(one), fixed(float(one.effective_people), 0), style=style)
    console.print(table)
    for line in _lines(result):
        console.print(line, soft_wrap=True)
    if out is not None:
        console.print(f"written: {out}", soft_wrap=True)


def _title(result: TargetEstimate) -> str:
    if result.what == "difference":
        first, second = result.groups
        return f"{result.target}: {second} less {first}"
    if result.what == "share":
        options = " or ".join(f"{one:g}" for one in result.answers)
        return f"{result.target}: share of people who answer {options}"
    return f"{result.target}: {result.what}"


def _cells(one: PointEstimate) -> tuple[str, str]:
    low, high = float(one.lower), float(one.upper)
    if math.isinf(low) and math.isinf(high):
        return fixed(float(one.value)), "unbounded"
    return fixed(float(one.value)), f"{fixed(low)} to {fixed(high)}"


def _people(count: float) -> str:
    return f"{count:.0f} more {'person' if round(count) == 1 else 'people'}"


def _lines(result: TargetEstimate) -> list[str]:
    lines = [f"{name}: not available, {why}" for name, why in result.unavailable.items()]
    if result.basis in _NOTES:
        return [*lines, _NOTES[result.basis]]
    worth = _worth(result.estimate)
    lines.append(
        f"the twins were worth {_people(worth)}"
        if worth >= 0.5
        else "the twins were worth no more people"
    )
    if OTHERS in result.estimates:
        alone = _worth(result.estimates[OTHERS])
        if alone >= worth:
            lines.append("people's other answers alone, without any twin, do as much")
        else:
            lines.append(
                f"people's other answers alone, without any twin, were worth {_people(alone)}: "
                f"{worth - alone:.0f} of the {worth:.0f} are the twins' own"
            )
    return lines


def _worth(found: Estimate) -> float:
    return max(float(found.worth), 0.0)
