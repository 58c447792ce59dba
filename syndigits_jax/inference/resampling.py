"""Standard errors, bootstrap intervals and permutation tests, all with an explicit key.

The unit that is resampled is the leading axis. For calibrated panels that should be the question
(or the user in the new-user task), never the single cell: cells of one question share its
difficulty, so resampling cells understates the uncertainty.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ..solvers.boundary import Numbers, as_float, as_floats, host_array
from ..solvers.checks import check_axes, check_count, check_probability
from ..solvers.keys import PRNGKey
from ..solvers.units import largest


def nan_mean(values: Numbers) -> Float[Array, ""]:
    """Mean over the entries (n,) that are not NaN; NaN if there is none.

    **Example:**

        >>> from syndigits_jax.inference import nan_mean
        >>> print(nan_mean([1.0, float("nan"), 3.0]))
        2.0
    """
    values = as_float("values", values)
    valid = ~jnp.isnan(values)
    count = jnp.sum(valid, dtype=values.dtype)
    total = jnp.sum(jnp.where(valid, values, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


def standard_error(values: Numbers) -> Float[Array, ""]:
    """std(ddof=1) / sqrt(count) over the entries (n,) that are not NaN; NaN below two of them.

    **Example:**

        >>> from syndigits_jax.inference import standard_error
        >>> print(standard_error([1.0, 2.0, 3.0, float("nan")]).round(3))
        0.577
    """
    values = as_float("values", values)
    valid = ~jnp.isnan(values)
    count = jnp.sum(valid, dtype=values.dtype)
    mean = jnp.sum(jnp.where(valid, values, 0)) / jnp.maximum(count, 1)
    deviation = jnp.where(valid, values - mean, 0)
    unit = largest(deviation)
    variance = jnp.sum((deviation / unit) ** 2) / jnp.maximum(count - 1, 1)
    return jnp.where(count > 1, unit * jnp.sqrt(variance / jnp.maximum(count, 1)), jnp.nan)


def _arrays(name: str, data: PyTree) -> PyTree:
    """The leaves of a pytree as floating arrays; integers and booleans keep their type."""
    if isinstance(data, list | tuple) and not any(map(_holds_numbers, data)):
        return as_float(name, data)  # nested lists of numbers

    def leaf(values):
        array = values if isinstance(values, jax.Array) else host_array(name, values)
        if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
            return jnp.asarray(array)
        return as_float(name, values)

    return jax.tree.map(leaf, data, is_leaf=lambda node: hasattr(node, "to_numpy"))


def _holds_numbers(node: Any) -> bool:
    return (hasattr(node, "shape") and node.shape != ()) or isinstance(node, Mapping)


class BootstrapResult(eqx.Module):
    """A statistic, its bootstrap standard error and its percentile interval.

    **Arguments:**

    - `estimate`: the statistic of the data themselves.
    - `standard_error`: standard deviation (ddof=1) over the replicates.
    - `lower`, `upper`: percentile interval.
    """

    estimate: Float[Array, "*value"]
    standard_error: Float[Array, "*value"]
    lower: Float[Array, "*value"]
    upper: Float[Array, "*value"]


def bootstrap(
    key: PRNGKey,
    statistic: Callable[[PyTree], Float[Array, "*value"]],
    data: PyTree,
    *,
    replicates: int = 2000,
    level: float = 0.95,
    batch_size: int | None = None,
) -> BootstrapResult:
    """Percentile bootstrap of `statistic(data)`, resampling the leading axis of `data`.

    Replicates whose statistic is NaN are skipped.

    **Arguments:**

    - `key`: of the draws.
    - `statistic`: of data like `data`, traced under `vmap`. It is compiled once if it is a function
      of an imported module, and anew in every call if it is defined in a function or in `__main__`.
    - `data`: an array or a pytree of arrays with the same leading axis (for example
      `{"calibrated": scores, "baseline": scores}` for a paired difference); rows are drawn
      together.
    - `replicates`: number of resamples.
    - `level`: coverage of the interval.
    - `batch_size`: replicates at a time, which bounds memory; all by default.

    **Returns:** a [`BootstrapResult`][].

    **Raises:** `ValueError` for an empty pytree, unequal leading axes, fewer than two replicates
    or a level outside (0, 1).

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.inference import bootstrap, nan_mean
        >>> scores = jnp.asarray([0.5, 0.7, 0.6, 0.8])
        >>> result = bootstrap(key=jax.random.key(0), statistic=nan_mean, data=scores)
        >>> print(result.estimate.round(2), result.lower < result.estimate < result.upper)
        0.65 True
    """
    data = _arrays("data", data)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"`data`: every array needs the same leading axis, got {sorted(sizes)}")
    if (0,) in sizes:
        raise ValueError("`data` is empty: there is no row to resample")
    check_count("replicates", replicates, least=2)
    check_probability(level=level)
    keys = jax.random.split(key, replicates)
    draws = _compiled(_resampled, statistic)(statistic, keys, data, batch_size or replicates)
    tail = (1 - level) / 2
    return BootstrapResult(
        estimate=as_float("statistic", statistic(data)),
        standard_error=jnp.nanstd(draws, axis=0, ddof=1),
        lower=jnp.nanquantile(draws, tail, axis=0),
        upper=jnp.nanquantile(draws, 1 - tail, axis=0),
    )


def _resampled(statistic, keys: Array, data: PyTree, batch_size: int) -> Array:
    size = jax.tree.leaves(data)[0].shape[0]

    def replicate(replicate_key):
        rows = jax.random.randint(replicate_key, (size,), 0, size)
        drawn = jax.tree.map(lambda leaf: leaf[rows], data)
        return as_float("statistic", statistic(drawn))

    return jax.lax.map(replicate, keys, batch_size=batch_size)


def _compiled(function: Callable, statistic: Callable) -> Callable:
    """`function(statistic, keys, *data, batch_size)`, which is compiled once for every statistic
    that stays what it is: one that its module holds by its name.

    What is defined elsewhere may depend on variables that change between two calls.
    """
    module = getattr(statistic, "__module__", None)
    found: Any = None if module in (None, "__main__") else sys.modules.get(module)
    for name in getattr(statistic, "__qualname__", "<none>").split("."):
        found = getattr(found, name, None)
    if found is not statistic:
        return function
    return _COMPILED[function]


class PermutationResult(eqx.Module):
    """An observed statistic and its permutation p-value."""

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]


def permutation_p_value(
    observed: Numbers,
    permuted: Numbers,
    *,
    alternative: str = "greater",
) -> Float[Array, ""]:
    """(1 + #{permuted at least as extreme}) / (B + 1): valid for any number of permutations.

    The observed arrangement counts as one of them, so the value is never 0 (Phipson and Smyth,
    2010). Values that agree up to rounding count as ties, and permuted values that are NaN as
    extreme. NaN if `observed` is.

    **Arguments:** `observed`: the statistic; `permuted`: (B,) its values under permutation;
    `alternative`: `"greater"`, `"less"` or `"two-sided"`, which doubles the smaller one-sided
    value, at most 1.

    **Raises:** `ValueError` for another alternative, and shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.inference import permutation_p_value
        >>> print(permutation_p_value(3.0, [1.0, 2.0, 3.5, 0.0]).round(2))
        0.4
    """
    _check_alternative(alternative)
    observed, permuted = as_floats(observed=observed, permuted=permuted)
    check_axes(observed=(observed, ""), permuted=(permuted, "b"))
    slack = 16 * jnp.finfo(permuted.dtype).eps * jnp.maximum(jnp.abs(observed), jnp.abs(permuted))
    count = permuted.shape[0] + 1

    def tail(extreme: Bool[Array, " b"]) -> Float[Array, ""]:
        counted = 1 + jnp.sum(extreme | jnp.isnan(permuted), dtype=permuted.dtype)
        return jnp.where(jnp.isnan(observed), jnp.nan, counted / count)

    greater = tail(permuted >= observed - slack)
    less = tail(permuted <= observed + slack)
    if alternative == "greater":
        return greater
    if alternative == "less":
        return less
    return jnp.minimum(2 * jnp.minimum(greater, less), 1)


ALTERNATIVES = ("greater", "less", "two-sided")


def _check_alternative(alternative: str) -> None:
    if alternative not in ALTERNATIVES:
        raise ValueError(f"`alternative` must be one of {ALTERNATIVES}, got {alternative!r}")


def permutation_test(
    key: PRNGKey,
    statistic: Callable[[PyTree, PyTree], Float[Array, ""]],
    x: PyTree,
    y: PyTree,
    *,
    replicates: int = 999,
    alternative: str = "greater",
    batch_size: int | None = None,
) -> PermutationResult:
    """Test that the rows of `x` and of `y` are paired at random: rows of `y` are permuted.

    **Arguments:**

    - `key`: of the permutations.
    - `statistic`: of data like `x` and `y`, a number; traced under `vmap`, and compiled as in
      [`bootstrap`][].
    - `x`, `y`: arrays, or pytrees of arrays, with rows on the leading axis.
    - `replicates`: number of permutations.
    - `alternative`: as in [`permutation_p_value`][].
    - `batch_size`: permutations at a time, which bounds memory; all by default.

    **Returns:** a [`PermutationResult`][].

    **Raises:** `ValueError` for another `alternative`, no replicate, and arrays that do not all
    have the same number of rows.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.inference import permutation_test
        >>> x = jnp.arange(8.0)
        >>> result = permutation_test(key=jax.random.key(0), statistic=jnp.dot, x=x, y=2 * x)
        >>> print(result.p_value < 0.05)
        True
    """
    _check_alternative(alternative)
    check_count("replicates", replicates)
    x, y = _arrays("x", x), _arrays("y", y)
    rows = {leaf.shape[:1] for leaf in jax.tree.leaves((x, y))}
    if len(rows) != 1 or rows & {(), (0,)}:
        raise ValueError(
            f"`x` and `y` must have the same number of rows, at least one, got {sorted(rows)}"
        )
    keys = jax.random.split(key, replicates)
    permute = _compiled(_permuted, statistic)
    permuted = permute(statistic, keys, x, y, batch_size or replicates)
    observed = as_float("statistic", statistic(x, y))
    return PermutationResult(
        observed, permutation_p_value(observed, permuted, alternative=alternative)
    )


def _permuted(statistic, keys: Array, x: PyTree, y: PyTree, batch_size: int) -> Float[Array, " b"]:
    size = jax.tree.leaves(y)[0].shape[0]

    def replicate(replicate_key):
        order = jax.random.permutation(replicate_key, size)
        permuted = jax.tree.map(lambda leaf: leaf[order], y)
        return as_float("statistic", statistic(x, permuted))

    return jax.lax.map(replicate, keys, batch_size=batch_size)


_COMPILED = {
    function: jax.jit(function, static_argnames=("statistic", "batch_size"))
    for function in (_resampled, _permuted)
}


def sign_flip_test(
    key: PRNGKey,
    differences: Numbers,
    *,
    replicates: int = 999,
    alternative: str = "two-sided",
    batch_size: int | None = None,
) -> PermutationResult:
    """Test that paired differences are symmetric about 0; the statistic is their mean.

    **Arguments:** `key`: of the signs; `differences`: (n,), for two methods scored on the same
    questions the differences of their scores per question; NaN ones are skipped; `replicates`:
    number of sign draws; `alternative`: as in [`permutation_p_value`][]; `batch_size`: draws at a
    time, which bounds memory; all by default.

    **Returns:** a [`PermutationResult`][], NaN if no difference is known.

    **Raises:** `ValueError` for another `alternative`, no replicate, and differences that are no
    vector.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.inference import sign_flip_test
        >>> better = [0.1, 0.2, 0.15, 0.1, 0.3, 0.2, 0.1, 0.25]  # by question, of one method
        >>> print(sign_flip_test(key=jax.random.key(0), differences=better).p_value < 0.05)
        True
    """
    _check_alternative(alternative)
    check_count("replicates", replicates)
    differences = as_float("differences", differences)
    check_axes(differences=(differences, "n"), empty=True)
    keys = jax.random.split(key, replicates)
    flipped = _flipped(keys, differences, batch_size or replicates)
    observed = nan_mean(differences)
    return PermutationResult(
        observed, permutation_p_value(observed, flipped, alternative=alternative)
    )


@functools.partial(jax.jit, static_argnames="batch_size")
def _flipped(keys: Array, differences: Float[Array, " n"], batch_size: int) -> Float[Array, " b"]:
    def replicate(replicate_key):
        signs = jax.random.rademacher(replicate_key, differences.shape, differences.dtype)
        return nan_mean(signs * differences)

    return jax.lax.map(replicate, keys, batch_size=batch_size)
