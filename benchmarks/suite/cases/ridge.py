"""Ridge regression, its leave-one-out residuals, and a path of penalties."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from syndigits_jax.solvers import ridge, ridge_loo_residuals


def problem(n: int, p: int, penalties: int) -> Problem:
    """Normal columns and a target of half noise; penalties from n/1000 to 10 n."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p)).astype(np.float32)
    y = x @ rng.standard_normal(p).astype(np.float32) / np.sqrt(p) + rng.standard_normal(n)
    grid = n * np.logspace(-3, 1, penalties) if penalties > 1 else np.array([0.1 * n])
    return {"x": x, "y": y.astype(np.float32), "penalty": grid}


def _coefficients(problem: Problem, result) -> Answer:
    return {"coef": np.atleast_2d(np.asarray(result))}


def ours(dtype: str) -> Side:
    def prepare(problem: Problem):
        x, y, penalty = (jnp.asarray(problem[k], dtype) for k in ("x", "y", "penalty"))
        return lambda _: ridge(x, y, penalty)

    return Side(prepare, lambda p, r: _coefficients(p, r.value.coef), dtype=dtype)


def _compiled(problem: Problem):
    x, y, penalty = (jnp.asarray(problem[k], jnp.float32) for k in ("x", "y", "penalty"))
    run = jax.jit(lambda x, y, penalty: ridge(x, y, penalty))
    return lambda _: run(x, y, penalty)


def _cholesky(problem: Problem):
    from sklearn.linear_model import Ridge

    x, y = problem["x"], problem["y"]
    models = [Ridge(alpha=alpha, solver="cholesky") for alpha in problem["penalty"]]
    return lambda _: np.stack([model.fit(x, y).coef_ for model in models])


def _shared_svd(problem: Problem):
    """All penalties from one decomposition: one target for every penalty."""
    from sklearn.linear_model import Ridge

    x, alphas = problem["x"], problem["penalty"]
    y = np.repeat(problem["y"][:, None], len(alphas), axis=1)
    model = Ridge(alpha=alphas, solver="svd")
    return lambda _: model.fit(x, y).coef_


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """The norm of the normal equations' residual over its value at zero, worst over penalties."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    x, y = x - x.mean(axis=0), y - y.mean()
    coef = answer["coef"].astype(np.float64)
    left = (y[None] - coef @ x.T) @ x - problem["penalty"][:, None] * coef
    return {"error": float(np.max(np.linalg.norm(left, axis=1)) / np.linalg.norm(x.T @ y))}


def work(problem: Problem, answer: Answer) -> Work:
    """The smaller Gram matrix, half of it, and a factor and two substitutions per penalty."""
    (n, p), k = problem["x"].shape, len(problem["penalty"])
    small, large = min(n, p), max(n, p)
    operations = small * (small + 1) * large + k * (small**3 / 3 + 2 * small**2) + 2 * n * p
    return Work(operations, 4 * (n * p + n + k * p))


def _loo_ours(dtype: str) -> Side:
    def prepare(problem: Problem):
        x, y, penalty = (jnp.asarray(problem[k], dtype) for k in ("x", "y", "penalty"))
        return lambda _: ridge_loo_residuals(x, y, penalty)

    return Side(prepare, lambda p, r: {"residuals": np.abs(np.asarray(r.value))}, dtype=dtype)


def _ridge_cv(problem: Problem):
    from sklearn.linear_model import RidgeCV

    x, y = problem["x"], problem["y"]
    model = RidgeCV(alphas=problem["penalty"], store_cv_results=True)
    return lambda _: np.sqrt(model.fit(x, y).cv_results_.T)


def judge_loo(problem: Problem, answer: Answer) -> dict[str, float]:
    """Largest error of a residual's size, over the target's spread, from an SVD in float64."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    n = len(y)
    x, y = x - x.mean(axis=0), y - y.mean()
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    worst = 0.0
    for penalty, found in zip(problem["penalty"], np.atleast_2d(answer["residuals"]), strict=True):
        shrink = values**2 / (values**2 + penalty)
        exact = (y - left @ (shrink * (left.T @ y))) / (1 - 1 / n - left**2 @ shrink)
        worst = max(worst, np.max(np.abs(np.abs(exact) - found)))
    return {"error": float(worst / np.std(y))}


def work_loo(problem: Problem, answer: Answer) -> Work:
    """As for the path, and a quadratic form of every row."""
    (n, p), k = problem["x"].shape, len(problem["penalty"])
    one = work(problem, answer)
    return Work(one.operations + 2 * n * min(n, p) ** 2, one.bytes + 4 * k * n)


_ONE = {
    "small": {"n": 60, "p": 20, "penalties": 1},
    "paper": {"n": 500, "p": 249, "penalties": 1},
    "large": {"n": 20_000, "p": 2000, "penalties": 1},
}
_MANY = {name: {**size, "penalties": 5 if name == "small" else 20} for name, size in _ONE.items()}
_SKLEARN = Side(_cholesky, _coefficients, needs=("sklearn",))
_SHARED = Side(_shared_svd, _coefficients, needs=("sklearn",))

CASES = (
    Case(
        "ridge",
        "ridge regression, one penalty",
        _ONE,
        problem,
        {
            "ours": ours("float32"),
            "ours, inside jit": Side(_compiled, lambda p, r: _coefficients(p, r.value.coef)),
            "ours, float64": ours("float64"),
            "scikit-learn": _SKLEARN,
        },
        judge,
        work,
        target=1e-4,
        why="both triangles of the Gram matrix are computed, and the factor of a matrix of a few "
        "hundred columns is far from the rate of a large product",
    ),
    Case(
        "ridge-path",
        "ridge regression, a path of penalties",
        _MANY,
        problem,
        {
            "ours": ours("float32"),
            "ours, float64": ours("float64"),
            "scikit-learn": _SKLEARN,
            "scikit-learn, one SVD": _SHARED,
        },
        judge,
        work,
        target=1e-4,
        why="one Cholesky factor per penalty, each far from the rate of a large product",
    ),
    Case(
        "ridge-loo",
        "exact leave-one-out residuals of ridge regression, a path of penalties",
        _MANY,
        problem,
        {
            "ours": _loo_ours("float32"),
            "ours, float64": _loo_ours("float64"),
            "scikit-learn": Side(
                _ridge_cv, lambda p, r: {"residuals": r}, needs=("sklearn",), dtype="float64"
            ),
        },
        judge_loo,
        work_loo,
        target=1e-3,
        why="eigenvectors of the Gram matrix serve all penalties; they cost some ten times its "
        "product, at a fraction of the rate",
    ),
)
