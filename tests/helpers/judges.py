"""The engine once more, in NumPy, SciPy and scikit-learn: independent judges of its predictions."""

from typing import NamedTuple

import numpy as np
from engine import NEW, known
from scipy import optimize
from sklearn import linear_model


def scaled(x, weight):
    """Columns by the weighted mean and spread of their observed entries; NaN stays NaN."""
    weight = np.where(np.isnan(x), 0, weight[:, None])
    mean = np.nansum(weight * x, axis=0) / weight.sum(axis=0)
    std = np.sqrt(np.nansum(weight * (x - mean) ** 2, axis=0) / weight.sum(axis=0))
    return (x - mean) / std, mean, std


class Problem(NamedTuple):
    """Fit `y` on `x_twin` with sample weights, apply to `x_human`, map back."""

    x_twin: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    x_human: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


def regression_problems(direction, human, twin, weight) -> list[Problem]:
    """One per target, for answers of which only the twins' to the targets may be missing."""
    human = known(direction, human)
    x_human, mean, std = scaled(human, weight)
    if direction == "question":
        x_twin = scaled(twin[:, :-NEW], weight)[0]
        y, mean, std = scaled(twin[:, -NEW:], weight)
        return [Problem(x_twin, y[:, k], weight, x_human, mean[k], std[k]) for k in range(NEW)]
    x_twin, twin_mean, twin_std = scaled(twin[:-NEW], weight)
    y = (twin[-NEW:] - twin_mean) / twin_std
    return [Problem(x_twin.T, row, np.ones(len(row)), x_human.T, mean, std) for row in y]


def _by_sklearn(model):
    def fit(x, y, weight):
        return model.fit(x, y, sample_weight=weight).predict

    return fit


def _on_the_simplex(penalty):
    def fit(x, y, weight):
        # For weights that sum to one Xw - y is (X - y1ᵀ)w; a row of ones then only sets the scale
        # of the least squares over w >= 0.
        p = x.shape[1]
        residuals = np.sqrt(weight)[:, None] * (x - y[:, None])
        w, _ = optimize.nnls(
            np.r_[residuals, np.sqrt(penalty) * np.eye(p), np.ones((1, p))],
            np.r_[np.zeros(len(x) + p), 1],
        )
        return lambda new: new @ (w / w.sum())

    return fit


def fitters(methods) -> dict:
    """`fit(x, y, weight)` returning `predict(x)`, per method."""
    en = methods["ElasticNet"]
    options = {"tol": 1e-10, "max_iter": 100_000}
    return {
        "Ridge": _by_sklearn(linear_model.Ridge(alpha=float(methods["Ridge"].penalty))),
        "Lasso": _by_sklearn(linear_model.Lasso(alpha=float(methods["Lasso"].alpha), **options)),
        "ElasticNet": _by_sklearn(
            linear_model.ElasticNet(alpha=float(en.alpha), l1_ratio=float(en.l1_ratio), **options)
        ),
        "SyntheticControl": _on_the_simplex(float(methods["SyntheticControl"].penalty)),
    }


def by_regression(problem: Problem, fit):
    """(prediction, training error) of one target."""
    seen = ~np.isnan(problem.y)
    weight = problem.weight[seen]
    predict = fit(problem.x_twin[seen], problem.y[seen], weight)
    error = (predict(problem.x_twin[seen]) - problem.y[seen]) ** 2
    prediction = problem.centre + problem.scale * predict(problem.x_human)
    return prediction, np.average(error, weights=weight)


def by_intervention(method, problem: Problem, donor_weight):
    """A fitter: ridge on the leading right singular vectors of the (weighted) donors."""
    root = np.sqrt(np.broadcast_to(donor_weight, problem.y.shape))[:, None]
    directions = np.linalg.svd(root * problem.x_twin)[2][: method.rank].T
    ridge = _by_sklearn(linear_model.Ridge(alpha=float(method.penalty)))

    def fit(x, y, weight):
        predict = ridge(x @ directions, y, weight)
        return lambda new: predict(new @ directions)

    return fit


def low_rank_fit(x, rank, *, start=0.0, penalty=0.0):
    """The fixed point of: fill what is missing from the fit, fit again."""
    mask = ~np.isnan(x)
    filled = np.where(mask, x, start)
    for _ in range(20_000):
        u, s, vt = np.linalg.svd(filled, full_matrices=False)
        fit = (u[:, :rank] * np.maximum(s[:rank] - penalty, 0)) @ vt[:rank]
        new = np.where(mask, x, fit)
        change = np.linalg.norm(new - filled) / np.linalg.norm(filled)
        filled = new
        if change < 1e-8:
            return fit
    raise AssertionError("the judge did not converge")


def by_completion(direction, human, twin, methods) -> dict:
    """(predictions, training errors) per completion method, a row per target; equal weights."""
    n = len(human)
    ones = np.ones(n)
    hidden = human.copy()
    hidden[(slice(None), slice(-NEW, None)) if direction == "question" else slice(-NEW, None)] = (
        np.nan
    )
    if direction == "user":
        x_human, mean, std = scaled(hidden, ones)
        x_twin = scaled(twin, ones)[0]
        return _complete(x_human.T, x_twin.T, methods, mean[:, None], std[:, None])
    x_twin, mean, std = scaled(twin, ones)
    x_human = np.c_[scaled(hidden[:, :-NEW], ones)[0], hidden[:, -NEW:]]
    parts = []
    for k in range(-NEW, 0):
        columns = [*range(twin.shape[1] - NEW), k]
        parts.append(
            _complete(x_human[:, columns], x_twin[:, columns], methods, mean[k], std[k], 1)
        )
    return {
        name: tuple(np.concatenate([part[name][i] for part in parts]) for i in range(2))
        for name in parts[0]
    }


def _complete(x_human, x_twin, methods, centre, scale, targets=NEW):
    half, stack = len(x_human), np.r_[x_human, x_twin]
    soft, als = methods["SoftImpute"], methods["AlternatingLeastSquares"]
    hard = low_rank_fit(stack, methods["HardImpute"].rank)
    soft_fit = low_rank_fit(stack, soft.rank, penalty=float(soft.penalty))
    als_fit = low_rank_fit(stack, als.rank, penalty=float(als.penalty))
    start = np.nan_to_num(x_twin)
    prior = low_rank_fit(x_human, methods["SyntheticPrior"].rank, start=start)
    fits = {
        "HardImpute": (hard[:half], hard[half:]),
        "SoftImpute": (soft_fit[:half], soft_fit[half:]),
        "AlternatingLeastSquares": (als_fit[:half], als_fit[half:]),
        "SyntheticPrior": (prior, prior),
    }
    return {
        name: (
            (centre + scale * human[:, -targets:]).T,
            np.nanmean((x_twin - twin)[:, -targets:] ** 2, axis=0),
        )
        for name, (human, twin) in fits.items()
    }


def learned(problem: Problem, zero_shot, answers, settings):
    """The zero-shot prediction after known answers (NaN elsewhere), by the normal equations."""
    f = (zero_shot - problem.centre) / problem.scale
    y = (answers - problem.centre) / problem.scale
    design = np.c_[np.ones_like(f), f, problem.x_human]
    p = problem.x_human.shape[1]
    prior = np.r_[
        settings.few_shot.level,
        settings.few_shot.slope,
        np.full(p, settings.few_shot.donors / p),
    ]
    seen = ~np.isnan(y)
    x, w = design[seen], problem.weight[seen]
    system = x.T @ (w[:, None] * x) + np.diag(1 / prior)
    coefficients = np.linalg.solve(system, x.T @ (w * (y - f)[seen]))
    return problem.centre + problem.scale * (f + design @ coefficients)
