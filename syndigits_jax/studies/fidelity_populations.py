"""Personas, baselines and real users compared as populations, and personas with their seeds."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity import (
    dirichlet_interpolation,
    fidelity_panel,
    fidelity_reference,
    fit_gaussian_mixture,
    held_in_coverage,
    moment_matched_noise,
    paired_distance,
    paired_panel,
    prototype_perturbation,
    random_mixture,
    reference_panel,
)
from syndigits_jax.fidelity.encoder import PRNGKey, ScoreGram, gram_scores
from syndigits_jax.studies.fidelity_records import FidelityRecord, panel_records

REAL = "real"
_FIT_USERS = 5000  # that a Gaussian mixture is fitted to
_PROBES = 1000  # items whose scores are compared, those that most personas rated


@dataclasses.dataclass(frozen=True)
class PanelSettings:
    """Metrics, resamples and baselines.

    - `size`: real users, and personas, per resample: at most this, or half of the users.
    - `resamples`, `replicates`, `k`, `projections`, `permutations`: as in `fidelity_reference`.
    - `components`: of the Gaussian mixtures; at most one per ten users.
    - `anchors`, `concentration`: of Dirichlet interpolation; `sigma`: of prototype perturbation.
    - `held_in_limit`: users above which held-in coverage, of a cost that grows with the square of
      their number, is left out.
    - `triplets`: of rank accuracy; `paired_replicates`: of the paired metrics' bootstrap.
    """

    size: int = 500
    resamples: int = 5
    replicates: int = 200
    k: int = 5
    projections: int = 500
    permutations: int = 500
    components: int = 16
    anchors: int = 3
    concentration: float = 1.0
    sigma: float = 0.01
    held_in_limit: int = 50_000
    triplets: int = 10_000
    paired_replicates: int = 1000

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(
                    f"`{field.name}` must be positive, got {getattr(self, field.name)}"
                )


class Users(NamedTuple):
    """Raters placed: logits (n, p), embeddings (n, d), and who of them counts (n,)."""

    w: Float[Array, "n p"]
    embedding: Float[Array, "n d"]
    there: Bool[np.ndarray, " n"]

    def population(self) -> Float[Array, "l d"]:
        return self.embedding[np.flatnonzero(self.there)]


class PairedColumns(NamedTuple):
    """Distance of each persona to its seed, to another persona's seed, and its length over both.

    Shapes (l,), in the units of the embedding; `norm_ratio` is that to its own seed.
    """

    own: Float[np.ndarray, " l"]
    shuffled: Float[np.ndarray, " l"]
    norm_ratio: Float[np.ndarray, " l"]


def compare_populations(
    key: PRNGKey,
    users: Mapping[str, Users],
    personas: Mapping[str, Users],
    prototypes: Float[Array, "p d"],
    settings: PanelSettings,
    *,
    on_part: Callable[[str, int, int], None],
) -> tuple[list[FidelityRecord], dict[str, dict[str, Float[np.ndarray, "l d"]]]]:
    """Panels of all populations against each placement of real users, and their embeddings.

    **Arguments:** `users`: by procedure, at least 2 (k + 1) of them in each; `personas`: by
    procedure; `on_part`: told what is compared, how many are done and how many there are.
    """
    records: list[FidelityRecord] = []
    populations: dict[str, dict[str, np.ndarray]] = {}
    done, total = 0, len(users) * (5 + len(personas)) + 1
    for number, (reference_name, group) in enumerate(users.items()):
        own_key = jax.random.fold_in(key, number)
        ref_key, base_key, panel_key = jax.random.split(own_key, 3)
        real = group.population()
        others = {f"personas ({name})": (p.population(), name) for name, p in personas.items()}
        size = min(settings.size, len(real) // 2)
        count = min(size, *(len(y) for y, _ in others.values()))
        on_part(f"panels, floor and ceilings ({reference_name})", done, total)
        reference = fidelity_reference(
            ref_key, real, prototypes=prototypes, size=size, count=count,
            resamples=settings.resamples, replicates=settings.replicates, k=settings.k,
            projections=settings.projections, permutations=settings.permutations,
        )  # fmt: skip
        for name in reference.populations:
            rows = reference_panel(reference, name).rows()
            records += panel_records(name, reference_name, reference_name, rows)
        done += 1
        for name, y in baselines(base_key, real, prototypes, count, settings).items():
            others[name] = (y, reference_name)
        if reference_name == "trained" and "ssr" in users:
            # Real users against real users: what the procedure alone makes of them.
            control = users["ssr"].population()
            if len(control) >= count:
                others["real (ssr)"] = (control, "ssr")
        for position, (label, (y, procedure)) in enumerate(others.items()):
            on_part(f"panels, {label} against real users ({reference_name})", done, total)
            panel = fidelity_panel(jax.random.fold_in(panel_key, position), reference, y)
            name = label.partition(" (")[0]
            rows = panel.rows()
            if name == "personas" and len(real) <= settings.held_in_limit:
                rows += _held_in(real, y, settings.k)
            records += panel_records(name, procedure, reference_name, rows)
            done += 1
        # Ceilings are drawn anew in every resample; these are draws to look at.
        noise_key, mixture_key = jax.random.split(ref_key)
        populations[reference_name] = {
            REAL: np.asarray(real),
            **{name: np.asarray(y) for name, (y, _) in others.items()},
            "noise": np.asarray(moment_matched_noise(noise_key, real, count)),
            "random_mixture": np.asarray(random_mixture(mixture_key, prototypes, count)),
        }
    on_part("panels", total, total)
    return records, populations


def baselines(
    key: PRNGKey,
    real: Float[Array, "n d"],
    prototypes: Float[Array, "p d"],
    count: int,
    settings: PanelSettings,
) -> dict[str, Float[Array, "count d"]]:
    """The samplers of section 4 that are not floor or ceiling, `count` draws of each, by name."""
    keys = jax.random.split(key, 7)
    fitted = real
    if len(real) > _FIT_USERS:
        fitted = real[jax.random.choice(keys[0], len(real), (_FIT_USERS,), replace=False)]
    components = max(1, min(settings.components, len(fitted) // 10))
    found = {
        "dirichlet": dirichlet_interpolation(
            keys[1], real, count, anchors=min(settings.anchors, len(real)),
            concentration=settings.concentration,
        ),
        "prototype_perturbation": prototype_perturbation(
            keys[2], prototypes, count, sigma=settings.sigma, concentration=settings.concentration
        ),
    }  # fmt: skip
    for position, covariance in enumerate(("diagonal", "full")):
        fit = jax.jit(
            functools.partial(fit_gaussian_mixture, components=components, covariance=covariance)
        )
        mixture = fit(keys[3 + position], fitted).value
        found[f"gaussian_mixture_{covariance}"] = mixture.sample(keys[5 + position], count)
    return found


def _held_in(real: Float[Array, "n d"], y: Float[Array, "l d"], k: int) -> list[dict]:
    """Coverage with radii within all users, and what as many fresh real users would reach."""
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
    personas: Mapping[str, Users],
    settings: PanelSettings,
    notes: list[str],
) -> tuple[list[FidelityRecord], dict[tuple[str, str], PairedColumns]]:
    """Paired metrics of personas and their seeds, as trained and placed by the same procedure.

    Scores are compared at the items that most personas rated. **Arguments:** `ratings`: of the
    personas; `seed_rows`: (l,) their users, -1 where there is none; `notes`: gets what is left out.
    """
    counts = ratings.item_counts()
    probes = np.sort(np.argsort(-counts, kind="stable")[:_PROBES])
    probes = probes[counts[probes] > 0]
    answers = ratings.matrix(probes)
    at_probes = gram.take(jnp.asarray(probes))
    score = eqx.filter_jit(gram_scores)
    records: list[FidelityRecord] = []
    columns: dict[tuple[str, str], PairedColumns] = {}
    for number, (reference_name, group) in enumerate(users.items()):
        for procedure, people in personas.items():
            if reference_name not in ("trained", procedure):
                continue
            with_seed = people.there & (seed_rows >= 0)
            with_seed &= group.there[np.maximum(seed_rows, 0)]
            rows = np.flatnonzero(with_seed)
            if len(rows) < 2:
                notes.append(
                    f"no paired metrics of personas placed by {procedure} and users placed by "
                    f"{reference_name}: {len(rows)} personas have a seed with a pair of ratings"
                )
                continue
            of_seed = seed_rows[rows]
            mine, theirs = people.embedding[rows], group.embedding[of_seed]
            values = jnp.asarray(answers[rows], mine.dtype)
            panel = paired_panel(
                jax.random.fold_in(key, number), theirs, mine,
                seed_scores=score(at_probes, group.w[of_seed]),
                persona_scores=score(at_probes, people.w[rows]),
                ratings=values, triplets=settings.triplets, replicates=settings.paired_replicates,
            )  # fmt: skip
            records += panel_records("personas", procedure, reference_name, panel.rows())
            norms = [np.linalg.norm(np.asarray(z), axis=1) for z in (mine, theirs)]
            columns[procedure, reference_name] = PairedColumns(
                np.asarray(paired_distance(theirs, mine)),
                np.asarray(paired_distance(jnp.roll(theirs, 1, axis=0), mine)),
                norms[0] / norms[1],
            )
    return records, columns
