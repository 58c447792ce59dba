"""Training the preference encoder on pairs of ratings (Kumar, Dev and Garg, section 3.1)."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers, as_float
from ._store import read_arrays, write_arrays
from ._training_step import TrainingSettings, TrainingState, make_batches, run_steps, start_state
from .encoder import (
    PreferenceEncoder,
    PRNGKey,
    ScoreGram,
    init_encoder,
    init_mixture,
    pair_scores,
    score_gram,
    user_embedding,
)
from .pairs import Pairs, Ratings, held_out_pair_table, pair_table, sample_pairs

_BLOCK = 1 << 18  # pairs scored at a time


@dataclass(frozen=True)
class Progress:
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
    - `loss`, `accuracy`, `validation`: (epochs,) per epoch, as in [`Progress`][].
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
    encoder: PreferenceEncoder | None = None,
    w: Numbers | None = None,
    context: Numbers | None = None,
    checkpoint: str | PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
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
    - `encoder`, `w`: starts other than [`init_encoder`][] (of Table 4) and w ~ N(0, I).
    - `context`: (e,) the text vector at which users are compared, in training too; c̄, the mean of
      `items`, by default. (At an item's own text, its score would be e^σ for every user.)
    - `checkpoint`: a file, written whole after every epoch. If it exists, training continues from
      it, with the same result bit for bit as without a stop (on the same machine and versions).
    - `on_progress`: called with [`Progress`][].

    **Raises:** `ValueError` if shapes disagree, `items` is not finite, no user has a pair, no
    held-out item has one, or `checkpoint` is of another run.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import TrainingSettings, init_encoder, train_encoder
        >>> ratings = rating_table(["ann", "ann", "bob", "bob"], list("xyxy"), [5, 1, 2, 4])
        >>> key, items = jax.random.key(0), np.eye(2, 3, dtype=np.float32)
        >>> encoder = init_encoder(key=key, width=3, prototypes=2, hidden=(4,), dim=5)
        >>> settings = TrainingSettings(epochs=2, batch_size=2)
        >>> trained = train_encoder(items, ratings, key=key, encoder=encoder, settings=settings)
        >>> print(trained.w.shape, trained.loss.shape)
        (2, 2) (2,)
    """
    settings = TrainingSettings() if settings is None else settings
    x = _checked_items(items, train)
    n = len(train.users)
    start_key, epoch_key, validation_key = jax.random.split(key, 3)
    if encoder is None:
        encoder = init_encoder(start_key, width=x.shape[1], dtype=x.dtype)
    if encoder.width != x.shape[1]:
        raise ValueError(
            f"`items` has vectors of width {x.shape[1]}, but `encoder` is for {encoder.width}"
        )
    if w is None:
        w = init_mixture(jax.random.fold_in(start_key, 1), n, encoder.prototypes, x.dtype)
    w = as_float("w", w).astype(x.dtype)
    if w.shape != (n, encoder.prototypes):
        raise ValueError(f"`w` must have shape {(n, encoder.prototypes)}, got {w.shape}")
    context = (
        jnp.mean(x, axis=0) if context is None else as_float("context", context).astype(x.dtype)
    )
    if context.shape != x.shape[1:] or not np.isfinite(np.asarray(context)).all():
        raise ValueError(
            f"`context` must be {x.shape[1]} finite numbers, got shape {context.shape}"
        )
    table = pair_table(train, settings.gap)
    if table.total == 0:
        raise ValueError(
            f"`train`: no user has two ratings {settings.gap} or more apart (`gap`); ratings on "
            "another scale need another gap"
        )
    held_out = None
    if validation is not None:
        held_out_table = held_out_pair_table(train, validation, settings.gap)
        if held_out_table.total == 0:
            raise ValueError("`validation`: no held-out item differs from an earlier one by `gap`")
        held_out = sample_pairs(held_out_table, validation_key, settings.validation_cap)

    size = settings.batch_size
    sampled = table.counts if settings.cap is None else np.minimum(table.counts, settings.cap)
    epoch_pairs = int(sampled.sum())
    steps = -(-epoch_pairs // size) * settings.epochs
    run = _Run(start_state(*jax.tree.map(jnp.copy, (encoder, w))))
    file = None if checkpoint is None else Path(checkpoint)
    identity = ""
    if file is not None:
        identity = _identity(key, settings, x, context, encoder, w, train, validation)
        run = run.restored(file, identity)

    while not run.ended(settings):
        epoch = len(run.loss)
        pair_key, order_key, dropout_key = jax.random.split(jax.random.fold_in(epoch_key, epoch), 3)
        pairs = sample_pairs(table, pair_key, settings.cap)
        order = _shuffled(order_key, epoch_pairs, settings.together)
        columns = (pairs.user[order], pairs.better[order], pairs.worse[order])
        chunks, batches = make_batches(columns, n, size, settings.chunk_steps)
        state, loss, right, done = run.state, 0.0, 0.0, 0
        for chunk in chunks:
            began = time.perf_counter()
            count = min(len(chunk.user), batches - done)
            state, chunk_loss, chunk_right = run_steps(
                state,
                jax.tree.map(jnp.asarray, chunk),
                jnp.int32(count),
                x,
                context,
                dropout_key,
                steps=steps,
                settings=settings,
            )
            loss, right = loss + float(chunk_loss), right + float(chunk_right)  # waits
            seen = min((done + count) * size, epoch_pairs)
            speed = (seen - done * size) / (time.perf_counter() - began)
            done += count
            accuracy = float("nan")
            if done == batches:
                if held_out is not None:
                    accuracy = pairwise_accuracy(
                        _gram(state.encoder, x, context), state.rows.values, held_out
                    )
                run = run.after(state, loss / epoch_pairs, right / epoch_pairs, accuracy)
                if file is not None:
                    write_arrays(file, run.arrays(identity))
            if on_progress is not None:
                progress = Progress(
                    epoch, int(state.step), steps, loss / seen, right / seen, speed, accuracy
                )
                on_progress(progress)
    assert run.best is not None  # at least one epoch was run
    best_encoder, best_w = run.best
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


def _shuffled(key: PRNGKey, count: int, together: int) -> Int[np.ndarray, " q"]:
    """A random order of pairs in which blocks of `together` neighbours stay together."""
    blocks = np.asarray(jax.random.permutation(key, -(-count // together)))
    order = (blocks[:, None] * together + np.arange(together)[None, :]).ravel()
    return order[order < count]


@dataclass(frozen=True)
class _Run:
    """A training run between two epochs."""

    state: TrainingState
    loss: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    best: tuple[PreferenceEncoder, Array] | None = None
    best_epoch: int = 0

    def after(self, state: TrainingState, loss: float, accuracy: float, validation: float):
        """The run after one more epoch."""
        epoch = len(self.loss)
        best, best_epoch = self.best, self.best_epoch
        if not epoch or np.isnan(validation) or validation > max(self.validation):
            # A copy, because the next step reuses the buffers of the state.
            best = jax.tree.map(jnp.copy, (state.encoder, state.rows.values))
            best_epoch = epoch
        return _Run(
            state,
            (*self.loss, loss),
            (*self.accuracy, accuracy),
            (*self.validation, validation),
            best,
            best_epoch,
        )

    def ended(self, settings: TrainingSettings) -> bool:
        epochs = len(self.loss)
        stalled = epochs - 1 - self.best_epoch
        patient = settings.patience is None or stalled < settings.patience
        return epochs >= settings.epochs or (epochs > 0 and not patient)

    def arrays(self, identity: str) -> dict[str, np.ndarray]:
        leaves = jax.tree.leaves((self.state, self.best))
        return {
            "identity": np.array(identity),
            "best_epoch": np.array(self.best_epoch),
            "history": np.array([self.loss, self.accuracy, self.validation]),
            **{f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)},
        }

    def restored(self, path: Path, identity: str) -> "_Run":
        """The run stored in `path`, or this one if there is no such file."""
        if not path.exists():
            return self
        stored = read_arrays(path)
        if str(stored["identity"]) != identity:
            raise ValueError(
                f"`checkpoint`: {path} is of another run (other data, key, start or settings); "
                "remove it or name another file"
            )
        like = (self.state, (self.state.encoder, self.state.rows.values))
        leaves, shape = jax.tree.flatten(like)
        state, best = jax.tree.unflatten(
            shape, [jnp.asarray(stored[f"leaf{i}"]) for i in range(len(leaves))]
        )
        loss, accuracy, validation = (tuple(map(float, row)) for row in stored["history"])
        return replace(
            _Run(state, loss, accuracy, validation, best), best_epoch=int(stored["best_epoch"])
        )


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
    return x


def _identity(key, settings, x, context, encoder, w, *tables: Ratings | None) -> str:
    """A hash of everything that determines the result of a run."""
    digest = hashlib.sha256(repr(settings).encode())
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    arrays = [jax.random.key_data(key) if typed else key, x, context]
    arrays += [*jax.tree.leaves(encoder), w]
    for table in tables:
        arrays += [] if table is None else [table.user, table.item, table.rating]
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    static = (encoder.dropout, encoder.temperature)
    digest.update(repr(static).encode())
    return digest.hexdigest()
