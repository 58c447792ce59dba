"""What a person may answer: a distribution over points of the scale, and how far out each lies.

A prediction and the expected size of its error give a distribution of the largest entropy over the
points of the scale ([`option_probabilities`][]), which never leaves the scale and is skew near its
ends. A point's *tail level* is the smaller of the probabilities of answering at most, and at least,
so much: small at what is unlikely, and the same at both ends of an interval between two quantiles.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .options import number_of_options, option_probabilities

PLACES = 101
"""Predictions are rounded to so many places of the range; each has a distribution."""

MOST_OPTIONS = 21
"""With more options, or none known, a scale has [`POINTS`][] evenly spaced points instead."""

POINTS = 41


def scale_points(low: float, high: float, step: float) -> Float[np.ndarray, " k"]:
    """The options of a question, or evenly spaced points where it has many or no known step.

    **Arguments:** `low`, `high`: ends of the range, `high` above `low`; `step`: NaN if not known.
    """
    count = number_of_options(low, high, step)
    if 2 <= count <= MOST_OPTIONS and np.isclose(low + (count - 1) * step, high):
        return np.linspace(low, high, count)
    return np.linspace(low, high, POINTS)


def places(
    prediction: Float[np.ndarray, "*q n"],
    low: Float[np.ndarray, "*q"],
    width: Float[np.ndarray, "*q"],
) -> Int[np.ndarray, "*q n"]:
    """The place of every prediction on its range, from 0 to [`PLACES`][] - 1."""
    share = (prediction - low[..., None]) / width[..., None]
    return np.clip(np.rint(share * (PLACES - 1)), 0, PLACES - 1).astype(np.int32)


def tail_levels(
    place: Int[np.ndarray, "q n"],
    residual: Float[np.ndarray, " q"],
    points: Int[np.ndarray, " q"],
    weight: Float[np.ndarray, " n"],
) -> list[Float[np.ndarray, "p k"]]:
    """Tail levels of every point of q questions, at every place of a prediction.

    **Arguments:**

    - `place`: (q, n) of the predictions, [`places`][].
    - `residual`: (q,) expected standard deviation of an answer about its prediction, in units of
      the range.
    - `points`: (q,) how many points each question has.
    - `weight`: (n,) weights of the people.
    """
    out: list = [None] * len(place)
    counts = np.stack([np.bincount(row, weight, PLACES) for row in place])
    for k in np.unique(points):
        mine = np.flatnonzero(points == k)
        dtype = jnp.result_type(float)
        arrays = (jnp.asarray(a[mine], dtype) for a in (counts, residual))
        found = np.asarray(_tails(*arrays, points=int(k)), np.float64)
        for j, table in zip(mine, found, strict=True):
            out[j] = table
    return out


@functools.partial(jax.jit, static_argnames=("points",))
def _tails(
    counts: Float[Array, "q p"], residual: Float[Array, " q"], *, points: int
) -> Float[Array, "q p k"]:
    options = jnp.linspace(0, 1, points, dtype=counts.dtype)
    means = jnp.linspace(0, 1, counts.shape[1], dtype=counts.dtype)

    def one(item: tuple[Array, Array]) -> Array:
        count, sd = item
        share = count / jnp.sum(count)
        variance = share @ (means - share @ means) ** 2 + sd**2
        p = option_probabilities(means, jnp.sqrt(variance), options, sample_weight=count)
        at_most = jnp.cumsum(p, axis=1)
        return jnp.minimum(at_most, 1 - at_most + p)

    return jax.lax.map(one, (counts, residual))


def truth_levels(
    truth: Float[np.ndarray, "*cells"],
    place: Int[np.ndarray, "*places"],
    points: Float[np.ndarray, " k"],
    table: Float[np.ndarray, "p k"],
) -> Float[np.ndarray, "*cells"]:
    """Tail level of every answer, NaN where there is none, at the places of its predictions.

    Between two points it is the lower of theirs, so that an interval from point to point holds an
    answer if its level is that of the interval; -1 beyond the points, which no interval holds.

    **Arguments:**

    - `truth`: answers; `place`: of their predictions, of a shape that broadcasts to theirs.
    - `points`: (k,) of the scale; `table`: (p, k) their tail levels at every place.
    """
    position = (truth - points[0]) / (points[1] - points[0])
    near = np.rint(position)
    position = np.where(np.abs(position - near) < 1e-6, near, position)
    known = ~np.isnan(truth)
    inside = known & (position >= 0) & (position <= len(points) - 1)
    safe = np.where(inside, position, 0)
    below, above = (end(safe).astype(np.int64) for end in (np.floor, np.ceil))
    level = np.minimum(table[place, below], table[place, above])
    return np.where(known, np.where(inside, level, -1.0), np.nan)
