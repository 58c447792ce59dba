"""Files of survey tools where commands read tables and questions."""

import json

import numpy as np
import pandas as pd
import pytest
from qualtrics_files import block, matrix, mc, other, write_export, write_qsf
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets import read_personas

runner = CliRunner()
PEOPLE = 12


def run(*arguments):
    return runner.invoke(app, [*map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """Answers in the words of their choices, which only the questionnaire codes; the last question
    has been put to nobody."""
    asked = [
        mc("QID1", "car", ["Yes", "No", "Do not know"], AnalyzeChoices={"3": "No"}),
        mc("QID2", "apps", ["Maps", "Mail"], "MAVR"),
        matrix("QID3", "life", ["Work", "Home"], ["bad", "fair", "good"]),
        mc("QID4", "vote", ["Yes", "No"]),
        other("QID5", "why", "TE", "SL"),
    ]
    blocks = [block("A", "QID1", "QID2"), block("B", "QID3", "QID4", "QID5")]
    write_qsf(tmp_path / "s.qsf", blocks, asked)
    columns = [("who", "who", "who"), ("car", "", "QID1"), ("apps_1", "", "QID2|1"),
               ("apps_2", "", "QID2|2"), ("life_1", "", "QID3_1"), ("life_2", "", "QID3_2"),
               ("vote", "", "QID4"), ("why", "", "QID5_TEXT")]  # fmt: skip
    rng = np.random.default_rng(0)
    car, life = rng.integers(0, 3, PEOPLE), rng.integers(0, 3, (2, PEOPLE))
    words = np.array(["bad", "fair", "good"])
    rows = [
        [f"p{i}", ("Yes", "No", "Do not know")[car[i]], "Maps" if i % 2 else "", "Mail",
         words[life[0, i]], words[life[1, i]], "", "so"]
        for i in range(PEOPLE)
    ]  # fmt: skip
    write_export(tmp_path / "r.csv", columns, rows)
    twin = pd.DataFrame({"car": car % 2 + 1, "apps_1": [i % 2 for i in range(PEOPLE)],
                         "apps_2": 1 - np.arange(PEOPLE) % 3 % 2, "life_1": life[0] + 1,
                         "life_2": life[1][::-1] + 1, "vote": rng.integers(1, 3, PEOPLE)},
                        index=[f"p{i}" for i in range(PEOPLE)])  # fmt: skip
    twin.to_csv(tmp_path / "twin.csv")
    return tmp_path


def test_personas_and_requests_come_from_a_questionnaire(files):
    survey = "--human", files / "r.csv", "--questions", files / "s.qsf"
    out = files / "p.json"
    result = run("personas", "survey", *survey, "--block", "B", "--out", out)
    assert result.exit_code == 0, result.output
    assert "note:" in result.stderr and "answered in words" in result.stderr
    told = read_personas(out)[1].text
    assert "About apps? - Maps\nAnswer: Selected" in told and "life" not in told
    dry = run("respond", "--personas", out, "--questions", files / "s.qsf", "--template", "survey",
              "--block", "B", "--dry-run", "--json")  # fmt: skip
    assert dry.exit_code == 0, dry.output
    assert json.loads(dry.stdout)["requests"] == 3 * PEOPLE
    facts = run("personas", "demographics", "--table", files / "r.csv", "--questions",
                files / "s.qsf", "--column", "life_1", "--out", out)  # fmt: skip
    assert facts.exit_code == 0, facts.output
    assert read_personas(out)[0].attributes["life_1"] in ("bad", "fair", "good")


def test_calibration_takes_an_export_and_its_questionnaire(files):
    """The refusal "Do not know" is missing, and the new question is predicted on its scale."""
    out = files / "out.csv"
    result = run("calibrate", "--human", files / "r.csv", "--twin", files / "twin.csv",
                 "--questions", files / "s.qsf", "--method", "ridge", "--threshold", "auto",
                 "--out", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    predicted = pd.read_csv(out, index_col=0)
    assert list(predicted) == ["vote"] and predicted.index.tolist() == [
        f"p{i}" for i in range(PEOPLE)
    ]
    assert predicted["vote"].between(1, 2).all()
    alone = run("calibrate", "--human", files / "r.csv", "--twin", files / "twin.csv", "--method",
                "ridge", "--out", out)  # fmt: skip
    assert alone.exit_code == 0 and "only the questionnaire (.qsf) has" in alone.stderr
