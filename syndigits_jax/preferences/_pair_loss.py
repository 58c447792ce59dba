"""The pair loss of one rating matrix, its gradient and its curvature, without listing a pair.

Arrays are (M, b): probes first, personas last, so that the loop over a persona's second probe is
plain arithmetic on contiguous memory. With E = e^s, sig(s_a - s_b) = E_a / (E_a + E_b): the
gradient needs one division per pair and no exponential.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_UNROLL = 10  # second probes per pass over memory
_CLIP = 85.0  # e^±85 and their sums are normal numbers in float32

ROUNDING = 1e-5
"""Gaps may fall short by this share, so that rescaled ratings keep their pairs."""


def effective_gap(gap: float) -> float:
    """`gap`, less an allowance for rounding. **Raises:** `ValueError` if it is not positive."""
    if not (gap > 0 and np.isfinite(gap)):
        raise ValueError(f"`gap` must be positive and finite, got {gap}")
    return gap * (1 - ROUNDING)


def _accumulate(body, arrays: tuple[Array, ...], out):
    """Sum of `body(rows)` over the first axis of `arrays`; `rows` are its slices, (1, b) each."""
    m = arrays[0].shape[0]
    full = m - m % _UNROLL

    def rows(b):
        return tuple(jax.lax.dynamic_slice_in_dim(a, b, 1, 0) for a in arrays)

    def add(total, term):
        return jax.tree.map(jnp.add, total, term)

    def chunk(i, total):
        for j in range(_UNROLL):
            total = add(total, body(rows(i * _UNROLL + j)))
        return total

    if full:
        out = jax.lax.fori_loop(0, full // _UNROLL, chunk, out)
    for b in range(full, m):
        out = add(out, body(rows(b)))
    return out


def pair_counts(
    ratings: Float[Array, "M b"], gap: float
) -> tuple[Float[Array, "M b"], Float[Array, " b"]]:
    """(how many probes each probe beats by `gap` or more, pairs per persona); NaN beats none."""
    gap = effective_gap(gap)

    def body(row):
        return (ratings - row[0] >= gap).astype(ratings.dtype)

    wins = _accumulate(body, (ratings,), jnp.zeros_like(ratings))
    return wins, jnp.sum(wins, axis=0)


def _centred(s: Float[Array, "M b"]) -> Float[Array, "M b"]:
    """Scores minus the middle of their range: only differences matter."""
    middle = (jnp.max(s, axis=0, keepdims=True) + jnp.min(s, axis=0, keepdims=True)) / 2
    return jnp.clip(s - middle, -_CLIP, _CLIP)


def pair_gradient(
    s: Float[Array, "M b"], ratings: Float[Array, "M b"], wins: Float[Array, "M b"], gap: float
) -> Float[Array, "M b"]:
    """Gradient of [`pair_loss`][] in the scores; `wins` from [`pair_counts`][].

    Differences of scores above 170 count as 170.
    """
    gap = effective_gap(gap)
    e = jnp.exp(_centred(s))

    def body(row):
        e_b, r_b = row
        return jnp.where(jnp.abs(ratings - r_b) >= gap, 1 / (e + e_b), 0)

    # Σ_b sig(s_a - s_b) over all partners b, less the number that a should beat.
    return e * _accumulate(body, (e, ratings), jnp.zeros_like(s)) - wins


def pair_derivatives(
    s: Float[Array, "M b"],
    ratings: Float[Array, "M b"],
    wins: Float[Array, "M b"],
    v: tuple[Float[Array, "M b"], ...],
    gap: float,
) -> tuple[Float[Array, " b"], Float[Array, "M b"], tuple[Float[Array, "M b"], ...]]:
    """(value of [`pair_loss`][], gradient, Hessian times each of `v`) in the scores, in one pass.

    The Hessian is a weighted graph Laplacian: it is never formed.
    """
    gap = effective_gap(gap)
    z = _centred(s)
    e = jnp.exp(z)

    def body(row):
        z_b, e_b, r_b, *v_b = row
        difference = ratings - r_b
        loss = jnp.where(difference >= gap, _softplus(z, e, z_b, e_b), 0)
        inverse = jnp.where(jnp.abs(difference) >= gap, 1 / (e + e_b), 0)
        weight = (e * inverse) * (e_b * inverse)
        return loss, inverse, tuple(weight * (a - b) for a, b in zip(v, v_b, strict=True))

    zeros = jnp.zeros_like(s)
    start = (zeros, zeros, tuple(zeros for _ in v))
    loss, inverse, bent = _accumulate(body, (z, e, ratings, *v), start)
    return jnp.sum(loss, axis=0), e * inverse - wins, bent


def _softplus(z: Array, e: Array, z_b: Array, e_b: Array) -> Array:
    """-log sig(z - z_b) = log(1 + e^(z_b - z)) from exponentials computed before."""
    return jnp.maximum(z_b - z, 0) + jnp.log(1 + jnp.minimum(e, e_b) / jnp.maximum(e, e_b))


def _value(s: Array, ratings: Array, gap: float) -> Float[Array, " b"]:
    gap = effective_gap(gap)
    z = _centred(s)
    e = jnp.exp(z)

    def body(row):
        z_b, e_b, r_b = row
        return jnp.where(ratings - r_b >= gap, _softplus(z, e, z_b, e_b), 0)

    return jnp.sum(_accumulate(body, (z, e, ratings), jnp.zeros_like(s)), axis=0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def pair_loss(
    s: Float[Array, "M b"], ratings: Float[Array, "M b"], gap: float
) -> Float[Array, " b"]:
    """Σ -log sig(s_a - s_b) over the pairs with r_a - r_b ≥ `gap`, per persona (equation 5).

    Ratings may be NaN (missing): such probes are in no pair. Differentiable in `s` (reverse).
    """
    return _value(s, ratings, gap)


def _forward(s, ratings, gap):
    return _value(s, ratings, gap), (s, ratings)


def _backward(gap, saved, cotangent):
    s, ratings = saved
    wins, _ = pair_counts(ratings, gap)
    gradient = pair_gradient(s, ratings, wins, gap)
    return gradient * cotangent[None, :], jnp.zeros_like(ratings)


pair_loss.defvjp(_forward, _backward)
