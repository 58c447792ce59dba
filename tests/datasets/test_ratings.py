"""Rating tables: order, splits, cores, bad input; and the readers on files and on real data."""

import gzip
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets.rating_files import (
    load_amazon_2018,
    load_amazon_2023,
    load_movielens_ratings,
)
from syndigits_jax.datasets.ratings import rating_table


def small():
    return rating_table(
        ["b", "a", "b", "a", "b"], ["x", "x", "y", "z", "z"], [1, 2, 3, 4, 5], [3, 2, 1, 1, 2]
    )


def test_sorted_by_user_and_time():
    table = small()
    assert table.users == ("b", "a") and table.items == ("x", "y", "z")
    assert table.user.tolist() == [0, 0, 0, 1, 1]
    assert table.rating.tolist() == [3, 5, 1, 4, 2]
    assert [table.items[i] for i in table.item] == ["y", "z", "x", "z", "x"]
    np.testing.assert_array_equal(table.matrix(), [[1, 3, 5], [2, np.nan, 4]])
    np.testing.assert_array_equal(table.matrix([2, 0]), [[5, 1], [4, 2]])
    assert table.user_counts().tolist() == [3, 2] and table.item_counts().tolist() == [2, 1, 2]


def test_numbers_as_identifiers():
    table = rating_table(np.array([1.0, 2.0]), np.array([7, 7]), ["4.5", "3"])
    assert table.users == ("1", "2") and table.rating.tolist() == [4.5, 3]


def random_table(seed, n=12, m=9):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((n, m)) < 0.6)
    order = rng.permutation(len(user))
    times = rng.integers(0, 20, len(user))
    return rating_table(user[order], item[order], rng.integers(1, 6, len(user)), times)


@hypothesis.settings(max_examples=8)
@hypothesis.given(st.integers(0, 500))
def test_split_is_chronological_and_complete(seed):
    table = random_table(seed)
    parts = table.split()
    assert sum(map(len, parts)) == len(table)
    seen = np.concatenate([p.user.astype(int) * len(p.items) + p.item for p in parts])
    assert len(np.unique(seen)) == len(table)
    for u, count in enumerate(table.user_counts()):
        own = [p.time[p.user == u] for p in parts]
        assert len(own[0]) == max(1, int(0.8 * count + 1e-9)) or count == 0
        assert len(own[0]) + len(own[1]) >= int(0.9 * count + 1e-9)
        joined = np.concatenate(own)
        assert np.array_equal(joined, np.sort(joined))


def test_split_sizes():
    for count, sizes in ((1, [1, 0, 0]), (5, [4, 0, 1]), (6, [4, 1, 1]), (10, [8, 1, 1])):
        table = rating_table(["u"] * count, range(count), range(count), range(count))
        assert [len(part) for part in table.split()] == sizes


def test_core_is_the_largest_table_with_k_ratings_each():
    table = random_table(3)
    core = table.core(4)
    assert core.user_counts().min() >= 4 and core.item_counts().min() >= 4
    # By brute force: whatever is removed first, the same is left.
    left = set(zip(table.user.tolist(), table.item.tolist()))
    while True:
        users = [u for u, _ in left]
        items = [i for _, i in left]
        bad = {(u, i) for u, i in left if users.count(u) < 4 or items.count(i) < 4}
        if not bad:
            break
        left.discard(min(bad))
    names = {(table.users[u], table.items[i]) for u, i in left}
    assert names == {(core.users[u], core.items[i]) for u, i in zip(core.user, core.item)}
    with pytest.raises(ValueError, match="50 ratings"):
        table.core(50)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((["a"], ["x", "y"], [1, 2]), "differ in length"),
        (([], [], []), "no ratings"),
        ((["a"], ["x"], [np.nan]), "row 0"),
        ((["a"], ["x"], ["good"]), "good"),
        (([None], ["x"], [1]), "missing"),
        ((["a", "a"], ["x", "x"], [1, 2]), "repeated ratings.*'x' by user 'a'"),
    ],
)
def test_bad_tables(columns, message):
    with pytest.raises(ValueError, match=message):
        rating_table(*columns)


def test_last_of_repeated_ratings():
    table = rating_table(["a", "b", "a"], ["x", "x", "x"], [1, 2, 3], [5, 5, 4], duplicates="last")
    assert table.rating.tolist() == [1, 2]


def test_split_needs_times():
    with pytest.raises(ValueError, match=r"time.*'a'"):
        rating_table(["a", "a"], ["x", "y"], [1, 2]).split()
    with pytest.raises(ValueError, match="shares"):
        small().split(0.9, 0.2)


def write(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)


def test_movielens_files(tmp_path):
    rating = {"userId": [7, 7], "movieId": [1, 3], "rating": [4.5, 2], "timestamp": [5, 4]}
    write(tmp_path / "ratings.csv", rating)
    films = {"movieId": [1, 2, 3], "title": ["T, A", "B", "C"], "genres": ["X|Y", "Z", "X"]}
    write(tmp_path / "movies.csv", films)
    given = {"userId": [1, 2, 3], "movieId": [1, 1, 1], "tag": ["b", "a ", "B"]}
    write(tmp_path / "tags.csv", given)
    table = load_movielens_ratings(tmp_path)
    assert table.items == ("1", "2", "3") and table.users == ("7",)
    assert table.item.tolist() == [2, 0] and table.rating.tolist() == [2, 4.5]
    assert table.texts[0] == "T, A. Genres: X, Y. Tags: b, a."
    assert table.texts[1] == "B. Genres: Z."
    (tmp_path / "movies.csv").write_text("movieId,title\n1,A\n")
    with pytest.raises(ValueError, match=r"movies\.csv: no column 'genres'"):
        load_movielens_ratings(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ratings\.csv"):
        load_movielens_ratings(tmp_path / "nowhere")


def test_amazon_2018_files(tmp_path):
    for name, asin in (("A", "a1"), ("B", "b1")):
        rows = {"user_id": ["u"], "asin": [asin], "rating": [4.0], "timestamp": [9]}
        write(tmp_path / f"{name}_ratings_5plus.csv", rows)
        rows = {"asin": [asin], "title": ["T"], "brand": ["N"], "description": [""]}
        write(tmp_path / f"{name}_items.csv", {**rows, "main_category": [name]})
    table = load_amazon_2018(tmp_path)
    assert table.users == ("u",) and table.items == ("a1", "b1")
    assert table.texts == ("T. Brand: N", "T. Brand: N")
    assert len(load_amazon_2018(tmp_path, ["B"])) == len(load_amazon_2018(tmp_path, "B")) == 1
    with pytest.raises(FileNotFoundError):
        load_amazon_2018(tmp_path / "none")


@pytest.mark.parametrize("form", ["csv", "jsonl", "jsonl.gz", "parquet"])
def test_amazon_2023_files(tmp_path, form):
    rows = [
        {"user_id": "u", "parent_asin": "0001", "rating": 4.0, "timestamp": 2_000},
        {"user_id": "u", "parent_asin": "B2", "rating": 1.0, "timestamp": 1_500},
    ]
    path = tmp_path / f"Kind.{form}"
    if form == "csv":
        write(path, rows)
    elif form == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        opener = gzip.open if form.endswith("gz") else open
        with opener(path, "wt") as file:
            file.writelines(json.dumps({**row, "title": "review"}) + "\n" for row in rows)
    meta = tmp_path / "meta.jsonl"
    item = {"parent_asin": "0001", "title": "T", "features": ["f", "g"], "description": []}
    meta.write_text(json.dumps(item) + "\n")
    table = load_amazon_2023(path, meta)
    assert table.items == ("0001", "B2") and table.time.tolist() == [1.5, 2.0]
    assert table.texts == ("T. f g", "")
    assert load_amazon_2023([path]).texts == ("", "")


def test_bad_rating_files_are_named(tmp_path):
    ratings = {"userId": [1, 1], "movieId": [1, 2], "rating": [4, 3], "timestamp": [5, 4]}
    films = {"movieId": [1, 2], "title": ["A", "B"], "genres": ["X", "Y"]}
    write(tmp_path / "movies.csv", films)
    for changed, words in (
        ({"rating": [4, "x"]}, r"ratings\.csv: .*'x'"),
        ({"movieId": [1, 1]}, r"ratings\.csv: 1 repeated ratings"),
        ({"movieId": [1, 9]}, r"movies\.csv: 1 rated films are not in it \('9'\)"),
    ):
        write(tmp_path / "ratings.csv", ratings | changed)
        with pytest.raises(ValueError, match=words):
            load_movielens_ratings(tmp_path, tags=False)
    reviews = {"user_id": ["u", "u"], "parent_asin": ["a", "b"], "rating": [1, 2]}
    write(tmp_path / "k.csv", {**reviews, "timestamp": [2_000, ""]})
    table = load_amazon_2023(tmp_path / "k.csv")
    np.testing.assert_array_equal(table.time, [2.0, np.nan])
    write(tmp_path / "k.csv", {**reviews, "timestamp": [1, "x"]})
    with pytest.raises(ValueError, match=r"k\.csv: .*'x'"):
        load_amazon_2023(tmp_path / "k.csv")


@pytest.mark.data
def test_real_tables(data_dir):
    films = load_movielens_ratings(data_dir / "movielens" / "ml-latest-small")
    assert (len(films), len(films.users), len(films.items)) == (100_836, 610, 9_742)
    assert all(films.texts)
    amazon = load_amazon_2018(data_dir / "amazon-2018")
    assert len(amazon.items) == 3_510 + 3_279 and len(amazon) <= 20_260 + 19_896
    assert sum(1 for text in amazon.texts if text) > 0.99 * len(amazon.items)
    core = films.core(5)
    assert core.user_counts().min() >= 5 and core.item_counts().min() >= 5
    recent = load_amazon_2023(data_dir / "amazon-2023-sample" / "ratings_with_items.csv")
    assert len(recent.users) == 354 and 8e8 < recent.time.min() < recent.time.max() < 1.8e9
    assert sum(map(bool, recent.texts)) > 0.95 * len(recent.items)
    # Categories are of users with five ratings each, before repeated ones; few items have as many.
    tools = load_amazon_2018(data_dir / "amazon-2018", "Industrial_and_Scientific")
    core = tools.core(5)
    assert core.user_counts().min() >= 5 and core.item_counts().min() >= 5
    assert (len(core.users), len(core.items)) == (275, 149)
    for table in (films, amazon, recent):
        parts = table.split()
        assert sum(map(len, parts)) == len(table)
        last = np.full(len(table.users), -np.inf)
        for part in parts:
            assert (part.time >= last[part.user]).all()
            np.maximum.at(last, part.user, part.time)


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_dates_are_seconds(unit):
    when = np.array([1.5e9, 1.25e9, np.nan])
    dates = (np.nan_to_num(when) * 1e9).astype("datetime64[ns]")
    dates[2] = np.datetime64("NaT")
    table = rating_table(["a", "a", "b"], ["x", "y", "x"], [1, 2, 3], dates.astype(f"M8[{unit}]"))
    np.testing.assert_array_equal(table.time, [1.25e9, 1.5e9, np.nan])
    with pytest.raises(ValueError, match=r"`rating`: .*'rating' holds durations"):
        rating_table(["a"], ["x"], np.array([5], "timedelta64[ns]"), None)
