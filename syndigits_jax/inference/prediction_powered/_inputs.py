"""The boundary of prediction-powered inference: answers, proxies, weights, groups of rows."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ...solvers.boundary import Numbers, as_float, as_floats, concrete, host_array
from ...solvers.checks import check_penalty


class Rows(NamedTuple):
    """Answers and proxies of all rows, without NaN.

    - `answer`: (n,), 0 where not asked; `asked`: (n,) which are, with positive weight.
    - `proxy`: (n, p), their mean where missing; `weight`: (n,).
    - `cluster`: (n,) numbers below n, or `None` where every row is one of its own.
    """

    answer: Float[Array, " n"]
    asked: Bool[Array, " n"]
    proxy: Float[Array, "n p"]
    weight: Float[Array, " n"]
    cluster: Int[Array, " n"] | None


def rows_of(
    truth: Numbers, proxies: Numbers, sample_weight: Numbers | None, clusters: Any | None
) -> Rows:
    """The rows, checked. **Raises:** `ValueError` naming the argument."""
    if sample_weight is not None:
        check_penalty("sample_weight", sample_weight)
    truth, proxies, weight = as_floats(truth=truth, proxies=proxies, sample_weight=sample_weight)
    if truth.ndim != 1:
        raise ValueError(
            f"`truth` must have shape (n,), an answer per row, got {truth.shape}; map over "
            "questions with `ppi_means` or `jax.vmap`"
        )
    n = truth.shape[0]
    if proxies.ndim not in (1, 2) or proxies.shape[0] != n:
        raise ValueError(
            f"`proxies` must have shape ({n},) or ({n}, p), a row per row of `truth`, whether "
            f"asked or not, got {proxies.shape}"
        )
    proxies = proxies[:, None] if proxies.ndim == 1 else proxies
    weight = _weights(weight, n, truth.dtype)
    for name, values in (("truth", truth), ("proxies", proxies), ("sample_weight", weight)):
        known = concrete(values)
        if known is not None and np.isinf(known).any():
            raise ValueError(f"`{name}` holds infinity; a missing number is NaN")
    asked = ~jnp.isnan(truth) & (weight > 0)
    cluster = None if clusters is None else codes("clusters", clusters, n, n)[0]
    check_people("truth", asked, cluster)
    return Rows(jnp.where(asked, truth, 0), asked, _filled(proxies, weight), weight, cluster)


def _weights(weight: Array | None, n: int, dtype: Any) -> Float[Array, " n"]:
    if weight is None:
        return jnp.ones((n,), dtype)
    if weight.shape != (n,):
        raise ValueError(f"`sample_weight` must have shape ({n},), got {weight.shape}")
    known = concrete(weight)
    if known is not None and np.isnan(known).any():
        raise ValueError("`sample_weight` holds NaN; give people who do not count weight 0")
    if known is not None and not np.any(known > 0):
        raise ValueError("`sample_weight` is zero for every row: nobody is left")
    return weight


def _filled(proxies: Float[Array, "n p"], weight: Float[Array, " n"]) -> Float[Array, "n p"]:
    """Missing proxies replaced by the mean of the others, which is another proxy of everybody."""
    known = ~jnp.isnan(proxies)
    share = jnp.where(known, weight[:, None], 0)
    total = jnp.sum(share, axis=0)
    mean = jnp.sum(share * jnp.where(known, proxies, 0), axis=0) / jnp.where(total > 0, total, 1)
    return jnp.where(known, proxies, mean[None])


def check_people(
    name: str, asked: Bool[Array, " n"], cluster: Array | None, where: str = ""
) -> None:
    """Raise `ValueError` if it is known that fewer than two people, or clusters, were asked."""
    known = concrete(asked)
    members = None if cluster is None else concrete(cluster)
    if known is None or (cluster is not None and members is None):
        return
    count = int(known.sum()) if members is None else len(np.unique(members[known]))
    if count < 2:
        who = "people have an answer" if cluster is None else "clusters have an answer"
        raise ValueError(
            f"`{name}`: {count} {who}{where}, with positive weight; an interval needs at least two"
        )


def codes(name: str, labels: Any, n: int, count: int | None = None) -> tuple[Int[Array, " n"], int]:
    """Labels of rows as numbers from 0, and how many numbers there are.

    `count`: the most that there can be, for labels that are traced: these must be such numbers.
    """
    labels = np.asarray(labels) if isinstance(labels, list | tuple) else labels
    if (known := concrete(labels)) is None:
        if count is None or not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ValueError(f"`{name}` is traced: give whole numbers from 0, and how many")
        found, labels = count, labels.astype(jnp.int32)
    else:
        known = host_array(name, labels)
        missing = known != known if known.dtype.kind in "fO" else np.zeros(known.shape, bool)
        if np.any(missing):
            raise ValueError(f"`{name}` is missing for {int(np.sum(missing))} rows")
        values, numbers = np.unique(known, return_inverse=True)
        found, labels = len(values), jnp.asarray(numbers.reshape(known.shape), jnp.int32)
    if labels.shape != (n,):
        raise ValueError(f"`{name}` must have shape ({n},), one label per row, got {labels.shape}")
    return labels, found


def check_level(level: Numbers) -> Float[Array, ""]:
    """The coverage of intervals. **Raises:** `ValueError` outside (0, 1)."""
    found = as_float("level", level)
    known = concrete(found)
    if found.ndim or (known is not None and not 0 < known < 1):
        raise ValueError(f"`level` must be a number strictly between 0 and 1, got {level}")
    return found


def given_tuning(tuning: Numbers | None, p: int, dtype: Any) -> Float[Array, " p"] | None:
    """A tuning that is given, one number per proxy."""
    if tuning is None:
        return None
    found = as_float("tuning", tuning).astype(dtype)
    if found.shape not in ((), (p,)):
        raise ValueError(f"`tuning` must be a number, or one per proxy ({p},), got {found.shape}")
    return jnp.broadcast_to(found.reshape(-1), (p,))
