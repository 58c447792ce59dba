"""Theorem 4.1 of SYN-DIGITS term by term: how far ridge transfer can be off on a new question.

Human answers follow Y = U Vᵀ + E and the new question's Y_v = U v + E_v; twins likewise, with
tildes. The new question's factors are written v = Vᵀ b + e with any coefficients b on the existing
questions and e what they cannot represent. Ridge on the twins, without scaling or intercept, is

    β̂ = (Σ̂ + λI)⁻¹ γ̂,   Σ̂ = ỸᵀỸ / n,   γ̂ = ỸᵀỸ_v / n,

and β* = (Σ̃ + λI)⁻¹ γ̃ its population version. With r = Y_v - Y β*, the theorem says

    ‖Y β̂ - Y_v‖ <= ‖r‖ + ‖Y‖ / (σ_min(Σ̂) + λ) · (‖Σ̂ - Σ̃‖ ‖β*‖ + ‖γ̂ - γ̃‖)
    ‖r‖ <= ‖U e‖ + ‖E_v - E b‖ + ‖Y‖ / (σ_min(Σ̃) + λ) · (λ ‖b‖ + ‖γ̃ - Σ̃ b‖)

with spectral norms of matrices and Euclidean norms of vectors. Here V has one row of factors per
question (m x d), and λ is per respondent: scikit-learn's `Ridge(alpha)` has alpha = n λ. Norms
over respondents grow as sqrt(n); divide by sqrt(n) for root-mean-square errors per answer.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..inference.resampling import PRNGKey
from ..solvers._precision import full_precision
from ..solvers.completion import hard_impute

Scalar = float | Float[Array, ""]


class LatentPanel(eqx.Module):
    """One side of the latent factor model (section 4.1), the new question beside the others."""

    user_factors: Float[Array, "n d"]
    question_factors: Float[Array, "m d"]
    new_question: Float[Array, " d"]
    noise: Float[Array, "n m"]
    new_noise: Float[Array, " n"]

    @property
    @full_precision
    def responses(self) -> Float[Array, "n m"]:
        """U Vᵀ + E."""
        return self.user_factors @ self.question_factors.T + self.noise

    @property
    @full_precision
    def new_responses(self) -> Float[Array, " n"]:
        """U v + E_v."""
        return self.user_factors @ self.new_question + self.new_noise


class ErrorBound(eqx.Module):
    """Every term of Theorem 4.1; see the module docstring for the symbols.

    **The theorem:** `error <= bound`, `structural_error <= structural_bound`.

    - `error`: ‖Ŷ_v - Y_v‖, what actually happened.
    - `structural_error`: ‖r‖.
    - `estimation_error`: ‖Y‖ / (σ_min(Σ̂) + λ) · (‖Σ̂ - Σ̃‖ ‖β*‖ + ‖γ̂ - γ̃‖).
    - `bound`: `structural_error + estimation_error`.
    - `unrepresented`: ‖U e‖.
    - `noise`: ‖E_v - E b‖.
    - `shrinkage`: ‖Y‖ / (σ_min(Σ̃) + λ) · λ ‖b‖.
    - `misalignment`: ‖Y‖ / (σ_min(Σ̃) + λ) · ‖γ̃ - Σ̃ b‖.
    - `structural_bound`: the sum of these four.
    - `total_bound`: `structural_bound + estimation_error`.

    **The pieces:** `response_norm` ‖Y‖, `sample_curvature` σ_min(Σ̂) + λ, `population_curvature`
    σ_min(Σ̃) + λ, `gram_error` ‖Σ̂ - Σ̃‖, `cross_error` ‖γ̂ - γ̃‖, `population_coef_norm` ‖β*‖,
    `coef_error` ‖β̂ - β*‖, `coef_gap` ‖b - β*‖.

    Where λ = 0 and Σ̂ or Σ̃ is singular, β is the minimum-norm solution and the bounds that divide
    by its curvature are infinite.
    """

    error: Float[Array, "*batch"]
    structural_error: Float[Array, "*batch"]
    estimation_error: Float[Array, "*batch"]
    bound: Float[Array, "*batch"]
    unrepresented: Float[Array, "*batch"]
    noise: Float[Array, "*batch"]
    shrinkage: Float[Array, "*batch"]
    misalignment: Float[Array, "*batch"]
    structural_bound: Float[Array, "*batch"]
    total_bound: Float[Array, "*batch"]
    response_norm: Float[Array, "*batch"]
    sample_curvature: Float[Array, "*batch"]
    population_curvature: Float[Array, "*batch"]
    gram_error: Float[Array, "*batch"]
    cross_error: Float[Array, "*batch"]
    population_coef_norm: Float[Array, "*batch"]
    coef_error: Float[Array, "*batch"]
    coef_gap: Float[Array, "*batch"]


@full_precision
def representing_coefficients(
    question_factors: Float[Array, "m d"], new_question: Float[Array, " d"], penalty: Scalar = 0.0
) -> Float[Array, " m"]:
    """b minimising ‖v - Vᵀ b‖² + μ ‖b‖²; the minimum-norm solution for μ = 0.

    The theorem holds for every b. A larger μ leaves more in e and makes ‖b‖, which multiplies the
    noise and the shrinkage, smaller.
    """
    left, values, right = jnp.linalg.svd(question_factors, full_matrices=False)
    tiny = jnp.finfo(values.dtype).eps * max(question_factors.shape) * jnp.max(values)
    kept = values > tiny
    safe = jnp.where(kept, values, 1)
    inverse = jnp.where(kept, safe / (safe**2 + jnp.asarray(penalty, values.dtype)), 0)
    return left @ (inverse * (right @ new_question))


@full_precision
def gaussian_moments(
    question_factors: Float[Array, "m d"],
    new_question: Float[Array, " d"],
    user_covariance: Float[Array, "d d"],
    noise_variance: Scalar,
) -> tuple[Float[Array, "m m"], Float[Array, " m"]]:
    """Population (Σ̃, γ̃) of users with mean 0 and that covariance, and independent noise.

    Σ̃ = Ṽ S Ṽᵀ + σ² I and γ̃ = Ṽ S ṽ; exact for any such distribution, Gaussian or not.
    """
    weighted = question_factors @ user_covariance
    identity = jnp.eye(question_factors.shape[0], dtype=weighted.dtype)
    gram = weighted @ question_factors.T + jnp.asarray(noise_variance, weighted.dtype) * identity
    return gram, weighted @ new_question


def _regularised_solve(
    gram: Float[Array, "m m"], cross: Float[Array, " m"], penalty: Float[Array, ""]
) -> tuple[Float[Array, " m"], Float[Array, ""]]:
    """(gram + λI)⁻¹ cross and σ_min(gram) + λ, the latter 0 if the system is singular."""
    values, vectors = jnp.linalg.eigh(gram)
    values = jnp.maximum(values, 0)
    # eigh resolves eigenvalues to a few eps of the largest; below that they are 0.
    resolution = 4 * jnp.finfo(values.dtype).eps * jnp.max(values)
    shifted = jnp.where(values > resolution, values, 0) + penalty
    regular = shifted > 0
    inverse = jnp.where(regular, 1 / jnp.where(regular, shifted, 1), 0)
    return vectors @ (inverse * (vectors.T @ cross)), jnp.min(shifted)


def _ratio(numerator: Float[Array, ""], curvature: Float[Array, ""]) -> Float[Array, ""]:
    positive = curvature > 0
    return jnp.where(positive, numerator / jnp.where(positive, curvature, 1), jnp.inf)


@full_precision
def _terms(
    responses: Float[Array, "n m"],
    new_responses: Float[Array, " n"],
    unrepresented: Float[Array, " n"],
    noise_gap: Float[Array, " n"],
    twin: Float[Array, "k m"],
    twin_new: Float[Array, " k"],
    gram: Float[Array, "m m"],
    cross: Float[Array, " m"],
    b: Float[Array, " m"],
    penalty: Scalar,
) -> ErrorBound:
    norm = jnp.linalg.norm
    penalty = jnp.asarray(penalty, responses.dtype)
    sample_gram = twin.T @ twin / twin.shape[0]
    sample_cross = twin.T @ twin_new / twin.shape[0]
    coef, sample_curvature = _regularised_solve(sample_gram, sample_cross, penalty)
    population_coef, population_curvature = _regularised_solve(gram, cross, penalty)

    response_norm = norm(responses, 2)
    gram_error = jnp.max(jnp.abs(jnp.linalg.eigvalsh(sample_gram - gram)))
    cross_error = norm(sample_cross - cross)
    population_coef_norm = norm(population_coef)
    structural_error = norm(new_responses - responses @ population_coef)
    estimation_error = _ratio(
        response_norm * (gram_error * population_coef_norm + cross_error), sample_curvature
    )
    shrinkage = _ratio(response_norm * penalty * norm(b), population_curvature)
    misalignment = _ratio(response_norm * norm(cross - gram @ b), population_curvature)
    structural_bound = norm(unrepresented) + norm(noise_gap) + shrinkage + misalignment
    return ErrorBound(
        error=norm(responses @ coef - new_responses),
        structural_error=structural_error,
        estimation_error=estimation_error,
        bound=structural_error + estimation_error,
        unrepresented=norm(unrepresented),
        noise=norm(noise_gap),
        shrinkage=shrinkage,
        misalignment=misalignment,
        structural_bound=structural_bound,
        total_bound=structural_bound + estimation_error,
        response_norm=response_norm,
        sample_curvature=sample_curvature,
        population_curvature=population_curvature,
        gram_error=gram_error,
        cross_error=cross_error,
        population_coef_norm=population_coef_norm,
        coef_error=norm(coef - population_coef),
        coef_gap=norm(b - population_coef),
    )


def _check_penalty(penalty: Scalar) -> None:
    if isinstance(penalty, int | float) and not penalty >= 0:
        raise ValueError(f"penalty: must not be negative, got {penalty}")


@full_precision
def theorem_4_1(
    human: LatentPanel,
    twin: LatentPanel,
    gram: Float[Array, "m m"],
    cross: Float[Array, " m"],
    b: Float[Array, " m"],
    penalty: Scalar,
) -> ErrorBound:
    """Every term of Theorem 4.1, exactly, where both sides of the model are known.

    **Arguments:**

    - `human`, `twin`: the two sides; their numbers of users and of factors may differ.
    - `gram`, `cross`: the twins' population moments Σ̃ and γ̃ (`gaussian_moments`).
    - `b`: coefficients of the new question on the others (`representing_coefficients`); e is
      v - Vᵀ b by definition, so it is not asked for.
    - `penalty`: λ, per respondent.

    **Raises:** `ValueError` for a negative penalty, if it is a Python number.
    """
    _check_penalty(penalty)
    remainder = human.new_question - human.question_factors.T @ b
    return _terms(
        human.responses,
        human.new_responses,
        human.user_factors @ remainder,
        human.new_noise - human.noise @ b,
        twin.responses,
        twin.new_responses,
        gram,
        cross,
        b,
        penalty,
    )


def _without_missing(
    name: str, x: Float[Array | np.ndarray, "n m"]
) -> tuple[Float[Array, "n m"], Array]:
    x = jnp.asarray(x)
    if x.shape[1] < 2:
        raise ValueError(f"{name}: at least two questions are needed, got shape {x.shape}")
    mask = ~jnp.isnan(x)
    return jnp.where(mask, x, 0), mask


@full_precision
def estimate_error_bounds(
    human: Float[Array | np.ndarray, "n m"],
    twin: Float[Array | np.ndarray, "k l"],
    targets: Int[Array | np.ndarray, " t"],
    penalty: Scalar,
    rank: int,
    key: PRNGKey,
    *,
    representation_penalty: Scalar = 0.0,
) -> ErrorBound:
    """`estimate_error_bound` for several targets (leading axis), imputing only once.

    Works under `jit` with `rank` static.
    """
    _check_penalty(penalty)
    human, human_mask = _without_missing("human", human)
    twin, twin_mask = _without_missing("twin", twin)
    if human.shape[1] != twin.shape[1]:
        raise ValueError(f"twin: {twin.shape[1]} questions, but human has {human.shape[1]}")
    if twin.shape[0] < 2:
        raise ValueError("twin: at least two rows are needed, one for each half")
    questions = human.shape[1]
    if isinstance(targets, np.ndarray) and not np.all((targets >= 0) & (targets < questions)):
        raise ValueError(f"target: positions from 0 to {questions - 1}, got {targets}")
    completed = hard_impute(human, human_mask, rank).value.completed
    left, values, right = jnp.linalg.svd(completed, full_matrices=False)
    users, factors = left[:, :rank] * values[None, :rank], right[:rank].T
    noise = completed - users @ factors.T

    order = jax.random.permutation(key, twin.shape[0])
    shuffled = hard_impute(twin, twin_mask, rank).value.completed[order]
    half = twin.shape[0] // 2
    sample, population = shuffled[:half], shuffled[half:]

    def one(target: Int[Array, ""]) -> ErrorBound:
        donors = jnp.arange(questions - 1)
        donors = donors + (donors >= target).astype(donors.dtype)
        # Rows without the truth are zeroed: they leave every norm over respondents alone.
        row = human_mask[:, target].astype(human.dtype)
        b = representing_coefficients(factors[donors], factors[target], representation_penalty)
        remainder = factors[target] - factors[donors].T @ b
        return _terms(
            completed[:, donors] * row[:, None],
            completed[:, target] * row,
            users @ remainder * row,
            (noise[:, target] - noise[:, donors] @ b) * row,
            sample[:, donors],
            sample[:, target],
            population[:, donors].T @ population[:, donors] / population.shape[0],
            population[:, donors].T @ population[:, target] / population.shape[0],
            b,
            penalty,
        )

    # One target at a time: batched eigendecompositions are slow on accelerators.
    return jax.lax.map(one, jnp.asarray(targets))


def estimate_error_bound(
    human: Float[Array | np.ndarray, "n m"],
    twin: Float[Array | np.ndarray, "k l"],
    target: int | Int[Array, ""],
    penalty: Scalar,
    rank: int,
    key: PRNGKey,
    *,
    representation_penalty: Scalar = 0.0,
) -> ErrorBound:
    """The terms of Theorem 4.1 on data, for one held-out question. **Retrospective.**

    It needs the human answers to the target, so it explains an evaluation; it cannot tell
    beforehand whether a transfer will work. What stands in for what is unknown:

    - Missing answers are hard-imputed at `rank`, each side with the target included. Y is the
      completed matrix of the other questions; norms run over the respondents who answered the
      target.
    - U, V and v are the best rank-`rank` approximation of the completed human matrix, uncentred,
      and E is the rest. b is `representing_coefficients` with `representation_penalty`: with at
      least `rank` other questions and no penalty e vanishes and the misfit is in the noise term.
    - The twins are split at random: one half gives Σ̂, γ̂ and the fitted β̂, the other stands for
      the population Σ̃, γ̃. The estimation error so overstates that of a fit on all twins.

    Scaling and intercept are off, and norms are spectral, as in the theorem. For these stand-ins
    the inequalities still hold exactly; what is estimated is the split between the terms. Many
    questions make σ_min(Σ̃) practically 0 and the bound vacuous at a small penalty, above all on
    raw answers, where long scales dominate every norm: pass scaled columns for readable terms.

    **Raises:** `ValueError` for fewer than two questions or twins, unequal numbers of questions, a
    target outside them, a rank beyond the matrix or a negative penalty.
    """
    targets = np.array([target]) if isinstance(target, int) else target[None]
    bounds = estimate_error_bounds(
        human, twin, targets, penalty, rank, key, representation_penalty=representation_penalty
    )
    return jax.tree.map(lambda leaf: leaf[0], bounds)
