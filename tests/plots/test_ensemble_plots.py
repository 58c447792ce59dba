"""Figures of weighted ensembles: what is drawn where, and refusals."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from syndigits_jax import plots

TRUE, FITTED, EQUAL = [0.1, 0.2, 0.7], [0.15, 0.25, 0.6], [0.0, 0.1, 0.9]


@pytest.fixture
def ax():
    return Figure().subplots()


def bars(ax):
    """Heights by legend label, and the middles of the bars."""
    shown = [c for c in ax.containers if c.get_label() and c.get_label()[0] != "_"]
    heights = {c.get_label(): [b.get_height() for b in c] for c in shown}
    middles = {c.get_label(): [b.get_x() + b.get_width() / 2 for b in c] for c in shown}
    return heights, middles


def whiskers(ax):
    (drawn,) = [c for c in ax.collections if hasattr(c, "get_segments")]
    return np.array(drawn.get_segments())


def test_answer_distribution_draws_three_groups_side_by_side(ax):
    drawn = plots.plot_answer_distribution(
        FITTED, true=TRUE, baseline=EQUAL, options=["no", "perhaps", "yes"], ax=ax, title="Q7"
    )
    assert drawn is ax
    heights, middles = bars(ax)
    assert heights == {"Humans": TRUE, "Calibrated": FITTED, "Equal weights": EQUAL}
    np.testing.assert_allclose(middles["Calibrated"], [0, 1, 2], atol=1e-9)
    assert np.all(np.less(middles["Humans"], middles["Calibrated"]))
    assert np.all(np.less(middles["Calibrated"], middles["Equal weights"]))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["no", "perhaps", "yes"]
    assert ax.get_title(loc="left") == "Q7"
    looks = {(c[0].get_facecolor(), c[0].get_hatch()) for c in ax.containers}
    assert len(looks) == 3


def test_intervals_stand_on_the_calibrated_bars(ax):
    lower, upper = [0.1, 0.2, 0.5], [0.2, 0.3, 0.75]
    plots.plot_answer_distribution(FITTED, true=TRUE, interval=(lower, upper), ax=ax)
    segments = whiskers(ax)
    np.testing.assert_allclose(segments[:, 0, 1], lower)
    np.testing.assert_allclose(segments[:, 1, 1], upper)
    _, middles = bars(ax)
    np.testing.assert_allclose(segments[:, 0, 0], middles["Calibrated"])


def test_a_question_without_human_answers_can_be_drawn(ax):
    plots.plot_answer_distribution(FITTED, ax=ax)
    heights, middles = bars(ax)
    assert heights == {"Calibrated": FITTED}
    np.testing.assert_allclose(middles["Calibrated"], [0, 1, 2])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "3"]


def test_variance_ratios_share_their_bins_and_leave_nan_out(ax):
    calibrated, baseline = [0.9, 1.1, 1.3, np.nan], [0.1, 0.2, 0.3, 0.1]
    assert plots.plot_variance_ratios(calibrated, baseline, bins=13, ax=ax) is ax
    filled = [bar.get_height() for bar in ax.containers[0]]
    assert sum(filled) == 3 and len(filled) == 13
    assert filled[9] == filled[11] == filled[12] == 1
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels == {"Calibrated (median 1.10)", "Equal weights (median 0.15)", "As people vary"}
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [1]
    assert ax.get_xlim() == pytest.approx((0, 1.3))


def test_the_right_ratio_is_in_the_picture_when_all_are_too_small(ax):
    plots.plot_variance_ratios([0.3], [0.1], ax=ax)
    assert ax.get_xlim()[1] == 1


def test_gap_curves_hold_their_numbers_on_a_logarithmic_axis(ax):
    curves = {"KL": ([1, 2, 3], [1.0, 0.1, 0.0]), "TV": ([1, 5], [1.0, 0.01])}
    assert plots.plot_gap(curves, level=1e-3, xlabel="Steps", ax=ax) is ax
    kl, tv, level = ax.get_lines()
    np.testing.assert_array_equal(kl.get_ydata(), [1.0, 0.1, np.nan])
    np.testing.assert_array_equal(tv.get_xdata(), [1, 5])
    assert level.get_ydata()[0] == 1e-3
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "Steps")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "KL",
        "TV",
        "gap of 0.001",
    ]
    assert kl.get_marker() != tv.get_marker() and kl.get_linestyle() != tv.get_linestyle()
    plots.plot_gap(curves, xscale="linear", ax=ax)
    assert ax.get_xscale() == "linear"


def test_new_figures_belong_to_no_window_system():
    for drawn in (
        plots.plot_answer_distribution(FITTED),
        plots.plot_variance_ratios([1.0], [1.0]),
        plots.plot_gap({"KL": ([1], [0.5])}),
    ):
        assert type(drawn.figure) is Figure


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_answer_distribution([]), "calibrated: expected some shares"),
        (lambda: plots.plot_answer_distribution([FITTED]), "calibrated: expected 3 shares"),
        (lambda: plots.plot_answer_distribution(FITTED, true=TRUE[:2]), "true: expected 3"),
        (lambda: plots.plot_answer_distribution(FITTED, baseline=[1.0]), "baseline: expected"),
        (lambda: plots.plot_answer_distribution(FITTED, options=["a"]), "options: 1 labels for 3"),
        (
            lambda: plots.plot_answer_distribution(FITTED, interval=(TRUE, TRUE[:2])),
            "interval: expected two ends",
        ),
        (lambda: plots.plot_variance_ratios([np.nan], [1.0]), "calibrated: expected a ratio"),
        (lambda: plots.plot_variance_ratios([1.0], [[1.0]]), "baseline: expected a ratio"),
        (lambda: plots.plot_gap({}), "curves: expected 1 to 6, got 0"),
        (lambda: plots.plot_gap({"KL": ([1, 2], [1.0])}), "'KL' has gaps"),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
