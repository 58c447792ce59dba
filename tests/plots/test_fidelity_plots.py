"""Figures of persona fidelity: what is drawn where, and refusals."""

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from syndigits_jax import plots

RNG = np.random.default_rng(0)


@pytest.fixture
def ax():
    return Figure().subplots()


def whiskers(ax):
    return np.concatenate(
        [c.get_segments() for c in ax.collections if hasattr(c, "get_segments")]
    )  # (bars, 2 ends, 2)


def test_gap_bars_skip_what_is_unstable(ax):
    gaps = {"personas": {"Fréchet": 0.4, "Coverage": np.nan}, "dirichlet": {"Fréchet": -0.1}}
    ends = {"personas": {"Fréchet": (0.3, 0.6)}}
    drawn = plots.plot_fidelity_gap(gaps, ends, ax=ax, title="T")
    assert drawn is ax and ax.get_title(loc="left") == "T"
    bars = {c.get_label(): [b.get_height() for b in c] for c in ax.containers if len(c) and
            hasattr(c[0], "get_height")}  # fmt: skip
    assert bars["Fréchet"] == [0.4, -0.1] and "Coverage" not in bars
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert sorted(len(line.get_xdata()) for line in crosses) == [0, 2]
    np.testing.assert_allclose(whiskers(ax)[0, :, 1], [0.3, 0.6])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["personas", "dirichlet"]
    levels = {line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"}
    assert levels == {0, 1}


def test_collapse_marks_the_reference(ax):
    plots.plot_collapse(
        {"real": 0.2, "personas": 0.9}, {"personas": (0.8, 0.95)}, reference="real", ax=ax
    )
    assert [b.get_width() for c in ax.containers[:1] for b in c] == [0.2]
    assert ax.lines[-1].get_xdata()[0] == 0.2
    np.testing.assert_allclose(whiskers(ax)[0, :, 0], [0.8, 0.95])
    tops = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert tops["real"] > tops["personas"]


def test_local_against_global(ax):
    names = [f"population {i}" for i in range(8)]
    local = {name: i / 8 for i, name in enumerate(names)}
    plots.plot_local_against_global(local, {n: 1 - v for n, v in local.items()}, ax=ax)
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines}
    assert points == {name: (v, 1 - v) for name, v in local.items()}
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in ax.lines}
    assert len(looks) == len(names)


def test_projection_is_on_the_principal_axes_of_the_first(ax):
    real = RNG.normal(size=(400, 5)) * np.array([9.0, 4.0, 0.1, 0.1, 0.1])
    plots.plot_projection({"real": real, "other": real[:50] + 1}, ax=ax)
    shown = {line.get_label(): np.array(line.get_data()).T for line in ax.lines}
    assert shown["real"].shape == (400, 2) and shown["other"].shape == (50, 2)
    judge = PCA(2).fit(real)
    for name, points in (("real", real), ("other", real[:50] + 1)):
        expected = judge.transform(points)
        np.testing.assert_allclose(np.abs(shown[name]), np.abs(expected), atol=1e-9)
    assert ax.get_xlabel() == f"Principal axis 1 ({judge.explained_variance_ratio_[0]:.0%})"
    alone = plots.plot_projection({"one axis": np.arange(4.0)[:, None]})
    assert np.ptp(alone.lines[0].get_ydata()) == 0


def test_large_populations_are_sampled(ax):
    many = {"real": RNG.normal(size=(4000, 2))}
    plots.plot_projection(many, ax=ax)
    drawn = ax.lines[0].get_xdata()
    assert len(drawn) == 3000
    other = plots.plot_projection(many, key=jax.random.key(1)).lines[0].get_xdata()
    again = plots.plot_projection(many, key=jax.random.key(0)).lines[0].get_xdata()
    assert np.array_equal(drawn, again) and not np.array_equal(drawn, other)


def test_histograms_are_shares_on_shared_bins(ax):
    plots.plot_histograms(
        {"own": np.array([0.1, 0.2, 0.3, np.nan]), "other": np.linspace(0, 1, 50)}, ax=ax
    )
    shares = [sum(np.diff(p.get_xy()[:, 1]).clip(0)) for p in ax.patches]
    assert len(shares) == 2 and all(s > 0 for s in shares)
    heights = [p.get_xy()[:, 1] for p in ax.patches]
    assert max(heights[0]) <= 1 and max(heights[1]) < 0.2
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels[0] == "own (median 0.20)"


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.plot_fidelity_gap({}), "gaps"),
        (lambda: plots.plot_collapse({}), "nothing to draw"),
        (lambda: plots.plot_collapse({"a": 1.0}, reference="b"), "'b' is none of"),
        (lambda: plots.plot_local_against_global({"a": 1.0}, {"b": 1.0}), "populations"),
        (lambda: plots.plot_projection({}), "expected 1 to"),
        (lambda: plots.plot_projection({"a": np.eye(2)}, method="tsne"), "method must be one of"),
        (lambda: plots.plot_projection({"a": np.eye(2), "b": np.eye(3)}), "differ in width"),
        (lambda: plots.plot_projection({"a": np.full((2, 2), np.nan)}), "must be finite"),
        (lambda: plots.plot_histograms({"a": np.array([np.nan])}), "has no number"),
        (lambda: plots.plot_histograms({}), "expected 1 to"),
    ],
)
def test_refusals(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()


@pytest.mark.skipif(plots.has_umap(), reason="umap-learn is installed")
def test_umap_that_is_not_installed_is_named():
    with pytest.raises(ImportError, match="umap-learn"):
        plots.plot_projection({"a": np.eye(3)}, method="umap")
