"""Presets against the text of the paper's Tables 7 and 8."""

import jax
import pytest

from syndigits_jax.calibration import preset

# The rows in the order of the tables; rank before penalty, alpha before the ℓ1 ratio.
TABLES = {
    ("movielens", "question"): {
        "Ridge": {"penalty": 1000},
        "Lasso": {"alpha": 0.01},
        "ElasticNet": {"alpha": 0.1, "l1_ratio": 0.1},
        "SyntheticControl": {"penalty": 1e-8},
        "NeuralNet": {"hidden": (16,), "weight_decay": 0.1},
        "SyntheticIntervention": {"rank": 50, "penalty": 100},
        "HardImpute": {"rank": 5},
        "SoftImpute": {"rank": 15, "penalty": 5},
        "AlternatingLeastSquares": {"rank": 15, "penalty": 5},
        "SyntheticPrior": {"rank": 8},
    },
    ("movielens", "user"): {
        "Ridge": {"penalty": 1000},
        "Lasso": {"alpha": 0.1},
        "ElasticNet": {"alpha": 1, "l1_ratio": 0.1},
        "SyntheticControl": {"penalty": 1},
        "NeuralNet": {"hidden": (8,), "weight_decay": 1},
        "SyntheticIntervention": {"rank": 10, "penalty": 100},
        "HardImpute": {"rank": 2},
        "SoftImpute": {"rank": 5, "penalty": 20},
        "AlternatingLeastSquares": {"rank": 3, "penalty": 5},
        "SyntheticPrior": {"rank": 2},
    },
    ("twin-2k-500", "question"): {
        "Ridge": {"penalty": 100},
        "Lasso": {"alpha": 0.001},
        "ElasticNet": {"alpha": 0.01, "l1_ratio": 0.3},
        "SyntheticControl": {"penalty": 1e-6},
        "NeuralNet": {"hidden": (8,), "weight_decay": 0.05},
        "SyntheticIntervention": {"rank": 20, "penalty": 100},
        "HardImpute": {"rank": 5},
        "SoftImpute": {"rank": 20, "penalty": 20},
        "AlternatingLeastSquares": {"rank": 20, "penalty": 20},
        "SyntheticPrior": {"rank": 8},
    },
    ("twin-2k-500", "user"): {
        "Ridge": {"penalty": 5000},
        "Lasso": {"alpha": 1},
        "ElasticNet": {"alpha": 1, "l1_ratio": 0.1},
        "SyntheticControl": {"penalty": 1e-6},
        "NeuralNet": {"hidden": (8, 8), "weight_decay": 0.001},
        "SyntheticIntervention": {"rank": 30, "penalty": 100},
        "HardImpute": {"rank": 2},
        "SoftImpute": {"rank": 10, "penalty": 10},
        "AlternatingLeastSquares": {"rank": 15, "penalty": 0.5},
        "SyntheticPrior": {"rank": 2},
    },
}
# Appendix A.4, the same in all four columns.
NETWORK = {"epochs": 200, "learning_rate": 1e-3, "batch_size": 128, "patience": 20}


@pytest.mark.parametrize(("dataset", "direction"), TABLES)
def test_presets_are_the_papers(dataset, direction):
    methods = preset(dataset, direction)
    assert list(methods) == [type(method).__name__ for method in methods.values()]
    assert set(methods) == set(TABLES[dataset, direction])
    for name, expected in TABLES[dataset, direction].items():
        for field, value in (expected | (NETWORK if name == "NeuralNet" else {})).items():
            actual = getattr(methods[name], field)
            if isinstance(actual, jax.Array):
                value = pytest.approx(value, rel=1e-6)
            assert actual == value, (name, field)


def test_new_questions_are_the_default():
    assert preset("movielens")["SyntheticIntervention"].rank == 50


@pytest.mark.parametrize("name", ["movie-lens", "MovieLens", ""])
def test_unknown_presets(name):
    message = rf"no preset for dataset '{name}', direction 'user'; .*'movielens', 'twin-2k-500'"
    with pytest.raises(ValueError, match=message):
        preset(name, "user")
