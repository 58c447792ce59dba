"""Plots of reports: what is drawn where, labels that fit, and what is refused."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from syndigits_jax import plots
from syndigits_jax.plots._rows import shortened
from syndigits_jax.plots.style import BLUE, GREY, legend_above

FOUND = {
    "calibrated twins": (0.42, 0.37, 0.47),
    "raw twins": [0.31, 0.25, 0.37],
    "a person's mean, in $ and $x_1$": np.array([0.2, 0.14, 0.26]),
    "ceiling": (0.62,),
    "nothing": (np.nan, np.nan, np.nan),
}


@pytest.fixture
def ax():
    return Figure(figsize=(6, 4), layout="constrained").subplots()


def drawn_intervals(ax):
    """{row: (lower, upper)} of all horizontal bars."""
    found = {}
    for lines in ax.collections:
        for (x0, y0), (x1, y1) in (
            path.vertices for path in lines.get_paths() if len(path.vertices) == 2
        ):
            if y0 == y1 and np.isfinite(x0):
                found[round(float(y0), 3)] = (float(x0), float(x1))
    return found


def points(ax, marker=None):
    """{row: estimate} of all dots, or those of one marker."""
    lines = [line for line in ax.get_lines() if line.get_marker() not in ("", "None", None)]
    return {
        round(float(y), 3): float(x)
        for line in lines
        if marker in (None, line.get_marker())
        for x, y in zip(line.get_xdata(), line.get_ydata())
    }


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_dots_and_intervals_in_the_order_given(ax):
    controls = ["a person's mean, in $ and $x_1$"]
    drawn = plots.plot_dot_intervals(
        FOUND, xlabel="Correlation", controls=controls, reference=0.5, reference_label="half", ax=ax
    )
    assert drawn is ax
    assert [label.replace("\n", " ") for label in labels(ax)] == list(FOUND)[:4]
    assert points(ax) == {0: 0.42, 1: 0.31, 2: 0.2, 3: 0.62}
    assert drawn_intervals(ax) == {0: (0.37, 0.47), 1: (0.25, 0.37), 2: (0.14, 0.26)}
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == ["0.42", "0.31", "0.20", "0.62"]
    assert legend(ax) == ["interval", "half"]
    colours = {line.get_ydata()[0]: to_hex(line.get_color()) for line in ax.get_lines()[:2]}
    assert colours == {0.0: BLUE.lower(), 2.0: GREY.lower()}
    ax.figure.draw_without_rendering()  # dollars are not mathematics


def test_a_new_figure_fits_its_rows():
    few, many = (
        plots.plot_dot_intervals({f"{i}": (i,) for i in range(n)}, xlabel="x").figure
        for n in (2, 12)
    )
    assert many.get_figheight() > few.get_figheight() + 2


def test_groups_stand_side_by_side(ax):
    raw, calibrated = ([0.2, np.nan], [0.1, np.nan], [0.3, np.nan]), ([0.4, 0.5], None, None)
    plots.plot_group_intervals(
        ["women", "men"], {"raw": raw, "calibrated": calibrated}, xlabel="Correlation",
        overall={"calibrated": 0.45}, overall_label="all people", counts=[12000, 7], ax=ax,
    )  # fmt: skip
    assert labels(ax) == ["women  (12,000)", "men  (7)"]
    raw_at, calibrated_at = points(ax, "^"), points(ax, "o")
    assert [*raw_at.values()][:1] == [0.2]
    assert [*calibrated_at.values()] == [0.4, 0.5]
    assert min(raw_at) < 0 < min(calibrated_at)
    assert drawn_intervals(ax) == {min(raw_at): (0.1, 0.3)}
    assert legend(ax) == ["raw", "calibrated", "calibrated, all people", "interval"]
    assert 0.45 in [line.get_xdata()[0] for line in ax.get_lines()]


def test_one_value_of_everyone(ax):
    plots.plot_group_intervals(["a"], {"raw": ([1.0],)}, xlabel="x", overall=2, ax=ax)
    assert legend(ax) == ["raw", "everyone"]


def test_questions_are_sorted(ax):
    plots.plot_questions(
        ["low", "none", "high"], [0.1, np.nan, 0.5], [0.0, np.nan, 0.4], [0.2, np.nan, 0.6],
        observed=[0.15, 0.3, np.nan], xlabel="Correlation", threshold=0.3, threshold_label="good",
        ax=ax,
    )  # fmt: skip
    assert labels(ax) == ["high", "low"]
    assert points(ax, "o") == {0: 0.5, 1: 0.1}
    assert points(ax, "D")[1] == 0.15 and np.isnan(points(ax, "D")[0])
    assert drawn_intervals(ax) == {0: (0.4, 0.6), 1: (0.0, 0.2)}
    assert legend(ax) == ["expected, with its interval", "observed", "good"]


def test_too_many_questions_to_name(ax):
    estimate = np.linspace(0, 1, 80)
    plots.plot_questions([f"q{i}" for i in range(80)], estimate, xlabel="Correlation", ax=ax)
    assert labels(ax) == []
    assert ax.get_ylabel() == "80 questions, sorted"
    assert points(ax)[0] == 1.0


def test_agreement_has_one_scale_and_names_what_is_farthest(ax):
    x = [1.0, 2.0, 3.0, np.nan]
    plots.plot_agreement(
        x, {"raw": [2.0, 2.0, 2.0, 9.0], "calibrated": [1.1, 2.0, 4.5, 1.0]},
        xlabel="People", ylabel="Twins", x_ends=([0.5, 1.5, 2.5, np.nan], [1.5, 2.5, 3.5, np.nan]),
        y_ends={"calibrated": ([1, 1, 4, 0], [2, 3, 5, 1])}, names=["a", "b", "c", "d"], named=1,
        zero=True, ax=ax,
    )  # fmt: skip
    assert ax.get_xlim() == ax.get_ylim()
    low, high = ax.get_xlim()
    assert low < 0.5 and 5 < high < 9  # the question without a value of people widens nothing
    assert [text.get_text() for text in ax.texts] == ["c"]
    assert legend(ax) == ["raw", "calibrated", "equal", "interval"]
    assert drawn_intervals(ax)[4.5] == (2.5, 3.5)


def test_error_by_people(ax):
    people, error = [2, 5, 10, 100], np.array([0.4, 0.3, 0.2, 0.1])
    plots.plot_error_by_people(
        people, {"people alone": (error, error - 0.05, error + 0.05)}, ylabel="Error of a mean",
        levels={"twins": 0.25}, worth=7, worth_ends=(1, 500), worth_label="worth 7", ax=ax,
    )  # fmt: skip
    assert ax.get_xscale() == "log"
    assert legend(ax) == ["people alone", "twins", "worth 7", "interval"]
    assert ax.get_ylim()[0] == 0.0
    span = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (span.x0, span.x1) == pytest.approx((2, 100))  # its ends are those of the axis
    plots.plot_error_by_people([1, 2], {"a": ([2, 1], None, None)}, ylabel="E", worth=9, ax=ax)
    assert legend(ax) == ["a"]


def test_names_are_cut_in_their_middle():
    assert shortened("short", 10) == "short"
    assert shortened("two\nlines  of\ttext", 40) == "two lines of text"
    cut = shortened("How satisfied are you with the price?", 20)
    assert cut == "How satisfied…price?"
    assert len(cut) <= 20


def test_long_names_leave_room_for_the_plot():
    for width in (3.4, 6.4):
        axes = Figure(figsize=(width, 4), layout="constrained").subplots()
        names = {f"{i} " + "a long name of a question " * 12: (i, i - 1, i + 1) for i in range(6)}
        plots.plot_dot_intervals(names, xlabel="What it is, in a long sentence " * 4, ax=axes)
        axes.figure.draw_without_rendering()
        assert axes.get_position().width > 0.35
        box = axes.get_tightbbox().transformed(axes.figure.transFigure.inverted())
        assert box.x0 > -0.01 and box.x1 < 1.01 and box.y0 > -0.01


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_dot_intervals({}, xlabel="x"), "nothing to draw"),
        (lambda: plots.plot_dot_intervals({"a": (1.0, 2.0)}, xlabel="x"), "expected .estimate"),
        (lambda: plots.plot_dot_intervals({"a": (1, 2, 0)}, xlabel="x"), "above its upper end"),
        (lambda: plots.plot_group_intervals([], {"a": ([],)}, xlabel="x"), "expected names"),
        (lambda: plots.plot_group_intervals(["g"], {"a": ([1, 2],)}, xlabel="x"), "expected 1 "),
        (lambda: plots.plot_questions(["a"], [np.nan], xlabel="x"), "nothing to draw"),
        (lambda: plots.plot_questions(["a"], [1, 2], xlabel="x"), "estimate: expected 1"),
        (lambda: plots.plot_agreement([1], {}, xlabel="x", ylabel="y"), "1 to 6 series"),
        (lambda: plots.plot_agreement([np.nan], {"a": [1]}, xlabel="x", ylabel="y"), "nothing"),
        (lambda: plots.plot_error_by_people([], {"a": ([],)}, ylabel="y"), "numbers of people"),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_a_narrow_figure_has_fewer_ticks_and_columns():
    people = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    ticks, columns = [], []
    for width in (3.4, 6.4):
        axes = Figure(figsize=(width, 3.6), layout="constrained").subplots()
        curves = {"people alone": (np.ones(10),), "people with calibrated twins": (np.ones(10),)}
        plots.plot_error_by_people(people, curves, ylabel="Error", ax=axes)
        axes.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(right.x0 > left.x1 for left, right in itertools.pairwise(boxes))
        ticks.append(len(boxes))
        legend_above(axes, ncols=3)
        columns.append(axes.get_legend()._ncols)
    assert ticks[0] < ticks[1] == len(people)
    assert columns == [1, 3] or columns == [1, 2]
