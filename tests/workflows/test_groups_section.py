"""For whom: what the section says of simulated people whose twins are known to be good or bad."""

import dataclasses

import jax
import numpy as np
import pytest
from made_evidence import clipped, made_evidence
from matplotlib.figure import Figure
from scipy import stats

from syndigits_jax.evaluation import group_errors
from syndigits_jax.results.keys import random_key
from syndigits_jax.workflows.evaluate.evidence import AUTO, RAW
from syndigits_jax.workflows.evaluate.groups import groups_section

Q, N = 16, 160
AGE = tuple(np.array(["old", "mid", "young", "teen"])[np.repeat([0, 1, 2, 3], [60, 40, 35, 25])])
OLD = np.array(AGE) == "old"


def people(seed, bias=0.0, **options):
    """Raw twins are as good for everybody, but for the bias of the old; calibrated ones better."""
    rng = np.random.default_rng(seed)
    person = rng.normal(size=(1, N))
    truth = 5 + 1.2 * person + rng.normal(size=(Q, N))
    raw = truth + 0.6 * rng.normal(size=(Q, 1)) + rng.normal(size=(Q, N)) + bias * OLD
    calibrated = truth + 0.3 * rng.normal(size=(Q, 1)) + 0.5 * rng.normal(size=(Q, N))
    options = {"groups": {"age": AGE}, "key": seed} | options
    return made_evidence(*map(clipped, (truth, raw, calibrated)), **options)


def findings(section):
    return {claim.name: claim.finding for claim in section.claims if claim.finding}


def test_a_group_with_biased_twins_is_named_and_calibration_helps_it():
    found = findings(groups_section(people(1, bias=2.5)))
    assert found["groups.age.level_raw"] == "worst group: old"
    assert "old" in found["groups.age.calibration_helps_level"]
    assert "groups.age.level_calibrated" not in found
    assert not any("harms" in name for name in found)


def test_calibration_that_harms_a_group_is_said():
    good = people(2)
    worse = good.predictions[AUTO] + 3 * OLD
    found = findings(
        groups_section(
            dataclasses.replace(good, predictions=good.predictions | {AUTO: clipped(worse)})
        )
    )
    assert found["groups.age.calibration_harms_level"] == "calibration harms: old"
    assert found["groups.age.level_calibrated"] == "worst group: old"


def test_groups_alike_are_not_named_more_often_than_the_level_says():
    """Four in five reports may say nothing wrong: at the level 0.8, of each sentence."""
    wrong, runs = {}, 12
    for seed in range(runs):
        for name, finding in findings(groups_section(people(seed, level=0.8))).items():
            if finding.startswith("worst"):
                wrong[name] = wrong.get(name, 0) + 1
    most = stats.binom.ppf(0.999, runs, 0.2)
    assert all(count <= most for count in wrong.values()), wrong


def test_the_table_shows_what_the_numerics_return():
    evidence = people(3)
    section = groups_section(evidence)
    estimates = {name: evidence.units(evidence.predictions[name]) for name in (RAW, AUTO)}
    want = group_errors(estimates, evidence.unit_truth, AGE, key=random_key(0), replicates=2)
    rows = {(row["measure"], row["group"]): row for row in section.tables[0].rows}
    for g, group in enumerate(want.groups):
        for e, key in enumerate(("raw", "calibrated")):
            for title, values, square in (
                ("Error of the mean", want.level, True),
                ("Spread", want.spread, False),
                ("Correlation", want.correlation, False),
                ("Error of the distribution", want.distribution, True),
            ):
                row = rows[title, group]
                value = float(values.value[e, g])
                value = np.sqrt(max(value, 0)) if square else value
                assert row[key] == pytest.approx(value, abs=1e-5)
                assert row[f"{key}_low"] <= row[key] <= row[f"{key}_high"]
                assert np.isfinite(row[f"{key}_shrunk"])
        assert rows["Correlation", group]["people"] == AGE.count(group)
        assert rows["Error of the mean", group]["group_means"] is not None
        assert rows["Error of the mean", group]["calibration"] in {
            "helps", "harms", "cannot be told",
        }  # fmt: skip
    # Drawn together: closer to one another.
    for key in ("raw", "calibrated"):
        mine = [row for row in section.tables[0].rows if row["measure"] == "Correlation"]
        assert np.ptp([r[f"{key}_shrunk"] for r in mine]) <= np.ptp([r[key] for r in mine])


def test_pairs_tell_the_error_of_their_difference():
    rows = groups_section(people(4, bias=2.5)).tables[1].rows
    gap = {
        frozenset((row["first"], row["second"])): row["raw"]
        for row in rows
        if row["measure"] == "Error of the difference of means"
    }
    assert len(gap) == 6
    for pair, value in gap.items():
        assert abs(value - (0.25 if "old" in pair else 0)) < 0.09


def test_who_is_left_out_is_said():
    evidence = people(5)
    labels = list(AGE)
    labels[:5] = ["", "", "", "one", "two"]
    truth = evidence.truth.copy()
    teen = np.array(labels) == "teen"
    truth[0, np.flatnonzero(teen)[:20]] = np.nan
    truth[:, np.array(labels) == "young"] = np.nan
    columns = {"age": tuple(labels), "all alike": ("x",) * N}
    inputs = dataclasses.replace(evidence.inputs, groups=columns)
    section = groups_section(dataclasses.replace(evidence, truth=truth, inputs=inputs))
    notes = " ".join(section.notes)
    assert "Of age, 3 people without a label do not count." in notes
    assert "with fewer than 20 people are left out (people in brackets): one (1), two (1)." in notes
    assert "1 of 16 questions do not count" in notes
    assert "By all alike, groups cannot be compared, as fewer than two groups are left." in notes
    assert {row["group"] for row in section.tables[0].rows} == {"mid", "old", "teen"}
    assert "for all 2 columns" in notes


def test_a_report_without_groups_has_no_such_section():
    assert groups_section(people(6, groups={})) is None


def test_twins_that_never_vary_leave_no_number_without_an_interval():
    evidence = people(7)
    flat = np.full_like(evidence.truth, 5.0)
    section = groups_section(
        dataclasses.replace(evidence, predictions=evidence.predictions | {RAW: flat})
    )
    for row in section.tables[0].rows:
        if row["measure"] in ("Spread", "Correlation"):
            assert row["raw"] is None and row["raw_low"] is None
    for claim in section.claims:
        assert "nan" not in claim.text and all(np.isfinite(v) for v in claim.values.values())
    for figure in section.figures:
        figure.draw(Figure(figsize=figure.size).subplots())


def test_weights_reach_every_number():
    weight = np.where(OLD, 1.0, np.random.default_rng(8).uniform(0.1, 3, N))
    plain, weighted = (groups_section(people(8, weight=w)).tables[0].rows for w in (None, weight))
    for one, other in zip(plain, weighted, strict=True):
        same = one["group"] == "old"
        assert (one["raw"] == pytest.approx(other["raw"], abs=1e-5)) == same


@pytest.mark.parametrize("measure", ["level", "correlation"])
def test_simultaneous_intervals_hold(measure):
    """Of all groups and both kinds of twins at once, by a one-sided binomial bound."""
    runs, level, hit = 60, 0.8, 0
    truths = {"level": [[0.0036] * 4, [0.0009] * 4]}
    variance = 1.2**2 + 1
    ratio = [np.sqrt(variance / (variance + noise**2)) for noise in (1.0, 0.5)]
    truths["correlation"] = [[r] * 4 for r in ratio]
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=(Q, N)) + 1.2 * rng.normal(size=(1, N))
        estimates = {
            name: (truth + bias * rng.normal(size=(Q, 1)) + noise * rng.normal(size=(Q, N))) / 10
            for name, bias, noise in ((RAW, 0.6, 1.0), (AUTO, 0.3, 0.5))
        }
        found = group_errors(
            estimates, truth / 10, AGE, key=jax.random.key(seed), replicates=200, batch_size=200
        )
        ends = getattr(found, measure).intervals(level, df=Q - 1)
        want = np.array(truths[measure])
        hit += bool(np.all((ends.lower <= want) & (want <= ends.upper)))
    assert stats.binomtest(hit, runs, level, alternative="less").pvalue > 0.001
