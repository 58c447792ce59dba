"""Theorem 7.1: how far a predicted distribution may be from the true one, term by term.

What is proved of the sampling term, for n twins drawn from μ̃ and a reweighting ν <= A·μ̃. Let
g(u) = ν(u)/μ̃(u), so that 0 <= g <= A, E g = 1 and E g² <= A; Z the mean of g over the twins,
q_j the mean of g(u)·P̃_j(·|u), and S = (1/m)·Σ_j ‖q_j - E q_j‖₁. The weights g/(n·Z) of the twins
predict q_j/Z, so that, by the triangle inequality,

    (1/m)·Σ_j TV(E q_j, q_j/Z) <= (|Z - 1| + S) / (2Z).

With L = log(4/α):

- Hoeffding: |Z - 1| <= A·√(L/(2n)), except with probability α/2.
- Jensen and Cauchy-Schwarz over the K options: E S <= √(K·E g²/n) <= √(K·A/n) <= A·√(K/n).
- McDiarmid (another twin changes S by at most 2A/n): S <= E S + A·√(2L/n), except with
  probability α/2.
- If n >= 2A²·L then Z >= 1/2, and the error is at most A·(√K + √(L/2) + √(2L))/√n. By
  Cauchy-Schwarz for three terms that is at most √3·A·√((K + L/2 + 2L)/n), `statistical_proved`.
  If n is smaller, that number is above 1, and no total variation is.

The theorem is proved for weights fitted to, and predictions made from, the probabilities with which
twins answer (`Answers.from_probabilities`). Weights fitted to one drawn answer per twin, as in
equation 7.2, also fit the noise of these draws, which the proof does not account for.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float, host_floats


class DistributionBound(eqx.Module):
    """The right-hand side of Theorem 7.1: `factor · (structural + statistical)`.

    - `factor`: m·‖c‖∞, how far the new question is from a plain average of the training ones.
    - `structural`: inf over reweightings ν <= A·μ̃ of the mean total variation.
    - `statistical`: the sampling term as printed, √3·A·√((K + log(4/α))/n).
    - `statistical_proved`: what the steps of the proof give, √3·A·√((K + 2.5·log(4/α))/n), which
      is larger. Derived at the top of this module.
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
    coefficients: Numbers,
    structural: Numbers,
    *,
    n: int,
    n_options: int,
    ratio: float,
    alpha: float = 0.05,
) -> DistributionBound:
    """The terms of Theorem 7.1, which holds with probability 1 - α.

    **Arguments:** `coefficients`: (m,) c on the simplex, such as [`best_coefficients`][];
    `structural`: the infimum over reweightings, a total variation (0 where the human population is
    a reweighting of the twins' within `ratio`); `n`: number of twins; `n_options`: K, the number of
    options of a question; `ratio`: A, the largest ν(u)/μ̃(u); `alpha`: the probability with which
    the bound may fail.

    **Raises:** `ValueError` for coefficients off the simplex, or numbers out of range.

    **Example:**

        >>> from syndigits_jax.distribution import theorem_7_1
        >>> terms = theorem_7_1([0.5, 0.5], 0.02, n=2000, n_options=4, ratio=2.0)
        >>> print(terms.factor, terms.bound < terms.bound_proved)
        1.0 True
    """
    c = host_floats("coefficients", coefficients)
    # Comparisons with NaN are false, so NaN is refused too.
    if c.ndim != 1 or c.size == 0 or not ((c >= -1e-6).all() and abs(c.sum() - 1) <= 1e-3):
        raise ValueError("`coefficients` must be a vector on the simplex")
    if not (n >= 1 and n_options >= 2 and 1 <= ratio < math.inf and 0 < alpha < 1):
        raise ValueError(
            f"`n` must be positive, `n_options` at least 2, `ratio` at least 1 and `alpha` in "
            f"(0, 1); got {n}, {n_options}, {ratio}, {alpha}"
        )
    misfit = as_float("structural", structural)
    if misfit.ndim or not 0 <= float(misfit) <= 1:
        raise ValueError(f"`structural` is a total variation, between 0 and 1; got {structural}")
    doubt = math.log(4 / alpha)
    scale = math.sqrt(3) * ratio
    dtype = jnp.result_type(float)
    return DistributionBound(
        jnp.asarray(c.size * c.max(), dtype),
        misfit.astype(dtype),
        jnp.asarray(scale * math.sqrt((n_options + doubt) / n), dtype),
        jnp.asarray(scale * math.sqrt((n_options + 2.5 * doubt) / n), dtype),
    )


def best_coefficients(
    questions: Numbers, new: Numbers, *, tol: float = 1e-3
) -> tuple[Float[Array, " m"], Float[Array, ""]]:
    """Convex weights c of the training questions that give the new one, as even as possible.

    Theorem 7.1 multiplies the error by m·max(c), so of all c with Σ cⱼ vⱼ = v (Assumption 7.3) the
    most even is best. Bisection over the cap t in {0 <= c <= t, Σ c = 1}, with accelerated
    projected gradients.

    **Arguments:** `questions`: (m, f) and `new`: (f,) embeddings, or the twins' answer
    distributions laid out in a row; `tol`: the largest relative misfit to accept.

    **Returns:** c, and the relative misfit ‖Σ cⱼ vⱼ - v‖ / ‖v - mean of the vⱼ‖: above `tol` no
    convex combination gives the new question. (The denominator is at least a thousandth of the
    largest such distance of a training question.)

    **Raises:** `ValueError` for features that differ or are not finite.

    **Example:**

        >>> from syndigits_jax.distribution import best_coefficients
        >>> questions = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]
        >>> coefficients, misfit = best_coefficients(questions, [0.5, 1.0])
        >>> print(coefficients.round(2), misfit < 1e-3)
        [0.25 0.25 0.5 ] True
    """
    v, target = host_floats("questions", questions), host_floats("new", new)
    if v.ndim != 2 or min(v.shape) == 0 or target.shape != v.shape[1:]:
        raise ValueError(
            f"`questions` {v.shape} and `new` {target.shape} must have the same features"
        )
    if not (np.isfinite(v).all() and np.isfinite(target).all()):
        raise ValueError("`questions` and `new` must be finite")
    # Centred: a common shift changes neither side, and costs digits.
    v, target = v - v.mean(0), target - v.mean(0)
    m = len(v)
    # Where the new question is close to the questions' mean, its distance from it is rounding.
    spread = float(np.linalg.norm(v, axis=1).max())
    scale = max(float(np.linalg.norm(target)), 1e-3 * spread) or 1.0
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
