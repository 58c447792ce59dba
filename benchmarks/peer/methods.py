"""The ten calibration methods and the matrix completions they rest on, in float64 NumPy.

Fit-and-transfer methods map ``(x_twin, y, x_human, **parameters)``, scaled donors ``(s, d)`` and
a scaled target ``(s,)``, to ``(fitted, prediction)``. Completions take a matrix with NaN where an
entry is missing and return it completed. Source: SYN-DIGITS, appendices A.2 and A.4.
"""

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

Fit = tuple[np.ndarray, np.ndarray]


def truncated_svd(x: np.ndarray, rank: int, shrink: float = 0.0) -> np.ndarray:
    """Best approximation of ``x`` of at most this rank, singular values reduced by ``shrink``."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    s = np.maximum(s[:rank] - shrink, 0.0)
    return (u[:, :rank] * s) @ vt[:rank]


def column_means(x: np.ndarray) -> np.ndarray:
    """Means of the observed entries ``(p,)``; 0 for a column without any."""
    observed = ~np.isnan(x)
    return np.where(observed, x, 0.0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)


def svd_impute(
    x: np.ndarray,
    rank: int,
    shrink: float = 0.0,
    start: np.ndarray | None = None,
    tol: float = 1e-4,
    max_iterations: int = 1000,
) -> tuple[np.ndarray, int]:
    """Complete ``x`` by iterated truncated SVD; also the number of iterations.

    Missing entries start from ``start`` (default: column means). With ``shrink=0`` this is hard
    impute, else soft impute of bounded rank. Stops at a relative change below ``tol``.
    """
    observed = ~np.isnan(x)
    current = np.where(observed, x, column_means(x) if start is None else start)
    iterations = 0
    while iterations < max_iterations:
        iterations += 1
        new = np.where(observed, x, truncated_svd(current, rank, shrink))
        change = np.linalg.norm(new - current)
        norm = np.linalg.norm(current)
        current = new
        if change < tol * norm or norm == 0.0:
            break
    return current, iterations


def alternating_least_squares(
    x: np.ndarray,
    rank: int,
    penalty: float,
    seed: int,
    tol: float = 1e-4,
    max_sweeps: int = 1000,
) -> tuple[np.ndarray, int]:
    """Complete ``x`` as U Vᵀ by alternating row-wise ridge solves; also the number of sweeps."""
    rng = np.random.default_rng(seed)
    observed = ~np.isnan(x)
    u = 0.01 * rng.standard_normal((x.shape[0], rank))
    v = 0.01 * rng.standard_normal((x.shape[1], rank))
    ridge = penalty * np.eye(rank)

    def solve_rows(rows, seen, factor):
        out = np.empty((len(rows), rank))
        for i, (row, mask) in enumerate(zip(rows, seen, strict=True)):
            a = factor[mask]
            out[i] = np.linalg.solve(a.T @ a + ridge, a.T @ row[mask])
        return out

    previous, sweeps = np.inf, 0
    while sweeps < max_sweeps:
        sweeps += 1
        u = solve_rows(x, observed, v)
        v = solve_rows(x.T, observed.T, u)
        residual = np.where(observed, x - u @ v.T, 0.0)
        objective = np.sum(residual**2) + penalty * (np.sum(u**2) + np.sum(v**2))
        if abs(previous - objective) < tol * previous:
            break
        previous = objective
    return u @ v.T, sweeps


def _linear(model, x_twin, y, x_human) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x_twin, y)
    return model.predict(x_twin), model.predict(x_human)


def ridge(x_twin, y, x_human, penalty: float) -> Fit:
    return _linear(Ridge(alpha=penalty), x_twin, y, x_human)


def lasso(x_twin, y, x_human, alpha: float) -> Fit:
    return _linear(Lasso(alpha=alpha, max_iter=10_000), x_twin, y, x_human)


def elastic_net(x_twin, y, x_human, alpha: float, l1_ratio: float) -> Fit:
    model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, max_iter=10_000)
    return _linear(model, x_twin, y, x_human)


def synthetic_intervention(x_twin, y, x_human, rank: int, penalty: float) -> Fit:
    """Ridge regression on the leading right singular directions of the twin donors."""
    _, _, vt = np.linalg.svd(x_twin, full_matrices=False)
    directions = vt[:rank].T
    return _linear(
        Ridge(alpha=penalty) if penalty else LinearRegression(),
        x_twin @ directions,
        y,
        x_human @ directions,
    )


def synthetic_control(
    x_twin,
    y,
    x_human,
    penalty: float,
    learning_rate: float = 0.01,
    decay: float = 0.9,
    patience: int = 10,
    iterations: int = 3000,
) -> Fit:
    """Exponentiated gradient on the simplex with AdaGrad-like steps, stopped after 3000 of them."""
    d = x_twin.shape[1]
    w = np.full(d, 1.0 / d)
    squares = np.zeros(d)
    rate, best, waited = learning_rate, np.inf, 0
    for _ in range(iterations):
        residual = x_twin @ w - y
        objective = residual @ residual + penalty * (w @ w)
        if objective < best:
            best, waited = objective, 0
        else:
            waited += 1
            if waited >= patience:
                rate, waited = max(decay * rate, 0.01 * learning_rate), 0
        gradient = 2.0 * (x_twin.T @ residual + penalty * w)
        squares += gradient**2
        w = np.maximum(w * np.exp(-rate / (1.0 + np.sqrt(squares)) * gradient), 1e-18)
        w /= w.sum()
    return x_twin @ w, x_human @ w


def neural_network(
    x_twin,
    y,
    x_human,
    hidden: Sequence[int],
    weight_decay: float,
    epochs: int = 200,
    patience: int = 20,
    batch_size: int = 128,
    seed: int = 42,
) -> Fit:
    """ReLU network trained by Adam on the mean squared error; the best epoch's weights."""
    torch.manual_seed(seed)
    x, target = (torch.as_tensor(a, dtype=torch.float32) for a in (x_twin, y))
    widths = [x.shape[1], *hidden]
    layers = []
    for before, after in pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 1), torch.nn.Flatten(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=weight_decay)
    loss_of = torch.nn.MSELoss()
    best, waited, kept = np.inf, 0, model.state_dict()
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x)).split(batch_size):
            optimiser.zero_grad()
            loss = loss_of(model(x[batch]), target[batch])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        if total < best:
            best, waited = total, 0
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            waited += 1
            if waited >= patience:
                break
    model.load_state_dict(kept)
    with torch.no_grad():
        transferred = model(torch.as_tensor(x_human, dtype=torch.float32))
        return model(x).double().numpy(), transferred.double().numpy()
