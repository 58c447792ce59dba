"""Figures for papers: any width and size of text, nothing cut off, text that stays text."""

import inspect
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from syndigits_jax import plots
from syndigits_jax.evaluation import FewShotCurve, reliability
from syndigits_jax.plots.style import SERIES

ENDS = ([0.2, 0.1], [0.4, 0.3])
RATIOS = np.linspace(0.1, 1.9, 30)
GAPS = {
    "zero-shot personas (ssr)": {"Coverage": 0.9, "Fréchet": 0.7},
    "history personas": {"Coverage": np.nan, "Fréchet": 0.4},
}
WITHIN = {name: {"Fréchet": (0.3, 0.8)} for name in GAPS}
SCORES = {
    "mse": {name: np.array([[0.9, 0.5, level]]) for name, level in
            (("Ridge", 0.3), ("HumansOnly", 0.2), ("Baseline", 0.4))}
}  # fmt: skip
CURVE = FewShotCurve("question", np.array([0, 10, 20]), np.array([0]), SCORES, ("Ridge",))
FORECAST = np.stack([RATIOS / 2, 1 - RATIOS / 2], axis=1).astype(np.float32)
LONG = "the person's mean of all their other answers, without any twin"
CURVES = {"Twins": [0.9, 0.6, 0.5], "Shuffled humans": [0.3, 0.2, 0.1]}

# By name: the arguments, and what the legend must say of bars and bands.
FIGURES = {
    "plot_adaptive_curve": (
        {"thresholds": [0.1, 0.5, 1], "scores": [0.4, 0.5, 0.4], "se": [0.1] * 3, "baseline": 0.3,
             "always": 0.4, "chosen": 0.6}, "± standard error"),
    "plot_agreement": (
        {"x": [1.0, 2.0], "series": {"raw twins": [2.0, 3.0], "calibrated twins": [1.1, 2.2]},
         "x_ends": ([0.8, 1.8], [1.2, 2.2]), "interval_label": "95% interval",
         "names": [LONG, "b"], "xlabel": "Mean of people (points)",
         "ylabel": "Mean of twins (points)"}, "95% interval"),
    "plot_alignment": ({"cosines": CURVES, "distances": CURVES}, ""),
    "plot_principal_cosines": ({"cosines": CURVES}, ""),
    "plot_projection_distance": ({"distances": CURVES}, ""),
    "plot_answer_distribution": (
        {"calibrated": [0.3, 0.7], "true": [0.4, 0.6], "baseline": [0.1, 0.9], "interval": ENDS,
             "interval_label": "90% interval", "options": ["Never", "Sometimes"]}, "90% interval"),
    "plot_variance_ratios": ({"calibrated": RATIOS, "baseline": RATIOS / 3}, "As people vary"),
    "plot_gap": ({"curves": {"KL": ([1, 2], [0.1, 1e-6])}, "level": 1e-4}, "gap of 0.0001"),
    "plot_few_shot": ({"curve": CURVE}, ""),
    "plot_fidelity_gap": ({"gaps": GAPS, "intervals": WITHIN}, "interval"),
    "plot_collapse": (
        {"values": {"real": 0.9, "zero-shot personas": 0.5}, "reference": "real",
             "intervals": {"real": (0.8, 1.0)}, "interval_label": "95% interval"}, "95% interval"),
    "plot_local_against_global": (
        {"local": {LONG[:30]: 0.9, "b": 0.8}, "coverage": {LONG[:30]: 0.2, "b": 0.5}}, ""),
    "plot_projection": (
        {"populations": {"real users": np.eye(9)[:, :3], "personas": np.ones((4, 3))}}, ""),
    "plot_histograms": ({"values": {"own seed": RATIOS, "another's seed": RATIOS + 1}}, ""),
    "plot_dot_intervals": (
        {"intervals": {"calibrated twins": (0.5, 0.4, 0.6), LONG: (0.3, 0.2, 0.4)},
             "interval_label": "95% interval over questions", "reference": 0.45,
             "reference_label": "worth using", "xlabel": "Mean correlation with people's answers"},
        "95% interval over questions"),
    "plot_group_intervals": (
        {"names": ["women", "65 and older"], "counts": [100, 50], "xlabel": "Correlation",
             "series": {"raw twins": ([0.3, 0.2], *ENDS), "calibrated twins": ([0.3, 0.2], *ENDS)},
             "overall": {"raw twins": 0.25, "calibrated twins": 0.3}}, "interval"),
    "plot_methods": (
        {"means": {"AlternatingLeastSquares": 0.43, "Baseline": 0.3}, "paper": {"Baseline": 0.31},
             "errors": {"Baseline": 0.02}}, "± standard error"),
    "plot_score_differences": ({"calibrated": [0.4, 0.5], "baseline": [0.3, 0.6]}, "equal"),
    "plot_questions": (
        {"names": [LONG, "b"], "estimate": [0.3, 0.2], "lower": ENDS[0], "upper": ENDS[1],
             "xlabel": "Expected correlation with people's answers", "threshold": 0.25,
             "threshold_label": "may be left to twins"}, "expected, with its interval"),
    "plot_reliability": (
        {"diagrams": reliability(FORECAST, np.arange(30) % 2)}, "Band: 95% interval"),
    "plot_cumulative_variance": ({"shares": {"Humans": [0.5, 0.95]}}, "90% of variance"),
    "plot_error_by_people": (
        {"people": [2, 10, 100], "levels": {"calibrated twins alone": 0.15}, "worth": 20,
             "series": {"people alone": ([0.3, 0.2, 0.1], [0.2, 0.15, 0.05], [0.4, 0.25, 0.15])},
             "worth_ends": (10, 50), "worth_label": "worth 20 people (10 to 50)",
             "ylabel": "Root mean square error of a mean (share of the range)",
             "interval_label": "95% interval"}, "95% interval"),
}  # fmt: skip


def first(drawn) -> Axes:
    return drawn if isinstance(drawn, Axes) else drawn[0]


def test_every_figure_is_here_and_takes_sizes():
    public = {name for name in plots.__all__ if name.startswith("plot_")}
    assert public == set(FIGURES)
    for name in public:
        taken = inspect.signature(getattr(plots, name)).parameters
        assert {"figsize", "fontsize", "title"} <= set(taken), name
        assert {"ax", "axes"} & set(taken), name


@pytest.mark.parametrize("size", [None, (3.3, 8), (6.5, 14)], ids=["default", "column", "slide"])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_or_covered(name, size):
    arguments, said = FIGURES[name]
    options = {} if size is None else {"figsize": (size[0], None), "fontsize": size[1]}
    drawn = getattr(plots, name)(**arguments, **options, title="Questions of a new survey")
    axes = first(drawn)
    figure = axes.figure.figure
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    assert size is None or figure.get_figwidth() == size[0]
    for ax in figure.axes:
        box = ax.get_tightbbox(renderer)
        assert box.x0 > -2 and box.y0 > -2, box
        assert box.x1 < figure.bbox.width + 2 and box.y1 < figure.bbox.height + 2, box
        assert ax.bbox.width > 0.3 * 72 and ax.bbox.height > 0.3 * 72  # a plot is left
        if (legend := ax.get_legend()) is None:
            continue
        keys = legend.get_window_extent(renderer)
        assert keys.y0 > ax.bbox.y1 - 3
        title = ax.title if ax.get_title() else ax._left_title
        if title.get_text():
            assert title.get_window_extent(renderer).y0 > keys.y1 - 2
    if said:
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert any(said in text for text in texts), texts


def test_the_size_of_text():
    small, large = (plots.plot_collapse({"a": 1.0}, title="T", fontsize=size) for size in (6, 12))
    for ax, size in ((small, 6), (large, 12)):
        assert ax.xaxis.label.get_fontsize() == size
        assert ax._left_title.get_fontsize() == size
        ax.figure.draw_without_rendering()  # ticks are made when the settings are gone
        assert ax.get_xticklabels()[0].get_fontsize() == pytest.approx(0.833 * size)
    mine = Figure(figsize=(4, 3)).subplots()
    plots.plot_gap({"a": ([1, 2], [0.1, 0.2])}, ax=mine, fontsize=7)
    assert mine.xaxis.label.get_fontsize() == 7
    assert mine.get_legend().get_texts()[0].get_fontsize() == pytest.approx(0.833 * 7)


def test_the_size_of_a_figure():
    wide = plots.plot_gap({"a": ([1, 2], [0.1, 0.2])}, figsize=(3, 2)).figure
    assert wide.get_size_inches().tolist() == [3, 2]
    rows = {str(i): (float(i),) for i in range(20)}
    found = plots.plot_dot_intervals(rows, xlabel="x", figsize=(3, None), fontsize=8).figure
    assert found.get_figwidth() == 3 and found.get_figheight() > 4
    left, right = plots.plot_alignment(CURVES, CURVES, figsize=(3.3, None))
    assert left.get_position().y0 > right.get_position().y1


def test_bad_sizes():
    ax = Figure().subplots()
    with pytest.raises(ValueError, match="`figsize` is of a new figure"):
        plots.plot_collapse({"a": 1.0}, ax=ax, figsize=(3, 2))
    for bad in ((0, 2), (3, -1), (np.nan, 2), (np.inf, 2)):
        with pytest.raises(ValueError, match="`figsize` must be a width and a height"):
            plots.plot_collapse({"a": 1.0}, figsize=bad)
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="`fontsize` must be a positive number"):
            plots.plot_collapse({"a": 1.0}, fontsize=bad)


def test_vectors_hold_text_and_equal_bytes(tmp_path):
    def drawn():
        return plots.plot_collapse({"Fréchet of $x$": 1.0}, xlabel="Coverage", title="A title")

    for name in ("one.svg", "one.pdf", "one.png"):
        assert plots.save_figure(drawn(), tmp_path / name) == tmp_path / name
        before = (tmp_path / name).read_bytes()
        plots.save_figure(drawn(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    texts = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A title", "Fréchet of $x$", "Coverage"} <= {text.strip() for text in texts}
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # TrueType, not outlines
    pair = plots.plot_alignment(CURVES, CURVES)
    assert plots.save_figure(pair, tmp_path / "two.pdf").stat().st_size
    with pytest.raises(ValueError, match=re.escape("figures are written as .png, .svg, .pdf")):
        plots.save_figure(drawn(), tmp_path / "one.jpg")


# Machado, Oliveira and Fernandes (2009), severity 1: how linear RGB is seen.
SEEN = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.mark.parametrize("vision", SEEN)
def test_series_are_told_apart_without_full_colour_vision(vision):
    def seen(color: str) -> np.ndarray:
        rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        linear = np.clip(np.array(SEEN[vision]) @ linear, 0, 1)
        # OKLab (Ottosson 2020), in which distances are about as large as they look.
        lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                        [0.2119034982, 0.6806995451, 0.1073969566],
                        [0.0883024619, 0.2817188376, 0.6299787005]]) @ linear  # fmt: skip
        return np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                         [1.9779984951, -2.4285922050, 0.4505937099],
                         [0.0259040371, 0.7827717662, -0.8086757660]]) @ np.cbrt(lms)  # fmt: skip

    for i, one in enumerate(SERIES):
        for other in SERIES[:i]:
            apart = np.linalg.norm(seen(one["color"]) - seen(other["color"]))
            # Where colours are close, marker and dash still differ.
            alike = one["marker"] == other["marker"] or one["linestyle"] == other["linestyle"]
            assert apart > (0.1 if alike else 0.02), (one, other, apart)
