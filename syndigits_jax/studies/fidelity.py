"""How faithful is a population of personas? Measured on a user's own ratings and persona ratings.

Kumar, Dev and Garg, "The Persona Fidelity Gap", with what its protocol leaves uncontrolled: real
users are placed both as the encoder trained them and by the personas' own procedure (SSR, from
ratings that the encoder was not trained on), and every number has an interval.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax._responses import positions
from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity import (
    Placement,
    TrainedEncoder,
    TrainingSettings,
    init_encoder,
    place_users,
    train_encoder,
)
from syndigits_jax.fidelity.encoder import PRNGKey
from syndigits_jax.fidelity.pairs import _key_data, held_out_pair_table
from syndigits_jax.studies.checkpoint import unit_key
from syndigits_jax.studies.fidelity_accuracy import held_out_accuracies
from syndigits_jax.studies.fidelity_populations import (
    PairedColumns,
    PanelSettings,
    Users,
    compare_pairs,
    compare_populations,
)
from syndigits_jax.studies.fidelity_records import FidelityRecord, panel_records
from syndigits_jax.studies.tables import UNITS, OnProgress, Progress

CONTROLS = ("held_out", "all")
PROCEDURES = ("ssr", "newton")


@dataclasses.dataclass(frozen=True)
class FidelitySettings:
    """How fidelity is measured.

    - `training`: of the encoder; its `gap` makes pairs of personas' ratings too.
    - `prototypes`, `hidden`, `dim`, `dropout`: of the encoder.
    - `panel`: of metrics and resamples.
    - `control`: which ratings place real users by the personas' procedure: those `held_out` from
      training (validation and test), or `all`. With short histories few have a pair held out.
    - `train`, `validation`: shares of each user's ratings, in order of time; the rest is for test.
    """

    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    prototypes: int = 4
    hidden: tuple[int, ...] = (256, 256)
    dim: int = 128
    dropout: float = 0.1
    panel: PanelSettings = dataclasses.field(default_factory=PanelSettings)
    control: str = "held_out"
    train: float = 0.8
    validation: float = 0.1

    def __post_init__(self):
        if self.control not in CONTROLS:
            raise ValueError(f"`control` must be one of {CONTROLS}, got {self.control!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class FidelityReport:
    """What `measure_fidelity` found.

    - `records`: all numbers. `counts`: of ratings, users, personas and who of them was left out.
    - `trained`: the encoder and the users it was trained with.
    - `personas`: their placement by procedure; those flagged `constant` are in no population.
    - `populations`: embeddings (n, d) by reference, then by population; personas are named
      `personas (ssr)`, real users `real`.
    - `paired`: by (procedure, reference), distances of each persona to its seed and to another's.
    - `notes`: what could not be done, and why.
    """

    records: tuple[FidelityRecord, ...]
    counts: dict[str, int]
    trained: TrainedEncoder
    personas: dict[str, Placement]
    populations: dict[str, dict[str, Float[np.ndarray, "n d"]]]
    paired: dict[tuple[str, str], PairedColumns]
    notes: tuple[str, ...]


def measure_fidelity(
    ratings: RatingTable,
    item_embeddings: Float[Array | np.ndarray, "m e"],
    personas: RatingTable,
    *,
    key: PRNGKey,
    seeds: Sequence[str] | None = None,
    settings: FidelitySettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> FidelityReport:
    """Train the encoder on real users, place personas, and compare the populations.

    Personas are placed by SSR and by Newton from all their ratings; real users are those with a
    training pair, as the encoder trained them (reference `trained`), and those with a pair of
    control ratings, placed by SSR (reference `ssr`). Users and personas without a pair of ratings
    that differ by the gap are counted and left out.

    **Arguments:**

    - `ratings`, `personas`: of one catalogue: both list the same m items in the same order.
    - `item_embeddings`: (m, e) text vectors of these items.
    - `seeds`: for every persona its real user, "" where none; then paired metrics are made.
    - `out`: a folder where training is kept after every epoch, to be resumed.
    - `on_progress`: called with `studies.tables.Progress`.

    **Raises:** `ValueError` if the tables differ in items or have fewer than two, embeddings do not
    match, no user has a pair, too few users or personas are left to compare, or a seed is unknown.
    """
    settings = FidelitySettings() if settings is None else settings
    x = _checked(ratings, item_embeddings, personas)
    seed_rows = _seed_rows(ratings, personas, seeds)
    say = _reporter(on_progress)
    gap = settings.training.gap
    train, validation, test = ratings.split(settings.train, settings.validation)
    notes: list[str] = []
    if not len(validation) or held_out_pair_table(train, validation, gap).total == 0:
        validation = None
        notes.append("no validation pairs: the encoder of the last epoch was taken")

    trained = _train(key, x, train, validation, settings, out, say)
    gram = jax.jit(lambda trained, x: trained.gram(x))(trained, x)
    records: list[FidelityRecord] = []
    earlier = ratings.where(_complement(ratings, test))
    accuracies = held_out_accuracies(
        _key(key, "test"), trained, gram, earlier, train, test,
        gap=gap, cap=settings.training.validation_cap,
    )  # fmt: skip
    if not accuracies:
        notes.append("no held-out pairs: pairwise accuracy is unknown")
    for ranker, value in accuracies.items():
        row = {"metric": "pairwise_accuracy", **value._asdict()}
        records += panel_records(ranker, "trained", "", [row])

    say("placing personas", 0, 3)
    placed = {}
    for done, procedure in enumerate(PROCEDURES):
        # Newton's method chooses its own starts.
        start = _key(key, "personas") if procedure == "ssr" else None
        placed[procedure] = place_users(gram, personas, method=procedure, gap=gap, key=start)
        records += _placement_records("personas", procedure, placed[procedure])
        say("placing personas", done + 1, 3)
    control = ratings if settings.control == "all" else ratings.where(_complement(ratings, train))
    real = place_users(gram, control, method="ssr", gap=gap, key=_key(key, "control"))
    records += _placement_records("real", "ssr", real)
    say("placing personas", 3, 3)

    there = ~np.asarray(placed["ssr"].constant)
    users = {
        "trained": Users(trained.w, trained.embedding(), np.asarray(trained.trained)),
        "ssr": Users(real.w, real.embedding, ~np.asarray(real.constant)),
    }
    counts = {
        "ratings": len(ratings),
        "persona_ratings": len(personas),
        "items": len(ratings.items),
        "users": len(ratings.users),
        "users_without_pairs": int((~users["trained"].there).sum()),
        "users_with_control_pairs": int(users["ssr"].there.sum()),
        "personas": len(personas.users),
        "constant_personas": int((~there).sum()),
        "paired_personas": 0 if seed_rows is None else int((there & (seed_rows >= 0)).sum()),
        "epochs": len(trained.loss),
    }
    least = settings.panel.k + 1
    if counts["personas"] - counts["constant_personas"] < least:
        raise ValueError(
            f"personas: {int(there.sum())} of {len(there)} have two ratings {gap:g} or more apart; "
            f"at least {least} are needed"
        )
    for name, group in list(users.items()):
        found = int(group.there.sum())
        if found >= 2 * least:
            continue
        text = f"{found} users have a pair of {'training' if name == 'trained' else 'control'} "
        text += f"ratings, at least {2 * least} are needed"
        if name == "trained":
            raise ValueError(f"ratings: {text}")
        del users[name]
        notes.append(f"no comparison with users placed by SSR: {text} (control: all uses more)")

    people = {name: Users(p.w, p.embedding, there) for name, p in placed.items()}
    found, populations = compare_populations(
        _key(key, "panels"), users, people, gram.prototypes, settings.panel, on_part=say
    )
    records += found
    paired: dict[tuple[str, str], PairedColumns] = {}
    if seed_rows is not None:
        found, paired = compare_pairs(
            _key(key, "pairs"), gram, personas, seed_rows, users, people, settings.panel, notes
        )
        records += found
    return FidelityReport(
        tuple(records), counts, trained, placed, populations, paired, tuple(notes)
    )


def _train(
    key: PRNGKey,
    x: Float[Array, "m e"],
    train: RatingTable,
    validation: RatingTable | None,
    settings: FidelitySettings,
    out: str | PathLike[str] | None,
    say: Callable[..., None],
) -> TrainedEncoder:
    encoder = init_encoder(
        _key(key, "encoder"), width=x.shape[1], prototypes=settings.prototypes,
        hidden=settings.hidden, dim=settings.dim, dropout=settings.dropout, dtype=x.dtype,
    )  # fmt: skip
    file = None
    if out is not None:
        columns = [[t.user, t.item, t.rating] for t in (train, validation) if t is not None]
        name = unit_key(
            settings=dataclasses.replace(settings, panel=PanelSettings()),
            key=_key_data(key), items=x, ratings=columns,
        )  # fmt: skip
        file = Path(out) / UNITS / f"encoder-{name}.npz"

    def show(progress: Any) -> None:
        say(f"encoder, {progress.pairs_per_second:,.0f} pairs/s", progress.step, progress.steps)

    trained = train_encoder(
        x, train, validation, key=_key(key, "training"), settings=settings.training,
        encoder=encoder, checkpoint=file, on_progress=show,
    )  # fmt: skip
    say("encoder", 1, 1)
    return trained


def _checked(
    ratings: RatingTable, item_embeddings: Array | np.ndarray, personas: RatingTable
) -> Float[Array, "m e"]:
    if ratings.items != personas.items:
        raise ValueError(
            "`personas` must list the items of `ratings` in the same order: give both the whole "
            "catalogue (`with_items`)"
        )
    if len(ratings.items) < 2:
        raise ValueError("`ratings`: at least two items are needed to prefer one")
    x = np.asarray(item_embeddings)
    if x.ndim != 2 or len(x) != len(ratings.items):
        raise ValueError(
            f"`item_embeddings` must have one row per item, {len(ratings.items)} in all, got shape "
            f"{x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("`item_embeddings` must be finite")
    return jnp.asarray(x)


def _seed_rows(
    ratings: RatingTable, personas: RatingTable, seeds: Sequence[str] | None
) -> np.ndarray | None:
    """The user each persona was made from, -1 where there is none."""
    if seeds is None or not any(seeds):
        return None
    if len(seeds) != len(personas.users):
        raise ValueError(f"`seeds`: {len(seeds)} for {len(personas.users)} personas")
    names = list(dict.fromkeys(seed for seed in seeds if seed))
    row = dict(zip(names, positions(ratings.users, names, "seeds"), strict=True))
    return np.array([row.get(seed, -1) for seed in seeds])


def _placement_records(population: str, procedure: str, placed: Placement) -> list[FidelityRecord]:
    """How well ratings determine where raters are: log 2 is chance; gradients vanish at optima."""
    there = ~np.asarray(placed.constant)
    rows = []
    for name in ("loss", "gradient_norm"):
        values = np.asarray(getattr(placed, name), float)[there]
        if len(values) > 1:
            mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
            ends = {"low": float(mean - 1.96 * error), "high": float(mean + 1.96 * error)}
            rows.append({"metric": f"placement_{name}", "mean": float(mean), **ends})
    return panel_records(population, procedure, "", rows)


def _complement(whole: RatingTable, part: RatingTable) -> np.ndarray:
    """Which ratings of `whole` are not in `part`."""
    m = len(whole.items)
    mine, theirs = (t.user.astype(np.int64) * m + t.item for t in (whole, part))
    return ~np.isin(mine, theirs)


def _key(key: PRNGKey, purpose: str) -> PRNGKey:
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def _reporter(on_progress: OnProgress | None) -> Callable[..., None]:
    """Stages are units: training, placing, comparing."""
    stages: list[str] = []

    def say(text: str, done: int, total: int) -> None:
        stage = text.partition(",")[0]
        if stage not in stages:
            stages.append(stage)
        if on_progress is not None:
            on_progress(Progress(stages.index(stage), 3, text, done, total, counted="steps"))

    return say
