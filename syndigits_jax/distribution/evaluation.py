"""How far predicted distributions are from true ones, and the controls they are judged beside."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from . import divergences
from .answers import Answers
from .objective import DIVERGENCES, Targets, make_targets


def divergence_by_question(
    name: str, targets: Targets, q: Float[Array, "m K"], *, clip: bool = True
) -> Float[Array, " m"]:
    """The divergence of every question's true distribution from the predicted one.

    `clip`: floor probabilities as the published evaluation does (1e-6 for χ² and KL, 1e-8 for
    Hellinger); otherwise χ² and KL are infinite where an option that people chose has no weight.

    **Raises:** `ValueError` for another divergence.
    """
    t = targets
    floor = divergences.REFERENCE_CLIP.get(name) if clip else None
    match name:
        case "tv":
            return divergences.total_variation(t.p, q, options=t.options)
        case "chi2":
            return divergences.chi_square(t.p, q, options=t.options, clip=floor)
        case "kl":
            return divergences.kullback_leibler(t.p, q, options=t.options, clip=floor)
        case "hellinger":
            return divergences.hellinger(t.p, q, options=t.options, clip=floor)
        case "ks":
            return divergences.kolmogorov_smirnov(t.p, q, options=t.options)
        case "cdf_l1":
            return divergences.cdf_l1(t.p, q, options=t.options, values=t.values)
        case "cdf_l2":
            return divergences.cdf_l2(t.p, q, options=t.options, values=t.values)
        case _:
            raise ValueError(f"divergence must be one of {DIVERGENCES}, got {name!r}")


def variance_ratio(targets: Targets, q: Float[Array, "m K"]) -> Float[Array, " m"]:
    """Variance of every predicted distribution over that of the true one (Figure 9)."""

    def variance(p):
        p = jnp.where(targets.options, p, 0)
        p = p / jnp.sum(p, axis=1, keepdims=True)
        # About the mean: squares of values such as years would leave no digits of the difference.
        mean = jnp.sum(p * targets.values[None], axis=1, keepdims=True)
        return jnp.sum(p * (targets.values[None] - mean) ** 2, axis=1)

    true = variance(targets.p)
    return jnp.where(true > 0, variance(q) / jnp.where(true > 0, true, 1), jnp.nan)


def uniform_ensemble(answers: Answers, options: ArrayLike | None = None) -> Float[Array, "m K"]:
    """The twins as they are, equally weighted: the paper's baseline."""
    some = answers if options is None else answers.restricted(options)
    return some.mix(jnp.full(some.n, 1 / some.n, some.fallback.dtype))


def mean_distribution(targets: Targets, options: ArrayLike) -> Float[Array, "q K"]:
    """The weighted mean of the training questions' human distributions, for every new question.

    Restricted to the options that a question has, and renormalised; even over them where the mean
    has none.
    """
    keep = np.asarray(options, bool)
    mean = np.asarray(targets.weight @ targets.p)
    rows = np.where(keep, mean[None], 0)
    total = rows.sum(axis=1, keepdims=True)
    even = keep / keep.sum(axis=1, keepdims=True)
    return jnp.asarray(
        np.where(total > 0, rows / np.where(total > 0, total, 1), even), targets.p.dtype
    )


def scores(
    targets: ArrayLike,
    predictions: Mapping[str, Float[Array, "m K"]],
    *,
    metrics: Sequence[str] = DIVERGENCES,
    options: ArrayLike | None = None,
    values: ArrayLike | None = None,
    clip: bool = True,
) -> dict[str, dict[str, Float[np.ndarray, " m"]]]:
    """Divergences per question, by prediction and metric.

    **Raises:** `ValueError` for targets, metrics or shapes that do not fit.
    """
    truth = make_targets(targets, options=options, values=values)
    found = {}
    for name, q in predictions.items():
        if np.shape(q) != truth.p.shape:
            raise ValueError(
                f"predictions[{name!r}] has shape {np.shape(q)}, the targets {truth.p.shape}"
            )
        q = jnp.asarray(q, truth.p.dtype)
        found[name] = {
            m: np.asarray(divergence_by_question(m, truth, q, clip=clip)) for m in metrics
        }
    return found
