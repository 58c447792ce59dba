"""A report with every kind of content, and with names that would break a careless writer."""

import math

import numpy as np

from syndigits_jax.plots import (
    plot_agreement,
    plot_dot_intervals,
    plot_error_by_people,
    plot_group_intervals,
    plot_questions,
)
from syndigits_jax.report import Claim, Column, Figure, Report, Section, Table

NASTY = (
    "Would you <b>buy</b> it? & \"why\" or 'why not'",
    "</td></table><script>alert(1)</script>",
    "שאלה על מחיר ו-quality",
    "هل تشتري هذا المنتج؟",
    "a | b || c",
    "=1+1",
    "-5 to 5, in $ or £ ($x_1$)",
    "“Smart” 😀 names – with dashes",
    "\u202eturned round\u202c",
    "tab\tand\nnew line",
    "* item_with_underscores [link](http://example.com) `code`",
    "https://example.com/question?id=1&x=2",
    "中文问题：你会买吗",
    "x" * 300,
    "Wie zufrieden sind Sie, alles in allem, mit dem Preis des Produkts? " * 4,
)


def fake_report(questions: int = 40, names: tuple[str, ...] = NASTY, seed: int = 0) -> Report:
    """A report of some `questions`, the first of which have the `names` given."""
    rng = np.random.default_rng(seed)
    called = [*names, *(f"q{i:03d} How much do you agree?" for i in range(questions))][:questions]
    expected = rng.uniform(-0.1, 0.8, questions)
    low, high = expected - 0.15, expected + 0.13
    seen = expected + rng.normal(0, 0.05, questions)
    methods = {
        "calibrated twins": (0.4212345678901234, 0.37, 0.47),
        "raw twins": (0.31, 0.25, 0.37),
        "learned control, no twins": (0.33, 0.29, 0.38),
        "person's mean, no twins": (0.2, 0.14, 0.26),
    }
    return Report(
        title="Twins & people: <how> far apart?",
        facts={
            "Human answers": "humans <final> & co.csv",
            "People": 12760,
            "Share answered": 0.8125,
            "Weights": None,
        },
        summary=(
            Claim(
                "summary.quality",
                "Calibrated twins correlate with people at .42 (95% interval .37 to .47).",
                {"estimate": 0.4212345678901234, "lower": 0.37, "upper": 0.47},
                0.95,
                "twins are related to people",
                "syndigits_jax.evaluation.twin_gain(truth, twins, control)",
            ),
            Claim(
                "summary.left",
                "18 of 40 questions may be left to the twins: their expected correlation is at "
                "least .40 (lower end of the interval).",
                {"count": 18, "of": 40},
                0.95,
            ),
            Claim("summary.worth", "Whether twins are worth any person asked cannot be told."),
        ),
        sections=(
            _quality(methods),
            _questions(called, expected, low, high, seen),
            _groups(rng),
            Section("limits", "What cannot be concluded", notes=("Nothing about <other> people.",)),
        ),
        notes=("One question of 41 was dropped: “a | b” had one answer only.",),
    )


def _quality(methods: dict[str, tuple[float, float, float]]) -> Section:
    rows = tuple(
        {"method": name, "estimate": e, "lower": lo, "upper": up, "p": math.nan, "seconds": 3}
        for name, (e, lo, up) in methods.items()
    )
    columns = (
        Column("method", "Predictor", "text"),
        Column("estimate", "Correlation", low="lower", high="upper"),
        Column("p", "Nothing to say", digits=3),
    )
    return Section(
        "quality",
        "How good the twins are",
        claims=(
            Claim(
                "quality.gain",
                "They correlate better than the learned control, by .09 (95% interval .02 to .16).",
                {"estimate": 0.0912, "lower": 0.02, "upper": 0.16, "p": math.nan},
                0.95,
                "twins add",
                "syndigits_jax.evaluation.twin_gain(truth, twins, control)",
            ),
            Claim(
                "quality.raw", "Whether raw twins add anything cannot be told from these tables."
            ),
        ),
        tables=(
            Table(
                "methods",
                "Predictors beside controls",
                columns,
                rows,
                note="Mean over questions of the correlation over people. Brackets: 95% interval.",
                source="syndigits_jax.evaluation.evaluate(predictions, truth)",
            ),
            Table("nothing", "A table without rows", columns, ()),
        ),
        figures=(
            Figure(
                "methods",
                "Correlation of each predictor",
                lambda ax: plot_dot_intervals(
                    methods,
                    xlabel="Correlation with people's answers",
                    controls=("learned control, no twins", "person's mean, no twins"),
                    reference=0.62,
                    reference_label="ceiling: people's own second answers",
                    ax=ax,
                ),
                "Dots: means over questions. Bars: 95% intervals. Open dots: without twins.",
                'Calibrated twins correlate best, at .42; "controls" <lie> lower.',
                size=(6.4, 2.2),
            ),
            Figure(
                "worth",
                "Error against people asked",
                lambda ax: plot_error_by_people(
                    [5, 10, 20, 50, 100, 200],
                    {"people alone": (0.5 / np.sqrt([5, 10, 20, 50, 100, 200]), None, None)},
                    ylabel="Error of the mean, share of the range",
                    levels={"calibrated twins": 0.1},
                    worth=25,
                    worth_ends=(14, 52),
                    worth_label="worth 25 people (14 to 52)",
                    ax=ax,
                ),
                "Line: error of a mean. Dashed: twins. Band: 95% interval of the worth.",
                "The error of people alone falls below that of twins at 25 people.",
                data={"people": np.array([5, 10]), "error": (0.22, math.inf)},
            ),
        ),
        notes=("No retest was given: the ceiling is that of the scale.",),
    )


def _questions(
    called: list[str], expected: np.ndarray, low: np.ndarray, high: np.ndarray, seen: np.ndarray
) -> Section:
    rows = tuple(
        {
            "question": name,
            "expected": float(expected[i]),
            "lower": float(low[i]),
            "upper": float(high[i]),
            "seen": float(seen[i]) if i % 7 else math.nan,
            "share": float(abs(np.sin(i))),
            "people": 100 * i,
            "left": "may be left" if low[i] > 0.3 else "ask people",
            "only_in_files": float(i) / 3,
        }
        for i, name in enumerate(called)
    )
    columns = (
        Column("question", "Question", "text"),
        Column("expected", "Expected correlation", low="lower", high="upper"),
        Column("seen", "Observed", digits=3),
        Column("share", "Share of range", "share"),
        Column("people", "People", "count"),
        Column("left", "Advice", "text"),
    )
    return Section(
        "left_to_twins",
        "Which questions may be left to twins",
        claims=(Claim("left.some", f"The best question is “{called[int(expected.argmax())]}”."),),
        tables=(
            Table(
                "questions", "All questions", columns, rows,
                note="Expected: learnt from the other questions. Advice: by the lower end.",
                source="syndigits_jax.estimation.hold_out_questions(panel, key=0)",
            ),
        ),
        figures=(
            Figure(
                "questions",
                "Expected and observed correlation",
                lambda ax: plot_questions(
                    called[:24], expected[:24], low[:24], high[:24], observed=seen[:24],
                    xlabel="Correlation", ax=ax,
                ),
                "Dots with bars: expected, 95% intervals. Diamonds: observed.",
                "Expected and observed correlations agree within the intervals.",
                size=(6.4, 5.4),
            ),
            Figure(
                "levels",
                "Means of people and twins",
                lambda ax: plot_agreement(
                    3 + expected,
                    {"raw twins": 3.4 + 0.4 * expected, "calibrated twins": 3 + seen},
                    xlabel="Mean of people (points)",
                    ylabel="Mean of twins (points)",
                    names=called,
                    ax=ax,
                ),
                "A point per question; on the dashed line both means are equal.",
                "Calibrated means lie near the line, raw means are drawn to the middle.",
                size=(5.0, 5.0),
            ),
        ),
    )  # fmt: skip


def _groups(rng: np.random.Generator) -> Section:
    groups = ["women", "men", "18–29, living in a large city & looking for <work>", "قليل", "65+"]
    raw = rng.uniform(0.1, 0.3, 5)
    calibrated = raw + 0.15
    rows = tuple(
        {
            "group": name,
            "people": 50 + 100 * i,
            "raw": float(raw[i]),
            "calibrated": float(calibrated[i]),
        }
        for i, name in enumerate(groups)
    )
    columns = (
        Column("group", "Group", "text"),
        Column("people", "People", "count"),
        Column("raw", "Raw twins"),
        Column("calibrated", "Calibrated twins"),
    )
    return Section(
        "groups",
        "For whom",
        claims=(Claim("groups.none", "No group is clearly worse than everyone together."),),
        tables=(Table("groups", "Groups", columns, rows, source="syndigits_jax.evaluation"),),
        figures=(
            Figure(
                "groups",
                "Correlation by group",
                lambda ax: plot_group_intervals(
                    groups,
                    {
                        "raw twins": (raw, raw - 0.1, raw + 0.1),
                        "calibrated twins": (calibrated, calibrated - 0.1, calibrated + 0.1),
                    },
                    xlabel="Correlation",
                    overall={"raw twins": 0.2, "calibrated twins": 0.35},
                    counts=[row["people"] for row in rows],
                    ax=ax,
                ),
                "Bars: simultaneous 95% intervals. Vertical lines: everyone together.",
                "All intervals contain the value of everyone together.",
                size=(6.4, 3.4),
            ),
        ),
    )
