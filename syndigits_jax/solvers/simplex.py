"""The probability simplex: Euclidean projection, Frank-Wolfe gap, implicit derivatives."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._conjugate_gradients import conjugate_gradients
from .boundary import Numbers, as_float, as_mask
from .precision import full_precision


def _threshold(
    v: Float[Array, " p"], support: Bool[Array, " p"], guess: Float[Array, ""]
) -> Float[Array, ""]:
    """The θ with Σ max(v - θ, 0) = 1 over `support`, by Newton's method from any `guess`.

    The sum is convex and decreasing in θ, so one Newton step leads to the left of the root and
    all further ones increase to it, each excluding more entries of `v`: the exact answer takes
    finitely many steps. From a good guess (the last θ of an iterative solver) that is one or two
    passes over `v`, far cheaper than sorting.
    """
    v = jnp.where(support, v, -jnp.inf)
    top = jnp.max(v)

    def newton(theta):
        active = v > theta
        total = jnp.sum(jnp.where(active, v, 0))
        return (total - 1) / jnp.sum(active.astype(v.dtype))

    def body(pair):
        return newton(pair[0]), pair[0]

    first = newton(jnp.where(guess < top, guess, top - 1))
    # The first step may go either way; afterwards only rounding makes a step decrease.
    theta, last = jax.lax.while_loop(lambda s: s[0] > s[1], body, (newton(first), first))
    return jnp.maximum(theta, last)


def project_warm(
    v: Float[Array, " p"], support: Bool[Array, " p"], guess: Float[Array, ""]
) -> tuple[Float[Array, " p"], Float[Array, ""]]:
    """The projection of `v`, and its threshold below the largest entry; not differentiable.

    The shift by that entry allows `v` of any size: beside large entries the sum of 1 would be lost
    to rounding, and the projection be zero.
    """
    v = v - jnp.max(jnp.where(support, v, -jnp.inf))
    theta = _threshold(v, support, guess)
    return jnp.where(support, jnp.maximum(v - theta, 0), 0), theta


def project_simplex(v: Numbers, *, support: Numbers | None = None) -> Float[Array, "..."]:
    """Project every row of `v` onto {w : w ≥ 0, Σ w = 1}, in the Euclidean norm.

    The projection is max(v - θ, 0) with one θ per row. Its derivative, in forward and reverse
    mode, is that of the active face: centring over the positive entries, zero elsewhere.

    **Arguments:**

    - `v`: (..., p) rows, each projected on its own.
    - `support`: (p,) or (..., p); entries that are `False` are left out and come back as 0.

    **Returns:** an array like `v`. A row without support, or with NaN or infinity on its support,
    comes back as NaN.

    **Raises:** `ValueError` if `v` has no last axis or is no number, or `support` does not
    broadcast to it.

    **Example:**

        >>> from syndigits_jax.solvers import project_simplex
        >>> print(project_simplex([[0.5, 0.7, -1.0], [3.0, 0.0, 0.0]]).round(2))
        [[0.4 0.6 0. ]
         [1.  0.  0. ]]
    """
    v = as_float("v", v)
    if v.ndim < 1 or v.shape[-1] == 0:
        raise ValueError(f"`v` must have a last axis that is not empty, got shape {v.shape}")
    if support is None:
        support = jnp.ones(v.shape[-1], bool)
    support = as_mask("support", support)
    mask = broadcast_support(support, v.shape)
    rows, masks = v.reshape(-1, v.shape[-1]), mask.reshape(-1, v.shape[-1])
    return _project_rows(rows, masks).reshape(v.shape)


@jax.jit
@jax.vmap
def _project_rows(v: Float[Array, " p"], support: Bool[Array, " p"]) -> Float[Array, " p"]:
    # Shifting a row does not change its projection, and keeps the sums below small.
    top = jax.lax.stop_gradient(jnp.max(jnp.where(support, v, -jnp.inf)))
    v = jnp.where(support, v - top, 0)
    fixed = jax.lax.stop_gradient(v)
    theta = _threshold(fixed, support, jnp.full((), -1, v.dtype))
    # With the active set held fixed this is again θ, now with the derivative of the face.
    active = support & (fixed > theta)
    count = jnp.sum(active.astype(v.dtype))
    theta = (jnp.sum(jnp.where(active, v, 0)) - 1) / count
    return jnp.where(active, jnp.maximum(v - theta, 0), 0) + jnp.where(count > 0, 0, jnp.nan)


def broadcast_support(support: Bool[Array, "..."], shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """`support` in the given shape. **Raises:** `ValueError` if it does not broadcast to it."""
    try:
        return jnp.broadcast_to(support, shape)
    except ValueError as error:
        raise ValueError(f"`support` {support.shape} does not broadcast to {shape}") from error


def uniform_weights(support: Bool[Array, " p"], dtype) -> Float[Array, " p"]:
    """Equal weights over `support`; NaN throughout if it is empty."""
    mass = support.astype(dtype)
    count = jnp.sum(mass)
    # Written out, because compilers may turn 0 / 0 of a converted mask into 0.
    return jnp.where(count > 0, mass / jnp.where(count > 0, count, 1), jnp.nan)


def frank_wolfe_gap(
    gradient: Float[Array, "*batch p"],
    w: Float[Array, "*batch p"],
    *,
    support: Bool[Array, "*#batch p"] | None = None,
) -> Float[Array, "*batch"]:
    """⟨g, w⟩ - minᵢ gᵢ over `support`, for weights `w` and the gradient g of the objective there.

    For a convex objective it bounds the distance to its minimum over the simplex from above, and
    it is zero exactly at a minimiser (Jaggi, 2013). Never negative.
    """
    mask = True if support is None else broadcast_support(support, gradient.shape)
    smallest = jnp.min(jnp.where(mask, gradient, jnp.inf), axis=-1, keepdims=True)
    return jnp.sum(jnp.where(mask, w * (gradient - smallest), 0), axis=-1)


def face_projection(v: Float[Array, " p"], face: Bool[Array, " p"]) -> Float[Array, " p"]:
    """The orthogonal projection onto directions that stay on the face: zero sum, zero off it."""
    count = jnp.sum(face.astype(v.dtype))
    mean = jnp.sum(jnp.where(face, v, 0)) / jnp.where(count > 0, count, 1)
    return jnp.where(face, v - mean, 0)


@full_precision
def face_solve(
    hessian: Callable, face: Bool[Array, " p"], b: Float[Array, " p"]
) -> Float[Array, " p"]:
    """Solve min ½ vᵀHv - bᵀv over directions v with zero sum that vanish off the `face`.

    This is the linear system behind the derivative of a minimiser over the simplex: moving the
    data changes the gradient by db, and the minimiser by `-face_solve(hessian, face, db)` as long
    as the face of positive weights stays the same. Linear in `b`, transposable.

    **Arguments:** `hessian` maps a (p,) direction v to Hv, H symmetric positive semidefinite.
    """
    eps = float(jnp.finfo(b.dtype).eps)

    def restricted(v):
        inside = face_projection(v, face)
        return face_projection(hessian(inside), face) + (v - inside)

    def solve(matvec, rhs):
        return conjugate_gradients(matvec, rhs, rtol=4 * eps, max_steps=4 * b.shape[0] + 100)[0]

    rhs = face_projection(b, face)
    return jax.lax.custom_linear_solve(restricted, rhs, solve, symmetric=True)
