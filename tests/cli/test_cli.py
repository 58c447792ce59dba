"""The command line: exit codes, one-line errors, files whole or not at all, resumption.

Longer than 400 lines: the commands share their files and what they are held to.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_layout import OTHER, frames, write_published
from typer.testing import CliRunner

import syndigits_jax
from syndigits_jax.calibration import Ridge
from syndigits_jax.cli import exits
from syndigits_jax.cli.app import app
from syndigits_jax.cli.render.console import output, print_block
from syndigits_jax.evaluation import choose_penalty
from syndigits_jax.results import files as files
from syndigits_jax.studies.syn_digits import tables
from syndigits_jax.studies.syn_digits.comparison import Block
from syndigits_jax.workflows import calibrate as workflow

runner = CliRunner()
NAMES = ("human", "twin")


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def failed_in_one_line(result, *words, code=2):
    """The exit code, 2 by default, and one line on the error stream that holds `words`."""
    assert result.exit_code == code, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], result.stderr
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in result.output
    return True


def files_in(folder: Path):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def own(tmp_path):
    """A user's tables: 24 people, 8 questions answered, 2 asked of the twins only."""
    human, twin = frames(5, 24, 10)
    human.iloc[:, :8].to_csv(tmp_path / "human.csv", index_label="person")
    # The twins' table has another order: identifiers decide.
    twin.iloc[::-1, ::-1].to_csv(tmp_path / "twin.csv", index_label="person")
    return tmp_path


def calibrate(folder, *arguments, out="pred.csv"):
    method = () if "--method" in arguments else ("--method", "elastic-net")
    return run(
        "calibrate", "--human", folder / "human.csv", "--twin", folder / "twin.csv",
        "--out", folder / out, *method, *arguments,
    )  # fmt: skip


# --- the entry ----------------------------------------------------------------------------------


def test_version_and_help():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"syndigits {syndigits_jax.__version__}\n")
    result = run()
    assert result.exit_code == 0 and "reproduce" in result.stdout
    assert run("reproduce", "--help").exit_code == 0
    assert "table2" in run("reproduce").stdout  # a group without a command shows its help


@pytest.mark.parametrize(
    "arguments",
    [["reproduce", "table2"], ["unknown"], ["calibrate", "--human"], ["demo", "--folder", "x"]],
)
def test_usage_errors_take_one_line(arguments):
    assert failed_in_one_line(run(*arguments))


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'typer':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from syndigits_jax.cli import main\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "needs typer" in result.stderr and 'pip install "syndigits-jax[study]"' in result.stderr


# --- reproduce ----------------------------------------------------------------------------------


def test_reproduce_prints_both_numbers_and_writes_the_results(published, tmp_path):
    result = run(
        "reproduce", "table2", "--data", published, "--out", tmp_path, "--method", "ridge",
        "--setting", "both",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "results.json").read_text())
    means = {
        (r["method"], r["setting"]): r["mean"]
        for r in document["records"]
        if r["metric"] == "pearson"
    }
    assert f"{means['Ridge', 'reference']:.3f}" in result.stdout
    assert f"{means['Ridge', 'default']:.3f}" in result.stdout
    assert "0.511 ± 0.005" in result.stdout and "UserMean" in result.stdout
    assert "largest difference from the paper" in result.stdout
    assert "[1/2] movielens, new questions, reference: done in" in result.stderr
    made = files_in(tmp_path)
    assert {"results.json", "table2-movielens-default.png", "table2-movielens-reference.png"} < set(
        made
    )
    assert (tmp_path / "table2-movielens-default.png").read_bytes()[:4] == b"\x89PNG"
    # Again: nothing is computed, and nothing changes.
    again = run(
        "reproduce", "table2", "--data", published, "--out", tmp_path, "--method", "Ridge",
        "--setting", "both",
    )  # fmt: skip
    assert again.exit_code == 0 and again.stderr.count("resumed") == 2
    assert again.stdout == result.stdout and files_in(tmp_path) == made
    assert json.loads((tmp_path / "results.json").read_text()) == document


def test_fits_that_did_not_converge_are_named(capsys):
    unfinished = {"default": {"Ridge": 0.999, "Lasso": 0.999, "HardImpute": 0.25}}
    place = ("table4", "twin-2k-500", OTHER, "question", "pearson")
    unimputed = {"reference": {"Ridge": 0.5}}
    print_block(output(), Block(*place, ("reference", "default"), (), unfinished, unimputed))
    shown = capsys.readouterr().out
    fits, imputations = shown.splitlines()[-2:]
    assert "default: not all fits met their tolerance" in fits
    assert "99% of Ridge, Lasso; 25% of HardImpute" in fits and "reference:" not in fits
    assert imputations == "reference: not all imputations met their tolerance, but 50% of Ridge"


def test_reproduce_prints_the_correlation_beyond_item_means_for_new_users(published, tmp_path):
    result = run("reproduce", "table5", "--data", published, "--out", tmp_path, "--method", "ridge")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("new users, correlation beyond the item means") == 2
    assert "ItemMean" in result.stdout and "0.373 ± 0.006" in result.stdout


def test_reproduce_figure5_draws_its_curve(published, tmp_path):
    result = run(
        "reproduce", "figure5", "--data", published, "--out", tmp_path, "--method", "ridge"
    )
    assert result.exit_code == 0, result.output
    assert "best adaptive correlation" in result.stdout and "(paper 0.252)" in result.stdout
    assert "figure5-text-persona-gpt4.1-mini-reference.png" in files_in(tmp_path)


def test_an_interrupt_keeps_finished_units_and_says_how_to_resume(published, tmp_path, monkeypatch):
    real, calls = tables.leave_one_question_out, []

    def second_is_interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(tables, "leave_one_question_out", second_is_interrupted)
    arguments = (
        "reproduce", "table4", "--data", published, "--out", tmp_path, "--method", "ridge",
    )  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 130
    assert "run the same command again to resume" in result.stderr
    made = files_in(tmp_path)
    assert len(made) == 1 and made[0].startswith("units/") and made[0].endswith(".npz")
    result = run(*arguments)
    assert result.exit_code == 0 and len(calls) == 3
    assert result.stderr.count("resumed") == 1


def test_a_write_that_fails_midway_leaves_no_results(published, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device", str(self))

    arguments = ("reproduce", "table2", "--data", published, "--out", tmp_path, "--method", "ridge")
    with monkeypatch.context() as patch:
        patch.setattr(files.Path, "write_text", full)
        assert failed_in_one_line(run(*arguments), "no space left", code=3)
    assert all(name.startswith("units/") for name in files_in(tmp_path))
    assert run(*arguments).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table9"], ["No such command 'table9'"]),
        (["table4", "--method", "elastc-net"], ["--method", "elastic-net"]),
        (["table4", "--construction", "JSON"], ["unknown construction 'JSON'"]),
        (["table2", "--construction", OTHER], ["No such option", "--construction"]),
        (["table2", "--setting", "paper"], ["--setting", "reference"]),
    ],
)
def test_reproduce_refuses_bad_names(published, tmp_path, arguments, words):
    result = run("reproduce", *arguments, "--data", published, "--out", tmp_path / "out")
    assert failed_in_one_line(result, *words)
    assert not (tmp_path / "out").exists()


def test_reproduce_says_where_missing_data_come_from(tmp_path):
    result = run("reproduce", "table2", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert failed_in_one_line(result, "none", "git clone")
    assert not (tmp_path / "out").exists()


def test_reproduce_leaves_a_foreign_results_file_alone(published, tmp_path):
    (tmp_path / "results.json").write_text("mine")
    result = run("reproduce", "table2", "--data", published, "--out", tmp_path, "--method", "ridge")
    assert failed_in_one_line(result, "is not a results file")
    assert (tmp_path / "results.json").read_text() == "mine"


# --- calibrate ----------------------------------------------------------------------------------


def test_calibrate_new_questions(own):
    result = calibrate(own, "--method", "ridge", "--penalty", 5, "--report", own / "report.csv")
    assert result.exit_code == 0, result.output
    human = pd.read_csv(own / "human.csv", dtype={"person": str}).set_index("person")
    predicted = pd.read_csv(own / "pred.csv", dtype={"person": str}).set_index("person")
    assert list(predicted.index) == list(human.index)
    assert sorted(predicted.columns) == ["Q10", "Q9"]
    assert np.isfinite(predicted.to_numpy()).all()
    report = pd.read_csv(own / "report.csv").set_index("question")
    assert list(report.index) == list(predicted.columns)
    assert {"human_answers", "training_mse", "status", "transferred"} <= set(report.columns)
    assert "Q9" in result.stdout and "written" in result.stdout
    assert files_in(own) == ["human.csv", "pred.csv", "report.csv", "twin.csv"]


def test_calibrate_chooses_its_penalty(own):
    result = calibrate(own, "--method", "ridge", "--penalty", "auto")
    assert result.exit_code == 0, result.output
    [chosen] = re.findall(r"^ridge --penalty (\S+)$", result.stdout, re.MULTILINE)
    automatic = pd.read_csv(own / "pred.csv", index_col=0)
    assert calibrate(own, "--method", "ridge", "--penalty", chosen).exit_code == 0
    np.testing.assert_allclose(pd.read_csv(own / "pred.csv", index_col=0), automatic, rtol=1e-3)
    human, twin = (pd.read_csv(own / f"{n}.csv", index_col=0).sort_index() for n in NAMES)
    order = [*human.columns, *twin.columns.difference(human.columns)]
    candidates = float(Ridge().penalty) * np.logspace(-2, 2, 9)
    expected = choose_penalty(Ridge(), human.to_numpy(), twin[order].to_numpy(), candidates)
    assert float(chosen) == pytest.approx(float(expected.best.penalty), rel=1e-4)


def test_calibrate_matches_by_identifier_not_position(own):
    assert calibrate(own, "--method", "ridge").exit_code == 0
    first = pd.read_csv(own / "pred.csv").set_index("person").sort_index()
    twin = pd.read_csv(own / "twin.csv")
    shuffled = twin.sample(frac=1.0, random_state=3)
    columns = ["person", *sorted(twin.columns.drop("person"))]
    shuffled[columns].to_csv(own / "twin.csv", index=False)
    assert calibrate(own, "--method", "ridge").exit_code == 0
    second = pd.read_csv(own / "pred.csv").set_index("person").sort_index()
    np.testing.assert_allclose(second[first.columns], first, rtol=1e-4, atol=1e-4)


def test_calibrate_new_users(own):
    human = pd.read_csv(own / "human.csv")
    twin = pd.read_csv(own / "twin.csv")[list(human.columns)]
    twin.to_csv(own / "twin.csv", index=False)
    human.iloc[:20].to_csv(own / "human.csv", index=False)
    result = calibrate(own, "--method", "ridge", "--new-users")
    assert result.exit_code == 0, result.output
    predicted = pd.read_csv(own / "pred.csv")
    assert sorted(predicted["person"]) == sorted(human["person"].iloc[20:])
    assert list(predicted.columns) == list(human.columns)


def test_calibrate_uses_known_answers_to_a_named_target(own):
    human = pd.read_csv(own / "human.csv")
    known = human["Q3"].notna()
    human.loc[known & (known.cumsum() > 6), "Q3"] = np.nan
    human.to_csv(own / "human.csv", index=False)
    result = calibrate(own, "--method", "ridge", "--target", "Q3", "--report", own / "report.csv")
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(own / "pred.csv").columns) == ["person", "Q3"]
    assert pd.read_csv(own / "report.csv")["human_answers"].tolist() == [6]


def test_calibrate_reverts_to_the_twins_beyond_a_threshold(own):
    result = calibrate(own, "--method", "ridge", "--threshold", 0.0)
    assert result.exit_code == 0 and "twins as they are" in result.stdout
    predicted = pd.read_csv(own / "pred.csv").set_index("person")
    twin = pd.read_csv(own / "twin.csv").set_index("person")
    pd.testing.assert_frame_equal(
        predicted, twin.loc[predicted.index, predicted.columns], check_dtype=False
    )


@pytest.mark.parametrize("threshold", [None, 1000])
def test_calibrate_says_where_all_twins_answer_alike(own, threshold):
    """Such a fit has no error, which is no merit: it must not look like the best of them."""
    twin = pd.read_csv(own / "twin.csv")
    twin.loc[twin["Q9"].notna(), "Q9"] = 3.3
    twin.to_csv(own / "twin.csv", index=False)
    options = [] if threshold is None else ["--threshold", threshold]
    result = calibrate(own, "--method", "ridge", "--report", own / "report.csv", *options)
    assert result.exit_code == 0, result.output
    lines = map(str.strip, result.stdout.splitlines())
    rows = {line.split()[0]: line for line in lines if line.startswith("Q")}
    assert "twins all alike" in rows["Q9"] and "calibrated" not in rows["Q9"]
    assert "0.000" not in rows["Q9"] and "nan" not in rows["Q9"]
    assert ("twins as they are" in rows["Q9"]) == (threshold is not None)
    assert "converged" in rows["Q10"] and "calibrated" in rows["Q10"]
    report = pd.read_csv(own / "report.csv").set_index("question")
    assert np.isnan(report.training_mse["Q9"]) and report.status["Q9"] == "twins all alike"
    assert report.twins_alike.to_dict() == {"Q9": True, "Q10": False}
    assert report.transferred.to_dict() == {"Q9": threshold is None, "Q10": True}


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_calibrate_writes_other_formats(own, suffix):
    assert calibrate(own, "--method", "ridge", out=f"pred.{suffix}").exit_code == 0
    path = own / f"pred.{suffix}"
    frame = pd.read_parquet(path) if suffix == "parquet" else pd.read_csv(path, sep="\t")
    assert len(frame) == 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "elastic"], ["--method", "unknown method 'elastic'", "'elastic-net'"]),
        (["--method", "ridge", "--alpha", 1], ["ridge has no --alpha", "--penalty"]),
        (["--method", "ridge", "--penalty", -1], ["penalty must be finite and at least 0"]),
        (["--method", "neural-net", "--hidden", -3], ["--hidden must be at least 1, got -3"]),
        (["--method", "ridge", "--penalty", "much"], ["--penalty must be a number or auto"]),
        (["--method", "ridge", "--alpha", "auto"], ["ridge has no --alpha", "--penalty"]),
        (["--target", "Q99"], ["no question 'Q99'"]),
        (["--id-column", "name"], ["no column 'name'"]),
        (["--join", "outer"], ["--join", "'outer' is not one of"]),
        (["--new-users"], ["'Q9'", "--join inner"]),
    ],
)
def test_calibrate_refuses_bad_options(own, arguments, words):
    before = files_in(own)
    assert failed_in_one_line(calibrate(own, *arguments), *words)
    assert files_in(own) == before


def test_calibrate_refuses_bad_files(own):
    assert failed_in_one_line(calibrate(own, out="pred.txt"), "pred.txt", "unknown table format")
    result = run(
        "calibrate", "--human", own / "none.csv", "--twin", own / "twin.csv", "--out",
        own / "pred.csv",
    )  # fmt: skip
    assert failed_in_one_line(result, "no such file", "none.csv")
    twin = pd.read_csv(own / "twin.csv")
    twin.iloc[:-1].to_csv(own / "twin.csv", index=False)
    assert failed_in_one_line(calibrate(own), "respondent")
    twin.assign(Q2="yes").to_csv(own / "twin.csv", index=False)
    assert failed_in_one_line(calibrate(own), "Q2")
    twin[["person", *(f"Q{j}" for j in range(1, 9))]].to_csv(own / "twin.csv", index=False)
    assert failed_in_one_line(calibrate(own), "no new question")
    twin.iloc[:0].to_csv(own / "twin.csv", index=False)
    assert failed_in_one_line(calibrate(own), "twin.csv", "no rows")
    assert not (own / "pred.csv").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("solver: 1 of 2 problems\nmet NaN"), "1 of 2 problems met NaN"),
        (RuntimeError("RESOURCE_EXHAUSTED: " + "HLO " * 999), "RESOURCE_EXHAUSTED"),
        (MemoryError(), "out of memory"),
    ],
)
def test_failures_of_a_run_take_one_line(own, monkeypatch, error, words):
    def failing(*args, **kwargs):
        raise error

    monkeypatch.setattr(workflow, "calibrate_files", failing)
    result = calibrate(own)
    assert failed_in_one_line(result, words, code=3)
    line = result.stderr.splitlines()[-1].removeprefix("error: ")
    assert len(line) <= exits._LONGEST + len(" ...")


def test_an_output_that_cannot_be_written_is_named_itself(tmp_path):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", kwargs["dir"] / ".partial-x")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.tempfile, "mkstemp", refuse)
        with pytest.raises(PermissionError, match="cannot be written") as caught:
            files.write_text(tmp_path / "x.csv", "")
    assert caught.value.filename == str(tmp_path / "x.csv")


def test_an_interrupted_calibration_keeps_the_old_predictions(own, monkeypatch):
    (own / "pred.csv").write_text("old")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    result = calibrate(own, "--method", "ridge")
    assert result.exit_code == 130 and "nothing was written" in result.stderr
    assert (own / "pred.csv").read_text() == "old"
    assert files_in(own) == ["human.csv", "pred.csv", "twin.csv"]
