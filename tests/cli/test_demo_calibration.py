"""Calibration in the demonstration, on a small panel: computed, drawn, printed and written."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy.linalg import subspace_angles
from small_panels import METHODS, small_panel

from syndigits_jax import calibration
from syndigits_jax.calibration import ElasticNet, Ridge
from syndigits_jax.cli.commands.demo import demo
from syndigits_jax.cli.render import demo as shown
from syndigits_jax.cli.render.figures import alignment_figures
from syndigits_jax.diagnostics.rank_selection import scaled_columns
from syndigits_jax.evaluation import leave_one_question_out
from syndigits_jax.studies.demo import calibration as study


@pytest.fixture(scope="module")
def panel():
    return small_panel(missing=0.0)


def test_every_calibrator_is_in_the_demonstration():
    methods = study.demo_methods()
    assert {name: type(method).__name__ for name, method in methods.items()} == {
        name: name for name in METHODS
    }
    assert all(isinstance(m, getattr(calibration, name)) for name, m in methods.items())


def test_the_estimates_numbers_are_those_of_its_predictions(panel, monkeypatch):
    """Correlations over people, and how far means are missed, by NumPy."""
    held = leave_one_question_out({"Auto": Ridge(2.0)}, panel)
    monkeypatch.setattr(study, "sample_panel", lambda: panel)
    monkeypatch.setattr(study, "hold_out_questions", lambda given: held if given is panel else None)
    found = study.run_estimate_demo()
    assert list(found) == ["Auto", "Baseline", "UserMean", "ZScoredUserMean"]
    for name, (correlation, se, error) in found.items():
        predicted = held.predictions[name]
        each = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted, held.truth, strict=True)]
        assert correlation == pytest.approx(np.mean(each), abs=1e-5)
        assert se == pytest.approx(np.std(each, ddof=1) / np.sqrt(panel.m), abs=1e-5)
        missed = predicted.mean(axis=1) - held.truth.mean(axis=1)
        assert error == pytest.approx(np.sqrt(np.mean(missed**2)), abs=1e-5)


def test_alignment_is_drawn_of_people_twins_and_both_baselines(panel):
    figures = alignment_figures(panel)
    assert list(figures) == ["alignment-row-space", "alignment-column-space", "cumulative-variance"]
    human, twin = (
        np.asarray(scaled_columns(side, np.ones(side.shape, bool)))
        for side in (panel.human, panel.twin)
    )
    for name, side in (("alignment-row-space", 2), ("alignment-column-space", 0)):
        twins, normal, shuffled = figures[name].lines[:3]
        assert [line.get_label() for line in (twins, normal, shuffled)] == [
            "Twins", "Random matrix", "Shuffled humans",
        ]  # fmt: skip
        size = len(twins.get_ydata())
        bases = [np.linalg.svd(x, full_matrices=False)[side] for x in (human, twin)]
        bases = [b[:size].T if side else b[:, :size] for b in bases]
        cosines = np.sort(np.cos(subspace_angles(*bases)))[::-1]
        np.testing.assert_allclose(twins.get_ydata(), cosines, atol=2e-3)
        assert np.mean(twins.get_ydata()) > np.mean(normal.get_ydata())
    for line, x in zip(figures["cumulative-variance"].lines, (panel.human, panel.twin)):
        squares = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
        np.testing.assert_allclose(line.get_ydata(), np.cumsum(squares) / squares.sum(), atol=1e-4)


def test_the_demonstration_prints_and_writes_all_its_parts(panel, monkeypatch, tmp_path):
    text = io.StringIO()
    console = Console(width=120, file=text)
    few = {"Ridge": Ridge(2.0), "ElasticNet": ElasticNet(0.1, 0.5)}
    monkeypatch.setattr(study, "demo_methods", lambda: few)
    estimates = {
        name: (0.1 + 0.2 * i, 0.01 * (i + 1), 0.3 + i) for i, name in enumerate(shown._ESTIMATES)
    }
    for module in (study, shown):
        monkeypatch.setattr(module, "sample_panel", lambda: panel)
    monkeypatch.setattr(shown, "output", lambda: console)
    monkeypatch.setattr(shown, "run_estimate_demo", lambda: estimates)
    monkeypatch.setattr(shown, "run_distributions", lambda console, out: out / "distributions")
    monkeypatch.setattr(shown, "run_fidelity", lambda console, out: [out / "fidelity"])
    written = demo(tmp_path)["written"]
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    for name, (correlation, se, error) in estimates.items():
        row = f"{shown._ESTIMATES[name]} {correlation:.3f} ± {se:.3f} {error:.3f}"
        assert row in lines
    names = [path.name for path in written]
    assert names == ["results.json", "methods.png", "adaptive.png", "alignment-row-space.png",
                     "alignment-column-space.png", "cumulative-variance.png", "distributions",
                     "fidelity"]  # fmt: skip
    assert all(path.read_bytes()[1:4] == b"PNG" for path in written[1:-2])
    assert all(any(str(path) in line for line in lines) for path in written)

    held = leave_one_question_out(few, panel)
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    for name in (*few, "Baseline", "UserMean", "ZScoredUserMean"):
        (one,) = [r for r in records if r["method"] == name and r["metric"] == "pearson"]
        assert one["table"] == "demo" and one["setting"] == "default"
        assert one["mean"] == pytest.approx(float(held.scores("pearson", name).mean()), abs=1e-5)
        assert any(f"{one['mean']:.3f}" in line for line in lines)
