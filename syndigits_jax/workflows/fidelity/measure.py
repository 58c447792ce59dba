"""Fidelity of a population of personas, measured on a user's own ratings and persona ratings.

Follows Kumar, Dev and Garg, "The Persona Fidelity Gap", with an additional control: real users are
placed both as the encoder trained them and by the personas' own procedure (SSR, from ratings that
the encoder was not trained on). Every number has an interval.
"""

import dataclasses
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.preferences import Placement, TrainedEncoder
from syndigits_jax.preferences.pairs import held_out_pair_table
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.results.progress import OnProgress
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.accuracy import held_out_accuracies
from syndigits_jax.workflows.fidelity.parts import CONTROLS as CONTROLS
from syndigits_jax.workflows.fidelity.parts import PROCEDURES as PROCEDURES
from syndigits_jax.workflows.fidelity.parts import FidelitySettings as FidelitySettings
from syndigits_jax.workflows.fidelity.parts import (
    checked_items,
    complement,
    placement_records,
    purpose_key,
    stage_reporter,
    train_on_ratings,
    trained_gram,
)
from syndigits_jax.workflows.fidelity.placing import place_populations
from syndigits_jax.workflows.fidelity.populations import (
    PairedColumns,
    Users,
    compare_pairs,
    compare_populations,
)
from syndigits_jax.workflows.fidelity.records import (
    PERSONAS,
    FidelityRecord,
    panel_records,
    personas_of,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FidelityReport:
    """Result of `measure_fidelity`.

    - `records`: all numbers. `counts`: of ratings, users and personas, used and left out.
    - `trained`: the encoder and the users it was trained with.
    - `personas`: their placement by procedure; those flagged `constant` are in no population.
    - `populations`: embeddings (n, d) by reference, then by population; personas are named
      `personas (ssr)` or `personas: demographic (ssr)`, real users `real`.
    - `paired`: by (population, procedure, reference), distances of each persona to its own seed and
      to the seed of another persona.
    - `notes`: which parts could not be measured, and why.
    - `files`: tables and figures that were written, by `run_fidelity`.
    """

    records: tuple[FidelityRecord, ...]
    counts: dict[str, int]
    trained: TrainedEncoder
    personas: dict[str, Placement]
    populations: dict[str, dict[str, Float[np.ndarray, "n d"]]]
    paired: dict[tuple[str, str, str], PairedColumns]
    notes: tuple[str, ...]
    files: tuple[Path, ...] = ()


def measure_fidelity(
    ratings: RatingTable,
    item_embeddings: Float[Array | np.ndarray, "m e"],
    personas: RatingTable,
    *,
    key: PRNGKey,
    seeds: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    settings: FidelitySettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> FidelityReport:
    """Train the encoder on real users, place personas, and compare the populations.

    Personas are placed by SSR and by Newton's method (or by `settings.procedures`) from all their
    ratings. Real users are placed
    in two ways: those with a training pair, as the encoder trained them (reference `trained`); and
    those with a pair of control ratings, like personas (references `ssr` and `newton`, for personas
    placed by the same procedure). Users and personas without a pair of ratings that differ by the
    gap are counted; such users, who stay at their random start, form a separate population.

    **Arguments:**

    - `ratings`, `personas`: of one catalogue: both list the same m items in the same order.
    - `item_embeddings`: (m, e) text vectors of these items.
    - `key`: for training, placement and resampling.
    - `seeds`: for each persona the real user it was made from, "" if none; adds paired metrics.
    - `conditions`: for each persona the condition under which it was made; each condition is then
      a separate population.
    - `settings`: the defaults if `None`.
    - `out`: a folder where training is saved after every epoch, placements and comparisons once
      they are finished: an interrupted measurement is resumed, with the same result.
    - `on_progress`: called with a [`Progress`][syndigits_jax.results.progress.Progress].

    **Raises:** `ValueError` if the tables differ in items or have fewer than two, embeddings do not
    match, no user has a pair, too few users or personas are left to compare, or a seed is unknown.
    """
    settings = FidelitySettings() if settings is None else settings
    x = _checked(ratings, item_embeddings, personas)
    seed_rows = _seed_rows(ratings, personas, seeds)
    members = _members(personas, conditions)
    say = stage_reporter(on_progress)
    store = Checkpoints.under(out)
    gap = settings.training.gap
    train, validation, test = ratings.split(settings.train, settings.validation)
    notes: list[str] = []
    if not len(validation) or held_out_pair_table(train, validation, gap).total == 0:
        validation = None
        notes.append("no validation pairs: the encoder of the last epoch was taken")

    trained = train_on_ratings(key, x, train, validation, settings, out, say)
    gram = trained_gram(trained, x)
    records: list[FidelityRecord] = []
    earlier = ratings.where(complement(ratings, test))
    accuracies = held_out_accuracies(
        purpose_key(key, "test"), trained, gram, earlier, train, test,
        gap=gap, cap=settings.training.validation_cap,
    )  # fmt: skip
    if not accuracies:
        notes.append("no held-out pairs: pairwise accuracy is unknown")
    for ranker, value in accuracies.items():
        row = {"metric": "pairwise_accuracy", **value._asdict()}
        records += panel_records(ranker, "trained", "", [row])

    control = ratings if settings.control == "all" else ratings.where(complement(ratings, train))
    placed, real = place_populations(
        key, gram, personas, control,
        procedures=settings.procedures, gap=gap, store=store, say=say,
    )  # fmt: skip
    for procedure in settings.procedures:
        for population, rows in members.items():
            some = jax.tree.map(lambda leaf, rows=rows: leaf[rows], placed[procedure])
            records += placement_records(population, procedure, some)
    for procedure in settings.procedures:
        records += placement_records("real", procedure, real[procedure])

    one = settings.procedures[0]
    there = ~np.asarray(placed[one].constant)
    users = {
        "trained": Users(trained.w, trained.embedding(), np.asarray(trained.trained)),
        **{name: Users(p.w, p.embedding, ~np.asarray(p.constant)) for name, p in real.items()},
    }
    counts = {
        "ratings": len(ratings),
        "persona_ratings": len(personas),
        "items": len(ratings.items),
        "users": len(ratings.users),
        "users_without_pairs": int((~users["trained"].there).sum()),
        "users_with_control_pairs": int(users[one].there.sum()),
        "personas": len(personas.users),
        "constant_personas": int((~there).sum()),
        "paired_personas": 0 if seed_rows is None else int((there & (seed_rows >= 0)).sum()),
        "epochs": len(trained.loss),
    }
    least = settings.panel.k + 1
    for population, rows in list(members.items()):
        found = int(there[rows].sum())
        if found >= least:
            continue
        text = f"{found} of {len(rows)} have two ratings {gap:g} or more apart; at least {least} "
        text += "are needed"
        if len(members) == 1:
            raise ValueError(f"{population}: {text}")
        del members[population]
        notes.append(f"no comparison with {population}: {text}")
    for name, group in list(users.items()):
        found = int(group.there.sum())
        if found >= 2 * least:
            continue
        text = f"{found} users have a pair of {'training' if name == 'trained' else 'control'} "
        text += f"ratings, at least {2 * least} are needed"
        if name == "trained":
            raise ValueError(f"ratings: {text}")
        del users[name]
        notes.append(f"no comparison with users placed by {name}: {text} (control: all uses more)")

    people = {
        (population, name): Users(p.w, p.embedding, there & np.isin(np.arange(len(there)), rows))
        for population, rows in members.items()
        for name, p in placed.items()
    }
    found, populations = compare_populations(
        purpose_key(key, "panels"), users, people, gram.prototypes, settings.panel, notes,
        temperature=gram.temperature, store=store, on_part=say,
    )  # fmt: skip
    records += found
    paired: dict[tuple[str, str, str], PairedColumns] = {}
    if seed_rows is not None:
        found, paired = compare_pairs(
            purpose_key(key, "pairs"),
            gram,
            personas,
            seed_rows,
            users,
            people,
            settings.panel,
            notes,
        )
        records += found
    return FidelityReport(
        tuple(records), counts, trained, placed, populations, paired, tuple(notes)
    )


def _checked(
    ratings: RatingTable, item_embeddings: Array | np.ndarray, personas: RatingTable
) -> Float[Array, "m e"]:
    if ratings.items != personas.items:
        raise ValueError(
            "`personas` must list the items of `ratings` in the same order: give both the whole "
            "catalogue (`with_items`)"
        )
    return checked_items(ratings, item_embeddings)


def _members(
    personas: RatingTable, conditions: Sequence[str] | None
) -> dict[str, Int[np.ndarray, " l"]]:
    """The rows of personas in each population."""
    everyone = np.arange(len(personas.users))
    if conditions is None or not any(conditions):
        return {PERSONAS: everyone}
    if len(conditions) != len(everyone):
        raise ValueError(f"`conditions`: {len(conditions)} for {len(everyone)} personas")
    if not all(conditions):
        nobody = personas.users[list(map(bool, conditions)).index(False)]
        raise ValueError(f"`conditions`: persona {nobody!r} has none, others have")
    names = np.array(conditions)
    return {personas_of(name): np.flatnonzero(names == name) for name in dict.fromkeys(conditions)}


def _seed_rows(
    ratings: RatingTable, personas: RatingTable, seeds: Sequence[str] | None
) -> np.ndarray | None:
    """The row of the user from whom each persona was made, -1 if none."""
    if seeds is None or not any(seeds):
        return None
    if len(seeds) != len(personas.users):
        raise ValueError(f"`seeds`: {len(seeds)} for {len(personas.users)} personas")
    names = list(dict.fromkeys(seed for seed in seeds if seed))
    row = dict(zip(names, positions(ratings.users, names, "seeds"), strict=True))
    return np.array([row.get(seed, -1) for seed in seeds])
