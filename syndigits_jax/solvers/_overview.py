"""A design of many columns, of which few are fitted: a look at all, and blocks of some.

Looking costs one pass over the design where its first rows tell that no column is constant or far
from zero. The blocks are centred and scaled as they are gathered: nothing else of their size is
ever written.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._coordinate_descent import Columns, blocked, columns, columns_of, moves_of
from ._elastic_net_problem import Data, Problem, design_unit, from_data, positive
from ._quadratic import DesignQuadratic
from .linear_model import extremes
from .units import largest

FAR = 8.0  # means beyond this many ranges of a column ask for careful centring of all of them
ROWS = 256  # that are gathered at a time
HEAD = 64  # rows that show of most columns that they are not constant

_ALL = slice(None)


class Overview(NamedTuple):
    """What a fit of some columns needs of all, in units of the problem but for the means.

    - `mean`, `scale`, `linear` (p,): a column is worth (x - `mean`) `scale`, zero where it is
      constant; `linear` are the products with the target
    - `root`, `target` (n,): roots of the weights, which add up to one; the centred target times
      them
    - `used` (n,): where the weight is positive, as others may overflow; `None` without weights
    - `usable`: whether all that is finite, and means are near enough to be taken out in one step;
      otherwise the target is NaN
    """

    mean: Float[Array, " p"]
    scale: Float[Array, " p"]
    linear: Float[Array, " p"]
    root: Float[Array, " n"]
    used: Bool[Array, " n"] | None
    target: Float[Array, " n"]
    y_mean: Float[Array, ""]
    x_unit: Float[Array, ""]
    y_unit: Float[Array, ""]
    y_raw: Float[Array, ""]
    usable: Bool[Array, ""]


@functools.partial(jax.jit, static_argnames="fit_intercept")
def overview(data: Data, l2: Float[Array, ""], fit_intercept: bool) -> Overview:
    """One look at all columns, without a centred copy of the design."""
    x, y, weight = data
    w = jnp.ones_like(y) if weight is None else weight
    used = w > 0
    w = w / largest(w)
    w = w / positive(jnp.sum(w))
    y_mean, yc = jnp.zeros_like(y[0]), y
    if fit_intercept:
        y_mean = jnp.dot(w, y)
        y_mean = y_mean + jnp.dot(w, y - y_mean)
        y_top, y_low = extremes(y, used)
        yc = jnp.where(y_top == y_low, 0, y - y_mean)
    if weight is not None:
        yc = jnp.where(used, yc, 0)
    y_unit = largest(yc)
    yc = yc / y_unit
    rest = w * yc
    both = jnp.stack([w, rest]) @ x
    mean = both[0] if fit_intercept else jnp.zeros_like(both[0])

    def ranges(top, low):
        if not fit_intercept:
            return jnp.maximum(jnp.abs(top), jnp.abs(low)), top == low
        return top - low, (top == low) | (jnp.abs(mean) > FAR * (top - low))

    _, doubtful = ranges(*extremes(x[:HEAD], used[:HEAD]))
    sure = jnp.all(~doubtful) & jnp.any(used[:HEAD])
    top, low = jax.lax.cond(
        sure, lambda: extremes(x[:HEAD], used[:HEAD]), lambda: extremes(x, used)
    )
    size, _ = ranges(top, low)
    constant = (top == low) if fit_intercept else jnp.zeros_like(top, bool)
    near = jnp.all(constant | (jnp.abs(mean) <= FAR * size))
    x_unit = design_unit(largest(jnp.where(constant, 0, size)), l2)
    scale = jnp.where(constant, 0, 1 / x_unit)
    linear = (both[1] - mean * jnp.sum(rest)) * scale
    finite = jnp.isfinite(jnp.sum(linear) + jnp.sum(mean)) & jnp.any(used)
    y_raw = jnp.dot(w, (jnp.where(used, y, 0) / y_unit) ** 2)
    usable = (near | (not fit_intercept)) & finite
    root = jnp.sqrt(w)
    target = jnp.where(usable, root * yc, jnp.nan)
    known = None if weight is None else used
    return Overview(mean, scale, linear, root, known, target, y_mean, x_unit, y_unit, y_raw, usable)


def _centred(x, root, used, mean, scale) -> Float[Array, "n s"]:
    centred = (x - mean[None]) * scale[None] * root[:, None]
    return centred if used is None else jnp.where(used[:, None], centred, 0)


@jax.jit
def gathered(x: Float[Array, "n p"], all_: Overview, index: Int[Array, " s"]) -> Columns:
    """The columns at `index`, which is sorted best: memory is read in order.

    A few rows at a time, because a column's next row lies far away: of all of them, what is read
    with one column would have left the cache before the next column needs it.
    """
    n, s = len(x), len(index)
    mean, scale = all_.mean[index], all_.scale[index]

    if n <= 4 * ROWS:
        return columns_of(_centred(x[:, index], all_.root, all_.used, mean, scale), all_.target)

    def add(i, both):
        blocks, gram = both
        start = jnp.minimum(i * ROWS, n - ROWS)
        rows = jax.lax.dynamic_slice_in_dim(x, start, ROWS)
        root, used = jax.tree.map(
            lambda all_rows: jax.lax.dynamic_slice_in_dim(all_rows, start, ROWS),
            (all_.root, all_.used),
        )
        some = blocked(_centred(rows[:, index], root, used, mean, scale))
        # The last rows overlap with those before.
        new = jnp.where((start + jnp.arange(ROWS) >= i * ROWS)[None, None], some, 0)
        gram = gram + new @ some.transpose(0, 2, 1)
        return jax.lax.dynamic_update_slice_in_dim(blocks, some, start, axis=2), gram

    k, c, _ = jax.eval_shape(blocked, jax.ShapeDtypeStruct((1, s), x.dtype)).shape
    none = jnp.zeros((k, c, n), x.dtype), jnp.zeros((k, c, c), x.dtype)
    blocks, gram = jax.lax.fori_loop(0, -(-n // ROWS), add, none)
    return Columns(blocks, moves_of(gram), all_.target)


def problem_of(found: Columns, all_: Overview, index: Int[Array, " s"] | slice = _ALL) -> Problem:
    """The problem of the blocks `found`, as a design of its own."""
    linear, mean = all_.linear[index], all_.mean[index]
    design = found.blocks.reshape(-1, len(all_.target))[: len(linear)].T
    weight, constant = jnp.ones_like(all_.target), jnp.dot(all_.target, all_.target)
    quadratic = DesignQuadratic(design, all_.target, weight, linear, constant)
    x_raw = found.squares().ravel()[: len(linear)] + (mean / all_.x_unit) ** 2
    return Problem(quadratic, mean, all_.y_mean, all_.x_unit, all_.y_unit, x_raw, all_.y_raw)


def prepared(
    data: Data, fit_intercept: bool, l2: Float[Array, ""], careful: bool
) -> tuple[Problem, Columns]:
    """A problem and its blocks of columns, with NaN where it has to be prepared with care.

    Care is several passes over the design, for means far from zero and units of all its rows.
    """
    if not careful:
        all_ = overview(data, l2, fit_intercept)
        design = _centred(data[0], all_.root, all_.used, all_.mean, all_.scale)
        found = columns_of(design, all_.target)
        return problem_of(found, all_), found
    problem = from_data(*data, fit_intercept, l2, gram=False)
    quadratic = problem.quadratic
    assert isinstance(quadratic, DesignQuadratic)
    found = columns(quadratic)
    root = jnp.sqrt(quadratic.weight)
    linear = found.target @ (root[:, None] * quadratic.x)
    x_raw = found.squares().ravel()[: len(linear)] + (problem.x_mean / problem.x_unit) ** 2
    quadratic = DesignQuadratic(
        quadratic.x, quadratic.y, quadratic.weight, linear, quadratic.constant
    )
    return problem._replace(quadratic=quadratic, x_raw=x_raw), found


def slopes(x: Float[Array, "n p"], all_: Overview, rest: Float[Array, " n"]) -> Float[Array, " p"]:
    """The products of all columns with a residual that is weighted by roots."""
    rest = all_.root * rest
    return (rest @ x - all_.mean * jnp.sum(rest)) * all_.scale
