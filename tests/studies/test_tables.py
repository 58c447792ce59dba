"""Tables on a small stand-in for the published data: what is run, resumed and recorded."""

import json

import numpy as np
import pytest
from published_layout import DEFAULT, OTHER, write_published

from syndigits_jax.results.records import read_results
from syndigits_jax.studies.syn_digits import tables
from syndigits_jax.studies.syn_digits.protocol import plan
from syndigits_jax.studies.syn_digits.tables import run_table


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def counted(monkeypatch):
    """Count hold-out evaluations."""
    calls = []
    for name in ("leave_one_question_out", "leave_one_user_out"):
        real = getattr(tables, name)

        def wrapped(*args, real=real, **kwargs):
            calls.append(1)
            return real(*args, **kwargs)

        monkeypatch.setattr(tables, name, wrapped)
    return calls


def test_plans_name_data_direction_and_settings(published):
    [unit] = plan("table2", published, methods=["ridge"])
    assert (unit.dataset, unit.direction, unit.setting) == ("movielens", "question", "reference")
    four = plan("table4", published, setting="both")
    assert [(u.construction, u.setting) for u in four] == [
        (DEFAULT, "reference"),
        (DEFAULT, "default"),
        (OTHER, "reference"),
        (OTHER, "default"),
    ]
    assert len(four[0].methods) == 10
    five = plan("table5", published)
    assert [(u.dataset, u.direction) for u in five] == [
        ("movielens", "user"),
        ("twin-2k-500", "user"),
    ]
    [figure] = plan("figure5", published)
    assert figure.construction == DEFAULT and figure.methods == ("Ridge", "ElasticNet")
    [chosen] = plan("table4", published, constructions=[OTHER.lower()])
    assert chosen.construction == OTHER


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table3", {}), "unknown table 'table3'; known: table2"),
        (("table2", {"constructions": [OTHER]}), "constructions: table2 is MovieLens"),
        (("table4", {"methods": ["rigde"]}), "did you mean 'ridge'"),
        (("table4", {"constructions": ["JSON"]}), "unknown construction 'JSON'"),
        (("table2", {"setting": "published"}), "unknown setting 'published'"),
    ],
)
def test_plans_refuse_unknown_names(published, arguments, message):
    table, options = arguments
    with pytest.raises(ValueError, match=message):
        plan(table, published, **options)


def test_missing_data_are_reported_with_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="git clone"):
        plan("table4", tmp_path)
    with pytest.raises(FileNotFoundError, match="git clone"):
        run_table("table2", tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_is_recorded_with_controls_and_the_papers_numbers(published, tmp_path):
    seen = []
    records, _ = run_table(
        "table2", published, methods=["ridge"], out=tmp_path, on_progress=seen.append
    )
    assert seen[0].done == 0 and seen[-1].done == seen[-1].total == 10
    found = {(r.method, r.metric): r for r in records}
    for method in ("Ridge", "Baseline", "InContext", "UserMean", "ZScoredUserMean"):
        assert (method, "pearson") in found
    ridge = found["Ridge", "pearson"]
    assert (ridge.paper_mean, ridge.paper_se, ridge.count) == (0.511, 0.005, 10)
    assert ridge.construction == "zero-shot" and ridge.direction == "question"
    assert found["UserMean", "pearson"].paper_mean is None
    for metric in ("mse", "r2", "accuracy", "wasserstein", "sd_ratio", "pearson_fisher_z"):
        assert np.isfinite(found["Ridge", metric].mean)
    base = found["Baseline", "pearson"].mean
    gain = found["Ridge", "pearson_gain_percent"].mean
    assert gain == pytest.approx(100 * (ridge.mean / base - 1), rel=1e-3)
    # The fits converge whether or not the imputation before them does, which is told apart.
    assert found["Ridge", "converged"].mean == 1
    assert found["Ridge", "imputation_converged"].mean >= 0.8
    # What is written is what is returned, and it is strict JSON.
    _, written = read_results(tmp_path / "results.json")
    assert [r.key for r in written] == [r.key for r in records]
    json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)


def test_new_users_also_get_the_item_centred_correlation(published):
    records, [movielens, survey] = run_table("table5", published, methods=["ridge"])
    found = {(r.dataset, r.method, r.metric): r for r in records}
    assert movielens.unit.direction == survey.unit.direction == "user"
    for dataset in ("movielens", "twin-2k-500"):
        assert np.isfinite(found[dataset, "Ridge", "pearson_item_centred"].mean)
        # Taking the item mean off itself leaves nothing to correlate.
        assert found[dataset, "ItemMean", "pearson_item_centred"].mean == 0.0
    assert found["movielens", "Ridge", "pearson"].paper_mean == 0.373


def test_figure5_records_its_curve(published):
    records, _ = run_table("figure5", published, methods=["ridge"])
    metrics = {r.metric for r in records if r.method == "Ridge"}
    assert {"pearson", "adaptive_pearson@0.16", "adaptive_pearson_best"} <= metrics


def test_a_second_run_computes_nothing(published, tmp_path, counted):
    options = {"methods": ["ridge"], "setting": "both", "out": tmp_path}
    run_table("table4", published, **options)
    assert len(counted) == 4
    text = (tmp_path / "results.json").read_text()
    _, results = run_table("table4", published, **options)
    assert len(counted) == 4 and all(result.resumed for result in results)
    assert (tmp_path / "results.json").read_text() == text
    # Another method is another unit.
    run_table("table4", published, methods=["hard-impute"], constructions=[OTHER], out=tmp_path)
    assert len(counted) == 5


def test_an_interrupted_run_resumes_after_its_last_finished_unit(
    published, tmp_path, counted, monkeypatch
):
    def stop(progress):
        if progress.unit == 1 and progress.done > 0:
            raise KeyboardInterrupt

    options = {"methods": ["ridge"], "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        run_table("table4", published, on_progress=stop, **options)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].endswith(".npz")
    assert len(counted) == 2
    _, results = run_table("table4", published, **options)
    assert [result.resumed for result in results] == [True, False]
    assert len(counted) == 3
    assert (tmp_path / "results.json").exists()


@pytest.mark.parametrize(("table", "first"), [("table2", 4), ("table5", 8)])
def test_large_units_resume_part_by_part(published, tmp_path, counted, monkeypatch, table, first):
    options = {"methods": ["hard-impute"], "out": tmp_path / "parts"}
    whole, _ = run_table(table, published, methods=["hard-impute"])
    calls = len(counted)
    monkeypatch.setattr(tables, "_QUESTIONS", 4)
    monkeypatch.setattr(tables, "_USERS", 8)

    def stop(progress):
        if progress.done > first:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_table(table, published, on_progress=stop, **options)
    assert len(counted) == calls + 2
    records, _ = run_table(table, published, **options)
    # 10 questions in parts of 4, or 24 users of two data sets in parts of 8; one was kept.
    assert len(counted) == calls + 2 + (2 if table == "table2" else 5)
    for got, expected in zip(records, whole, strict=True):
        assert got.key == expected.key and got.count == expected.count
        np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-5)


def test_changed_data_are_computed_anew(tmp_path, counted):
    folder = write_published(tmp_path / "data")
    options = {"methods": ["ridge"], "out": tmp_path / "out"}
    run_table("table2", folder, **options)
    path = folder / "MovieLens-20M" / "synthetic_control" / "real.csv"
    path.write_text(path.read_text().replace("5.0", "4.0", 1))
    run_table("table2", folder, **options)
    assert len(counted) == 2
