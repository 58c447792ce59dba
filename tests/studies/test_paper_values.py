"""The paper's numbers: they must agree with the gains that the paper prints beside them."""

import pytest

from syndigits_jax.datasets import CONSTRUCTIONS, DEFAULT_CONSTRUCTION
from syndigits_jax.studies.syn_digits import paper_values as paper


def gain(value, base):
    return 100 * (value.mean / base.mean - 1)


def gain_slack(value, base):
    """How far a gain can move, in percent points, when both numbers are rounded to 0.001."""
    return 100 * 0.0005 * (1 + value.mean / base.mean) / base.mean


@pytest.mark.parametrize("construction", [c.folder for c in CONSTRUCTIONS])
def test_table4_best_gain_follows_from_its_row(construction):
    row = paper.TABLE4[construction]
    assert tuple(row) == ("Baseline", *paper.METHODS)
    base = row["Baseline"]
    best = max((row[name] for name in paper.METHODS), key=lambda value: value.mean)
    printed = paper.TABLE4_BEST_GAIN[construction]
    assert gain(best, base) == pytest.approx(printed, abs=gain_slack(best, base) + 0.5)


@pytest.mark.parametrize("method", paper.METHODS)
def test_table2_and_5_gains_follow_from_their_rows(method):
    rows = [
        (paper.TABLE2, paper.TABLE2["Baseline"], paper.TABLE2_GAIN),
        (paper.TABLE2, paper.TABLE2["InContext"], paper.TABLE2_GAIN_OVER_IN_CONTEXT),
        *((row, row["Baseline"], paper.TABLE5_GAIN[name]) for name, row in paper.TABLE5.items()),
    ]
    for row, base, printed in rows:
        value = row[method]
        unit = 0.05 if isinstance(printed[method], float) else 0.5
        slack = gain_slack(value, base) + unit
        assert gain(value, base) == pytest.approx(printed[method], abs=slack)


def test_statements_of_the_text_hold():
    default = paper.TABLE4[DEFAULT_CONSTRUCTION.folder]
    assert paper.TABLE2["ElasticNet"] == (0.524, 0.005)
    assert paper.TABLE2["HardImpute"].se == 0.008
    assert default["Baseline"] == (0.168, 0.015)
    assert paper.TABLE5[paper.TWIN_2K_500]["NeuralNet"].mean == 0.877
    # "from .048 to .205" and "from .204 to .243": baselines, and the best after calibration.
    baselines = [row["Baseline"].mean for row in paper.TABLE4.values()]
    best = [max(row[name].mean for name in paper.METHODS) for row in paper.TABLE4.values()]
    assert (min(baselines), max(baselines)) == (0.048, 0.205)
    assert (min(best), max(best)) == (0.204, 0.243)
    # "a 50% improvement over the DT baseline"
    assert gain(paper.FIGURE5_BEST["Ridge"], default["Baseline"]) == pytest.approx(50, abs=0.6)


def test_lookup():
    look = paper.paper_value
    assert look("table2", "movielens", "zero-shot", "InContext") == (0.406, 0.005)
    assert look("table4", "twin-2k-500", "JSON Persona - GPT4.1", "SoftImpute") == (0.223, 0.018)
    assert look("table5", "movielens", "zero-shot", "NeuralNet") == (0.377, 0.006)
    default = DEFAULT_CONSTRUCTION.folder
    assert look("figure5", "twin-2k-500", default, "Ridge") == (0.2, 0.021)
    best = look("figure5", "twin-2k-500", default, "Ridge", "adaptive_pearson_best")
    assert best == (0.252, None)
    # Nothing is printed for controls the paper lacks, other metrics, or other data.
    assert look("table2", "movielens", "zero-shot", "UserMean") is None
    assert look("table2", "movielens", "zero-shot", "Ridge", "mse") is None
    assert look("table4", "twin-2k-500", "elsewhere", "Ridge") is None
    assert look("table5", "opinionqa", "zero-shot", "Ridge") is None
