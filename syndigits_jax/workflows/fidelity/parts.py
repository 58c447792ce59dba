"""What studies of fidelity share: settings, training with a checkpoint, keys, progress."""

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
from syndigits_jax.preferences.encoder import PRNGKey
from syndigits_jax.preferences.pairs import key_data
from syndigits_jax.results.checkpoints import UNITS, unit_key
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

CONTROLS = ("held_out", "all")


@dataclasses.dataclass(frozen=True)
class FidelitySettings:
    """How fidelity is measured.

    - `training`: of the encoder; its `gap` makes pairs of personas' ratings too.
    - `prototypes`, `hidden`, `dim`, `dropout`, `temperature`: of the encoder.
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
    temperature: float = 1.0
    panel: PanelSettings = dataclasses.field(default_factory=PanelSettings)
    control: str = "held_out"
    train: float = 0.8
    validation: float = 0.1

    def __post_init__(self):
        if self.control not in CONTROLS:
            raise ValueError(f"`control` must be one of {CONTROLS}, got {self.control!r}")


def checked_items(ratings: RatingTable, item_embeddings: Array | np.ndarray) -> Float[Array, "m e"]:
    """Text vectors of the catalogue. **Raises:** `ValueError` if they are not of these items."""
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
    """The logits that `train_on_ratings` starts from; users without a pair stay there."""
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
    """Train the encoder, or go on where an earlier call with the same `out` was stopped."""
    encoder = untrained_encoder(key, x, settings)
    file = None
    if out is not None:
        columns = [[t.user, t.item, t.rating] for t in (train, validation) if t is not None]
        name = unit_key(
            ("workflows.fidelity.parts",),
            settings=dataclasses.replace(settings, panel=PanelSettings()),
            key=key_data(key), items=x, ratings=columns,
        )  # fmt: skip
        file = Path(out) / UNITS / f"encoder-{name}.npz"

    def show(progress: Any) -> None:
        say(f"encoder, {progress.pairs_per_second:,.0f} pairs/s", progress.step, progress.steps)

    trained = train_encoder(
        x, train, validation, key=purpose_key(key, "training"), settings=settings.training,
        encoder=encoder, w=starting_mixtures(key, len(train.users), x, settings),
        checkpoint=file, on_progress=show,
    )  # fmt: skip
    say("encoder", 1, 1)
    return trained


def trained_gram(trained: TrainedEncoder, x: Float[Array, "m e"]) -> ScoreGram:
    """Score forms of the whole catalogue, compiled."""
    return _gram(trained.encoder, x, trained.context)


_gram = jax.jit(score_gram)


def start_records(trained: TrainedEncoder, start: Float[Array, "n p"]) -> list[FidelityRecord]:
    """How much of trained users' logits is where training found them: their correlation.

    Of users with a training pair, each about the mean of its logits, which no score depends on.
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


def complement(whole: RatingTable, part: RatingTable) -> np.ndarray:
    """Which ratings of `whole` are not in `part`."""
    m = len(whole.items)
    mine, theirs = (t.user.astype(np.int64) * m + t.item for t in (whole, part))
    return ~np.isin(mine, theirs)


def purpose_key(key: PRNGKey, purpose: str) -> PRNGKey:
    """The key for one purpose, whatever else is drawn."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def stage_reporter(on_progress: OnProgress | None) -> Callable[..., None]:
    """Stages are units: training, placing, comparing."""
    stages: list[str] = []

    def say(text: str, done: int, total: int) -> None:
        stage = text.partition(",")[0]
        if stage not in stages:
            stages.append(stage)
        if on_progress is not None:
            on_progress(Progress(stages.index(stage), 3, text, done, total, counted="steps"))

    return say
