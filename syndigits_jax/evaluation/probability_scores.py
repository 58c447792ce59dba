"""Scores of probabilities of a question's options: how good forecasts of answers are.

`probabilities` (..., n, k), `answers` (..., n), `mask` (..., n) and `sample_weight` (n,) are those
of [`option_forecasts`][syndigits_jax.evaluation.option_forecasts], which also makes probabilities
of points and draws. All scores here are losses: smaller is better. Log score, Brier score and
ranked probability score are proper: true probabilities have the smallest expected loss (Gneiting
and Raftery, 2007). Each is a mean over people, one for every question; NaN where none is scored.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..distribution.divergences import cdf_l2, total_variation
from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_broadcast
from .option_forecasts import as_probabilities, even_probabilities, scored_cells

Losses = Callable[..., Float[Array, "..."]]


def log_losses(p: Float[Array, "*t n k"], chosen: Float[Array, "*t n k"]) -> Float[Array, "*t n"]:
    """-log of the probability of the chosen option (nats); infinite where it is 0.

    **Arguments:** `p`: forecasts; `chosen`: 1 at the chosen option, else 0.
    """
    given = jnp.sum(jnp.where(chosen > 0, p, 0), axis=-1)
    return jnp.where(given > 0, -jnp.log(jnp.where(given > 0, given, 1)), jnp.inf)


def brier_losses(p: Float[Array, "*t n k"], chosen: Float[Array, "*t n k"]) -> Float[Array, "*t n"]:
    """Sum over the options of the squared error of their probabilities, 0 to 2.

    **Arguments:** `p`, `chosen`: as in [`log_losses`][].
    """
    return jnp.sum((p - chosen) ** 2, axis=-1)


_LOSSES: dict[str, Losses] = {
    "log": log_losses,
    "brier": brier_losses,
    "rps": lambda p, chosen, values=None: cdf_l2(p, chosen, values=values),
}

SCORES = tuple(_LOSSES)
"""Names of the scores: `"log"`, `"brier"`, `"rps"`."""


def probability_losses(
    score: str,
    probabilities: Numbers,
    answers: Numbers,
    *,
    mask: Numbers | None = None,
    values: Numbers | None = None,
) -> Float[Array, "*t n"]:
    """The loss of every answer, NaN where it is not scored: for comparisons answer by answer.

    **Arguments:** `score`: one of `SCORES`; `probabilities`, `answers`, `mask`: see the module;
    `values`: (k,) of the options, for `"rps"` only (see [`ranked_probability_score`][]).

    **Raises:** `ValueError` for another name, forecasts that are no probabilities, or shapes that
    do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation.probability_scores import probability_losses
        >>> forecasts = [[0.5, 0.5], [0.2, 0.8]]
        >>> print(probability_losses("brier", forecasts, [0, float("nan")]))
        [0.5 nan]
    """
    if score not in _LOSSES:
        raise ValueError(f"`score` must be one of {', '.join(SCORES)}, got {score!r}")
    if values is not None and score != "rps":
        raise ValueError(f"`values` are for the ranked probability score only, not {score!r}")
    p, y, weight = scored_cells(probabilities, answers, mask=mask)
    return jnp.where(weight > 0, _losses(score, p, y, values), jnp.nan)


def _losses(score: str, p, y, values) -> Float[Array, "*t n"]:
    chosen = jax.nn.one_hot(y, p.shape[-1], dtype=p.dtype)
    if values is not None and (given := as_float("values", values)).shape != p.shape[-1:]:
        raise ValueError(
            f"`values` must have shape {p.shape[-1:]}, one per option, got {given.shape}"
        )
    if score == "rps":
        return _LOSSES[score](p, chosen, values=values)
    return _LOSSES[score](p, chosen)


def _mean(score: str, probabilities, answers, mask, sample_weight, values=None):
    p, y, weight = scored_cells(probabilities, answers, mask=mask, sample_weight=sample_weight)
    # Replace before weighing: 0 · ∞ is NaN.
    loss = jnp.where(weight > 0, _losses(score, p, y, values), 0)
    total = jnp.sum(weight, axis=-1)
    mean = jnp.sum(weight * loss, axis=-1) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, jnp.nan)


def log_score(
    probabilities: Numbers,
    answers: Numbers,
    *,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Float[Array, "*t"]:
    """Mean of -log of the probability of what was answered, in nats; smaller is better.

    Infinite where an answer had probability 0; see
    [`smoothed`][syndigits_jax.evaluation.option_forecasts.smoothed].

    **Arguments:** `probabilities`, `answers`, `mask`, `sample_weight`: see the module.

    **Raises:** `ValueError` for forecasts that are no probabilities, answers that are no positions,
    and shapes or weights that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation import log_score
        >>> print(log_score([[0.5, 0.5], [0.25, 0.75]], [0, 1]).round(3))
        0.49
    """
    return _mean("log", probabilities, answers, mask, sample_weight)


def brier_score(
    probabilities: Numbers,
    answers: Numbers,
    *,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Float[Array, "*t"]:
    """Mean over people of Σ_k (p_k - [k was chosen])², from 0 to 2; smaller is better.

    Brier's own sum over all options, which for two options is twice the usual binary score.

    **Arguments:** `probabilities`, `answers`, `mask`, `sample_weight`: see the module.

    **Raises:** `ValueError` as [`log_score`][].

    **Example:**

        >>> from syndigits_jax.evaluation import brier_score
        >>> print(brier_score([[0.5, 0.5], [0.25, 0.75]], [0, 1]))
        0.3125
    """
    return _mean("brier", probabilities, answers, mask, sample_weight)


def ranked_probability_score(
    probabilities: Numbers,
    answers: Numbers,
    *,
    values: Numbers | None = None,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Float[Array, "*t"]:
    """Mean of Σ_j (F_j - [answer is at most j])² over ordered options; smaller is better.

    A forecast near the answer loses less than one far from it. With `values` every term is
    multiplied by the distance to the next option: the continuous ranked probability score of the
    discrete forecast, in units of the answers; of a point it is the absolute error.

    **Arguments:** `probabilities`, `answers`, `mask`, `sample_weight`: see the module; `values`:
    (k,) ascending values of the options, steps of 1 by default.

    **Raises:** `ValueError` as [`log_score`][].

    **Example:**

        >>> from syndigits_jax.evaluation import ranked_probability_score
        >>> forecasts = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
        >>> print(ranked_probability_score(forecasts, [0, 0]))  # near and far from the answer 0
        0.75
    """
    return _mean("rps", probabilities, answers, mask, sample_weight, values)


MEANS: Mapping[str, Callable[..., Float[Array, "*t"]]] = {
    "log": log_score,
    "brier": brier_score,
    "rps": ranked_probability_score,
}
"""The mean losses by name."""


def skill(loss: Numbers, reference: Numbers) -> Float[Array, "*t"]:
    """1 - loss / reference: 1 is perfect, 0 as good as the reference, below 0 worse.

    To be taken of mean losses: a mean of ratios rewards questions on which the reference is good.

    **Arguments:** `loss`, `reference`: mean losses, of one shape or either a number. NaN where the
    reference is not positive, or not finite.

    **Example:**

        >>> from syndigits_jax.evaluation import skill
        >>> print(skill([0.4, 0.6], [0.5, 0.5]).round(2))
        [ 0.2 -0.2]
    """
    loss, reference = as_floats(loss=loss, reference=reference)
    check_broadcast(loss=loss, reference=reference)
    usable = (reference > 0) & jnp.isfinite(reference)
    return jnp.where(usable, 1 - loss / jnp.where(usable, reference, 1), jnp.nan)


def simbench_score(
    predicted: Numbers,
    true: Numbers,
    *,
    options: Numbers | None = None,
    groups: Iterable[Any] | None = None,
) -> Float[Array, " m"]:
    """Skill of predicted answer distributions against the uniform one: 1 - TV(p̂, p) / TV(u, p).

    The score of SimBench (Hu et al., 2025). As in its published code, TV(u, p) is the mean over the
    questions of the same data set, and a model's score is the mean over questions (times 100).
    Questions that people answer evenly would otherwise have no score or one far below 0.

    **Arguments:**

    - `predicted`, `true`: (m, K) distributions over the options of m questions.
    - `options`: (m, K), true for the options that a question has; all by default.
    - `groups`: (m,) the data set of each question; by default all are of one. One of its own for
      every question gives the ratio question by question.

    **Returns:** (m,), 1 for an exact prediction and on average 0 for the uniform one; NaN where a
    distribution is missing, or all of a group's true ones are uniform.

    **Raises:** `ValueError` for what is no distribution, mass on options that do not exist, and
    shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation import simbench_score
        >>> print(simbench_score([[0.5, 0.5], [0.2, 0.8]], [[0.9, 0.1], [0.4, 0.6]]).round(2))
        [-0.6  0.2]
    """
    q, p = as_floats(
        predicted=as_probabilities("predicted", predicted), true=as_probabilities("true", true)
    )
    if q.ndim != 2 or q.shape != p.shape:
        raise ValueError(
            f"`predicted` and `true` must be questions x options of one shape, got {q.shape} and "
            f"{p.shape}: do they have the same options?"
        )
    even = even_probabilities(p.shape, p.dtype, options)
    here = even > 0
    for name, array in (("predicted", q), ("true", p)):
        outside = concrete(jnp.where(here | jnp.isnan(array), 0, array))
        if outside is not None and (outside > 1e-3).any():
            j = int(np.argwhere(outside > 1e-3)[0][0])
            raise ValueError(f"`{name}`: question {j} has mass on options that it does not have")
    distance = total_variation(q, p, options=here)
    uniform = total_variation(even, p, options=here)
    labels = ["" for _ in range(p.shape[0])] if groups is None else list(groups)
    if len(labels) != p.shape[0]:
        raise ValueError(f"`groups` must name {p.shape[0]} questions, got {len(labels)}")
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    member = jnp.asarray([number[label] for label in labels])
    known = ~jnp.isnan(uniform)
    total = jax.ops.segment_sum(jnp.where(known, uniform, 0), member, len(number))
    count = jax.ops.segment_sum(known.astype(p.dtype), member, len(number))
    return skill(distance, (total / jnp.maximum(count, 1))[member])
