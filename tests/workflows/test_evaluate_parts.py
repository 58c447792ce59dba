"""Sections of the evaluation report on made-up evidence: what they say, and what they leave out."""

import math

import numpy as np
import pytest
from made_evidence import good_twins, survey_evidence

from syndigits_jax.estimation import ExpectedQuality
from syndigits_jax.estimation.expected_quality import OUTCOMES
from syndigits_jax.panel import Panel
from syndigits_jax.workflows.evaluate.evidence import (
    AUTO,
    CONTROLS,
    LEARNED,
    RAW,
    Evidence,
    with_new_surveys,
)
from syndigits_jax.workflows.evaluate.left_to_twins import left_to_twins_section
from syndigits_jax.workflows.evaluate.population import population_section
from syndigits_jax.workflows.evaluate.quality import quality_section
from syndigits_jax.workflows.evaluate.summary import summary
from syndigits_jax.workflows.evaluate.wording import count, interval, number
from syndigits_jax.workflows.evaluate.worth import worth_section

SECTIONS = (quality_section, left_to_twins_section, worth_section, population_section)


@pytest.fixture(scope="module")
def sections():
    evidence = good_twins()
    return evidence, [section(evidence) for section in SECTIONS]


def test_good_twins_are_found_good_twins(sections):
    evidence, parts = sections
    claims = {claim.name: claim for part in parts for claim in part.claims}
    wanted = {
        "quality.gate": "twins add",
        "quality.over_best_control": "calibrated twins beat every control",
        "quality.calibration_gain": "calibration raises the correlation",
        "quality.auto_mean_error": "calibration makes means more exact",
        "worth.beside": "twins make people count for more",
        "population.spread": "twins vary less than people",
        "population.distinct": "twins are fewer kinds than people",
        "population.raw_levels": "raw twins miss means",
    }
    assert {name: claims[name].finding for name in wanted} == wanted
    for claim in claims.values():
        assert "nan" not in claim.text and all(map(math.isfinite, claim.values.values()))
        assert claim.source.startswith("syndigits_jax.")
        if claim.level and {"lower", "upper"} <= set(claim.values):
            assert claim.values["lower"] <= claim.values["estimate"] <= claim.values["upper"]
    first = summary(evidence, parts)
    assert first[0].finding == "twins add" and "correlation of 0." in first[0].text
    assert "cannot be told" in first[2].text  # no expectations were given


def test_figures_are_drawn_and_tables_are_whole(sections):
    from matplotlib.figure import Figure

    for part in sections[1]:
        for figure in part.figures:
            page = Figure(figsize=figure.size, layout="constrained")
            figure.draw(page.subplots())
            page.canvas.draw()
        for table in part.tables:
            for column in table.columns:
                for name in filter(None, (column.name, column.low, column.high)):
                    assert all(name in row for row in table.rows)


def without_variation() -> Evidence:
    ones = np.full((4, 12), 3.0)
    names = (AUTO, RAW, LEARNED, *CONTROLS.values())
    return survey_evidence(ones, dict.fromkeys(names, ones), ones)


def without_common_answers() -> Evidence:
    one = good_twins(t=3, n=12)
    empty = {name: np.full_like(values, np.nan) for name, values in one.predictions.items()}
    return survey_evidence(one.truth, one.predictions | {RAW: empty[RAW]}, empty[RAW])


@pytest.mark.parametrize(
    "evidence",
    [
        good_twins(1, t=3, n=12),
        good_twins(2, t=6, n=5),
        without_variation(),
        without_common_answers(),
    ],
    ids=["three questions", "five people", "no variation", "no common answer"],
)
def test_degenerate_tables_are_said_to_be_so(evidence):
    parts = [section(evidence) for section in SECTIONS]
    for part in parts:
        assert part.claims or part.notes
        for claim in part.claims:
            assert "nan" not in claim.text and "inf" not in claim.text
            assert all(map(math.isfinite, claim.values.values()))
    assert all("nan" not in claim.text for claim in summary(evidence, parts))


def test_nothing_is_said_without_sections():
    assert all("cannot be told" in claim.text for claim in summary(good_twins(), []))


def test_numbers_in_words():
    assert number(-0.001) == "0.00" and number(0.456, sign=True) == "+0.46"
    assert [count(x) for x in (2.34, 14.6, 1234.0)] == ["2.3", "15", "1,200"]
    assert interval((0.1, 0.25), 0.9) == "90% interval 0.10 to 0.25"
    assert interval((0.1, math.inf), 0.9) == "90% interval: 0.10 or more"
    assert "too few" in interval((-math.inf, math.inf), 0.9)


def test_a_question_of_an_unknown_block_is_expected_as_in_a_new_survey():
    def quality(value):
        every = dict.fromkeys(OUTCOMES, np.full(4, value))
        known, fold = np.array([True, True, False, False]), np.array([0, 1, -1, -1])
        return ExpectedQuality(
            ("a1", "b1", "a2", "c1"), known, fold, every, every, every, np.full((4, 9), value), 0.9
        )

    human = np.full((5, 4), np.nan)
    human[:, [0, 1]] = 1.0
    panel = Panel.from_arrays(human, np.ones((5, 4)), questions=["a1", "b1", "a2", "c1"])
    panel = panel.with_blocks(["a", "b", "a", "c"])
    found = with_new_surveys(quality(0.5), quality(0.2), panel)
    for values in (found.expected, found.lower, found.upper):
        for name in OUTCOMES:
            np.testing.assert_array_equal(values[name], [0.5, 0.5, 0.5, 0.2])
    np.testing.assert_array_equal(found.features[:, 0], [0.5, 0.5, 0.5, 0.2])
