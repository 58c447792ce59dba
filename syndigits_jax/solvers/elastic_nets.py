"""Many elastic nets in one call."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ._on_host import fit_many, on_cpu
from .boundary import Numbers
from .checks import batch_arrays
from .elastic_net import _fit, _penalties, _stopping
from .linear_model import LinearModel
from .precision import full_precision
from .solution import Solution


@full_precision
def elastic_nets(
    x: Numbers,
    y: Numbers,
    alpha: Numbers,
    l1_ratio: Numbers,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
    tol: Numbers = 1e-4,
    max_steps: Numbers = 10_000,
    init: Numbers | None = None,
) -> Solution[LinearModel]:
    """Many problems of [`elastic_net`][], of one shape and each with its own target.

    On known arrays on a CPU, every core solves one problem after the other: none waits for the
    slowest, and the batch may be as large as the memory for its data. Inside `jit`, `vmap` and
    `grad`, and on other devices, this is `elastic_net` under `jax.vmap`.

    **Arguments:**

    - `x`: designs (b, n, p), or one design (n, p) for all. `y`: targets (b, n).
    - `alpha`, `l1_ratio`: one for all, or one each, (b,).
    - `sample_weight`: (n,) for all, or (b, n). `init`: (b, p).
    - `fit_intercept`, `tol`, `max_steps`: as in [`elastic_net`][], the same for all.

    **Returns:** a `Solution` as of [`elastic_net`][], every field with a leading axis of length b.
    Each problem has its own status; a problem with NaN leaves the others alone.

    **Raises:** `ValueError` as there, and for batches of different lengths.

    **Example:**

        >>> from syndigits_jax.solvers import elastic_nets
        >>> x = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> y = [[2.0, -2.0, 0.1, -0.1], [1.0, -1.0, 2.0, -2.0]]
        >>> print(elastic_nets(x, y, 0.25, l1_ratio=1.0).value.coef.round(2))
        [[1.5 0. ]
         [0.5 1.5]]
    """
    x, y, sample_weight = batch_arrays(x, y, sample_weight)
    batch = len(y)
    for name, value in (("alpha", alpha), ("l1_ratio", l1_ratio)):
        if np.shape(value) not in ((), (batch,)):
            raise ValueError(
                f"`{name}` must be a scalar or have shape ({batch},), one per row of "
                f"`y`, got {np.shape(value)}"
            )
    penalties = _penalties("alpha", alpha, l1_ratio, x.dtype)
    stopping = _stopping(tol, max_steps, init, (batch, x.shape[-1]), x.dtype)
    data = x, y, sample_weight
    if batch and on_cpu(data, penalties, stopping):
        return fit_many(data, penalties, *stopping, fit_intercept)
    return _fit_batch(data, penalties, *stopping, fit_intercept)


@functools.partial(jax.jit, static_argnames="fit_intercept")
def _fit_batch(data, penalties, tol, max_steps, init, fit_intercept) -> Solution[LinearModel]:
    """[`_fit`][] for every target."""
    x, _, weight = data

    def axis(array, batched: int) -> int | None:
        return 0 if array is not None and jnp.ndim(array) == batched else None

    in_axes = (
        (axis(x, 3), 0, axis(weight, 2)),
        tuple(axis(part, 1) for part in penalties),
        None,
        None,
        0,
        None,
    )
    return jax.vmap(_fit, in_axes=in_axes)(data, penalties, tol, max_steps, init, fit_intercept)
