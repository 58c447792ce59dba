"""All fidelity metrics of one population, with intervals and the index."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers
from ..solvers.checks import check_known_squares
from ..solvers.distances import populations
from ..solvers.keys import PRNGKey, host_generator
from .index import fidelity_gap_index, stable_gap
from .real_users import (
    METRICS,
    PopulationMetrics,
    RealUsers,
    measured,
)

INDEXED = ("frechet", "mmd2", "sliced_wasserstein", "coverage")
"""The metrics that have an index in the paper."""

_FRACTIONS = ("precision", "recall", "coverage")


class Estimate(NamedTuple):
    """A number and its interval; NaN where undefined."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class FidelityMeasures:
    """All metrics of one population.

    - `metrics`: by name of the metric, means over the resamples with bootstrap intervals.
    - `index`: by ceiling, then by metric; NaN where `stable` is False.
    - `stable`: like `index`, whether floor and ceiling are far enough apart ([`stable_gap`][]).
    - `resampled`: (resamples,) values behind `metrics`.
    - `p_values`: (resamples,) of the MMD. Their mean is what the paper prints; twice it is a valid
      p-value of all resamples together.
    """

    metrics: dict[str, Estimate]
    index: dict[str, dict[str, Estimate]]
    stable: dict[str, dict[str, bool]]
    resampled: dict[str, Float[np.ndarray, " r"]]
    p_values: Float[np.ndarray, " r"]

    def rows(self) -> list[dict[str, Any]]:
        """One record per number: `metric`, `mean`, `low`, `high`, by metric and then by ceiling.

        The index against noise is `fgi_coverage`, against another ceiling
        `fgi_coverage_random_mixture`; `mmd_p` has no interval.
        """
        found = [{"metric": name, **value._asdict()} for name, value in self.metrics.items()]
        p_value = float(np.mean(self.p_values))
        found.append({"metric": "mmd_p", "mean": p_value, "low": np.nan, "high": np.nan})
        for ceiling, values in self.index.items():
            suffix = "" if ceiling == "noise" else f"_{ceiling}"
            found += [
                {"metric": f"fgi_{name}{suffix}", **value._asdict()}
                for name, value in values.items()
            ]
        return found


def fidelity_measures(key: PRNGKey, users: RealUsers, y: Numbers) -> FidelityMeasures:
    """All metrics of the population `y`, with bootstrap intervals, and its Fidelity Gap Index.

    An estimate is the mean over resamples of `count` rows of `y`, or of all rows where `y` has no
    more. A bootstrap replicate repeats the whole procedure with fresh real users and with personas
    drawn with replacement; its variance is corrected because the real users are themselves a finite
    sample ([`RealUsers.finite_pool`][]). Duplicates shift most of these metrics, so only
    the deviations of the replicates from their mean are used: low and high are the estimate plus
    their 2.5% and 97.5% quantiles. Where the difference between floor and ceiling is below three of
    its standard errors, the index is NaN and not `stable`.

    **Arguments:** `key`: of the resamples and permutations; `users`: real users with floor and
    ceilings; `y`: (l, d) embeddings of the population.

    **Raises:** `ValueError` if `y` has fewer rows than the `count` of `users`, another width, or
    NaN.
    """
    _, y = populations(users.real, y, names=("users.real", "y"))
    check_known_squares(y=y)
    size, count, resamples = y.shape[0], users.count, users.resamples
    if size < count:
        raise ValueError(
            f"`y` has {size} rows, but floor and ceilings were made with {count}: metrics depend "
            f"on it; make `users` with `count={size}`"
        )
    row_key, p_key = jax.random.split(key)
    rng = host_generator(row_key)
    total = users.rows.shape[0]
    rows = np.empty((total, count), np.int32)
    everyone = np.arange(size)
    for first in range(0, total, resamples):
        pool = everyone if first == 0 else rng.integers(0, size, size)
        for i in range(first, first + resamples):
            rows[i] = pool if size == count else rng.choice(pool, count, replace=False)
    draws = users.floor.of(y, jnp.asarray(rows, users.floor.rows.dtype))
    values, p_values = measured(
        p_key, users.floor.points, users.rows, users.radius, draws, users.sigma, users.directions,
        resamples=resamples, k=users.k, permutations=users.permutations,
    )  # fmt: skip
    return _summary(users, values, p_values)


def control_measures(users: RealUsers, name: str = "real") -> FidelityMeasures:
    """The measures of the floor ("real") or of a ceiling ("noise", "random_mixture").

    **Raises:** `ValueError` for a name that is not in `users`.
    """
    if name not in users.populations:
        raise ValueError(f"`name` must be one of {sorted(users.populations)}, got {name!r}")
    return _summary(users, users.populations[name], users.p_values[name])


def _summary(
    users: RealUsers, values: PopulationMetrics, p_values: Float[Array, " r"]
) -> FidelityMeasures:
    resamples = users.resamples

    def split(of: PopulationMetrics, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of the estimate's resamples, and the replicates."""
        found = np.asarray(getattr(of, name), float).reshape(-1, resamples)
        means = found[1:].mean(axis=1)
        return found[0], means + users.finite_pool * (found[1:, 0] - means)

    metrics, resampled = {}, {}
    for name in METRICS:
        resampled[name], replicates = split(values, name)
        mean = resampled[name].mean()
        metrics[name] = _estimate(mean, mean + replicates - replicates.mean())
        if name in _FRACTIONS:
            metrics[name] = Estimate(*(float(np.clip(v, 0, 1)) for v in metrics[name]))
    index: dict[str, dict[str, Estimate]] = {}
    stable: dict[str, dict[str, bool]] = {}
    for ceiling, of_ceiling in users.populations.items():
        if ceiling == "real":
            continue
        index[ceiling], stable[ceiling] = {}, {}
        for name in INDEXED:
            of_floor = users.populations["real"]
            parts = [split(of, name) for of in (values, of_floor, of_ceiling)]
            estimates = [first.mean() for first, _ in parts]
            ratio = float(fidelity_gap_index(*estimates))
            replicates = [b - b.mean() + e for (_, b), e in zip(parts, estimates)]
            ratios = np.asarray(fidelity_gap_index(*replicates), float)
            # A replicate varies like an estimate does: its SD is the estimate's standard error.
            floor, top = (jnp.asarray(r) for r in replicates[1:])
            far = stable_gap(floor, top, averaged=1, higher_is_closer=name == "coverage")
            stable[ceiling][name] = bool(far)
            index[ceiling][name] = _estimate(ratio, ratios) if far else Estimate(*[np.nan] * 3)
    return FidelityMeasures(metrics, index, stable, resampled, np.asarray(p_values, float))


def _estimate(mean: float, replicates: np.ndarray) -> Estimate:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Estimate(float(mean), float(low), float(high))
