"""Resamples of real users to compare populations with, and all metrics of all of them.

Each resample draws real users for reference and, disjoint from them, as many as there are personas
for the floor. Their metrics, and those of the ceilings, depend on the real users alone: they are
computed once, in a [`RealUsers`][], and every population is compared with the same ones.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..preferences.encoder import check_temperature
from ..solvers.blas import one_blas_thread
from ..solvers.boundary import Numbers
from ..solvers.distances import BLOCK, population, populations, positive, spread
from ..solvers.keys import PRNGKey, host_generator
from ..solvers.precision import full_precision
from .baselines import random_mixture
from .frechet import frechet_distance
from .homogeneity import cosine_homogeneity, norm_ratio
from .mmd import median_distance, mmd2_unbiased, mmd_permutation_test
from .prdc import neighbour_radius, prdc
from .sliced_wasserstein import random_directions, sliced_wasserstein


class PopulationMetrics(eqx.Module):
    """One population against real users: fields named as the functions, all of shape (*batch)."""

    frechet: Float[Array, "*batch"]
    mmd2: Float[Array, "*batch"]
    sliced_wasserstein: Float[Array, "*batch"]
    precision: Float[Array, "*batch"]
    recall: Float[Array, "*batch"]
    density: Float[Array, "*batch"]
    coverage: Float[Array, "*batch"]
    cosine_mean: Float[Array, "*batch"]
    cosine_sd: Float[Array, "*batch"]
    norm_ratio: Float[Array, "*batch"]


METRICS = tuple(field.name for field in dataclasses.fields(PopulationMetrics))


def population_metrics(
    x: Numbers,
    y: Numbers,
    sigma: Float[Array, ""],
    directions: Float[Array, "c d"],
    *,
    k: int = 5,
    radius: Float[Array, " n"] | None = None,
    block: int = BLOCK,
) -> PopulationMetrics:
    """Every metric of synthetic `y` against real `x`, one number each; pure, for `vmap` and `jit`.

    **Arguments:** `x`, `y`: (n, d) and (l, d) points; `sigma`: bandwidth of the MMD, in their
    units; `directions`: (c, d) unit vectors of the sliced Wasserstein distance; `k`, `radius`: as
    in [`prdc`][]; `block`: distances, or projected values, held in memory at a time.

    **Raises:** `ValueError` as the metrics do.
    """
    x, y = populations(x, y, 2)
    balls = prdc(x, y, k, radius=radius, block=block)
    cosines = cosine_homogeneity(y)
    unused = jax.random.key(0)
    return PopulationMetrics(
        frechet=frechet_distance(x, y),
        mmd2=mmd2_unbiased(x, y, sigma, block=block),
        sliced_wasserstein=sliced_wasserstein(unused, x, y, directions=directions, block=block),
        precision=balls.precision,
        recall=balls.recall,
        density=balls.density,
        coverage=balls.coverage,
        cosine_mean=cosines.mean,
        cosine_sd=cosines.sd,
        norm_ratio=norm_ratio(x, y),
    )


class Draws(eqx.Module):
    """The source of the users of every resample.

    All sources have the same arrays, so that one compiled program serves every population.

    - `kind`: 0 for rows of `points`, 1 for noise, 2 for random mixtures.
    - `points`: (l, d) a population, and rows of zeros up to a common size; `rows`: (S, count) the
      rows of each resample.
    - `keys`: (S,) of the noise and the mixtures.
    - `moments`: (2, d) mean and SD of the noise; `prototypes`: (p, d) of the mixtures.
    """

    kind: Int[Array, ""]
    points: Float[Array, "l d"]
    rows: Int[Array, "s count"]
    keys: Any
    moments: Float[Array, "2 d"]
    prototypes: Float[Array, "p d"]
    temperature: float = eqx.field(static=True, default=1.0)

    def of(self, points: Float[Array, "l d"], rows: Int[Array, "s count"]) -> "Draws":
        """The draws of these `rows` of another population."""
        moments, prototypes = (a.astype(points.dtype) for a in (self.moments, self.prototypes))
        return Draws(
            jnp.int32(0), _padded(points, len(self.points)), rows, self.keys, moments, prototypes,
            self.temperature,
        )  # fmt: skip

    def each(self, resamples: int | None = None) -> tuple[Any, ...]:
        """What [`sample`][Draws.sample] takes of the first `resamples`, or of all of them."""
        return self.rows[:resamples], self.keys[:resamples]

    @full_precision
    def sample(self, one: tuple[Any, ...]) -> Float[Array, "count d"]:
        """The users of one resample."""
        rows, key = one
        count, temperature = len(rows), self.temperature

        def noise() -> Float[Array, "count d"]:
            mean, sd = self.moments
            draws = jax.random.normal(key, (count, len(mean)), mean.dtype)
            return mean[None, :] + sd[None, :] * draws

        return jax.lax.switch(
            self.kind,
            (
                lambda: self.points[rows],
                noise,
                lambda: random_mixture(key, self.prototypes, count, temperature=temperature),
            ),
        )


def _padded(points: Float[Array, "l d"], least: int = 256) -> Float[Array, "m d"]:
    """`points` and rows of zeros: `least` rows, or the next power of two, so that shapes recur."""
    rows = max(least, 1 << (len(points) - 1).bit_length())
    return jnp.pad(points, ((0, rows - len(points)), (0, 0)))


class RealUsers(eqx.Module):
    """Real users, their resamples, and the metrics of floor and ceilings on each.

    S = resamples x (1 + replicates) draws: the first `resamples` give the estimate, each further
    group of as many gives one bootstrap replicate.

    **Arguments:**

    - `real`: all real users; `rows`: (S, size) those of each reference sample; `radius`: of their
      balls; `sigma`, `directions`: shared by all populations; `floor`: the floor's users.
    - `populations`: metrics of "real" (the floor), "noise" and, with prototypes, "random_mixture".
    - `p_values`: (resamples,) of the MMD, by population.
    - `size`, `count`, `resamples`, `k`, `permutations`: as in [`real_users`][].
    - `pool`: number of real users that the resamples are drawn from.
    - `temperature`: τ of the random mixtures.
    """

    real: Float[Array, "n d"]
    rows: Int[Array, "s size"]
    radius: Float[Array, "s size"]
    sigma: Float[Array, ""]
    directions: Float[Array, "c d"]
    floor: Draws
    populations: dict[str, PopulationMetrics]
    p_values: dict[str, Float[Array, " r"]]
    size: int = eqx.field(static=True)
    count: int = eqx.field(static=True)
    resamples: int = eqx.field(static=True)
    k: int = eqx.field(static=True)
    permutations: int = eqx.field(static=True)
    pool: int = eqx.field(static=True)
    temperature: float = eqx.field(static=True, default=1.0)

    @property
    def finite_pool(self) -> float:
        """The factor of one resample's deviation to add to a replicate's mean over resamples.

        The mean of R samples of m out of N users has the variance (1/m - 1/N) σ² / R over samples,
        plus σ² / N because the N users are themselves a sample. For the second part, one resample's
        deviation from the mean, of variance (1/m - 1/N) (1 - 1/R) σ², is added with this factor.
        """
        if self.resamples == 1:
            return 0.0
        within = (self.pool / self.size - 1) * (1 - 1 / self.resamples)
        return (1 / within) ** 0.5


@functools.partial(jax.jit, static_argnames=("k",))
def evaluate(real, rows, radius, draws: Draws, sigma, directions, *, k) -> PopulationMetrics:
    """[`population_metrics`][] of every resample.

    **Arguments:** `real`: the points that `rows` number; `rows`, `radius`, `sigma`, `directions`,
    `k`: as in [`RealUsers`][]; `draws`: the population.
    """

    def one(inputs):
        chosen, reach, each = inputs
        y = draws.sample(each)
        return population_metrics(real[chosen], y, sigma, directions, k=k, radius=reach)

    return jax.lax.map(one, (rows, radius, draws.each()), batch_size=_batch())


@functools.partial(jax.jit, static_argnames=("permutations",))
def permute(key, real, rows, draws: Draws, sigma, *, permutations) -> Float[Array, " r"]:
    """P-values of [`mmd_permutation_test`][] for the resamples in `rows`.

    **Arguments:** `key`: of the permutations; `real`, `rows`: as in [`evaluate`][]; `sigma`,
    `permutations`: as in [`RealUsers`][]; `draws`: the population.
    """

    def one(inputs):
        key, chosen, each = inputs
        y = draws.sample(each)
        test = mmd_permutation_test(key, real[chosen], y, sigma, permutations=permutations)
        return test.p_value

    keys = jax.random.split(key, rows.shape[0])
    return jax.lax.map(one, (keys, rows, draws.each(rows.shape[0])))


@functools.partial(jax.jit, static_argnames=("k",))
def radii(real, rows, k):
    """(S, size) radii of the balls of every reference sample, within that sample."""
    return jax.lax.map(lambda chosen: neighbour_radius(real[chosen], k), rows, batch_size=_batch())


def measured(
    key: PRNGKey, real, rows, radius, draws: Draws, sigma, directions, *, resamples: int, k: int,
    permutations: int,
) -> tuple[PopulationMetrics, Float[Array, " r"]]:  # fmt: skip
    """Metrics of every resample, and p-values of the first `resamples`, once they are there.

    **Arguments:** `key`, `permutations`: of [`permute`][]; `real`, `rows`, `radius`, `draws`,
    `sigma`, `directions`, `k`: of [`evaluate`][]; `resamples`: as in [`real_users`][].
    """
    with one_blas_thread():
        found = evaluate(real, rows, radius, draws, sigma, directions, k=k)
        p_values = permute(key, real, rows[:resamples], draws, sigma, permutations=permutations)
        return jax.block_until_ready((found, p_values))


def _batch() -> int | None:
    """Resamples at a time under `vmap`: one uses a CPU fully, an accelerator needs many."""
    return None if jax.default_backend() == "cpu" else 64


def real_users(
    key: PRNGKey,
    real: Numbers,
    *,
    prototypes: Numbers | None = None,
    temperature: float = 1.0,
    size: int | None = None,
    count: int | None = None,
    resamples: int = 5,
    replicates: int = 200,
    k: int = 5,
    projections: int = 500,
    permutations: int = 500,
    on_part: Callable[[int], None] | None = None,
) -> RealUsers:
    """Resamples of real users with the metrics of floor and ceilings (section 3.4).

    σ of the MMD is the median distance of real users who are in none of the resamples, if at least
    `size` users remain (at most 1000 are used); otherwise that of at most 2000 of all users.

    **Arguments:**

    - `key`: of all draws.
    - `real`: (n, d) embeddings of real users, on the host or the device.
    - `prototypes`: (p, d) projections of the reference context, for the random-mixture ceiling.
    - `temperature`: τ of the encoder's mixtures, as in [`mixture_weights`][]; static.
    - `size`, `count`: real users per reference sample, and per floor and ceiling. Both are 500, or
      half of the users where there are fewer than 1000. `count` must be the number of personas
      that are compared.
    - `resamples`: averaged in an estimate; `replicates`: of the bootstrap.
    - `k`, `projections`, `permutations`: of PRDC, sliced Wasserstein and the MMD's p-value.
    - `on_part`: called with the number of its two or three populations that have been measured.

    **Raises:** `ValueError` if there are too few users for disjoint samples, for NaN, or numbers
    that are not positive.
    """
    real = population(real, "real", 2 * (k + 1))
    check_temperature(temperature)
    if prototypes is not None:
        _, prototypes = populations(real, prototypes, names=("real", "prototypes"))
    n = real.shape[0]
    size = min(500, n // 2) if size is None else size
    count = min(500, n // 2) if count is None else count
    for name, value, least in (
        ("size", size, k + 1),
        ("count", count, k + 1),
        ("resamples", resamples, 1),
        ("replicates", replicates, 2),
        ("projections", projections, 1),
    ):
        positive(name, value, least)
    if size + count > n:
        raise ValueError(
            f"`real` has {n} users; {size} for reference and {count} others for the floor are "
            "needed: pass smaller `size` and `count`"
        )
    split_key, direction_key, noise_key, mixture_key, p_key = jax.random.split(key, 5)
    total = resamples * (1 + replicates)
    sigma, pool, picked = _resamples(split_key, real, size, count, total)
    rows, others = picked[:, :size], picked[:, size:]
    directions = random_directions(direction_key, real.shape[1], projections, real.dtype)
    controls = _controls(noise_key, mixture_key, real, others, prototypes, temperature)
    floor = controls["real"]
    radius = radii(floor.points, rows, k)
    found, p_values = {}, {}
    for name, each in controls.items():
        found[name], p_values[name] = measured(
            p_key, floor.points, rows, radius, each, sigma, directions,
            resamples=resamples, k=k, permutations=permutations,
        )  # fmt: skip
        if on_part is not None:
            on_part(len(found))
    return RealUsers(
        real, rows, radius, sigma, directions, floor, found, p_values,
        size=size, count=count, resamples=resamples, k=k, permutations=permutations, pool=pool,
        temperature=temperature,
    )  # fmt: skip


def _resamples(
    key: PRNGKey, real: Float[Array, "n d"], size: int, count: int, total: int
) -> tuple[Float[Array, ""], int, Int[Array, "s c"]]:
    """(σ, users that the resamples draw from, row numbers of all `total` of them).

    Of each row of numbers, the first `size` are the reference sample, the others the floor.
    """
    n = real.shape[0]
    rng = host_generator(key)  # a draw of few rows need not sort all
    order = rng.permutation(n)
    aside = min(1000, n - size - count)
    if aside >= size:
        sigma, pool = median_distance(real[order[:aside]]), order[aside:]
    else:
        sigma, pool = median_distance(real[order[:2000]]), order
    picked = [pool[rng.choice(len(pool), size + count, replace=False)] for _ in range(total)]
    return sigma, len(pool), jnp.asarray(np.stack(picked).astype(np.int32))


def _controls(
    noise_key: PRNGKey,
    mixture_key: PRNGKey,
    real: Float[Array, "n d"],
    others: Int[Array, "s count"],
    prototypes: Float[Array, "p d"] | None,
    temperature: float,
) -> dict[str, Draws]:
    """Floor and ceilings by name."""
    total = len(others)
    mixed = real[:1] if prototypes is None else prototypes.astype(real.dtype)  # unused if None
    noise_keys = jax.random.split(noise_key, total)
    floor = Draws(
        jnp.int32(0), _padded(real), others, noise_keys, jnp.stack(spread(real)), mixed, temperature
    )  # fmt: skip
    draws = {"real": floor, "noise": eqx.tree_at(lambda d: d.kind, floor, jnp.int32(1))}
    if prototypes is not None:
        keys = jax.random.split(mixture_key, total)
        draws["random_mixture"] = eqx.tree_at(
            lambda d: (d.kind, d.keys), floor, (jnp.int32(2), keys)
        )
    return draws
