"""`reproduce` for the tables of weighted ensembles, and `calibrate-distribution`."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
from published_layout import write_published_distributions
from rich.console import Console
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.render import distributions as command_module
from syndigits_jax.cli.render import ensembles as reproduce_module
from syndigits_jax.datasets import load_distributions, simulate_distributions
from syndigits_jax.distribution import DIVERGENCES
from syndigits_jax.results.records import Record
from syndigits_jax.studies.syn_digits import ensembles
from syndigits_jax.studies.syn_digits.ensembles import run_ensembles
from syndigits_jax.studies.syn_digits.paper_values import OPINIONQA
from syndigits_jax.workflows.distributions import calibrate_distributions

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def failed_in_one_line(result, *words):
    """Exit code 2 and one line on the error stream that holds `words`."""
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], result.stderr
    for word in words:
        assert word in errors[0], errors[0]
    return True


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- reproduce ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published_distributions(tmp_path_factory.mktemp("published"))


@pytest.fixture
def few_steps(monkeypatch):
    """One data set, and 30 steps instead of 100,000."""
    readers = {OPINIONQA: ensembles._READERS[OPINIONQA]}
    monkeypatch.setattr(ensembles, "_READERS", readers)
    patched = functools.partial(run_ensembles, steps=30)
    monkeypatch.setattr(reproduce_module, "run_ensembles", patched)


def test_reproduce_prints_both_numbers_and_resumes(published, tmp_path, few_steps):
    arguments = ("reproduce", "table6", "--data", published, "--out", tmp_path)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "opinionqa: new questions, reference setting (3 fits in " in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["objective", "variant", *DIVERGENCES, "training", "leaked"] in lines
    document = json.loads((tmp_path / "results.json").read_text())
    mean = {(r["variant"], r["metric"]): r["mean"] for r in document["records"]}
    [both] = [line for line in lines if line[:2] == ["cdf_l1", "both"]]
    expected = [mean["both", metric] for metric in DIVERGENCES]
    np.testing.assert_allclose([float(cell) for cell in both[2:9]], expected, atol=6e-4)
    assert float(both[9]) == pytest.approx(mean["both", "training"], abs=6e-5)
    assert [line[1:] for line in lines if line[:1] == ["paper"]] == [
        ["0.178", "0.298", "0.123", "0.031", "0.154", "0.271", "0.045"],
        ["0.350", "11824", "1.300", "0.137", "0.303", "0.520", "0.154"],
    ]
    for variant in ("personas", "dummies"):
        [row] = [line for line in lines if line[:1] == [variant]]
        assert row[-1] == f"{100 * mean[variant, 'leaked_mass']:.1f}%"
    assert any(line[:2] == ["control", "uniform"] for line in lines)
    assert any(line[:1] == ["mean-distribution"] for line in lines)
    assert "largest difference from the paper: " in result.stdout
    assert "[1/1] opinionqa, answer distributions, reference: 30 steps ..." in result.stderr
    assert "[1/1] opinionqa, answer distributions, reference: done in" in result.stderr
    made = files_in(tmp_path)
    assert len(made) == 4
    pictures = ["figure8-opinionqa-reference.png", "figure9-opinionqa-reference.png"]
    assert made[:3] == [*pictures, "results.json"]
    drawn = [(tmp_path / name).read_bytes() for name in pictures]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    # Again: nothing is computed, and nothing changes.
    again = run(*arguments)
    assert again.exit_code == 0 and again.stderr.count("resumed") == 1
    assert again.stdout == result.stdout and files_in(tmp_path) == made
    assert drawn == [(tmp_path / name).read_bytes() for name in pictures]
    assert json.loads((tmp_path / "results.json").read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table6", "--method", "ridge"], ["No such option", "--method"]),
        (["tables9-10", "--construction", "JSON"], ["No such option"]),
        (["table6", "--setting", "paper"], ["--setting", "reference"]),
        (["table9"], ["No such command"]),
    ],
)
def test_reproduce_refuses_bad_options(published, tmp_path, arguments, words):
    result = run("reproduce", *arguments, "--data", published, "--out", tmp_path / "out")
    assert failed_in_one_line(result, *words)
    assert not (tmp_path / "out").exists()


def test_reproduce_says_where_missing_data_come_from(tmp_path):
    result = run("reproduce", "table6", "--data", tmp_path, "--out", tmp_path / "out")
    assert failed_in_one_line(result, "git clone")
    assert not (tmp_path / "out").exists()


def test_reproduce_leaves_a_foreign_results_file_alone(published, tmp_path, few_steps):
    (tmp_path / "results.json").write_text("mine")
    result = run("reproduce", "table6", "--data", published, "--out", tmp_path)
    assert failed_in_one_line(result, "is not a results file")
    assert (tmp_path / "results.json").read_text() == "mine"


def test_the_table_of_certified_fits(capsys):
    def record(variant, metric, mean, objective="tv", **fields):
        name = ("tables9-10", "movielens", "summary", "question", "WeightedEnsemble", "default")
        return Record(*name, metric, mean, None, 9, objective=objective, variant=variant, **fields)

    records = []
    for variant, level, seconds in (("both", 0.1, 2.5), ("blend", 0.05, 31.0)):
        fields = {"seconds": seconds, "gap": 2e-4 if variant == "both" else None}
        if variant == "both":
            records.append(record(variant, "training", 0.07654, **fields))
            records.append(record(variant, "gap", 2e-4, **fields))
        else:
            records.append(record(variant, "share_of_mean", 0.25, **fields))
        records += [record(variant, metric, level, **fields) for metric in DIVERGENCES]
    records += [record("uniform", metric, 2000.4, None) for metric in DIVERGENCES]
    console = Console(width=120, force_terminal=True, highlight=False, color_system="standard")
    reproduce_module.print_ensembles(console, "title", records)
    shown = capsys.readouterr().out
    assert "title (1 fits in 2.5 s, 1 cross-validated blends in 31.0 s)" in shown
    assert "0.0765" in shown and "2e-04" in shown and "blend, 25% mean" in shown
    assert shown.count("\x1b[1m0.050\x1b[0m") == 7 and "\x1b[1m0.100" not in shown
    assert shown.count("2000") == 7
    assert reproduce_module.furthest_from_paper(records) is None


# --- calibrate-distribution ---------------------------------------------------------------------

KNOWN = 10  # as many as the folds of the report: each is held out alone


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A user's tables: 13 questions answered by 40 twins, 10 of them by people too."""
    folder = tmp_path_factory.mktemp("own")
    data, _ = simulate_distributions(40, 13, 4, key=0, sample=500)
    counts = pd.DataFrame(
        data.counts[:KNOWN].astype(int),
        index=pd.Index(data.questions[:KNOWN], name="item"),
        columns=data.options,
    )
    counts.to_csv(folder / "counts.csv")
    answers = pd.DataFrame(
        data.choices.astype(int) + 1,
        index=pd.Index(data.twins, name="twin"),
        columns=data.questions,
    )
    # The twins' table has another order: identifiers decide.
    answers.iloc[::-1, ::-1].to_csv(folder / "answers.csv")
    return folder


@pytest.fixture
def own(tables, tmp_path):
    for path in tables.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def calibrate(folder, *arguments, out="pred.csv"):
    return run(
        "calibrate-distribution", "--human", folder / "counts.csv", "--twin",
        folder / "answers.csv", "--out", folder / out, *arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(tables):
    return calibrate_distributions(
        load_distributions(tables / "counts.csv", tables / "answers.csv"), blend=False
    )


@pytest.mark.parametrize(
    ("upper", "words"),
    [
        ([0.9, 0.9], None),
        ([1.0, 1.0], "need 19 questions with counts, there are 3: all of them run from 0 to 1"),
    ],
)
def test_intervals_that_say_nothing_get_a_note(upper, words):
    columns = {"1": [0.4], "2": [0.6], "1_lower": [0.0], "2_lower": [0.0]}
    columns |= {f"{j + 1}_upper": [value] for j, value in enumerate(upper)}
    note = command_module._empty_intervals(pd.DataFrame(columns), 3, 0.05)
    assert note is None if words is None else note is not None and words in note


def test_new_questions_are_predicted(own, plain):
    result = calibrate(own, "--no-blend", "--report", own / "report.csv")
    assert result.exit_code == 0, result.output
    predicted = pd.read_csv(own / "pred.csv", index_col="question")
    assert sorted(predicted.index) == ["q10", "q11", "q12"]
    assert list(predicted.columns) == ["1", "2", "3", "4"]
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(predicted, plain.predictions, rtol=1e-5)
    # A prediction is what the weighted twins and dummies answer.
    data = load_distributions(own / "counts.csv", own / "answers.csv")
    chosen = data.choices[:, [data.questions.index(name) for name in predicted.index]]
    expected = np.eye(4)[chosen.astype(int)].transpose(1, 2, 0) @ np.asarray(
        plain.ensemble.personas
    ) + np.asarray(plain.ensemble.dummies)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    report = pd.read_csv(own / "report.csv", index_col="question")
    assert list(report.index) == [f"q{j}" for j in range(KNOWN)]
    assert (report["human_answers"] == 500).all()
    assert report["training"].mean() == pytest.approx(float(plain.ensemble.divergence), abs=1e-4)
    assert report["training"].mean() < report["held_out"].mean()
    for name in ("training", "held_out", "uniform_twins", "mean_distribution"):
        assert f"{report[name].mean():.4f}" in result.stdout
    assert "certified gap" in result.stdout and "(converged)" in result.stdout
    name, weight = plain.carriers[0]
    assert f"heaviest twins: {name} {100 * weight:.1f}%" in result.stdout
    assert weight == float(plain.ensemble.personas.max())
    assert files_in(own) == ["answers.csv", "counts.csv", "pred.csv", "report.csv"]


def test_the_report_judges_the_mean_of_the_other_questions(tables, plain):
    counts = pd.read_csv(tables / "counts.csv", index_col=0).to_numpy() / 500
    others = np.stack([np.delete(counts, j, axis=0).mean(axis=0) for j in range(KNOWN)])
    expected = np.abs(counts - others).sum(axis=1) / 2
    np.testing.assert_allclose(plain.report["mean_distribution"], expected, rtol=1e-4)


def test_questions_weighted_by_their_counts(own):
    """A question of nearly all answers is fitted nearly alone: better than among equals."""
    counts = pd.read_csv(own / "counts.csv", index_col="item")
    counts.loc["q3"] *= 100_000
    counts.to_csv(own / "counts.csv")
    errors = []
    for option in ([], ["--weight-by-count"]):
        result = calibrate(own, "--no-blend", "--report", own / "report.csv", *option)
        assert result.exit_code == 0, result.output
        report = pd.read_csv(own / "report.csv", index_col="question")
        errors.append(report.loc["q3", "training"])
    assert errors[1] < 2e-3 < errors[0]


def test_a_blend_with_intervals_and_a_dropped_option(own):
    arguments = ("--drop", "4.0", "--intervals", 0.8)
    result = calibrate(own, *arguments)
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(own / "pred.csv", index_col="question")
    assert list(frame.columns) == [f"{k}{end}" for end in ("", "_lower", "_upper") for k in "123"]
    np.testing.assert_allclose(frame[list("123")].sum(axis=1), 1, rtol=1e-5)
    widths = []
    for k in "123":
        assert (frame[f"{k}_lower"] >= 0).all() and (frame[f"{k}_upper"] <= 1).all()
        assert (frame[f"{k}_lower"] < frame[k]).all() and (frame[k] < frame[f"{k}_upper"]).all()
        widths.append(frame[f"{k}_upper"] - frame[k])
    # One width per option, the same for all new questions (none is cut off at 0 or 1 here).
    np.testing.assert_allclose(np.ptp(widths, axis=1), 0, atol=1e-5)
    assert "mean distribution" in result.stdout and "written" in result.stdout
    # The order of rows and columns decides nothing.
    for name in ("counts", "answers"):
        table = pd.read_csv(own / f"{name}.csv", index_col=0)
        table.sample(frac=1, random_state=1, axis=1).to_csv(own / f"{name}.csv")
    assert calibrate(own, *arguments, out="again.tsv").exit_code == 0
    again = pd.read_csv(own / "again.tsv", sep="\t", index_col="question")
    np.testing.assert_allclose(again.loc[frame.index, frame.columns], frame, atol=5e-3)


def test_a_new_question_with_fewer_options(own):
    answers = pd.read_csv(own / "answers.csv", index_col=0)
    answers["q11"] = answers["q11"].clip(upper=3)
    answers.to_csv(own / "answers.csv")
    result = calibrate(own, "--no-blend", "--options", "q11=1,2,3")
    assert result.exit_code == 0, result.output
    predicted = pd.read_csv(own / "pred.csv", index_col="question")
    assert predicted.loc["q11", "4"] == 0 and (predicted.drop("q11")["4"] > 0).all()
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


def test_new_questions_beside_questions_of_two_sizes(own):
    """Half of the questions have two options: those of new ones are inferred, or asked for."""
    counts = pd.read_csv(own / "counts.csv", index_col="item").astype(float)
    answers = pd.read_csv(own / "answers.csv", index_col=0)
    two = [f"q{j}" for j in range(0, KNOWN, 2)]
    counts.loc[two, ["3", "4"]] = np.nan
    answers[[*two, "q11"]] = answers[[*two, "q11"]].clip(upper=2)
    counts.to_csv(own / "counts.csv")
    answers.to_csv(own / "answers.csv")
    result = calibrate(own, "--no-blend")
    assert failed_in_one_line(result, "not known ('q11'", "--options q11=1,2")
    result = calibrate(own, "--no-blend", "--options", "q11=1,2", "--intervals", "0.7")
    assert result.exit_code == 0, result.output
    predicted = pd.read_csv(own / "pred.csv", index_col="question")
    assert (predicted.loc["q11", ["3", "4", "3_upper", "4_upper"]] == 0).all()
    assert (predicted.drop("q11")[["3", "4"]] > 0).all(axis=None)
    np.testing.assert_allclose(predicted[list("1234")].sum(axis=1), 1, rtol=1e-5)
    assert "q10=1,2,3,4" in result.stdout and "q12=1,2,3,4" in result.stdout
    assert "inferred from what twins chose" in result.stdout and "q11=" not in result.stdout
    assert failed_in_one_line(
        calibrate(own, "--options", "q11=1,2", "--drop", 1, "--drop", 2), "no option is left", "q0"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--divergence", "l3"], ["--divergence", "cdf_l1"]),
        (["--variant", "all", "--no-blend"], ["--variant", "dummies"]),
        (["--drop", "9"], ["drop: no option '9'", "1, 2, 3, 4"]),
        (["--drop", "1", "--drop", "2", "--drop", "3"], ["at least two options must stay"]),
        (["--intervals", 1.5], ["--intervals must be a share"]),
        (["--options", "q10"], ["--options: expected QUESTION=VALUE,VALUE", "'q10'"]),
        (["--options", "q0=1,2"], ["new_options: 'q0' is none of the questions to predict"]),
    ],
)
def test_bad_options_are_refused(own, arguments, words):
    before = files_in(own)
    assert failed_in_one_line(calibrate(own, *arguments), *words)
    assert files_in(own) == before


def test_bad_tables_are_refused(own):
    assert failed_in_one_line(calibrate(own, out="pred.txt"), "pred.txt", "unknown table format")
    assert failed_in_one_line(calibrate(own, out="counts.csv"), "is an input")
    result = calibrate(own, "--report", own / "pred.csv")
    assert failed_in_one_line(result, "is that of --out too")
    counts, answers = (pd.read_csv(own / f"{n}.csv", index_col=0) for n in ("counts", "answers"))

    def with_counts(frame, *words):
        frame.to_csv(own / "counts.csv")
        return failed_in_one_line(calibrate(own), *words)

    assert with_counts(counts * 0, "nobody is counted in question 'q0'")
    assert with_counts(-counts, "negative count for question 'q0'")
    assert with_counts(counts * np.nan, "at least two questions with counts")
    assert with_counts(counts.iloc[:1], "at least two questions with counts")
    assert with_counts(counts.rename(index={"q3": "Q3"}), "twins: no answers to 1 questions", "Q3")
    refused = counts.assign(**{"1": 0, "2": 0, "3": 0})
    refused.iloc[1:] = counts.iloc[1:]
    refused.to_csv(own / "counts.csv")
    assert failed_in_one_line(calibrate(own, "--drop", 4), "no other option was chosen", "'q0'")
    counts.to_csv(own / "counts.csv")
    answers[list(counts.index)].to_csv(own / "answers.csv")
    assert failed_in_one_line(calibrate(own), "no question without targets")
    (answers + 4).to_csv(own / "answers.csv")
    assert failed_in_one_line(calibrate(own), "which is none of the options 1, 2, 3, 4")
    (own / "answers.csv").unlink()
    assert failed_in_one_line(calibrate(own), "no such file", "answers.csv")
    assert files_in(own) == ["counts.csv"]


def test_an_interrupt_keeps_the_old_predictions(own, plain, monkeypatch):
    (own / "pred.csv").write_text("old")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    result = calibrate(own, "--no-blend")
    assert result.exit_code == 130 and "nothing was written" in result.stderr
    assert (own / "pred.csv").read_text() == "old"
    assert files_in(own) == ["answers.csv", "counts.csv", "pred.csv"]
