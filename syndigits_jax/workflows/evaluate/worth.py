"""What the twins are worth in people who need not be asked, and how many people to ask."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from syndigits_jax.evaluation import Estimated, PeopleWorth, people_worth
from syndigits_jax.inference import bootstrap, cheapest_split, people_needed, ppi_means
from syndigits_jax.inference.pigeonhole import block_members, interval_factor
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, LEARNED, RAW, Evidence
from .wording import above, claim, count, interval, number, percent

HALF_WIDTHS = (0.02, 0.05, 0.1)
"""Of the intervals that are planned for, as shares of the answer range."""

_GRID = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SOURCE = "syndigits_jax.evaluation.people_worth(prediction, truth)"
_PLAN = "syndigits_jax.inference.people_needed(half_width, sd, r2)"


def worth_section(
    evidence: Evidence,
    *,
    asked: int = 50,
    half_widths: Sequence[float] = HALF_WIDTHS,
    prices: tuple[float, float] | None = None,
) -> Section:
    """How many people twins are worth, alone and beside people, and a plan for new questions.

    **Arguments:** `evidence`; `asked`: people per question in the trial of prediction-powered
    inference; `half_widths`: wished, as shares of the range; `prices`: of a person's and a twin's
    answer, for the cheapest way to each precision.

    **Returns:** the section `worth`; a note where there are too few answers.
    """
    name, title = "worth", "What the twins are worth in respondents"
    found = {one: _worth(evidence, one) for one in (AUTO, RAW, LEARNED)}
    known = {one: worth for one, worth in found.items() if worth is not None}
    if AUTO not in known or RAW not in known:
        few = "There are too few answers to tell what twins are worth in people."
        return Section(name, title, notes=(few,))
    notes: list[str] = []
    claims = [*_alone(evidence, known), _beside(evidence, known[AUTO])]
    claims += _trial(evidence, asked, notes)
    claims.append(_plan_claim(evidence, known[AUTO]))
    tables = [_table(evidence, known), _plan(evidence, known[AUTO], half_widths)]
    if prices is not None:
        tables.append(_cheapest(evidence, known[AUTO], half_widths, prices))
    notes.append(
        "Numbers of people are for people drawn at random from the same population; a sample that "
        "is not random needs more."
    )
    return Section(
        name, title, tuple(claims), tuple(tables), (_figure(evidence, known),), tuple(notes)
    )


def _worth(evidence: Evidence, name: str) -> PeopleWorth | None:
    try:
        return people_worth(
            evidence.units(evidence.predictions[name]),
            evidence.unit_truth,
            key=random_key(evidence.key),
            blocks=evidence.blocks,
            sample_weight=evidence.weight,
            level=evidence.level,
        )
    except ValueError:  # too few answers, or no variation
        return None


def _alone(evidence: Evidence, known: Mapping[str, PeopleWorth]) -> list[Claim]:
    level, out = evidence.level, []
    for key, name, words in (
        ("alone", AUTO, "calibrated twins alone are"),
        ("raw_alone", RAW, "Raw twins alone are"),
    ):
        one = known[name].alone
        start = "For the mean of a question, " if name == AUTO else ""
        text = f"{start}{words} worth {_people(one, level)}."
        out.append(claim(f"worth.{key}", text, one, level, _SOURCE, _alone_finding(one, name)))
    return out


def _alone_finding(one: Estimated, name: str) -> str:
    """Only that a single person wins, or does not, is asserted."""
    return above(one, f"{name} are worth more than a person", f"a single person beats {name}", 1.0)


def _people(one: Estimated, level: float) -> str:
    """A number of randomly asked people with its interval."""
    if one.upper < 1 or one.estimate < 1:
        end = "" if not math.isfinite(one.upper) else f" ({percent(level)} interval: at most "
        end += "" if not end else f"{count(max(one.upper, 1))})"
        return f"at most 1 randomly asked person{end}"
    if not math.isfinite(one.lower) or (one.lower <= 0 and not math.isfinite(one.upper)):
        return "a number of randomly asked people that cannot be told from these tables"
    low = count(one.lower) if one.lower >= 1 else "less than 1"
    if not math.isfinite(one.estimate):
        return f"at least {low} randomly asked people (lower end of the {percent(level)} interval)"
    size = count(one.estimate)
    if not math.isfinite(one.upper):
        return f"{size} randomly asked people ({percent(level)} interval: {low} or more)"
    return f"{size} randomly asked people ({percent(level)} interval {low} to {count(one.upper)})"


def _beside(evidence: Evidence, worth: PeopleWorth) -> Claim:
    level = evidence.level
    r2, factor = worth.explained, worth.times(1.0, math.inf)
    text = (
        "Beside people who are asked, calibrated twins explain "
        f"{percent(r2.estimate)} of the variance of their answers "
        f"({interval(r2, level, digits=0, share=True)}): with twins of everybody else, 100 people "
        f"asked count as {count(100 * factor.estimate)} "
        f"({interval([100 * f for f in factor], level, digits=0)})."
    )
    finding = "twins make people count for more" if r2.lower > 0 else ""
    return claim("worth.beside", text, r2, level, _SOURCE, finding)


def _trial(evidence: Evidence, asked: int, notes: list[str]) -> list[Claim]:
    """Prediction-powered means with few people asked, of every judged question at once."""
    truth = evidence.unit_truth
    answered = np.sum(~np.isnan(truth) & (evidence.weight > 0), axis=1)
    asked = min(asked, int(np.median(answered)) // 2)
    if asked < 10 or len(truth) < 2:
        notes.append("Too few people answered for a trial in which only some of them are asked.")
        return []
    rng = np.random.default_rng([evidence.key, 1])
    order = np.argsort(np.where(np.isnan(truth), 2.0, rng.random(truth.shape)), axis=1)
    some = np.zeros(truth.shape, bool)
    np.put_along_axis(some, order[:, :asked], True, axis=1)
    proxy = evidence.units(evidence.predictions[AUTO])
    rows = answered >= 2 * asked
    found = ppi_means(
        np.where(some & ~np.isnan(truth), truth, np.nan)[rows].T,
        proxy[rows].T,
        sample_weight=evidence.weight,
        level=evidence.level,
    )
    errors = [np.asarray(e, np.float64) for e in (
        found.classical.standard_error, found.standard_error)]  # fmt: skip
    usable = np.isfinite(errors[0]) & np.isfinite(errors[1]) & (errors[1] > 0)
    blocks = evidence.blocks
    labels = None if blocks is None else [blocks[i] for i in np.flatnonzero(rows)[usable]]
    if usable.sum() < 2 or (labels is not None and len(set(labels)) < 2):
        notes.append("Too few questions for a trial in which only some people are asked.")
        return []
    member, units = block_members(labels, int(usable.sum()))
    squares = np.stack([np.bincount(member, e[usable] ** 2, units) for e in errors], axis=1)

    def ratio(sums: Any) -> Any:
        return jnp.sum(sums[:, 0]) / jnp.sum(sums[:, 1])

    gain = bootstrap(random_key(evidence.key), ratio, jnp.asarray(squares), level=evidence.level)
    reach = interval_factor(evidence.level, units) * float(gain.standard_error)
    one = Estimated(*(asked * (float(gain.estimate) + r) for r in (0.0, -reach, reach)))
    text = (
        f"In a trial in which {asked} people chosen at random were asked each question, the means "
        f"with twins were as exact as those of {count(one.estimate)} people alone "
        f"({interval(one, evidence.level, digits=0)}, for other questions)."
    )
    finding = above(one, "twins save people", "twins cost precision", float(asked))
    source = "syndigits_jax.inference.ppi_means(truth, proxies)"
    return [claim("worth.trial", text, one, evidence.level, source, finding)]


def _needed(worth: PeopleWorth, half_width: float, r2: float, level: float) -> float:
    sd = math.sqrt(worth.variance.estimate)
    return float(people_needed(half_width, sd, r2, level=level))


def _plan_claim(evidence: Evidence, worth: PeopleWorth) -> Claim:
    level, half = evidence.level, HALF_WIDTHS[1]
    alone = _needed(worth, half, 0.0, level)
    low, high = worth.explained.lower, worth.explained.upper
    one = Estimated(
        *(_needed(worth, half, r, level) for r in (worth.explained.estimate, high, low))
    )
    text = (
        f"For the mean of a new question to within {percent(half)} of the answer range "
        f"({percent(level)} interval), ask {alone:,.0f} people alone, or "
        f"{one.estimate:,.0f} with calibrated twins of many more "
        f"({interval(one, level, digits=0)})."
    )
    return claim("worth.plan", text, one, level, _PLAN)


def _table(evidence: Evidence, known: Mapping[str, PeopleWorth]) -> Table:
    rows = []
    for name, worth in known.items():
        error = [math.sqrt(max(e, 0.0)) for e in worth.squared_error]
        row: dict[str, Any] = {"prediction": name}
        for key, one in (("alone", worth.alone), ("error", error), ("r2", worth.explained)):
            row |= {k: _cell(v) for k, v in zip((key, f"{key}_low", f"{key}_high"), one)}
        rows.append(row)
    columns = (
        Column("prediction", "Prediction", "text"),
        Column("alone", "Alone worth (people)", "number", 1, "alone_low", "alone_high"),
        Column("error", "Error of the mean", "share", 3, "error_low", "error_high"),
        Column("r2", "Variance explained", "share", 0, "r2_low", "r2_high"),
    )
    note = (
        "Alone worth: how many randomly asked people have the same mean squared error of the mean. "
        "Error: root mean square over questions, in percent of the answer range. Variance "
        "explained: of people's answers within a question, which is what counts beside people. In "
        f"brackets: {percent(evidence.level)} intervals for other people and questions."
    )
    title = "What predictions are worth"
    return Table("worth_predictions", title, columns, tuple(rows), note, _SOURCE)


def _plan(evidence: Evidence, worth: PeopleWorth, half_widths: Sequence[float]) -> Table:
    level, rows = evidence.level, []
    r2 = worth.explained
    for half in half_widths:
        alone = _needed(worth, half, 0.0, level)
        with_twins, low, high = (_needed(worth, half, r, level) for r in (
            r2.estimate, r2.upper, r2.lower))  # fmt: skip
        rows.append({
            "half_width": half, "people": _cell(alone), "with_twins": _cell(with_twins),
            "with_twins_low": _cell(low), "with_twins_high": _cell(high),
        })  # fmt: skip
    columns = (
        Column("half_width", "Mean to within", "share", 0),
        Column("people", "People alone", "count"),
        Column("with_twins", "People, with twins", "count", 0, "with_twins_low", "with_twins_high"),
    )
    note = (
        f"People to ask for a {percent(level)} interval of the mean of a question of ordinary "
        "spread that reaches so far on either side, in percent of the answer range; with "
        "calibrated twins of many more people than are asked. In brackets: for the interval of the "
        "variance that twins explain."
    )
    return Table("worth_plan", "How many people to ask", columns, tuple(rows), note, _PLAN)


def _cheapest(
    evidence: Evidence,
    worth: PeopleWorth,
    half_widths: Sequence[float],
    prices: tuple[float, float],
) -> Table:
    person, twin = prices
    sd, r2, rows = math.sqrt(worth.variance.estimate), worth.explained.estimate, []
    for half in half_widths:
        one = cheapest_split(person, twin, r2, sd, half_width=half, level=evidence.level)
        rows.append({
            "half_width": half, "people": float(one.people), "twins": float(one.twins),
            "cost": float(one.cost), "alone": float(one.cost_of_people_alone),
        })  # fmt: skip
    columns = (
        Column("half_width", "Mean to within", "share", 0),
        Column("people", "People", "count"),
        Column("twins", "Twins", "count"),
        Column("cost", "Cost", "number", 0),
        Column("alone", "Cost of people alone", "number", 0),
    )
    note = (
        f"The cheapest way to each precision if a person's answer costs {number(person)} and a "
        f"twin's {number(twin, 4)}; twins include those of the people asked."
    )
    source = "syndigits_jax.inference.cheapest_split(cost_person, cost_twin, r2, sd)"
    return Table("worth_cheapest", "The cheapest mix", columns, tuple(rows), note, source)


def _figure(evidence: Evidence, known: Mapping[str, PeopleWorth]) -> Figure:
    worth = known[AUTO]
    people = np.array(_GRID, float)
    alone = 100 * np.sqrt(worth.variance.estimate / people)
    rest = [1 - r for r in (worth.explained.estimate, worth.explained.upper, worth.explained.lower)]
    middle, low, high = (alone * math.sqrt(r) for r in rest)
    levels = {
        f"{name} alone": 100 * math.sqrt(max(known[name].squared_error.estimate, 0.0))
        for name in (AUTO, RAW)
    }
    one = worth.alone

    def draw(ax: Any) -> Any:
        from syndigits_jax.plots import plot_error_by_people

        finite = math.isfinite(one.estimate) and one.estimate > 0
        ends = (max(one.lower, 0.0), min(one.upper, float(_GRID[-1]))) if finite else None
        series = {
            "people alone": (alone, None, None),
            "people with calibrated twins": (middle, low, high),
        }
        return plot_error_by_people(
            people, series, ylabel="Error of the mean (%)", levels=levels,
            worth=one.estimate if finite else None, worth_ends=ends,
            worth_label="worth of calibrated twins",
            interval_label=f"{percent(evidence.level)} interval", ax=ax,
        )  # fmt: skip

    return Figure(
        "worth_error",
        "Error of a question's mean by number of people asked",
        draw,
        "Curves: the root mean square error of the mean of so many people, alone and with "
        "calibrated twins of many more; the band is the interval of what twins explain. Horizontal "
        "lines: twins alone, without asking anybody. Vertical line and grey band: the number of "
        "people that calibrated twins alone are worth, with its interval.",
        f"Calibrated twins alone are as exact as {_people(one, evidence.level)}.",
        size=(6.4, 3.8),
        data={"people": list(_GRID), "alone": alone.tolist(), "with_twins": middle.tolist()}
        | levels,
    )


def _cell(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
