"""Files for `syndigits fidelity`: matched, in every format, or refused with what is wrong."""

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.workflows.fidelity.files import read_embeddings, read_fidelity_files
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import write_fidelity_results


def tables(folder, ratings=None, items=None, personas=None):
    ratings = {"userId": [1, 1, 2], "movieId": [7, 9, 7], "rating": [4, 2.5, 3]} | (ratings or {})
    items = {"id": [7, 8, 9], "title": ["Heat", "", "Big"], "genres": ["A|B", "C", ""]} | (
        items or {}
    )
    personas = {"persona": ["a", "a", "b"], "item": [9, 7, 8], "rating": [1, 2, 3]} | (
        personas or {}
    )
    paths = []
    for name, columns in (("r", ratings), ("i", items), ("p", personas)):
        paths.append(folder / f"{name}.csv")
        pd.DataFrame(columns).to_csv(paths[-1], index=False)
    return paths


def test_files_are_matched(tmp_path):
    data = read_fidelity_files(*tables(tmp_path, personas={"seed": [2, 2, None]}))
    assert data.ratings.items == data.personas.items == ("7", "8", "9") and not data.dated
    assert data.texts == ("Heat. Genres: A, B", "Genres: C", "Big")
    assert data.personas.users == ("a", "b") and data.seeds == ("2", "")
    np.testing.assert_array_equal(data.ratings.matrix(), [[4, np.nan, 2.5], [3, np.nan, np.nan]])
    dated = read_fidelity_files(*tables(tmp_path, ratings={"timestamp": [5, 4, 1]}))
    assert dated.dated and dated.ratings.rating.tolist() == [2.5, 4, 3] and dated.seeds is None
    made = read_fidelity_files(*tables(tmp_path, personas={"condition": ["x", "x", "y"]}))
    assert made.conditions == ("x", "y") and data.conditions is None


def test_every_format_of_tables_says_the_same(tmp_path):
    paths = tables(tmp_path, personas={"seed": [2, 2, None]})
    data = read_fidelity_files(*paths)
    frames = [pd.read_csv(path) for path in paths]
    other = [tmp_path / "r.tsv", tmp_path / "i.tsv", tmp_path / "p.parquet"]
    for frame, path in zip(frames[:2], other):
        frame.to_csv(path, sep="\t", index=False)
    frames[2].set_index("persona").to_parquet(other[2])  # as `syndigits panel` writes it
    found = read_fidelity_files(*other)
    assert found.texts == data.texts and found.seeds == data.seeds
    for name in ("ratings", "personas"):
        one, two = getattr(found, name), getattr(data, name)
        assert (one.users, one.items) == (two.users, two.items)
        np.testing.assert_array_equal(one.matrix(), two.matrix())
    other[0].write_text("userId\tmovieId\trating\n")
    with pytest.raises(ValueError, match=r"r\.tsv: has column names, but no rows"):
        read_fidelity_files(*other)
    other[0].write_text("userId\tmovieId\trating\n1\t7\n")
    with pytest.raises(ValueError, match=r"r\.tsv: .* fewer cells than the header"):
        read_fidelity_files(*other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratings": {"movieId": [7, 99, 7]}}, r"r.csv: 1 of its 2 items .* \('99'\)"),
        ({"personas": {"item": [9, 5, 6]}}, r"p.csv: 2 of its 3 items"),
        ({"items": {"id": [7, 9, 9]}}, "i.csv"),
        ({"items": {"id": [7], "title": ["x"], "genres": ["y"]}}, "i.csv: at least two items"),
        ({"ratings": {"rating": [1, "good", 2]}}, "r.csv.*'good'"),
        ({"ratings": {"movieId": [7, 7, 7]}}, "r.csv: 1 repeated ratings"),
        ({"personas": {"seed": [1, 2, 2]}}, "p.csv: persona 'a' has two seeds"),
        ({"personas": {"condition": ["x", "y", "y"]}}, "p.csv: persona 'a' has two conditions"),
        ({"personas": {"condition": ["x", "x", None]}}, "p.csv: persona 'b' has no condition"),
        ({"personas": {"seed": [5, 5, 2]}}, r"p.csv: 1 seeds are not among the users \('5'\)"),
    ],
)
def test_bad_files_are_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        read_fidelity_files(*tables(tmp_path, **changes))


def test_missing_files_and_columns_are_named(tmp_path):
    paths = tables(tmp_path)
    pd.DataFrame({"who": [1], "item": [7], "rating": [1]}).to_csv(paths[2], index=False)
    with pytest.raises(ValueError, match=r"p.csv: no column 'persona'; there are \['who'"):
        read_fidelity_files(*paths)
    paths[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"r\.csv"):
        read_fidelity_files(*paths)


def test_embeddings_are_read_and_checked(tmp_path):
    values = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "e.npy", values)
    np.savez(tmp_path / "e.npz", embeddings=values, ids=np.arange(3))
    for name in ("e.npy", "e.npz"):
        np.testing.assert_array_equal(read_embeddings(tmp_path / name, 3), values)
    np.savez(tmp_path / "two.npz", a=values, b=values)
    np.save(tmp_path / "nan.npy", np.where(values == 3, np.nan, values))
    (tmp_path / "text.npy").write_text("none")
    for name, count, words in (
        ("e.npy", 4, "expected 4 rows"),
        ("two.npz", 3, "none called 'embeddings'"),
        ("nan.npy", 3, "row 1 is not finite"),
        ("text.npy", 3, "cannot be read as embeddings"),
        ("e.csv", 3, "no such file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            read_embeddings(tmp_path / name, count)


def test_a_foreign_results_file_stays(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[1]")
    with pytest.raises(ValueError, match="is not a results file"):
        write_fidelity_results(path, [], counts={}, settings=PanelSettings())
    assert path.read_text() == "[1]"
