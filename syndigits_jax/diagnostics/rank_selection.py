"""The rank of a response matrix: by hidden entries and by cumulative variance (appendix A.1)."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers, as_float, as_mask, concrete
from ..solvers.checks import check_count, check_probability
from ..solvers.completion import hard_impute
from ..solvers.keys import PRNGKey
from ..solvers.units import largest

CANDIDATES = (1, 3, 5, 7, 9, 11)
"""The published candidate ranks."""


def observed(name: str, x: Numbers) -> tuple[Float[Array, "n m"], Bool[Array, "n m"]]:
    """A matrix with 0 for its missing (NaN) answers, and where it has answers.

    **Raises:** `ValueError` naming `name` for what is no matrix of numbers, and for infinities
    where values are known.
    """
    x = as_float(name, x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"`{name}` must be a matrix (users x questions), got shape {x.shape}")
    values = concrete(x)
    if values is not None and np.any(np.isinf(values)):
        raise ValueError(f"`{name}` contains infinities; code missing answers as NaN")
    mask = ~jnp.isnan(x)
    return jnp.where(mask, x, 0), mask


def _matrix_and_mask(x: Numbers, mask: Numbers) -> tuple[Float[Array, "n m"], Bool[Array, "n m"]]:
    x, mask = as_float("x", x), as_mask("mask", mask)
    if x.ndim != 2:
        raise ValueError(f"`x` must be a matrix (n, m), got shape {x.shape}")
    if mask.shape != x.shape:
        raise ValueError(f"`mask` must have the shape of `x`, {x.shape}, got {mask.shape}")
    return jnp.where(mask, x, 0), mask


def scaled_columns(x: Numbers, mask: Numbers, *, min_sd: float = 1.0) -> Float[Array, "n m"]:
    """Columns (n, m) centred and divided by their observed population SD; 0 where missing.

    An SD below `min_sd`, or zero to rounding, is replaced by 1: such columns are centred only.
    `min_sd` is in the unit of the answers; the published floor is 1. With 0 no column's unit
    matters.

    **Raises:** `ValueError` for what is no matrix of numbers with a boolean mask of its shape.
    """
    x, mask = _matrix_and_mask(x, mask)
    count = jnp.maximum(jnp.sum(mask, axis=0, dtype=x.dtype), 1)
    unit = largest(x, axis=0)
    # Less the column's smallest answer, so that equal answers become exactly 0.
    lowest = jnp.min(jnp.where(mask, x, jnp.inf), axis=0)
    raised = jnp.where(mask, x - lowest[None, :], 0) / unit[None, :]
    centred = jnp.where(mask, raised - (jnp.sum(raised, axis=0) / count)[None, :], 0)
    sd = jnp.sqrt(jnp.sum(centred**2, axis=0) / count)
    constant = sd <= jnp.finfo(x.dtype).eps
    only_centred = constant | (sd * unit < min_sd)
    return jnp.where(
        only_centred[None, :],
        centred * unit[None, :],
        centred / jnp.where(only_centred, 1, sd)[None, :],
    )


def hide_entries(
    key: PRNGKey, mask: Numbers, share: float | Float[Array, ""] = 0.2
) -> Bool[Array, "n m"]:
    """Mark ⌊share · count⌋ of the observed entries, drawn uniformly without replacement."""
    mask = as_mask("mask", mask)
    draws = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf).ravel()
    order = jnp.argsort(jnp.argsort(draws))
    # 0.01 prevents rounding in single precision from losing an entry where the product is whole.
    count = jnp.floor(share * jnp.sum(mask, dtype=jnp.float32) + 0.01)
    return (order < count.astype(order.dtype)).reshape(mask.shape)


class RankSelection(eqx.Module):
    """Which rank predicts hidden entries best.

    - `rank`: the candidate with the smallest mean error.
    - `candidates`: the ranks tried.
    - `errors`: ‖X̂ - X‖ / ‖X‖ over the hidden entries, per repeat and candidate. An error above 1
      is worse than that of predicting 0 everywhere.
    - `status`: a [`Status`][] code of each imputation.
    """

    rank: Int[Array, ""]
    candidates: Int[Array, " k"]
    errors: Float[Array, "repeats k"]
    status: Int[Array, "repeats k"]


def select_rank(
    key: PRNGKey,
    x: Numbers,
    mask: Numbers,
    candidates: tuple[int, ...] = CANDIDATES,
    *,
    share: float = 0.2,
    repeats: int = 1,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
) -> RankSelection:
    """Hide a share of the observed entries, hard-impute at each rank, compare on the hidden ones.

    **Arguments:**

    - `key`: for the hidden entries.
    - `x`, `mask`: (n, m) responses and where they are observed; centre the columns first
      (`scaled_columns`), or the error is mostly that of the means.
    - `candidates`: ranks, static.
    - `share`: share of the observed entries that is hidden.
    - `repeats`: how many random sets of hidden entries the errors are averaged over. The
      published protocol takes one, unseeded; its choice varies by a candidate or two.
    - `tol`, `max_steps`: stopping rule of [`hard_impute`][]; may be traced.

    **Returns:** a [`RankSelection`][].

    **Raises:** `ValueError` for what is no matrix of numbers with a boolean mask of its shape,
    without candidates or repeats, for a rank beyond the matrix, or a share outside (0, 1).

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.diagnostics import select_rank
        >>> x = np.outer(np.cos(np.arange(20.0)), np.sin(np.arange(1.0, 7)))
        >>> key, observed = jax.random.key(0), np.full(x.shape, True)
        >>> print(select_rank(key=key, x=x, mask=observed, candidates=(1, 2)).rank)
        1
    """
    x, mask = _matrix_and_mask(x, mask)
    if not candidates or min(candidates) < 1 or max(candidates) > min(x.shape):
        raise ValueError(f"`candidates` must be ranks from 1 to {min(x.shape)}, got {candidates}")
    check_probability(share=share)
    check_count("repeats", repeats)
    keys = jax.random.split(key, repeats)
    table, status = _hidden_errors(keys, x, mask, share, tol, max_steps, tuple(candidates))
    ranks = jnp.asarray(candidates)
    return RankSelection(ranks[jnp.argmin(jnp.mean(table, axis=0))], ranks, table, status)


@functools.partial(jax.jit, static_argnames=("candidates",))
def _hidden_errors(keys, x, mask, share, tol, max_steps, candidates: tuple[int, ...]):
    """Relative errors and statuses of every repeat and candidate."""
    x = x / largest(x)  # the errors have no unit

    def errors(repeat_key: PRNGKey) -> tuple[Float[Array, " k"], Int[Array, " k"]]:
        hidden = hide_entries(repeat_key, mask, share)
        kept = mask & ~hidden
        size = jnp.sqrt(jnp.sum(jnp.where(hidden, x, 0) ** 2))
        missed, status = [], []
        for rank in candidates:
            fit = hard_impute(x, kept, rank, tol=tol, max_steps=max_steps)
            error = jnp.where(hidden, fit.value.completed - x, 0)
            missed.append(jnp.sqrt(jnp.sum(error**2)))
            status.append(fit.status)
        return jnp.stack(missed) / jnp.where(size > 0, size, 1), jnp.stack(status)

    return jax.lax.map(errors, keys)


def cumulative_variance(x: Numbers) -> Float[Array, " k"]:
    """Share of variance that the leading 1, 2, ..., min(n, m) singular directions explain.

    Columns are centred first. `x` (n, m) must be complete: with a missing entry all shares are
    NaN. All shares are 1 if nothing varies.

    **Raises:** `ValueError` for what is no matrix of numbers.

    **Example:**

        >>> from syndigits_jax.diagnostics.rank_selection import cumulative_variance
        >>> print(cumulative_variance([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).round(2))
        [0.9 1. ]
    """
    x = as_float("x", x)
    if x.ndim != 2:
        raise ValueError(f"`x` must be a matrix (n, m), got shape {x.shape}")
    # Less the first row, so that a column of equal entries is exactly zero.
    raised = x - x[:1]
    raised = raised / largest(raised)
    values = jnp.linalg.svd(raised - jnp.mean(raised, axis=0)[None, :], compute_uv=False)
    running = jnp.cumsum(values**2)
    nothing = running[-1] == 0
    return jnp.where(nothing, 1, running / jnp.where(nothing, 1, running[-1]))


def svd_diagnostics(
    human: Numbers,
    twin: Numbers,
    *,
    rank: int = 5,
    scale: bool = False,
) -> tuple[Float[Array, " p"], Float[Array, " q"]]:
    """The cumulative variance of humans and of twins (Figure 10).

    **Arguments:**

    - `human`, `twin`: (n, m) and (k, l) answers, NaN where missing.
    - `rank`: missing answers are hard-imputed at this rank, which favours the first `rank`
      directions where much is missing.
    - `scale`: whether to apply `scaled_columns` first; without it, questions with long scales make
      up most of the variance.

    **Returns:** the shares of [`cumulative_variance`][] of the humans and of the twins.

    **Raises:** `ValueError` for what is no matrix of numbers, infinities, and a rank beyond a
    matrix.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.diagnostics import svd_diagnostics
        >>> x = np.arange(8.0).reshape(4, 2) % 3
        >>> human, twin = svd_diagnostics(x, 2 * x, rank=1)
        >>> print(human.round(3), twin.round(3))
        [0.725 1.   ] [0.725 1.   ]
    """

    def one(name: str, x: Numbers) -> Float[Array, " p"]:
        filled, mask = observed(name, x)
        filled = scaled_columns(filled, mask) if scale else filled
        return cumulative_variance(hard_impute(filled, mask, rank).value.completed)

    return one("human", human), one("twin", twin)
