"""The reliability diagram: what is drawn, what its legend says, and refusals."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from syndigits_jax.evaluation import reliability
from syndigits_jax.plots import plot_reliability

P = np.array([[0.9, 0.1]] * 10 + [[0.3, 0.7]] * 5)
Y = np.array([0.0] * 8 + [1.0] * 2 + [1.0] * 3 + [0.0] * 2)


def test_lines_bands_and_bars_hold_the_diagrams_numbers():
    diagram = reliability(P, Y, events=0, bins=5)
    ax = Figure().subplots()
    assert plot_reliability(diagram, ax=ax, title="Question 1") is ax
    x, y = ax.get_lines()[1].get_data()
    np.testing.assert_allclose(x, [0.3, 0.9], rtol=1e-5)
    np.testing.assert_allclose(y, [0.4, 0.8], rtol=1e-5)
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, [0, 1 / 3, 0, 0, 2 / 3], rtol=1e-5)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    half = 1.96 * np.sqrt(0.4 * 0.6 / 5)
    np.testing.assert_allclose(band.min(), max(0.4 - half, 0), atol=1e-5)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    error = 0.1 * 2 / 3 + 0.1 / 3
    assert texts[0] == f"Forecasts (error {error:.3f})"
    assert any("Band: 95% interval" in text for text in texts)
    assert any("Bar: share of forecasts" in text for text in texts)
    assert ax.get_title(loc="left") == "Question 1"


def test_several_diagrams_differ_in_more_than_colour():
    diagrams = {name: reliability(P, Y, bins=5) for name in ("Auto", "Baseline")}
    ax = plot_reliability(diagrams)
    lines = ax.get_lines()[1:]
    assert len({line.get_marker() for line in lines}) == 2
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[1].startswith("Twins, uncalibrated (error")
    ax.figure.savefig("/dev/null", format="png")


def test_nothing_to_draw_is_refused():
    diagram = reliability(P, Y)
    with pytest.raises(ValueError, match="expected 1 to 6, got 0"):
        plot_reliability({})
    with pytest.raises(ValueError, match="expected 1 to 6, got 7"):
        plot_reliability({str(i): diagram for i in range(7)})
    with pytest.raises(ValueError, match="Auto has no event"):
        plot_reliability({"Auto": reliability(P, np.full(15, np.nan))})
