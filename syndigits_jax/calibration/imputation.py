"""Missing donor responses, filled in by hard impute before a regression."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..inference.alike import alike
from ..panel import Responses
from ..solvers.completion import hard_impute
from .problem import scaled_columns
from .settings import Settings


def impute_donors(
    donors: Responses, weight: Float[Array, " n"] | None, settings: Settings
) -> tuple[Responses, Int[Array, ""]]:
    """Hard impute of donor responses (users x questions), and its status.

    Every question has the same weight unless `settings.imputation.scale` is `"raw"`. The rank is
    at most one less than the smaller side of the matrix: a full rank would leave nothing to fit.

    **Arguments:**

    - `donors`: (n, p) responses.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].

    **Returns:** the completed responses, and the status of the imputation.
    """
    rule = settings.imputation
    rank = max(1, min(rule.rank, min(donors.shape) - 1))
    values, standardised = donors.values, rule.scale == "standardised"
    if standardised:
        ones = jnp.ones_like(values[:, 0]) if weight is None else weight
        seen = jnp.where(donors.mask, ones[:, None], jnp.zeros_like(values))
        scaled, mean, std = scaled_columns(values, seen, 0.0)
        values = jnp.where(donors.mask, scaled, 0)
    solution = hard_impute(
        values,
        donors.mask,
        rank,
        sample_weight=weight,
        tol=rule.tol,
        max_steps=rule.max_steps,
    )
    completed = solution.value.completed
    if standardised:
        # What the imputation leaves in a constant column must not be scaled up to noise.
        counted = donors.mask & jnp.greater(ones, 0)[:, None]
        completed = jnp.where(alike(donors.values, counted, 0, keepdims=True), 0, completed)
        completed = jnp.where(donors.mask, donors.values, mean + std * completed)
    return Responses.complete(completed), solution.status


def impute_both(
    human: Responses, twin: Responses, weight: Float[Array, " n"] | None, settings: Settings
) -> tuple[Responses, Responses, Int[Array, ""]]:
    """Apply [`impute_donors`][] to humans and to twins, each by itself.

    **Arguments:**

    - `human`, `twin`: (n, p) the two sides' donor responses.
    - `weight`, `settings`: as in [`impute_donors`][].

    **Returns:** the completed humans, the completed twins, and the worse status of the two.
    """
    # One after the other in one loop: XLA would otherwise run two loops at once on the few threads
    # of a CPU's pool, which other batches of folds need.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), human, twin)
    completed, status = jax.lax.map(lambda side: impute_donors(side, weight, settings), both)
    return completed.rows(0), completed.rows(1), jnp.max(status)
