"""Distances between two populations of points: PRDC, MMD, sliced Wasserstein, Fréchet."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.fidelity_metrics import populations
from benchmarks.suite.case import Answer, Case, Problem, Side, Work

BLOCK_ROWS = 500  # of the judge


def problem(size: int, width: int, projections: int = 100) -> Problem:
    """Two normal populations, the second a little narrower; directions and a bandwidth for all."""
    x, y = populations(0, size, width)
    directions = np.random.default_rng(1).standard_normal((projections, width)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return {"x": x, "y": y, "directions": directions, "sigma": float(np.sqrt(2 * width))}


def ours(function: str) -> Side:
    """A function of `fidelity`, compiled as a whole."""

    def prepare(problem: Problem):
        import jax

        from syndigits_jax import fidelity

        x, y, directions = jax.device_put([problem[k] for k in ("x", "y", "directions")])
        sigma, key = problem["sigma"], jax.random.key(0)
        functions = {
            "prdc": lambda x, y: vars(fidelity.prdc(x, y, 5)),
            "mmd": lambda x, y: {"mmd2": fidelity.mmd2_unbiased(x, y, sigma)},
            "sliced": lambda x, y: {
                "w1": fidelity.sliced_wasserstein(key, x, y, directions=directions)
            },
            "frechet": lambda x, y: {"frechet": fidelity.frechet_distance(x, y)},
        }
        run = jax.jit(functions[function])
        return lambda _: run(x, y)

    return Side(prepare, lambda p, r: {name: float(value) for name, value in r.items()})


def _prdc(problem: Problem):
    from prdc import compute_prdc

    return lambda _: compute_prdc(problem["x"], problem["y"], 5)


def _mmd_torch(problem: Problem):
    import torch

    x, y = torch.from_numpy(problem["x"]), torch.from_numpy(problem["y"])
    width = 2 * problem["sigma"] ** 2

    def total(a, b):
        rows = max(1, (1 << 24) // len(b))
        parts = [
            torch.exp(torch.cdist(some, b).square_().div_(-width)).sum(dtype=torch.float64)
            for some in a.split(rows)
        ]
        return float(sum(parts))

    def solve(_):
        n, m = len(x), len(y)
        within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
        return {"mmd2": within - 2 * total(x, y) / (n * m)}

    return solve


def _mmd_sklearn(problem: Problem):
    from sklearn.metrics.pairwise import rbf_kernel

    x, y, gamma = problem["x"], problem["y"], 1 / (2 * problem["sigma"] ** 2)

    def total(a, b):
        rows = max(1, (1 << 24) // len(b))
        blocks = (a[i : i + rows] for i in range(0, len(a), rows))
        return sum(float(rbf_kernel(some, b, gamma=gamma).sum(dtype=np.float64)) for some in blocks)

    def solve(_):
        n, m = len(x), len(y)
        within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
        return {"mmd2": within - 2 * total(x, y) / (n * m)}

    return solve


def _sliced_pot(problem: Problem):
    import ot

    x, y, directions = problem["x"], problem["y"], np.ascontiguousarray(problem["directions"].T)
    distance: Callable[..., Any] = ot.sliced_wasserstein_distance
    return lambda _: {"w1": float(distance(x, y, projections=directions, p=1))}


def _sliced_torch(problem: Problem):
    import torch

    x, y, directions = (torch.from_numpy(problem[k]) for k in ("x", "y", "directions"))

    def solve(_):
        a, b = ((directions @ points.T).sort(dim=1).values for points in (x, y))
        return {"w1": float((a - b).abs().mean())}

    return solve


def _frechet_scipy(problem: Problem):
    """As implementations of FID have it: the square root of a product of covariances."""
    from scipy.linalg import sqrtm

    x, y = problem["x"].astype(np.float64), problem["y"].astype(np.float64)

    def solve(_):
        first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        shift = x.mean(axis=0) - y.mean(axis=0)
        root = np.real(np.trace(np.asarray(sqrtm(first @ second))))
        return {"frechet": shift @ shift + np.trace(first) + np.trace(second) - 2 * root}

    return solve


def _frechet_torch(problem: Problem):
    """As torchmetrics has it: eigenvalues of the product."""
    import torch

    x, y = (torch.from_numpy(problem[k].astype(np.float64)) for k in ("x", "y"))

    def solve(_):
        first, second = torch.cov(x.T), torch.cov(y.T)
        shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
        root = torch.linalg.eigvals(first @ second).sqrt().real.sum()
        return {"frechet": float(shift + first.trace() + second.trace() - 2 * root)}

    return solve


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.maximum(square, 0)


def _blocks(a: np.ndarray):
    return (slice(i, i + BLOCK_ROWS) for i in range(0, len(a), BLOCK_ROWS))


def exact_prdc(problem: Problem) -> dict[str, dict[str, float]]:
    """Balls counted in float64, by definition."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))

    def radii(a):
        return np.concatenate(
            [np.partition(_squares(a[i], a), 5, axis=1)[:, 5] for i in _blocks(a)]
        )

    of_x, of_y = radii(x), radii(y)
    precise, balls = np.zeros(len(y), bool), np.zeros(len(y))
    recalled, covered = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for i in _blocks(x):
        square = _squares(x[i], y)
        inside = square < of_x[i][:, None]
        precise |= inside.any(0)
        balls += inside.sum(0)
        covered[i] = inside.any(1)
        recalled[i] = (square < of_y[None]).any(1)
    found = {"precision": precise.mean(), "recall": recalled.mean(), "density": balls.mean() / 5}
    return {"exact": found | {"coverage": covered.mean()}}


def exact_mmd(problem: Problem) -> dict[str, dict[str, float]]:
    """The sums of kernels in float64."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    width = 2 * problem["sigma"] ** 2

    def total(a, b):
        return sum(np.exp(-_squares(a[i], b) / width).sum() for i in _blocks(a))

    n, m = len(x), len(y)
    within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
    return {"exact": {"mmd2": within - 2 * total(x, y) / (n * m)}}


def exact_sliced(problem: Problem) -> dict[str, dict[str, float]]:
    """Columns sorted in float64."""
    x, y, directions = (problem[k].astype(np.float64) for k in ("x", "y", "directions"))
    values = [np.abs(np.sort(x @ d) - np.sort(y @ d)).mean() for d in directions]
    return {"exact": {"w1": float(np.mean(values))}}


def exact_frechet(problem: Problem) -> dict[str, dict[str, float]]:
    """By eigenvalues of √A B √A, symmetric, in float64."""
    x, y = (problem[k].astype(np.float64) for k in ("x", "y"))
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))[None]) @ vectors.T
    middle = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    return {"exact": {"frechet": shift @ shift + np.trace(first) + np.trace(second) - 2 * middle}}


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """The largest difference from the exact values, absolute (all are at most about one)."""
    exact = problem["exact"]
    return {"error": max(abs(answer[name] - value) for name, value in exact.items()), **exact}


def work_pairs(problem: Problem, answer: Answer) -> Work:
    """Distances within both populations, each pair once, and between them."""
    (n, d), m = problem["x"].shape, len(problem["y"])
    pairs = n * (n - 1) / 2 + m * (m - 1) / 2 + n * m
    return Work(2 * pairs * d, 4 * (n + m) * d)


def work_sliced(problem: Problem, answer: Answer) -> Work:
    """Projections, written once and read once, and log₂ n comparisons of each."""
    (n, d), m, count = problem["x"].shape, len(problem["y"]), len(problem["directions"])
    operations = (n + m) * count * (2 * d + np.log2(n))
    return Work(float(operations), 4.0 * (n + m) * (d + 2 * count))


def work_frechet(problem: Problem, answer: Answer) -> Work:
    """Two covariances, half of each, and an eigenvalue problem."""
    (n, d), m = problem["x"].shape, len(problem["y"])
    return Work((n + m) * d * (d + 1.0) + 9.0 * d**3, 4.0 * (n + m) * d)


_SIZES = {
    "small": {"size": 300, "width": 8, "projections": 10},
    "paper": {"size": 10_000, "width": 128},
    "large": {"size": 50_000, "width": 128},
}
_SIZES_OF_PAIRS = _SIZES | {"large": {"size": 20_000, "width": 128}}
"""Fewer: the package prdc holds all distances at once, and those of 50,000 fill 30 GiB."""


def _case(name, what, function, peers, reference, work, target, why) -> Case:
    sides = {"ours": ours(function), **peers}
    sizes = _SIZES_OF_PAIRS if work is work_pairs else _SIZES
    return Case(name, what, sizes, problem, sides, judge, work, target, why, reference)


CASES = (
    _case(
        "prdc",
        "precision, recall, density and coverage, k = 5",
        "prdc",
        {"prdc": Side(_prdc, lambda p, r: r, needs=("prdc",), dtype="float64")},
        exact_prdc,
        work_pairs,
        1e-3,
        "distances are taken from both sides (no use of symmetry), and the search for the "
        "k nearest compares every one of them in a few passes",
    ),
    _case(
        "mmd",
        "unbiased squared MMD, Gaussian kernel of a given width",
        "mmd",
        {
            "PyTorch": Side(_mmd_torch, lambda p, r: r, needs=("torch",)),
            "scikit-learn": Side(_mmd_sklearn, lambda p, r: r, needs=("sklearn",)),
        },
        exact_mmd,
        work_pairs,
        1e-5,
        "an exponential per pair, which the floor does not count, takes longer than its distance",
    ),
    _case(
        "sliced-wasserstein",
        "sliced Wasserstein distance, 100 given directions",
        "sliced",
        {
            "POT": Side(_sliced_pot, lambda p, r: r, needs=("ot",)),
            "PyTorch": Side(_sliced_torch, lambda p, r: r, needs=("torch",)),
        },
        exact_sliced,
        work_sliced,
        1e-4,
        "sorting: its comparisons are not products, and run one after the other",
    ),
    _case(
        "frechet",
        "Fréchet distance of two normal populations",
        "frechet",
        {
            "SciPy": Side(_frechet_scipy, lambda p, r: r, needs=("scipy",), dtype="float64"),
            "PyTorch": Side(_frechet_torch, lambda p, r: r, needs=("torch",), dtype="float64"),
        },
        exact_frechet,
        work_frechet,
        1e-3,
        "both triangles of the Gram matrices are computed, on one core each; several passes over "
        "the points and singular vectors keep digits that covariances lose where populations "
        "are alike",
    ),
)
