"""How often the sentences of a report are wrong, on simulated panels of known truth.

    python -m benchmarks.verdicts --panels 200

Forty panels of each kind of twins (`datasets.TWIN_KINDS`): 120 people, 24 questions on a scale from
1 to 5, two groups and two arms. Everything that `syndigits evaluate` asserts about them (the
`finding` of its sentences) is judged by `benchmarks.verdict_judges`, which says what every one
means. A sentence may assert something wrong in 5% of the panels; the largest number that is still
compatible with that is `most` (one-sided, binomial, 99%).
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, write_report
from benchmarks.verdict_judges import judged
from benchmarks.verdict_truths import law_truth, panel_truth, procedure_truth
from syndigits_jax.datasets import TWIN_KINDS, simulate_answers, simulate_questions
from syndigits_jax.panel import Panel

PEOPLE, QUESTIONS = 120, 24
LEVEL = 0.95
SURE = 0.99
"""Of the bound: a sentence that is wrong in 5% of panels exceeds it in one of a hundred runs."""


def observed(kind: Any, key: int) -> dict[str, Any]:
    """A panel's report as plain data, and the truth about its questions."""
    from syndigits_jax.workflows.evaluate.checks import inputs_of
    from syndigits_jax.workflows.evaluate.run import evaluate_panel

    questions = simulate_questions(kind, QUESTIONS, key=key)
    answers = simulate_answers(questions, PEOPLE, key=key)
    panel = Panel.from_arrays(answers.human, answers.twin, scale=(1, 5, 1))
    inputs = inputs_of(panel, groups={"region": answers.groups}, arms=answers.arms)
    assert inputs.panel.m == QUESTIONS, inputs.notes
    report = evaluate_panel(inputs, level=LEVEL, key=key)
    tables = report.tables()
    rows = {
        name: [dict(row) for row in tables[name].rows]
        for name in ("quality_scores", "quality_differences", "groups_region", "effects",
                     "population_questions")
    }  # fmt: skip
    claims = {
        name: {"finding": one.finding, "text": one.text, **one.values}
        for name, one in report.claims().items()
        if one.level is not None and not name.startswith("summary.")
    }
    truth = panel_truth(questions, key)
    return {"kind": kind, "key": key, "claims": claims, "rows": rows, "truth": truth}


def reports(panels: Iterable[tuple[str, int]], workers: int) -> Iterator[dict[str, Any]]:
    """[`observed`][] of all of them, in their order."""
    kinds, keys = zip(*panels, strict=True)
    if workers < 2:
        yield from map(observed, kinds, keys)
        return
    spawned = multiprocessing.get_context("spawn")  # JAX has threads
    with ProcessPoolExecutor(workers, spawned) as pool:
        yield from pool.map(observed, kinds, keys)


def chosen(count: int) -> list[tuple[str, int]]:
    """So many panels, kind after kind."""
    return [(TWIN_KINDS[i % len(TWIN_KINDS)], i) for i in range(count)]


def most_wrong(count: int, rate: float = 1 - LEVEL, sure: float = SURE) -> int:
    """The largest number of `count` that is compatible with a chance of at most `rate`."""
    from scipy.stats import binom

    return int(binom.ppf(sure, count, rate))


def summed(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By sentence: panels in which it was judged, findings, wrong ones, and the most allowed."""
    rows: dict[str, dict[str, Any]] = {}
    for panel in found:
        for name, one in panel.items():
            row = rows.setdefault(
                name, {"sentence": name, "panels": 0, "found": 0, "wrong": 0, "held": 0, "of": 0}
            )
            row["panels"] += 1
            row["found"] += one["right"] is not None
            row["wrong"] += one["right"] is False
            row["held"] += one["held"] is True
            row["of"] += one["held"] is not None
    for row in rows.values():
        row["most"] = most_wrong(row["panels"])
    return [rows[name] for name in sorted(rows)]


def judge(
    records: list[dict[str, Any]], procedures: dict[str, Any] | None = None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every report, and its sentences judged; what calibration comes to is taken from the other
    reports, or from `procedures`, by kind."""
    out = []
    for one in records:
        law = law_truth(one["kind"])
        if procedures is None:
            others = [o for o in records if o["kind"] == one["kind"] and o["key"] != one["key"]]
            procedure = procedure_truth(others, law)
        else:
            procedure = procedures[one["kind"]]
        out.append((one, judged(one, law, procedure)))
    return out


def main() -> None:
    """Print and write how often every sentence was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--panels", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--records", type=Path, help="reports that are kept, and not made again")
    parser.add_argument("--out", type=Path, default=RESULTS / "verdicts.json")
    args = parser.parse_args()
    records = []
    if args.records and args.records.exists():
        records = [json.loads(line) for line in args.records.read_text("utf-8").splitlines()]
    known = {one["key"] for one in records}
    left = [one for one in chosen(args.panels) if one[1] not in known]
    for record in reports(left, args.workers) if left else ():
        records.append(record)
        print(f"{len(records)} of {args.panels} panels", flush=True)
        if args.records:
            with args.records.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    every = judge(sorted(records, key=lambda one: one["key"]))
    rows = summed(sentences for _, sentences in every)
    print(f"{'sentence':<44} judged  found  wrong  most  intervals held")
    for row in rows:
        held = f"{row['held'] / row['of']:.2f} of {row['of']}" if row["of"] else ""
        print(
            f"{row['sentence']:<44} {row['panels']:6d} {row['found']:6d} {row['wrong']:6d} "
            f"{row['most']:5d}  {held}"
        )
    by_kind = []
    for kind in TWIN_KINDS:
        mine = summed(sentences for record, sentences in every if record["kind"] == kind)
        total = {name: sum(row[name] for row in mine) for name in ("panels", "found", "wrong")}
        by_kind.append({"kind": kind, **total})
        print(f"{kind:<14} {total['wrong']} wrong of {total['found']} findings")
    wrong, found = (sum(row[name] for row in rows) for name in ("wrong", "found"))
    judged_sentences = sum(row["panels"] for row in rows)
    print(f"all: {wrong} wrong of {found} findings in {judged_sentences} sentences")
    procedures = {
        kind: procedure_truth([one for one in records if one["kind"] == kind], law_truth(kind))
        for kind in TWIN_KINDS
    }
    write_report(
        args.out, panels=len(records), people=PEOPLE, questions=QUESTIONS, level=LEVEL, sure=SURE,
        sentences=rows, kinds=by_kind, wrong=wrong, found=found, judged=judged_sentences,
        procedures=procedures,
    )  # fmt: skip


if __name__ == "__main__":
    main()
