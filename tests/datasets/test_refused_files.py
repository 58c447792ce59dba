"""Files and settings that readers and simulators cannot use, with the file or the argument."""

import json

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import (
    film_questions,
    load_amazon_2023,
    load_distributions,
    rating_table,
    read_personas,
    read_questions,
    read_table,
    simulate_block_panel,
)
from syndigits_jax.datasets.columns import parse_column
from syndigits_jax.datasets.personas import check_personas_path
from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.datasets.tables import check_table_path
from syndigits_jax.datasets.text_tables import write_rows
from syndigits_jax.schema import Option, Scale


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "id;q1\nx;1\ny;2\n", "it looks separated by ';': save it with ','"),
        ("a.tsv", "id,q1\nx,1\ny,2\n", "it looks separated by ',': name it .csv"),
        ("a.csv", "id\tq1\nx\t1\ny\t2\n", "it looks separated by a tab: name it .tsv"),
        ("a.csv", "ResponseId,q1\nResponse ID,Why?\nx,1\n",
         "the first row under the header looks like Qualtrics' question texts; delete it"),
    ],
)  # fmt: skip
def test_tables_of_another_kind(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*{words}"):
        read_table(tmp_path / name)


def test_numbers_beyond_every_integer_stay_exact():
    column = parse_column(pd, ["1", str(2**70)])
    assert list(column) == [1, 2**70]
    assert parse_column(pd, ["1", str(2**63)]).dtype == np.uint64
    gaps = parse_column(pd, [str(2**60 + 1), ""])
    assert gaps.dtype == "Int64" and gaps[0] == 2**60 + 1 and gaps[1] is pd.NA


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("yes", "`options` must be a list, got 'yes'"),
        ([{"value": 1, "label": "Yes"}, {"label": "No"}], "`options`: number 2 has no `value`"),
        ([{"value": 1}, "No"], "`options`"),
        ([{"value": "one"}], "`options`: the value of number 1"),
    ],
)
def test_options_of_questions(tmp_path, options, words):
    entry = {"identifier": "q1", "text": "?", "options": options}
    (tmp_path / "q.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=words) as said:
        read_questions(tmp_path / "q.json")
    assert "q.json: question 1: " in str(said.value)


def test_folders_and_unknown_suffixes_are_no_files_to_write(tmp_path):
    for name in ("t.csv", "p.json"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"t\.csv: is a folder"):
        check_table_path(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"p\.json: is a folder"):
        check_personas_path(tmp_path / "p.json")
    with pytest.raises(ValueError, match=r"t\.xlsx: unknown table format"):
        write_rows(tmp_path / "t.xlsx", ["a"], [["1"]])
    assert not (tmp_path / "t.xlsx").exists()
    with pytest.raises((ValueError, OSError), match=r"p\.json"):
        read_personas(tmp_path / "p.json")


def test_distributions_without_rows():
    twins = pd.DataFrame({"q1": [1.0], "q2": [2.0]}, index=["t1"])
    with pytest.raises(ValueError, match=r"targets.*the table has no rows"):
        load_distributions(
            pd.DataFrame({"1": [], "2": []}, index=pd.Index([], dtype=object)), twins
        )


def test_films_need_options_and_take_your_own():
    films = pd.DataFrame({"id": [1], "title": ["Alien (1979)"]})
    with pytest.raises(ValueError, match="`answers`: there are no options"):
        film_questions(films, answers=[])
    own = film_questions(films, answers=[Option(1, "No"), Option(2, "Yes")])[0]
    assert own.text.startswith("How would you rate this?") and len(own.options) == 2
    assert film_questions(films, answers=Scale(0, 10))[0].text.startswith(
        "How would you rate this?"
    )


# --- ratings --------------------------------------------------------------------------------------


def test_reviews_may_have_empty_lines_and_need_a_time(tmp_path):
    rows = [{"user_id": "u", "parent_asin": a, "rating": r, "timestamp": t}
            for a, r, t in (("x", 5, 1), ("y", 2, 2))]  # fmt: skip
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n\n")
    found = load_amazon_2023(path)
    assert found.items == ("x", "y") and found.rating.tolist() == [5, 2]
    pd.DataFrame(rows).drop(columns="timestamp").to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(ValueError, match=r"r\.csv: no column 'timestamp' or 'timestamp_ms'"):
        load_amazon_2023(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda t: t.core(0), "`k` must be at least 1"),
        (lambda t: t.matrix([0, 0]), "`items`: positions must differ"),
        (lambda t: t.with_items(["x", "y"], ["one"]), "`texts` has 1 entries, but there are 2"),
        (lambda t: rating_table(["a"], ["x"], [1], duplicates="first"), "`duplicates` must be"),
        (lambda t: rating_table([["a"]], ["x"], [1]), "`user`: identifiers must be texts or numb"),
        (lambda t: simulate_preferences(0, 5, key=0), "`n` must be positive"),
        (lambda t: simulate_preferences(5, 9, key=0, ratings=10), "`ratings` must not exceed"),
        (lambda t: simulate_preferences(5, 30, key=0, scale=0.0), "`scale` must be positive"),
        (lambda t: simulate_preferences(5, 30, key=0, levels=1), "`levels` must be from 2"),
    ],
)
def test_ratings_and_their_simulation(use, words):
    table = rating_table(["a", "b"], ["x", "y"], [1, 2])
    with pytest.raises(ValueError, match=words):
        use(table)


def test_a_bias_of_no_size():
    with pytest.raises(ValueError, match="`bias` must be finite"):
        simulate_block_panel(20, 6, 2, key=0, bias=float("inf"))
