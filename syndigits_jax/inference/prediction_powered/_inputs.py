"""The boundary of prediction-powered inference: answers, proxies, weights, groups of rows."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ...solvers.boundary import Numbers, as_float, as_floats, concrete, host_array
from ...solvers.checks import check_penalty
from ...solvers.units import largest

LARGEST_TUNING = 1e6


class Rows(NamedTuple):
    """Answers and proxies of all rows, without NaN.

    - `answer`: (n,), 0 where not asked; `asked`: (n,) which are, with positive weight.
    - `proxy`: (n, p), 0 where missing; `known`: (n, p) where they are not.
    - `weight`: (n,) with the largest between 1 and 2.
    - `cluster`: (n,) numbers below n, or `None` where every row is one of its own.
    """

    answer: Float[Array, " n"]
    asked: Bool[Array, " n"]
    proxy: Float[Array, "n p"]
    known: Bool[Array, "n p"]
    weight: Float[Array, " n"]
    cluster: Int[Array, " n"] | None


def rows_of(
    truth: Numbers, proxies: Numbers, sample_weight: Numbers | None, clusters: Any | None
) -> Rows:
    """The rows, checked. **Raises:** `ValueError` naming the argument."""
    for name, given in (("truth", truth), ("proxies", proxies)):
        if given is None:
            raise ValueError(f"`{name}` must hold numbers, got None")
        _check_precision(name, given)
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
    if not proxies.shape[1]:
        raise ValueError("`proxies` has no column")
    weight = _weights(weight, n, truth.dtype)
    for name, values in (("truth", truth), ("proxies", proxies), ("sample_weight", weight)):
        known = concrete(values)
        if known is not None and np.isinf(known).any():
            raise ValueError(f"`{name}` holds infinity; a missing number is NaN")
    asked = ~jnp.isnan(truth) & (weight > 0)
    cluster = None if clusters is None else codes("clusters", clusters, n, n)[0]
    check_people("truth", asked, cluster)
    there = ~jnp.isnan(proxies)
    values = jnp.where(asked, truth, 0), asked, jnp.where(there, proxies, 0), there
    return Rows(*values, weight / largest(weight), cluster)


def _check_precision(name: str, values: Any) -> None:
    """Raise `ValueError` for double precision numbers that the arrays' type makes equal."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        return
    seen = values[np.isfinite(values)]
    spread = float(np.ptp(seen)) if seen.size else 0.0
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    if 0 < spread < 256 * eps * float(np.abs(seen).max(initial=0)):
        raise ValueError(
            f"`{name}` lie so far from 0 that single precision does not tell them apart: subtract "
            f"a constant, such as {seen[0]:g}"
        )


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


def check_flag(name: str, value: Any) -> bool:
    """`value` as given. **Raises:** `ValueError` unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False, got {value!r}")
    return bool(value)


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
        one, many = ("person", "people") if cluster is None else ("cluster", "clusters")
        who = f"{one} has" if count == 1 else f"{many} have"
        raise ValueError(
            f"`{name}`: {count} {who} an answer{where}, with positive weight; an interval needs at "
            "least two"
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
        missing = np.zeros(known.shape, bool)
        if known.dtype.kind in "fO":
            missing = (known != known) | np.array(
                [one is None for one in known.flat], bool
            ).reshape(known.shape)
        if np.any(missing):
            raise ValueError(f"`{name}` is missing for {int(np.sum(missing))} rows")
        try:
            values, numbers = np.unique(known, return_inverse=True)
        except TypeError:
            raise ValueError(f"`{name}` mixes labels of different kinds") from None
        found, labels = len(values), jnp.asarray(numbers.reshape(known.shape), jnp.int32)
    if labels.shape != (n,):
        raise ValueError(f"`{name}` must have shape ({n},), one label per row, got {labels.shape}")
    return labels, found


def check_level(level: Numbers) -> Float[Array, ""]:
    """The coverage of intervals. **Raises:** `ValueError` outside (0, 1)."""
    found = as_float("level", level)
    known = concrete(found)
    if found.ndim or (known is not None and not 0 < known < 1):
        raise ValueError(
            f"`level` must be a number strictly between 0 and 1, in {found.dtype}, got {level}"
        )
    return found


def given_tuning(tuning: Numbers | None, p: int, dtype: Any) -> Float[Array, " p"] | None:
    """A tuning that is given, one number per proxy."""
    if tuning is None:
        return None
    found = as_float("tuning", tuning).astype(dtype)
    known = concrete(found)
    if known is not None and not np.all(np.abs(known) <= LARGEST_TUNING):
        raise ValueError(f"`tuning` must be a moderate number, such as 0 to 1, got {tuning}")
    if found.shape not in ((), (p,)):
        raise ValueError(f"`tuning` must be a number, or one per proxy ({p},), got {found.shape}")
    return jnp.broadcast_to(found.reshape(-1), (p,))
