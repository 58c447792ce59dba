"""Common parts of studies of fidelity: settings, training with a checkpoint, keys, progress."""

import dataclasses
import zlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.preferences import (
    Placement,
    PreferenceEncoder,
    ScoreGram,
    TrainedEncoder,
    TrainingSettings,
    init_encoder,
    init_mixture,
    score_gram,
    train_encoder,
)
from syndigits_jax.results.checkpoints import UNITS, unit_key
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.solvers.keys import PRNGKey, key_data
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

CONTROLS = ("held_out", "all")
PROCEDURES = ("ssr", "newton")
"""How raters are placed: the paper's procedure, and the same to the optimum."""


@dataclasses.dataclass(frozen=True)
class FidelitySettings:
    """Settings of a measurement of fidelity.

    - `training`: of the encoder; its `gap` also defines pairs of personas' ratings.
    - `prototypes`, `hidden`, `dim`, `dropout`, `temperature`: of the encoder.
    - `panel`: metrics and resamples.
    - `control`: the ratings from which real users are placed by the personas' procedure: those
      `held_out` from training (validation and test), or `all`. With short histories few users have
      a held-out pair.
    - `train`, `validation`: shares of each user's ratings, in order of time; the rest is for test.
    - `procedures`: those of `PROCEDURES` by which personas and users are placed.
    - `quick`: whether these are settings for a first look, which reports say.
    """

    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    prototypes: int = 4
    hidden: tuple[int, ...] = (256, 256)
    dim: int = 128
    dropout: float = 0.1
    temperature: float = 1.0
    panel: PanelSettings = dataclasses.field(default_factory=PanelSettings)
    control: str = "held_out"
    train: float = 0.8
    validation: float = 0.1
    procedures: tuple[str, ...] = PROCEDURES
    quick: bool = False

    def __post_init__(self):
        if self.control not in CONTROLS:
            raise ValueError(f"`control` must be one of {CONTROLS}, got {self.control!r}")
        if not self.procedures or not set(self.procedures) <= set(PROCEDURES):
            raise ValueError(f"`procedures` must be some of {PROCEDURES}, got {self.procedures!r}")


def checked_items(ratings: RatingTable, item_embeddings: Array | np.ndarray) -> Float[Array, "m e"]:
    """Text vectors of the catalogue, (m, e). **Raises:** `ValueError` if they do not match it."""
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


def untrained_encoder(
    key: PRNGKey, x: Float[Array, "m e"], settings: FidelitySettings
) -> PreferenceEncoder:
    """The encoder that `train_on_ratings` starts from."""
    return init_encoder(
        purpose_key(key, "encoder"), width=x.shape[1], prototypes=settings.prototypes,
        hidden=settings.hidden, dim=settings.dim, dropout=settings.dropout,
        temperature=settings.temperature, dtype=x.dtype,
    )  # fmt: skip


def starting_mixtures(
    key: PRNGKey, users: int, x: Float[Array, "m e"], settings: FidelitySettings
) -> Float[Array, "n p"]:
    """The logits (n, p) from which [`train_on_ratings`][] starts; users without a pair keep them.

    **Arguments:** `key`: as for [`train_on_ratings`][]; `users`: their number n; `x`: (m, e) text
    vectors, for their dtype; `settings`: for the number of prototypes p.
    """
    return init_mixture(purpose_key(key, "mixtures"), users, settings.prototypes, x.dtype)


def train_on_ratings(
    key: PRNGKey,
    x: Float[Array, "m e"],
    train: RatingTable,
    validation: RatingTable | None,
    settings: FidelitySettings,
    out: str | PathLike[str] | None,
    say: Callable[..., None],
) -> TrainedEncoder:
    """Train the encoder, or resume an interrupted call with the same `out`.

    **Arguments:**

    - `key`: for initialisation and training.
    - `x`: (m, e) text vectors of the catalogue.
    - `train`: the training ratings; `validation`: those that select the epoch, or `None`.
    - `settings`: of the encoder and its training.
    - `out`: a folder where training is saved after every epoch; not saved if `None`.
    - `say`: called with (text, done, total), as [`stage_reporter`][] returns it.
    """
    encoder = untrained_encoder(key, x, settings)
    file = None
    if out is not None:
        columns = [[t.user, t.item, t.rating] for t in (train, validation) if t is not None]
        name = unit_key(
            ("workflows.fidelity.parts",),
            # Not those of what comes after the training.
            settings=dataclasses.replace(
                settings, panel=PanelSettings(), procedures=PROCEDURES, quick=False
            ),
            key=key_data(key), items=x, ratings=columns,
        )  # fmt: skip
        file = Path(out) / UNITS / f"encoder-{name}.npz"

    def show(progress: Any) -> None:
        say(f"encoder, {progress.pairs_per_second:,.0f} pairs/s", progress.step, progress.steps)

    trained = train_encoder(
        x, train, validation, key=purpose_key(key, "training"), settings=settings.training,
        init=encoder, init_w=starting_mixtures(key, len(train.users), x, settings),
        checkpoint=file, on_progress=show,
    )  # fmt: skip
    say("encoder", 1, 1)
    return trained


def trained_gram(trained: TrainedEncoder, x: Float[Array, "m e"]) -> ScoreGram:
    """Score forms of the whole catalogue, compiled."""
    return _gram(trained.encoder, x, trained.context)


_gram = jax.jit(score_gram)


def start_records(trained: TrainedEncoder, start: Float[Array, "n p"]) -> list[FidelityRecord]:
    """The correlation of trained users' logits with their random starts.

    Over users with a training pair; each user's logits are centred, as no score depends on their
    mean.
    """
    rows = np.asarray(trained.trained)
    now, before = (
        np.asarray(w, float)[rows] - np.asarray(w, float)[rows].mean(axis=1, keepdims=True)
        for w in (trained.w, start)
    )
    value = float(np.corrcoef(now.ravel(), before.ravel())[0, 1])
    row = {"metric": "correlation_with_start", "mean": value, "low": np.nan, "high": np.nan}
    return panel_records("real", "trained", "", [row])


def placement_records(population: str, procedure: str, placed: Placement) -> list[FidelityRecord]:
    """Records of the mean loss (log 2 is chance) and gradient norm (0 at optima) of a placement."""
    there = ~np.asarray(placed.constant)
    rows = []
    for name in ("loss", "gradient_norm"):
        values = np.asarray(getattr(placed, name), float)[there]
        if len(values) > 1:
            mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
            ends = {"low": float(mean - 1.96 * error), "high": float(mean + 1.96 * error)}
            rows.append({"metric": f"placement_{name}", "mean": float(mean), **ends})
    return panel_records(population, procedure, "", rows)


def complement(whole: RatingTable, part: RatingTable) -> np.ndarray:
    """Booleans: which ratings of `whole` are not in `part`."""
    m = len(whole.items)
    mine, theirs = (t.user.astype(np.int64) * m + t.item for t in (whole, part))
    return ~np.isin(mine, theirs)


def purpose_key(key: PRNGKey, purpose: str) -> PRNGKey:
    """A key for one purpose that does not depend on other draws."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def stage_reporter(on_progress: OnProgress | None) -> Callable[..., None]:
    """A function of (text, done, total) that reports progress; a text before "," names a stage.

    The three stages are training, placement and comparison.
    """
    stages: list[str] = []

    def say(text: str, done: int, total: int) -> None:
        stage = text.partition(",")[0]
        if stage not in stages:
            stages.append(stage)
        if on_progress is not None:
            on_progress(Progress(stages.index(stage), 3, text, done, total, counted="steps"))

    return say
