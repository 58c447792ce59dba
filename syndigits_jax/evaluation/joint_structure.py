"""How questions hang together, among people and among twins, beyond the sampling of people."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference.pigeonhole import interval_factor
from ..inference.sample_weight import checked_weight
from ..results.keys import Key, entropy
from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_probability
from ..solvers.precision import full_precision
from .comparison import Estimated
from .people_scores import scaled_rows

GROUPS = 40
"""Of people, each left out in turn for the errors (delete-a-group jackknife)."""

FEWEST_COMMON = 10
"""People who answered both of two questions that their correlation needs."""


class JointStructure(NamedTuple):
    """Correlations between questions, of people and of twins, with intervals over people.

    - `difference`: root mean square difference of a pair's two correlations, without what the
      sampling of people adds.
    - `size`: root mean square of people's correlations, likewise without sampling noise.
    - `people_factor`, `twin_factor`, `factor_gap`: the share of the variance of standardised
      answers that one factor explains, and that of twins less that of people. The largest
      eigenvalue of a sample is too large, by about as much on both sides: their difference is what
      the interval holds for.
    - `pairs`: of questions compared.
    """

    difference: Estimated
    size: Estimated
    people_factor: Estimated
    twin_factor: Estimated
    factor_gap: Estimated
    pairs: int


@full_precision
def joint_structure(
    human: Numbers,
    twin: Numbers,
    *,
    sample_weight: Numbers | None = None,
    level: float = 0.95,
    key: Key = 0,
) -> JointStructure:
    """How far the correlations between questions among twins are from those among people.

    The variance of every correlation is that of the delete-a-group jackknife, and is taken off the
    mean squares.

    **Arguments:** `human`, `twin`: (n, m), a row per person, NaN where missing; `sample_weight`:
    (n,) weights of the people; `level`: of intervals; `key`: of the random groups of people.

    **Returns:** a [`JointStructure`][]. A question without variance is left out; a pair that too
    few people answered counts as uncorrelated in the factors.

    **Raises:** `ValueError` for shapes that do not fit, fewer than ten people, and no pair of
    questions to compare.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.evaluation import joint_structure
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> common = jax.random.normal(keys[0], (400, 1))
        >>> human = 0.5 * common + jax.random.normal(keys[1], (400, 6))  # correlations of .2
        >>> twin = 2.0 * common + jax.random.normal(keys[2], (400, 6))  # of .8
        >>> found = joint_structure(human, twin)
        >>> print(found.difference.lower > 0.5, found.pairs)
        True 15
    """
    x, y = as_floats(human=human, twin=twin)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"`twin` must have the shape of `human`, people x questions, got {y.shape} and "
            f"{x.shape}"
        )
    if x.shape[1] < 2:
        raise ValueError(f"`human` must have at least two questions, got shape {x.shape}")
    check_probability(level=level)
    weight = checked_weight(sample_weight, x.shape[0], x.dtype)
    counted = np.flatnonzero(np.asarray(weight) > 0)
    if len(counted) < 10:
        raise ValueError(f"`human`: {len(counted)} people are too few for correlations")
    groups = min(GROUPS, len(counted))
    member = np.zeros(x.shape[0], np.int64)
    order = np.random.default_rng(entropy(key)).permutation(len(counted))
    member[counted[order]] = np.arange(len(counted)) % groups
    keep = np.arange(groups)[:, None] != member[None, :]
    keep = np.concatenate([np.ones((1, x.shape[0]), bool), keep])
    found = _replicates(x, y, weight, jnp.asarray(keep))
    gap, own, people, twins, pairs = (np.asarray(a, np.float64) for a in found)
    if not pairs > 0:
        raise ValueError("`human`: no two questions vary and were answered by the same people")

    def jackknifed(values: Float[np.ndarray, " r"], bias: bool) -> tuple[float, float]:
        whole, rest = values[0], values[1:]
        error = np.sqrt((groups - 1) / groups * np.sum((rest - rest.mean()) ** 2))
        return float(groups * whole - (groups - 1) * rest.mean() if bias else whole), float(error)

    quantile = interval_factor(level, groups) / (groups / (groups - 1)) ** 0.5

    def estimated(values: Float[np.ndarray, " r"], bias: bool) -> Estimated:
        value, error = jackknifed(values, bias)
        return Estimated(value, value - quantile * error, value + quantile * error)

    def root(squares: Float[np.ndarray, " r"]) -> Estimated:
        # The bias of a mean square is the variance of what is squared.
        value, lower, upper = (float(np.sqrt(max(e, 0.0))) for e in estimated(squares, True))
        return Estimated(value, lower, upper)

    return JointStructure(
        root(gap), root(own), estimated(people, False), estimated(twins, False),
        estimated(twins - people, False),
        int(pairs),
    )  # fmt: skip


@jax.jit
def _replicates(
    x: Float[Array, "n m"], y: Float[Array, "n m"], weight: Float[Array, " n"], keep: Array
):
    """Mean squares and shares of factors of everybody, and without each group."""
    sides = []
    for values in (x, y):
        used = ~jnp.isnan(values) & (weight > 0)[:, None]
        filled = jnp.where(used, values, 0)
        sides.append((scaled_rows(filled.T, used.T, weight).T, used.astype(x.dtype)))
    both = [_correlations(values, used, weight) for values, used in sides]
    diagonal = jnp.eye(x.shape[1], dtype=bool)
    usable = both[0][1] & both[1][1] & ~diagonal
    pairs = jnp.sum(usable)
    varies = jnp.diagonal(both[0][1] & both[1][1])
    inside = varies[:, None] & varies[None, :]
    count = jnp.maximum(jnp.sum(varies), 1).astype(x.dtype)

    def factor(r: Float[Array, "m m"]) -> Float[Array, ""]:
        r = jnp.where(usable, r, jnp.where(diagonal & inside, 1, 0).astype(r.dtype))
        return jnp.linalg.eigvalsh(r)[-1] / count

    def one(kept: Array):
        people = jnp.where(kept, weight, 0)
        r, s = (_correlations(values, used, people)[0] for values, used in sides)
        safe = jnp.maximum(pairs, 1).astype(x.dtype)
        gap = jnp.sum(jnp.where(usable, (r - s) ** 2, 0)) / safe
        own = jnp.sum(jnp.where(usable, r**2, 0)) / safe
        return gap, own, factor(r), factor(s)

    return (*jax.lax.map(one, keep), pairs // 2)


def _correlations(values: Float[Array, "n m"], used: Float[Array, "n m"], people: Array):
    """Correlation of every pair over the people who answered both, and whether it is known."""
    weighted = people[:, None] * used
    total = weighted.T @ used
    safe = jnp.where(total > 0, total, 1)
    mean = (people[:, None] * values).T @ used / safe
    square = (people[:, None] * values**2).T @ used / safe - mean**2
    product = (people[:, None] * values).T @ values / safe - mean * mean.T
    spread = square * square.T
    known = (square > 1e-5) & (square.T > 1e-5)
    common = (used * (people > 0).astype(used.dtype)[:, None]).T @ used
    r = jnp.clip(product / jnp.sqrt(jnp.where(known, spread, 1)), -1, 1)
    return jnp.where(known, r, 0), known & (common >= FEWEST_COMMON)
