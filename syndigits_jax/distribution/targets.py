"""What people answered: the distributions that an ensemble is fitted to."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_float, host_floats
from .options import kept_options


class Targets(eqx.Module):
    """Human answer distributions of m questions.

    - `p`: (m, K), 0 where a question has no such option.
    - `weight`: (m,) weights of the questions, summing to 1.
    - `options`: (m, K), which options exist.
    - `values`: (K,) ascending ordinal values of the options.
    """

    p: Float[Array, "m K"]
    weight: Float[Array, " m"]
    options: Bool[Array, "m K"]
    values: Float[Array, " K"]


def make_targets(
    targets: Numbers,
    *,
    weight: Numbers = None,
    options: Numbers = None,
    values: Numbers = None,
) -> Targets:
    """Check and normalise counts or shares of answers, (m, K), NaN where there is no such option.

    **Arguments:** `targets`: the (m, K) counts or shares; `weight`: (m,) weights of the questions,
    such as sample sizes, equal by default; `options`: (m, K) or (K,), true for the options to keep:
    the rest (refusals) are dropped and what remains is renormalised; `values`: (K,) ascending
    ordinal values, 1, 2, ... by default.

    **Raises:** `ValueError` for negative or all-zero rows, infinities, NaN in an option that
    `options` says a question has, and shapes that do not fit, naming the argument.
    """
    p = counts_of(targets)
    keep = kept_options(p.shape, options=options, counts=p)
    if not np.isfinite(p[keep]).all():
        raise ValueError("`targets` must be finite")
    if (p[keep] < 0).any():
        raise ValueError("`targets` must be counts or shares of answers; some are negative")
    p = np.where(keep, p, 0)
    total = p.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise ValueError(
            f"`targets`: nobody has chosen any option of question {int(np.argmin(total[:, 0]))}"
        )
    dtype = jnp.result_type(float)
    return Targets(
        jnp.asarray(p / total, dtype),
        jnp.asarray(shares_of(weight, len(p)), dtype),
        jnp.asarray(keep),
        _scale(values, p.shape[1]),
    )


def counts_of(targets: Numbers) -> Float[np.ndarray, "m K"]:
    """`targets` as NumPy numbers. **Raises:** `ValueError` for another shape, or none known."""
    p = host_floats("targets", targets)
    if p.ndim != 2 or min(p.shape) == 0:
        raise ValueError(f"`targets` must be questions x options, got shape {p.shape}")
    unknown = np.isnan(p).all(axis=1)
    if unknown.any():
        raise ValueError(
            f"`targets` must be finite: question {int(np.argmax(unknown))} has no count"
        )
    return p


def shares_of(weight: Numbers, m: int) -> Float[np.ndarray, " m"]:
    """Weights of m questions, which sum to 1; equal ones by default.

    **Raises:** `ValueError` for another shape, negative or infinite weights, or only zeros.
    """
    if weight is None:
        return np.full(m, 1 / m)
    share = host_floats("weight", weight)
    if share.shape != (m,) or not np.isfinite(share).all() or (share < 0).any():
        raise ValueError(f"`weight` must be {m} finite numbers that are not negative")
    if share.max() == 0:
        raise ValueError("`weight`: all questions have weight 0")
    return share / share.sum()


def _scale(values: Numbers, k: int) -> Float[Array, " K"]:
    given = np.arange(1.0, k + 1) if values is None else values
    scale = as_float("values", given).astype(jnp.result_type(float))
    if scale.shape != (k,) or not (np.isfinite(scale).all() and (np.diff(scale) > 0).all()):
        raise ValueError(f"`values` must be {k} ascending numbers, one per option")
    return scale
