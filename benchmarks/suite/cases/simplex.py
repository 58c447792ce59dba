"""Least squares with weights on the simplex: synthetic control."""

import jax.numpy as jnp
import numpy as np

from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from syndigits_jax.solvers import simplex_least_squares

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def problem(n: int, p: int) -> Problem:
    """Correlated donors; the target mixes a tenth of them, with noise. A small ridge penalty."""
    rng = np.random.default_rng(0)
    donors = 0.5 * rng.standard_normal((n, 5)) @ rng.standard_normal((5, p))
    donors = (donors + rng.standard_normal((n, p))).astype(np.float32)
    weights = np.zeros(p)
    weights[: max(2, p // 10)] = rng.dirichlet(np.ones(max(2, p // 10)))
    y = donors @ weights + 0.5 * rng.standard_normal(n)
    return {"x": donors, "y": y.astype(np.float32), "penalty": 1e-3 * n}


def ours(dtype: str, efforts=TOLERANCES) -> Side:
    def prepare(problem: Problem):
        x, y, penalty = (jnp.asarray(problem[k], dtype) for k in ("x", "y", "penalty"))
        return lambda tol: simplex_least_squares(x, y, penalty, tol=tol)

    def answer(problem: Problem, result) -> Answer:
        return {"w": np.asarray(result.value), "steps": int(result.steps)}

    return Side(prepare, answer, efforts=efforts, dtype=dtype)


def _moments(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += problem["penalty"]
    return gram, x.T @ y


def _quadprog(problem: Problem):
    import quadprog

    def solve(_):
        gram, linear = _moments(problem)
        p = len(linear)
        constraints = np.column_stack([np.ones(p), np.eye(p)])
        return quadprog.solve_qp(gram, linear, constraints, np.eye(p + 1)[0], meq=1)[0]

    return solve


def _clarabel(problem: Problem):
    import clarabel
    from scipy import sparse

    def solve(tol):
        gram, linear = _moments(problem)
        p = len(linear)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_rel = settings.tol_gap_abs = tol
        rows = sparse.vstack([sparse.csc_matrix(np.ones((1, p))), -sparse.eye(p)], format="csc")
        cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(p)]
        upper = sparse.triu(sparse.csc_matrix(gram), format="csc")
        solver = clarabel.DefaultSolver(upper, -linear, rows, np.eye(p + 1)[0], cones, settings)
        return np.asarray(solver.solve().x)

    return solve


def _highs(problem: Problem):
    import highspy
    from scipy import sparse

    def solve(_):
        gram, linear = _moments(problem)
        p = len(linear)
        lower = sparse.csc_matrix(np.tril(gram))
        model = highspy.HighsModel()
        program, hessian = model.lp_, model.hessian_
        program.num_col_, program.num_row_ = p, 1
        program.col_cost_ = -linear
        program.col_lower_, program.col_upper_ = np.zeros(p), np.full(p, highspy.kHighsInf)
        program.row_lower_ = program.row_upper_ = np.ones(1)
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_ = np.arange(p + 1)
        program.a_matrix_.index_ = np.zeros(p, int)
        program.a_matrix_.value_ = np.ones(p)
        hessian.dim_, hessian.format_ = p, highspy.HessianFormat.kTriangular
        hessian.start_, hessian.index_, hessian.value_ = lower.indptr, lower.indices, lower.data
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.passModel(model)
        solver.run()
        return np.asarray(solver.getSolution().col_value)

    return solve


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """The Frank-Wolfe gap over the objective at uniform weights, of weights made feasible."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    w = np.maximum(np.asarray(answer["w"], np.float64), 0)
    w = w / w.sum()

    def objective(w):
        return np.sum((x @ w - y) ** 2) + problem["penalty"] * w @ w

    gradient = 2 * (x.T @ (x @ w - y) + problem["penalty"] * w)
    scale = objective(np.full(len(w), 1 / len(w)))
    return {
        "error": (gradient @ w - gradient.min()) / scale,
        "objective": objective(w) / scale,
        "support": int(np.sum(w > 1e-6)),
    }


def work(problem: Problem, answer: Answer) -> Work:
    """One Gram matrix (n ≥ p) or one product and its transpose, whatever the number of steps."""
    n, p = problem["x"].shape
    operations = p * (p + 1) * n if n >= p else 4 * n * p
    return Work(operations, 4 * (n * p + n + p))


def _sides() -> dict[str, Side]:
    weights = lambda p, r: {"w": r}  # noqa: E731
    return {
        "ours": ours("float32"),
        "ours, float64": ours("float64", (*TOLERANCES, 1e-8, 1e-10)),
        "quadprog": Side(_quadprog, weights, needs=("quadprog",), dtype="float64"),
        "Clarabel": Side(
            _clarabel, weights, (*TOLERANCES, 1e-8), ("clarabel", "scipy"), dtype="float64"
        ),
        "HiGHS": Side(_highs, weights, needs=("highspy", "scipy"), dtype="float64"),
    }


_WHY = (
    "steps of one product each, and the projection onto the simplex, of vectors so short that each "
    "call costs more than its arithmetic"
)
CASES = (
    Case(
        "simplex",
        "synthetic control: weights on the simplex",
        {
            "small": {"n": 40, "p": 12},
            "paper": {"n": 500, "p": 249},
            "large": {"n": 5000, "p": 2000},
        },
        problem,
        _sides(),
        judge,
        work,
        target=1e-5,
        why=_WHY,
    ),
    Case(
        "simplex-wide",
        "synthetic control, more donors than rows",
        {
            "small": {"n": 20, "p": 50},
            "paper": {"n": 100, "p": 500},
            "large": {"n": 500, "p": 3000},
        },
        problem,
        _sides(),
        judge,
        work,
        target=1e-5,
        why=_WHY,
    ),
)
