"""`syndigits reproduce fidelity`: tables, results, figures, resumption; one line for bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.render import fidelity_studies as command
from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.results.progress import Progress
from syndigits_jax.studies.calibrated_twins import study as preference_twins
from syndigits_jax.studies.calibrated_twins.study import PreferenceTwinsReport
from syndigits_jax.studies.persona_fidelity import reproduction as runner_module
from syndigits_jax.studies.persona_fidelity.baselines import BaselinesReport
from syndigits_jax.workflows.fidelity.populations import PairedColumns
from syndigits_jax.workflows.fidelity.records import FidelityRecord

runner = CliRunner()
N, M = 12, 8
INDEX = ("fgi_frechet", "fgi_mmd2", "fgi_sliced_wasserstein", "fgi_coverage")
METRICS = (*INDEX, "coverage", "precision", "cosine_mean", "norm_ratio", "mmd_p")
FILMS, TOOLS, TWINS = "tiny-films", "amazon-2018-garden-tools", "movielens-20m"


@pytest.fixture
def data(tmp_path):
    """Films and garden tools in the layout of the public data."""
    table, _ = simulate_preferences(N, M, key=0, ratings=5)
    folder = tmp_path / "data"
    films, tools = folder / "movielens" / FILMS, folder / "amazon-2018"
    films.mkdir(parents=True)
    tools.mkdir()
    rows = pd.DataFrame({"u": table.user, "i": table.item, "r": table.rating, "t": table.time})
    rows.set_axis(["userId", "movieId", "rating", "timestamp"], axis=1).to_csv(
        films / "ratings.csv", index=False
    )
    movies = {"movieId": range(M), "title": [f"film {i}" for i in range(M)], "genres": "Drama"}
    pd.DataFrame(movies).to_csv(films / "movies.csv", index=False)
    pd.DataFrame({"movieId": [0], "tag": ["slow"]}).to_csv(films / "tags.csv", index=False)
    rows.set_axis(["user_id", "asin", "rating", "timestamp"], axis=1).to_csv(
        tools / "Garden_Tools_ratings_5plus.csv", index=False
    )
    names = {"title": [f"spade {i}" for i in range(M)], "brand": "B", "description": ""}
    pd.DataFrame({"asin": range(M), **names}).to_csv(tools / "Garden_Tools_items.csv", index=False)
    return folder


@pytest.fixture
def studied(monkeypatch):
    """Known numbers in place of the study, which has tests of its own; what it was called with."""
    calls = []

    def study(ratings, vectors, *, key, settings, out, on_progress):
        calls.append((ratings, vectors, settings))
        on_progress(Progress(0, 2, "encoder", 1, 1))
        on_progress(Progress(1, 2, "panels", 1, 1))
        records = [
            FidelityRecord(ranker, "pairwise_accuracy", "trained", "", 0.625, 0.5, 0.75)
            for ranker in ("encoder", "bpr")
        ]
        for name, procedure, value in (
            ("real", "trained", 0.0), ("noise", "trained", 1.0), ("dirichlet", "trained", 0.4321),
            ("real", "ssr", np.nan),
        ):  # fmt: skip
            records += [
                FidelityRecord(name, metric, procedure, "trained", value, value - 0.25, value + 1)
                for metric in METRICS
            ]
        points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
        populations = {"trained": {"real": points, "dirichlet": points / 2}}
        return BaselinesReport(tuple(records), {"users": N}, populations, ("too few",))

    monkeypatch.setattr(runner_module, "study_baselines", study)
    return calls


@pytest.fixture
def encoded(monkeypatch):
    """A sentence encoder that counts its calls."""
    calls = []

    def encoder():
        def encode(texts):
            calls.append(texts)
            return np.random.default_rng(len(texts)).normal(size=(len(texts), 4))

        return encode

    monkeypatch.setattr(command, "sentence_encoder", encoder)
    return calls


def reproduce(data, out, *arguments):
    given = ["reproduce", "fidelity", "--data", data, "--out", out, *arguments]
    return runner.invoke(app, [str(each) for each in given])


def failed_in_one_line(result, *words):
    assert result.exit_code == 2, (result.output, result.exception)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and result.stderr.strip().splitlines()[-1] == errors[0]
    for word in words:
        assert word in errors[0], errors[0]
    return True


def test_every_data_set_is_printed_written_and_drawn(data, tmp_path, studied, encoded):
    out = tmp_path / "out"
    result = reproduce(data, out)
    assert result.exit_code == 0, (result.output, result.exception)
    tools, films = (ratings for ratings, *_ in studied)
    assert tools.texts[0].startswith("spade") and films.texts[0].endswith("Tags: slow.")
    document = json.loads((out / "results.json").read_text())
    assert {"machine", "versions", "commit", "date", "studies", "records"} == set(document)
    assert [s["dataset"] for s in document["studies"]] == [TOOLS, FILMS]
    assert document["studies"][0]["notes"] == ["too few"]
    assert document["studies"][0]["counts"] == {"users": N}
    fields = {"study", "dataset", "population", "metric", "procedure", "reference", "mean", "low"}
    assert all(set(r) == fields | {"high", "paper_low", "paper_high"} for r in document["records"])
    found = {(r["dataset"], r["population"], r["procedure"], r["metric"]): r
             for r in document["records"]}  # fmt: skip
    dirichlet = found[FILMS, "dirichlet", "trained", "fgi_coverage"]
    assert dirichlet["mean"] == 0.4321
    assert (dirichlet["paper_low"], dirichlet["paper_high"]) == (0.018, 0.101)
    # Real users placed otherwise are not what the paper calls its real subsample.
    undefined = found[FILMS, "real", "ssr", "fgi_coverage"]
    assert undefined["mean"] is None and undefined["paper_low"] is None
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines.count(["dirichlet", *["0.43"] * 8]) == 2
    paper = "paper 0.03..0.06 0.06..0.52 0.29..0.56 0.02..0.10 0.88..0.96 0.77..0.82"
    assert lines.count(paper.split()) == 2
    assert ["encoder", "0.625"] in lines and ["bpr", "0.625"] in lines
    assert result.stdout.count("note: too few") == 2
    # A piped table is as wide as it needs to be: nothing is cut off.
    assert "…" not in result.stdout
    assert "[1/4]" in result.stderr and f"[4/4] {FILMS}, panels: done" in result.stderr
    names = {path.name for path in out.iterdir()}
    figures = ("gap", "cosine", "coverage", "local-global", "pca", "norms")
    for dataset in (TOOLS, FILMS):
        assert {f"fidelity-baselines-{dataset}-{f}-trained.png" for f in figures} <= names
    # Again: nothing is encoded or computed, and the numbers are the same.
    again = reproduce(data, out)
    assert again.exit_code == 0 and "resumed" in again.stderr
    assert len(encoded) == 2 and len(studied) == 2
    assert again.stdout == result.stdout
    assert json.loads((out / "results.json").read_text()) == document
    # Another seed is other work, from the texts that are there.
    other = reproduce(data, tmp_path / "other", "--embeddings", out / "units" / "texts",
                      "--seed", 1, "--quick", "--dataset", FILMS)  # fmt: skip
    assert other.exit_code == 0 and len(encoded) == 2 and len(studied) == 3
    assert studied[-1][2].training.epochs < studied[0][2].training.epochs


def test_an_interrupt_keeps_what_is_finished(data, tmp_path, studied, encoded, monkeypatch):
    known = runner_module.study_baselines

    def stopping(ratings, *args, **kwargs):
        if ratings.texts[0].startswith("film"):
            raise KeyboardInterrupt
        return known(ratings, *args, **kwargs)

    monkeypatch.setattr(runner_module, "study_baselines", stopping)
    result = reproduce(data, tmp_path / "out")
    assert result.exit_code == 130 and "run the same command again to resume" in result.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {r["dataset"] for r in document["records"]} == {TOOLS} and len(studied) == 1
    monkeypatch.setattr(runner_module, "study_baselines", known)
    assert reproduce(data, tmp_path / "out").exit_code == 0
    assert [ratings.texts[0][:4] for ratings, *_ in studied] == ["spad", "film"]


def test_twins_are_studied_where_their_data_are(data, tmp_path, monkeypatch, encoded):
    (data / "movielens" / FILMS).rename(data / "movielens" / "ml-latest-small")
    (data / "syn-digits" / "MovieLens-20M").mkdir(parents=True)

    def study(folder, *, embed, key, settings, out, on_progress):
        assert folder == data and settings.encoders == 1
        assert embed(["a film"]).shape == (1, 4)
        on_progress(Progress(0, 1, "encoder", 1, 1))
        records = [
            FidelityRecord(name, metric, "newton", "newton", value, value, value)
            for name, value in (("real", 0.0), ("twins", 0.875))
            for metric in (*METRICS, "rank_accuracy", "paired_distance")
        ]
        records.append(
            FidelityRecord("twins", "rank_accuracy_shuffled", "newton", "newton", *[0.5] * 3)
        )
        points, one = np.eye(6, 3), np.linspace(0, 1, 6)
        paired = {("twins", "newton"): PairedColumns(one, one, one + 1)}
        return PreferenceTwinsReport(
            tuple(records), {"films": 3}, {"real": points, "twins": points}, paired, ("the answer",)
        )

    monkeypatch.setattr(preference_twins, "study_preference_twins", study)
    result = reproduce(data, tmp_path / "out", "--study", "twins", "--quick")
    assert result.exit_code == 0, (result.output, result.exception)
    again = reproduce(data, tmp_path / "out", "--dataset", TWINS, "--quick")
    assert again.stdout == result.stdout and "resumed" in again.stderr
    records = json.loads((tmp_path / "out" / "results.json").read_text())["records"]
    assert {(r["study"], r["dataset"]) for r in records} == {("twins", TWINS)}
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "twins, by newton - (-) 0.875 (-) - (-) 0.875 (0.500) - (-)" in lines
    assert "note: the answer" in lines and "paper 0.72..0.85" in lines
    names = {path.name for path in (tmp_path / "out").iterdir()}
    for figure in ("paired-distance", "norm-ratio", "gap", "pca", "rank-coverage"):
        assert f"fidelity-twins-{TWINS}-{figure}-newton.png" in names


def test_bad_options_are_refused(data, tmp_path, studied, encoded, monkeypatch):
    out = tmp_path / "out"
    for arguments, words in (
        (["--dataset", "none"], ["unknown data set 'none'", TOOLS, FILMS]),
        (["--study", "none"], ["--study", "baselines"]),
        (["--study", "twins"], ["the twins need", "syn-digits/MovieLens-20M"]),
        (["--method", "ridge"], ["No such option"]),
        (["--setting", "both"], ["No such option"]),
    ):
        assert failed_in_one_line(reproduce(data, out, *arguments), *words)
    table = ["reproduce", "table2", "--data", str(data), "--out", str(out), "--quick"]
    assert failed_in_one_line(runner.invoke(app, table), "No such option")
    (tmp_path / "empty").mkdir()
    assert failed_in_one_line(reproduce(tmp_path / "empty", out), "no rating data in")

    def absent():
        raise ImportError("encoding texts needs sentence-transformers")

    monkeypatch.setattr(command, "sentence_encoder", absent)
    assert failed_in_one_line(reproduce(data, out), "syndigits-jax[text]", "--embeddings")
    assert not list(out.rglob("*.*")) and not studied
    out.mkdir(exist_ok=True)
    (out / "results.json").write_text("[1]")
    assert failed_in_one_line(reproduce(data, out), "is not a results file")
    assert (out / "results.json").read_text() == "[1]"
