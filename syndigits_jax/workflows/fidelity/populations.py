"""Comparison of personas, baselines and real users as populations, and of personas with seeds."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity import (
    control_measures,
    fidelity_measures,
    held_in_coverage,
    moment_matched_noise,
    paired_distance,
    paired_measures,
    random_mixture,
    real_users,
)
from syndigits_jax.preferences.encoder import ScoreGram, gram_scores
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key
from syndigits_jax.solvers.blas import one_blas_thread
from syndigits_jax.solvers.keys import PRNGKey, key_data
from syndigits_jax.workflows.fidelity.records import FidelityRecord, is_personas, panel_records
from syndigits_jax.workflows.fidelity.samplers import PanelSettings as PanelSettings
from syndigits_jax.workflows.fidelity.samplers import baselines

REAL = "real"
NO_PAIR = "real (no training pair)"
_ALIKE = 0.8  # sizes of samples that far apart or less become one
_PROBES = 1000  # the most items whose scores are compared, those with most persona ratings


class Users(NamedTuple):
    """Placed raters: logits (n, p), embeddings (n, d), and which of them are used (n,)."""

    w: Float[Array, "n p"]
    embedding: Float[Array, "n d"]
    there: Bool[np.ndarray, " n"]

    def population(self) -> Float[Array, "l d"]:
        """The embeddings of the raters that are used."""
        return self.embedding[np.flatnonzero(self.there)]


class PairedColumns(NamedTuple):
    """Distance of each persona to its own seed (`own`) and to another persona's seed (`shuffled`).

    Shapes (l,), in units of the embedding. `norm_ratio`: its norm relative to its own seed's.
    """

    own: Float[np.ndarray, " l"]
    shuffled: Float[np.ndarray, " l"]
    norm_ratio: Float[np.ndarray, " l"]


class Compared(NamedTuple):
    """A population to compare with real users: its name, how it was placed, embeddings (l, d)."""

    population: str
    procedure: str
    points: Float[Array, "l d"]

    def label(self, reference: str) -> str:
        """The name, followed by the procedure where that is ambiguous."""
        apart = is_personas(self.population) or self.procedure != reference
        return f"{self.population} ({self.procedure})" if apart else self.population


def compare_populations(
    key: PRNGKey,
    users: Mapping[str, Users],
    personas: Mapping[tuple[str, str], Users],
    prototypes: Float[Array, "p d"],
    settings: PanelSettings,
    notes: list[str],
    *,
    temperature: float = 1.0,
    store: Checkpoints | None = None,
    on_part: Callable[[str, int, int], None],
) -> tuple[list[FidelityRecord], dict[str, dict[str, Float[np.ndarray, "l d"]]]]:
    """Panels of all populations against each placement of real users, and their embeddings.

    Users as trained are compared with all personas, with users placed by another procedure (the
    effect of the procedure alone) and with users without a training pair. Users placed by a
    procedure are compared with the personas placed by it.

    **Arguments:**

    - `key`: for baselines and resampling.
    - `users`: real users by procedure, at least 2 (k + 1) in each.
    - `personas`: by population and procedure.
    - `prototypes`: (p, d) of the encoder; `temperature`: of the encoder.
    - `settings`: metrics, resamples and baselines.
    - `notes`: a list to which comparisons that are left out are added.
    - `store`: where the comparisons with one placement of real users are kept once they are
      finished, and read back; `None` for nowhere.
    - `on_part`: called with the comparison that begins, the number done, and the total.

    **Returns:** records, and embeddings (l, d) by reference and population.
    """
    records: list[FidelityRecord] = []
    populations: dict[str, dict[str, np.ndarray]] = {}
    people = [Compared(*name, p.population()) for name, p in personas.items()]
    sizes = _sizes({n: int(u.there.sum()) for n, u in users.items()}, settings.size)
    tasks = {}
    for reference, group in users.items():
        mine = [p for p in people if reference in ("trained", p.procedure)]
        if not mine:
            continue
        real = group.population()
        size = sizes[reference]
        count = min(size, *(len(p.points) for p in mine))
        if reference == "trained":
            controls = [
                Compared(REAL, n, u.population()) for n, u in users.items() if n != "trained"
            ]
            controls.append(
                Compared(NO_PAIR, "trained", group.embedding[np.flatnonzero(~group.there)])
            )
            for control in controls:
                if len(control.points) >= count:
                    mine.append(control)
                elif len(control.points):
                    notes.append(
                        f"{control.label(reference)} is not compared with real users "
                        f"({reference}): {len(control.points)} users, {count} are needed"
                    )
        if len(real) > settings.held_in_limit:
            notes.append(
                f"no held-in coverage ({reference}): {len(real)} users are more than "
                f"{settings.held_in_limit}"
            )
        tasks[reference] = (real, mine, size, count)
    done, total = 0, sum(part_count(mine, settings) for _, mine, _, _ in tasks.values()) + 1
    for number, (reference, (real, others, size, count)) in enumerate(tasks.items()):

        def tell(text: str, more: int, done: int = done) -> None:
            on_part(text, done + more, total)

        found, populations[reference] = _kept(
            store, jax.random.fold_in(key, number), reference, real, others, prototypes, settings,
            size=size, count=count, temperature=temperature, on_part=tell,
        )  # fmt: skip
        records += found
        done += part_count(others, settings)
    on_part("panels", total, total)
    return records, populations


def part_count(others: Sequence[Compared], settings: PanelSettings) -> int:
    """The parts of [`compare_with_real`][]: floor, two ceilings, the others and the baselines."""
    return 3 + len(others) + len(settings.samplers)


def _sizes(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Real users per reference sample: half of them, at most `most`.

    Metrics depend on the size, so that references of nearly as many users have the same one (and
    the same compiled programs).
    """
    sizes = {name: min(most, count // 2) for name, count in counts.items()}
    return {
        name: min(other for other in sizes.values() if _ALIKE * size <= other)
        for name, size in sizes.items()
    }


def _kept(
    store: Checkpoints | None,
    key: PRNGKey,
    reference: str,
    real: Float[Array, "n d"],
    others: Sequence[Compared],
    prototypes: Float[Array, "p d"],
    settings: PanelSettings,
    *,
    on_part: Callable[[str, int], None],
    **sizes: Any,
) -> tuple[list[FidelityRecord], dict[str, Float[np.ndarray, "l d"]]]:
    """[`compare_with_real`][], or what it found before."""

    def compute() -> dict[str, np.ndarray]:
        with one_blas_thread():
            records, populations = compare_with_real(
                key, reference, real, others, prototypes, settings, on_part=on_part, **sizes
            )
        said = json.dumps([dataclasses.astuple(record) for record in records])
        return {
            "records": np.array(said),
            "names": np.array(json.dumps(list(populations))),
            **{f"population{i}": z for i, z in enumerate(populations.values())},
        }

    def unit() -> str:
        name = unit_key(
            ("workflows.fidelity.populations",), key=key_data(key), reference=reference, real=real,
            others=[list(each) for each in others], prototypes=prototypes, settings=settings,
            **sizes,
        )  # fmt: skip
        return f"panels-{reference}-{name}"

    arrays, _ = kept(store, unit, compute)
    records = [FidelityRecord(*values) for values in json.loads(str(arrays["records"]))]
    names = json.loads(str(arrays["names"]))
    return records, {name: arrays[f"population{i}"] for i, name in enumerate(names)}


def compare_with_real(
    key: PRNGKey,
    reference: str,
    real: Float[Array, "n d"],
    others: Sequence[Compared],
    prototypes: Float[Array, "p d"],
    settings: PanelSettings,
    *,
    size: int,
    count: int,
    temperature: float = 1.0,
    on_part: Callable[[str, int], None],
) -> tuple[list[FidelityRecord], dict[str, Float[np.ndarray, "l d"]]]:
    """Panels of floor, ceilings, `others` and baselines against one placement of real users.

    **Arguments:**

    - `key`: for baselines and resampling.
    - `reference`: how `real` users were placed.
    - `real`: (n, d) their embeddings.
    - `others`: populations to compare, at least `count` points each.
    - `prototypes`: (p, d) of the encoder.
    - `settings`: metrics, resamples and baselines.
    - `size`, `count`, `temperature`: as in `real_users`.
    - `on_part`: called with the comparison that begins, and how many of the parts (3 for floor and
      ceilings, one for each of `others` and of the baselines) are done.

    **Returns:** records, and embeddings by population, those of `real` first.
    """
    ref_key, base_key, panel_key = jax.random.split(key, 3)

    def begun(done: int) -> None:
        on_part(f"panels, floor and ceilings ({reference})", done)

    begun(0)
    made = real_users(
        ref_key, real, prototypes=prototypes, size=size, count=count,
        resamples=settings.resamples, replicates=settings.replicates, k=settings.k,
        projections=settings.projections, permutations=settings.permutations,
        temperature=temperature, on_part=begun,
    )  # fmt: skip
    records: list[FidelityRecord] = []
    for name in made.populations:
        records += panel_records(name, reference, reference, control_measures(made, name).rows())
    samplers = baselines(base_key, real, prototypes, count, settings)
    everyone = [*others, *(Compared(name, reference, y) for name, y in samplers.items())]
    for position, each in enumerate(everyone):
        label = each.label(reference)
        on_part(f"panels, {label} against real users ({reference})", 3 + position)
        panel = fidelity_measures(jax.random.fold_in(panel_key, position), made, each.points)
        rows = panel.rows()
        if is_personas(each.population) and len(real) <= settings.held_in_limit:
            rows += _held_in(real, each.points, settings.k)
        records += panel_records(each.population, each.procedure, reference, rows)
    # Ceilings are drawn again in every resample; these draws are for figures.
    noise_key, mixture_key = jax.random.split(ref_key)
    return records, {
        REAL: np.asarray(real),
        **{each.label(reference): np.asarray(each.points) for each in everyone},
        "noise": np.asarray(moment_matched_noise(noise_key, real, count)),
        "random_mixture": np.asarray(
            random_mixture(mixture_key, prototypes, count, temperature=temperature)
        ),
    }


def _held_in(real: Float[Array, "n d"], y: Float[Array, "l d"], k: int) -> list[dict]:
    """Held-in coverage, and its expected value for as many other real users."""
    found = held_in_coverage(real, y, k)
    nothing = {"low": np.nan, "high": np.nan}
    return [
        {"metric": "held_in_coverage", "mean": float(found.coverage), **nothing},
        {"metric": "held_in_coverage_of_real_users", "mean": float(found.real), **nothing},
    ]


def compare_pairs(
    key: PRNGKey,
    gram: ScoreGram,
    ratings: RatingTable,
    seed_rows: Int[np.ndarray, " l"],
    users: Mapping[str, Users],
    personas: Mapping[tuple[str, str], Users],
    settings: PanelSettings,
    notes: list[str],
) -> tuple[list[FidelityRecord], dict[tuple[str, str, str], PairedColumns]]:
    """Paired metrics of personas and their seeds, as trained and placed by the same procedure.

    Scores are compared at the items that most personas rated.

    **Arguments:**

    - `key`: for triplets and the bootstrap.
    - `gram`: score forms of the whole catalogue.
    - `ratings`: of the personas.
    - `seed_rows`: (l,) the row of each persona's user, -1 if none.
    - `users`: real users by procedure.
    - `personas`: by population and procedure, with the rows of `ratings`.
    - `settings`: for `triplets` and `paired_replicates`.
    - `notes`: a list to which comparisons that are left out are added.

    **Returns:** records, and distances by (population, procedure, reference).
    """
    counts = ratings.item_counts()
    probes = np.sort(np.argsort(-counts, kind="stable")[:_PROBES])
    probes = probes[counts[probes] > 0]
    answers = ratings.matrix(probes)
    at_probes = gram.take(jnp.asarray(probes))
    score = eqx.filter_jit(gram_scores)
    records: list[FidelityRecord] = []
    columns: dict[tuple[str, str, str], PairedColumns] = {}
    for number, (reference_name, group) in enumerate(users.items()):
        for (population, procedure), people in personas.items():
            if reference_name not in ("trained", procedure):
                continue
            if not (people.there & (seed_rows >= 0)).any():
                continue  # no persona has a seed
            with_seed = people.there & (seed_rows >= 0)
            with_seed &= group.there[np.maximum(seed_rows, 0)]
            rows = np.flatnonzero(with_seed)
            if len(rows) < 2:
                notes.append(
                    f"no paired metrics of {population} placed by {procedure} and users placed by "
                    f"{reference_name}: {len(rows)} personas have a seed with a pair of ratings"
                )
                continue
            of_seed = seed_rows[rows]
            mine, theirs = people.embedding[rows], group.embedding[of_seed]
            values = jnp.asarray(answers[rows], mine.dtype)
            panel = paired_measures(
                jax.random.fold_in(key, number), theirs, mine,
                seed_scores=score(at_probes, group.w[of_seed]),
                persona_scores=score(at_probes, people.w[rows]),
                ratings=values, triplets=settings.triplets, replicates=settings.paired_replicates,
            )  # fmt: skip
            records += panel_records(population, procedure, reference_name, panel.rows())
            norms = [np.linalg.norm(np.asarray(z), axis=1) for z in (mine, theirs)]
            columns[population, procedure, reference_name] = PairedColumns(
                np.asarray(paired_distance(theirs, mine)),
                np.asarray(paired_distance(jnp.roll(theirs, 1, axis=0), mine)),
                norms[0] / norms[1],
            )
    return records, columns
