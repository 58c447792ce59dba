"""Item-level metrics of personas that are each paired with the real user they were seeded from.

Each comes with its control, the same metric with the seeds shuffled among the personas: agreement
with any seed at all is not fidelity to the persona's own (section 3.4).
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..inference.resampling import bootstrap
from ..solvers.boundary import Numbers, as_floats
from ..solvers.distances import BLOCK, population, populations, positive
from ..solvers.exact import lengths, unit_rows
from ..solvers.keys import PRNGKey
from ..solvers.units import power_of_two
from .homogeneity import cosine_homogeneity
from .measures import Estimate
from .prdc import coverage, expected_coverage


def paired_cosine_distance(x: Numbers, y: Numbers) -> Float[Array, " n"]:
    """1 - cos between row i of `x` and row i of `y`; NaN where either is zero.

    As half the squared distance of the unit vectors, so that small distances keep their digits.
    Does not depend on units; invariant to a common rotation, not to translation.

    **Raises:** `ValueError` for populations, (n, d) each, of unequal shape, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import paired_cosine_distance
        >>> print(paired_cosine_distance([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 0.0]]))
        [0. 1.]
    """
    x, y = _paired(x, y)
    return jnp.sum((unit_rows(x) - unit_rows(y)) ** 2, axis=1) / 2


def paired_distance(x: Numbers, y: Numbers) -> Float[Array, " n"]:
    """Euclidean distance between row i of `x` and row i of `y`, in their units.

    Invariant to a common rotation and translation.

    **Raises:** `ValueError` for populations, (n, d) each, of unequal shape, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import paired_distance
        >>> print(paired_distance([[0.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [1.0, 1.0]]))
        [5. 0.]
    """
    x, y = _paired(x, y)
    return lengths(x - y)


class RankAgreement(eqx.Module):
    """Triplets of each user that agree in order, and all that have one (no tie, none missing).

    **Arguments:** `agree`, `ordered`: counts per user.
    """

    agree: Float[Array, " n"]
    ordered: Float[Array, " n"]

    @property
    def accuracy(self) -> Float[Array, ""]:
        """Share of the ordered triplets that agree; NaN without one."""
        ordered = jnp.sum(self.ordered)
        some = jnp.where(ordered > 0, ordered, 1)
        return jnp.where(ordered > 0, jnp.sum(self.agree) / some, jnp.nan)


def rank_agreement(
    key: PRNGKey,
    persona_scores: Numbers,
    seed_scores: Numbers,
    *,
    triplets: int = 10_000,
) -> RankAgreement:
    """Whether persona and seed order two items alike, over random triplets (user, item, item).

    Users and pairs of different items are drawn uniformly; a triplet that is a tie for either, or
    has a missing (NaN) score, is dropped. Does not depend on the units of either side's scores, nor
    on their origin.

    **Arguments:** `key`: of the triplets; `persona_scores`, `seed_scores`: (n, m) scores of the
    same items, row i of one belongs to row i of the other; `triplets`: number of draws.

    **Raises:** `ValueError` for fewer than two items, no triplets, or scores of unequal shape.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import rank_agreement
        >>> persona, seed = [[1.0, 2.0, 3.0]], [[0.1, 0.5, 0.9]]  # one user, three items
        >>> result = rank_agreement(key=jax.random.key(0), persona_scores=persona, seed_scores=seed)
        >>> print(result.accuracy)
        1.0
    """
    positive("triplets", triplets)
    persona, seed = _scores(persona_scores, "persona_scores", seed_scores, "seed_scores")
    n, m = persona.shape
    keys = jax.random.split(key, 3)
    user = jax.random.randint(keys[0], (triplets,), 0, n)
    a = jax.random.randint(keys[1], (triplets,), 0, m)
    b = jax.random.randint(keys[2], (triplets,), 0, m - 1)
    b = b + (b >= a).astype(b.dtype)
    order = [jnp.sign(scores[user, a] - scores[user, b]) for scores in (persona, seed)]
    product = order[0] * order[1]

    def per_user(flags) -> Float[Array, " n"]:
        return jax.ops.segment_sum(flags.astype(persona.dtype), user, n)

    return RankAgreement(per_user(product > 0), per_user(jnp.abs(product) > 0))


def rating_correlation(ratings: Numbers, scores: Numbers) -> Float[Array, " n"]:
    """Pearson correlation per user over the items rated; NaN where one side is constant.

    NaN in either, (n, m) each, is missing. Does not depend on the units of either side, nor on
    their origin.

    **Raises:** `ValueError` for fewer than two items or unequal shapes.

    **Example:**

        >>> from syndigits_jax.fidelity import rating_correlation
        >>> ratings = [[1.0, 2.0, float("nan")], [1.0, 2.0, 3.0]]
        >>> print(rating_correlation(ratings, [[2.0, 4.0, 0.0], [3.0, 2.0, 1.0]]))
        [ 1. -1.]
    """
    ratings, scores = _scores(ratings, "ratings", scores, "scores")
    valid = ~(jnp.isnan(ratings) | jnp.isnan(scores))
    count = jnp.maximum(jnp.sum(valid, axis=1, dtype=ratings.dtype), 1)[:, None]

    def standard(values):
        values = jnp.where(valid, values, 0)
        values = values / power_of_two(jnp.max(jnp.abs(values), axis=1))[:, None]
        deviations = jnp.where(valid, values - jnp.sum(values, axis=1, keepdims=True) / count, 0)
        norm = lengths(deviations)[:, None]
        size = jnp.max(jnp.abs(values), axis=1, keepdims=True)
        constant = norm <= 8 * float(jnp.finfo(values.dtype).eps) * size * jnp.sqrt(count)
        return jnp.where(constant, jnp.nan, deviations / jnp.where(constant, 1, norm))

    return jnp.sum(standard(ratings) * standard(scores), axis=1)


class HeldIn(NamedTuple):
    """Coverage of all real users, and its expectation for as many fresh *real* users."""

    coverage: Float[Array, ""]
    real: float


def held_in_coverage(
    real: Numbers,
    y: Numbers,
    k: int = 5,
    *,
    radius: Numbers | None = None,
    block: int = 4 * BLOCK,
) -> HeldIn:
    """Coverage with radii within all N real users (section 5.3), and its reference value.

    500 personas, or real users, cannot cover many of 100,000 small balls: see
    [`expected_coverage`][].

    **Arguments:** `real`: (N, d) all real users; `y`: (l, d) personas; `k`, `radius`, `block`: as
    in [`coverage`][].

    **Raises:** `ValueError` as [`coverage`][].

    **Example:**

        >>> from syndigits_jax.fidelity import held_in_coverage
        >>> result = held_in_coverage([[0.0], [1.0], [2.0], [3.0]], [[0.9], [1.1]], k=1)
        >>> print(result.coverage, round(result.real, 2))
        0.75 0.4
    """
    real, y = populations(real, y, names=("real", "y"))
    positive("k", k)
    if radius is None:
        population(real, "real", k + 1)
    found = coverage(real, y, k, radius=radius, block=block)
    return HeldIn(found, expected_coverage(len(real), len(y), k))


@dataclasses.dataclass(frozen=True)
class PairedMeasures:
    """Paired metrics by name, with intervals over users, and the same with the seeds shuffled.

    - `metrics`: `paired_cosine_distance`, `paired_distance`, `paired_norm_ratio` (median),
      `cosine_mean` and `seed_cosine_mean` (within personas, and within their seeds); with scores
      `rank_accuracy`; with ratings too `rating_correlation`.
    - `shuffled`: those of them that depend on the pairing.
    """

    metrics: dict[str, Estimate]
    shuffled: dict[str, Estimate]

    def rows(self) -> list[dict[str, Any]]:
        """One record per number; controls are named `..._shuffled`."""
        named = {**self.metrics, **{f"{k}_shuffled": v for k, v in self.shuffled.items()}}
        return [{"metric": name, **value._asdict()} for name, value in named.items()]


def paired_measures(
    key: PRNGKey,
    seeds: Numbers,
    personas: Numbers,
    *,
    seed_scores: Numbers | None = None,
    persona_scores: Numbers | None = None,
    ratings: Numbers | None = None,
    triplets: int = 10_000,
    replicates: int = 1000,
) -> PairedMeasures:
    """All paired metrics of personas and their seeds, row by row, each with its control.

    Intervals are percentiles of a bootstrap over users (95%); those of the two homogeneities are
    normal, with the U-statistic's standard error.

    **Arguments:**

    - `key`: of the shuffled seeds, the triplets and the bootstrap.
    - `seeds`, `personas`: (n, d) embeddings, row i of one belongs to row i of the other.
    - `seed_scores`, `persona_scores`: (n, m) the encoder's scores of the same items.
    - `ratings`: (n, m) what the personas answered, NaN where missing; needs `seed_scores`.
    - `triplets`: of the rank accuracy.
    - `replicates`: of the bootstrap.

    **Raises:** `ValueError` for fewer than two pairs, unequal shapes, NaN in embeddings, or scores
    without their counterpart.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.fidelity import paired_measures
        >>> seeds = np.stack([np.cos(np.arange(12.0)), np.sin(np.arange(12.0))], axis=1)
        >>> panel = paired_measures(key=jax.random.key(0), seeds=seeds, personas=seeds + 0.01)
        >>> own, other = panel.metrics["paired_distance"], panel.shuffled["paired_distance"]
        >>> print(own.mean < other.mean)
        True
    """
    seeds, personas = _paired(seeds, personas, rows=2, names=("seeds", "personas"))
    seed_scores, persona_scores, ratings = as_floats(
        seed_scores=seed_scores, persona_scores=persona_scores, ratings=ratings
    )
    n = seeds.shape[0]
    if seed_scores is None and (persona_scores is not None or ratings is not None):
        raise ValueError("`seed_scores` are needed to compare `persona_scores` or `ratings` with")
    given = {"seed_scores": seed_scores, "persona_scores": persona_scores, "ratings": ratings}
    for name, scores in given.items():
        if scores is not None and scores.ndim != 2:
            raise ValueError(f"`{name}` must be (users, items), got shape {scores.shape}")
        if scores is not None and len(scores) != n:
            raise ValueError(f"`{name}` has {len(scores)} rows for {n} pairs of users")
    shuffle_key, rank_key, boot_key = jax.random.split(key, 3)
    other = _derangement(shuffle_key, n)

    def compare(seed_rows: Int[Array, " n"]) -> dict[str, Estimate]:
        seed = seeds[seed_rows]
        ratio = lengths(personas) / lengths(seed)
        ones = jnp.ones_like(ratio)
        columns = {
            "paired_cosine_distance": (paired_cosine_distance(seed, personas), ones),
            "paired_distance": (paired_distance(seed, personas), ones),
        }
        if seed_scores is not None and persona_scores is not None:
            scores = seed_scores[seed_rows]
            found = rank_agreement(rank_key, persona_scores, scores, triplets=triplets)
            columns["rank_accuracy"] = (found.agree, found.ordered)
        if seed_scores is not None and ratings is not None:
            r = rating_correlation(ratings, seed_scores[seed_rows])
            defined = ~jnp.isnan(r)
            columns["rating_correlation"] = (jnp.where(defined, r, 0), defined.astype(r.dtype))
        sums = {name: jnp.stack(pair, axis=1) for name, pair in columns.items()}

        result = bootstrap(boot_key, _summary, (sums, ratio), replicates=replicates)
        parts = zip(result.estimate, result.lower, result.upper, strict=True)
        names = [*sorted(sums), "paired_norm_ratio"]
        return {name: Estimate(*map(float, part)) for name, part in zip(names, parts, strict=True)}

    metrics = compare(jnp.arange(n))
    metrics["cosine_mean"] = _homogeneity(personas)
    metrics["seed_cosine_mean"] = _homogeneity(seeds)
    return PairedMeasures(metrics, compare(other))


def _summary(data: tuple[dict[str, Float[Array, "n 2"]], Float[Array, " n"]]) -> Array:
    """Ratios of the totals of two columns, in the order of their names, and the median."""
    sums, ratio = data
    totals = [jnp.sum(sums[name], axis=0) for name in sorted(sums)]
    return jnp.stack([*(total[0] / total[1] for total in totals), jnp.median(ratio)])


def _homogeneity(x: Float[Array, "n d"]) -> Estimate:
    """Mean cosine with 1.96 standard errors of the U-statistic: twice its first projection's."""
    n = x.shape[0]
    mean = float(cosine_homogeneity(x).mean)
    unit = unit_rows(x)
    of_each = (unit @ jnp.sum(unit, axis=0) - 1) / (n - 1)
    error = 2 * float(jnp.std(of_each, ddof=1)) / np.sqrt(n)
    return Estimate(mean, mean - 1.96 * error, mean + 1.96 * error)


def _derangement(key: PRNGKey, n: int) -> Int[Array, " n"]:
    """A random permutation without fixed points: one cycle through all."""
    order = jax.random.permutation(key, n)
    return jnp.zeros_like(order).at[order].set(jnp.roll(order, 1))


def _paired(
    x, y, rows: int = 1, names: tuple[str, str] = ("x", "y")
) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    x, y = populations(x, y, rows, names)
    if x.shape != y.shape:
        raise ValueError(
            f"`{names[1]}` has {len(y)} rows but `{names[0]}` has {len(x)}: pairs share a row"
        )
    return x, y


def _scores(a, a_name: str, b, b_name: str) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    a, b = as_floats(**{a_name: a, b_name: b})
    assert a is not None and b is not None
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] < 2 or not a.shape[0]:
        raise ValueError(
            f"`{a_name}` and `{b_name}` must be (users, items) of one shape with at least two "
            f"items, got {a.shape} and {b.shape}"
        )
    return a, b
