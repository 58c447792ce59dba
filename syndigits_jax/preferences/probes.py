"""Probe items for placing personas: popular and rare ones, spread over the catalogue."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_count
from ..solvers.distances import Frame
from ..solvers.exact import lengths
from ..solvers.keys import PRNGKey
from ..solvers.kmeans import kmeans


def select_probes(
    key: PRNGKey,
    vectors: Numbers,
    popularity: Numbers,
    *,
    size: int = 100,
    shares: Sequence[float] = (0.2, 0.4, 0.4),
    bands: Sequence[float] | None = None,
) -> Int[np.ndarray, " size"]:
    """Positions of `size` different items: head, torso and tail, diversified by k-means.

    (Section 3.3 of the paper: three strata by review count at 20/40/40, k-means within each.)
    Items with a positive popularity are ranked by it (ties in the given order) and cut into bands.
    A band with k probes is clustered into k by text vector, and the item closest to the centre of
    each cluster is taken. Probes are listed band by band, in order of popularity.

    **Arguments:**

    - `key`: of the k-means starts. The same key gives the same probes, up to rounding, whatever the
      units of `vectors` and `popularity`.
    - `vectors`: (m, e) text vectors.
    - `popularity`: (m,) number of ratings of each item; items with 0 are left out.
    - `size`: number of probes.
    - `shares`: shares of the probes per band; `bands`: shares of the items, by default the same.

    **Raises:** `ValueError` if shapes disagree, shares do not add up to one, vectors are not
    finite, or a band has fewer items than probes.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.preferences import select_probes
        >>> vectors, key = [[0.0], [0.1], [9.0], [9.2], [90.0], [90.4]], jax.random.key(0)
        >>> popularity = [6, 5, 4, 3, 2, 1]
        >>> probes = select_probes(
        ...     key=key, vectors=vectors, popularity=popularity, size=3, shares=[1.0]
        ... )
        >>> print(sorted(int(probe) // 2 for probe in probes))  # one of each kind
        [0, 1, 2]
    """
    x, popularity = as_float("vectors", vectors), np.asarray(as_float("popularity", popularity))
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"`vectors` must be (items, width), got shape {x.shape}")
    if popularity.shape != x.shape[:1]:
        raise ValueError(
            f"`popularity` has shape {popularity.shape}, but there are {len(x)} `vectors`"
        )
    if not np.isfinite(np.asarray(x)).all():
        raise ValueError("`vectors` must be finite")
    if not (np.isfinite(popularity).all() and (popularity >= 0).all()):
        raise ValueError("`popularity` must be finite and not negative; 0 for unrated items")
    bands = shares if bands is None else bands
    for name, values in (("shares", shares), ("bands", bands)):
        if len(values) != len(shares) or min(values) < 0 or abs(sum(values) - 1) > 1e-6:
            raise ValueError(f"`{name}` must be shares that add up to one, got {tuple(values)}")
    ranked = np.argsort(-popularity, kind="stable")
    ranked = ranked[popularity[ranked] > 0]
    edges = np.round(np.cumsum([0.0, *bands]) * len(ranked)).astype(int)
    chosen = []
    for band, count in enumerate(_rounded(shares, size).tolist()):
        items = ranked[edges[band] : edges[band + 1]]
        if len(items) < count:
            raise ValueError(
                f"`size`: band {band} has {len(items)} items with a rating, too few for "
                f"{count} probes"
            )
        if count:
            picked = diverse(jax.random.fold_in(key, band), x[items], count)
            chosen.append(items[np.sort(picked)])
    return np.concatenate(chosen) if chosen else np.zeros(0, int)


def _rounded(shares: Sequence[float], size: int) -> Int[np.ndarray, " b"]:
    """`size` cut by `shares`: whole numbers that add up, the largest remainders rounded up."""
    check_count("size", size)
    exact = np.asarray(shares, float) * size
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: size - counts.sum()]] += 1
    return counts


def diverse(key: PRNGKey, x: Float[Array, "m e"], k: int) -> Int[np.ndarray, " k"]:
    """Positions of `k` different rows of `x`: the closest to each of `k` k-means centres."""
    x = Frame.of(x).cloud(x).about
    centres = _kmeans(key, x, k).value.centres
    distance = np.array(_distances_to(x, centres))
    chosen = np.empty(k, int)
    # Centres take rows in turn, the centre with the closest row first; a row is taken once.
    for _ in range(k):
        row, centre = np.unravel_index(np.argmin(distance), distance.shape)
        chosen[centre] = row
        distance[row, :] = np.inf
        distance[:, centre] = np.inf
    return chosen


_kmeans = jax.jit(kmeans, static_argnames="k")


@jax.jit
def _distances_to(x: Float[Array, "m e"], centres: Float[Array, "k e"]) -> Float[Array, "m k"]:
    return jax.lax.map(lambda centre: lengths(x - centre[None, :]), centres).T
