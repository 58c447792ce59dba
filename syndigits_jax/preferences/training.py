"""Training the preference encoder on pairs of ratings (Kumar, Dev and Garg, section 3.1)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_known_squares
from ..solvers.devices import as_mesh, by_rows, devices_in, everywhere, in_charge, to_host
from ..solvers.keys import PRNGKey
from ._store import write_arrays
from ._training_run import TrainingRun, run_identity
from ._training_step import (
    Batch,
    TrainingSettings,
    TrainingState,
    make_batches,
    run_steps,
    start_state,
)
from .encoder import (
    PreferenceEncoder,
    ScoreGram,
    init_encoder,
    init_mixture,
    pair_scores,
    score_gram,
    user_embedding,
)
from .pairs import Pairs, PairTable, Ratings, held_out_pair_table, pair_table, sample_pairs

_BLOCK = 1 << 18  # pairs scored at a time


@dataclass(frozen=True)
class TrainingProgress:
    """What [`train_encoder`][] reports after each compiled part of an epoch.

    `loss` and `accuracy` are means over the epoch's pairs so far, each before its update.
    `validation` is the held-out pairwise accuracy, NaN except at the end of an epoch.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    pairs_per_second: float
    validation: float


class TrainedEncoder(eqx.Module):
    """An encoder and the users it was trained with, as of its best epoch.

    - `encoder`: the projectors and the scale.
    - `w`: (n, p) users' mixture logits.
    - `context`: (e,) c̄, the mean of the catalogue, at which users are compared.
    - `trained`: (n,) whether a user had a training pair; the others keep their random start.
    - `loss`, `accuracy`, `validation`: (epochs,) per epoch, as in [`TrainingProgress`][].
    - `best_epoch`: counted from 0, the one with the best held-out accuracy (the last without).
    """

    encoder: PreferenceEncoder
    w: Float[Array, "n p"]
    context: Float[Array, " e"]
    trained: Bool[np.ndarray, " n"]
    loss: Float[np.ndarray, " epochs"]
    accuracy: Float[np.ndarray, " epochs"]
    validation: Float[np.ndarray, " epochs"]
    best_epoch: int

    def gram(self, items: Float[Array, "m e"]) -> ScoreGram:
        """Score forms of these texts at the catalogue's context, see [`score_gram`][]."""
        return score_gram(self.encoder, items, self.context)

    def embedding(self) -> Float[Array, "n d"]:
        """u*, equation 4, of every user."""
        prototypes = self.gram(self.context[None, :]).prototypes
        return user_embedding(prototypes, self.w, self.encoder.temperature)


def pairwise_accuracy(gram: ScoreGram, w: Float[Array, "n p"], pairs: Pairs) -> float:
    """Share of pairs whose preferred item has the higher score; a tie counts one half.

    **Raises:** `ValueError` if there is no pair.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from syndigits_jax.preferences import Pairs, init_encoder, pairwise_accuracy, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, hidden=(), dim=5, dtype=float)
        >>> both = Pairs(*(np.asarray(a, np.int32) for a in ([0, 0], [0, 1], [1, 0])))
        >>> print(pairwise_accuracy(score_gram(encoder, jnp.eye(3)), jnp.zeros((1, 4)), both))
        0.5
    """
    if len(pairs) == 0:
        raise ValueError("`pairs`: there is no pair to evaluate")
    total = 0.0
    size = min(_BLOCK, len(pairs))
    for first in range(0, len(pairs), size):
        part = slice(first, first + size)
        user, better, worse = pairs.user[part], pairs.better[part], pairs.worse[part]
        fill = (0, size - len(user))  # one compiled shape
        user, better, worse = (jnp.asarray(np.pad(c, fill)) for c in (user, better, worse))
        wins = _wins(gram, w, user, better, worse)
        total += float(jnp.sum(wins[: len(pairs.user[part])]))
    return total / len(pairs)


@jax.jit
def _wins(gram, w, user, better, worse):
    # Compared, not subtracted: with a fused multiply-add, equal scores could differ.
    both = pair_scores(gram, w, jnp.stack([user, user]), jnp.stack([better, worse]))
    won = (both[0] > both[1]).astype(w.dtype) - (both[0] < both[1]).astype(w.dtype)
    return (won + 1) / 2


_gram = jax.jit(score_gram)


def train_encoder(
    items: Numbers,
    train: Ratings,
    validation: Ratings | None = None,
    *,
    key: PRNGKey,
    settings: TrainingSettings | None = None,
    init: PreferenceEncoder | None = None,
    init_w: Numbers | None = None,
    context: Numbers | None = None,
    checkpoint: str | PathLike[str] | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    mesh: Mesh | None = None,
) -> TrainedEncoder:
    """Fit projectors, mixtures and scale to the pairs of `train` (equation 3).

    An epoch is a few calls of one compiled loop. A user's mixture moves only in batches with one of
    their pairs, by lazy Adam (see `_row_adam` for how that differs from dense Adam), so that the
    cost of a user grows with their pairs.

    **Arguments:**

    - `items`: (m, e) text vectors of the catalogue; their dtype is that of all parameters.
    - `train`: ratings of n users, see `datasets.RatingTable`.
    - `validation`: later ratings of the same users. After each epoch, the accuracy on pairs of
      these with any item of the same user decides on early stopping. Without it all epochs are run,
      and the last one is returned.
    - `key`: of the starts, the pairs, their order and dropout.
    - `settings`: those of Table 4 if `None`.
    - `init`, `init_w`: an encoder and (n, p) users' logits to start from, other than those of
      [`init_encoder`][] (of Table 4) and w ~ N(0, I).
    - `context`: (e,) the text vector at which users are compared, in training too; c̄, the mean of
      `items`, by default. (At an item's own text, its score would be e^σ for every user.)
    - `checkpoint`: a file, written whole after every epoch. If it exists, training continues from
      it, with the same result bit for bit as without a stop (on the same machine and versions).
    - `on_progress`: called with [`TrainingProgress`][].
    - `mesh`: devices over whose first axis the pairs of every batch, and the projection of their
      items, are spread. Their number divides `batch_size`. With several processes, all read the
      same `checkpoint` and the first one writes it.

    **Raises:** `ValueError` if shapes disagree, the devices do not divide the batch, `items` is
    not finite, no user has a pair, no held-out item has one, or `checkpoint` is of another run.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import TrainingSettings, init_encoder, train_encoder
        >>> ratings = rating_table(["ann", "ann", "bob", "bob"], list("xyxy"), [5, 1, 2, 4])
        >>> key, items = jax.random.key(0), np.eye(2, 3, dtype=np.float32)
        >>> encoder = init_encoder(key=key, width=3, prototypes=2, hidden=(4,), dim=5)
        >>> settings = TrainingSettings(epochs=2, batch_size=2)
        >>> trained = train_encoder(items, ratings, key=key, init=encoder, settings=settings)
        >>> print(trained.w.shape, trained.loss.shape)
        (2, 2) (2,)
    """
    settings = TrainingSettings() if settings is None else settings
    mesh = as_mesh(mesh)
    if settings.batch_size % devices_in(mesh):
        raise ValueError(
            f"`batch_size` is {settings.batch_size}, which {devices_in(mesh)} devices of `mesh` "
            "cannot share evenly"
        )
    x = _checked_items(items, train)
    context = _checked_context(context, x)
    start_key, epoch_key, validation_key = jax.random.split(key, 3)
    encoder, w = _start(start_key, x, len(train.users), init, init_w)
    table = pair_table(train, settings.gap)
    if table.total == 0:
        raise ValueError(
            f"`train`: no user has two ratings {settings.gap} or more apart (`gap`); ratings on "
            "another scale need another gap"
        )
    held_out = _held_out_pairs(validation_key, train, validation, settings)
    data = _Data(x, context, table, held_out, mesh)
    # Copies, because training reuses the buffers of its state.
    own_encoder, own_w = jax.tree.map(jnp.copy, (encoder, w))
    run = TrainingRun(start_state(own_encoder, own_w, settings))
    file, identity = None, ""
    if checkpoint is not None:
        file = Path(checkpoint)
        identity = run_identity(key, settings, x, context, encoder, w, train, validation)
        run = run.restored(file, identity)
    run = replace(run, state=everywhere(mesh, run.state))

    def report(progress: TrainingProgress) -> None:
        if on_progress is not None:
            on_progress(progress)

    while not run.ended(settings):
        run, progress = _epoch(run, data, epoch_key, settings, report)
        if file is not None and in_charge(mesh):
            write_arrays(file, run.arrays(identity))
        report(progress)
    assert run.best is not None  # at least one epoch was run
    best_encoder, best_w = _own_arrays(mesh, run.best)
    return TrainedEncoder(
        best_encoder,
        best_w,
        context,
        table.counts > 0,
        np.array(run.loss),
        np.array(run.accuracy),
        np.array(run.validation),
        run.best_epoch,
    )


def _own_arrays(mesh: Mesh | None, tree: Any) -> Any:
    """Arrays that every device has, as ordinary arrays of this process."""
    return tree if mesh is None else jax.tree.map(jnp.asarray, to_host(mesh, tree))


@dataclass(frozen=True, eq=False)
class _Data:
    """What every epoch needs; `held_out` decides on early stopping."""

    x: Float[Array, "m e"]
    context: Float[Array, " e"]
    table: PairTable
    held_out: Pairs | None
    mesh: Mesh | None = None

    def epoch_pairs(self, settings: TrainingSettings) -> int:
        """Pairs of an epoch."""
        counts = self.table.counts
        return int((counts if settings.cap is None else np.minimum(counts, settings.cap)).sum())

    def batches(
        self, pair_key: PRNGKey, order_key: PRNGKey, settings: TrainingSettings
    ) -> tuple[list[Batch], int]:
        """(an epoch's pairs in random order, as chunks of batches; number of batches)."""
        pairs = sample_pairs(pair_key, self.table, settings.cap)
        order = _shuffled(order_key, len(pairs), settings.together)
        columns = (pairs.user[order], pairs.better[order], pairs.worse[order])
        users = len(self.table.counts)
        devices = devices_in(self.mesh)
        return make_batches(columns, users, settings.batch_size, settings.chunk_steps, devices)

    def placed(self, chunk: Batch) -> Batch:
        """A chunk where its steps are taken: every device has its share of the pairs."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, chunk)
        return jax.device_put(chunk, by_rows(self.mesh, 1))

    def held_out_accuracy(self, state: TrainingState) -> float:
        """Accuracy on the held-out pairs; NaN without any."""
        if self.held_out is None:
            return float("nan")
        encoder, w = _own_arrays(self.mesh, (state.encoder, state.w))
        return pairwise_accuracy(_gram(encoder, self.x, self.context), w, self.held_out)


def _epoch(
    run: TrainingRun,
    data: _Data,
    key: PRNGKey,
    settings: TrainingSettings,
    report: Callable[[TrainingProgress], None],
) -> tuple[TrainingRun, TrainingProgress]:
    """(the run after one more epoch, its last report); earlier ones go to `report`."""
    epoch, size, total = len(run.loss), settings.batch_size, data.epoch_pairs(settings)
    steps = -(-total // size) * settings.epochs
    pair_key, order_key, dropout_key = jax.random.split(jax.random.fold_in(key, epoch), 3)
    chunks, batches = data.batches(pair_key, order_key, settings)
    state, loss, right, done = run.state, 0.0, 0.0, 0
    shared = everywhere(data.mesh, (data.x, data.context, dropout_key))
    progress = TrainingProgress(epoch, 0, steps, *[float("nan")] * 4)
    for chunk in chunks:
        began = time.perf_counter()
        count = min(len(chunk.user), batches - done)
        state, chunk_loss, chunk_right = run_steps(
            state,
            data.placed(chunk),
            everywhere(data.mesh, jnp.int32(count)),
            *shared,
            steps=steps,
            settings=settings,
            mesh=data.mesh,
        )
        loss, right = loss + float(chunk_loss), right + float(chunk_right)  # waits
        seen = min((done + count) * size, total)
        progress = replace(
            progress,
            step=int(state.step),
            loss=loss / seen,
            accuracy=right / seen,
            pairs_per_second=(seen - done * size) / (time.perf_counter() - began),
        )
        done += count
        if done < batches:
            report(progress)
    accuracy = data.held_out_accuracy(state)
    run = run.after(state, loss / total, right / total, accuracy)
    return run, replace(progress, validation=accuracy)


def _shuffled(key: PRNGKey, count: int, together: int) -> Int[np.ndarray, " q"]:
    """A random order of pairs in which blocks of `together` neighbours stay together."""
    blocks = np.asarray(jax.random.permutation(key, -(-count // together)))
    order = (blocks[:, None] * together + np.arange(together)[None, :]).ravel()
    return order[order < count]


def _checked_items(items: Numbers, train: Ratings) -> Float[Array, "m e"]:
    x = as_float("items", items)
    if x.ndim != 2:
        raise ValueError(f"`items` must be vectors in rows, (m, e), got shape {x.shape}")
    if len(x) != len(train.items):
        raise ValueError(
            f"`items` has {len(x)} vectors, but `train` has {len(train.items)} items; there "
            "must be one per item, in the same order"
        )
    if not bool(jnp.all(jnp.isfinite(x))):
        raise ValueError("`items` must be finite; an item without text still needs a vector")
    check_known_squares(items=x)
    return x


def _checked_context(context: Numbers | None, x: Float[Array, "m e"]) -> Float[Array, " e"]:
    """The context, by default the mean of the items."""
    if context is None:
        return jnp.mean(x, axis=0)
    context = as_float("context", context).astype(x.dtype)
    if context.shape != x.shape[1:] or not np.isfinite(np.asarray(context)).all():
        raise ValueError(
            f"`context` must be {x.shape[1]} finite numbers, got shape {context.shape}"
        )
    return context


def _start(
    key: PRNGKey,
    x: Float[Array, "m e"],
    n: int,
    init: PreferenceEncoder | None,
    init_w: Numbers | None,
) -> tuple[PreferenceEncoder, Float[Array, "n p"]]:
    """The encoder and the users' logits that training starts from, given or random."""
    encoder = init_encoder(key, width=x.shape[1], dtype=x.dtype) if init is None else init
    if encoder.width != x.shape[1]:
        raise ValueError(
            f"`items` has vectors of width {x.shape[1]}, but `init` is for {encoder.width}"
        )
    if init_w is None:
        return encoder, init_mixture(jax.random.fold_in(key, 1), n, encoder.prototypes, x.dtype)
    w = as_float("init_w", init_w).astype(x.dtype)
    if w.shape != (n, encoder.prototypes):
        raise ValueError(f"`init_w` must have shape {(n, encoder.prototypes)}, got {w.shape}")
    return encoder, w


def _held_out_pairs(
    key: PRNGKey, train: Ratings, validation: Ratings | None, settings: TrainingSettings
) -> Pairs | None:
    """The pairs that decide on early stopping; `None` without `validation`."""
    if validation is None:
        return None
    table = held_out_pair_table(train, validation, settings.gap)
    if table.total == 0:
        raise ValueError("`validation`: no held-out item differs from an earlier one by `gap`")
    return sample_pairs(key, table, settings.validation_cap)
