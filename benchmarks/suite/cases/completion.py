"""Completion of a matrix with a nuclear-norm penalty."""

import jax.numpy as jnp
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

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
        fitted, right = (
            np.asarray(a, np.float64) for a in (result.value.fitted, result.value.loadings)
        )
        left = np.linalg.lstsq(right, fitted.T)[0].T
        return {"left": left, "right": right, "steps": int(result.steps)}

    return Side(prepare, answer, efforts=STEPS, efforts_at={"large": (40, 120)}, dtype=dtype)


def _cmfrec(use_cg: bool):
    """The same objective: no means, no biases, half squared errors with half the penalty."""

    def prepare(problem: Problem):
        import cmfrec

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
        lambda problem, factors: {"left": factors[0], "right": factors[1]},
        efforts=STEPS,
        efforts_at={"large": (10, 160)},
        needs=("cmfrec", "scipy"),
    )


def _numpy(problem: Problem):
    """Soft impute as it is written in the paper, by LAPACK's SVD."""
    x, mask, penalty = problem["x"], problem["mask"], np.float32(problem["penalty"])

    def solve(steps):
        fitted = left = right = np.zeros_like(x)
        for _ in range(steps):
            left, values, right = np.linalg.svd(np.where(mask, x, fitted), full_matrices=False)
            left *= np.maximum(values - penalty, 0)[None]
            fitted = left @ right
        return {"left": left, "right": right.T}

    return solve


def error_of_missing(problem: Problem, fitted: np.ndarray) -> float:
    """Root mean square error of the missing entries of the signal, over that of zeros."""
    missing, signal = ~problem["mask"], problem["signal"]
    wrong = np.sqrt(np.mean((fitted - signal)[missing] ** 2))
    return wrong / np.sqrt(np.mean(signal[missing] ** 2))


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """The duality gap over ½ ‖P_Ω x‖², and the error of the missing entries of the signal.

    With R the residual on the observed entries, c R is dual feasible for the largest c ≤ 1 with
    c ‖R‖₂ ≤ penalty. The fit is the product of `left` and `right`, from which its nuclear norm is
    found; R is kept sparse, and ‖R‖₂ is found by Lanczos's method to the last digits.
    """
    mask, penalty = problem["mask"], problem["penalty"]
    left, right = (answer[name].astype(np.float64) for name in ("left", "right"))
    rows, columns = np.nonzero(mask)
    x = problem["x"][rows, columns].astype(np.float64)
    residual = x - np.einsum("ir,ir->i", left[rows], right[columns])
    start = np.random.default_rng(0).standard_normal(min(mask.shape))
    norm = svds(
        sparse.csr_array((residual, (rows, columns)), mask.shape),
        k=1, tol=0, v0=start, return_singular_vectors=False,
    )[0]  # fmt: skip
    triangles = [np.linalg.qr(factor).R for factor in (left, right)]
    nuclear = np.sum(np.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False))
    c = min(1.0, penalty / norm)
    objective = 0.5 * residual @ residual + penalty * nuclear
    dual = c * residual @ x - 0.5 * c**2 * residual @ residual
    scale = 0.5 * x @ x
    return {
        "error": (objective - dual) / scale,
        "objective": objective / scale,
        "relative_error_of_missing": error_of_missing(problem, left @ right.T),
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
            "NumPy, soft impute": Side(
                _numpy,
                lambda p, r: r,
                efforts=(5, 10, 20, 40),
                left_out={
                    "large": "left out, an SVD of the whole matrix in every step takes hours"
                },
            ),
        },
        judge,
        work,
        target=1e-3,
        why="the filled matrix is multiplied, missing entries too: at 50% missing this is "
        "twice the work of the observed entries, at 95% twenty times; a step is a dense product",
    ),
)
