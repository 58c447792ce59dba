"""What a report asserts about simulated twins is wrong no more often than its level says."""

import json

import pytest

from benchmarks.report import RESULTS
from benchmarks.verdicts import LEVEL, chosen, judge, most_wrong, observed, summed


@pytest.mark.slow
def test_what_is_asserted_is_wrong_no_more_often_than_its_level_says_and_faults_are_found():
    """Four panels of each kind, which share their compilation: one test, for one worker."""
    procedures = json.loads((RESULTS / "verdicts.json").read_text("utf-8"))["procedures"]
    panels = judge([observed(kind, key) for kind, key in chosen(20)], procedures)
    rows = summed(sentences for _, sentences in panels)

    assert len(rows) > 25
    assert all(row["panels"] == 20 for row in rows if row["sentence"].startswith("quality."))
    too_often = {row["sentence"]: row["wrong"] for row in rows if row["wrong"] > row["most"]}
    assert not too_often

    found, wrong = (sum(row[name] for row in rows) for name in ("found", "wrong"))
    assert found > 200  # much is asserted
    assert wrong <= most_wrong(found, 1 - LEVEL)

    # That nothing wrong is said is not enough: what is wrong with the twins is.
    said = {}
    for record, _ in panels:
        for name, claim in record["claims"].items():
            said.setdefault((record["kind"], name), []).append(claim["finding"])
    assert said["collapsed", "population.spread"] == ["twins vary less than people"] * 4
    assert said["collapsed", "population.distinct"] == ["twins are fewer kinds than people"] * 4
    assert said["biased", "population.raw_levels"] == ["raw twins miss means"] * 4
    assert "raw twins know something" not in said["useless", "quality.raw_correlation"]
    assert said["good", "quality.raw_correlation"] == ["raw twins know something"] * 4
