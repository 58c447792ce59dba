"""`syndigits personas`: from files to personas; texts written by a model, resumably; errors."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import personas as options
from syndigits_jax.datasets import read_personas, write_personas, write_questions
from syndigits_jax.respond import Completion, EngineIdentity, Failure, find_template, render
from syndigits_jax.schema import Option, Persona, Question

runner = CliRunner()
YES_NO = (Option(1, "Yes"), Option(2, "No"))
QUESTIONS = [
    Question("a1", "Do you vote?", YES_NO, block="A"),
    Question("a2", "Do you run?", YES_NO, block="A"),
    Question("b1", "Do you cook?", YES_NO, block="B"),
]


def personas(*arguments):
    return runner.invoke(app, ["personas", *map(str, arguments)])


def refused_in_one_line(result, *words):
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line
    return True


class Author:
    """An engine that writes a text of its own, or fails as told; counts what it is asked."""

    identity = EngineIdentity("author", "stub", "1")

    def __init__(self, outcomes=None):
        self.outcomes = outcomes or {}
        self.asked, self.closed = [], False

    def stream(self, requests):
        for position, request in enumerate(requests):
            self.asked.append(request)
            outcome = self.outcomes.get(len(self.asked) - 1, f"I am number {request.seed}.")
            if isinstance(outcome, str):
                outcome = Completion(outcome)
            yield position, outcome

    def close(self):
        self.closed = True


@pytest.fixture
def files(tmp_path):
    write_questions(tmp_path / "q.json", QUESTIONS)
    frame = pd.DataFrame({"who": ["01", "2"], "a1": [1, 2], "a2": [2, None], "b1": [1, 2]})
    frame.to_csv(tmp_path / "human.csv", index=False)
    ratings = [(u, f"f{j}", 1 + j % 5, j) for u in ("x", "y") for j in range(12)]
    columns = ["user", "item", "rating", "time"]
    pd.DataFrame(ratings, columns=columns).to_csv(tmp_path / "r.csv", index=False)
    films = pd.DataFrame({"item": [f"f{j}" for j in range(12)]})
    films["title"] = "Film {persona} " + films["item"]
    films.to_csv(tmp_path / "i.csv", index=False)
    write_questions(tmp_path / "probes.json", [Question("f4"), Question("f9")])
    return tmp_path


def test_survey(files):
    out = files / "p.json"
    given = ["survey", "--human", files / "human.csv", "--questions", files / "q.json"]
    result = personas(*given, "--ask", "b1", "--out", out)
    assert result.exit_code == 0 and "2 personas" in result.stdout
    first, second = read_personas(out)
    assert first.identifier == "01"
    assert first.text == "Question: Do you vote?\nAnswer: Yes\n\nQuestion: Do you run?\nAnswer: No"
    assert second.text == "Question: Do you vote?\nAnswer: No"
    result = personas(*given, "--block", "A", "--form", "json", "--people", 1, "--out", out)
    assert result.exit_code == 0
    (only,) = read_personas(out)
    assert json.loads(only.text) == {"B": [{"question": "Do you cook?", "answer": "Yes"}]}
    write_questions(files / "asked.json", [QUESTIONS[0], Question("elsewhere")])
    personas(*given, "--ask-questions", files / "asked.json", "--out", out)
    assert [p.text.count("Question") for p in read_personas(out)] == [1, 1]
    result = personas(*given, "--out", out)
    assert "the whole survey is told" in result.stdout


def test_demographics_and_summaries(files):
    table = files / "people.tsv"
    table.write_text("who\tAge\tsummary\n01\t30-49\tKind {x}.\n2\t50+\tShy.\n")
    out = files / "p.csv"
    assert personas("demographics", "--table", table, "--out", out).exit_code == 0
    assert read_personas(out)[0].attributes == {"age": "30-49"}
    assert personas("summary", "--table", table, "--out", out).exit_code == 0
    assert read_personas(out)[1] == Persona("2", "Shy.", {"age": "50+"})
    write_personas(files / "s.json", [Persona("01", "{}"), Persona("2", "[]")])
    result = personas("summary", "--table", table, "--surveys", files / "s.json", "--out", out)
    assert result.exit_code == 0
    assert read_personas(out)[0].text.startswith("{}") and "Kind {x}." in read_personas(out)[0].text
    result = personas("demographics", "--table", table, "--column", "Sex", "--out", out)
    assert refused_in_one_line(result, "people.tsv", "`columns`", "'Sex'")


def test_histories(files):
    out = files / "h.json"
    given = ["history", "--ratings", files / "r.csv", "--items", files / "i.csv", "--out", out]
    assert personas(*given, "--ask-questions", files / "probes.json", "--ask", "f1").exit_code == 0
    shown = {f"f{j}" for j in range(12)} - {"f1", "f4", "f9"}
    assert [set(p.answers) for p in read_personas(out)] == [shown, shown]
    arguments = ["--shown", 3, "--ask", "f1", "--in-context", "--user", "y"]
    assert personas(*given, *arguments).exit_code == 0
    (only,) = read_personas(out)
    assert only.identifier == "y" and len(only.answers) == 4 and "f1" in only.answers
    assert refused_in_one_line(personas(*given, "--people", 3), "--people", "r.csv has 2")


def test_prompts_without_a_model(files):
    out = files / "p.json"
    result = personas("sampled", "--people", 3, "--seed", 1, "--out", out)
    assert result.exit_code == 0 and "no texts yet" in result.stdout
    people = read_personas(out)
    assert len(people) == 3 and {"age", "income"} <= set(people[0].attributes)
    (files / "m.toml").write_text("[pet]\ncat = 0.5\ndog = 0.6\n")
    result = personas("sampled", "--marginals", files / "m.toml", "--out", out)
    assert refused_in_one_line(result, "m.toml", "'pet'", "1.1") and read_personas(out) == people
    result = personas(
        "grounded", "--ratings", files / "r.csv", "--items", files / "i.csv", "--people", 2,
        "--ask-questions", files / "probes.json", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0
    for persona in read_personas(out):
        block = persona.attributes["top_items_block"]
        assert block.count("\n- ") == 10 and "Film {persona} f3" in block
        assert "f4" not in block and "f9" not in block
        text = render(find_template("persona-grounded"), persona).messages[-1].content
        assert text.count("Film {persona} f3") == 1


def test_texts_are_written_and_kept_until_all_are_there(files, monkeypatch):
    out = files / "p.json"
    command = ["sampled", "--people", 6, "--engine", "openai", "--model", "m", "--out", out]
    flaky = Author({1: Failure("the server is away"), 2: "  ", 3: "As an AI, I cannot do that."})
    monkeypatch.setattr(options, "build_engine", lambda *a, **b: flaky)
    result = personas(*command)
    assert result.exit_code == 1 and not out.exists() and flaky.closed
    assert "1 of 6 texts are missing" in result.stderr
    again = Author()
    monkeypatch.setattr(options, "build_engine", lambda *a, **b: again)
    result = personas(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    assert len(again.asked) == 1 and len({r.seed for r in flaky.asked}) == 6
    assert flaky.asked[0].temperature == 0.9 and flaky.asked[0].max_tokens == 512
    people = read_personas(out)
    assert [p.identifier[-1] for p in people] == ["1", "2", "5", "6"]
    assert "wrote nothing for 1 personas" in result.stdout
    assert "refused 1 personas" in result.stdout
    assert people[0].text == f"I am number {flaky.asked[0].seed}."
    assert people[1].text == f"I am number {again.asked[0].seed}."
    assert f"Age: {people[0].attributes['age']}." in flaky.asked[0].messages[-1].content
    # Other people of the same names are not given these texts.
    others = Author()
    monkeypatch.setattr(options, "build_engine", lambda *a, **b: others)
    assert personas(*command, "--seed", 7).exit_code == 0
    assert len(others.asked) == 6 and len(read_personas(out)) == 6
    assert {p.name for p in files.iterdir() if p.name.startswith("p.json")} == {
        "p.json",
        "p.json.responses",
    }


def test_grounded_texts_lose_what_they_were_written_from(files, monkeypatch):
    author = Author()
    monkeypatch.setattr(options, "build_engine", lambda *a, **b: author)
    result = personas(
        "grounded", "--ratings", files / "r.csv", "--items", files / "i.csv", "--people", 2,
        "--engine", "vllm", "--model", "m", "--store", files / "s.db", "--temperature", 0.5,
        "--out", files / "p.json",
    )  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    assert (files / "s.db").exists() and author.asked[0].temperature == 0.5
    for persona in read_personas(files / "p.json"):
        assert persona.attributes.keys() == {"seed", "condition"} and persona.text
    assert len({request.seed for request in author.asked}) == 2


def test_summaries_written_from_surveys(files, monkeypatch):
    author = Author({0: "Short."})
    monkeypatch.setattr(options, "build_engine", lambda *a, **b: author)
    write_personas(files / "s.json", [Persona("01", "Long {x}.", {"age": "30"})])
    command = ["rewritten", "--personas", files / "s.json", "--out", files / "p.json"]
    assert refused_in_one_line(personas(*command), "--engine is missing")
    result = personas(*command, "--engine", "vllm", "--model", "m")
    assert result.exit_code == 0, (result.output, result.exception)
    assert read_personas(files / "p.json") == (Persona("01", "Short.", {"age": "30"}),)
    assert "Long {x}." in author.asked[0].messages[-1].content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sampled", "--out", "p.txt"], ["p.txt", "unknown format"]),
        (["sampled", "--out", "."], ["unknown format"]),
        (["sampled", "--people", "0", "--out", "p.json"], ["--people"]),
        (["backstory", "--store", "s", "--out", "p.json"], ["--store", "--engine"]),
        (["backstory", "--model", "m", "--out", "p.json"], ["--engine must be"]),
        (["backstory", "--engine", "vllm", "--model", "m", "--template", "survey", "--out",
          "p.json"], ["survey", "text"]),
        (["survey", "--out", "p.json"], ["--human"]),
        (["history", "--ratings", "none.csv", "--items", "none.csv", "--out", "p.json"],
         ["none.csv"]),
        (["nonsense"], ["nonsense"]),
    ],
)  # fmt: skip
def test_bad_options_are_refused_in_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    if "--template" in arguments:
        monkeypatch.setattr(options, "build_engine", lambda *a, **b: Author())
    assert refused_in_one_line(personas(*arguments), *words)
    assert not list(tmp_path.glob("*.json"))
