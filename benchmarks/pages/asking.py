"""Figures about asking language models."""

import json
import statistics
from typing import Any

from benchmarks.pages.tables import head, row
from benchmarks.report import RESULTS

_COLUMNS = {
    "frechet": "Fréchet",
    "mmd2": "MMD²",
    "coverage": "coverage",
    "cosine_mean": "mean cosine",
    "fgi_coverage": "FGI coverage",
}
_ROWS = {
    "real": "real users, others",
    "personas: demographic": "demographic personas",
    "personas: backstory": "backstory personas",
    "personas: grounded": "grounded personas",
    "noise": "noise",
}


def respond() -> list[str]:
    """What two pipelines with a small model came to, as they came out."""
    found = json.loads((RESULTS / "end_to_end.json").read_text())
    survey, films = found["survey"], found["films"]
    asked, rated = survey["responses"][-1], films["responses"][-1]
    # Runs before the evaluation report have a verdict.
    told = survey["calibration"].get("summary") or survey["calibration"]["verdict"]
    value = {
        (r["population"], r["metric"]): r["mean"]
        for r in films["records"]
        if r["procedure"] == films["reference"]
    }
    lines = [
        "The two configurations in `benchmarks/pipelines` were run by `syndigits pipeline` with "
        "SmolLM2-135M-Instruct on two CPU cores. So small a model cannot stand in for people. The "
        "runs show that the software works, and that its report says how bad the twins are.",
        "",
        f"The first asks {asked['personas']} twins of respondents of Twin-2K-500, described by "
        f"their answers to other blocks, whether they would buy at {asked['questions']} prices "
        f"({asked['seconds'] / 60:.0f} minutes; {asked['outside']:.0%} of the probability went to "
        "tokens that are no answer). The report begins:",
        "",
        *(f"> {sentence}" for sentence in told),
        "",
        f"The second has the model write {rated['personas']} personas in the paper's three "
        f"conditions, each of which rates {rated['questions']} films ({rated['seconds'] / 60:.0f} "
        "minutes). Personas and the users of `ml-latest-small` are placed by SSR (FGI is the "
        "Fidelity Gap Index):",
        "",
        *head(["", *_COLUMNS.values()]),
    ]
    for name, title in _ROWS.items():
        cells = (_number(value.get((name, metric))) for metric in _COLUMNS)
        lines.append(row([title, *cells]))
    grounded = "personas: grounded"
    lines += [
        "",
        f"{films['counts']['constant_personas']} personas never rate two films a point apart and "
        "are left out. Of two films, grounded personas prefer the one that the user they were made "
        f"from prefers in {value[grounded, 'rank_accuracy']:.0%} of cases, and the one that "
        f"another user prefers in {value[grounded, 'rank_accuracy_shuffled']:.0%}.",
    ]
    return lines


def respond_speed() -> list[str]:
    """What asking costs beside the model."""
    layer = json.loads((RESULTS / "respond_overhead.json").read_text())
    real = json.loads((RESULTS / "respond_speed.json").read_text())
    rows = {row["characters"]: row for row in layer["layer"]}
    few, many = min(rows), max(rows)
    fast, slow = (rows[size]["requests_per_second"] for size in (few, many))
    store = layer["store"]
    return [
        f"Without a model, one core prepares, reads and stores {fast:,.0f} requests a second for "
        f"personas of {few} characters and {slow:,.0f} for personas of {many:,}; "
        f"{store['records']:,} records become an array in {store['tensor_seconds']:.1f} s. "
        + _measured(real)
    ]


def _measured(real: dict[str, Any]) -> str:
    rounds, cost = real["order"]["rounds"], real["overhead"]

    def rate(way: str) -> float:
        return statistics.fmean(one["requests_per_second"] for one in rounds[way])

    def ratio(way: str) -> str:
        found = cost[f"seconds_relative_to_{way}"]
        return f"{found['mean']:.2f} ± {found['sd']:.2f}"

    work = real["workload"]
    return (
        f"With {real['engine']['model'].partition('@')[0]} on {real['machine']['cores']} CPU cores "
        f"({work['people']} personas, {work['items']} items) vLLM answers {rate('by persona'):.1f} "
        f"prompts a second if all questions of a persona follow each other, "
        f"{rate('shuffled'):.1f} in shuffled order and {rate('no prefix cache'):.1f} without "
        "prefix caching. Through `collect` and the store, asking takes "
        f"{ratio('chat')} times as long as `LLM.chat` in one call, and "
        f"{ratio('generate')} times as long as `LLM.generate` from tokens."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if 0 < abs(value) < 0.01 else f"{round(value, 3) + 0.0:.3f}"
