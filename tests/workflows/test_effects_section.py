"""Effects of arms: what the section says of simulated experiments with known effects."""

import dataclasses

import numpy as np
import pytest
from made_evidence import clipped, made_evidence
from matplotlib.figure import Figure
from scipy import stats

from syndigits_jax.inference import ppi_difference
from syndigits_jax.workflows.evaluate.effects import control_arm, effects_section

Q, N = 8, 240
ARM = np.arange(N) % 2
ARMS = tuple(np.array(["control", "ad"])[ARM])
EFFECT = np.array([2.0, 1.5, -1.5, 1.0, -2.0, 0.0, 0.0, 1.8])[:, None]


def experiment(seed, size=1.0, calibrated_size=None, **options):
    """Twins have effects of `size` of those of people, and calibrated ones of another size."""
    rng = np.random.default_rng(seed)
    person = rng.normal(size=(Q, N))
    other = size if calibrated_size is None else calibrated_size
    truth, raw, calibrated = (
        5 + person + part * EFFECT * ARM[None] + noise * rng.normal(size=(Q, N))
        for part, noise in ((1.0, 0.7), (size, 1.0), (other, 0.5))
    )
    options = {"arms": ARMS, "key": seed} | options
    return made_evidence(*map(clipped, (truth, raw, calibrated)), **options)


def findings(section):
    return {claim.name: claim.finding for claim in section.claims if claim.finding}


def test_the_table_has_differences_of_means_with_their_intervals():
    evidence = experiment(0)
    section = effects_section(evidence)
    assert len(section.tables[0].rows) == Q
    for j, row in enumerate(section.tables[0].rows):
        assert (row["arm"], row["control"]) == ("ad", "control")
        assert (row["treated"], row["untreated"]) == (N // 2, N // 2)
        for key, values in (("people", evidence.truth), ("raw", evidence.twin)):
            units = values[j] / 10
            want = units[ARM == 1].mean() - units[ARM == 0].mean()
            assert row[key] == pytest.approx(want, abs=1e-5)
            assert row[f"{key}_low"] < want < row[f"{key}_high"]
            welch = stats.ttest_ind(units[ARM == 1], units[ARM == 0], equal_var=False)
            ends = welch.confidence_interval(0.95)
            # All at once: wider than one alone, and not beyond Bonferroni.
            wide = welch.confidence_interval(1 - 0.05 / (Q if key == "people" else 2 * Q))
            width = row[f"{key}_high"] - row[f"{key}_low"]
            assert 1.1 * (ends.high - ends.low) < width < 1.15 * (wide.high - wide.low)


def test_good_twins_are_said_to_be_good():
    found = findings(effects_section(experiment(10)))
    assert found["effects.people"].count("question") == 6
    assert found["effects.sign_raw"] == "raw twins show the direction"
    assert not any(name.startswith(("effects.size", "effects.misjudged")) for name in found)


def test_twins_that_understate_or_reverse_effects_are_found():
    found = findings(effects_section(experiment(2, size=-1.0, calibrated_size=0.3)))
    assert found["effects.sign_raw"] == "raw twins show the wrong direction"
    assert found["effects.size_raw"] == "raw twins reverse effects"
    assert found["effects.size_calibrated"] == "calibrated twins understate effects"
    assert "question_0" in found["effects.misjudged_raw"]
    assert "question_5" not in found["effects.misjudged_raw"]


def test_twins_that_exaggerate_effects_are_found():
    section = effects_section(experiment(11, size=2.2))
    claims = {claim.name: claim for claim in section.claims}
    size = claims["effects.size_raw"]
    assert size.finding == "raw twins exaggerate effects" and "larger than those" in size.text
    rows = section.tables[0].rows
    people, raw = (np.array([row[key] for row in rows]) for key in ("people", "raw"))
    # The slope without what noise adds to the squares of people's effects: about 2 (2.2, clipped).
    assert people @ raw / (people @ people) < size.values["estimate"] < 2.4
    assert size.values["lower"] > 1


def test_of_people_without_effects_nothing_is_said_of_direction_or_size():
    """Twins have effects that people lack: they misjudge, but in no direction and of no size."""
    evidence = experiment(12)
    truth = clipped(5 + np.random.default_rng(13).normal(size=(Q, N)))
    section = effects_section(dataclasses.replace(evidence, truth=truth))
    claims = {claim.name: claim for claim in section.claims}
    assert claims["effects.people"].values == {"told": 0, "effects": Q}
    for key in ("raw", "calibrated"):
        sign, size = claims[f"effects.sign_{key}"], claims[f"effects.size_{key}"]
        assert "cannot be told: people show none" in sign.text
        assert "cannot be told: those of people are too small" in size.text
        assert not (sign.finding or sign.values or size.finding or size.values)
        wrong = claims[f"effects.misjudged_{key}"]
        assert wrong.values["misjudged"] == 6 and "question_5" not in wrong.finding


def test_an_outcome_with_one_arm_is_left_out_with_a_note():
    evidence = experiment(14)
    arms = {"question_1": ARMS, "question_2": ("ad",) * N}
    inputs = dataclasses.replace(evidence.inputs, arms=None, outcome_arms=arms)
    section = effects_section(dataclasses.replace(evidence, inputs=inputs))
    assert [row["outcome"] for row in section.tables[0].rows] == ["question_1: ad"]
    assert any(note.endswith("in an arm: question_2.") for note in section.notes)


def test_answers_without_any_spread_leave_no_number_without_an_interval():
    evidence = experiment(15)
    truth = evidence.truth.copy()
    truth[1], truth[2] = 5.0, 5.0 + ARM  # nobody differs within an arm
    predictions = {name: values.copy() for name, values in evidence.predictions.items()}
    for values in predictions.values():
        values[1:3] = 5.0
    section = effects_section(dataclasses.replace(evidence, truth=truth, predictions=predictions))
    for row in section.tables[0].rows:
        for key in ("people", "raw", "calibrated", "combined", "raw_apart", "calibrated_apart"):
            ends = [row[f"{key}{end}"] for end in ("", "_low", "_high")]
            assert all(end is None for end in ends) or np.isfinite(ends).all()


def test_right_twins_are_not_said_to_misjudge_more_often_than_the_level_says():
    wrong, runs = {}, 12
    for seed in range(runs):
        for name in findings(effects_section(experiment(100 + seed, level=0.8))):
            if name.startswith(("effects.size", "effects.misjudged")):
                wrong[name] = wrong.get(name, 0) + 1
    assert all(count <= stats.binom.ppf(0.999, runs, 0.2) for count in wrong.values()), wrong


def test_people_who_were_not_asked_make_the_effect_of_people_and_twins_more_certain():
    evidence = experiment(3, size=0.5)
    truth = evidence.truth.copy()
    truth[:, np.random.default_rng(4).permutation(N)[:160]] = np.nan
    section = effects_section(dataclasses.replace(evidence, truth=truth))
    for j, row in enumerate(section.tables[0].rows):
        calibrated = list(evidence.predictions.values())[1][j] / 10
        want = ppi_difference(truth[j] / 10, calibrated, ARM, level=1 - 0.05 / Q)
        assert row["combined"] == pytest.approx(float(want.value), abs=1e-4)
        assert row["combined_low"] == pytest.approx(float(want.lower), abs=2e-3)
        narrow = row["combined_high"] - row["combined_low"]
        assert narrow < float(want.classical.upper - want.classical.lower)
        # Twins show half the effect, which does not draw the estimate away.
        assert row["combined_low"] < EFFECT[j, 0] / 10 < row["combined_high"]


def test_twins_who_saw_all_versions_compare_themselves():
    evidence = experiment(5)
    rng = np.random.default_rng(6)
    base = 5 + (evidence.truth - 5 - EFFECT * ARM[None]) + 0.3 * rng.normal(size=(Q, N))
    versions = {"control": base.T, "ad": (base + EFFECT).T}
    own = np.where(ARM == 1, base + EFFECT, base)
    inputs = dataclasses.replace(evidence.inputs, versions=versions)
    section = effects_section(dataclasses.replace(evidence, twin=own, inputs=inputs))
    plain = effects_section(evidence)
    for j, (row, before) in enumerate(zip(section.tables[0].rows, plain.tables[0].rows)):
        assert row["raw"] == pytest.approx(EFFECT[j, 0] / 10, abs=1e-5)
        # Everybody was asked, and yet twins help: each arm lacks the people of the other.
        now, then = (r["combined_high"] - r["combined_low"] for r in (row, before))
        assert now < 0.85 * then
        assert row["combined_low"] < EFFECT[j, 0] / 10 < row["combined_high"]


def test_several_arms_and_experiments_of_their_own():
    evidence = experiment(7)
    three = tuple(np.array(["b", "a", "c"])[np.arange(N) % 3])
    other = tuple("" if i < 100 else "xy"[i % 2] for i in range(N))
    inputs = dataclasses.replace(
        evidence.inputs, arms=None, outcome_arms={"question_1": three, "question_4": other}
    )
    section = effects_section(dataclasses.replace(evidence, inputs=inputs))
    assert [row["outcome"] for row in section.tables[0].rows] == [
        "question_1: b", "question_1: c", "question_4: y",
    ]  # fmt: skip
    assert [row["control"] for row in section.tables[0].rows] == ["a", "a", "x"]
    assert section.tables[0].rows[2]["treated"] == 70
    assert any("fewer than 5 outcomes" in note for note in section.notes)


def test_arms_of_few_people_are_left_out_with_a_note():
    evidence = experiment(8)
    arms = ["" if i < 30 else ("lonely" if i == 31 else ARMS[i]) for i in range(N)]
    inputs = dataclasses.replace(evidence.inputs, arms=tuple(arms))
    section = effects_section(dataclasses.replace(evidence, inputs=inputs))
    assert {row["arm"] for row in section.tables[0].rows} == {"ad"}
    assert any("question_0 (lonely)" in note for note in section.notes)
    assert any("30 people have no arm and do not count." in note for note in section.notes)
    lonely = tuple("b" if i == 3 else "a" for i in range(N))
    inputs = dataclasses.replace(evidence.inputs, arms=lonely)
    section = effects_section(dataclasses.replace(evidence, inputs=inputs))
    assert not section.tables and any("No effect can be estimated" in n for n in section.notes)


def test_no_arms_no_section_and_twins_that_never_vary_no_nan():
    assert effects_section(experiment(9, arms=None)) is None
    evidence = experiment(9)
    flat = {name: np.full((Q, N), 5.0) for name in evidence.predictions}
    section = effects_section(dataclasses.replace(evidence, predictions=flat))
    for claim in section.claims:
        assert "nan" not in claim.text and all(np.isfinite(v) for v in claim.values.values())
    (figure,) = section.figures
    figure.draw(Figure(figsize=figure.size).subplots())


def test_the_control_is_the_one_called_so_or_the_first():
    assert control_arm(("b", "", "a")) == "a"
    assert control_arm(("a", "Control ", "b")) == "Control "
