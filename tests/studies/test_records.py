"""Records and results files: layout, null for NaN, whole or not at all."""

import dataclasses
import json

import pytest

from syndigits_jax.studies import records as module
from syndigits_jax.studies.files import remove_partial, replacing, write_text
from syndigits_jax.studies.records import Record, read_results, write_results


def record(method="Ridge", mean=0.5, **changes):
    base = Record(
        "table2", "movielens", "zero-shot", "question", method, "reference", "pearson", mean,
        0.005, 250, 0.511, 0.005, 1.5,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_results_file_has_the_published_layout(tmp_path):
    path = tmp_path / "new" / "results.json"
    assert write_results(path, [record()]) == 1
    document = json.loads(path.read_text())
    assert set(document) == {"machine", "versions", "records"}
    assert document["records"] == [
        {
            "table": "table2",
            "dataset": "movielens",
            "construction": "zero-shot",
            "direction": "question",
            "method": "Ridge",
            "setting": "reference",
            "metric": "pearson",
            "mean": 0.5,
            "se": 0.005,
            "count": 250,
            "paper_mean": 0.511,
            "paper_se": 0.005,
            "seconds": 1.5,
        }
    ]
    assert {"cpu", "cores", "memory_gib", "device", "device_kind"} <= set(document["machine"])
    assert {"python", "jax", "numpy", "syndigits_jax"} <= set(document["versions"])


def test_nan_and_infinity_become_null_and_read_back(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=float("nan"), se=float("inf"))])
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    _, [read] = read_results(path)
    assert read.mean is None and read.se is None


def test_merge_replaces_what_is_recomputed_and_keeps_the_rest(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1), record("Lasso", 0.2)])
    assert write_results(path, [record(mean=0.3), record("Ridge", 0.4, table="table4")]) == 3
    _, found = read_results(path)
    values = [(r.table, r.method, r.mean) for r in found]
    assert values == [("table2", "Ridge", 0.3), ("table2", "Lasso", 0.2), ("table4", "Ridge", 0.4)]


def test_records_of_another_machine_are_set_aside(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1), record("Lasso", 0.2)])
    monkeypatch.setattr(module, "machine", lambda: {"cpu": "another"})
    assert write_results(path, [record(mean=0.3)]) == 1
    _, found = read_results(path)
    assert [r.mean for r in found] == [0.3]
    _, previous = read_results(tmp_path / "results.previous.json")
    assert [r.mean for r in previous] == [0.1, 0.2]


def test_two_records_of_one_key_are_refused(tmp_path):
    with pytest.raises(ValueError, match="records: two of them"):
        write_results(tmp_path / "results.json", [record(), record(mean=0.7)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"records": [{"x": 1}]}'])
def test_a_foreign_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a results file"):
        write_results(path, [record()])
    assert path.read_text() == text


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(error), replacing(path) as temporary:
        assert temporary.suffix == ".csv" and temporary.parent == tmp_path
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_stale_partial_files_go_but_fresh_ones_stay(tmp_path):
    import os

    stale, fresh = tmp_path / ".partial-a.npz", tmp_path / ".partial-b.npz"
    stale.write_text("x")
    fresh.write_text("y")
    os.utime(stale, (0, 0))
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]
