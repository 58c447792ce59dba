"""`syndigits pipeline`: from a file to a report, with a stub engine.

Longer than 400 lines: all tests share the stub, the two small studies and one finished run.
"""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from killed_writes import contents, kill_forks, left_over
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.render import fidelity as shell
from syndigits_jax.datasets import read_personas, write_questions
from syndigits_jax.preferences.training import TrainedEncoder
from syndigits_jax.respond.requests import Completion, EngineIdentity, Failure
from syndigits_jax.schema import Option, Question
from syndigits_jax.workflows.fidelity.measure import FidelityReport
from syndigits_jax.workflows.pipeline import run as command
from syndigits_jax.workflows.pipeline import worth

runner = CliRunner()
UNUSED = object.__new__(TrainedEncoder)  # of which a pipeline reports nothing
N = 14
ASKED = [f"a{j}" for j in range(6)]
TOLD = [f"b{j}" for j in range(3)]
LABELS = ["never", "rarely", "often", "always"]
CONFIG = """
out = "out"
[questions]
file = "q.json"
block = ["A"]
[[personas]]
kind = "survey"
human = "human.csv"
questions = "q.json"
[engine]
kind = "vllm"
model = "none"
[respond]
template = "survey"
readout = "probabilities"
[calibrate]
human = "human.csv"
"""
FIDELITY = """
out = "out"
[questions]
file = "i.csv"
scale = "purchase"
[[personas]]
kind = "backstory"
people = 3
[[personas]]
kind = "grounded"
ratings = "r.csv"
items = "i.csv"
people = 2
fewest = 1
[engine]
kind = "vllm"
model = "none"
[respond]
template = "fidelity-rating"
readout = "choice"
[fidelity]
ratings = "r.csv"
items = "i.csv"
embeddings = "e.npy"
"""


class Reader:
    """Answers by the persona's text, writes texts; fails or is silent at given requests, or fails
    wherever the persona has the text `too_long`."""

    identity = EngineIdentity("reader", "stub", "7")

    def __init__(self, fails=(), silent=()):
        self.fails, self.silent = set(fails), set(silent)
        self.asked, self.closed, self.too_long = [], 0, None

    def stream(self, requests):
        for position, request in enumerate(requests):
            number = len(self.asked)
            self.asked.append(request)
            if number in self.fails:
                yield position, Failure("HTTP 500")
            elif self.too_long and any(self.too_long in m.content for m in request.messages):
                yield position, Failure("too long")
            elif not request.answers:
                text = "" if number in self.silent else f"I am person {number}."
                yield position, Completion(text, None, "stop", 10, 5, 0)
            else:
                words = request.messages[-1].content + request.messages[0].content
                level = sum(words.count(f"Answer: {w}") * k for k, w in enumerate(LABELS)) / 3
                shares = np.exp(-np.abs(np.arange(len(request.answers)) - level))
                shares = 0.9 * shares / shares.sum()
                answer = request.answers[int(shares.argmax())]
                logs = tuple(np.log(shares).tolist())
                yield position, Completion(answer, logs, "stop", 10, 1, 5)

    def close(self):
        self.closed += 1


@pytest.fixture
def engine(monkeypatch):
    made = Reader()
    monkeypatch.setattr(command, "build_engine", lambda *a, **b: made)
    return made


@pytest.fixture
def survey(tmp_path):
    """A small survey: block A is asked, its last question of nobody; block B tells who it is."""
    write_survey(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The survey's folder after a run, with weights and groups, the engine that it asked, and a
    copy of the folder."""
    folder, engine = tmp_path_factory.mktemp("reported"), Reader()
    write_survey(folder)
    people = pd.read_csv(folder / "human.csv", index_col="id")
    people.assign(size=[1, 2] * 7, sex=["f", "m", "m", "f"] * 3 + ["f", "m"]).to_csv(
        folder / "people.csv"
    )
    columns = 'te]\nhuman = "people.csv"\nweights = "size"\ngroups = ["sex"]'
    edit(folder, 'te]\nhuman = "human.csv"', columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "build_engine", lambda *a, **b: engine)
        result = pipeline(folder)
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, engine, shutil.copytree(folder, folder.with_name("copy"))


@pytest.fixture
def again(reported):
    """The survey's folder as it was after that run."""
    shutil.rmtree(reported[0])
    return shutil.copytree(reported[2], reported[0])


def write_survey(folder):
    options = tuple(Option(k + 1, label) for k, label in enumerate(LABELS))
    write_questions(
        folder / "q.json",
        [Question(q, f"How often {q}?", options, block=q[0].upper()) for q in (*ASKED, *TOLD)],
    )
    rng = np.random.default_rng(0)
    level = rng.normal(2.5, 1.0, size=(N, 1))
    answers = np.clip(np.round(level + rng.normal(0, 0.6, size=(N, len(ASKED + TOLD)))), 1, 4)
    frame = pd.DataFrame(answers, [f"p{i}" for i in range(N)], ASKED + TOLD).drop(columns="a5")
    frame.index.name = "id"
    frame.to_csv(folder / "human.csv")
    (folder / "c.toml").write_text(CONFIG)


@pytest.fixture
def films(tmp_path):
    rng = np.random.default_rng(1)
    ratings = [(f"u{u}", f"f{j}", rng.integers(1, 6), j) for u in range(4) for j in range(8)]
    pd.DataFrame(ratings, columns=["user", "item", "rating", "time"]).to_csv(
        tmp_path / "r.csv", index=False
    )
    pd.DataFrame({"item": [f"f{j}" for j in range(8)], "title": "Film"}).to_csv(
        tmp_path / "i.csv", index=False
    )
    # Asked are but the first two: the others tell who it is.
    pd.DataFrame({"item": ["f0", "f1"], "title": "Film"}).to_csv(tmp_path / "p.csv", index=False)
    np.save(tmp_path / "e.npy", rng.normal(size=(8, 3)))
    text = FIDELITY.replace('file = "i.csv"', 'file = "p.csv"')
    (tmp_path / "c.toml").write_text(text)
    return tmp_path


def pipeline(folder, *options):
    return runner.invoke(app, ["pipeline", str(folder / "c.toml"), *options])


def edit(folder, old, new):
    text = (folder / "c.toml").read_text()
    assert old in text
    (folder / "c.toml").write_text(text.replace(old, new, 1))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(result, *words):
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line, line


def test_from_a_file_to_a_report_and_again_for_nothing(reported, again, engine):
    survey, out = again, again / "out"
    assert len(reported[1].asked) == N * 6 and reported[1].closed == 1
    assert names(out) == [
        "answers.csv", "answers.npz", "evaluation", "personas.json", "predictions.csv",
        "questions.json", "report.md", "responses.sqlite", "results.json",
    ]  # fmt: skip
    for persona in read_personas(out / "personas.json"):
        assert "How often b" in persona.text and "How often a" not in persona.text
    answers = pd.read_csv(out / "answers.csv", index_col="persona")
    assert list(answers.columns) == ASKED and not np.isnan(answers.to_numpy()).any()
    with np.load(out / "answers.npz") as stored:
        assert stored["probabilities"].shape == (N, 6, 4)
    predictions = pd.read_csv(out / "predictions.csv", index_col="persona")
    assert list(predictions.columns) == ["a5"] and predictions["a5"].notna().all()

    report = (out / "report.md").read_text()
    assert f"{N} personas, 6 questions" in report and f"{N * 6} answered" in report
    assert "anything but an answer: 0.100" in report and "50% of them from a cache" in report
    evaluated = json.loads((out / "evaluation/results.json").read_text())
    assert (out / "evaluation/report.html").exists()
    assert f"## {evaluated['title']}" in report and "### What cannot be concluded" in report
    assert evaluated["facts"]["people"] == N and evaluated["facts"]["questions"] == 5
    assert evaluated["facts"]["survey weights"].startswith("design effect 1.11")
    assert evaluated["facts"]["groups"] == "sex"
    found = json.loads((out / "results.json").read_text())
    assert {"machine", "versions", "commit", "date", "records"} <= found.keys()
    assert {"run", "responses", "calibration"} <= found.keys()
    assert found["run"]["engines"] == ["stub 7"] and found["run"]["model"] == "reader"
    assert found["responses"]["statuses"] == {"answered": N * 6}
    assert found["responses"]["outside"] == pytest.approx(0.1, abs=1e-5)
    assert found["responses"]["seconds"] >= 0
    judged = found["calibration"]
    assert judged["facts"] == evaluated["facts"] and judged["predicted"] == ["a5"]
    assert len(judged["summary"]) == len(evaluated["summary"])

    before = {name: (out / name).read_bytes() for name in ("report.md", "results.json")}
    assert pipeline(survey).exit_code == 0 and not engine.asked
    assert before == {name: (out / name).read_bytes() for name in before}

    # Fewer people: what is told is of these alone.
    edit(survey, 'kind = "survey"', 'kind = "survey"\npeople = 10')
    assert pipeline(survey).exit_code == 0 and not engine.asked
    assert "60 responses: 60 answered" in (out / "report.md").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_writes_and_run_again_it_writes_the_same(again, engine):
    survey, out = again, again / "out"
    written = {
        name: content
        for name, content in contents(out).items()
        if "/units/" not in name and ".sqlite" not in name
    }
    report = sum(name.startswith("evaluation/") for name in written)
    # The answers; the report on them; predictions, results and the report on all.
    kill_forks(lambda: pipeline(survey), out, written, {3: 2, 5: report, 5 + report: 3})
    result = pipeline(survey)
    assert result.exit_code == 0 and not engine.asked, result.output
    found = contents(out)
    assert not left_over(out) and {name: found[name] for name in written} == written


def test_what_fails_is_asked_again_and_nothing_else(survey, engine):
    engine.fails = {3, 10}
    result = pipeline(survey)
    assert result.exit_code == 1 and "2 responses are missing" in result.output
    assert not (survey / "out/report.md").exists()
    first = len(engine.asked)
    assert pipeline(survey).exit_code == 0
    assert len(engine.asked) == first + 2 and (survey / "out/report.md").exists()


def test_a_share_that_may_be_missing_is_told_and_all_else_is_done(survey, engine):
    engine.fails = set(range(N * 6))
    assert pipeline(survey).exit_code == 1
    out = survey / "out"
    engine.too_long, engine.fails = read_personas(out / "personas.json")[0].text, set()
    edit(survey, "[calibrate]", "allow_missing = 0.071\n[calibrate]")  # 6 / 84 = 0.0714
    result = pipeline(survey)
    assert result.exit_code == 1 and "6 responses are missing" in result.output
    assert "`allow_missing` in [respond] is 0.071, and with 0.072 it would" in result.output
    assert not (out / "report.md").exists()

    edit(survey, "0.071", "0.072")
    result = pipeline(survey)
    assert result.exit_code == 0, (result.output, result.exception)
    report = (out / "report.md").read_text()
    said = "6 of 84 answers are missing: too long (6 times)"
    assert said in report and f"{N * 6 - 6} responses: {N * 6 - 6} answered" in report
    assert any(said in note for note in json.loads((out / "results.json").read_text())["notes"])
    answers = pd.read_csv(out / "answers.csv", index_col="persona")
    assert len(answers) == N and answers.iloc[0].isna().all()
    assert answers.isna().to_numpy().sum() == 6
    assert "### What cannot be concluded" in report and (out / "predictions.csv").exists()

    # What came since is in the next report.
    engine.too_long = None
    assert pipeline(survey).exit_code == 0 and "are missing" not in (out / "report.md").read_text()
    assert not pd.read_csv(out / "answers.csv", index_col="persona").isna().any(axis=None)


def test_a_dry_run_needs_no_engine_and_writes_nothing(survey, monkeypatch):
    monkeypatch.delattr(command, "build_engine")
    result = pipeline(survey, "--dry-run")
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"{N * 6} requests" in result.output and "How often b0?" in result.output
    assert names(survey) == ["c.toml", "human.csv", "q.json"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('block = ["A"]', 'block = ["AA"]', ["[questions]", "'AA'"]),
        ('block = ["A"]', 'ask = ["a7"]', ["[questions]", "'a7'"]),
        ('human = "human.csv"\nquestions', 'human = "none.csv"\nquestions', ["none.csv"]),
        ("[engine]", 'ask = ["zz"]\n[engine]', ["[[personas]]", "zz"]),
        ('te]\nhuman = "human.csv"', 'te]\nhuman = "none.csv"', ["none.csv"]),
        ('block = ["A"]', 'ask = ["a0", "a5"]', ["[calibrate]", "1 of the questions"]),
        ('"probabilities"', '"probabilities"\ndraws = 2', ["[respond]", "`draws`"]),
        ('model = "none"', 'model = "none"\nurl = "http://x"', ["[engine]", "url"]),
        ('out = "out"', 'out = "q.json"', ["q.json"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(survey, old, new, words):
    edit(survey, old, new)
    before = (survey / "q.json").read_bytes()
    refused(pipeline(survey), *words)
    assert names(survey) == ["c.toml", "human.csv", "q.json"]
    assert (survey / "q.json").read_bytes() == before


def test_people_without_a_twin_and_answers_out_of_range_are_found_first(survey, engine):
    human = pd.read_csv(survey / "human.csv")
    human.assign(id=[f"other{i}" for i in range(N)]).to_csv(survey / "h.csv", index=False)
    edit(survey, 'te]\nhuman = "human.csv"', 'te]\nhuman = "h.csv"')
    refused(pipeline(survey), "[calibrate]", "has 0 of the 14 personas")
    human.assign(a1=9).to_csv(survey / "h.csv", index=False)
    refused(pipeline(survey), "[calibrate]", "a1", "from 1 to 4")
    assert not engine.asked and not (survey / "out").exists()


def test_questions_of_the_users_own_do_not_let_what_is_asked_be_told(survey, engine):
    edit(survey, "[engine]", 'ask = ["b0"]\nleave_out = "question"\n[engine]')
    assert pipeline(survey).exit_code == 0
    for persona in read_personas(survey / "out/personas.json"):
        assert "How often a" not in persona.text and "How often b0" not in persona.text
        assert "How often b1" in persona.text


def test_two_conditions_written_by_the_model_and_their_fidelity(films, engine, monkeypatch):
    calls = []

    def measured(data, vectors, out, **options):
        calls.append((data, vectors, out))
        return FidelityReport((), {}, UNUSED, {}, {"ssr": {}}, {}, ("a note",))

    monkeypatch.setattr(worth, "measure_and_write", measured)
    monkeypatch.setattr(shell, "show_fidelity", lambda report: None)
    engine.silent = {1}
    result = pipeline(films)
    assert result.exit_code == 0, (result.output, result.exception)
    assert len(engine.asked) == 5 + 4 * 2
    ((data, vectors, out),) = calls
    assert out == films / "out/fidelity"
    np.testing.assert_array_equal(vectors.values, np.load(films / "e.npy").astype(np.float32))
    assert data.ratings.items == tuple(f"f{j}" for j in range(8)) and len(data.ratings) == 32
    assert sorted(data.conditions) == ["backstory"] * 2 + ["grounded"] * 2
    ratings = pd.read_csv(films / "out/ratings.csv")
    assert list(ratings.columns) == ["persona", "item", "rating", "seed", "condition"]
    assert ratings.groupby("condition")["persona"].nunique().to_dict() == {
        "backstory": 2, "grounded": 2,
    }  # fmt: skip
    assert ratings.loc[ratings["condition"] == "grounded", "seed"].str.startswith("u").all()
    people = read_personas(films / "out/personas.json")
    assert people[0].text == "I am person 0." and len(people) == 4
    # What is asked was not shown to whom wrote the persona.
    report = (films / "out/report.md").read_text()
    assert "backstory: the model wrote nothing for 1 of 3 personas" in report
    assert "## Fidelity" in report and "a note" in report
    assert pipeline(films).exit_code == 0 and len(engine.asked) == 13
    assert (films / "out/report.md").read_text() == report


def test_texts_that_fail_come_first_and_again(films, engine, monkeypatch):
    engine.fails = {4}
    result = pipeline(films)
    assert result.exit_code == 1 and "1 responses are missing" in result.output
    assert len(engine.asked) == 5 and not (films / "out/personas.json").exists()


def test_personas_without_a_text_are_left_out_if_so_many_may_be(films, engine, monkeypatch):
    monkeypatch.setattr(shell, "show_fidelity", lambda report: None)
    monkeypatch.setattr(
        worth,
        "measure_and_write",
        lambda *a, **b: FidelityReport((), {}, UNUSED, {}, {}, {}, ()),
    )
    engine.fails = {1}
    edit(films, "[fidelity]", "allow_missing = 0.3\n[fidelity]")  # 1 of 3 is more
    result = pipeline(films)
    assert result.exit_code == 1 and "1 responses are missing" in result.output
    assert "`allow_missing`" in result.output and len(engine.asked) == 3
    engine.fails = {3}
    edit(films, "0.3", "0.4")
    result = pipeline(films)
    assert result.exit_code == 0, (result.output, result.exception)
    people = read_personas(films / "out/personas.json")
    assert [p.attributes["condition"] for p in people] == ["backstory"] * 2 + ["grounded"] * 2
    report = (films / "out/report.md").read_text()
    assert "backstory: 1 of 3 texts are missing: HTTP 500 (1 times)" in report
    assert "4 personas, 2 questions" in report


def test_items_that_fidelity_does_not_know_are_found_first(films, engine):
    pd.DataFrame({"item": ["f0", "x9"], "title": "Film"}).to_csv(films / "p.csv", index=False)
    refused(pipeline(films), "[fidelity]", "'x9'")
    pd.DataFrame({"item": ["f0", "f1"], "title": "Film"}).to_csv(films / "p.csv", index=False)
    edit(films, 'embeddings = "e.npy"', 'control = "none"')
    refused(pipeline(films), "[fidelity]", "control")
    assert not engine.asked and not (films / "out").exists()
