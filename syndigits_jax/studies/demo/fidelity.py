"""The fidelity part of the demonstration: simulated personas with a known gap."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets import RatingTable
from syndigits_jax.datasets.preference_simulator import (
    PreferenceTruth,
    simulate_personas,
    simulate_preferences,
)
from syndigits_jax.fidelity import (
    FidelityMeasures,
    RealUsers,
    control_measures,
    fidelity_measures,
    fit_transport_map,
    rank_agreement,
    real_users,
    resample,
    reweight_transport,
)
from syndigits_jax.preferences import place_newton, user_embedding
from syndigits_jax.preferences.encoder import ScoreGram, gram_scores
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key
from syndigits_jax.results.records import check_results_path
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.workflows.fidelity.records import (
    FidelityRecord,
    panel_records,
    write_fidelity_results,
)

RESULTS = "fidelity.json"
KNOWN, PLACED = "known", "newton"
_ROW = "row"


@dataclasses.dataclass(frozen=True)
class FidelityDemoSettings:
    """Sizes of the simulation, and the strength of the simulated collapse.

    - `items`: their number, all rated by all users; `spread`: of users' preferences; `seed`: of the
      simulation.
    - `fitted`: number of users, and personas, to whom repairs are fitted; `judged`: number of those
      who are measured. Personas are made from other users than those in the comparison.
    - `shrink`, `lean`, `noise`: of the collapsed personas, as in `simulate_personas`.
    - `replicates`, `projections`, `permutations`: of the panels.
    """

    items: int = 60
    spread: float = 2.0
    seed: int = 2
    fitted: int = 250
    judged: int = 500
    shrink: float = 0.2
    lean: float = 0.8
    noise: float = 0.3
    replicates: int = 30
    projections: int = 50
    permutations: int = 100


@dataclasses.dataclass(frozen=True, eq=False)
class FidelityDemo:
    """Results of the fidelity demonstration.

    - `records`: of the populations `real` (the floor), `noise` (the ceiling), `faithful`,
      `collapsed`, `reweighted`, `transported`; `procedure` is `newton` for placements from ratings,
      and `known` for the true positions.
    - `populations`: (n, d) embeddings as placed, by name.
    """

    settings: FidelityDemoSettings
    records: list[FidelityRecord]
    populations: dict[str, Float[np.ndarray, "n d"]]

    def number(self, population: str, metric: str, procedure: str = PLACED) -> FidelityRecord:
        """One of the records. **Raises:** `KeyError` if there is none."""
        wanted = (population, metric, procedure)
        for r in self.records:
            if (r.population, r.metric, r.procedure) == wanted:
                return r
        raise KeyError(wanted)


def run_fidelity_demo(
    out: str | os.PathLike[str] | None = None, settings: FidelityDemoSettings | None = None
) -> FidelityDemo:
    """Measure and repair simulated personas with known preferences.

    Writes `fidelity.json` to `out` and saves finished work there.

    **Raises:** `ValueError` if `fidelity.json` exists and is not a results file.
    """
    settings = FidelityDemoSettings() if settings is None else settings
    if out is not None:
        check_results_path(Path(out) / RESULTS)

    def unit() -> str:
        said = {"demo": "fidelity", "settings": settings, "data": _simulated(settings)}
        return unit_key(("studies.demo.fidelity",), **said)

    arrays, _ = kept(Checkpoints.under(out), unit, lambda: _measured(settings))
    records, populations = [], {}
    for name, array in arrays.items():
        kind, *parts = name.split("/")
        if kind == _ROW:
            population, procedure, metric = parts
            mean, low, high = map(float, array)
            records.append(
                FidelityRecord(population, metric, procedure, procedure, mean, low, high)
            )
        else:
            populations[kind] = array
    demo = FidelityDemo(settings, records, populations)
    if out is not None:
        counts = {"users": settings.fitted + settings.judged, "items": settings.items}
        write_fidelity_results(Path(out) / RESULTS, records, counts=counts, settings=settings)
    return demo


@dataclasses.dataclass(frozen=True, eq=False)
class _Simulation:
    """Ratings (n, M) and true logits (n, p) of users and, by name, of personas.

    The users from whom personas are made come last.
    """

    ratings: dict[str, Float[np.ndarray, "n M"]]
    w: dict[str, Float[np.ndarray, "n p"]]
    vectors: Float[np.ndarray, "M e"]


@functools.cache
def _simulation(settings: FidelityDemoSettings) -> tuple[_Simulation, PreferenceTruth]:
    size, m = settings.fitted + settings.judged, settings.items
    table, truth = simulate_preferences(
        2 * size, m, key=settings.seed, ratings=m, spread=settings.spread
    )
    seeds = np.arange(size, 2 * size)
    faithful = simulate_personas(truth, seeds, key=settings.seed + 1)
    collapsed = simulate_personas(
        truth, seeds, key=settings.seed + 2,
        shrink=settings.shrink, lean=settings.lean, noise=settings.noise,
    )  # fmt: skip
    tables: dict[str, tuple[RatingTable, np.ndarray]] = {
        "real": (table, truth.w), "faithful": faithful, "collapsed": collapsed
    }  # fmt: skip
    ratings = {name: t.matrix() for name, (t, _) in tables.items()}
    return _Simulation(ratings, {name: w for name, (_, w) in tables.items()}, truth.vectors), truth


def _simulated(settings: FidelityDemoSettings) -> _Simulation:
    return _simulation(settings)[0]


def _measured(settings: FidelityDemoSettings) -> dict[str, np.ndarray]:
    """All numbers by `row/population/procedure/metric`, (mean, low, high); populations by name."""
    simulation, truth = _simulation(settings)
    gram, half = truth.gram, settings.fitted
    size = half + settings.judged
    names = list(simulation.ratings)
    ends = np.cumsum([len(simulation.ratings[name]) for name in names])[:-1]
    together = np.concatenate([simulation.ratings[name] for name in names])
    dtype = gram.numerator.dtype
    placed = jax.jit(place_newton)(gram, jnp.asarray(together, dtype))
    logits = dict(zip(names, np.split(np.asarray(placed.w), ends), strict=True))

    keys = jax.random.split(jax.random.key(settings.seed), 4)
    found: dict[str, np.ndarray] = {}
    embed = jax.jit(lambda w: user_embedding(gram.prototypes, w))
    for procedure, by_name in ((KNOWN, simulation.w), (PLACED, logits)):
        at = {name: embed(jnp.asarray(w)) for name, w in by_name.items()}
        reference = _reference(keys[0], at["real"][half:size], settings)
        others = {name: at[name][half:] for name in ("faithful", "collapsed")}
        if procedure == PLACED:
            fit = at["real"][:half], at["collapsed"][:half]
            others |= _repaired(keys[1], *fit, others["collapsed"])
            found |= {"real": np.asarray(reference.real)}
            found |= {name: np.asarray(y) for name, y in others.items()}
        for name in ("real", "noise"):
            found |= _rows(name, procedure, control_measures(reference, name))
        for name, y in others.items():
            found |= _rows(name, procedure, fidelity_measures(keys[2], reference, y))

    seeds = logits["real"][size:]
    for metric, rows in (("rank_accuracy", 0), ("rank_accuracy_shuffled", 1)):
        accuracy = _agreement(keys[3], gram, logits["collapsed"], np.roll(seeds, rows, axis=0))
        found[f"{_ROW}/collapsed/{PLACED}/{metric}"] = np.array([accuracy, np.nan, np.nan])
    return found


@jax.jit
def _agreement(key: PRNGKey, gram: ScoreGram, personas: Array, seeds: Array) -> Array:
    return rank_agreement(key, gram_scores(gram, personas), gram_scores(gram, seeds)).accuracy


def _reference(
    key: PRNGKey, real: Float[Array, "n d"], settings: FidelityDemoSettings
) -> RealUsers:
    return real_users(
        key, real, replicates=settings.replicates, projections=settings.projections,
        permutations=settings.permutations,
    )  # fmt: skip


@jax.jit
def _repaired(
    key: PRNGKey,
    users: Float[Array, "k d"],
    personas: Float[Array, "k d"],
    judged: Float[Array, "n d"],
) -> dict[str, Float[Array, "n d"]]:
    """The judged personas, resampled by weights, and moved by a map fitted to others."""
    weights = reweight_transport(users, judged)
    return {
        "reweighted": resample(key, judged, weights, len(judged)),
        "transported": fit_transport_map(users, personas).value(judged),
    }


def _rows(name: str, procedure: str, panel: FidelityMeasures) -> Mapping[str, np.ndarray]:
    records = panel_records(name, procedure, procedure, panel.rows())
    return {
        f"{_ROW}/{name}/{procedure}/{r.metric}": np.array([r.mean, r.low, r.high]) for r in records
    }
