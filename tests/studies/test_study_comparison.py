"""Blocks of numbers for printing."""

import pytest

from syndigits_jax.results.records import Record
from syndigits_jax.studies.syn_digits.comparison import blocks, largest_difference


def record(method, setting, metric, mean, paper=None, table="table2", construction="zero-shot"):
    return Record(
        table, "movielens", construction, "question", method, setting, metric, mean, 0.01, 9,
        paper, None if paper is None else 0.02,
    )  # fmt: skip


RECORDS = [
    record("Ridge", "reference", "pearson", 0.50, 0.51),
    record("Ridge", "reference", "pearson_gain_percent", 25.0),
    record("Ridge", "default", "pearson", 0.55, 0.51),
    record("Ridge", "reference", "mse", 1.0),
    record("Ridge", "reference", "converged", 1.0),
    record("Ridge", "default", "converged", 0.25),
    record("Ridge", "default", "imputation_converged", 0.5),
    record("Baseline", "reference", "pearson", 0.40, 0.38),
    record("UserMean", "default", "pearson", 0.45),
    record("Ridge", "reference", "pearson", None, 0.51, table="table4", construction="X"),
]


def test_blocks_put_settings_and_paper_side_by_side():
    first, second = blocks(RECORDS)
    assert (
        first.title == "movielens: new questions" and second.title == "movielens, X: new questions"
    )
    assert first.unfinished == {"default": {"Ridge": 0.25}} and not second.unfinished
    assert first.unimputed == {"default": {"Ridge": 0.5}} and not second.unimputed
    assert first.settings == ("reference", "default")
    ridge, baseline, user_mean = first.rows
    assert ridge.ours == {"reference": (0.50, 0.01), "default": (0.55, 0.01)}
    assert ridge.paper == (0.51, 0.02)
    assert ridge.gain == {"reference": 25.0, "default": None}
    assert ridge.difference("reference") == pytest.approx(-0.01)
    assert baseline.difference("default") is None
    assert user_mean.paper == (None, None) and user_mean.difference("default") is None


def test_largest_difference_looks_at_one_setting_and_skips_unknown_means():
    furthest = largest_difference(RECORDS)
    assert furthest is not None and furthest.method == "Baseline"
    furthest = largest_difference(RECORDS, "default")
    assert furthest is not None and furthest.method == "Ridge"
    assert largest_difference([RECORDS[-1]]) is None
