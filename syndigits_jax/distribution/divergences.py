"""Divergences between answer distributions: pure functions of arrays, exact (sub)gradients.

All take `p`, `q` and the mask `options` of shape (..., K), broadcast against each other, and reduce
the last axis. `p` and `q` are distributions over the options that a question has; entries at other
options are ignored. **Raises:** `ValueError` for input that is not numeric, or sizes that differ
and, where numbers are known, for negative shares under a root or a logarithm, and values of options
that do not ascend.

KS and the two CDF distances are distances between positions on a scale. An option that a question
lacks takes no mass but keeps its place: options 1 and 4 are three steps apart whether or not
options 2 and 3 exist.

Multiplying `p` and `q` by a number multiplies every divergence by it (without `clip`), and
[`cdf_l2`][] by its square; multiplying `values` multiplies both CDF distances.
"""

from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_float, as_floats, as_mask, concrete
from ..solvers.checks import check_broadcast, check_penalty

Options = Bool[Array, "..."] | None

REFERENCE_CLIP: Mapping[str, float] = MappingProxyType(
    {"chi2": 1e-6, "kl": 1e-6, "hellinger": 1e-8}
)
"""The smallest probabilities in the published code: see `clip` of each function."""


def _given(p: Numbers, q: Numbers, options: Numbers) -> tuple[Array, Array, Options]:
    x, y = as_floats(p=p, q=q)
    if x is None or y is None or x.ndim == 0 or y.ndim == 0:
        raise ValueError("`p` and `q` must be shares of options, (..., K)")
    mask = None if options is None else as_mask("options", options)
    sizes = [array.shape[-1] for array in (x, y, mask) if array is not None and array.ndim]
    if len(set(sizes)) > 1:
        raise ValueError(f"`p`, `q` and `options` must have the same number of options: {sizes}")
    if x.shape[-1] == 0:
        raise ValueError("`p` and `q` must be shares of options, (..., K), but there is no option")
    check_broadcast(p=x, q=y, **({} if mask is None else {"options": mask}))
    return x, y, mask


def _shares(p: Numbers, q: Numbers, options: Numbers) -> tuple[Array, Array, Options]:
    """As `_given`, of which nothing is negative where it is known: there are no roots and logs."""
    given = _given(p, q, options)
    check_penalty("p", given[0])
    check_penalty("q", given[1])
    return given


def _only(options: Options, *terms: Array) -> tuple[Array, ...]:
    """`terms`, 0 where an option does not exist."""
    return terms if options is None else tuple(jnp.where(options, t, 0) for t in terms)


def _at_least(x: Array, clip: float | None) -> Array:
    return x if clip is None else jnp.maximum(x, jnp.asarray(clip, x.dtype))


@jax.custom_jvp
def _over(x: Array, y: Array) -> Array:
    """x / y, with a slope that is finite where 1 / y² is not, as for shares of 1e-20."""
    return x / y


@_over.defjvp
def _over_slope(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    ratio = x / y
    return ratio, (dx - ratio * dy) / y


def total_variation(p: Numbers, q: Numbers, *, options: Numbers = None) -> Float[Array, "..."]:
    """TV = ½ Σ |p - q|. `options`: (..., K), which options a question has; all by default.

    **Example:**

        >>> from syndigits_jax.distribution import total_variation
        >>> print(total_variation([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]))
        0.25
    """
    p, q, options = _given(p, q, options)
    p, q = _only(options, p, q)
    return jnp.sum(jnp.abs(p - q), axis=-1) / 2


def _sum(terms: Array, options: Options) -> Array:
    return jnp.sum(terms if options is None else jnp.where(options, terms, 0), axis=-1)


def chi_square(
    p: Numbers,
    q: Numbers,
    *,
    options: Numbers = None,
    clip: float | None = None,
) -> Float[Array, "..."]:
    """χ² = Σ p² / q - 1; infinite where q is 0 and p is not.

    **Arguments:** `p`, `q`: (..., K) distributions; `options`: (..., K), which options a question
    has, all by default; `clip`: smallest q, in the paper's formula. Without it the sum is
    Σ (p - q)² / q, which is the same for distributions and keeps its digits where they are close.

    **Example:**

        >>> from syndigits_jax.distribution import chi_square
        >>> print(chi_square([0.5, 0.5], [0.25, 0.75]).round(3))
        0.333
    """
    p, q, options = _shares(p, q, options)
    if clip is not None:
        return _sum(p * p / _at_least(q, clip), options) - 1
    either = (p > 0) | (q > 0)
    return _sum(jnp.where(either, (p - q) * _over(p - q, jnp.where(either, q, 1)), 0), options)


def kullback_leibler(
    p: Numbers,
    q: Numbers,
    *,
    options: Numbers = None,
    clip: float | None = None,
) -> Float[Array, "..."]:
    """KL = Σ p log(p / q); infinite where q is 0 and p is not.

    **Arguments:** `p`, `q`, `options`: as in [`chi_square`][]; `clip`: smallest p and q, in the
    paper's formula. Without it q - p, which sums to 0, is added to every term: no term is then
    negative, and none cancels where the distributions are close.

    **Example:**

        >>> from syndigits_jax.distribution import kullback_leibler
        >>> print(kullback_leibler([0.5, 0.5], [0.25, 0.75]).round(3))
        0.144
    """
    p, q, options = _shares(p, q, options)
    if clip is not None:
        p, q = _at_least(p, clip), _at_least(q, clip)
        return _sum(p * (jnp.log(p) - jnp.log(q)), options)
    some = p > 0
    rough = jnp.log(jnp.where(some, p, 1)) - jnp.log(jnp.where(some, q, 1))
    # Close together, the difference of logarithms has few digits, though its slope has all.
    near = some & (p > q / 2) & (p < 2 * q)
    fine = jnp.log1p(jnp.where(near, p - q, 0) / jnp.where(near, q, 1))
    log_ratio = rough + jax.lax.stop_gradient(jnp.where(near, fine - rough, 0))
    return _sum(jnp.where(some, p * log_ratio - p + q, q), options)


def hellinger(
    p: Numbers,
    q: Numbers,
    *,
    options: Numbers = None,
    clip: float | None = None,
) -> Float[Array, "..."]:
    """Squared Hellinger distance H² = 1 - Σ √(p q).

    **Arguments:** `p`, `q`, `options`: as in [`chi_square`][]; `clip`: smallest p and q, in the
    paper's formula. Without it the sum is ½ Σ (√p - √q)², which is the same for distributions and
    keeps its digits where they are close.

    **Example:**

        >>> from syndigits_jax.distribution import hellinger
        >>> print(hellinger([0.5, 0.5], [0.25, 0.75]).round(3))
        0.034
    """
    p, q, options = _shares(p, q, options)
    if clip is not None:
        p, q = _at_least(p, clip), _at_least(q, clip)
        return 1 - _sum(jnp.sqrt(p * q), options)
    some = p > 0
    root_p = jnp.sqrt(jnp.where(some, p, 1))
    root_q = jnp.sqrt(jnp.where(some, q, 1))
    return _sum(jnp.where(some, ((p - q) / (root_p + root_q)) ** 2, q), options) / 2


def _between(options: Bool[Array, "..."]) -> Bool[Array, "..."]:
    """(..., K - 1): whether a question has an option here or before, and one after."""
    some = options.astype(jnp.int32)
    before = jnp.cumsum(some, axis=-1)
    return (before[..., :-1] > 0) & (before[..., :-1] < before[..., -1:])


def _cdf_difference(p: Array, q: Array, options: Options) -> Array:
    """F - G at every option but the last, where both are 1; 0 outside a question's options."""
    p, q = _only(options, p, q)
    difference = jnp.cumsum(p - q, axis=-1)[..., :-1]
    return difference if options is None else jnp.where(_between(options), difference, 0)


def _spacing(values: Numbers, like: Array) -> Array:
    """Distance from every option to the next one, (..., K - 1); 1 without `values`.

    The distance of an option that a question lacks still counts: F and G are constant across it.
    """
    if values is None:
        return jnp.ones_like(like)
    scale = as_float("values", values).astype(like.dtype)
    if scale.ndim == 0 or scale.shape[-1] != like.shape[-1] + 1:
        raise ValueError(
            f"`values` must have one entry per option, {like.shape[-1] + 1}, got {scale.shape}"
        )
    gaps = jnp.diff(scale, axis=-1)
    if (known := concrete(gaps)) is not None and not np.all(known > 0):
        raise ValueError("`values` must be finite and ascending")
    return jnp.broadcast_to(gaps, like.shape)


def kolmogorov_smirnov(p: Numbers, q: Numbers, *, options: Numbers = None) -> Float[Array, "..."]:
    """KS = max |F - G| of the distribution functions over ordered options.

    Where several options attain the maximum, the gradient is shared between them.

    **Example:**

        >>> from syndigits_jax.distribution import kolmogorov_smirnov
        >>> print(kolmogorov_smirnov([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]))
        0.25
    """
    p, q, options = _given(p, q, options)
    difference = jnp.abs(_cdf_difference(p, q, options))
    if not difference.shape[-1]:  # of one option only
        return jnp.zeros(difference.shape[:-1], difference.dtype)
    return jnp.max(difference, axis=-1)


def cdf_l1(
    p: Numbers,
    q: Numbers,
    *,
    options: Numbers = None,
    values: Numbers = None,
) -> Float[Array, "..."]:
    """∫ |F - G|, the 1-Wasserstein distance of ordered options.

    **Arguments:** `p`, `q`, `options`: as in [`chi_square`][]; `values`: (..., K) ascending ordinal
    values of the options; 1, 2, ... (the paper's) by default.

    **Example:**

        >>> from syndigits_jax.distribution import cdf_l1
        >>> print(cdf_l1([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))  # two steps on the scale
        2.0
    """
    p, q, options = _given(p, q, options)
    difference = _cdf_difference(p, q, options)
    return jnp.sum(_spacing(values, difference) * jnp.abs(difference), axis=-1)


def cdf_l2(
    p: Numbers,
    q: Numbers,
    *,
    options: Numbers = None,
    values: Numbers = None,
) -> Float[Array, "..."]:
    """∫ (F - G)², the Cramér distance of ordered options.

    **Arguments:** `p`, `q`, `options`, `values`: as in [`cdf_l1`][].

    **Example:**

        >>> from syndigits_jax.distribution import cdf_l2
        >>> print(cdf_l2([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], values=[1, 2, 5]))
        0.75
    """
    p, q, options = _given(p, q, options)
    difference = _cdf_difference(p, q, options)
    return jnp.sum(_spacing(values, difference) * difference**2, axis=-1)
