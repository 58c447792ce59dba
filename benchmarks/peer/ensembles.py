"""The published weighted ensembles in plain NumPy, one fit at a time: oracle and peer.

Entropic mirror descent on weights over twins and K dummy twins, in float64 and with one-hot
answers, defects included. It shares no code with ``syndigits_jax``. Its products come in two forms:
as written (`einsum`), and handed to BLAS, which uses all cores.
"""

import numpy as np

DIVERGENCES = ("tv", "chi2", "kl", "hellinger", "ks", "cdf_l1", "cdf_l2")
VARIANTS = ("both", "personas", "dummies")

STEPS = 100_000
STEP_SIZE = 0.01
GRADIENT_NORM = 10.0
LOG_RANGE = 10.0
SMALLEST = 1e-8
RIDGE = 1e-6
MEAN_PENALTY = 1e-7
STOP_BELOW = 1e-5
SIGN_WIDTH = 1e-6
KS_TEMPERATURE = 10.0
CLIP = {"chi2": 1e-6, "kl": 1e-6, "hellinger": 1e-8}


def one_hot(choices: np.ndarray, options: int) -> np.ndarray:
    """(n, m) positions of the chosen options to (n, m, K) distributions."""
    return np.eye(options)[np.asarray(choices).astype(int)]


def divergence(name: str, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Divergences of the rows of p from those of q, (m,)."""
    if name in CLIP:
        q = np.maximum(q, CLIP[name])
        p = p if name == "chi2" else np.maximum(p, CLIP[name])
    gap = np.cumsum(p - q, axis=1)
    if name == "tv":
        return np.abs(p - q).sum(axis=1) / 2
    if name == "chi2":
        return (p**2 / q).sum(axis=1) - 1
    if name == "kl":
        return (p * np.log(p / q)).sum(axis=1)
    if name == "hellinger":
        return 1 - np.sqrt(p * q).sum(axis=1)
    if name == "ks":
        return np.abs(gap).max(axis=1)
    if name == "cdf_l1":
        return np.abs(gap).sum(axis=1)
    return (gap**2).sum(axis=1)


def slope(name: str, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The published gradients in q of `divergence`, (m, K), right or not."""
    if name in CLIP:
        q = np.maximum(q, CLIP[name])
        p = p if name == "chi2" else np.maximum(p, CLIP[name])
    gap = np.cumsum(p - q, axis=1)
    if name == "tv":  # lacks the factor 1/2
        return -_sign(p - q)
    if name == "chi2":
        return -((p / q) ** 2)
    if name == "kl":
        return -p / q
    if name == "hellinger":
        return -np.sqrt(p / q) / 2
    if name == "ks":  # a softmax in place of the maximum
        weight = np.exp(KS_TEMPERATURE * np.abs(gap))
        return -_sums_from(weight / weight.sum(axis=1, keepdims=True) * _sign(gap))
    if name == "cdf_l1":
        return -_sums_from(_sign(gap))
    return -2 * _sums_from(np.cumsum(gap, axis=1))  # cumulated once too often


def _sign(x: np.ndarray) -> np.ndarray:
    return np.clip(x / SIGN_WIDTH, -1, 1)


def _sums_from(x: np.ndarray) -> np.ndarray:
    """Sums over the options from each one to the last."""
    return np.cumsum(x[:, ::-1], axis=1)[:, ::-1]


def _means(variant: str, personas, dummies, values) -> np.ndarray:
    """Mean answer to every question, of the blocks that the variant fits."""
    if variant == "personas":
        return personas @ values
    if variant == "dummies":
        return np.full(len(personas), dummies @ values)
    return (personas + dummies) @ values


def _mix(w: np.ndarray, answers: np.ndarray, blas: bool) -> np.ndarray:
    """What the twins answer together, (m, K)."""
    return np.tensordot(w, answers, 1) if blas else np.einsum("i,ijk->jk", w, answers)


def _score(answers: np.ndarray, by_option: np.ndarray, blas: bool) -> np.ndarray:
    """(m, K) slopes to one per twin."""
    return (
        np.tensordot(answers, by_option, 2) if blas else np.einsum("ijk,jk->i", answers, by_option)
    )


def objective(name, variant, p, answers, w, pi, values, blas=True) -> float:
    """What is minimised: divergence, ridge and the mean term."""
    personas = _mix(w, answers, blas)
    off = p @ values - _means(variant, personas, pi, values)
    ridge = RIDGE * (w @ w) + RIDGE * (pi @ pi)
    return divergence(name, p, personas + pi).mean() + ridge + MEAN_PENALTY * np.square(off).mean()


def gradient(name, variant, p, answers, w, pi, values, blas=True) -> tuple[np.ndarray, np.ndarray]:
    """Published gradients in the twins' and the dummies' weights; that of a frozen block is 0."""
    m = len(p)
    personas = _mix(w, answers, blas)
    off = p @ values - _means(variant, personas, pi, values)
    by_option = slope(name, p, personas + pi) / m - 2 * MEAN_PENALTY / m * np.outer(off, values)
    by_twin = _score(answers, by_option, blas) + 2 * RIDGE * w
    by_dummy = by_option.sum(axis=0) + 2 * RIDGE * pi
    if variant == "personas":
        by_dummy = np.zeros_like(pi)
    if variant == "dummies":
        by_twin = np.zeros_like(w)
    return by_twin, by_dummy


def fit(
    name: str,
    variant: str,
    targets: np.ndarray,
    answers: np.ndarray,
    steps: int = STEPS,
    values: np.ndarray | None = None,
    blas: bool = True,
) -> tuple[np.ndarray, int]:
    """Weights (n + K,) after `steps` steps, and how many were taken.

    `targets`: (m, K) distributions; `answers`: (n, m, K) one-hot; `values`: (K,) ordinal values of
    the options, 1, 2, ... by default.
    """
    n, _, k = answers.shape
    values = np.arange(1.0, k + 1) if values is None else values
    theta = np.concatenate([np.full(n, variant != "dummies"), np.full(k, variant != "personas")])
    theta = theta / theta.sum()
    log_theta = np.log(theta + SMALLEST)
    for step in range(steps):
        now = (answers, theta[:n], theta[n:], values, blas)
        g = np.concatenate(gradient(name, variant, targets, *now))
        # Clipped by its norm about its mean: a constant moves nothing once weights are normalised.
        norm = np.linalg.norm(g - g.mean())
        if norm > GRADIENT_NORM:
            g = g * (GRADIENT_NORM / norm)
        theta = np.exp(np.clip(log_theta - STEP_SIZE * g, -LOG_RANGE, LOG_RANGE))
        theta = np.maximum(theta, SMALLEST)
        theta = theta / theta.sum()
        log_theta = np.log(theta + SMALLEST)
        # Compares the objective, not its change: never true in practice.
        now = (answers, theta[:n], theta[n:], values, blas)
        if objective(name, variant, targets, *now) < STOP_BELOW:
            return theta, step + 1
    return theta, steps
