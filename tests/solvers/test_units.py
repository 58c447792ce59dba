"""Answers depend neither on units nor on where zero is, up to what float32 can resolve.

Every solver's problem is transformed so that the mathematics says how the answer moves.

Longer than 400 lines: one table of solvers and transformations, which is read as a whole.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from syndigits_jax.solvers import (
    Status,
    elastic_net,
    exponentiated_gradient,
    gram_statistics,
    minimize_on_simplex,
    mirror_descent,
    mlp_regression,
    project_simplex,
    ridge,
    ridge_from_gram,
    ridge_loo_residuals,
    simplex_least_squares,
)
from syndigits_jax.solvers.elastic_net import (
    critical_alpha,
    critical_alpha_from_gram,
    elastic_net_from_gram,
    elastic_net_path,
)
from syndigits_jax.solvers.simplex_entropic import minimize_with_entropy
from syndigits_jax.solvers.simplex_least_squares import simplex_least_squares_from_gram

POWERS = (-9, -5, -1, 0, 3, 6, 9)
TALL, WIDE = (30, 5), (8, 12)
L1, L2 = 0.1, 0.2


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) + 0.5 * rng.normal(size=(shape[0], 1))
    y = x[:, :3] @ [0.5, 0.3, 0.2] + 0.5 * rng.normal(size=shape[0])
    return x, y, rng.uniform(0.5, 2, size=shape[0])


def single(*arrays):
    return tuple(jnp.asarray(a, jnp.float32) for a in arrays)


@dataclass(frozen=True)
class Units:
    """Factors of design, target and weights."""

    x: float = 1.0
    y: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class Case:
    """`run(x, y, weight, l1, l2)` gives (answer, status); the answer is in units of `unit`.

    `penalties(u)` says what a penalty on |b|₁ and on |b|² must be multiplied by. `together`: the
    design and the target have one unit.
    """

    run: Callable
    penalties: Callable[[Units], tuple[float, float]]
    unit: Callable[[Units], float]
    together: bool = False
    shapes: tuple = (TALL, WIDE)


def sums(u: Units) -> tuple[float, float]:
    return u.weight * u.x * u.y, u.weight * u.x**2


def means(u: Units) -> tuple[float, float]:
    return u.x * u.y, u.x**2


def of_coefficients(u: Units) -> float:
    return u.y / u.x


def network(l1, l2):
    """`alpha` and `l1_ratio`, which tell l1 and l2 apart only where they are of like size."""
    return l1 + l2, l1 / (l1 + l2)


def net(penalties):
    def run(x, y, w, l1, l2):
        return coef(elastic_net(x, y, *penalties(l1, l2), sample_weight=w, tol=0.0))

    return run


def path(x, y, w, l1, l2):
    alpha, ratio = network(l1, l2)
    alphas = jnp.stack([4 * alpha, alpha])
    solution = elastic_net_path(x, y, alphas, ratio, sample_weight=w, tol=0.0)
    return solution.value.coef[-1], jnp.max(solution.status)


def trained(x, y, w, l1, l2):
    solution = mlp_regression(
        x, y, hidden=(3,), key=jax.random.key(0), sample_weight=w, epochs=5, patience=None
    )
    return solution.value(x), solution.status


def coef(solution):
    return solution.value.coef, solution.status


def plain(solution):
    return solution.value, solution.status


def as_moments(solve, take, **options):
    def run(x, y, w, l1, l2):
        return take(solve(gram_statistics(x, y, w, **options), l1, l2))

    return run


def as_data(solve, take):
    return lambda x, y, w, l1, l2: take(solve(x, y, l2, sample_weight=w))


CASES = {
    "ridge": Case(as_data(ridge, coef), sums, of_coefficients),
    "ridge intercept": Case(
        as_data(ridge, lambda s: (s.value.intercept, s.status)), sums, lambda u: u.y
    ),
    "ridge of several penalties": Case(
        lambda x, y, w, l1, l2: (lambda s: (s.value.coef, jnp.max(s.status)))(
            ridge(x, y, jnp.stack([l2, 3 * l2]), sample_weight=w)
        ),
        sums,
        of_coefficients,
    ),
    "ridge_from_gram": Case(
        as_moments(lambda s, _, l2: ridge_from_gram(s, l2), coef), sums, of_coefficients
    ),
    "ridge_loo_residuals": Case(as_data(ridge_loo_residuals, plain), sums, lambda u: u.y),
    "elastic_net": Case(net(network), means, of_coefficients, together=True),
    "elastic_net_from_gram": Case(
        as_moments(lambda s, l1, l2: elastic_net_from_gram(s, *network(l1, l2), tol=0.0), coef),
        means,
        of_coefficients,
        together=True,
    ),
    "elastic_net_path": Case(path, means, of_coefficients, together=True),
    "lasso": Case(net(lambda l1, _: (l1, 1.0)), means, of_coefficients),
    "elastic_net without l1": Case(net(lambda _, l2: (l2, 0.0)), means, of_coefficients),
    "critical_alpha": Case(
        lambda x, y, w, l1, l2: (critical_alpha(x, y, sample_weight=w), jnp.int32(0)),
        means,
        lambda u: u.x * u.y,
    ),
    "critical_alpha_from_gram": Case(
        lambda x, y, w, l1, l2: (
            critical_alpha_from_gram(gram_statistics(x, y, w)),
            jnp.int32(0),
        ),
        means,
        lambda u: u.x * u.y,
    ),
    "simplex_least_squares": Case(
        as_data(simplex_least_squares, plain), sums, lambda u: 1.0, together=True
    ),
    "simplex_least_squares_from_gram": Case(
        as_moments(
            lambda s, _, l2: simplex_least_squares_from_gram(s, l2), plain, fit_intercept=False
        ),
        sums,
        lambda u: 1.0,
        together=True,
    ),
    "minimize_on_simplex": Case(
        lambda x, y, w, l1, l2: plain(
            minimize_on_simplex(
                lambda v: jnp.dot(w, (x @ v - y) ** 2) + l2 * jnp.dot(v, v), uniform(x)
            )
        ),
        sums,
        lambda u: 1.0,
        together=True,
    ),
    "minimize_with_entropy": Case(
        lambda x, y, w, l1, l2: plain(
            minimize_with_entropy(
                lambda v: jnp.dot(w, (x @ v - y) ** 2),
                uniform(x),
                l2,
                base=uniform(x),
                tol=1e-4 * l2,
            )
        ),
        sums,
        lambda u: 1.0,
        together=True,
    ),
    "mirror_descent": Case(
        lambda x, y, w, l1, l2: plain(
            mirror_descent(
                lambda v: jnp.dot(w, (x @ v - y) ** 2), uniform(x), 0.01 * L2 / l2, max_steps=50
            )
        ),
        sums,
        lambda u: 1.0,
        together=True,
    ),
    "project_simplex": Case(
        lambda x, y, w, l1, l2: (project_simplex(w / l1), jnp.int32(0)),
        lambda u: (u.weight, 1.0),
        lambda u: 1.0,
    ),
    "mlp_regression": Case(trained, sums, lambda u: 1.0, shapes=(TALL,)),
}
# A network learns other things from data in other units; only weights have none.
WEIGHTS_ONLY = ("mlp_regression",)
GOOD = (Status.CONVERGED, Status.FIXED_STEPS)


def uniform(x):
    return jnp.full(x.shape[1], 1 / x.shape[1], x.dtype)


@functools.cache
def compiled(name: str):
    return jax.jit(CASES[name].run)


def solved(name: str, shape, u: Units = Units(), shift=(0.0, 0.0)):
    x, y, w = data(shape)
    l1, l2 = CASES[name].penalties(u)
    x, y = x * u.x + shift[0], y * u.y + shift[1]
    return compiled(name)(*single(x, y, w * u.weight, L1 * l1, L2 * l2))


def units(case: Case, name: str):
    for power in POWERS:
        factor = 10.0**power
        yield Units(weight=factor)
        if name in WEIGHTS_ONLY:
            continue
        if case.together:
            yield from (Units(factor, factor), Units(factor, factor, 1 / factor))
        else:
            yield from (Units(x=factor), Units(y=factor), Units(factor, 1 / factor, factor))


@pytest.mark.parametrize("name", CASES)
def test_answers_have_the_units_of_the_data(name):
    case = CASES[name]
    for shape in case.shapes:
        expected, status = solved(name, shape)
        assert int(status) in GOOD
        size = np.abs(expected).max()
        assert size > 1e-3
        for u in units(case, name):
            answer, status = solved(name, shape, u)
            assert int(status) in GOOD, (shape, u)
            answer = np.asarray(answer, float) / case.unit(u)
            np.testing.assert_allclose(answer, expected, atol=3e-3 * size, err_msg=f"{shape} {u}")


SHIFTED = [
    *(name for name in CASES if name.startswith(("ridge", "elastic", "lasso", "critical"))),
    "simplex_least_squares",
    "simplex_least_squares_from_gram",
]


@pytest.mark.parametrize("name", [name for name in SHIFTED if name != "ridge intercept"])
def test_answers_do_not_depend_on_where_zero_is(name):
    case = CASES[name]
    for shape in case.shapes:
        expected, _ = solved(name, shape)
        size = np.abs(expected).max()
        for power in range(7):
            shift = 10.0**power
            shifts = [(shift, shift)] if case.together else [(shift, 0), (0, -shift), (shift, 7)]
            for both in shifts:
                answer, status = solved(name, shape, shift=both)
                if power == 0:
                    assert int(status) == Status.CONVERGED
                # Data are known to this many digits beside the shift; the closed forms and the
                # exact penalties go on being right about the data as they are.
                resolved = 3e-3 + 4 * np.finfo(np.float32).eps * shift
                if int(status) == Status.CONVERGED:
                    np.testing.assert_allclose(
                        answer, expected, atol=resolved * size, err_msg=f"{shape} {both}"
                    )


@pytest.mark.parametrize("power", [*POWERS, -12])
def test_unpenalised_columns_have_units_of_their_own(power):
    x, y, _ = data(TALL)
    fit = jax.jit(lambda x, y: ridge(x, y, 0.0))
    expected = np.asarray(fit(*single(x, y)).value.coef)
    scaled = x.copy()
    scaled[:, 1] *= 10.0**power
    solution = fit(*single(scaled, y))
    assert int(solution.status) == Status.CONVERGED
    answer = np.asarray(solution.value.coef, float)
    answer[1] *= 10.0**power
    np.testing.assert_allclose(answer, expected, rtol=2e-3, atol=1e-4)
    residuals = jax.jit(lambda x, y: ridge_loo_residuals(x, y, 0.0))
    np.testing.assert_allclose(
        residuals(*single(scaled, y)).value, residuals(*single(x, y)).value, atol=2e-3
    )
    # By the eigenvectors that several penalties share: right, or said not to be.
    several = ridge_loo_residuals(*single(scaled, y), jnp.zeros(2))
    if int(several.status[0]) == Status.CONVERGED:
        np.testing.assert_allclose(several.value[0], residuals(*single(x, y)).value, atol=2e-3)


# --- what is claimed ------------------------------------------------------------------------------


def objective(x, y, w, l2, v):
    return np.sum(w * (x @ v - y) ** 2) + l2 * v @ v


def by_nnls(x, y, w, l2):
    p = x.shape[1]
    rows = [np.sqrt(w)[:, None] * (x - y[:, None]), np.sqrt(l2) * np.eye(p)]
    v, _ = nnls(np.vstack([*rows, np.ones((1, p))]), np.r_[np.zeros(len(y) + p), 1.0])
    return v / v.sum()


@pytest.mark.parametrize(
    "solve",
    [
        lambda x, y, w, tol: simplex_least_squares(x, y, 0.1, sample_weight=w, tol=tol),
        lambda x, y, w, tol: simplex_least_squares_from_gram(
            gram_statistics(x, y, w, fit_intercept=False), 0.1, tol=tol
        ),
        lambda x, y, w, tol: exponentiated_gradient(x, y, 0.1, sample_weight=w, steps=20),
    ],
    ids=["data", "moments", "fixed steps"],
)
@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_claimed_gaps_of_the_simplex_are_true(solve, shape):
    solve = jax.jit(solve)
    x0, y0, w0 = data(shape, 3)
    for shift in (0, 10, 100, 1e3, 1e4, 1e6):
        x, y, w = single(x0 + shift, y0 + shift, w0)
        x64, y64, w64 = (np.asarray(a, float) for a in (x, y, w))
        donors = np.eye(shape[1])
        scale = objective(x64, y64, w64, 0.1, donors.mean(0))
        scale *= np.mean([objective(x64, y64, w64, 0.1, v) for v in donors])
        best = objective(x64, y64, w64, 0.1, by_nnls(x64, y64, w64, 0.1))
        for tol in (1e-4, 1e-6):
            solution = solve(x, y, w, tol)
            v = np.asarray(solution.value, float)
            v /= v.sum()
            excess = (objective(x64, y64, w64, 0.1, v) - best) / np.sqrt(scale)
            assert excess <= float(solution.optimality)
            if int(solution.status) == Status.CONVERGED:
                assert float(solution.optimality) <= tol
        # Of what the data were before they were rounded, hardly anything is known far from zero.
        assert shift < 1e6 or float(solution.optimality) > 1e-2


def test_a_shift_of_a_hundred_is_solved_to_what_the_data_allow():
    x, y, _ = data((40, 9), 1)
    x, y = single(x + 100, y + 100)
    stats = gram_statistics(x, y, fit_intercept=False)
    solution = jax.jit(lambda s: simplex_least_squares_from_gram(s, tol=1e-4))(stats)
    assert int(solution.status) == Status.CONVERGED
    expected = by_nnls(*(np.asarray(a, float) for a in (x, y)), np.ones(40), 0.0)
    np.testing.assert_allclose(solution.value, expected, atol=2e-3)


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_claimed_gaps_of_the_elastic_net_are_true(shape):
    """Also where data lie so far from zero that hardly anything is known of them."""
    fit = jax.jit(lambda x, y: elastic_net(x, y, 0.1, 0.7, tol=1e-4))
    x0, y0, _ = data(shape, 5)

    def loss(x, y, b):
        r = (y - y.mean()) - (x - x.mean(0)) @ b
        return 0.5 * np.mean(r**2) + 0.1 * (0.7 * np.abs(b).sum() + 0.15 * b @ b)

    for shift in ((0, 0), (1e3, 0), (0, 1e3), (1e5, 1e5), (1e6, 0), (0, 1e6)):
        x, y = single(x0 + shift[0], y0 + shift[1])
        solution = fit(x, y)
        # The truth is that of the data before they were rounded.
        exact = elastic_net_in_float64(x0, y0)
        b = np.asarray(solution.value.coef, float)
        excess = (loss(x0, y0, b) - loss(x0, y0, exact)) / np.var(y0)
        assert excess <= float(solution.optimality)
        if int(solution.status) == Status.CONVERGED:
            assert float(solution.optimality) <= 1e-4
            np.testing.assert_allclose(b, exact, atol=1e-2)


def test_moments_remember_how_far_from_zero_the_data_were():
    x, y, _ = data(TALL, 5)
    for shift, status in (((0, 0), Status.CONVERGED), ((1e6, 0), 1), ((0, 1e6), 1)):
        stats = gram_statistics(*single(x + shift[0], y + shift[1]))
        solution = elastic_net_from_gram(stats, 0.1, 0.7)
        assert int(solution.status) == status
        assert (float(solution.optimality) > 1e-3) == (status != Status.CONVERGED)


def elastic_net_in_float64(x, y):
    from sklearn.linear_model import ElasticNet

    return ElasticNet(alpha=0.1, l1_ratio=0.7, tol=1e-10, max_iter=100_000).fit(x, y).coef_


def test_ridge_says_how_little_is_known_far_from_zero():
    x, y, _ = data(TALL, 2)
    near = ridge(*single(x, y), 1.0)
    far = ridge(*single(x + 1e6, y), 1.0)
    assert float(near.optimality) < 1e-5
    exact = np.linalg.solve(np.eye(5) + (x - x.mean(0)).T @ x, (x - x.mean(0)).T @ y)
    error = np.linalg.norm(np.asarray(far.value.coef) - exact) / np.linalg.norm(exact)
    assert error < float(far.optimality) < 1
