"""How many factors a response matrix has: hidden entries and cumulative variance (app. A.1)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..inference.resampling import PRNGKey
from ..solvers.completion import hard_impute

CANDIDATES = (1, 3, 5, 7, 9, 11)
"""The published candidate ranks."""


def scaled_columns(
    x: Float[Array, "n m"], mask: Bool[Array, "n m"], *, min_sd: float = 1.0
) -> Float[Array, "n m"]:
    """Columns centred and divided by their observed population SD; 0 where missing.

    An SD below `min_sd` is replaced by 1: such columns are centred only (the published floor).
    """
    count = jnp.maximum(jnp.sum(mask, axis=0, dtype=x.dtype), 1)
    mean = jnp.sum(jnp.where(mask, x, 0), axis=0) / count
    centred = jnp.where(mask, x - mean[None, :], 0)
    sd = jnp.sqrt(jnp.sum(centred**2, axis=0) / count)
    return centred / jnp.where(sd < min_sd, 1, sd)[None, :]


def hide_entries(key: PRNGKey, mask: Bool[Array, "n m"], share: float = 0.2) -> Bool[Array, "n m"]:
    """Mark ⌊share · count⌋ of the observed entries, drawn uniformly without replacement."""
    draws = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf).ravel()
    order = jnp.argsort(jnp.argsort(draws))
    # The hundredth keeps rounding in single precision from losing an entry of a whole product.
    count = jnp.floor(share * jnp.sum(mask, dtype=jnp.float32) + 0.01)
    return (order < count.astype(order.dtype)).reshape(mask.shape)


class RankSelection(eqx.Module):
    """Which rank predicts hidden entries best.

    - `rank`: the candidate with the smallest mean error.
    - `candidates`: the ranks tried.
    - `errors`: ‖X̂ - X‖ / ‖X‖ over the hidden entries, per repeat and candidate. Above 1 is worse
      than predicting 0 throughout.
    """

    rank: Int[Array, ""]
    candidates: Int[Array, " k"]
    errors: Float[Array, "repeats k"]


def select_rank(
    key: PRNGKey,
    x: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    candidates: tuple[int, ...] = CANDIDATES,
    *,
    share: float = 0.2,
    repeats: int = 1,
    tol: float = 1e-4,
    max_steps: int = 1000,
) -> RankSelection:
    """Hide a share of the observed entries, hard-impute at each rank, compare on the hidden ones.

    **Arguments:**

    - `x`, `mask`: responses and where they are observed; centre the columns first
      (`scaled_columns`), or the error is mostly that of the means.
    - `candidates`: ranks, static.
    - `repeats`: how many random sets of hidden entries the errors are averaged over. The
      published protocol takes one, unseeded; its choice moves by a candidate or two.

    **Raises:** `ValueError` without candidates, for a rank beyond the matrix, or a share outside
    (0, 1).
    """
    if not candidates or min(candidates) < 1 or max(candidates) > min(x.shape):
        raise ValueError(f"candidates: ranks from 1 to {min(x.shape)}, got {candidates}")
    if not 0 < share < 1:
        raise ValueError(f"share: a fraction strictly between 0 and 1, got {share}")

    def errors(repeat_key: PRNGKey) -> Float[Array, " k"]:
        hidden = hide_entries(repeat_key, mask, share)
        kept = mask & ~hidden
        size = jnp.sqrt(jnp.sum(jnp.where(hidden, x, 0) ** 2))
        missed = []
        for rank in candidates:
            fit = hard_impute(x, kept, rank, tol=tol, max_steps=max_steps).value.completed
            missed.append(jnp.sqrt(jnp.sum(jnp.where(hidden, fit - x, 0) ** 2)))
        return jnp.stack(missed) / jnp.where(size > 0, size, 1)

    table = jax.lax.map(errors, jax.random.split(key, repeats))
    ranks = jnp.asarray(candidates)
    return RankSelection(ranks[jnp.argmin(jnp.mean(table, axis=0))], ranks, table)


def cumulative_variance(x: Float[Array, "n m"]) -> Float[Array, " k"]:
    """Share of variance that the leading 1, 2, ..., min(n, m) singular directions explain.

    Columns are demeaned first; `x` is complete (impute before). All ones if nothing varies.
    """
    centred = x - jnp.mean(x, axis=0)[None, :]
    values = jnp.linalg.svd(centred, compute_uv=False)
    running = jnp.cumsum(values**2)
    return jnp.where(running[-1] > 0, running / jnp.where(running[-1] > 0, running[-1], 1), 1)


def svd_diagnostics(
    human: Float[Array | np.ndarray, "n m"],
    twin: Float[Array | np.ndarray, "k l"],
    *,
    rank: int = 5,
    scale: bool = False,
) -> tuple[Float[Array, " p"], Float[Array, " q"]]:
    """Figure 10: the cumulative variance of humans and of twins, NaN = missing.

    Missing answers are hard-imputed at `rank`, which favours the first `rank` directions where
    much is missing. `scale=True` applies `scaled_columns` first: without it, questions with long
    scales make up most of the variance.
    """

    def one(x: Float[Array, "n m"]) -> Float[Array, " p"]:
        mask = ~jnp.isnan(x)
        filled = jnp.where(mask, x, 0)
        filled = scaled_columns(filled, mask) if scale else filled
        return cumulative_variance(hard_impute(filled, mask, rank).value.completed)

    return one(jnp.asarray(human)), one(jnp.asarray(twin))
