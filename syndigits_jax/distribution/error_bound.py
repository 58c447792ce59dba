"""Theorem 7.1: how far a predicted distribution may be from the true one, term by term."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float


class DistributionBound(eqx.Module):
    """The right-hand side of Theorem 7.1: `factor · (structural + statistical)`.

    - `factor`: m·‖c‖∞, how far the new question is from a plain average of the training ones.
    - `structural`: inf over reweightings ν <= A·μ̃ of the mean total variation.
    - `statistical`: the sampling term as printed, √3·A·√((K + log(4/α))/n).
    - `statistical_proved`: what the proof's bounded differences give,
      √3·A·√((K + 2.5·log(4/α))/n), which is larger.
    """

    factor: Float[Array, ""]
    structural: Float[Array, ""]
    statistical: Float[Array, ""]
    statistical_proved: Float[Array, ""]

    @property
    def bound(self) -> Float[Array, ""]:
        """The bound as printed."""
        return self.factor * (self.structural + self.statistical)

    @property
    def bound_proved(self) -> Float[Array, ""]:
        """The bound with the constant that the proof gives."""
        return self.factor * (self.structural + self.statistical_proved)


def theorem_7_1(
    coefficients: ArrayLike,
    structural: float | Float[Array, ""],
    *,
    n: int,
    n_options: int,
    ratio: float,
    alpha: float = 0.05,
) -> DistributionBound:
    """The terms of Theorem 7.1.

    **Arguments:** `coefficients`: (m,) c on the simplex, such as [`best_coefficients`][];
    `structural`: the infimum over reweightings (0 where the human population is a reweighting of
    the twins' within `ratio`); `n`: twins; `ratio`: A, the largest ν(u)/μ̃(u); `alpha`: the
    probability with which the bound may fail.

    **Raises:** `ValueError` for coefficients off the simplex, or numbers out of range.
    """
    c = np.asarray(coefficients, float)
    if c.ndim != 1 or c.size == 0 or (c < -1e-6).any() or abs(c.sum() - 1) > 1e-3:
        raise ValueError("coefficients must be a vector on the simplex")
    if n < 1 or n_options < 2 or ratio < 1 or not 0 < alpha < 1:
        raise ValueError(
            f"n must be positive, n_options at least 2, ratio at least 1 and alpha in (0, 1); got "
            f"{n}, {n_options}, {ratio}, {alpha}"
        )
    doubt = math.log(4 / alpha)
    scale = math.sqrt(3) * ratio
    dtype = jnp.result_type(float)
    return DistributionBound(
        jnp.asarray(c.size * c.max(), dtype),
        jnp.asarray(structural, dtype),
        jnp.asarray(scale * math.sqrt((n_options + doubt) / n), dtype),
        jnp.asarray(scale * math.sqrt((n_options + 2.5 * doubt) / n), dtype),
    )


def best_coefficients(
    questions: ArrayLike, new: ArrayLike, *, tol: float = 1e-3
) -> tuple[Float[Array, " m"], Float[Array, ""]]:
    """Convex weights c of the training questions that give the new one, as even as can be.

    Theorem 7.1 multiplies the error by m·max(c), so of all c with Σ cⱼ vⱼ = v (Assumption 7.3) the
    flattest is best. `questions` (m, f) and `new` (f,) hold embeddings, or the twins' answer
    distributions laid out in a row. Bisection over the cap t in {0 <= c <= t, Σ c = 1}, with
    accelerated projected gradients.

    **Returns:** c, and the relative misfit ‖Σ cⱼ vⱼ - v‖ / ‖v - mean of the vⱼ‖: above `tol` no
    convex combination gives the new question.
    """
    v, target = np.asarray(questions, float), np.asarray(new, float)
    if v.ndim != 2 or target.shape != v.shape[1:]:
        raise ValueError(f"questions {v.shape} and new {target.shape} must have the same features")
    m = len(v)
    scale = max(float(np.linalg.norm(target - v.mean(0))), 1e-12)
    gram, cross = v @ v.T, v @ target
    length = float(np.linalg.eigvalsh(gram)[-1]) or 1.0

    def misfit(c: np.ndarray) -> float:
        return float(np.linalg.norm(c @ v - target)) / scale

    def solve(cap: float, start: np.ndarray) -> np.ndarray:
        c = z = _capped(start, cap)
        momentum = 1.0
        for step in range(2000):
            new_c = _capped(z - (gram @ z - cross) / length, cap)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            if (z - new_c) @ (new_c - c) > 0:
                following = momentum = 1.0
            z = new_c + (momentum - 1) / following * (new_c - c)
            moved = float(np.abs(new_c - c).max())
            c, momentum = new_c, following
            # Good enough, or stuck: the cap is too low.
            if moved * m < 1e-6 or (step % 20 == 0 and misfit(c) <= 0.5 * tol):
                break
        return c

    low, high = 1 / m, 1.0
    best = solve(high, np.full(m, 1 / m))
    if misfit(np.full(m, 1 / m)) <= tol:
        best, high = np.full(m, 1 / m), low
    if misfit(best) <= tol:
        while high - low > 1e-3 / m:
            middle = (low + high) / 2
            c = solve(middle, best)
            if misfit(c) <= tol:
                best, high = c, middle
            else:
                low = middle
    dtype = jnp.result_type(float)
    return jnp.asarray(best, dtype), jnp.asarray(misfit(best), dtype)


def _capped(v: np.ndarray, cap: float) -> np.ndarray:
    """Euclidean projection onto {0 <= c <= cap, Σ c = 1}, by bisection on the shift."""
    low, high = float(v.min()) - cap, float(v.max())
    for _ in range(40):
        middle = (low + high) / 2
        if np.clip(v - middle, 0, cap).sum() > 1:
            low = middle
        else:
            high = middle
    return np.clip(v - (low + high) / 2, 0, cap)
