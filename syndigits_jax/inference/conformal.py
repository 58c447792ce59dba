"""Conformal intervals in which questions, not cells, are the exchangeable units.

The answers to one question share its difficulty, so the residuals of its cells are dependent and
only whole questions can be taken as exchangeable. Write Y for the human answers to the new
question, Ŷ for their prediction, s > 0 for a scale known without human answers (such as the
standard deviation of the twins' answers: `twin_scale`), and R₁, ..., R_t for the scale-free scores
of t known questions (`question_scores`). Everything below is a statement about the draw of the
questions, for any distribution, and holds in finite samples; it is not conditional on a question.

| function | event | probability |
|---|---|---|
| `split_conformal`, scores "rmse" or "mae" | that error of the new question <= half-width | 1 - α |
| `split_conformal`, scores "quantile" | at least 1 - β of its cells are inside | 1 - α |
| `split_conformal`, scores "max" | all of its cells are inside | 1 - α |
| `hierarchical_quantile` | a cell drawn at random from it is inside Ŷ ± s·q | 1 - α |
| `jackknife_plus_half_width` | as `split_conformal` with the same scores | 1 - 2α |
| `jackknife_plus`, scores "max" | all of its cells are inside | 1 - 2α |
| `hierarchical_jackknife_plus` | a cell drawn at random from it is inside | 1 - 2α |

The first four need *split* scores: every R_j and the new prediction come from one and the same
set of donor questions, and no scored question is among those donors. The last three need
*leave-one-out* scores: R_j comes from a fit without question j, and `predictions_without[j]` is
the prediction of the new question by that same fit. The first four with leave-one-out scores (the
plain jackknife) usually cover about as well, but without a guarantee. No interval is finite with
fewer than 1/α - 1 scored questions. None is valid when the new question is unlike the known ones
(chosen because it is hard, or from another survey).

Sources: Vovk, Gammerman and Shafer (2005); Barber, Candès, Ramdas and Tibshirani (2021),
"Predictive inference with the jackknife+"; Lee, Barber and Willett (2023), "Distribution-free
inference with hierarchical data". `jackknife_plus_half_width` is the jackknife+ argument applied
to a per-question error, with the triangle inequality between Ŷ and the leave-one-out predictions.

Longer than 400 lines: every function has an example.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_float, as_floats, as_mask, concrete
from ..solvers.checks import check_axes, check_positive
from ..solvers.units import largest
from .alike import alike

Level = float | Float[Array, ""]


class Interval(eqx.Module):
    """`lower` and `upper` ends, of one shape; infinite where the data allow no finite end."""

    lower: Float[Array | np.ndarray, "*cells"]
    upper: Float[Array | np.ndarray, "*cells"]

    @property
    def half_width(self) -> Float[Array | np.ndarray, "*cells"]:
        """Half of `upper - lower`."""
        return (self.upper - self.lower) / 2


def _level(name: str, value: Numbers, dtype) -> Level:
    """A probability, checked where it is known."""
    if isinstance(value, int | float):
        value, known = float(value), value  # a Python number takes the type of the arrays
    else:
        value = as_float(name, value).astype(dtype)
        known = concrete(value)
    if known is not None and not np.all((np.asarray(known) > 0) & (np.asarray(known) < 1)):
        raise ValueError(f"`{name}` must be a probability strictly between 0 and 1, got {known}")
    return value


def _rank(count: Float[Array, ""], alpha: Level) -> Float[Array, ""]:
    """⌈count · (1 - α)⌉, without letting rounding push an exact integer up by one."""
    product = count * (1 - alpha)
    return jnp.ceil(product * (1 - 16 * jnp.finfo(count.dtype).eps))


def conformal_quantile(scores: Numbers, alpha: Numbers = 0.1) -> Float[Array, ""]:
    """The ⌈(t+1)(1-α)⌉-th smallest of `scores` (t,), infinity if there are fewer.

    NaN scores (questions without an observed answer) are left out of t. If scores are exchangeable,
    a further one is at most this value with probability >= 1 - α, and <= 1 - α + 1/(t+1) if ties
    have probability zero. `alpha`: α, the probability of a miss.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), and scores that are no vector.

    **Example:**

        >>> from syndigits_jax.inference import conformal_quantile
        >>> print(conformal_quantile([0.1, 0.4, 0.2, 0.3], alpha=0.25))
        0.4
        >>> print(conformal_quantile([0.1, 0.4], alpha=0.25))  # too few scores for a finite answer
        inf
    """
    scores = as_float("scores", scores)
    check_axes(scores=(scores, "t"), empty=True)
    alpha = _level("alpha", alpha, scores.dtype)
    if not scores.shape[0]:
        return jnp.full((), jnp.inf, scores.dtype)
    valid = ~jnp.isnan(scores)
    count = jnp.sum(valid, dtype=scores.dtype)
    ordered = jnp.sort(jnp.where(valid, scores, jnp.inf))
    rank = _rank(count + 1, alpha)
    index = jnp.clip(rank - 1, 0, scores.shape[0] - 1).astype(jnp.int32)
    return jnp.where(rank > count, jnp.inf, ordered[index])


def leave_one_out_quantiles(scores: Numbers, alpha: Numbers = 0.1) -> Float[Array, " t"]:
    """For each of `scores` (t,), one per question, the conformal quantile of the *others*.

    If all t scores are exchangeable, each exceeds its own quantile with probability <= α. So a
    hold-out evaluation can measure its own coverage.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), and scores that are no vector.

    **Example:**

        >>> from syndigits_jax.inference import leave_one_out_quantiles
        >>> print(leave_one_out_quantiles([0.1, 0.4, 0.2, 0.3], alpha=0.25))
        [0.4 0.3 0.4 0.4]
    """
    scores = as_float("scores", scores)
    check_axes(scores=(scores, "t"))
    own = jnp.eye(scores.shape[0], dtype=bool)
    others = jnp.where(own, jnp.nan, scores[None, :])
    return jax.vmap(lambda row: conformal_quantile(row, alpha))(others)


def twin_scale(twin: Numbers, *, floor: Numbers) -> Float[Array, " t"]:
    """Standard deviation of the twins' answers to each question, at least `floor`.

    `twin` (t, s) has one row per question, NaN = missing. The scale of a question must be positive
    and must not depend on its human answers; a question with constant twins gets the floor.

    **Raises:** `ValueError` for a floor that is not positive, and twins that are no matrix.

    **Example:**

        >>> from syndigits_jax.inference import twin_scale
        >>> print(twin_scale([[1.0, 3.0], [2.0, 2.0]], floor=0.1).round(2))
        [1.  0.1]
    """
    twin, floor = as_floats(twin=twin, floor=floor)
    known = concrete(floor)
    if known is not None and not np.all(known > 0):
        raise ValueError(f"`floor` must be positive, or constant twins get scale 0, got {known}")
    check_axes(twin=(twin, "t s"))
    mask = ~jnp.isnan(twin)
    count = jnp.maximum(jnp.sum(mask, axis=1, dtype=twin.dtype), 1)
    mean = jnp.sum(jnp.where(mask, twin, 0), axis=1) / count
    deviation = jnp.where(mask, twin - mean[:, None], 0)
    unit = largest(deviation, 1)
    squares = jnp.sum((deviation / unit[:, None]) ** 2, axis=1) / count
    # Equal answers have no spread, whatever the rounding of their mean.
    squares = jnp.where(alike(twin, mask, 1), 0, squares)
    # The square root of 0 has an infinite derivative: replace before taking it.
    spread = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return jnp.maximum(unit * spread, floor)


def _error(
    residual: Float[Array, " s"], mask: Bool[Array, " s"], kind: str, beta: Level
) -> Float[Array, ""]:
    """One error per question; monotone in |residual|. NaN without an observed cell."""
    count = jnp.sum(mask, dtype=residual.dtype)
    size = jnp.where(mask, jnp.abs(residual), 0)
    safe = jnp.maximum(count, 1)
    if kind == "rmse":
        unit = largest(size)
        value = unit * jnp.sqrt(jnp.sum((size / unit) ** 2) / safe)
    elif kind == "mae":
        value = jnp.sum(size) / safe
    elif kind == "max":
        value = jnp.max(size)
    elif kind == "quantile":
        ordered = jnp.sort(jnp.where(mask, size, jnp.inf))
        index = jnp.clip(_rank(count, beta) - 1, 0, size.shape[0] - 1).astype(jnp.int32)
        value = ordered[index]
    else:
        raise ValueError(f"kind: 'rmse', 'mae', 'quantile' or 'max', got {kind!r}")
    return jnp.where(count > 0, value, jnp.nan)


def question_scores(
    prediction: Numbers,
    truth: Numbers,
    scale: Numbers,
    *,
    kind: str = "rmse",
    beta: Numbers = 0.1,
) -> Float[Array, " t"]:
    """One scale-free error per question (row): error of `truth - prediction`, over `scale`.

    **Arguments:**

    - `prediction`, `truth`: (t, s). `truth` is NaN where missing; a question without an observed
      answer scores NaN.
    - `scale`: (t,), positive, such as [`twin_scale`][].
    - `kind`: `"rmse"`, `"mae"`, `"max"`, or `"quantile"`: the ⌈N(1-β)⌉-th smallest of its N
      absolute residuals, inside which at least 1 - β of its cells lie.
    - `beta`: β of the `"quantile"`.

    **Raises:** `ValueError` for another `kind`, a `beta` outside (0, 1), shapes that do not fit and
    a scale that is not positive.

    **Example:**

        >>> from syndigits_jax.inference import question_scores
        >>> nan = float("nan")
        >>> print(question_scores([[1.0, 2.0, 3.0]], [[2.0, 2.0, nan]], [0.5], kind="mae").round(2))
        [1.]
    """
    prediction, truth, scale = as_floats(prediction=prediction, truth=truth, scale=scale)
    check_axes(prediction=(prediction, "t s"), truth=(truth, "t s"), scale=(scale, "t"))
    check_positive(scale=scale)
    beta = _level("beta", beta, prediction.dtype)
    mask = ~jnp.isnan(truth)
    residual = jnp.where(mask, truth - prediction, 0)
    errors = jax.vmap(lambda row, observed: _error(row, observed, kind, beta))(residual, mask)
    return errors / scale


def split_conformal(
    prediction: Numbers,
    scores: Numbers,
    scale: Numbers,
    alpha: Numbers = 0.1,
) -> Interval:
    """`prediction` ± scale · `conformal_quantile(scores)`; its coverage depends on the scores.

    The half-width is also the bound on the new question's error of the scores' kind (module
    docstring).

    **Arguments:** `prediction`: (s,) of the new question; `scores`: (t,) split scores, NaN left
    out; `scale`: the new question's own; `alpha`: α, the probability of a miss.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), shapes that do not fit and a scale
    that is not positive.

    **Example:**

        >>> from syndigits_jax.inference import split_conformal
        >>> interval = split_conformal([1.0, 2.0], [0.1, 0.4, 0.2, 0.3], scale=2.0, alpha=0.25)
        >>> print(interval.lower.round(2), interval.upper.round(2))
        [0.2 1.2] [1.8 2.8]
    """
    prediction, scores, scale = as_floats(prediction=prediction, scores=scores, scale=scale)
    check_axes(prediction=(prediction, "s"), scale=(scale, ""), empty=True)
    check_positive(scale=scale)
    width = conformal_quantile(scores, alpha) * scale
    return Interval(prediction - width, prediction + width)


def hierarchical_quantile(
    residuals: Numbers, mask: Numbers, alpha: Numbers = 0.1
) -> Float[Array, ""]:
    """Quantile of pooled cells in which each question has mass 1/(t+1), whatever its size.

    - `residuals`: (t, s) scale-free absolute residuals, one row per question; `mask`: (t, s) which
      of them are observed.

    The remaining 1/(t+1) is at infinity. Plain pooling treats cells as independent units, and
    covers too little. Questions without an observed cell are left out of t.

    **Example:**

        >>> from syndigits_jax.inference import hierarchical_quantile
        >>> residuals = [[0.1, 0.3], [0.2, 0.0], [0.4, 0.5]]
        >>> observed = [[True, True], [True, False], [True, True]]
        >>> print(hierarchical_quantile(residuals, observed, alpha=0.5).round(2))
        0.3
    """
    residuals, mask = as_float("residuals", residuals), as_mask("mask", mask)
    check_axes(residuals=(residuals, "t s"), mask=(mask, "t s"))
    alpha = _level("alpha", alpha, residuals.dtype)
    per_question = jnp.sum(mask, axis=1, dtype=residuals.dtype)
    questions = jnp.sum(per_question > 0, dtype=residuals.dtype)
    cell_mass = 1 / (jnp.maximum(per_question, 1) * (questions + 1))
    mass = jnp.where(mask, cell_mass[:, None], 0)
    return _weighted_quantile(jnp.where(mask, residuals, jnp.inf).ravel(), mass.ravel(), alpha)


def _weighted_quantile(
    values: Float[Array, " k"], mass: Float[Array, " k"], alpha: Level
) -> Float[Array, ""]:
    """Smallest value with cumulative mass >= 1 - α; infinity if the masses do not reach it."""
    order = jnp.argsort(values)
    cumulative = jnp.cumsum(mass[order])
    # Masses such as 1/10 are not exact: allow for the rounding of the sum.
    reached = cumulative >= (1 - alpha) - 64 * jnp.finfo(values.dtype).eps
    return jnp.where(jnp.any(reached), values[order][jnp.argmax(reached)], jnp.inf)


def jackknife_plus(
    predictions_without: Numbers,
    scores: Numbers,
    scale: Numbers,
    alpha: Numbers = 0.1,
) -> Interval:
    """Jackknife+ interval for every cell of a new question, from per-question scores.

    **Arguments:**

    - `predictions_without`: (t, s); row j is the new question predicted by the fit without
      question j.
    - `scores`: (t,); entry j is question j's scale-free score under that same fit; NaN leaves it
      out.
    - `scale`: the new question's own scale.
    - `alpha`: α; the interval may miss with probability 2α.

    **Returns:** an [`Interval`][] of (s,) ends.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), shapes that do not fit and a scale
    that is not positive.

    **Example:**

        >>> from syndigits_jax.inference import jackknife_plus
        >>> without = [[1.0, 2.0], [1.2, 2.0], [0.8, 2.0]]  # fits without question 0, 1 and 2
        >>> interval = jackknife_plus(without, [0.1, 0.2, 0.3], scale=1.0, alpha=0.25)
        >>> print(interval.lower.round(2), interval.upper.round(2))
        [0.5 1.7] [1.4 2.3]
    """
    predictions_without, scores, scale = as_floats(
        predictions_without=predictions_without, scores=scores, scale=scale
    )
    check_axes(
        predictions_without=(predictions_without, "t s"), scores=(scores, "t"), scale=(scale, "")
    )
    check_positive(scale=scale)
    width = (scores * scale)[:, None]
    upper_end = jax.vmap(lambda column: conformal_quantile(column, alpha), in_axes=1)
    return Interval(-upper_end(width - predictions_without), upper_end(width + predictions_without))


def jackknife_plus_half_width(
    prediction: Numbers,
    predictions_without: Numbers,
    scores: Numbers,
    scale: Numbers,
    alpha: Numbers = 0.1,
    *,
    kind: str = "rmse",
) -> Float[Array, ""]:
    """A bound h on the new question's error of that `kind`, with probability >= 1 - 2α.

    h is the conformal quantile of scores[j] · scale + distance(Ŷ, predictions_without[j]),
    in the root-mean-square, mean-absolute or (for "quantile" and "max") largest-absolute
    distance over the cells given. With "quantile" scores Ŷ ± h holds at least 1 - β of the cells.
    The error is that over the same cells: restrict both predictions to those of interest.

    **Arguments:** `prediction`: (s,) Ŷ, of the fit to all questions; `predictions_without`,
    `scores`, `scale`, `alpha`: as in [`jackknife_plus`][]; `kind`: of the scores, as in
    [`question_scores`][].

    **Raises:** `ValueError` for another `kind`, an `alpha` outside (0, 1), shapes that do not fit
    and a scale that is not positive.

    **Example:**

        >>> from syndigits_jax.inference import jackknife_plus_half_width
        >>> without = [[1.0, 2.0], [1.2, 2.0], [0.8, 2.0]]  # fits without question 0, 1 and 2
        >>> width = jackknife_plus_half_width(
        ...     [1.0, 2.0], without, [0.1, 0.2, 0.3], 1.0, 0.25, kind="max"
        ... )
        >>> print(width.round(2))
        0.5
    """
    prediction, predictions_without, scores, scale = as_floats(
        prediction=prediction, predictions_without=predictions_without, scores=scores, scale=scale
    )
    check_axes(
        prediction=(prediction, "s"),
        predictions_without=(predictions_without, "t s"),
        scores=(scores, "t"),
        scale=(scale, ""),
    )
    check_positive(scale=scale)
    distance_kind: str = "max" if kind == "quantile" else kind
    everywhere = jnp.ones(prediction.shape, dtype=bool)
    difference = predictions_without - prediction[None, :]
    distance = jax.vmap(lambda row: _error(row, everywhere, distance_kind, 0.5))(difference)
    return conformal_quantile(scores * scale + distance, alpha)


def hierarchical_jackknife_plus(
    predictions_without: Numbers,
    residuals: Numbers,
    mask: Numbers,
    scale: Numbers,
    alpha: Numbers = 0.1,
    *,
    batch_size: int = 16,
) -> Interval:
    """Jackknife+ interval for one cell drawn at random from a new question.

    **Arguments:**

    - `predictions_without`: (t, s); row j is the new question predicted by the fit without
      question j.
    - `residuals`: (t, c); row j holds the scale-free absolute residuals of question j under that
      same fit.
    - `mask`: (t, c), which of those cells are observed.
    - `scale`: the new question's own scale.
    - `alpha`: α; the interval may miss with probability 2α.
    - `batch_size`: cells in memory at a time; each sorts t · c candidate ends.

    **Returns:** an [`Interval`][] of (s,) ends.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), shapes that do not fit and a scale
    that is not positive.

    **Example:**

        >>> from syndigits_jax.inference import hierarchical_jackknife_plus
        >>> without = [[1.0, 2.0], [1.2, 2.0], [0.8, 2.0]]  # fits without question 0, 1 and 2
        >>> residuals = [[0.1, 0.3], [0.2, 0.2], [0.4, 0.1]]
        >>> observed = [[True, True], [True, True], [True, True]]
        >>> interval = hierarchical_jackknife_plus(without, residuals, observed, 1.0, 0.4)
        >>> print(interval.lower.round(2), interval.upper.round(2))
        [0.7 1.7] [1.4 2.3]
    """
    predictions_without, residuals, scale = as_floats(
        predictions_without=predictions_without, residuals=residuals, scale=scale
    )
    mask, alpha = as_mask("mask", mask), _level("alpha", alpha, residuals.dtype)
    check_axes(
        predictions_without=(predictions_without, "t s"),
        residuals=(residuals, "t c"),
        mask=(mask, "t c"),
        scale=(scale, ""),
    )
    check_positive(scale=scale)
    per_question = jnp.sum(mask, axis=1, dtype=residuals.dtype)
    questions = jnp.sum(per_question > 0, dtype=residuals.dtype)
    cell_mass = 1 / (jnp.maximum(per_question, 1) * (questions + 1))
    mass = jnp.where(mask, cell_mass[:, None], 0).ravel()
    width = residuals * scale

    def ends(column: Float[Array, " t"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        above = jnp.where(mask, width + column[:, None], jnp.inf).ravel()
        below = jnp.where(mask, width - column[:, None], jnp.inf).ravel()
        return -_weighted_quantile(below, mass, alpha), _weighted_quantile(above, mass, alpha)

    lower, upper = jax.lax.map(ends, predictions_without.T, batch_size=batch_size)
    return Interval(lower, upper)
