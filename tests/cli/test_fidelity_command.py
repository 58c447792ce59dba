"""`syndigits fidelity`: from files to a table, results, figures; one line for bad input."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killed_writes import contents, dying, kill_at_each_write, killed, left_over
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.preferences import tfidf_encoder
from syndigits_jax.workflows.fidelity import measure as study
from syndigits_jax.workflows.fidelity import run as command
from syndigits_jax.workflows.fidelity import texts as item_texts
from syndigits_jax.workflows.fidelity.figures import paired_figures
from syndigits_jax.workflows.fidelity.populations import PairedColumns
from syndigits_jax.workflows.fidelity.records import FidelityRecord

runner = CliRunner()
N, M, PERSONAS, RATINGS = 40, 20, 15, 8
INDEX = ("fgi_frechet", "fgi_mmd2", "fgi_sliced_wasserstein", "fgi_coverage")


def failed_in_one_line(result, *words):
    assert result.exit_code == 2, (result.output, result.exception)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and result.stderr.strip().splitlines()[-1] == errors[0]
    for word in words:
        assert word in errors[0], errors[0]
    return True


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def written_files(folder):
    """A user's files: films, ratings of 40 people, of 15 personas made from some of them."""
    table, truth = simulate_preferences(N, M, key=0, ratings=RATINGS)
    people = pd.DataFrame({"userId": table.user, "movieId": table.item, "rating": table.rating})
    people.assign(timestamp=table.time).to_csv(folder / "r.csv", index=False)
    mine = people[people["userId"] < PERSONAS]
    mine = mine.assign(persona="p" + mine["userId"].astype(str), seed=mine["userId"])
    columns = {"movieId": "item", "persona": "persona", "rating": "rating", "seed": "seed"}
    mine.rename(columns=columns)[list(columns.values())].to_csv(folder / "p.csv", index=False)
    pd.DataFrame({"film": range(M), "title": "a film"}).to_csv(folder / "i.csv", index=False)
    np.save(folder / "e.npy", truth.vectors)
    return folder


@pytest.fixture
def own(tmp_path):
    return written_files(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One run of the command, twice: its folder, both results, and the report behind them."""
    folder = written_files(tmp_path_factory.mktemp("measured"))
    reports = []
    measure = study.measure_fidelity
    with pytest.MonkeyPatch.context() as patch:
        replace_panels(patch)
        patch.setattr(
            command,
            "measure_fidelity",
            lambda *a, **b: reports.append(measure(*a, **b)) or reports[-1],
        )
        first, again = (fidelity(folder, "--epochs", 1) for _ in range(2))
    return folder, first, again, reports[0]


def replace_panels(patch):
    """Training and placement as they are; known numbers in place of the panels, whose rooms have
    tests of their own."""

    def populations(key, users, personas, prototypes, settings, notes, **others):
        records, found = [], {}
        for reference, group in users.items():
            real = np.asarray(group.population())
            found[reference] = {"real": real, "personas (ssr)": real[:PERSONAS] / 2}
            for name, procedure, value in (
                ("real", reference, 0.0), ("noise", reference, 1.0), ("personas", "ssr", 0.4321),
            ):  # fmt: skip
                records += [
                    FidelityRecord(name, m, procedure, reference, value, value - 0.125, value + 1)
                    for m in (*INDEX, "coverage", "precision", "cosine_mean", "norm_ratio", "mmd_p")
                ]
        records.append(FidelityRecord("dirichlet", INDEX[0], "trained", "trained", *[np.nan] * 3))
        others["on_part"]("panels", 1, 1)
        return records, found

    def pairs(key, gram, ratings, seed_rows, users, personas, settings, notes):
        assert seed_rows.tolist() == list(range(PERSONAS))
        one = np.linspace(0, 1, PERSONAS)
        values = [("rank_accuracy", 0.875), ("rank_accuracy_shuffled", 0.625)]
        records = [
            FidelityRecord("personas", metric, "ssr", "trained", v, v, v) for metric, v in values
        ]
        return records, {("personas", "ssr", "trained"): PairedColumns(one, one + 1, one)}

    patch.setattr(study, "compare_populations", populations)
    patch.setattr(study, "compare_pairs", pairs)


def fidelity(folder, *arguments, out="out", **files):
    names = {"ratings": "r.csv", "items": "i.csv", "personas": "p.csv", "embeddings": "e.npy"}
    given = []
    for option, name in (names | files).items():
        given += [f"--{option}", folder / name] if name else []
    given += ["--out", folder / out, *arguments]
    return runner.invoke(app, ["fidelity", *map(str, given)])


def test_the_numbers_are_printed_and_written(measured):
    own, result, again, _ = measured
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads((own / "out" / "results.json").read_text())
    assert {
        "machine",
        "versions",
        "commit",
        "date",
        "settings",
        "counts",
        "notes",
        "records",
    } == set(document)
    assert document["counts"]["personas"] == PERSONAS and document["counts"]["epochs"] == 1
    assert document["settings"]["panel"]["replicates"] == 200
    fields = {"population", "metric", "procedure", "reference", "mean", "low", "high"}
    assert all(set(record) == fields for record in document["records"])
    rankers = {r["population"]: r for r in document["records"]
               if r["metric"] == "pairwise_accuracy"}  # fmt: skip
    assert list(rankers) == ["encoder", "popularity", "mean_rating"]
    for name, record in rankers.items():
        assert 0 <= record["low"] <= record["mean"] <= record["high"] <= 1
        assert f"{name.replace('_', ' ')} " in result.stdout
        assert f"{record['mean']:.3f}" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["personas,", "by", "ssr", *["0.43"] * 8] in lines and ["0.31..1.43"] * 4 in lines
    assert ["dirichlet", *["-"] * 8] in lines
    assert ["rank", "accuracy", "0.875", "(0.625)"] in lines
    assert f"{N} users (0 without a training pair" in " ".join(result.stdout.split())
    assert "[1/3] encoder" in result.stderr and "[3/3] panels: done" in result.stderr
    written = files_in(own / "out")
    figures = {"gap", "cosine", "coverage", "local-global", "pca", "norms"}
    expected = {f"fidelity-{f}-{r}.png" for f in figures for r in ("trained", "ssr", "newton")}
    assert expected | {"fidelity-paired-distance-ssr-trained.png"} <= set(written)
    assert not [name for name in written if "partial" in name]
    personas = pd.read_csv(own / "out" / "personas.csv", index_col="persona")
    assert list(personas.index) == [f"p{i}" for i in range(PERSONAS)]
    assert (
        personas["seed"].tolist() == list(range(PERSONAS))
        and not personas["constant"].to_numpy().any()
    )
    assert np.mean(personas["newton_status"].to_numpy() == "converged") > 0.5
    # Again: the encoder is read back and the numbers are the same.
    assert again.exit_code == 0 and "pairs/s" not in again.stderr
    assert again.stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", 0], ["--epochs must be positive"]),
        (["--gap", -1], ["gap"]),
        (["--text-encoder", "tfidf"], ["--text-encoder", "--embeddings"]),
        (["--text-encoder", "bert"], ["--text-encoder", "minilm"]),
        (["--control", "none"], ["--control", "held_out"]),
    ],
)
def test_bad_options_are_refused(own, arguments, words):
    before = files_in(own)
    assert failed_in_one_line(fidelity(own, *arguments), *words)
    assert files_in(own) == before


def test_bad_files_are_refused(own):
    assert failed_in_one_line(fidelity(own, ratings="none.csv"), "no such file", "none.csv")
    assert failed_in_one_line(fidelity(own, embeddings="r.csv"), "expected embeddings as .npy")
    films = pd.read_csv(own / "i.csv")
    for frame, words in (
        (films.iloc[:5], ["items are not in the items file"]),
        (films.iloc[:1], ["at least two items"]),
        (pd.concat([films, films.iloc[:1]]), ["bad.csv", "duplicate identifiers '0'"]),
    ):
        frame.to_csv(own / "bad.csv", index=False)
        assert failed_in_one_line(fidelity(own, items="bad.csv"), *words)
    films[["film"]].to_csv(own / "bad.csv", index=False)
    assert failed_in_one_line(fidelity(own, items="bad.csv", embeddings=""), "--embeddings")
    np.save(own / "short.npy", np.ones((M - 1, 3)))
    assert failed_in_one_line(fidelity(own, embeddings="short.npy"), f"expected {M} rows")
    (own / "file").write_text("mine")
    assert failed_in_one_line(fidelity(own, out="file"), "is not a folder")
    assert not (own / "out").exists() and (own / "file").read_text() == "mine"


def test_texts_are_encoded_once_and_undated_ratings_noted(own, monkeypatch, measured):
    calls, given = [], []

    def measure(ratings, vectors, *args, **kwargs):
        given.append(vectors)
        return measured[-1]

    def encoder():
        def encode(texts):
            calls.append(texts)
            rng = np.random.default_rng(len(texts))
            return rng.normal(size=(len(texts), 4))

        return encode

    monkeypatch.setattr(command, "measure_fidelity", measure)
    monkeypatch.setattr(command, "fidelity_figures", lambda report: {})
    monkeypatch.setattr(item_texts, "sentence_encoder", encoder)
    titles = [f"film {i}" for i in range(M)]
    pd.DataFrame({"film": range(M), "title": titles}).to_csv(own / "i.csv", index=False)
    pd.read_csv(own / "r.csv").drop(columns="timestamp").to_csv(own / "r.csv", index=False)
    for _ in range(2):
        result = fidelity(own, "--epochs", 1, "--text-encoder", "minilm", embeddings="")
        assert result.exit_code == 0, (result.output, result.exception)
        assert "note: the ratings have no times" in result.stdout
    assert calls == [titles] and given[0].shape == (M, 4)
    np.testing.assert_array_equal(*given)
    # Without the extra, by the words of the texts, and the terminal and the report say so; they
    # say too what a first look leaves out.
    monkeypatch.setattr(item_texts, "_installed", lambda module: False)
    result = fidelity(own, "--quick", embeddings="")
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"encoding {M} item texts by TF-IDF (sentence-transformers is not" in result.stderr
    assert "note: item texts are compared by their words (TF-IDF)" in result.stdout
    document = json.loads((own / "out" / "results.json").read_text())
    assert "TF-IDF" in document["notes"][1] and document["settings"]["quick"]
    assert document["notes"][0].startswith("a first look (quick): 3 epochs in place of 20, 20 boot")
    for left_out in ("placement by newton", "the baseline gaussian mixture full"):
        assert left_out in document["notes"][0] and left_out in " ".join(result.stdout.split())
    assert len(calls) == 1
    np.testing.assert_array_equal(given[-1], tfidf_encoder(titles)(titles))


def test_killed_while_it_writes_and_run_again_it_writes_the_same(own, measured, monkeypatch):
    """No figure of one measurement beside numbers of another."""
    monkeypatch.setattr(command, "measure_fidelity", lambda *a, **b: measured[-1])
    monkeypatch.setattr(command, "fidelity_figures", lambda report: paired_figures(report.paired))
    names = ["fidelity-paired-distance-ssr-trained.png", "personas.csv", "results.json"]
    (own / "out").mkdir()
    # Only a file of results is replaced.
    monkeypatch.setattr("killed_writes.OLD", b'{"machine": 1, "versions": 1, "records": []}')
    kill_at_each_write(lambda: fidelity(own, "--epochs", 1), own / "out", names)


def test_killed_at_any_write_it_measures_only_what_was_lost(measured, monkeypatch):
    own = measured[0]
    replace_panels(monkeypatch)
    monkeypatch.setattr(command, "fidelity_figures", lambda report: {})
    whole = contents(own / "out")
    units = sorted(name for name in whole if name.startswith("units/"))

    def measure(out):
        with dying() as written:
            result = fidelity(own, "--epochs", 1, out=out)
        assert result.exit_code == 0, (result.output, result.exception)
        return [str(Path(path).relative_to(own / out)) for path in written]

    for at in range(1, len(units) + 2):
        out = f"killed-{at}"
        assert killed(lambda: fidelity(own, "--epochs", 1, out=out), at)  # noqa: B023
        lost = [name for name in units if name not in contents(own / out)]
        assert len(lost) == len(units) - (at - 1)
        assert sorted(measure(out)) == sorted([*lost, "personas.csv", "results.json"])
        found = contents(own / out)
        assert not left_over(own / out)
        assert found["personas.csv"] == whole["personas.csv"]
        assert numbers(found["results.json"]) == numbers(whole["results.json"])


def numbers(content):
    document = json.loads(content)
    return [document[name] for name in ("settings", "counts", "notes", "records")]


def test_an_interrupt_leaves_the_old_results(own, monkeypatch):
    (own / "out").mkdir()
    old = '{"machine": 1, "versions": 1, "records": []}'
    (own / "out" / "results.json").write_text(old)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure_fidelity", interrupted)
    result = fidelity(own, "--epochs", 1)
    assert result.exit_code == 130 and "finished steps are kept" in result.stderr
    assert (own / "out" / "results.json").read_text() == old
