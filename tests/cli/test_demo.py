"""The distribution part of the demonstration: what it prints, writes and finds again."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from syndigits_jax.cli._demo import run_distributions
from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.studies import demo as study
from syndigits_jax.studies.demo import demo_poll, run_distribution_demo

pytestmark = pytest.mark.slow
VARIANTS = ("both", "personas", "dummies", "blend", "uniform", "mean-distribution")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What is printed, the folder of files, and the path of the figure."""
    out = tmp_path_factory.mktemp("demo")
    console = Console(width=120, file=io.StringIO())
    path = run_distributions(console, out)
    return console.file.getvalue(), out, path


def test_the_twins_of_the_poll_overdo_what_is_likely():
    past, new = demo_poll()
    assert past.twins == new.twins and not set(past.questions) & set(new.questions)
    assert (past.counts.sum(axis=1) == past.counts[0].sum()).all()
    m = len(past.questions)
    honest, truth = simulate_distributions(
        2, len(past.twins), m + len(new.questions), types=8, ratio=10.0
    )
    np.testing.assert_allclose(past.counts / past.counts[0].sum(), truth.shares[:m], atol=0.1)

    def probability(choices):
        """Of what the twins chose, had they answered as they should."""
        rows = truth.probabilities[:, :m]
        return np.take_along_axis(rows, choices[:, :m, None].astype(int), axis=2).mean()

    expected = (truth.probabilities**3).sum(2) / (truth.probabilities**2).sum(2)
    assert probability(past.choices) == pytest.approx(expected[:, :m].mean(), abs=0.01)
    assert probability(past.choices) > probability(honest.choices) + 0.05


def test_every_variant_is_printed_as_it_is_recorded(shown):
    text, out, _ = shown
    records = json.loads((out / "results.json").read_text())["records"]
    means = {(r["variant"], r["metric"]): r["mean"] for r in records}
    names = ("ensemble", "personas", "dummies", "blend", "equal", "mean distribution")
    for variant, name in zip(VARIANTS, names):
        numbers = " ".join(f"{means[variant, metric]:.3f}" for metric in ("tv", "kl", "cdf_l1"))
        lines = [" ".join(line.split()) for line in text.splitlines()]
        (line,) = [line for line in lines if name in line and numbers in line]
        gaps = {r["gap"] for r in records if r["variant"] == variant and "gap" in r}
        assert len(gaps) == (variant in VARIANTS[:3])
        assert all(gap <= 1e-3 and line.endswith(f"{gap:.0e}") for gap in gaps)


def test_the_predictions_judge_as_recorded_and_beat_both_controls(shown):
    demo = run_distribution_demo(shown[1])
    true = demo.new.counts / demo.new.counts.sum(axis=1, keepdims=True)
    tv = {v: np.abs(q - true).sum(axis=1).mean() / 2 for v, q in demo.predictions.items()}
    recorded = {r.variant: r.mean for r in demo.records if r.metric == "tv"}
    assert recorded == pytest.approx(tv, rel=1e-4)
    assert max(tv["both"], tv["blend"]) < min(tv["uniform"], tv["mean-distribution"])
    # The uniform ensemble is the twins' own answers, counted.
    counted = [np.bincount(column, minlength=5) for column in demo.new.choices.astype(int).T]
    np.testing.assert_allclose(
        demo.predictions["uniform"], np.array(counted) / len(demo.new.twins), atol=1e-6
    )


def test_the_figure_is_written(shown):
    _, out, path = shown
    assert path == out / "answer-distributions.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_second_run_finds_the_work_done(shown, monkeypatch):
    _, out, _ = shown
    before = (out / "results.json").read_bytes()

    def again(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(study, "fit_ensembles", again)
    run_distribution_demo(out)
    assert (out / "results.json").read_bytes() == before
