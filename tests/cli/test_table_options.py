"""What commands that read response tables share: --missing, --join, hints, and digits kept."""

import dataclasses
import json
import shlex

import numpy as np
import pandas as pd
import pytest
from published_layout import frames
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import respond as model_commands
from syndigits_jax.cli.wording import as_typed
from syndigits_jax.datasets import read_table
from syndigits_jax.respond.requests import Completion, EngineIdentity
from syndigits_jax.schema import Persona, Question, Scale
from syndigits_jax.workflows.calibrate import calibrate_files
from syndigits_jax.workflows.fidelity import run as fidelity_command
from syndigits_jax.workflows.pipeline.checks import check_calibration
from syndigits_jax.workflows.pipeline.config import Calibrate

runner = CliRunner()
LARGE = 12345678.25


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def refused(result, *words):
    """Exit code 2, and one line that holds `words`."""
    assert result.exit_code == 2, (result.output, result.exception)
    [error] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in error, error
    return error


@pytest.fixture
def own(tmp_path):
    """A user's tables: 24 people, 8 questions answered, 2 asked of the twins only."""
    human, twin = frames(5, 24, 10)
    human.iloc[:, :8].to_csv(tmp_path / "human.csv", index_label="person")
    twin.to_csv(tmp_path / "twin.csv", index_label="person")
    return tmp_path


def calibrate(folder, *options, out="pred.csv"):
    paths = ("--human", folder / "human.csv", "--twin", folder / "twin.csv", "--out", folder / out)
    return run("calibrate", *paths, "--method", "ridge", *options)


def spoil(path, cells):
    """Put text into cells, by (row, column)."""
    table = pd.read_csv(path, index_col=0, dtype=str)
    for (i, j), text in cells.items():
        table.iloc[i, j] = text
    table.to_csv(path)


# --- calibrate ------------------------------------------------------------------------------------


def test_codes_for_missing_answers(own):
    blank = dict.fromkeys([(0, 0), (1, 2), (2, 2), (3, 4)], "")
    spoil(own / "human.csv", blank)
    assert calibrate(own, out="blank.csv").exit_code == 0
    codes = dict(zip(blank, ("refused", "Refused", "dk", "-99")))
    spoil(own / "human.csv", codes)
    error = refused(calibrate(own), "--human", "'refused' at row", '--missing "refused,Refused,dk"')
    assert "missing=" not in error
    given = calibrate(own, "--missing", "refused,dk,-99,skipped")
    assert given.exit_code == 0, given.output
    assert "note: --missing: no cell of --human or --twin is 'skipped'" in given.stderr
    expected, found = (read_table(own / f"{name}.csv") for name in ("blank", "pred"))
    np.testing.assert_array_equal(found, expected)


def test_a_number_may_be_the_first_code(own):
    spoil(own / "human.csv", {(0, 0): "-99"})
    assert calibrate(own, "--missing", "-99").exit_code == 0


def test_what_an_inner_join_drops_is_said(own):
    human, twin = (pd.read_csv(own / f"{n}.csv", index_col=0) for n in ("human", "twin"))
    human.rename(columns={"Q1": "Q1x"}).iloc[2:].to_csv(own / "human.csv")
    twin.iloc[:-1].to_csv(own / "twin.csv")
    done = calibrate(own, "--join", "inner")
    assert done.exit_code == 0, done.output
    assert (
        "dropped by --join inner: 1 respondent and 1 question that only human has, 2 respondents "
        "that only twin has"
    ) in done.stdout
    result = calibrate_files(own / "human.csv", own / "twin.csv", "ridge", join="inner")
    assert result.dropped == result.report.attrs["dropped"]
    assert result.dropped == {
        "human_users": 1, "twin_users": 2, "human_questions": 1, "twin_questions": 0,
    }  # fmt: skip
    # With --new-users their respondents are kept and their questions dropped: Q1, Q9 and Q10.
    done = calibrate(own, "--join", "inner", "--new-users")
    assert done.exit_code == 0, done.output
    assert (
        "dropped by --join inner: 1 respondent and 1 question that only human has, 3 questions that"
        " only twin has"
    ) in done.stdout
    assert "dropped" not in calibrate(own, "--join", "error").stdout


def test_identifiers_that_nearly_match_are_shown(own):
    twin = pd.read_csv(own / "twin.csv", index_col=0)
    twin.index = [f" {name}" for name in twin.index]
    twin.to_csv(own / "twin.csv", index_label="person")
    refused(calibrate(own), "no respondents in common", "24 differ only in surrounding spaces")
    twin.index = [*(name.strip() for name in twin.index[:-1]), twin.index[-1]]
    twin.to_csv(own / "twin.csv", index_label="person")
    done = calibrate(own, "--join", "inner")
    assert done.exit_code == 0 and "note: respondents" in done.stderr
    refused(calibrate(own, "--target", "q3", "--join", "inner"), "no question 'q3'", "only in case")


def test_twins_as_they_are_keep_their_digits(own):
    spoil(own / "twin.csv", {(0, 9): "0.30000000000000004", (1, 9): "16777217"})
    # Both are beyond single precision, in which the calibration is made.
    done = calibrate(own, "--threshold", 0)
    assert done.exit_code == 0, done.output
    twin, found = (read_table(own / f"{name}.csv") for name in ("twin", "pred"))
    for name in found:
        np.testing.assert_array_equal(found[name].astype(float), twin[name].astype(float))


def test_predictions_have_the_digits_of_single_precision(own):
    for suffix in ("csv", "parquet"):
        assert calibrate(own, "--report", own / f"r.{suffix}", out=f"p.{suffix}").exit_code == 0
    text = pd.read_csv(own / "p.csv", index_col=0, dtype=str)
    for cell in text.to_numpy().ravel():
        assert cell == str(np.float32(cell)).removesuffix(".0")
    np.testing.assert_array_equal(read_table(own / "p.csv"), read_table(own / "p.parquet"))
    report = pd.read_csv(own / "r.csv", dtype=str)
    for cell in report["training_mse"]:
        assert cell == str(np.float32(cell))


def test_a_pipeline_checks_its_table_in_the_same_way(tmp_path):
    rows = ["who,Q1,Q2,Q3,note", "a,1,2,refused,x", "b,2,-99,1,y", "c,3,3,2,z"]
    (tmp_path / "h.csv").write_text("\n".join(rows) + "\n")
    people = [Persona(name, "A person.") for name in "abc"]
    asked = [Question(f"Q{j}", "?", scale=Scale(1, 3, 1)) for j in (1, 2, 3)]
    settings = Calibrate(tmp_path / "h.csv")
    with pytest.raises(ValueError, match=r"'refused' at row 'a', column 'Q3'.*missing='refused'"):
        check_calibration(settings, people, asked)
    check_calibration(dataclasses.replace(settings, missing="refused,-99"), people, asked)
    people = [Persona(name, "A person.") for name in "ABC"]
    with pytest.raises(ValueError, match=r"has 0 of the 3 personas.*3 differ only in case"):
        check_calibration(settings, people, asked)


# --- the others -----------------------------------------------------------------------------------


class Counter:
    """Answers every question with a large number."""

    identity = EngineIdentity("scripted", "stub", "1")

    def stream(self, requests):
        for position, _ in enumerate(requests):
            yield position, Completion(str(LARGE), (), "stop", 10, 1, 5)

    def close(self):
        pass


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(model_commands, "build_engine", lambda *a, **b: Counter())
    people = pd.DataFrame({"id": ["01", "02"], "text": ["A person.", "Another."]})
    people.to_csv(tmp_path / "p.csv", index=False)
    asked = [{"identifier": q, "text": f"{q}?", "scale": [0, 1e9]} for q in ("Q1", "Q2")]
    (tmp_path / "q.json").write_text(json.dumps(asked))
    done = run(
        "respond", "--personas", tmp_path / "p.csv", "--questions", tmp_path / "q.json",
        "--template", "survey", "--store", tmp_path / "r.db", "--engine", "vllm", "--model", "m",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return tmp_path / "r.db"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_stored_answers_leave_with_all_digits(store, tmp_path, suffix):
    outputs = {n: tmp_path / f"{n}.{suffix}" for n in ("out", "ratings", "records")}
    given = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    done = run("panel", store, *given)
    assert done.exit_code == 0, done.output
    table = read_table(outputs["out"])
    assert list(table.index) == ["01", "02"]
    np.testing.assert_array_equal(table, np.full((2, 2), LARGE))
    for name, column in (("ratings", "rating"), ("records", "value")):
        read = read_table(outputs[name], numeric=False)
        np.testing.assert_array_equal(read[column].astype(float), np.full(4, LARGE))


def test_panel_takes_codes_and_says_what_it_drops(store, tmp_path):
    (tmp_path / "h.csv").write_text("who,Q1,Q2,Q3\n01,5,refused,1\n02,-99,4,1\n3,1,2,1\n")
    options = ("--human", tmp_path / "h.csv", "--out", tmp_path / "t.csv", "--join", "inner")
    refused(run("panel", store, *options), '--missing "refused"')
    done = run("panel", store, *options, "--missing", "refused,-99")
    assert done.exit_code == 0, done.output
    assert "human answers: 50.0% missing" in done.stdout
    assert "dropped by --join inner: 1 respondent and 1 question that only human" in done.stdout
    refused(run("panel", store, "--out", tmp_path / "t.csv", "--missing", "x"), "--human")


def test_fidelity_leaves_missing_ratings_out(tmp_path, monkeypatch):
    rows = [f"u{i},m{j},{1 + (i + j) % 5}" for i in range(3) for j in range(3)]
    (tmp_path / "r.csv").write_text("\n".join(["user,item,rating", *rows, "u3,m0,n/s"]) + "\n")
    (tmp_path / "i.csv").write_text("item,title\nm0,A\nm1,B\nm2,C\n")
    (tmp_path / "p.csv").write_text("persona,item,rating\np1,m0,4\np1,m1,-99\np1,m2,2\n")
    found = []

    def measure(ratings, vectors, personas, **options):
        found.append((ratings, personas))
        raise ValueError("enough")

    monkeypatch.setattr(fidelity_command, "measure_fidelity", measure)
    np.save(tmp_path / "e.npy", np.eye(3))
    options = [
        "fidelity", "--ratings", tmp_path / "r.csv", "--items", tmp_path / "i.csv", "--personas",
        tmp_path / "p.csv", "--out", tmp_path / "out", "--embeddings", tmp_path / "e.npy",
    ]  # fmt: skip
    refused(run(*options), "r.csv", "'n/s' at row 9", '--missing "n/s"')
    refused(run(*options, "--missing", "N/S,-99"), "enough")
    [(ratings, personas)] = found
    assert len(ratings) == 9 and ratings.users == ("u0", "u1", "u2")
    assert personas.rating.tolist() == [4, 2]
    (tmp_path / "p.csv").write_text("persona,item,rating\np1,M0,4\np1,m1,3\n")
    refused(run(*options, "--missing", "n/s"), "not in the items file", "only in case")
    (tmp_path / "p.csv").write_text("persona,item,rating\np1,m0,4\np1,m1\n")
    refused(run(*options, "--missing", "n/s"), "p.csv", "line 3", "2 cells")


@pytest.mark.parametrize("missing", ["refused,n/a", 'say "no"', "it's"])
def test_suggestions_can_be_typed(missing):
    text = as_typed(f"x; missing={missing!r}")
    assert shlex.split(text.removeprefix("x; ")) == ["--missing", missing]
