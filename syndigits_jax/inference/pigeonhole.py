"""The pigeonhole bootstrap: means over questions of scores over people, when both are random.

People and questions are resampled at once (Owen, 2007, "The pigeonhole bootstrap"), or people and
blocks where questions of a block stand or fall together. It counts the noise of single answers
three times, so that intervals are a little too wide rather than too narrow.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import concrete
from ..solvers.keys import PRNGKey
from .student_t import student_t_quantile


def block_members(
    blocks: Iterable[Any] | None, count: int, name: str = "blocks"
) -> tuple[Int[np.ndarray, " t"], int]:
    """The number of every question's block, (t,), and how many blocks there are.

    **Arguments:** `blocks`: a label per question, or `None`: each is a block of its own; `count`:
    t; `name`: of the argument in errors.

    **Raises:** `ValueError` for another number of labels, or fewer than two blocks.
    """
    labels = list(range(count)) if blocks is None else list(blocks)
    if len(labels) != count:
        raise ValueError(f"`{name}` must name {count} questions, got {len(labels)}")
    names = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    if len(names) < 2:
        raise ValueError(f"`{name}`: at least two blocks of questions are needed to resample them")
    return np.array([names[label] for label in labels]), len(names)


def pigeonhole_means(
    key: PRNGKey,
    scores: Callable[[Float[Array, " n"]], Float[Array, "c t"]],
    weight: Float[Array, " n"],
    member: Int[Array, " t"],
    blocks: int,
    *,
    replicates: int = 1000,
    batch_size: int = 100,
) -> Float[Array, "r c"]:
    """Resampled means over t questions of c scores, which all see the same resamples.

    **Arguments:**

    - `key`: of the resampling.
    - `scores`: of all questions, given the weights of the people; NaN where there is none. Traced
      under `vmap`.
    - `weight`: (n,) weights of the people.
    - `member`: (t,) the block of every question, 0 to `blocks` - 1, from [`block_members`][].
    - `replicates`: r; `batch_size`: replicates at a time, which bounds memory.

    **Returns:** (r, c); NaN in a replicate without any score.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.inference.pigeonhole import pigeonhole_means
        >>> answers = jax.random.normal(jax.random.key(0), (20, 50))  # questions x people
        >>> mean = lambda people: (answers @ people / people.sum())[None]
        >>> found = pigeonhole_means(
        ...     jax.random.key(1), mean, jnp.ones(50), jnp.arange(20), 20, replicates=10
        ... )
        >>> print(found.shape)
        (10, 1)
    """
    dtype, people = weight.dtype, weight.shape[0]

    def replicate(replicate_key: PRNGKey) -> Float[Array, " c"]:
        keys = jax.random.split(replicate_key)
        drawn = _times_drawn(keys[0], people).astype(dtype)
        found = scores(drawn * weight)
        times = _times_drawn(keys[1], blocks)[member].astype(dtype)[None, :]
        times = jnp.where(jnp.isnan(found), 0, times)
        total = jnp.sum(times, axis=1)
        sums = jnp.sum(times * jnp.where(times > 0, found, 0), axis=1)
        return jnp.where(total > 0, sums / jnp.where(total > 0, total, 1), jnp.nan)

    return jax.lax.map(replicate, jax.random.split(key, replicates), batch_size=batch_size)


@functools.cache
def interval_factor(level: float, units: int) -> float:
    """By what a bootstrap standard error over so many units is multiplied for an interval.

    Student's t for the normal quantile, and n/(n - 1) for the n of the bootstrap's variance: of
    few questions or blocks a percentile interval would be too narrow. Infinite below two units.

    **Example:**

        >>> from syndigits_jax.inference.pigeonhole import interval_factor
        >>> print(round(interval_factor(0.95, 10), 2), round(interval_factor(0.95, 10000), 2))
        2.38 1.96
    """
    if units < 2:
        return float("inf")
    freedom = jnp.asarray(units - 1, jnp.result_type(float))
    quantile = concrete(student_t_quantile(level, freedom))
    assert quantile is not None
    return float(quantile) * (units / (units - 1)) ** 0.5


def wilson_interval(share: float, count: float | int, level: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of a share of `count` independent cases.

    **Arguments:** `share`: observed; `count`: of how many, also an effective number; `level`.

    **Example:**

        >>> from syndigits_jax.inference.pigeonhole import wilson_interval
        >>> print([round(end, 3) for end in wilson_interval(1.0, 20, 0.95)])
        [0.839, 1.0]
    """
    z2 = interval_factor(level, 10**9) ** 2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = (z2 * (share * (1 - share) + z2 / 4)) ** 0.5 / (1 + z2)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _times_drawn(key: PRNGKey, size: int) -> Array:
    """How often each of `size` is drawn in as many draws with replacement."""
    return jnp.bincount(jax.random.randint(key, (size,), 0, size), length=size)
