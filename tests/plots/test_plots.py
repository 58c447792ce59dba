"""Figures: what is drawn where, refusals, and that no window system is touched."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from syndigits_jax import plots
from syndigits_jax.evaluation import FewShotCurve

matplotlib.use("Agg")

COSINES = {"Twins": [0.99, 0.9, 0.5], "Random": [0.3, 0.2, 0.1], "Shuffled": [0.2, 0.2, 0.1]}


@pytest.fixture
def ax():
    return Figure().subplots()


def lines_by_label(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.get_lines()}


def test_no_window_system_is_imported():
    code = (
        "import sys, syndigits_jax.plots as p; ax = p.plot_methods({'Ridge': 0.5}); "
        "ax.figure.savefig(sys.argv[1]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code, "/dev/null"], capture_output=True)
    # /dev/null has no suffix: matplotlib then writes PNG.
    assert result.returncode == 0, result.stderr.decode()


def test_alignment_curves_hold_the_numbers_given(ax):
    assert plots.plot_principal_cosines(COSINES, ax=ax, title="Rows") is ax
    drawn = lines_by_label(ax)
    for name, values in COSINES.items():
        np.testing.assert_allclose(drawn[name], values)
    assert ax.get_title(loc="left") == "Rows"
    assert ax.get_ylabel() == "Cosine"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(COSINES)


def test_series_differ_in_more_than_colour(ax):
    plots.plot_projection_distance(COSINES, ax=ax)
    lines = ax.get_lines()
    assert len({line.get_marker() for line in lines}) == len(lines)
    assert len({line.get_linestyle() for line in lines}) == len(lines)
    assert len({line.get_color() for line in lines}) == len(lines)


def test_alignment_pair_draws_on_given_axes_or_a_new_figure():
    left, right = plots.plot_alignment(COSINES, COSINES)
    assert left.figure is right.figure
    mine = list(Figure().subplots(1, 2))
    assert plots.plot_alignment(COSINES, COSINES, axes=mine) == mine
    with pytest.raises(ValueError, match="2 panels, got 1"):
        plots.plot_alignment(COSINES, COSINES, axes=mine[:1])


def test_adaptive_curve_marks_its_best_point_and_both_references(ax):
    tau = np.linspace(0.0, 1.0, 11)
    scores = 0.2 - (tau - 0.3) ** 2
    chosen = plots.plot_adaptive_curve(
        tau, scores, baseline=0.1, always=0.15, se=np.full(11, 0.01), chosen=0.4, ax=ax
    )
    assert chosen is ax
    drawn = lines_by_label(ax)
    np.testing.assert_allclose(drawn["Adaptive"], scores)
    np.testing.assert_allclose(drawn["Always calibrate"], 0.15)
    np.testing.assert_allclose(drawn["Never calibrate"], 0.1)
    notes = [text.get_text() for text in ax.texts]
    assert "0.200 at τ = 0.30" in notes


def test_adaptive_curve_survives_missing_scores(ax):
    plots.plot_adaptive_curve([0.0, 0.1, 0.2], [np.nan, 0.3, 0.1], baseline=0.1, always=0.2, ax=ax)
    assert "0.300 at τ = 0.10" in [text.get_text() for text in ax.texts]


def few_shot(direction="question", metric="mse", **values):
    """A curve of two methods and three controls; `values` replaces what one of them scores."""
    values = {
        "Ridge": [0.5, 0.4, 0.3],
        "SoftImpute": [0.6, 0.4, 0.2],
        "Baseline": [0.9, 0.9, 0.9],
        "KnownMean": [np.nan, 1.0, 0.8],
        "HumansOnly": [np.nan, 0.7, 0.3],
    } | values
    scores = {metric: {name: np.array([row]) for name, row in values.items()}}
    ks, targets = np.array([0, 10, 20]), np.array([0])
    return FewShotCurve(direction, ks, targets, scores, ("Ridge", "SoftImpute"))


def crosses(ax):
    return [line.get_xydata()[0].tolist() for line in ax.get_lines() if line.get_marker() == "X"]


def test_few_shot_marks_where_people_reach_the_twins(ax):
    assert plots.plot_few_shot(few_shot(), ax=ax, title="Films") is ax
    drawn = lines_by_label(ax)
    np.testing.assert_allclose(drawn["Ridge"], [0.5, 0.4, 0.3])
    np.testing.assert_allclose(drawn["Humans only"], [np.nan, 0.7, 0.3])
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[:3] == ["Ridge", "Soft impute", "Humans only"]
    assert set(legend[3:]) == {"Twins, uncalibrated", "Mean of the known"}
    np.testing.assert_allclose(crosses(ax), [[15.0, 0.5]])
    assert [text.get_text() for text in ax.texts] == ["worth 15 respondents"]
    assert ax.get_ylabel() == "Mean squared error"
    assert ax.get_xlabel() == "Known human answers (users per question)"


def test_few_shot_marks_the_method_asked_for(ax):
    curve = few_shot("user", "pearson", HumansOnly=[0.1, 0.5, 0.7])
    plots.plot_few_shot(curve, metric="pearson", worth="SoftImpute", methods=["Ridge"], ax=ax)
    np.testing.assert_allclose(crosses(ax), [[15.0, 0.6]])
    assert [text.get_text() for text in ax.texts] == ["worth 15 questions asked"]
    assert "Soft impute" not in lines_by_label(ax)


def test_few_shot_says_when_people_never_reach_the_twins(ax):
    plots.plot_few_shot(few_shot(HumansOnly=[np.nan, 0.9, 0.8]), ax=ax)
    assert crosses(ax) == []
    assert [text.get_text() for text in ax.texts] == ["worth more than 20 respondents"]


def test_cumulative_variance_counts_the_components_needed(ax):
    shares = {"Humans": [0.5, 0.85, 0.9, 1.0], "Twins": [0.95, 1.0, 1.0, 1.0]}
    plots.plot_cumulative_variance(shares, ax=ax)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["Humans (3 for 90%)", "Twins (1 for 90%)", "90% of variance"]
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), shares["Humans"])


def test_methods_are_sorted_and_controls_look_different(ax):
    means = {"Ridge": 0.5, "Baseline": 0.35, "ElasticNet": 0.52, "ItemMean": np.nan}
    plots.plot_methods(means, {"Ridge": 0.01}, paper={"Ridge": 0.511}, ax=ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "Twins, uncalibrated",
        "Ridge",
        "Elastic net",
    ]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [0.35, 0.5, 0.52])
    assert ax.patches[0].get_hatch() and not ax.patches[1].get_hatch()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Calibrated",
        "Control",
        "Paper",
        "± standard error",
    ]


def test_no_legend_for_a_paper_that_prints_nothing(ax):
    plots.plot_methods({"Ridge": 0.5}, paper={"Ridge": np.nan}, ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Calibrated"]


def test_score_differences_count_the_improved(ax):
    plots.plot_score_differences([0.2, 0.1, np.nan, 0.5], [0.1, 0.2, 0.3, 0.4], ax=ax)
    assert ax.texts[0].get_text() == "2 of 3 improve"
    assert ax.collections[0].get_offsets().shape == (3, 2)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_principal_cosines({}), "cosines: nothing to draw"),
        (lambda: plots.plot_projection_distance({"a": [[1.0]]}), r"'a' has shape \(1, 1\)"),
        (lambda: plots.plot_cumulative_variance({}), "shares: nothing to draw"),
        (lambda: plots.plot_cumulative_variance({"a": []}), "'a' has shape"),
        (lambda: plots.plot_methods({"Ridge": np.nan}), "means: nothing to draw"),
        (lambda: plots.plot_few_shot(few_shot(), metric="r2"), "'r2' was not computed"),
        (
            lambda: plots.plot_few_shot(few_shot(), methods=["Lasso"]),
            "no predictions called 'Lasso'",
        ),
        (lambda: plots.plot_few_shot(few_shot(), methods=[]), "methods: choose 1 to 5"),
        (lambda: plots.plot_score_differences([1.0], [1.0, 2.0]), "does not match baseline"),
        (
            lambda: plots.plot_adaptive_curve([0, 1], [0.1], baseline=0.0, always=0.0),
            "expected one per threshold",
        ),
        (
            lambda: plots.plot_adaptive_curve([0, 1], [0.1, 0.2], baseline=0.0, always=0.0, se=[1]),
            "se: expected shape",
        ),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
