"""What an ensemble minimises: a convex function of the distributions it predicts.

Every divergence comes in three forms: its value, a smooth lower bound (the divergence itself, where
it is smooth), and a linear lower bound with the slope of the smooth one. The last gives the
certificates, because a linear function on the simplex has its minimum at a vertex.
"""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_float
from . import divergences
from ._host import host_floats
from .options import kept_options

DivergenceName = Literal["tv", "chi2", "kl", "hellinger", "ks", "cdf_l1", "cdf_l2"]
DIVERGENCES: tuple[str, ...] = get_args(DivergenceName)
SMOOTH = ("chi2", "kl", "hellinger", "cdf_l2")
"""Divergences with a gradient everywhere; the others are polyhedral."""


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


def unit_of(name: str, targets: Targets) -> Float[Array, ""]:
    """The unit of a divergence: the mean step between options for the CDF distances, else 1."""
    if name in ("cdf_l1", "cdf_l2"):
        values = targets.values
        return (values[-1] - values[0]) / max(values.shape[0] - 1, 1)
    return jnp.ones((), targets.p.dtype)


def value(name: str, targets: Targets, q: Float[Array, "m K"]) -> Float[Array, ""]:
    """Weighted mean over questions of the divergence of `targets.p` from `q`."""
    t = targets
    match name:
        case "tv":
            d = divergences.total_variation(t.p, q, options=t.options)
        case "chi2":
            d = divergences.chi_square(t.p, q, options=t.options)
        case "kl":
            d = divergences.kullback_leibler(t.p, q, options=t.options)
        case "hellinger":
            d = divergences.hellinger(t.p, q, options=t.options)
        case "ks":
            d = divergences.kolmogorov_smirnov(t.p, q, options=t.options)
        case "cdf_l1":
            d = divergences.cdf_l1(t.p, q, options=t.options, values=t.values)
        case "cdf_l2":
            d = divergences.cdf_l2(t.p, q, options=t.options, values=t.values)
        case _:
            raise ValueError(f"divergence must be one of {DIVERGENCES}, got {name!r}")
    # The divergence of a question of weight 0 may be infinite: it is left out.
    return jnp.sum(jnp.where(t.weight > 0, t.weight * jnp.where(t.weight > 0, d, 0), 0))


def _huber(x: Array, width: Array) -> Array:
    size = jnp.abs(x)
    return jnp.where(size < width, x * x / (2 * width), size - width / 2)


def smoothed(
    name: str, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
) -> Float[Array, ""]:
    """A smooth lower bound of [`value`][] that tends to it as `width` goes to 0 (Nesterov 2005).

    **Arguments:** `name`, `targets`, `q`: as in [`value`][]; `width`: of the smoothing, positive,
    in the unit of the distributions.
    """
    t = targets
    if name in SMOOTH:
        return value(name, t, q)
    match name:
        case "tv":
            d = jnp.sum(_huber(jnp.where(t.options, t.p - q, 0), width), axis=1) / 2
        case "cdf_l1":
            difference, gaps = _cdf_parts(t, q)
            d = jnp.sum(gaps * _huber(difference, width), axis=1)
        case _:
            difference, _ = _cdf_parts(t, q)
            both = jnp.concatenate([difference, -difference], axis=1)
            d = width * (
                jax.scipy.special.logsumexp(both / width, axis=1) - jnp.log(float(both.shape[1]))
            )
    return jnp.sum(t.weight * d)


def touching(
    name: str, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
) -> Float[Array, ""]:
    """At `q`, the linear lower bound of [`value`][] whose slope is that of [`smoothed`][] there.

    For the smooth divergences this is the tangent, whose value at `q` is [`value`][]. For TV, ℓ1
    and KS it is ⟨y, P - Q⟩ at the dual point y of the smoothing, which is feasible for any width.

    **Arguments:** `name`, `targets`, `q`, `width`: as in [`smoothed`][].
    """
    t = targets
    match name:
        case "tv":
            x = jnp.where(t.options, t.p - q, 0)
            d = jnp.sum(jnp.clip(x / width, -1, 1) * x, axis=1) / 2
        case "cdf_l1":
            x, gaps = _cdf_parts(t, q)
            d = jnp.sum(gaps * jnp.clip(x / width, -1, 1) * x, axis=1)
        case "ks":
            x, _ = _cdf_parts(t, q)
            both = jnp.concatenate([x, -x], axis=1)
            d = jnp.sum(jax.nn.softmax(both / width, axis=1) * both, axis=1)
        case _:
            return value(name, t, q)
    return jnp.sum(t.weight * d)


def _cdf_parts(t: Targets, q: Array) -> tuple[Array, Array]:
    difference = divergences._cdf_difference(t.p, q, t.options)
    return difference, divergences._spacing(t.values, difference)
