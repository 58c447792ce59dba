"""The report of a pipeline, in sentences and tables (Markdown)."""

import math
import re
from collections.abc import Sequence

import numpy as np

from syndigits_jax.report import Report, to_markdown
from syndigits_jax.respond.store.export import ResponseTable
from syndigits_jax.respond.store.tallies import Tally
from syndigits_jax.results.format import scientific
from syndigits_jax.workflows.fidelity.records import FidelityRecord, is_personas

_DASH = "–"
_METRICS = {  # the columns of the paper's Table 3, and others
    "frechet": "FPD",
    "mmd2": "MMD²",
    "coverage": "coverage",
    "sliced_wasserstein": "sliced W.",
    "cosine_mean": "mean cosine",
    "fgi_coverage": "FGI coverage",
}


def responses_section(tally: Tally, table: ResponseTable | None) -> list[str]:
    """Requests and responses; `table` is `None` if no question has options."""
    said = ", ".join(f"{count} {name}" for name, count in tally.responses.items())
    lines = [
        "## Responses",
        "",
        f"{tally.personas} personas, {tally.questions} questions; {tally.run}.",
        "",
        f"- {sum(tally.responses.values())} responses: {said}.",
    ]
    if math.isfinite(tally.outside):
        lines.append(f"- Probability of anything but an answer: {tally.outside:.3f} on average.")
    if tally.prompt_tokens:
        share = tally.cached_tokens / tally.prompt_tokens
        lines.append(f"- {tally.prompt_tokens} prompt tokens, {share:.0%} of them from a cache.")
    said = [] if table is None else variety(table)
    return [*lines, *(f"- {text}" for text in said), ""]


def variety(table: ResponseTable) -> list[str]:
    """How much answers depend on the persona, and on the position of an option, in one sentence
    each; over questions with several options that at least two personas answered."""
    tensor = table.tensor
    probability, mask = np.asarray(tensor.probabilities, float), np.asarray(tensor.mask)
    there, values = np.asarray(tensor.option_mask), np.asarray(tensor.values, float)
    count = mask.sum(axis=0)
    asked = (there.sum(axis=1) > 1) & (count > 1)
    if not asked.any():
        return []
    values, there, count = values[asked], there[asked], count[asked]
    probability, mask = probability[:, asked], mask[:, asked]
    known = np.where(there, values, np.nan)
    answers = (probability * values[None]).sum(axis=2)
    answers = answers / (np.nanmax(known, axis=1) - np.nanmin(known, axis=1))[None, :]
    spread = np.nanstd(np.where(mask, answers, np.nan), axis=0)
    lines = [
        "Answers to one question differ between personas by a standard deviation of "
        f"{np.median(spread):.3f} of its range (median over questions)."
    ]
    # Only questions with an option at this place are used.
    given = probability.sum(axis=(0, 1))
    place = int(given.argmax())
    has = there[:, place]
    even = (count / there.sum(axis=1))[has].sum() / count[has].sum()
    of = "" if has.all() else f" to the {has.sum()} of {len(has)} questions that have it"
    lines.append(
        f"By position in the list, the {_ordinal(place + 1)} option of a question gets most: "
        f"{given[place] / count[has].sum():.0%} of the answers{of}; evenly spread answers would "
        f"give it {even:.0%}."
    )
    return lines


def evaluation_section(report: Report, folder: str) -> list[str]:
    """The report on the twins, as part of this one; its page and figures are in `folder`."""
    text = to_markdown(report, f"{folder}/figures")
    page = f"The same as a page: [{folder}/report.html]({folder}/report.html)."
    return [page, "", *re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE).splitlines(), ""]


def fidelity_section(
    records: Sequence[FidelityRecord], notes: Sequence[str], reference: str = "ssr"
) -> list[str]:
    """Personas and real users placed by the same procedure, in the form of the paper's Table 3."""
    rows: dict[tuple[str, str], dict[str, FidelityRecord]] = {}
    for r in records:
        if r.reference == reference and r.metric in _METRICS:
            rows.setdefault((r.population, r.procedure), {})[r.metric] = r
    lines = ["## Fidelity", ""]
    if not rows:
        lines.append(f"No real users could be placed by {reference}.")
    else:
        lines.append(
            f"| beside real users placed by {reference} | " + " | ".join(_METRICS.values()) + " |"
        )
        lines.append("|---|" + "--:|" * len(_METRICS))
    # Real users first, then personas, then baselines.
    order = {"real": 0}
    for (population, procedure), row in sorted(
        rows.items(), key=lambda item: order.get(item[0][0], 1 if is_personas(item[0][0]) else 2)
    ):
        name = population.replace("_", " ")
        if procedure != reference:
            name += f", placed by {procedure}"
        cells = " | ".join(_scientific(row.get(metric)) for metric in _METRICS)
        lines.append(f"| {name} | {cells} |")
    lines += ["", *(f"- {note}" for note in notes), ""]
    return lines


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _scientific(record: FidelityRecord | None) -> str:
    return scientific(None if record is None else record.mean, undefined=_DASH)
