"""A small simulated population of twins, and linear programs that judge fits to it."""

import numpy as np
from scipy.optimize import linprog

from syndigits_jax.distribution import Answers

TWINS, QUESTIONS, OPTIONS = 25, 10, 4


def small_problem(seed: int = 0, missing: float = 0.0):
    """`targets` (m, K) shares and `choices` (n, m) with NaN where missing."""
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.full(OPTIONS, 1.5), QUESTIONS)
    lean = rng.integers(0, OPTIONS, TWINS)
    noise = rng.integers(0, OPTIONS, (TWINS, QUESTIONS))
    choices = np.where(rng.random((TWINS, QUESTIONS)) < 0.5, lean[:, None], noise).astype(float)
    choices[rng.random(choices.shape) < missing] = np.nan
    return targets, choices


def rows_of(answers: Answers) -> np.ndarray:
    """(n + K, m, K): what every twin and dummy answers."""
    twins = np.asarray(answers.dense(), float).reshape(answers.n, answers.m, answers.n_options)
    k = answers.n_options
    dummies = np.broadcast_to(np.eye(k)[:, None], (k, answers.m, k))
    return np.concatenate([twins, dummies])


def linear_program(name: str, targets, rows, allowed, weight=None, spacing=None) -> float:
    """The smallest mean TV, KS or CDF ℓ1 over the simplex, by HiGHS.

    `spacing`: (K - 1,) distances between the options, 1 by default.
    """
    count, m, k = rows.shape
    share = np.full(m, 1 / m) if weight is None else np.asarray(weight) / np.sum(weight)
    if name == "tv":
        features, goal, cost = rows, targets, np.full((m, k), 0.5)
    else:
        features, goal = np.cumsum(rows, 2)[:, :, :-1], np.cumsum(targets, 1)[:, :-1]
        cost = np.ones(goal.shape) if spacing is None else np.tile(spacing, (m, 1))
    cells = goal.size
    slacks = m if name == "ks" else cells
    to_slack = np.repeat(np.eye(m), goal.shape[1], axis=0) if name == "ks" else np.eye(cells)
    a = features.reshape(count, cells).T
    upper = np.block([[a, -to_slack], [-a, -to_slack]])
    bound = np.concatenate([goal.ravel(), -goal.ravel()])
    price = share if name == "ks" else (cost * share[:, None]).ravel()
    result = linprog(
        np.concatenate([np.zeros(count), price]),
        A_ub=upper,
        b_ub=bound,
        A_eq=np.concatenate([np.ones(count), np.zeros(slacks)])[None],
        b_eq=[1],
        bounds=[(0, None if ok else 0) for ok in allowed] + [(0, None)] * slacks,
        method="highs",
    )
    assert result.success
    return float(result.fun)
