"""Completion of a matrix with a nuclear-norm penalty."""

import jax.numpy as jnp
import numpy as np

from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from syndigits_jax.solvers import als, soft_impute

STEPS = (5, 10, 20, 40, 80, 160)


def problem(n: int, m: int, rank: int, missing: float) -> Problem:
    """Rank five plus noise of half its spread. `held` are entries to predict, missing ones."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n, 5)) @ rng.standard_normal((5, m)) / np.sqrt(5)
    x = (signal + 0.5 * rng.standard_normal((n, m))).astype(np.float32)
    mask = rng.random((n, m)) >= missing
    # Twice the spectral norm of noise of .5 is beyond which nothing of the noise is fitted.
    penalty = 0.5 * (1 - missing) ** 0.5 * (np.sqrt(n) + np.sqrt(m))
    return {"x": x, "mask": mask, "rank": rank, "penalty": penalty, "signal": signal}


def ours(function, dtype: str = "float32") -> Side:
    def prepare(problem: Problem):
        x, mask = jnp.asarray(problem["x"], dtype), jnp.asarray(problem["mask"])
        rank, penalty = problem["rank"], problem["penalty"]
        return lambda steps: function(x, mask, rank, penalty, tol=0.0, max_steps=steps)

    def answer(problem: Problem, result) -> Answer:
        return {"fitted": np.asarray(result.value.fitted), "steps": int(result.steps)}

    return Side(prepare, answer, efforts=STEPS, dtype=dtype)


def _cmfrec(use_cg: bool):
    """The same objective: no means, no biases, half squared errors with half the penalty."""

    def prepare(problem: Problem):
        import cmfrec
        from scipy import sparse

        rows, columns = np.nonzero(problem["mask"])
        values = problem["x"][rows, columns]
        table = sparse.coo_matrix((values, (rows, columns)), problem["x"].shape)

        def solve(steps):
            model = cmfrec.CMF(
                k=problem["rank"],
                lambda_=problem["penalty"],
                method="als",
                use_cg=use_cg,
                finalize_chol=False,
                user_bias=False,
                item_bias=False,
                center=False,
                niter=steps,
                use_float=True,
                verbose=False,
                precompute_for_predictions=False,
            )
            model.fit(table)
            return model.A_, model.B_

        return solve

    return Side(
        prepare,
        lambda problem, factors: {"fitted": factors[0] @ factors[1].T},
        efforts=STEPS,
        needs=("cmfrec", "scipy"),
    )


def _numpy(problem: Problem):
    """Soft impute as it is written in the paper, by LAPACK's SVD."""
    x, mask, penalty = problem["x"], problem["mask"], np.float32(problem["penalty"])
    start = np.where(mask, x, np.float32(0))

    def solve(steps):
        fitted = np.zeros_like(start)
        for _ in range(steps):
            left, values, right = np.linalg.svd(np.where(mask, x, fitted), full_matrices=False)
            values = np.maximum(values - penalty, 0)
            fitted = (left * values[None]) @ right
        return fitted

    return solve


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """The duality gap over ½ ‖P_Ω x‖², and the error of the missing entries of the signal.

    With R the residual on the observed entries, c R is dual feasible for the largest c ≤ 1 with
    c ‖R‖₂ ≤ penalty.
    """
    mask, penalty = problem["mask"], problem["penalty"]
    x = np.where(mask, problem["x"], 0).astype(np.float64)
    fitted = answer["fitted"].astype(np.float64)
    residual = np.where(mask, x - fitted, 0)

    def singular(a):
        gram = a.T @ a if a.shape[0] >= a.shape[1] else a @ a.T
        return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))

    c = min(1.0, penalty / singular(residual)[-1])
    objective = 0.5 * np.sum(residual**2) + penalty * np.sum(singular(fitted))
    dual = c * np.sum(residual * x) - 0.5 * c**2 * np.sum(residual**2)
    missing = ~mask
    wrong = np.sqrt(np.mean((fitted - problem["signal"])[missing] ** 2))
    scale = 0.5 * np.sum(x**2)
    return {
        "error": (objective - dual) / scale,
        "objective": objective / scale,
        "relative_error_of_missing": wrong / np.sqrt(np.mean(problem["signal"][missing] ** 2)),
    }


def work(problem: Problem, answer: Answer) -> Work:
    """A step of alternating least squares on the observed entries alone, times our steps."""
    n, m = problem["x"].shape
    observed, rank = float(np.sum(problem["mask"])), problem["rank"]
    steps = answer.get("steps", 1)
    operations = 8 * observed * rank + 4 * (n + m) * rank**2
    return Work(steps * operations, steps * 4 * (2 * observed + 4 * (n + m) * rank))


_SHAPES = {
    "small": {"n": 60, "m": 30, "rank": 12, "missing": 0.5},
    "paper": {"n": 1000, "m": 250, "rank": 20, "missing": 0.5},
    "large": {"n": 20_000, "m": 2000, "rank": 20, "missing": 0.95},
}
CASES = (
    Case(
        "completion",
        "completion with a nuclear-norm penalty",
        _SHAPES,
        problem,
        {
            "ours, soft impute": ours(soft_impute),
            "ours, alternating": ours(als),
            "cmfrec, exact steps": _cmfrec(False),
            "cmfrec, conjugate gradients": _cmfrec(True),
            "NumPy, soft impute": Side(_numpy, lambda p, r: {"fitted": r}, efforts=(5, 10, 20, 40)),
        },
        judge,
        work,
        target=1e-3,
        why="the filled matrix is multiplied, missing entries too: at 50% missing this is "
        "twice the work of the observed entries, at 95% twenty times; a step is a dense product",
    ),
)
