"""Numbers that a report claims, each beside a plain computation, and words beside their numbers."""

import dataclasses
import math

import numpy as np
import pytest
from made_evidence import N, T, good_twins
from matplotlib.figure import Figure
from scipy import stats

from syndigits_jax.estimation import ExpectedQuality
from syndigits_jax.estimation.expected_quality import FEATURES
from syndigits_jax.evaluation import Estimated
from syndigits_jax.report import Claim, Section
from syndigits_jax.workflows.evaluate import population
from syndigits_jax.workflows.evaluate.evidence import AUTO, CONTROLS, LEARNED, RAW
from syndigits_jax.workflows.evaluate.left_to_twins import left_to_twins_section
from syndigits_jax.workflows.evaluate.population import population_section
from syndigits_jax.workflows.evaluate.quality import quality_section
from syndigits_jax.workflows.evaluate.summary import summary
from syndigits_jax.workflows.evaluate.wording import count, interval, number
from syndigits_jax.workflows.evaluate.worth import _people, _trial, worth_section


def claims_of(section):
    return {claim.name: claim for claim in section.claims}


def correlations(some, truth):
    """Of every question, over the people who have both."""
    out = []
    for x, y in zip(some, truth, strict=True):
        both = ~(np.isnan(x) | np.isnan(y))
        out.append(stats.pearsonr(x[both], y[both]).statistic)
    return np.array(out)


def asked_again(evidence, noise=0.7, people=N):
    """People's second answers; to the first question only two of them answer."""
    rng = np.random.default_rng(5)
    again = np.clip(np.round(evidence.truth + noise * rng.normal(size=(T, N))), 1, 5)
    again[:, people:] = np.nan
    again[0, 2:] = np.nan
    return dataclasses.replace(
        evidence, inputs=dataclasses.replace(evidence.inputs, retest=again.T)
    ), again


# --- how good -------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [None, ("all",) * T, tuple("abcdefg" * 2)])
def test_second_answers_set_the_ceiling(blocks):
    evidence, again = asked_again(dataclasses.replace(good_twins(), block=blocks))
    found = claims_of(quality_section(evidence))
    reliability = correlations(again[1:], evidence.truth[1:])
    one, share = found["quality.retest"], found["quality.share_of_ceiling"]
    assert one.values["estimate"] == pytest.approx(reliability.mean(), abs=1e-5)
    auto = correlations(evidence.predictions[AUTO], evidence.truth)[1:]
    want = auto.mean() / np.sqrt(reliability).mean()
    assert share.values["estimate"] == pytest.approx(want, abs=1e-5)
    assert f"{number(reliability.mean())} (95% interval" in one.text
    assert f"reach {number(100 * want, 0)}% (95% interval" in share.text
    # Other people and questions: at least as wide as Student's t over the questions alone.
    t = stats.t.interval(0.95, T - 2, reliability.mean(), stats.sem(reliability))
    for said in (one, share):
        assert said.values["lower"] < said.values["estimate"] < said.values["upper"]
    if blocks is None or len(set(blocks)) == 1:
        assert one.values["lower"] < t[0] and one.values["upper"] > t[1]


@pytest.mark.parametrize("people", [2, 0])
def test_few_second_answers_are_said_to_be_few(people):
    evidence, _ = asked_again(good_twins(), people=people)
    section = quality_section(evidence)
    assert "Too few people answered twice" in " ".join(section.notes)
    assert not {"quality.retest", "quality.share_of_ceiling"} & set(claims_of(section))


def test_without_any_repetition_there_is_no_share_of_it():
    """Second answers that contradict the first have no ceiling that could be reached."""
    evidence = good_twins()
    inputs = dataclasses.replace(evidence.inputs, retest=6 - evidence.truth.T)
    found = claims_of(quality_section(dataclasses.replace(evidence, inputs=inputs)))
    assert found["quality.retest"].values["estimate"] == pytest.approx(-1, abs=1e-5)
    assert "quality.share_of_ceiling" not in found


def test_one_block_is_no_block():
    plain = good_twins()
    whole = dataclasses.replace(plain, block=("all",) * T)
    for section in (quality_section, worth_section, population_section):
        assert section(whole).claims == section(plain).claims


# --- worth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prices", [(10.0, 0.01), (10.0, 0.5), (1.0, 5.0)])
def test_the_cheapest_mix_is_found_by_looking_at_all(prices):
    """The variance of a mean with twins is σ²((1 - R²)/n + R²/N), N the twins of n among them."""
    evidence = good_twins()
    found = worth_section(evidence, prices=prices, half_widths=(0.05, 0.1))
    (table,) = [table for table in found.tables if table.name == "worth_cheapest"]
    r2 = claims_of(found)["worth.beside"].values["estimate"]
    units = (evidence.truth - 1) / 4
    variance = units.var(axis=1, ddof=1).mean()
    person, twin = prices
    for row, half in zip(table.rows, (0.05, 0.1), strict=True):
        wanted = (half / stats.norm.ppf(0.975)) ** 2
        alone = variance / wanted
        n = np.linspace((1 - r2) * alone * 1.0001, alone, 20001)
        twins = np.maximum(variance * r2 / (wanted - variance * (1 - r2) / n), n)
        enough = variance * ((1 - r2) / n + r2 / twins) <= wanted * (1 + 1e-9)
        cost = np.where(enough, person * n + twin * twins, np.inf).min()
        cost = min(cost, person * alone)
        assert row["half_width"] == half
        assert row["alone"] == pytest.approx(person * alone, rel=1e-4)
        assert row["cost"] == pytest.approx(cost, rel=1e-3)
        assert row["cost"] == pytest.approx(person * row["people"] + twin * row["twins"], rel=1e-4)
        assert (row["twins"] == 0) == (prices == (1.0, 5.0))
    assert f"costs {number(person)}" in table.note and number(twin, 4) in table.note


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((0.5, 0.2, 0.9), "at most 1 randomly asked person (95% interval: at most 1)"),
        ((0.5, 0.2, 7.2), "at most 1 randomly asked person (95% interval: at most 7.2)"),
        ((0.5, 0.2, math.inf), "at most 1 randomly asked person"),
        ((5.0, 0.4, 9.0), "5 randomly asked people (95% interval less than 1 to 9)"),
        ((5.0, 2.0, math.inf), "5 randomly asked people (95% interval: 2 or more)"),
        (
            (math.inf, 3.0, math.inf),
            "at least 3 randomly asked people (lower end of the 95% interv",
        ),
        ((5.0, -math.inf, math.inf), "cannot be told"),
        ((5.0, 0.0, math.inf), "cannot be told"),
    ],
)
def test_worth_in_words(found, words):
    assert words in _people(Estimated(*found), 0.95)
    assert "inf" not in _people(Estimated(*found), 0.95).replace("interv", "")


def test_ends_that_are_open_are_said_to_be_open():
    assert count(math.inf) == "more people than can be told"
    assert interval((-math.inf, 0.2), 0.9) == "90% interval: 0.20 or less"
    assert interval((-math.inf, 0.2), 0.9, share=True, digits=0) == "90% interval: 20% or less"


def test_a_trial_needs_questions_of_several_blocks():
    evidence = good_twins()
    truth = evidence.truth.copy()
    truth[7:, 11:] = np.nan  # of the second block, too few answer for a trial
    some = dataclasses.replace(evidence, truth=truth, block=("a",) * 7 + ("b",) * 7)
    notes = []
    assert not _trial(some, 20, notes) and "trial" in notes[0]
    assert len(_trial(evidence, 20, notes)) == 1 == len(notes)


# --- which questions may be left to twins ---------------------------------------------------------


def expecting(evidence, sign=1.0, noise=0.05, raw=-0.2, reach=0.3, new=2):
    """Expectations of calibrated twins that are right (sign 1) or the wrong way round (-1)."""
    rng = np.random.default_rng(2)
    own = {name: correlations(evidence.predictions[name], evidence.truth) for name in (AUTO, RAW)}
    centre = own[AUTO].mean()
    auto = centre + sign * (own[AUTO] - centre) + noise * rng.normal(size=T)
    expected = {
        "calibrated correlation": np.append(auto, np.full(new, 0.1)),
        "raw correlation": np.append(auto + raw, np.full(new, 0.3)),
        "calibrated error": np.full(T + new, 0.05),
        "raw error": np.full(T + new, 0.2),
    }
    ends = {
        side: {name: values + side * reach for name, values in expected.items()} for side in (-1, 1)
    }
    known = np.arange(T + new) < T
    names = (*evidence.questions, *(f"new_{j}" for j in range(new)))
    found = ExpectedQuality(
        names, known, np.where(known, 0, -1), expected, ends[-1], ends[1],
        rng.normal(size=(T + new, len(FEATURES))), 0.95,
    )  # fmt: skip
    return dataclasses.replace(evidence, expected=found), own


def unlike_questions(seed=0):
    """Twins that know some questions better than others, by far."""
    evidence = good_twins(seed)
    blur = np.linspace(0, 2.5, T)[:, None] * np.random.default_rng(seed + 50).normal(size=(T, N))
    auto = np.clip(evidence.predictions[AUTO] + blur, 1, 5)
    return dataclasses.replace(evidence, predictions={**evidence.predictions, AUTO: auto})


def test_what_was_expected_is_judged_by_what_came_true():
    evidence, own = expecting(unlike_questions())
    section = left_to_twins_section(evidence)
    found, expected = claims_of(section), evidence.expected.expected["calibrated correlation"][:T]
    best = expected > np.median(expected)
    halves = own[AUTO][best].mean(), own[AUTO][~best].mean()
    lift = found["left_to_twins.lift"]
    assert lift.values["estimate"] == pytest.approx(halves[0] - halves[1], abs=1e-4)
    assert f"reached {number(halves[0])}, the other half {number(halves[1])}" in lift.text
    assert lift.finding == "expected quality tells questions apart" and "uncertain" not in lift.text
    held = found["left_to_twins.held"]
    assert held.values["estimate"] == pytest.approx(
        np.corrcoef(expected, own[AUTO])[0, 1], abs=1e-3
    )
    slope = np.polyfit(expected, own[AUTO], 1)[0]
    assert f"{number(0.1 * slope)} more came true" in held.text
    inside = np.abs(own[AUTO] - expected) <= 0.3
    assert found["left_to_twins.coverage"].values["estimate"] == pytest.approx(inside.mean())
    # For no question were raw twins expected to be better.
    assert found["left_to_twins.raw"].values == {"estimate": 0}
    first = evidence.questions[int(np.argmax(expected))]
    words = found["left_to_twins.best"].text
    assert f"expected for {first} (correlation {number(expected.max())}, 95% interval" in words

    new, known, _ = section.tables
    assert [row["question"] for row in new.rows] == ["new_0", "new_1"]
    assert all(row["twins"] == "raw" and row["correlation"] == 0.3 for row in new.rows)
    assert not any(column.name.startswith("realised") for column in new.columns)
    order = [row["question"] for row in known.rows]
    assert order == [evidence.questions[j] for j in np.argsort(-expected)]
    for row in known.rows:
        j = evidence.questions.index(row["question"])
        assert row["realised_correlation"] == pytest.approx(own[AUTO][j], abs=1e-5)
        gap = (evidence.predictions[AUTO][j] - evidence.truth[j]).mean() / 4
        assert row["realised_error"] == pytest.approx(abs(gap), abs=1e-5)
        assert row[FEATURES[0]] == evidence.expected.features[j, 0]
    assert any("2 questions have no human answers yet" in note for note in section.notes)
    assert "can be told before anybody is asked" in summary(evidence, [section])[2].text


def test_expectations_that_mislead_are_said_to():
    evidence, _ = expecting(unlike_questions(), sign=-1.0)
    section = left_to_twins_section(evidence)
    lift = claims_of(section)["left_to_twins.lift"]
    assert lift.finding == "expected quality misleads" and lift.values["upper"] < 0
    last = summary(evidence, [section])[2]
    assert last.finding == lift.finding
    low, high = (number(-lift.values[end]) for end in ("upper", "lower"))
    assert f"by {number(-lift.values['estimate'])} less than in the other half" in last.text
    assert f"interval {low} to {high})" in last.text


def test_raw_twins_where_they_are_expected_to_be_better():
    evidence = unlike_questions()
    evidence, own = expecting(evidence)
    expected = dict(evidence.expected.expected)
    expected["raw correlation"] = np.append(own[RAW], [0.3, 0.3])
    found = dataclasses.replace(evidence.expected, expected=expected)
    evidence = dataclasses.replace(evidence, expected=found)
    one = claims_of(left_to_twins_section(evidence))["left_to_twins.raw"]
    raw = own[RAW] > expected["calibrated correlation"][:T]
    assert 0 < raw.sum() < T
    gain = np.where(raw, own[RAW], own[AUTO]).mean() - own[AUTO].mean()
    assert one.values["estimate"] == pytest.approx(gain, abs=1e-5)
    assert (
        f"for {raw.sum()} of {T} questions" in one.text and number(gain, 3, sign=True) in one.text
    )


def test_the_figure_has_a_point_for_every_question():
    evidence, own = expecting(unlike_questions())
    (figure,) = left_to_twins_section(evidence).figures
    axes = Figure(figsize=figure.size).subplots()
    figure.draw(axes)
    raw, calibrated, line = axes.lines
    expected = evidence.expected.expected
    for drawn, name, kind in ((raw, RAW, "raw"), (calibrated, AUTO, "calibrated")):
        np.testing.assert_allclose(drawn.get_xdata(), expected[f"{kind} correlation"][:T])
        np.testing.assert_allclose(drawn.get_ydata(), own[name], atol=1e-5)
        assert figure.data[f"realised {kind}"] == pytest.approx(own[name].tolist(), abs=1e-5)
    assert list(line.get_xdata()) == list(line.get_ydata()) == list(axes.get_xlim())
    every = np.concatenate([calibrated.get_xdata(), calibrated.get_ydata(), raw.get_xdata()])
    assert axes.get_xlim()[0] < every.min() and every.max() < axes.get_xlim()[1]


def test_expectations_all_alike_or_without_intervals_are_said():
    evidence, _ = expecting(unlike_questions(), reach=math.inf)
    section = left_to_twins_section(evidence)
    assert "left_to_twins.coverage" not in claims_of(section)
    assert any("19 besides those held out" in note for note in section.notes)
    alike = {name: np.full(T + 2, 0.4) for name in evidence.expected.expected}
    alike["raw correlation"] = np.full(T + 2, 0.5)  # and so raw twins are to be used
    found = dataclasses.replace(evidence.expected, expected=alike)
    section = left_to_twins_section(dataclasses.replace(evidence, expected=found))
    assert any("cannot be told" in note for note in section.notes)
    assert set(claims_of(section)) == {"left_to_twins.best"}


# --- the population -------------------------------------------------------------------------------


def test_of_many_people_some_stand_for_all(monkeypatch):
    evidence = good_twins()
    whole = claims_of(population_section(evidence))["population.distinct"]
    monkeypatch.setattr(population, "_MOST", 40)
    some = claims_of(population_section(evidence))["population.distinct"]
    assert "On these questions 60 people" in whole.text
    assert "On these questions 40 people" in some.text
    assert 0.5 < some.values["estimate"] / whole.values["estimate"] < 2


def test_what_two_questions_do_not_tell_is_said():
    notes = []
    assert not population._joint(good_twins(t=2), notes)
    assert "how answers hang together" in notes[0]


# --- the summary ----------------------------------------------------------------------------------


def test_twins_that_know_less_than_other_answers_are_to_be_left():
    evidence = good_twins()
    better = evidence.predictions[AUTO]
    predictions = dict.fromkeys((LEARNED, *CONTROLS.values()), better)
    predictions |= {RAW: evidence.predictions[RAW], AUTO: evidence.predictions[LEARNED]}
    section = quality_section(dataclasses.replace(evidence, predictions=predictions))
    first = summary(evidence, [section])[0]
    gap = correlations(predictions[AUTO], evidence.truth) - correlations(better, evidence.truth)
    assert first.finding == "twins take away"
    assert f"{number(-gap.mean())} less than people's other answers alone give" in first.text
    assert first.text.endswith("leave them.")
    # The interval is that of the difference; in words it is turned round with its sign.
    low, high = first.values["gain_lower"], first.values["gain_upper"]
    assert low < gap.mean() < high < 0
    assert f"interval {number(-high)} to {number(-low)})" in first.text


def test_a_summary_of_some_sections():
    evidence = good_twins()
    values = {"estimate": 0.4, "lower": 0.3, "upper": 0.5}
    good = Claim("quality.auto_correlation", "...", values, 0.95, "calibrated twins know something")
    first, _, last = summary(evidence, [Section("quality", "Quality", (good,))])
    assert first.text.endswith("with a correlation of 0.40 (95% interval 0.30 to 0.50).")
    assert first.finding == good.finding and "cannot be told" in last.text
    worst = Claim("groups.age.level_calibrated", "Worst for the old.", values, 0.95, "worst: old")
    unsaid = Claim("groups.sex.level_calibrated", "None is told.", values, 0.95)
    groups = Section("groups", "Groups", (unsaid, worst))
    last = summary(evidence, [groups])[2]
    assert (last.text, last.finding) == (worst.text, worst.finding)
    lift = Claim(
        "left_to_twins.lift", "...", values, 0.95, "expected quality tells questions apart"
    )
    last = summary(evidence, [groups, Section("left_to_twins", "Which", (lift,))])[2]
    assert last.text.endswith("the table names them. Worst for the old.")
    assert last.finding == f"{lift.finding}; {worst.finding}"
