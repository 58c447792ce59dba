"""How far predicted distributions are from true ones, and the controls to compare them with."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_float, as_mask
from .answers import Answers
from .objective import DIVERGENCES, Divergence, as_divergence
from .options import kept_options
from .targets import Targets, make_targets

_SLACK = 1e-3
"""How far shares may be from a sum of 1, as rounded percentages are."""


def divergence_by_question(
    divergence: str | Divergence, targets: Targets, q: Numbers, *, clip: bool = True
) -> Float[Array, " m"]:
    """The divergence of every question's true distribution from the predicted one.

    **Arguments:** `divergence`: one of `DIVERGENCES`, or a [`Divergence`][]; `targets`: the true
    distributions; `q`: (m, K) predicted ones, not checked (see [`scores`][]); `clip`: floor
    probabilities as the published evaluation does (1e-6 for χ² and KL, 1e-8 for Hellinger). Without
    it χ² and KL are infinite where an option that people chose has no weight.

    **Raises:** `ValueError` for another name.
    """
    found = as_divergence(divergence)
    q = as_float("q", q).astype(targets.p.dtype)
    return found.published(targets, q) if clip else found.by_question(targets, q)


def variance_ratio(targets: Targets, q: Numbers) -> Float[Array, " m"]:
    """Variance of every predicted distribution, (m, K), over that of the true one (Figure 9).

    NaN where the true variance is 0.

    **Example:**

        >>> from syndigits_jax.distribution import make_targets
        >>> from syndigits_jax.distribution.evaluation import variance_ratio
        >>> print(variance_ratio(make_targets([[1, 1], [1, 3]]), [[0.5, 0.5], [0.5, 0.5]]).round(2))
        [1.   1.33]
    """
    q = as_float("q", q).astype(targets.p.dtype)

    def variance(p):
        p = jnp.where(targets.options, p, 0)
        p = p / jnp.sum(p, axis=1, keepdims=True)
        # Centred: the difference of two squares of values such as years would have no digits left.
        mean = jnp.sum(p * targets.values[None], axis=1, keepdims=True)
        return jnp.sum(p * (targets.values[None] - mean) ** 2, axis=1)

    true = variance(targets.p)
    return jnp.where(true > 0, variance(q) / jnp.where(true > 0, true, 1), jnp.nan)


def uniform_ensemble(answers: Answers, options: Numbers = None) -> Float[Array, "m K"]:
    """The twins as they are, equally weighted: the paper's baseline.

    `options`: (m, K) or (K,), true for the options to keep, of those that the questions have.

    **Raises:** `ValueError` for a mask that does not fit.

    **Example:**

        >>> from syndigits_jax.distribution import Answers
        >>> from syndigits_jax.distribution.evaluation import uniform_ensemble
        >>> print(uniform_ensemble(Answers.from_choices([[0, 1], [0, 0]], 2)).round(2))
        [[1.  0. ]
         [0.5 0.5]]
    """
    some = answers if options is None else answers.restricted(options)
    return some.mix(jnp.full(some.n, 1 / some.n, some.fallback.dtype))


def mean_distribution(targets: Targets, options: Numbers) -> Float[Array, "q K"]:
    """The weighted mean of the training questions' human distributions, for every new question.

    Restricted to the options that a question has, and renormalised; uniform over them where the
    mean has no mass on any.

    `options`: (q, K), which options the new questions have, or (K,) for a single one.

    **Raises:** `ValueError` for another shape, or a question without options.

    **Example:**

        >>> from syndigits_jax.distribution import make_targets
        >>> from syndigits_jax.distribution.evaluation import mean_distribution
        >>> targets = make_targets([[3, 1], [1, 1]])
        >>> print(mean_distribution(targets, [[True, True]]).round(3))
        [[0.625 0.375]]
    """
    k = targets.p.shape[1]
    given = np.atleast_2d(np.asarray(as_mask("options", options)))
    if given.ndim != 2 or given.shape[1] != k:
        raise ValueError(f"`options` must be new questions x {k} options, got {given.shape}")
    keep = kept_options(given.shape, options=given)
    mean = np.asarray(targets.weight @ targets.p)
    rows = np.where(keep, mean[None], 0)
    total = rows.sum(axis=1, keepdims=True)
    even = keep / keep.sum(axis=1, keepdims=True)
    return jnp.asarray(
        np.where(total > 0, rows / np.where(total > 0, total, 1), even), targets.p.dtype
    )


def scores(
    targets: Numbers,
    predictions: Mapping[str, Numbers],
    *,
    metrics: Sequence[str] = DIVERGENCES,
    options: Numbers = None,
    values: Numbers = None,
    clip: bool = True,
) -> dict[str, dict[str, Float[np.ndarray, " m"]]]:
    """Divergences per question, by prediction and metric.

    **Arguments:** `targets`, `options`, `values` as in [`make_targets`][]; `predictions`: (m, K)
    distributions over the options that a question has, by name; `metrics`: of `DIVERGENCES`;
    `clip` as in [`divergence_by_question`][].

    **Raises:** `ValueError` for targets, metrics or shapes that do not fit, and for predictions
    that are no distributions or have mass on an option that a question does not have.

    **Example:**

        >>> from syndigits_jax.distribution.evaluation import scores
        >>> found = scores([[3, 1], [1, 1]], {"even": [[0.5, 0.5], [0.5, 0.5]]}, metrics=["tv"])
        >>> print(found["even"]["tv"].round(2))
        [0.25 0.  ]
    """
    truth = make_targets(targets, options=options, values=values)
    found = {}
    for name, given in predictions.items():
        q = as_float(f"predictions[{name!r}]", given).astype(truth.p.dtype)
        if q.shape != truth.p.shape:
            raise ValueError(
                f"`predictions[{name!r}]` has shape {q.shape}, the targets {truth.p.shape}"
            )
        _refuse_no_distributions(name, np.asarray(q), np.asarray(truth.options))
        found[name] = {
            m: np.asarray(divergence_by_question(m, truth, q, clip=clip)) for m in metrics
        }
    return found


def _refuse_no_distributions(
    name: str, q: Float[np.ndarray, "m K"], here: Bool[np.ndarray, "m K"]
) -> None:
    mass, outside = np.where(here, q, 0).sum(axis=1), np.where(here, 0, q).sum(axis=1)
    # Comparisons with NaN are false, so NaN is refused too.
    for right, what in (
        (q.min(axis=1) >= -_SLACK, "has a negative or missing share"),
        (outside <= _SLACK, "has mass on options that `options` or the targets exclude"),
        (np.abs(mass - 1) <= _SLACK, "does not sum to 1"),
    ):
        if not right.all():
            j = int(np.argmin(right))
            raise ValueError(f"`predictions[{name!r}]`: question {j} {what}")
