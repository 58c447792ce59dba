"""One step of encoder training, and many of them in one compiled loop."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from ..solvers.descent import moved, updates
from ..solvers.devices import copied
from ..solvers.keys import PRNGKey
from ._pair_loss import effective_gap
from ._row_adam import add_to_rows, row_adamw, rows_at, sum_by_row
from .encoder import (
    MAX_SCALE,
    PreferenceEncoder,
    mixture_weights,
    monomials,
    project,
    projected_gram,
)

PRECISIONS = ("float32", "float64", "bfloat16")


@dataclass(frozen=True)
class TrainingSettings:
    """How an encoder is trained; defaults are those of the paper's Table 4 where it has an entry.

    - `gap`: smallest difference of ratings that makes a pair.
    - `cap`: most pairs per user and epoch, drawn anew each epoch; `None` for all.
    - `batch_size`: pairs per step. Items of several pairs of a batch are projected once.
    - `together`: pairs of a user that stay together when an epoch's pairs are shuffled. With more
      than 1, batches share more items: epochs are faster, but each improves the fit less.
    - `epochs`: most epochs; `patience`: epochs without a better held-out accuracy before training
      stops, `None` for never.
    - `projector_rate`, `mixture_rate`, `scale_rate`: peak learning rates of the OneCycle schedule,
      whose warm-up takes the share `warmup` of all steps (see [`one_cycle`][]).
    - `weight_decay`: decoupled (AdamW), of projectors (weights and biases) and of the mixture rows
      in the batch; the logit scale has none.
    - `clip`: largest length of the gradient of all parameters together.
    - `precision`: of the projectors' products; parameters, norms and scores stay in the dtype of
      the items. bfloat16, for accelerators, needs no loss scaling, unlike the paper's float16.
    - `validation_cap`: most held-out pairs per user; drawn once.
    - `chunk_steps`: steps per compiled call, between two reports of progress.
    """

    gap: float = 1.0
    cap: int | None = 100
    batch_size: int = 512
    together: int = 1
    epochs: int = 20
    patience: int | None = 5
    projector_rate: float = 1e-4
    mixture_rate: float = 5e-3
    scale_rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: str | None = None
    validation_cap: int | None = 100
    chunk_steps: int = 256

    def __post_init__(self):
        effective_gap(self.gap)
        for name in (
            "batch_size",
            "together",
            "epochs",
            "chunk_steps",
            "cap",
            "validation_cap",
            "patience",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be positive, got {value}")
        for name in ("projector_rate", "mixture_rate", "scale_rate", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}")
        if not self.clip > 0:
            raise ValueError(f"`clip` must be positive, got {self.clip}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"`warmup` must be a share of the steps below 1, got {self.warmup}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {PRECISIONS}, got {self.precision!r}")


def one_cycle(peak: float, steps: int, warmup: float) -> optax.Schedule:
    """The learning rate at each of `steps`: from 1/25 of `peak` up to it, down to 4e-6 of it.

    Both ways along half a cosine, as PyTorch's `OneCycleLR` by default, but for one step (and the
    decay of Adam's first moment, which PyTorch cycles too, is constant).
    """
    if int(warmup * steps) == 0:  # no step to warm up in
        return optax.cosine_decay_schedule(peak, steps, alpha=1 / (_START * _END))
    return optax.cosine_onecycle_schedule(steps, peak, warmup, _START, _END)


_START, _END = 25.0, 1e4  # the peak over the first rate, and that over the last


def make_optimiser(settings: TrainingSettings, steps: int) -> optax.GradientTransformationExtraArgs:
    """Clipped AdamW for (encoder, users' rows), a learning rate for each part.

    It starts from all rows; a step takes the gradient of the rows in a batch, and `rows`.
    """

    def rate(peak: float) -> optax.Schedule:
        return one_cycle(peak, steps, settings.warmup)

    def labels(parameters):
        encoder, w = jax.tree.map(lambda _: "projectors", parameters)
        encoder = eqx.tree_at(lambda e: e.logit_scale, encoder, "scale")
        return encoder, jax.tree.map(lambda _: "rows", w)

    decay = settings.weight_decay
    parts: dict[Any, optax.GradientTransformation] = {
        "projectors": optax.adamw(rate(settings.projector_rate), weight_decay=decay),
        "scale": optax.adam(rate(settings.scale_rate)),
        "rows": row_adamw(rate(settings.mixture_rate), decay),
    }
    return optax.with_extra_args_support(
        optax.chain(optax.clip_by_global_norm(settings.clip), optax.partition(parts, labels))
    )


class TrainingState(eqx.Module):
    """The state of training: encoder, users' rows, the optimiser's state, steps taken."""

    encoder: PreferenceEncoder
    w: Float[Array, "n p"]
    optimiser: Any
    step: Int[Array, ""]


def start_state(
    encoder: PreferenceEncoder, w: Float[Array, "n p"], settings: TrainingSettings
) -> TrainingState:
    """The state before the first step."""
    # How many steps there will be does not shape the optimiser's state.
    parameters: Any = (encoder, w)
    optimiser = make_optimiser(settings, 1).init(parameters)
    return TrainingState(encoder, w, optimiser, jnp.int32(0))


class Batch(eqx.Module):
    """b pairs of a step, or l steps of them (leading axis); see [`make_batches`][].

    - `user`: (b,), n for a padding pair.
    - `items`: (q,) the different items of the batch, padded with item 0.
    - `better`, `worse`: (b,) positions in `items`.
    """

    user: Int[Array | np.ndarray, "*l b"]
    items: Int[Array | np.ndarray, "*l q"]
    better: Int[Array | np.ndarray, "*l b"]
    worse: Int[Array | np.ndarray, "*l b"]


def batch_loss(
    encoder: PreferenceEncoder,
    w: Float[Array, "b p"],
    x: Float[Array, "m e"],
    context: Float[Array, " e"],
    batch: Batch,
    weight: Float[Array, " b"],
    key: PRNGKey | None,
    precision: str | None,
) -> tuple[Float[Array, ""], Float[Array, " b"]]:
    """(mean of equation 3 over the pairs of a batch, margins s_a - s_b).

    `weight`: 0 for a padding pair. Every different item of the batch is projected once, with one
    dropout mask; the context once and without dropout, because all pairs would share the noise.
    """
    dtype = x.dtype if precision is None else jnp.dtype(precision)
    texts = x.at[batch.items].get(mode="promise_in_bounds").astype(dtype)
    items = project(encoder, texts, key=key).astype(w.dtype)
    reference = project(encoder, context[None, :].astype(dtype))[:, 0].astype(w.dtype)
    gram = projected_gram(items, reference, encoder.logit_scale, encoder.temperature)
    # From here on a pair is f numbers per item instead of p d.
    forms = jnp.concatenate([gram.numerator, gram.square], axis=1)
    pairs = forms.at[jnp.stack([batch.better, batch.worse])].get(mode="promise_in_bounds")
    phi = monomials(mixture_weights(w, encoder.temperature))
    f = phi.shape[1]
    tiny = jnp.finfo(w.dtype).tiny
    numerator = jnp.sum(pairs[..., :f] * phi[None], axis=-1)
    square = jnp.maximum(jnp.sum(pairs[..., f:] * phi[None], axis=-1), tiny)
    norm = jax.lax.rsqrt(jnp.maximum(phi @ gram.context, tiny))
    scores = gram.scale * numerator * jax.lax.rsqrt(square) * norm[None]
    margin = scores[0] - scores[1]
    return jnp.sum(weight * jax.nn.softplus(-margin)) / jnp.maximum(jnp.sum(weight), 1), margin


def train_step(
    state: TrainingState,
    batch: Batch,
    x: Float[Array, "m e"],
    context: Float[Array, " e"],
    key: PRNGKey,
    steps: int,
    settings: TrainingSettings,
) -> tuple[TrainingState, Float[Array, ""], Float[Array, ""]]:
    """(state after one batch, its summed loss, pairs ordered correctly before the update)."""
    n = len(state.w)
    user = jnp.asarray(batch.user)
    weight = (user < n).astype(x.dtype)
    (loss, margin), (of_encoder, of_rows) = jax.value_and_grad(
        batch_loss, argnums=(0, 1), has_aux=True
    )(
        state.encoder,
        rows_at(state.w, user),
        x,
        context,
        batch,
        weight,
        jax.random.fold_in(key, state.step),
        settings.precision,
    )
    rows, of_rows = sum_by_row(user, of_rows, n)
    (encoder_step, row_step), optimiser = updates(
        make_optimiser(settings, steps),
        (of_encoder, of_rows),
        state.optimiser,
        (state.encoder, rows_at(state.w, rows)),
        rows=rows,
    )
    encoder = _clamped(moved(state.encoder, encoder_step))
    w = add_to_rows(state.w, rows, row_step)
    right = jnp.sum(weight * (margin > 0).astype(x.dtype))
    return TrainingState(encoder, w, optimiser, state.step + 1), loss * jnp.sum(weight), right


def _clamped(encoder: PreferenceEncoder) -> PreferenceEncoder:
    """The logit scale itself is clamped: beyond the clamp it would have no gradient."""
    scale = jnp.minimum(encoder.logit_scale, math.log(MAX_SCALE))
    return eqx.tree_at(lambda e: e.logit_scale, encoder, scale)


@functools.partial(jax.jit, static_argnames=("steps", "settings", "mesh"), donate_argnames="state")
def run_steps(
    state: TrainingState,
    batches: Batch,
    count: Int[Array, ""],
    x: Float[Array, "m e"],
    context: Float[Array, " e"],
    key: PRNGKey,
    *,
    steps: int,
    settings: TrainingSettings,
    mesh: Mesh | None = None,
) -> tuple[TrainingState, Float[Array, ""], Float[Array, ""]]:
    """The first `count` of the `l` batches: (state, summed loss, pairs ordered correctly).

    With a `mesh`, pairs and items of the batches are spread over its devices and everything else
    is on each. XLA adds what the devices find: gradients, and the forms of the items.
    """

    def body(i, carry):
        state, loss, right = carry
        batch = jax.tree.map(
            lambda b: jax.lax.dynamic_index_in_dim(b, i, 0, keepdims=False), batches
        )
        state, batch_loss, batch_right = train_step(state, batch, x, context, key, steps, settings)
        after = state, loss + batch_loss, right + batch_right
        return after if mesh is None else jax.lax.with_sharding_constraint(after, copied(mesh))

    zero = jnp.zeros((), x.dtype)
    return jax.lax.fori_loop(0, count, body, (state, zero, zero))


def cut_batches(
    columns: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, size: int, chunk: int
) -> tuple[list[tuple[np.ndarray, ...]], int]:
    """((chunks of (user, better, worse), each (chunk, size)), number of batches).

    Padded with pairs of user `n`, who does not exist.
    """
    count = math.ceil(len(columns[0]) / size)
    chunk = min(chunk, count)
    rows = math.ceil(count / chunk) * chunk
    filled = []
    for column, fill in zip(columns, (n, 0, 0), strict=True):
        padded = np.full(rows * size, fill, np.int32)
        padded[: len(column)] = column
        filled.append(padded.reshape(-1, chunk, size))
    return list(zip(*filled, strict=True)), count


def make_batches(
    columns: tuple[np.ndarray, np.ndarray, np.ndarray],
    n: int,
    size: int,
    chunk: int,
    devices: int = 1,
) -> tuple[list[Batch], int]:
    """(chunks of batches, number of batches) with the different items of every batch.

    All batches have room for the largest number of different items, rounded up so that epochs
    rarely differ (each width is compiled once) and that `devices`, which divide `size`, can share
    them evenly.
    """
    chunks, count = cut_batches(columns, n, size, chunk)
    batches = [_with_items(*c) for c in chunks]
    room = max(int(positions.max()) + 1 for _, _, positions in batches)
    multiple = math.lcm(_ROOM, devices)
    room = min(-(-room // multiple) * multiple, 2 * size)
    return [
        Batch(user, _resized(items, room), positions[:, :size], positions[:, size:])
        for user, items, positions in batches
    ], count


_ROOM = 64  # different items per batch, rounded up to a multiple


def _with_items(
    user: np.ndarray, better: np.ndarray, worse: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(users, different items of each row padded with 0, position of each pair's items)."""
    both = np.concatenate([better, worse], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    ordered = np.take_along_axis(both, order, axis=1)
    new = np.ones(both.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    rank = np.cumsum(new, axis=1, dtype=np.int32) - 1
    positions = np.empty_like(rank)
    np.put_along_axis(positions, order, rank, axis=1)
    items = np.zeros_like(both)
    np.put_along_axis(items, rank, ordered, axis=1)
    return user, items, positions


def _resized(items: np.ndarray, room: int) -> np.ndarray:
    """Cut to `room` columns, or padded with 0."""
    return np.pad(items, ((0, 0), (0, max(room - items.shape[1], 0))))[:, :room]
