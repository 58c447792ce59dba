"""The paper's hyperparameters (Tables 7 and 8), by data set and direction."""

from collections.abc import Callable
from typing import Literal

from .calibrators import (
    AlternatingLeastSquares,
    Calibrator,
    ElasticNet,
    HardImpute,
    Lasso,
    NeuralNet,
    Ridge,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    SyntheticPrior,
)

Direction = Literal["question", "user"]


def _table(ridge, lasso, en, sc, nn, si, hsv, ssv, als, sp) -> Callable[[], dict[str, Calibrator]]:
    return lambda: {
        "Ridge": Ridge(ridge),
        "Lasso": Lasso(lasso),
        "ElasticNet": ElasticNet(*en),
        "NeuralNet": NeuralNet(hidden=nn[0], weight_decay=nn[1]),
        "SyntheticControl": SyntheticControl(sc),
        "SyntheticIntervention": SyntheticIntervention(*si),
        "HardImpute": HardImpute(hsv),
        "SoftImpute": SoftImpute(*ssv),
        "AlternatingLeastSquares": AlternatingLeastSquares(*als),
        "SyntheticPrior": SyntheticPrior(sp),
    }


# Built on demand: constructing a calibrator makes arrays, and importing must not.
_PRESETS = {
    ("movielens", "question"): _table(
        1000, 0.01, (0.1, 0.1), 1e-8, ((16,), 0.1), (50, 100), 5, (15, 5), (15, 5), 8
    ),
    ("movielens", "user"): _table(
        1000, 0.1, (1, 0.1), 1, ((8,), 1), (10, 100), 2, (5, 20), (3, 5), 2
    ),
    ("twin-2k-500", "question"): _table(
        100, 0.001, (0.01, 0.3), 1e-6, ((8,), 0.05), (20, 100), 5, (20, 20), (20, 20), 8
    ),
    ("twin-2k-500", "user"): _table(
        5000, 1, (1, 0.1), 1e-6, ((8, 8), 0.001), (30, 100), 2, (10, 10), (15, 0.5), 2
    ),
}


def preset(dataset: str, direction: Direction = "question") -> dict[str, Calibrator]:
    """The ten calibrators with the paper's hyperparameters, keyed by class name.

    **Arguments:** `dataset`: `"movielens"` (Table 7) or `"twin-2k-500"` (Table 8); `direction`:
    `"question"` (new questions) or `"user"` (new users).

    **Raises:** `ValueError` for another data set or direction.

    **Example:**

        >>> from syndigits_jax import preset
        >>> methods = preset("movielens")
        >>> print(len(methods), float(methods["Ridge"].penalty))
        10 1000.0
    """
    try:
        return _PRESETS[dataset, direction]()
    except KeyError:
        known = sorted({name for name, _ in _PRESETS})
        raise ValueError(
            f"no preset for dataset {dataset!r}, direction {direction!r}; data sets are {known}, "
            "directions 'question' and 'user'"
        ) from None
