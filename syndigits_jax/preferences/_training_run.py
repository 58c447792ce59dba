"""A training run between two epochs, and the file that keeps it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..solvers.keys import key_data
from ._store import read_arrays
from ._training_step import TrainingSettings, TrainingState
from .encoder import PreferenceEncoder
from .pairs import Ratings


@dataclass(frozen=True)
class TrainingRun:
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
            best = jax.tree.map(jnp.copy, (state.encoder, state.w))
            best_epoch = epoch
        return TrainingRun(
            state,
            (*self.loss, loss),
            (*self.accuracy, accuracy),
            (*self.validation, validation),
            best,
            best_epoch,
        )

    def ended(self, settings: TrainingSettings) -> bool:
        """Whether all epochs were run, or the accuracy has stalled for `settings.patience`."""
        epochs = len(self.loss)
        stalled = epochs - 1 - self.best_epoch
        patient = settings.patience is None or stalled < settings.patience
        return epochs >= settings.epochs or (epochs > 0 and not patient)

    def arrays(self, identity: str) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        leaves = jax.tree.leaves((self.state, self.best))
        return {
            "identity": np.array(identity),
            "best_epoch": np.array(self.best_epoch),
            "history": np.array([self.loss, self.accuracy, self.validation]),
            **{f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)},
        }

    def restored(self, path: Path, identity: str) -> "TrainingRun":
        """The run stored in `path`, or this one if there is no such file."""
        if not path.exists():
            return self
        try:
            stored = read_arrays(path)
            whose = str(stored["identity"])
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"`checkpoint`: {path} cannot be read as one ({error}); remove it or name another "
                "file"
            ) from error
        if whose != identity:
            raise ValueError(
                f"`checkpoint`: {path} is of another run (other data, key, start or settings); "
                "remove it or name another file"
            )
        like = (self.state, (self.state.encoder, self.state.w))
        leaves, shape = jax.tree.flatten(like)
        state, best = jax.tree.unflatten(
            shape, [jnp.asarray(stored[f"leaf{i}"]) for i in range(len(leaves))]
        )
        loss, accuracy, validation = (tuple(map(float, row)) for row in stored["history"])
        best_epoch = int(stored["best_epoch"])
        return TrainingRun(state, loss, accuracy, validation, best, best_epoch)


def run_identity(key, settings, x, context, encoder, w, *tables: Ratings | None) -> str:
    """A hash of everything that determines the result of a run."""
    digest = hashlib.sha256(repr(settings).encode())
    arrays = [key_data(key), x, context]
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
