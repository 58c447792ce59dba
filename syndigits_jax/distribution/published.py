"""The published optimiser, step for step: mirror descent for a fixed number of iterations."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.precision import full_precision
from .design import DenseDesign, support_of
from .divergences import REFERENCE_CLIP
from .targets import Targets

STEPS = 100_000
STEP_SIZE = 0.01
GRADIENT_NORM = 10.0
LOG_RANGE = 10.0
SMALLEST = 1e-8
RIDGE = 1e-6
MEAN_PENALTY = 1e-7
SIGN_WIDTH = 1e-6
KS_TEMPERATURE = 10.0

_CHUNK = 2000  # steps between two reports of progress


def _sign(x: Array) -> Array:
    return jnp.clip(x / SIGN_WIDTH, -1, 1)


# Options are the last axis but one below, questions the last: sums over options add whole rows.


def _tail_sums(x: Array) -> Array:
    return jnp.flip(jnp.cumsum(jnp.flip(x, -2), -2), -2)


def _ratio(name: str, p: Array, q: Array) -> Array:
    clip = REFERENCE_CLIP[name]
    return (p if name == "chi2" else jnp.maximum(p, clip)) / jnp.maximum(q, clip)


def _cdf_difference(p: Array, q: Array) -> Array:
    # F and G are both 1 at the last option: rounding there, divided by 1e-6 in the signs, would
    # shift mass between the fitted block and the frozen one in every step.
    last = jnp.arange(q.shape[-2])[None, :, None] == q.shape[-2] - 1
    return jnp.where(last, 0, jnp.cumsum(p - q, axis=-2))


def _ks_slope(p: Array, q: Array) -> Array:
    difference = _cdf_difference(p, q)
    share = jax.nn.softmax(KS_TEMPERATURE * jnp.abs(difference), axis=-2)
    return _tail_sums(-share * _sign(difference))


_SLOPES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "tv": lambda p, q: -_sign(p - q),
        "chi2": lambda p, q: -(_ratio("chi2", p, q) ** 2),
        "kl": lambda p, q: -_ratio("kl", p, q),
        "hellinger": lambda p, q: -jnp.sqrt(_ratio("hellinger", p, q)) / 2,
        "ks": _ks_slope,
        "cdf_l1": lambda p, q: _tail_sums(-_sign(_cdf_difference(p, q))),
        "cdf_l2": lambda p, q: _tail_sums(-2 * jnp.cumsum(_cdf_difference(p, q), axis=-2)),
    }
)


def published_slope(name: str, p: Float[Array, "m K"], q: Float[Array, "b m K"]) -> Array:
    """The published gradient in q of one question's divergence, defects included.

    TV lacks its factor 1/2, ℓ2 applies the cumulative sum once too often, KS takes a softmax for
    the maximum, and signs are linear within 1e-6 of zero.

    **Raises:** `ValueError` for a name that is not one of `DIVERGENCES`.
    """
    if name not in _SLOPES:
        raise ValueError(f"`name` must be one of {tuple(_SLOPES)}, got {name!r}")
    p, q = jnp.swapaxes(jnp.broadcast_to(p, q.shape), 1, 2), jnp.swapaxes(q, 1, 2)
    return jnp.swapaxes(_SLOPES[name](p, q), 1, 2)


def published_fits(
    targets: Targets,
    design: DenseDesign,
    fits: Sequence[tuple[str, str]],
    *,
    steps: int = STEPS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Float[Array, "b w"]:
    """Weights of the published procedure for many (divergence, variant) pairs at once.

    Constant step 0.01 on the log-weights, gradient clipped to norm 10, log-weights clipped to
    ±10 and weights floored at 1e-8 before they are normalised. A single-block variant zeroes the
    other block's gradient only, so that the other block keeps some mass.

    **Arguments:** `targets`: the human distributions; `design`: the twins' distributions, dense and
    without a mesh; `fits`: pairs such as `("cdf_l1", "both")`; `steps`: number of steps;
    `on_progress`: called with (done, steps) every 2,000 steps; an interrupt takes effect then.

    **Returns:** (b, n + K) weights, one row per pair.
    """
    n, k = design.matrix.shape[0], targets.p.shape[1]
    # Fits of one divergence lie side by side: a gradient is then one array operation each.
    order = sorted(range(len(fits)), key=lambda i: fits[i][0])
    names = tuple(fits[i][0] for i in order)
    support = jnp.stack([support_of(fits[i][1], n, k) for i in order])
    theta = _normalised(support.astype(targets.p.dtype))
    done = 0
    while done < steps:
        count = min(_CHUNK, steps - done)
        theta = _advance(theta, support, targets, design, jnp.int32(count), names)
        done += count
        if on_progress is not None:
            jax.block_until_ready(theta)
            on_progress(done, steps)
    return theta[jnp.argsort(jnp.asarray(order))]


@functools.partial(jax.jit, static_argnames=("names",), donate_argnames=("theta",))
@full_precision
def _advance(theta, support, targets: Targets, design: DenseDesign, steps, names):
    n, m = design.matrix.shape[0], targets.p.shape[0]
    p, values = targets.p.T[None], targets.values[None, :, None]
    mean = jnp.sum(p * values, axis=1, keepdims=True)
    column, cells = design.column.T, _cells(design)
    # A copy whose rows are cells, behind a barrier that keeps it one: with the matrix turned inside
    # the product, that takes half as long again.
    by_cells = jax.lax.optimization_barrier(design.matrix.T)
    persona, dummy = support[:, :1, None], support[:, n:, None]

    def gradient(theta: Array) -> Array:
        found = theta[:, :n] @ design.matrix
        found = jnp.concatenate([found, jnp.zeros_like(found[:, :1])], axis=1)
        personas, dummies = found[:, column], theta[:, n:, None]
        q = personas + dummies
        parts = []
        for name in dict.fromkeys(names):
            first = names.index(name)
            some = q[first : first + names.count(name)]
            parts.append(_SLOPES[name](jnp.broadcast_to(p, some.shape), some))
        slope = jnp.concatenate(parts) / m
        # The penalty on the mean covers only the block that is fitted.
        own = jnp.where(persona, personas, 0) + jnp.where(dummy, dummies, 0)
        off = 2 * MEAN_PENALTY / m * (jnp.sum(own * values, axis=1, keepdims=True) - mean)
        slope = slope + off * values
        by_cell = slope.reshape(slope.shape[0], -1)[:, cells]
        whole = jnp.concatenate([by_cell @ by_cells, jnp.sum(slope, axis=2)], axis=1)
        return jnp.where(support, whole + 2 * RIDGE * theta, 0)

    def step(_, theta: Array) -> Array:
        g = gradient(theta)
        # Centred: a constant in the gradient has no effect once weights are normalised.
        centred = g - jnp.mean(g, axis=1, keepdims=True)
        norm = jnp.sqrt(jnp.sum(centred * centred, axis=1, keepdims=True))
        g = g * jnp.minimum(1, GRADIENT_NORM / jnp.maximum(norm, GRADIENT_NORM * 1e-6))
        # The published step on log(θ + 1e-8), clipped to ±10, without the logarithm.
        moved = (theta + SMALLEST) * jnp.exp(-STEP_SIZE * g)
        moved = jnp.clip(moved, math.exp(-LOG_RANGE), math.exp(LOG_RANGE))
        return _normalised(jnp.maximum(moved, SMALLEST))

    return jax.lax.fori_loop(0, steps, step, theta)


def _normalised(theta: Array) -> Array:
    return theta / jnp.sum(theta, axis=1, keepdims=True)


def _cells(design: DenseDesign) -> Array:
    """Positions of the matrix's columns among cells in the order of options, then questions."""
    count = design.matrix.shape[1]
    place = jnp.zeros((count + 1,), jnp.int32)
    order = jnp.arange(design.column.size, dtype=jnp.int32)
    return place.at[design.column.T.reshape(-1)].set(order)[:count]
