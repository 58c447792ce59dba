"""Elastic nets, one and many; problems, peers and judge are those of `benchmarks/nets.py`."""

import jax.numpy as jnp
import numpy as np

from benchmarks import nets
from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from benchmarks.suite.processes import one_per_core
from syndigits_jax.solvers import critical_alpha, elastic_net, elastic_nets

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)
FINER = (1e-3, 3e-4, 2.5e-4, 2e-4, 1.5e-4, 1e-4, 3e-5)  # of peers' long loops: steps cost much


def one(n: int, p: int, l1_ratio: float, share: int) -> Problem:
    """One problem at the critical penalty over `share`."""
    x, y = nets.one_problem(n, p)
    alpha = float(critical_alpha(x, y, l1_ratio)) / share
    return {"x": x, "y": y, "alpha": alpha, "l1_ratio": l1_ratio}


def _ours_one(problem: Problem):
    x, y = jnp.asarray(problem["x"]), jnp.asarray(problem["y"])
    return lambda tol: elastic_net(x, y, problem["alpha"], problem["l1_ratio"], tol=tol)


def _peer_one(fit: nets.Fit):
    def prepare(problem: Problem):
        x, y = np.asfortranarray(problem["x"]), problem["y"]
        return lambda tol: fit(x, y, problem["alpha"], problem["l1_ratio"], tol)

    return prepare


def _skglm(x, y, alpha, l1_ratio, tol) -> np.ndarray:
    from skglm import ElasticNet, Lasso

    if l1_ratio == 1:
        return Lasso(alpha=alpha, tol=tol).fit(x, y).coef_
    return ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=tol).fit(x, y).coef_


def judge_one(problem: Problem, answer: Answer) -> dict[str, float]:
    """The relative duality gap."""
    coef = np.asarray(answer["coef"])
    parts = (problem["x"], problem["y"], coef, problem["alpha"], problem["l1_ratio"])
    return {"error": nets.judged(*parts), "support": int(np.count_nonzero(coef))}


def work_one(problem: Problem, answer: Answer) -> Work:
    floor = nets.one_floor(*problem["x"].shape)
    return Work(floor["operations"], floor["bytes"])


def many(batch: int, n: int, p: int, alpha: float, timed: int) -> Problem:
    """Many problems of one shape, `l1_ratio` .5; peers are timed on the first `timed`."""
    x, y = nets.many_problems(batch, n, p)
    return {"x": x, "y": y, "alpha": alpha, "l1_ratio": 0.5, "timed": min(timed, batch)}


def _ours_many(problem: Problem):
    x, y, alpha, l1_ratio = (problem[k] for k in ("x", "y", "alpha", "l1_ratio"))
    return lambda tol: elastic_nets(x, y, alpha, l1_ratio, tol=tol)


def _peer_many(fit: nets.Fit):
    """One BLAS thread and one process per core."""

    def prepare(problem: Problem):
        from joblib import delayed

        count = problem["timed"]
        few = list(zip(problem["x"][:count], problem["y"][:count], strict=True))
        alpha, l1_ratio = problem["alpha"], problem["l1_ratio"]
        pool = one_per_core(count)
        return lambda tol: pool(delayed(fit)(*one, alpha, l1_ratio, tol) for one in few)

    return prepare


def judge_many(problem: Problem, answer: Answer) -> dict[str, float]:
    """The worst duality gap of up to 200 of the problems that were solved."""
    coefs = answer["coef"]
    chosen = np.linspace(0, len(coefs) - 1, min(len(coefs), 200)).astype(int)
    x, y, alpha, l1_ratio = (problem[k] for k in ("x", "y", "alpha", "l1_ratio"))
    return {"error": max(nets.judged(x[i], y[i], coefs[i], alpha, l1_ratio) for i in chosen)}


def work_many(problem: Problem, answer: Answer) -> Work:
    floor = nets.many_floor(*problem["x"].shape)
    return Work(floor["operations"], floor["bytes"])


def _share(problem: Problem) -> float:
    return problem["timed"] / len(problem["x"])


_PEERS = {
    "scikit-learn": (nets.scikit_learn, ("sklearn", "joblib")),
    "celer": (nets.by_celer, ("celer", "joblib")),
    "skglm": (_skglm, ("skglm", "joblib")),
}
_ONE = {
    "ours": Side(_ours_one, lambda p, r: {"coef": np.asarray(r.value.coef)}, efforts=TOLERANCES)
} | {
    name: Side(_peer_one(fit), lambda p, r: {"coef": r}, efforts=TOLERANCES, needs=needs[:1])
    for name, (fit, needs) in _PEERS.items()
}
_MANY = {
    "ours": Side(
        _ours_many, lambda p, r: {"coef": np.asarray(r.value.coef)}, efforts=TOLERANCES[1:3]
    )
} | {
    name: Side(
        _peer_many(fit),
        lambda p, r: {"coef": np.stack(r)},
        efforts=FINER,
        needs=needs,
        share=_share,
        processes=True,
    )
    for name, (fit, needs) in _PEERS.items()
}
_WHY = {
    True: "the floor reads the design twice; a working set, its Gram matrix and the steps on it "
    "cost more",
    False: "the floor reads the design twice; means, centred blocks of columns and their Gram "
    "matrices take further passes, a call some 0.1 ms before and after its program, and every move "
    "of a coordinate waits for the one before",
}


def _one_case(name: str, what: str, l1_ratio: float, wide: bool, share: int) -> Case:
    shapes = {
        "small": (40, 80 if wide else 10),
        "paper": (600, 6000) if wide else (500, 249),
        "large": (2000, 20_000) if wide else (20_000, 2000),
    }
    return Case(
        name,
        what,
        {k: {"n": n, "p": p, "l1_ratio": l1_ratio, "share": share} for k, (n, p) in shapes.items()},
        one,
        _ONE,
        judge_one,
        work_one,
        target=nets.GAP,
        why=_WHY[wide],
    )


CASES = (
    _one_case("lasso", "the lasso, critical penalty / 10", 1.0, False, 10),
    _one_case(
        "lasso-wide", "the lasso, more columns than rows, critical penalty / 10", 1.0, True, 10
    ),
    _one_case("net", "an elastic net, critical penalty / 100", 0.5, False, 100),
    Case(
        "nets",
        "many elastic nets",
        {
            "small": {"batch": 8, "n": 30, "p": 60, "alpha": 0.01, "timed": 8},
            "paper": {"batch": 2000, "n": 50, "p": 200, "alpha": 0.001, "timed": 100},
            "large": {"batch": 20_000, "n": 50, "p": 200, "alpha": 0.001, "timed": 100},
        },
        many,
        _MANY,
        judge_many,
        work_many,
        target=nets.GAP,
        why="small factors and their triangular solves run far below the rate of a large product",
    ),
)
