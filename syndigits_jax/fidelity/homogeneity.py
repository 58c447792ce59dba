"""How alike the members of a population are: cosines within it, and lengths."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers
from ..solvers.distances import population, populations
from ..solvers.exact import lengths, unit_rows
from ..solvers.precision import full_precision


class Homogeneity(eqx.Module):
    """Cosines between pairs of different members.

    **Arguments:**

    - `mean`, `sd`: over all pairs (the SD with ddof = 0).
    """

    mean: Float[Array, "*batch"]
    sd: Float[Array, "*batch"]


@full_precision
def cosine_homogeneity(x: Numbers) -> Homogeneity:
    """Mean and SD of the cosine between two different rows of `x`, over all pairs.

    Uncentred: cosines about the origin, not about the mean of the population (section 3.4). In
    O(n d²) without listing pairs, from 1 - cos = ½ |û - v̂|² about the mean of the unit vectors û,
    which is accurate even where a population has collapsed onto one direction. Fewer rows than
    dimensions cost O(n² d). Invariant to rotation and to the length of each row, not to
    translation; NaN where a row is zero.

    **Raises:** `ValueError` for fewer than two rows, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import cosine_homogeneity
        >>> result = cosine_homogeneity([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> print(result.mean.round(3), result.sd.round(3))
        0.333 0.471
    """
    x = population(x, "x", 2)
    n = x.shape[0]
    unit = unit_rows(x)
    deviations = unit - jnp.mean(unit, axis=0)[None, :]
    square = jnp.sum(deviations**2, axis=1)
    total = jnp.sum(square)
    few = n < x.shape[1]
    gram = deviations @ deviations.T if few else deviations.T @ deviations
    # The sum over all pairs of (1 - cos)², the diagonal being 0; terms linear in û - ū vanish.
    squares = n * jnp.dot(square, square) / 2 + total**2 / 2 + jnp.sum(gram**2)
    distance = total / (n - 1)
    variance = squares / (n * (n - 1)) - distance**2
    return Homogeneity(1 - distance, jnp.sqrt(jnp.maximum(variance, 0)))


def norm_ratio(x: Numbers, y: Numbers) -> Float[Array, ""]:
    """Mean length of the rows of `y` over that of `x`: below 1 where personas are shorter.

    Of degree 1 in `y` and -1 in `x`, so it does not depend on common units; invariant to rotation,
    not to translation.

    **Raises:** `ValueError` for an empty population, unequal widths, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import norm_ratio
        >>> print(norm_ratio([[3.0, 4.0], [0.0, 5.0]], [[1.0, 0.0], [0.0, 4.0]]).round(2))
        0.5
    """
    x, y = populations(x, y)
    return jnp.mean(lengths(y)) / jnp.mean(lengths(x))


def paired_norm_ratio(x: Numbers, y: Numbers) -> Float[Array, ""]:
    """Median over pairs of the length of a row of `y` over that of its row of `x`.

    Of degree 1 in `y` and -1 in `x`; invariant to rotation, not to translation.

    **Raises:** `ValueError` for populations of unequal size or width, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import paired_norm_ratio
        >>> print(paired_norm_ratio([[3.0, 4.0], [0.0, 5.0]], [[1.0, 0.0], [0.0, 4.0]]).round(2))
        0.5
    """
    x, y = populations(x, y)
    if x.shape != y.shape:
        raise ValueError(f"`y` has {len(y)} rows but `x` has {len(x)}; pairs share a row")
    return jnp.median(lengths(y) / lengths(x))
