"""Hard impute: refits of a given rank, the step that most of Table 4 is made of."""

import jax.numpy as jnp
import numpy as np

from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from benchmarks.suite.cases.completion import error_of_missing
from syndigits_jax.solvers import hard_impute

STEPS = (5, 10, 20, 40, 80, 160)


def problem(n: int, m: int, incomplete: int, rank: int) -> Problem:
    """Rank `rank` plus noise; half the answers to `incomplete` of the questions are missing."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m)) / np.sqrt(rank)
    x = (signal + 0.5 * rng.standard_normal((n, m))).astype(np.float32)
    mask = np.ones((n, m), bool)
    mask[:, rng.permutation(m)[:incomplete]] = rng.random((n, incomplete)) < 0.5
    return {"x": x, "mask": mask, "rank": rank, "incomplete": incomplete, "signal": signal}


def _ours(problem: Problem):
    x, mask = jnp.asarray(problem["x"]), jnp.asarray(problem["mask"])
    rank, incomplete = problem["rank"], problem["incomplete"]
    return lambda steps: hard_impute(x, mask, rank, tol=0.0, max_steps=steps, incomplete=incomplete)


def _answer(problem: Problem, result) -> Answer:
    return {"fitted": np.asarray(result.value.fitted), "steps": int(result.steps)}


def _start(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, x, np.mean(x, axis=0, where=mask))


def _by_svd(problem: Problem):
    """As it is written in the paper, by LAPACK's SVD."""
    x, mask, rank = problem["x"], problem["mask"], problem["rank"]

    def solve(steps):
        filled = fitted = _start(x, mask)
        for _ in range(steps):
            left, values, right = np.linalg.svd(filled, full_matrices=False)
            fitted = (left[:, :rank] * values[:rank]) @ right[:rank]
            filled = np.where(mask, x, fitted)
        return fitted

    return solve


def _by_eigenvectors(problem: Problem):
    """By all eigenvectors of the Gram matrix."""
    return lambda steps: _fitted(problem["x"], problem["mask"], problem["rank"], steps)


def _fitted(x: np.ndarray, mask: np.ndarray, rank: int, steps: int) -> np.ndarray:
    filled = fitted = _start(x, mask)
    for _ in range(steps):
        right = np.linalg.eigh(filled.T @ filled)[1][:, -rank:]
        fitted = (filled @ right) @ right.T
        filled = np.where(mask, x, fitted)
    return fitted


def _randomised(problem: Problem):
    """By scikit-learn's randomised SVD, as imputation libraries do."""
    from sklearn.utils.extmath import randomized_svd

    x, mask, rank = problem["x"], problem["mask"], problem["rank"]

    def solve(steps):
        filled = fitted = _start(x, mask)
        for _ in range(steps):
            left, values, right = randomized_svd(filled, rank, random_state=0)
            fitted = (left * values) @ right
            filled = np.where(mask, x, fitted)
        return fitted

    return solve


def _half_squares(problem: Problem, fitted: np.ndarray) -> float:
    wrong = np.where(problem["mask"], problem["x"] - fitted.astype(np.float64), 0)
    return 0.5 * float(np.sum(wrong**2))


def reference(problem: Problem) -> dict[str, float]:
    """The objective after 500 refits in float64."""
    x = problem["x"].astype(np.float64)
    return {"least": _half_squares(problem, _fitted(x, problem["mask"], problem["rank"], 500))}


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """How far the squared errors of the observed entries are above the least, in float64."""
    fitted = answer["fitted"].astype(np.float64)
    return {
        "error": abs(_half_squares(problem, fitted) / problem["least"] - 1),
        "relative_error_of_missing": error_of_missing(problem, fitted),
    }


def work(problem: Problem, answer: Answer) -> Work:
    """Our steps; in each the matrix times a block as wide as the rank, and back."""
    (n, m), steps = problem["x"].shape, answer.get("steps", 1)
    return Work(steps * 4 * n * m * problem["rank"], steps * 4 * n * (m + problem["incomplete"]))


CASES = (
    Case(
        "hard-impute",
        "hard impute: refits of rank 8 where some questions have gaps",
        {
            "small": {"n": 60, "m": 30, "incomplete": 10, "rank": 3},
            "paper": {"n": 2058, "m": 123, "incomplete": 46, "rank": 8},
            "large": {"n": 20_000, "m": 500, "incomplete": 200, "rank": 8},
        },
        problem,
        {
            "ours": Side(_ours, _answer, efforts=STEPS),
            "NumPy, SVD": Side(_by_svd, lambda p, r: {"fitted": r}, efforts=STEPS),
            "NumPy, eigenvectors": Side(
                _by_eigenvectors, lambda p, r: {"fitted": r}, efforts=STEPS
            ),
            "scikit-learn, randomised SVD": Side(
                _randomised, lambda p, r: {"fitted": r}, efforts=STEPS, needs=("sklearn",)
            ),
        },
        judge,
        work,
        target=1e-3,
        why="few steps are needed here, and what comes before and after them counts too; the block "
        "has ten columns more than the rank, as convergence needs, and products with so thin a "
        "block run below the rate of a large one, on one core",
        reference=reference,
    ),
)
