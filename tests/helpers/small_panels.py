"""Small panels of one shape and one calibrator of each kind, for all tests of calibration."""

import numpy as np

from syndigits_jax.calibration import (
    AlternatingLeastSquares,
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
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.panel import Panel

USERS, QUESTIONS = 24, 10

METHODS = {
    "Ridge": Ridge(2.0),
    "Lasso": Lasso(0.05),
    "ElasticNet": ElasticNet(0.1, 0.5),
    "NeuralNet": NeuralNet(hidden=(4,), epochs=30),
    "SyntheticControl": SyntheticControl(0.01),
    "SyntheticIntervention": SyntheticIntervention(3, 2.0),
    "HardImpute": HardImpute(2),
    "SoftImpute": SoftImpute(3, 1.0),
    "AlternatingLeastSquares": AlternatingLeastSquares(3, 1.0),
    "SyntheticPrior": SyntheticPrior(2),
}
REGRESSIONS = list(METHODS)[:6]
COMPLETIONS = list(METHODS)[6:]
CONVEX = ["Ridge", "Lasso", "ElasticNet", "SyntheticControl"]


def small_panel(seed: int = 0, *, missing: float = 0.1, **options) -> Panel:
    """24 users and 10 questions of unequal spread, on no particular scale."""
    options = {"noise": 0.4, "twin_noise": 0.4, "fidelity": 0.9, "bias_spread": 0.3} | options
    panel, _ = simulate_panel(
        USERS, QUESTIONS, 2, key=seed, missing=missing, twin_missing=missing, **options
    )
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.5, 2, QUESTIONS)
    return panel.replace(human=3 + panel.human * size, twin=3 + panel.twin * size)


def as_new_question(panel: Panel, j: int):
    """`human` (n, m - 1) and `twin` (n, m) with question j last, and its human answers (n,)."""
    rest = np.delete(np.arange(panel.m), j)
    return panel.human[:, rest], panel.twin[:, [*rest, j]], panel.human[:, j]


def as_new_user(panel: Panel, i: int):
    """`human` (n - 1, m) and `twin` (n, m) with user i last, and their human answers (m,)."""
    rest = np.delete(np.arange(panel.n), i)
    return panel.human[rest], panel.twin[[*rest, i]], panel.human[i]
