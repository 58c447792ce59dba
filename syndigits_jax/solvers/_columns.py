"""The columns of a matrix that is completed, those with missing entries apart from the others.

A refit changes missing entries alone. Where only some columns have any, the others are written
once, and the work per refit that is not products falls with their number.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .boundary import concrete
from .checks import check_count

Parts = Sequence[Float[Array, "_ n"]]
"""Rows of one transposed matrix, in order."""


def check_incomplete(incomplete: int | None, mask: Bool[Array, "n m"]) -> int:
    """The number of columns that may have missing entries, all of them for `None`.

    **Raises:** `ValueError` for a number below 1, and for one that is too small where the mask is
    known.
    """
    m = mask.shape[1]
    if incomplete is None:
        return m
    check_count("incomplete", incomplete)
    known = concrete(mask)
    if known is not None and (count := int((~known.all(axis=0)).sum())) > incomplete:
        raise ValueError(
            f"`incomplete` is {incomplete}, but {count} columns have missing entries; leave it out "
            "or count the columns in which `mask` is false anywhere"
        )
    return min(incomplete, m)


def incomplete_first(
    mask: Bool[Array, "n m"], incomplete: int
) -> tuple[Int[Array, " m"] | None, Bool[Array, ""]]:
    """The order of columns in which those with missing entries come first, and whether they fit.

    No order, `None`, where all may have some.
    """
    if incomplete == mask.shape[1]:
        return None, jnp.asarray(True)
    complete = jnp.all(mask, axis=0)
    order = jnp.argsort(complete, stable=True)
    return order, jnp.all(complete[order[incomplete:]])


def in_order(
    x: Float[Array, "... m"] | Bool[Array, "n m"], order: Int[Array, " m"] | None
) -> Array:
    """The columns of `x` in this order; as they are for `None`."""
    return x if order is None else x[..., order]


def put_back(x: Float[Array, "k m"], order: Int[Array, " m"] | None) -> Float[Array, "k m"]:
    """`x` before [`in_order`][]."""
    return x if order is None else jnp.zeros_like(x).at[:, order].set(x)


def split(xt: Float[Array, "m n"], incomplete: int) -> Parts:
    """Rows with missing entries, and the others if there are any."""
    return (xt,) if incomplete == xt.shape[0] else (xt[:incomplete], xt[incomplete:])


def times(left: Float[Array, "k m"], parts: Parts) -> Float[Array, "k n"]:
    """`left @ xt`."""
    if len(parts) == 1:
        return left @ parts[0]
    first, rest = parts
    return left[:, : len(first)] @ first + left[:, len(first) :] @ rest


def times_transpose(parts: Parts, right: Float[Array, "k n"]) -> Float[Array, "m k"]:
    """`xt @ right.T`."""
    products = [part @ right.T for part in parts]
    return products[0] if len(parts) == 1 else jnp.concatenate(products)
