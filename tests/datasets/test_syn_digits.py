"""The public repository's layout: on a small imitation, and on the real files where present."""

import json

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import (
    CONSTRUCTIONS,
    DEFAULT_CONSTRUCTION,
    find_construction,
    load_movielens,
    load_twin_2k_500,
    present_constructions,
    read_twin_2k_500_questions,
)
from syndigits_jax.schema import Scale

FEW = [
    "Demographics Only - GPT4.1-mini",
    "JSON Persona (Predicted Output) - GPT4.1",
    "JSON Persona (Predicted Output) - GPT4.1-mini",
    "JSON Persona - GPT4.1-mini",
    "Persona Summary - GPT4.1-mini",
    "Text Persona (Default Temperature) - GPT4.1-mini",
    "Text Persona (Repeating Questions) - GPT4.1-mini",
    "Text Persona - GPT4.1-mini",
]


@pytest.fixture
def repository(tmp_path):
    """An imitation of the repository's `data` folder: three people, three questions."""
    root = tmp_path / "data"
    human = pd.DataFrame(
        {"Q1 ": [1, 2, 5], "Q2": [0.0, 40.0, np.nan], "Q3": [7, 9, 8]},
        pd.Index([11, 12, 13], name="TWIN_ID"),
    )
    twin = human.iloc[::-1].fillna(10.0)
    films = pd.DataFrame({"2": [0.5, 4.0], "6": [5.0, np.nan]}, pd.Index([156, 741], name="userId"))
    for name, frame in (("real", human), ("LLM", twin)):
        for folder in (FEW[7], FEW[0]):
            path = root / "2K500" / "synthetic_control" / folder
            path.mkdir(parents=True, exist_ok=True)
            frame.to_csv(path / f"{name}.csv")
    path = root / "MovieLens-20M" / "synthetic_control"
    path.mkdir(parents=True)
    for name in ("real", "LLM", "LLM_in_context_other_ratings_full"):
        films.to_csv(path / f"{name}.csv")
    return root


def catalogue(folder):
    folder = folder / "twin-2k-500"
    folder.mkdir()
    entry = {"qid": "", "block": "b", "type": "", "text": "Agree?", "row": None, "range": None}
    questions = {
        "Q1 ": {**entry, "options": ["no", "rather no", "so so", "rather yes", "yes", "very"]},
        "Q2": {**entry, "options": [], "range": [0.0, 100.0], "row": "How much?"},
        "Q3": {**entry, "options": []},
        "Q99": {**entry, "options": ["no", "yes"]},
    }
    (folder / "questions.json").write_text(json.dumps(questions))
    return folder / "questions.json"


def test_thirteen_constructions_with_names_of_their_own():
    assert len(CONSTRUCTIONS) == 13
    assert len({c.folder for c in CONSTRUCTIONS}) == len({c.label for c in CONSTRUCTIONS}) == 13
    for construction in CONSTRUCTIONS:
        assert find_construction(construction.folder) is construction
        assert find_construction(f" {construction.label.upper()} ") is construction
    assert DEFAULT_CONSTRUCTION.label == "Text, GPT-4.1-mini"
    # the model in the folder's name is the model in the paper's label
    for c in CONSTRUCTIONS:
        assert c.folder.rsplit(" - ", 1)[1].replace("-", "").replace("GPT", "").lower() in (
            c.label.replace("-", "").replace("GPT", "").lower()
        )
    with pytest.raises(ValueError, match=r"no 'Text'; .*'Demographics Only - GPT4\.1-mini'"):
        find_construction("Text")


def test_data_dir_may_be_any_folder_above(repository):
    parent = repository.parent
    for start in (repository, parent):
        assert load_twin_2k_500(start).users == ("11", "12", "13")
        assert load_movielens(start).m == 2
        assert [c.folder for c in present_constructions(start)] == [FEW[7], FEW[0]]
    (parent / "syn-digits").mkdir()
    repository.rename(parent / "syn-digits" / "data")
    assert load_twin_2k_500(parent).m == 3
    assert load_twin_2k_500(parent / "syn-digits").m == 3


def test_twin_2k_500_aligns_and_finds_ranges(repository):
    panel = load_twin_2k_500(str(repository), FEW[0])
    assert panel.name == "twin-2k-500" and panel.questions == ("Q1 ", "Q2", "Q3")
    np.testing.assert_array_equal(panel.human, [[1, 0, 7], [2, 40, 9], [5, np.nan, 8]])
    np.testing.assert_array_equal(panel.twin, [[1, 0, 7], [2, 40, 9], [5, 10, 8]])
    np.testing.assert_array_equal(panel.low, [1, 0, 7])
    np.testing.assert_array_equal(panel.high, [5, 40, 9])


@pytest.mark.parametrize("where", ["inside", "beside", "given"])
def test_the_catalogue_gives_the_ranges(repository, where):
    path = catalogue(repository if where == "inside" else repository.parent)
    if where == "given":
        path = path.rename(path.parent / "other.json")
    given = read_twin_2k_500_questions(path) if where == "given" else None
    panel = load_twin_2k_500(repository, questions=given)
    np.testing.assert_array_equal(panel.low, [1, 0, 7])
    np.testing.assert_array_equal(panel.high, [6, 100, 9])
    np.testing.assert_array_equal(panel.step, [1, 1, 1])


def test_reading_the_catalogue(repository):
    questions = read_twin_2k_500_questions(catalogue(repository))
    assert questions["Q2"].scale == Scale(0.0, 100.0, 1.0)
    assert questions["Q2"].text == "Agree? How much?"
    assert [o.label for o in questions["Q1 "].options][:2] == ["no", "rather no"]
    assert questions["Q1 "].block == "b" and questions["Q3"].scale is None
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_twin_2k_500_questions(repository / "none.json")
    for text in ("{", "[1]", '{"Q": {}}', '{"Q": 3}'):
        (repository / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json: (not a catalogue|cannot be read)"):
            read_twin_2k_500_questions(repository / "bad.json")


def test_movielens(repository):
    panel = load_movielens(repository)
    assert panel.name == "movielens" and panel.users == ("156", "741")
    assert panel.scale == (0.5, 5.0) and panel.steps == 0.5
    np.testing.assert_array_equal(panel.controls["InContext"], panel.human)
    assert not load_movielens(repository, in_context=False).controls


def test_missing_files_say_where_the_data_come_from(repository):
    clone = "git clone https://github.com/yw3453/syn-digits"
    with pytest.raises(FileNotFoundError, match=rf"nowhere; .*{clone}"):
        load_movielens(repository / "nowhere")
    with pytest.raises(FileNotFoundError, match=rf"Gemini-Flash2\.5/real\.csv; .*{clone}"):
        load_twin_2k_500(repository, "Text, Gemini-Flash-2.5")
    in_context = repository / "MovieLens-20M/synthetic_control"
    (in_context / "LLM_in_context_other_ratings_full.csv").unlink()
    with pytest.raises(FileNotFoundError, match=rf"LLM_in_context_other_ratings_full.*{clone}"):
        load_movielens(repository)
    load_movielens(repository, in_context=False)


@pytest.mark.data
def test_real_twin_2k_500(data_dir):
    found = present_constructions(data_dir)
    assert found, "no construction in the data folder"
    shapes = {}
    for construction in found:
        panel = load_twin_2k_500(data_dir, construction)
        shapes[construction.folder] = (panel.n, panel.m)
        # the files have one mask for humans and twins
        np.testing.assert_array_equal(panel.human_mask, panel.twin_mask)
        assert not np.isnan(panel.low).any() and not np.isnan(panel.high).any()
    assert shapes[DEFAULT_CONSTRUCTION.folder] == (2058, 123)
    assert all(m == 123 and 1000 <= n <= 2058 for n, m in shapes.values())


@pytest.mark.data
def test_real_default_construction(data_dir):
    panel = load_twin_2k_500(data_dir)
    assert len(panel.describe()["constant_twin_questions"]) == 21
    at = {name: j for j, name in enumerate(panel.questions)}
    ranges = {
        name: (panel.low[at[name]], panel.high[at[name]])
        for name in ("False Cons. self _1", "Q189", "Q181", "Omission bias ", "1_Q295")
    }
    assert ranges == {
        "False Cons. self _1": (1, 5),
        "Q189": (1, 10),
        "Q181": (0, 20),
        "Omission bias ": (1, 4),
        "1_Q295": (1, 2),
    }
    # uncalibrated correlation, averaged over questions: the paper's Table 4
    scores = []
    for human, twin in zip(panel.human.T, panel.twin.T):
        seen = ~np.isnan(human)
        flat = min(np.std(human[seen]), np.std(twin[seen])) <= 1e-2
        scores.append(0.0 if flat else np.corrcoef(human[seen], twin[seen])[0, 1])
    assert np.mean(scores) == pytest.approx(0.168, abs=5e-4)


@pytest.mark.data
def test_real_movielens(data_dir):
    panel = load_movielens(data_dir)
    assert (panel.n, panel.m) == (500, 250)
    for prediction, published in ((panel.twin, 0.349), (panel.controls["InContext"], 0.406)):
        scores = []
        for human, other in zip(panel.human.T, prediction.T):
            seen = ~np.isnan(human)
            scores.append(np.corrcoef(human[seen], other[seen])[0, 1])
        assert np.mean(scores) == pytest.approx(published, abs=5e-4)
