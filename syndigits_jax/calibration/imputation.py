"""Missing donor responses, filled in by hard impute before a regression."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..inference.alike import alike
from ..solvers.completion import hard_impute
from .problem import scaled_columns
from .settings import Settings


class Answers(eqx.Module):
    """Responses with missing ones replaced by 0, and the mask that says which are real."""

    values: Float[Array, "..."]
    mask: Bool[Array, "..."]


def answers(x: Float[Array, "..."]) -> Answers:
    """Split NaN-coded responses into finite values and a mask."""
    mask = ~jnp.isnan(x)
    return Answers(jnp.where(mask, x, 0), mask)


def impute_donors(
    donors: Answers, settings: Settings, sample_weight: Float[Array, " n"] | None = None
) -> tuple[Float[Array, "n p"], Int[Array, ""]]:
    """Hard impute of donor responses (users x questions), and its status.

    Every question has the same weight unless `settings.imputation_scale` is `"raw"`. The rank is
    at most one less than the smaller side of the matrix: a full rank would leave nothing to fit.

    **Arguments:**

    - `donors`: the responses and where they are known.
    - `settings`: see [`Settings`][].
    - `sample_weight`: (n,) weights of the users; equal by default.

    **Returns:** the completed responses, and the status of the imputation.
    """
    rank = max(1, min(settings.imputation_rank, min(donors.values.shape) - 1))
    values, standardised = donors.values, settings.imputation_scale == "standardised"
    if standardised:
        weight = jnp.ones_like(values[:, 0]) if sample_weight is None else sample_weight
        seen = jnp.where(donors.mask, weight[:, None], jnp.zeros_like(values))
        scaled, mean, std = scaled_columns(values, seen, 0.0)
        values = jnp.where(donors.mask, scaled, 0)
    solution = hard_impute(
        values,
        donors.mask,
        rank,
        sample_weight=sample_weight,
        tol=settings.imputation_tol,
        max_steps=settings.imputation_max_steps,
    )
    completed = solution.value.completed
    if standardised:
        # What the imputation leaves in a constant column must not be scaled up to noise.
        counted = donors.mask & jnp.greater(weight, 0)[:, None]
        completed = jnp.where(alike(donors.values, counted, 0, keepdims=True), 0, completed)
        completed = jnp.where(donors.mask, donors.values, mean + std * completed)
    return completed, solution.status


def impute_both(
    human: Answers,
    twin: Answers,
    settings: Settings,
    sample_weight: Float[Array, " n"] | None = None,
) -> tuple[Float[Array, "n p"], Float[Array, "n p"], Int[Array, ""]]:
    """Apply [`impute_donors`][] to humans and to twins, each by itself.

    **Arguments:**

    - `human`, `twin`: the two sides' donor responses, of one shape.
    - `settings`, `sample_weight`: as in [`impute_donors`][].

    **Returns:** the completed humans, the completed twins, and the worse status of the two.
    """
    # One after the other in one loop: XLA would otherwise run two loops at once on the few threads
    # of a CPU's pool, which other batches of folds need.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), human, twin)
    completed, status = jax.lax.map(lambda d: impute_donors(d, settings, sample_weight), both)
    return completed[0], completed[1], jnp.max(status)
