"""Leave-one-question-out and leave-one-user-out evaluation as published, one fold at a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from benchmarks.peer import methods

IMPUTATION_RANK = 5
MIN_STD = 1.0

FIT_AND_TRANSFER = {
    "Ridge": methods.ridge,
    "Lasso": methods.lasso,
    "ElasticNet": methods.elastic_net,
    "NeuralNet": methods.neural_network,
    "SyntheticControl": methods.synthetic_control,
    "SyntheticIntervention": methods.synthetic_intervention,
}
COMPLETION = ("HardImpute", "SoftImpute", "AlternatingLeastSquares", "SyntheticPrior")
METHODS = (*FIT_AND_TRANSFER, *COMPLETION)

# Tables 7 and 8 of the paper, by (dataset, direction).
PARAMETERS: dict[tuple[str, str], dict[str, dict]] = {
    ("movielens", "question"): {
        "Ridge": {"penalty": 1000.0},
        "Lasso": {"alpha": 0.01},
        "ElasticNet": {"alpha": 0.1, "l1_ratio": 0.1},
        "NeuralNet": {"hidden": (16,), "weight_decay": 0.1},
        "SyntheticControl": {"penalty": 1e-8},
        "SyntheticIntervention": {"rank": 50, "penalty": 100.0},
        "HardImpute": {"rank": 5},
        "SoftImpute": {"rank": 15, "shrink": 5.0},
        "AlternatingLeastSquares": {"rank": 15, "penalty": 5.0},
        "SyntheticPrior": {"rank": 8},
    },
    ("movielens", "user"): {
        "Ridge": {"penalty": 1000.0},
        "Lasso": {"alpha": 0.1},
        "ElasticNet": {"alpha": 1.0, "l1_ratio": 0.1},
        "NeuralNet": {"hidden": (8,), "weight_decay": 1.0},
        "SyntheticControl": {"penalty": 1.0},
        "SyntheticIntervention": {"rank": 10, "penalty": 100.0},
        "HardImpute": {"rank": 2},
        "SoftImpute": {"rank": 5, "shrink": 20.0},
        "AlternatingLeastSquares": {"rank": 3, "penalty": 5.0},
        "SyntheticPrior": {"rank": 2},
    },
    ("twin-2k-500", "question"): {
        "Ridge": {"penalty": 100.0},
        "Lasso": {"alpha": 0.001},
        "ElasticNet": {"alpha": 0.01, "l1_ratio": 0.3},
        "NeuralNet": {"hidden": (8,), "weight_decay": 0.05},
        "SyntheticControl": {"penalty": 1e-6},
        "SyntheticIntervention": {"rank": 20, "penalty": 100.0},
        "HardImpute": {"rank": 5},
        "SoftImpute": {"rank": 20, "shrink": 20.0},
        "AlternatingLeastSquares": {"rank": 20, "penalty": 20.0},
        "SyntheticPrior": {"rank": 8},
    },
    ("twin-2k-500", "user"): {
        "Ridge": {"penalty": 5000.0},
        "Lasso": {"alpha": 1.0},
        "ElasticNet": {"alpha": 1.0, "l1_ratio": 0.1},
        "NeuralNet": {"hidden": (8, 8), "weight_decay": 0.001},
        "SyntheticControl": {"penalty": 1e-6},
        "SyntheticIntervention": {"rank": 30, "penalty": 100.0},
        "HardImpute": {"rank": 2},
        "SoftImpute": {"rank": 10, "shrink": 10.0},
        "AlternatingLeastSquares": {"rank": 15, "penalty": 0.5},
        "SyntheticPrior": {"rank": 2},
    },
}


@dataclass(frozen=True)
class Panel:
    """Answers ``(users, questions)`` of humans and their twins; NaN where missing."""

    human: np.ndarray
    twin: np.ndarray


def read_panel(data: Path, dataset: str, construction: str = "Text Persona - GPT4.1-mini") -> Panel:
    """Read ``real.csv`` and ``LLM.csv`` and align the second with the first by identifier.

    ``data``: the clone, its folder ``data``, or the parent of either.
    """
    # Here, so that the workers of a benchmark do not load JAX.
    from syndigits_jax.datasets.syn_digits import data_root

    inside = Path("MovieLens-20M" if dataset == "movielens" else "2K500", "synthetic_control")
    folder = data_root(data, inside) / inside
    if dataset != "movielens":
        folder /= construction
    human = pd.read_csv(folder / "real.csv", index_col=0)
    twin = pd.read_csv(folder / "LLM.csv", index_col=0).loc[human.index, human.columns]
    return Panel(human.to_numpy(np.float64), twin.to_numpy(np.float64))


@dataclass(frozen=True)
class Problem:
    """What a fit-and-transfer method sees of a fold: scaled donors ``(s, d)``, target ``(s,)``.

    ``location + scale * prediction`` is in the units of the answers.
    """

    x_twin: np.ndarray
    y: np.ndarray
    x_human: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    iterations: tuple[int, int]


def column_scaling(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of the observed entries, the latter at least 1."""
    mean = methods.column_means(x)
    variance = methods.column_means((x - mean) ** 2)
    std = np.sqrt(variance)
    return mean, np.where(std < MIN_STD, 1.0, std)


def impute_donors(panel: Panel, target: int, direction: str):
    """Humans and twins without the target column (or row), completed separately.

    Rank-5 hard impute from column means, in both directions with users as rows.
    """
    axis = 1 if direction == "question" else 0
    sides = (np.delete(side, target, axis) for side in (panel.twin, panel.human))
    return [methods.svd_impute(side, IMPUTATION_RANK) for side in sides]


def regression_problem(panel: Panel, target: int, direction: str) -> Problem:
    """Impute and scale one fold. Every question is scaled, in both directions."""
    (twin, twin_steps), (human, human_steps) = impute_donors(panel, target, direction)
    twin_mean, twin_std = column_scaling(twin)
    human_mean, human_std = column_scaling(human)
    x_twin, x_human = (twin - twin_mean) / twin_std, (human - human_mean) / human_std
    if direction == "question":
        location, scale = column_scaling(panel.twin[:, [target]])
        y = panel.twin[:, target]
    else:
        x_twin, x_human = x_twin.T, x_human.T
        location, scale = twin_mean, twin_std
        y = panel.twin[target]
    y = np.nan_to_num((y - location) / scale)
    return Problem(x_twin, y, x_human, location, scale, (twin_steps, human_steps))


def fit_and_transfer(problem: Problem, method: str, parameters: dict) -> tuple[np.ndarray, float]:
    """Prediction ``(s,)`` in answer units, and the training MSE in scaled units."""
    fitted, prediction = FIT_AND_TRANSFER[method](
        problem.x_twin, problem.y, problem.x_human, **parameters
    )
    mse = float(np.mean((fitted - problem.y) ** 2))
    return problem.location + problem.scale * prediction, mse


def complete(panel: Panel, target: int, direction: str, method: str, parameters: dict):
    """Prediction ``(s,)`` of a completion method, in answer units.

    Humans are stacked above twins, users as rows in both directions, and the human half of the
    target's column (or its human row) is blank. The human scaling has seen the target. A blank
    row is completed from nothing, so for new users the prediction is all but the twins' mean.
    """
    twin_mean, twin_std = column_scaling(panel.twin)
    human_mean, human_std = column_scaling(panel.human)
    twin = (panel.twin - twin_mean) / twin_std
    human = (panel.human - human_mean) / human_std
    held_out = np.s_[:, target] if direction == "question" else np.s_[target]
    human[held_out] = np.nan
    stack = np.vstack([human, twin])
    if method == "SyntheticPrior":
        completed, _ = methods.svd_impute(human, start=np.nan_to_num(twin), **parameters)
    elif method == "AlternatingLeastSquares":
        seed = target if direction == "question" else 10_000 + target
        completed, _ = methods.alternating_least_squares(stack, seed=seed, **parameters)
    else:
        completed, _ = methods.svd_impute(stack, **parameters)
    if direction == "question":
        twin_mean, twin_std = twin_mean[target], twin_std[target]
    return twin_mean + twin_std * completed[: len(human)][held_out]


def run_fold(
    panel: Panel, parameters: dict[str, dict], target: int, direction: str, form: str
) -> dict[str, tuple[np.ndarray, float, float]]:
    """``(prediction, training MSE, seconds)`` of each method; the imputation's seconds too.

    ``form="published"`` imputes anew for every method, ``"shared"`` once.
    """
    # Folds are parallel, so a fold has one thread: the fastest use of several cores.
    torch.set_num_threads(1)
    threadpool_limits(1)
    results, problem, imputation = {}, None, 0.0
    for method, values in parameters.items():
        start, mse = time.perf_counter(), np.nan
        if method in FIT_AND_TRANSFER:
            if problem is None or form == "published":
                problem = regression_problem(panel, target, direction)
                if form == "shared":
                    imputation = time.perf_counter() - start
                    start = time.perf_counter()
            prediction, mse = fit_and_transfer(problem, method, values)
        else:
            prediction = complete(panel, target, direction, method, values)
        results[method] = (prediction, mse, time.perf_counter() - start)
    if form == "shared":
        results["Imputation"] = (np.empty(0), np.nan, imputation)
    return results


def leave_one_out(
    panel: Panel,
    parameters: dict[str, dict],
    targets: Sequence[int],
    direction: str,
    form: str = "published",
    jobs: int = 2,
) -> dict[str, np.ndarray]:
    """All folds, ``jobs`` at a time, each in a process with one thread.

    Returns ``truth`` ``(t, s)`` and per method ``prediction/NAME`` ``(t, s)``,
    ``training_mse/NAME`` ``(t,)`` and ``seconds/NAME`` ``(t,)``; ``wall_seconds`` for everything.
    """
    fold = partial(run_fold, panel, parameters, direction=direction, form=form)
    start = time.perf_counter()
    folds: Any = Parallel(n_jobs=jobs)(delayed(fold)(target) for target in targets)
    wall = time.perf_counter() - start
    index = np.asarray(targets)
    by_target = (lambda x: x[:, index].T) if direction == "question" else (lambda x: x[index])
    out = {"targets": index, "wall_seconds": np.asarray(wall)}
    out |= {"truth": by_target(panel.human), "prediction/Baseline": by_target(panel.twin)}
    for name in folds[0]:
        predictions, mses, seconds = zip(*(results[name] for results in folds), strict=True)
        if name in parameters:
            out[f"prediction/{name}"] = np.stack(predictions)
            out[f"training_mse/{name}"] = np.asarray(mses)
        out[f"seconds/{name}"] = np.asarray(seconds)
    return out


def correlations(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row with its observed truth ``(t,)``.

    0 where either standard deviation is at most 0.01 or fewer than two answers are observed,
    NaN where none is.
    """
    scores = np.full(len(truth), np.nan)
    for i, (p, t) in enumerate(zip(prediction, truth, strict=True)):
        seen = ~np.isnan(t) & ~np.isnan(p)
        if seen.any():
            p, t = p[seen], t[seen]
            varies = len(t) >= 2 and min(p.std(), t.std()) > 1e-2
            scores[i] = np.corrcoef(p, t)[0, 1] if varies else 0.0
    return scores
