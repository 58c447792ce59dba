"""How well draws of people's answers match people: each question, each person, all together.

Draws are (d, n, ...) answers of n people. Only entries where a mask is true count; the values of
the others (NaN included) do not matter, and without any such entry a metric is NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..inference.alike import alike
from ..solvers.boundary import Numbers, as_floats, as_mask
from ..solvers.precision import full_precision


def wasserstein_from_draws(draws: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """W₁ between all draws of the answers to a question and the true ones, in answer units.

    Draws of people without a true answer are left out.

    **Arguments:** `draws`: (d, s); `truth`, `mask`: (s,).

    **Raises:** `ValueError` for shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation.draw_metrics import wasserstein_from_draws
        >>> print(wasserstein_from_draws([[1.0, 2.0], [3.0, 2.0]], [2.0, 2.0], [True, True]))
        0.5
    """
    draws, truth = as_floats(draws=draws, truth=truth)
    mask = as_mask("mask", mask)
    _check(draws, truth, mask, 2)
    d = draws.shape[0]
    drawn = jnp.sort(jnp.where(mask[None, :], draws, jnp.inf).ravel())
    # Each true answer stands d times, so that both sides have as many.
    people = jnp.repeat(jnp.sort(jnp.where(mask, truth, jnp.inf)), d)
    inside = jnp.arange(people.shape[0]) < d * jnp.sum(mask)
    gap = jnp.abs(jnp.where(inside, drawn, 0) - jnp.where(inside, people, 0))
    count = jnp.sum(inside, dtype=gap.dtype)
    return jnp.where(count > 0, jnp.sum(gap) / jnp.maximum(count, 1), jnp.nan)


@full_precision
def energy_score(
    draws: Numbers, truth: Numbers, mask: Numbers, *, fair: bool = True
) -> Float[Array, ""]:
    """Mean energy score of people's answers to a battery of questions (lower is better).

    Of a person, E|X - y| - ½ E|X - X'| with Euclidean norms over the questions that the person
    answered (Gneiting and Raftery, 2007, equation 22); of one question, the continuous ranked
    probability score. It is proper for the joint distribution: draws that are right for every
    question but go together wrongly score worse. Questions of different units are to be brought to
    one beforehand.

    **Arguments:**

    - `draws`: (d, s, q); `truth`, `mask`: (s, q).
    - `fair`: as in [`crps_from_draws`][syndigits_jax.evaluation.metrics.crps_from_draws].

    **Raises:** `ValueError` for shapes that do not fit, or fewer than two draws with `fair=True`.

    **Example:**

        >>> from syndigits_jax.evaluation.draw_metrics import energy_score
        >>> draws = [[[0.0, 0.0]], [[3.0, 4.0]]]
        >>> print(energy_score(draws, [[0.0, 0.0]], [[True, True]], fair=False))
        1.25
    """
    draws, truth = as_floats(draws=draws, truth=truth)
    mask = as_mask("mask", mask)
    _check(draws, truth, mask, 3)
    d = draws.shape[0]
    if d < 2 and fair:
        raise ValueError(f"`draws`: the fair score needs at least two draws, got {d}")
    x = jnp.where(mask[None], draws, 0)
    y = jnp.where(mask, truth, 0)
    distance = jnp.mean(_norm(x - y[None]), axis=0)
    spread = jnp.sum(_apart(x), axis=0) / (2 * (d * (d - 1) if fair else d**2))
    answered = jnp.any(mask, axis=1)
    count = jnp.sum(answered, dtype=y.dtype)
    total = jnp.sum(jnp.where(answered, distance - spread, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


@jax.jit
def _apart(x: Float[Array, "d s q"]) -> Float[Array, "d s"]:
    """The sum of every draw's distances to all draws, a draw at a time."""
    return jax.lax.map(lambda one: jnp.sum(_norm(x - one[None]), axis=0), x)


def _norm(difference: Array) -> Array:
    square = jnp.sum(difference**2, axis=-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), square)


@full_precision
def correlation_matrix(answers: Numbers, mask: Numbers) -> Float[Array, "q q"]:
    """Correlations between questions over the people who answered both; NaN where undefined.

    Undefined are those with fewer than two people in common, or of answers that do not vary among
    them.

    **Arguments:** `answers`, `mask`: (s, q).

    **Raises:** `ValueError` for shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation.draw_metrics import correlation_matrix
        >>> answers = [[1.0, 2.0], [2.0, 4.0], [3.0, 0.0]]
        >>> mask = [[True, True], [True, True], [True, False]]
        >>> print(correlation_matrix(answers, mask)[0, 1].round(3))
        1.0
    """
    (answers,) = as_floats(answers=answers)
    mask = as_mask("mask", mask)
    if answers.ndim != 2 or mask.shape != answers.shape:
        raise ValueError(
            f"`mask` must have the shape of `answers`, (s, q), got {mask.shape} and {answers.shape}"
        )
    x = jnp.where(mask, answers, 0)
    count = jnp.sum(mask, axis=0, dtype=x.dtype)
    x = jnp.where(mask, x - (jnp.sum(x, axis=0) / jnp.maximum(count, 1))[None, :], 0)
    one = mask.astype(x.dtype)
    both = one.T @ one
    size = jnp.maximum(both, 1)
    first, second = x.T @ one / size, x.T**2 @ one / size
    variance = second - first**2
    covariance = x.T @ x / size - first * first.T
    # A variance that rounding alone could have made is none.
    noise = 16 * float(jnp.finfo(x.dtype).eps) * second
    varies = (variance > noise) & (variance.T > noise.T) & (both >= 2)
    same = jax.vmap(lambda column, seen: alike(column, seen, 0))(answers.T, mask.T)
    varies = varies & ~same[:, None] & ~same[None, :]
    scale = jnp.sqrt(jnp.where(varies, variance * variance.T, 1))
    return jnp.where(varies, jnp.clip(covariance / scale, -1, 1), jnp.nan)


def correlation_distance(answers: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """Root mean square difference between two populations' correlations of pairs of questions.

    Pairs whose correlation is undefined in the truth are left out; where only that of the
    `answers` is, as of means that are all the same, it counts as 0.

    **Arguments:** `answers`, `truth`, `mask`: (s, q), the same people in both.

    **Raises:** `ValueError` for shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation.draw_metrics import correlation_distance
        >>> mask = [[True, True]] * 3
        >>> truth = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
        >>> print(correlation_distance([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]], truth, mask))
        2.0
    """
    answers, truth = as_floats(answers=answers, truth=truth)
    if answers.shape != truth.shape:
        raise ValueError(
            f"`truth` must have the shape of `answers`, got {truth.shape} and {answers.shape}"
        )
    found, real = correlation_matrix(answers, mask), correlation_matrix(truth, mask)
    pair = jnp.triu(~jnp.isnan(real), 1)
    gap = jnp.where(pair, jnp.nan_to_num(found) - jnp.where(pair, real, 0), 0)
    count = jnp.sum(pair, dtype=gap.dtype)
    mean = jnp.sum(gap**2) / jnp.maximum(count, 1)
    return jnp.where(count > 0, jnp.sqrt(mean), jnp.nan)


def _check(draws: Array, truth: Array, mask: Array, ndim: int) -> None:
    if draws.ndim != ndim or truth.shape != draws.shape[1:] or mask.shape != truth.shape:
        raise ValueError(
            f"`truth` and `mask` must have the shape of one draw, got {truth.shape} and "
            f"{mask.shape} for `draws` {draws.shape}"
        )
