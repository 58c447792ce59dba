"""Theorem 4.1 of SYN-DIGITS term by term: the error bound of ridge transfer on a new question.

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

Longer than 400 lines: the terms of one theorem stand together, with its derivation.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_axes, check_known_squares, check_penalty, check_scalar
from ..solvers.completion import hard_impute
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.units import largest
from .rank_selection import observed


class LatentPanel(eqx.Module):
    """One side of the latent factor model (section 4.1), with the new question kept apart.

    `user_factors` (n, d), `question_factors` (m, d), `new_question` (d,), `noise` (n, m) and
    `new_noise` (n,): anything that holds numbers.
    """

    user_factors: Numbers
    question_factors: Numbers
    new_question: Numbers
    noise: Numbers
    new_noise: Numbers

    @property
    @full_precision
    def responses(self) -> Float[Array, "n m"]:
        """U Vᵀ + E."""
        panel = _panel("panel", self)
        return panel.user_factors @ panel.question_factors.T + panel.noise

    @property
    @full_precision
    def new_responses(self) -> Float[Array, " n"]:
        """U v + E_v."""
        panel = _panel("panel", self)
        return panel.user_factors @ panel.new_question + panel.new_noise


class ErrorBound(eqx.Module):
    """Every term of Theorem 4.1; see the module docstring for the symbols.

    **The theorem:** `error <= bound`, `structural_error <= structural_bound`.

    - `error`: ‖Ŷ_v - Y_v‖, the actual error.
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

    Errors and terms of the bounds have the unit of the human answers; curvatures and errors of
    moments have the squared unit of the twins' answers.

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
    question_factors: Numbers, new_question: Numbers, penalty: Numbers = 0.0
) -> Float[Array, " m"]:
    """b (m,) minimising ‖v - Vᵀ b‖² + μ ‖b‖² for V (m, d), v (d,); of least norm for μ = 0.

    The theorem holds for every b. A larger μ leaves more in e and makes ‖b‖, which multiplies the
    noise and the shrinkage, smaller.

    **Raises:** `ValueError` for what holds no numbers, arrays that do not fit together, or a
    negative penalty.

    **Example:**

        >>> from syndigits_jax.diagnostics.error_bound import representing_coefficients
        >>> print(representing_coefficients([[1.0, 0.0], [0.0, 2.0]], [3.0, 4.0]).round(2))
        [3. 2.]
    """
    question_factors, new_question = as_floats(
        question_factors=question_factors, new_question=new_question
    )
    if question_factors.ndim != 2 or new_question.shape != question_factors.shape[1:]:
        raise ValueError(
            f"`new_question` must have one entry per factor of `question_factors`, of shape "
            f"{question_factors.shape}, got {new_question.shape}"
        )
    penalty = _penalty("penalty", penalty, question_factors.dtype)
    # Clipped so that its square is in range: the compiler divides by that.
    unit = jnp.clip(largest(question_factors), 2.0**-60, 2.0**60)
    question_factors, new_question = question_factors / unit, new_question / unit
    penalty = penalty / unit / unit
    left, values, right = jnp.linalg.svd(question_factors, full_matrices=False)
    tiny = jnp.finfo(values.dtype).eps * max(question_factors.shape) * jnp.max(values)
    kept = values > tiny
    safe = jnp.where(kept, values, 1)
    inverse = jnp.where(kept, safe / (safe**2 + penalty), 0)
    return left @ (inverse * (right @ new_question))


@full_precision
def gaussian_moments(
    question_factors: Numbers,
    new_question: Numbers,
    user_covariance: Numbers,
    noise_variance: Numbers,
) -> tuple[Float[Array, "m m"], Float[Array, " m"]]:
    """Population moments (Σ̃, γ̃) for user factors of mean 0 and independent noise.

    Σ̃ = Ṽ S Ṽᵀ + σ² I and γ̃ = Ṽ S ṽ; exact for any such distribution, Gaussian or not.

    **Arguments:** `question_factors`: Ṽ (m, d); `new_question`: ṽ (d,); `user_covariance`: S (d, d)
    of the user factors; `noise_variance`: σ².

    **Raises:** `ValueError` for what holds no numbers, or a negative noise variance.

    **Example:**

        >>> from syndigits_jax.diagnostics.error_bound import gaussian_moments
        >>> gram, cross = gaussian_moments([[1.0], [2.0]], [3.0], [[1.0]], 0.5)
        >>> print(gram.round(2), cross.round(2))
        [[1.5 2. ]
         [2.  4.5]] [3. 6.]
    """
    question_factors, new_question, user_covariance = as_floats(
        question_factors=question_factors,
        new_question=new_question,
        user_covariance=user_covariance,
    )
    noise_variance = _penalty("noise_variance", noise_variance, question_factors.dtype)
    weighted = question_factors @ user_covariance
    identity = jnp.eye(question_factors.shape[0], dtype=weighted.dtype)
    gram = weighted @ question_factors.T + noise_variance * identity
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
    penalty: Float[Array, ""],
) -> ErrorBound:
    norm = jnp.linalg.norm
    # Coefficients have the unit of humans over that of twins; `largest` is a power of two.
    human_unit, unit = largest(responses), jnp.clip(largest(twin), 2.0**-60, 2.0**60)
    responses, new_responses, unrepresented, noise_gap = (
        each / human_unit for each in (responses, new_responses, unrepresented, noise_gap)
    )
    twin, twin_new = twin / unit, twin_new / unit
    gram, cross, penalty = (each / unit / unit for each in (gram, cross, penalty))
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
        error=norm(responses @ coef - new_responses) * human_unit,
        structural_error=structural_error * human_unit,
        estimation_error=estimation_error * human_unit,
        bound=(structural_error + estimation_error) * human_unit,
        unrepresented=norm(unrepresented) * human_unit,
        noise=norm(noise_gap) * human_unit,
        shrinkage=shrinkage * human_unit,
        misalignment=misalignment * human_unit,
        structural_bound=structural_bound * human_unit,
        total_bound=(structural_bound + estimation_error) * human_unit,
        response_norm=response_norm * human_unit,
        sample_curvature=sample_curvature * unit * unit,
        population_curvature=population_curvature * unit * unit,
        gram_error=gram_error * unit * unit,
        cross_error=cross_error * unit * unit,
        population_coef_norm=population_coef_norm,
        coef_error=norm(coef - population_coef),
        coef_gap=norm(b - population_coef),
    )


def _penalty(name: str, penalty: Numbers, dtype) -> Float[Array, ""]:
    number = as_float(name, penalty).astype(dtype)
    check_scalar(name, number)
    check_penalty(name, penalty)
    return number


@full_precision
def theorem_4_1(
    human: LatentPanel,
    twin: LatentPanel,
    gram: Numbers,
    cross: Numbers,
    b: Numbers,
    penalty: Numbers,
) -> ErrorBound:
    """Every term of Theorem 4.1, computed exactly from known models of both sides.

    **Arguments:**

    - `human`, `twin`: the two sides; their numbers of users and of factors may differ.
    - `gram`, `cross`: the twins' population moments Σ̃ (m, m) and γ̃ (m,) (`gaussian_moments`).
    - `b`: (m,) coefficients of the new question on the others (`representing_coefficients`); e is
      v - Vᵀ b by definition, so it is not an argument.
    - `penalty`: λ, per respondent.

    **Raises:** `ValueError` for what holds no numbers, shapes that do not fit and, where known, for
    a negative penalty and answers whose squares overflow.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.diagnostics.error_bound import (
        ...     LatentPanel, gaussian_moments, representing_coefficients, theorem_4_1
        ... )
        >>> u, v, new = np.cos(np.arange(40.0)).reshape(20, 2), np.eye(3, 2) + 0.5, np.ones(2)
        >>> side = LatentPanel(u, v, new, noise=np.zeros((20, 3)), new_noise=np.zeros(20))
        >>> gram, cross = gaussian_moments(v, new, 0.5 * np.eye(2), 0.1)
        >>> b = representing_coefficients(v, new)
        >>> terms = theorem_4_1(side, side, gram, cross, b, penalty=0.1)
        >>> print(terms.error <= terms.bound)
        True
    """
    human, twin = _panel("human", human), _panel("twin", twin)
    gram, cross, b = as_floats(gram=gram, cross=cross, b=b)
    check_axes(
        gram=(gram, "m m"),
        cross=(cross, "m"),
        b=(b, "m"),
        human=(human.question_factors, "m d"),
        twin=(twin.question_factors, "m k"),
    )
    check_known_squares(human=human.responses, twin=twin.responses)
    penalty = _penalty("penalty", penalty, human.noise.dtype)
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


def _panel(name: str, panel: LatentPanel) -> LatentPanel:
    names = ("user_factors", "question_factors", "new_question", "noise", "new_noise")
    fields = {f"{name}.{field}": getattr(panel, field) for field in names}
    found = as_floats(**fields)
    axes = ("n d", "m d", "d", "n m", "n")
    check_axes(empty=False, **dict(zip(fields, zip(found, axes, strict=True), strict=True)))
    return LatentPanel(*found)


def _questions(name: str, x: Numbers) -> tuple[Float[Array, "n m"], Array]:
    x, mask = observed(name, x)
    check_known_squares(**{name: x})
    if x.shape[1] < 2:
        raise ValueError(f"`{name}` needs at least two questions, got shape {x.shape}")
    return x, mask


@full_precision
def estimate_error_bounds(
    human: Numbers,
    twin: Numbers,
    targets: Numbers,
    penalty: Numbers,
    rank: int,
    key: PRNGKey,
    *,
    representation_penalty: Numbers = 0.0,
) -> ErrorBound:
    """[`estimate_error_bound`][] for several targets, imputing only once.

    Works under `jit` with `rank` static.

    **Arguments:** `targets`: (t,) positions of the held-out questions; `human`, `twin`, `penalty`,
    `rank`, `key`, `representation_penalty`: as in [`estimate_error_bound`][].

    **Returns:** an [`ErrorBound`][] with a leading axis (t,). **Raises:** as there.
    """
    human, twin = as_floats(human=human, twin=twin)
    (human, human_mask), (twin, twin_mask) = _questions("human", human), _questions("twin", twin)
    if human.shape[1] != twin.shape[1]:
        raise ValueError(f"`twin` has {twin.shape[1]} questions, but `human` {human.shape[1]}")
    if twin.shape[0] < 2:
        raise ValueError("`twin` needs at least two rows, one for each half")
    penalty = _penalty("penalty", penalty, human.dtype)
    mu = _penalty("representation_penalty", representation_penalty, human.dtype)
    targets = _positions(targets, human.shape[1])
    return _bounds((human, twin), (human_mask, twin_mask), targets, penalty, mu, key, rank)


@functools.partial(jax.jit, static_argnames="rank")
@full_precision
def _bounds(sides, masks, targets, penalty, representation_penalty, key, rank: int) -> ErrorBound:
    (human, twin), (human_mask, twin_mask) = sides, masks
    completed = hard_impute(human, human_mask, rank).value.completed
    left, values, right = jnp.linalg.svd(completed, full_matrices=False)
    users, factors = left[:, :rank] * values[None, :rank], right[:rank].T
    noise = completed - users @ factors.T

    order = jax.random.permutation(key, twin.shape[0])
    shuffled = hard_impute(twin, twin_mask, rank).value.completed[order]
    half = twin.shape[0] // 2
    sample, population = shuffled[:half], shuffled[half:]

    def one(target: Int[Array, ""]) -> ErrorBound:
        donors = jnp.arange(human.shape[1] - 1, dtype=target.dtype)
        donors = donors + (donors >= target).astype(donors.dtype)
        # Rows without the truth are zeroed, so that they add nothing to norms over respondents.
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
    return jax.lax.map(one, targets)


def _positions(targets: Numbers, questions: int) -> Int[Array, " t"]:
    known = concrete(targets)
    if known is not None:
        if known.dtype.kind not in "iu" or known.ndim != 1:
            raise ValueError(f"`target` must be the position of a question, got {targets!r:.80}")
        if not np.all((known >= 0) & (known < questions)):
            raise ValueError(f"`target` must lie between 0 and {questions - 1}, got {known}")
        return jnp.asarray(known, jnp.int32)
    return targets


def estimate_error_bound(
    human: Numbers,
    twin: Numbers,
    target: int | Int[Array, ""],
    penalty: Numbers,
    rank: int,
    key: PRNGKey,
    *,
    representation_penalty: Numbers = 0.0,
) -> ErrorBound:
    """The terms of Theorem 4.1 on data, for one held-out question. **Retrospective.**

    It needs the human answers to the target, so it explains an evaluation; it cannot tell
    beforehand whether a transfer will work. Unknown quantities are replaced as follows:

    - Missing answers are hard-imputed at `rank`, each side with the target included. Y is the
      completed matrix of the other questions; norms run over the respondents who answered the
      target.
    - U, V and v are the best rank-`rank` approximation of the completed human matrix, uncentred,
      and E is the rest. b is `representing_coefficients` with `representation_penalty`: with at
      least `rank` other questions and no penalty e vanishes and the misfit is in the noise term.
    - The twins are split at random: one half gives Σ̂, γ̂ and the fitted β̂, the other stands for
      the population Σ̃, γ̃. So the estimation error exceeds that of a fit on all twins.

    Scaling and intercept are off, and norms are spectral, as in the theorem. With these
    replacements the inequalities still hold exactly; only the split between the terms is
    estimated. Many questions make σ_min(Σ̃) practically 0 and the bound vacuous at a small penalty,
    above all on raw answers, where long scales dominate every norm: pass scaled columns.

    **Arguments:** `human`, `twin`: (n, m) and (k, m) answers, NaN where missing; `target`: position
    of the held-out question; `penalty`: λ, per respondent; `rank`: of the imputation and of U, V;
    `key`: for the halves of the twins; `representation_penalty`: the penalty μ on b.

    **Raises:** `ValueError` for what is no matrix of numbers, infinities, fewer than two questions
    or twins, unequal numbers of questions, a target outside them, a rank beyond the matrix or a
    negative penalty.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.diagnostics import estimate_error_bound
        >>> panel, key = sample_panel().take(questions=slice(0, 8)), jax.random.key(0)
        >>> terms = estimate_error_bound(
        ...     human=panel.human, twin=panel.twin, target=7, penalty=0.1, rank=2, key=key
        ... )
        >>> print(terms.error <= terms.bound)
        True
    """
    targets = target[None] if isinstance(target, jax.Array) else np.asarray([target])
    bounds = estimate_error_bounds(
        human, twin, targets, penalty, rank, key, representation_penalty=representation_penalty
    )
    return jax.tree.map(lambda leaf: leaf[0], bounds)
