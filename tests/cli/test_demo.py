"""Distributions and fidelity in the demonstration: what is printed, written and found again."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from syndigits_jax.cli.render import demo as command
from syndigits_jax.cli.render.demo import run_distributions, run_fidelity
from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.studies.demo import calibration as study
from syndigits_jax.studies.demo import fidelity as demo_fidelity
from syndigits_jax.studies.demo.calibration import demo_poll, run_distribution_demo
from syndigits_jax.studies.demo.fidelity import FidelityDemoSettings, run_fidelity_demo

pytestmark = pytest.mark.slow
VARIANTS = ("both", "personas", "dummies", "blend", "uniform", "mean-distribution")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What is printed, the folder of files, and the path of the figure."""
    out = tmp_path_factory.mktemp("demo")
    text = io.StringIO()
    console = Console(width=120, file=text)
    path = run_distributions(console, out)
    return text.getvalue(), out, path


def test_the_twins_of_the_poll_overdo_what_is_likely():
    past, new = demo_poll()
    assert past.twins == new.twins and not set(past.questions) & set(new.questions)
    assert (past.counts.sum(axis=1) == past.counts[0].sum()).all()
    m = len(past.questions)
    honest, truth = simulate_distributions(
        len(past.twins), m + len(new.questions), key=2, types=8, ratio=10.0
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


# --- fidelity -----------------------------------------------------------------------------------

SMALL = FidelityDemoSettings(
    items=40, fitted=150, judged=200, replicates=5, projections=20, permutations=20
)
INDEXED = ("frechet", "mmd2", "sliced_wasserstein", "coverage")


@pytest.fixture(scope="module")
def fidelity(tmp_path_factory):
    """What is printed, the folder of files, the paths of those written, and the numbers."""
    out = tmp_path_factory.mktemp("fidelity")
    text = io.StringIO()
    console = Console(width=120, file=text)
    demos = []

    def small(folder):
        demos.append(run_fidelity_demo(folder, SMALL))
        return demos[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "run_fidelity_demo", small)
        paths = run_fidelity(console, out)
    return text.getvalue(), out, paths, demos[0]


def test_planted_gaps_are_found(fidelity):
    demo = fidelity[3]

    def number(population, metric, procedure="newton"):
        return demo.number(population, metric, procedure).mean

    for procedure in ("known", "newton"):
        coverage = {n: number(n, "coverage", procedure) for n in ("real", "faithful", "collapsed")}
        assert coverage["faithful"] == pytest.approx(coverage["real"], abs=0.1)
        assert coverage["collapsed"] < 0.5 * coverage["real"]
        cosine = {n: number(n, "cosine_mean", procedure) for n in ("real", "collapsed")}
        assert 1 - cosine["collapsed"] < 0.2 * (1 - cosine["real"])
        frechet = {n: number(n, "frechet", procedure) for n in ("faithful", "collapsed")}
        assert frechet["collapsed"] > 5 * frechet["faithful"]
    assert number("collapsed", "rank_accuracy") > 0.7
    assert number("collapsed", "rank_accuracy") > number("collapsed", "rank_accuracy_shuffled")
    # Placement from ratings alone comes near the true positions.
    for population in ("faithful", "collapsed"):
        placed, known = (number(population, "cosine_mean", p) for p in ("newton", "known"))
        assert placed == pytest.approx(known, abs=0.1)
    # Both repairs help; only the map, which makes people who were not there, restores coverage.
    gap = {n: number(n, "fgi_coverage") for n in ("collapsed", "reweighted", "transported")}
    assert gap["transported"] < 0.35 * gap["collapsed"]
    assert gap["reweighted"] > 2 * gap["transported"]
    for repair in ("reweighted", "transported"):
        assert number(repair, "frechet") < 0.6 * number("collapsed", "frechet")


def test_fidelity_is_printed_as_it_is_recorded(fidelity):
    text, out, paths, demo = fidelity
    assert [path.name for path in paths] == ["fidelity.json", "fidelity.png"]
    assert paths[1].read_bytes()[:4] == b"\x89PNG"
    records = json.loads((out / "fidelity.json").read_text())["records"]
    found = {(r["population"], r["metric"], r["procedure"]): r for r in records}
    assert len(found) == len(records) == len(demo.records)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for population, title in (("collapsed", "collapsed personas"), ("faithful", "faithful")):
        of_population = [line for line in lines if line.startswith(title)]
        assert len(of_population) == 2
        for metric in (*INDEXED, "cosine_mean"):
            placed, known = (
                found[population, metric, procedure]["mean"] for procedure in ("newton", "known")
            )
            cell = f"{placed:.3f} ({known:.3f})".replace("-0.000", "0.000")
            assert cell in of_population[0]
        for metric in INDEXED:
            r = found[population, f"fgi_{metric}", "newton"]
            cell = "-" if r["mean"] is None else f"{r['mean']:.2f} ({r['low']:.2f}.."
            assert cell.replace("-0.00", "0.00") in of_population[1].replace("-0.00", "0.00")
    assert f"{found['collapsed', 'rank_accuracy', 'newton']['mean']:.0%} of pairs" in text


def test_a_second_run_finds_the_fidelity_part_done(fidelity, monkeypatch):
    _, out, _, demo = fidelity
    before = (out / "fidelity.json").read_bytes()

    def again(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(demo_fidelity, "_measured", again)
    resumed = run_fidelity_demo(out, SMALL)
    assert (out / "fidelity.json").read_bytes() == before
    np.testing.assert_array_equal(
        resumed.populations["transported"], demo.populations["transported"]
    )
    with pytest.raises(AssertionError, match="computed again"):
        run_fidelity_demo(out, FidelityDemoSettings(judged=12))


def test_a_foreign_file_is_not_replaced(tmp_path):
    (tmp_path / "fidelity.json").write_text("mine")
    with pytest.raises(ValueError, match="not a results file"):
        run_fidelity_demo(tmp_path, SMALL)
    assert (tmp_path / "fidelity.json").read_text() == "mine"
