"""The SYN-DIGITS paper's synthetic control: a fixed number of exponentiated gradient steps."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._simplex_forms import gap_scale, gram_form, relative_floor, relative_gap, residual_form
from .boundary import Numbers
from .checks import number
from .linear_model import GramStatistics, gram_statistics
from .precision import full_precision
from .simplex import uniform_weights
from .simplex_least_squares import check_gram, check_problem
from .solution import Solution, Status
from .units import largest


class _Moments(eqx.Module):
    """‖Xw - y‖² + λ‖w‖² from second moments: one product per objective and gradient.

    In units of `unit`, a power of two, like its gradient.
    """

    stats: GramStatistics
    penalty: Float[Array, ""]
    unit: Float[Array, ""]

    def __call__(self, w):
        stats = self.stats
        x, y = stats.offsets()
        along = stats.gram @ w - stats.cross
        off = jnp.dot(x - y, w)  # weights sum to one
        lever = stats.weight_sum * off
        half = along + lever * x + self.penalty * w
        value = jnp.dot(w, along - stats.cross + self.penalty * w) + stats.target_square
        return value + lever * off, 2 * half

    def size(self):
        return self.stats.raw_squares()[1]


class _Rows(eqx.Module):
    """The same from the data itself, for more donors than rows."""

    x: Float[Array, "n p"]
    y: Float[Array, " n"]
    weight: Float[Array, " n"]
    penalty: Float[Array, ""]
    unit: Float[Array, ""]

    def __call__(self, w):
        residual = self.x @ w - self.y
        weighted = self.weight * residual
        value = jnp.dot(residual, weighted) + self.penalty * jnp.dot(w, w)
        return value, 2 * (weighted @ self.x + self.penalty * w)

    def size(self):
        return jnp.dot(self.weight, self.y**2)


class _Schedule(eqx.Module):
    w: Float[Array, " p"]
    square_sum: Float[Array, " p"]
    best: Float[Array, ""]
    stalled: Int[Array, ""]
    step_size: Float[Array, ""]


def _update(state: _Schedule, value, gradient, support, step_size, slack, one) -> _Schedule:
    """One step of the paper's exponentiated gradient, with all its choices.

    The published description leaves three of them open; these reproduce the published rows:

    - the sums of squared gradients are kept per weight and include the current gradient;
    - the gradient is that of the whole objective, 2Xᵀ(Xw - y) + 2λw, neither halved nor averaged;
    - the objective is judged before the update, against the best so far; after 10 iterations
      without improvement η shrinks and the count starts again.

    Rounding noise does not count as lack of improvement (`slack`, a few units in the last place),
    so that float32 follows float64. `one` is 1 in the units of objective and gradient.
    """
    improved = value < state.best + slack
    stalled = jnp.where(improved, 0, state.stalled + 1)
    shrink = stalled >= 10
    eta = jnp.where(shrink, jnp.maximum(0.9 * state.step_size, 0.01 * step_size), state.step_size)
    square_sum = state.square_sum + gradient**2
    w = state.w * jnp.exp(-eta * gradient / (one + jnp.sqrt(square_sum)))
    w = jnp.where(support, jnp.maximum(w, 1e-18), 0)
    return _Schedule(
        w / jnp.sum(w),
        square_sum,
        jnp.minimum(value, state.best),
        jnp.where(shrink, 0, stalled),
        eta,
    )


def _exponentiated_gradient(objective, support, step_size, steps: int) -> Float[Array, " p"]:
    w = uniform_weights(support, step_size.dtype)
    zero = jnp.zeros_like(w)
    slack = 16 * float(jnp.finfo(w.dtype).eps) * jax.lax.stop_gradient(objective.size())
    infinity = jnp.full_like(step_size, jnp.inf)
    one = 1 / objective.unit
    state = _Schedule(w, zero, infinity, jnp.zeros((), jnp.int32), step_size)

    def body(_, state):
        value, gradient = objective(state.w)
        return _update(state, value, gradient, support, step_size, slack, one)

    return jax.lax.fori_loop(0, steps, body, state).w


@full_precision
def exponentiated_gradient(
    x: Numbers,
    y: Numbers,
    penalty: Numbers = 0.0,
    *,
    sample_weight: Numbers | None = None,
    support: Numbers | None = None,
    steps: int = 3000,
    step_size: Numbers = 0.01,
) -> Solution[Float[Array, " p"]]:
    """The SYN-DIGITS paper's synthetic control: 3000 steps, without a test of convergence.

    Same objective as [`simplex_least_squares`][], which solves it; this function is here to
    reproduce published numbers. From uniform weights, each step multiplies w by
    exp(-η g / (1 + √Σg²)), floors it at 1e-18 and normalises it; η starts at `step_size` and
    shrinks by 0.9 after 10 iterations without improvement, to 1% at least. The step length
    decreases like 1/√t from 0.01, so 3000 steps move a log weight by about 1 and the result is
    usually far from the minimum: its `optimality` says how far.

    **Arguments:**

    - `x`, `y`: (n, p) donors and (n,) target, without missing values; the Gram matrix is used
      where n ≥ p.
    - `penalty`: λ ≥ 0.
    - `sample_weight`: (n,) weights of the squared residuals; 1 by default.
    - `support`: (p,) donors allowed; the others get weight 0, whatever their columns hold.
    - `steps`: number of steps; static, because derivatives go through each of them.
    - `step_size`: the initial η.

    **Returns:** a `Solution` with the (p,) weights, status `FIXED_STEPS` (`NONFINITE` for NaN in
    the data or an empty support) and as `optimality` the relative Frank-Wolfe gap, on the scale
    of [`simplex_least_squares`][]. Derivatives are those of the steps taken, by unrolling.

    **Raises:** `ValueError` if shapes disagree, or a weight or the penalty is negative.

    **Example:**

        >>> from syndigits_jax.solvers import Status, exponentiated_gradient
        >>> donors = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
        >>> solution = exponentiated_gradient(donors, [1.0, 0.0, 1.0], steps=100)
        >>> print(Status(int(solution.status)).name, solution.value[0] > solution.value[1])
        FIXED_STEPS True
    """
    x, y, weight, penalty, support = check_problem(x, y, penalty, sample_weight, support)
    x = jnp.where(support[None, :], x, 0)
    if x.shape[0] >= x.shape[1]:
        stats = gram_statistics(x, y, weight, fit_intercept=False)
        return exponentiated_gradient_from_gram(
            stats, penalty, support=support, steps=steps, step_size=step_size
        )
    certificate = residual_form(x, y, penalty, weight, support)
    unit = jnp.maximum(largest(x), largest(y))
    weight_unit = largest(weight)
    rows = _Rows(
        x / unit,
        y / unit,
        weight / weight_unit,
        penalty / weight_unit / unit / unit,
        weight_unit * unit * unit,
    )
    return _run(rows, certificate, support, steps, number("step_size", step_size, x.dtype))


@full_precision
def exponentiated_gradient_from_gram(
    stats: GramStatistics,
    penalty: Numbers = 0.0,
    *,
    support: Numbers | None = None,
    steps: int = 3000,
    step_size: Numbers = 0.01,
) -> Solution[Float[Array, " p"]]:
    """[`exponentiated_gradient`][] from second moments, for Gram matrices that are available.

    **Arguments:** `stats`: from [`gram_statistics`][]; `penalty`, `support`, `steps`, `step_size`:
    as in [`exponentiated_gradient`][]. Result and errors as there.
    """
    penalty, support = check_gram(stats, penalty, support)
    certificate = gram_form(stats, penalty, support)
    x, y = stats.offsets()
    squares, target = stats.raw_squares()
    unit = largest(jnp.append(jnp.where(support, squares, 0), target))
    pair = support[:, None] & support[None, :]
    # `weight_sum` takes the units of the sums of squares, offsets keep those of the data.
    stats = GramStatistics(
        gram=jnp.where(pair, stats.gram, 0) / unit,
        cross=jnp.where(support, stats.cross, 0) / unit,
        target_square=stats.target_square / unit,
        x_mean=jnp.where(support, stats.x_mean, 0),
        y_mean=stats.y_mean,
        weight_sum=stats.weight_sum / unit,
        x_offset=jnp.where(support, x, 0),
        y_offset=y,
    )
    step_size = number("step_size", step_size, stats.gram.dtype)
    return _run(_Moments(stats, penalty / unit, unit), certificate, support, steps, step_size)


@functools.partial(jax.jit, static_argnames="steps")
def _run(objective, certificate, support, steps, step_size) -> Solution[Float[Array, " p"]]:
    form, rounding = certificate
    w = _exponentiated_gradient(objective, support, step_size, steps)
    gap = relative_gap(w, form(w), support, gap_scale(form, support))
    gap = jnp.maximum(gap, relative_floor(form, rounding, w, support))
    return Solution(w, _fixed_steps(w, gap), jnp.full((), steps, jnp.int32), gap)


def _fixed_steps(w: Float[Array, " p"], gap: Float[Array, ""]) -> Int[Array, ""]:
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(w))
    return jnp.where(finite, int(Status.FIXED_STEPS), int(Status.NONFINITE)).astype(jnp.int32)
