"""Placement of personas and real users by the same procedures, each kept once it is finished."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.preferences import Placement, ScoreGram, init_mixture, place_users
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.workflows.fidelity.parts import PROCEDURES, purpose_key

_COLUMNS = ("w", "status", "steps", "gradient_norm", "embedding", "loss", "pairs")


def place_populations(
    key: PRNGKey,
    gram: ScoreGram,
    personas: RatingTable,
    control: RatingTable,
    *,
    procedures: Sequence[str] = PROCEDURES,
    gap: float = 1.0,
    store: Checkpoints | None = None,
    say: Callable[[str, int, int], None],
) -> tuple[dict[str, Placement], dict[str, Placement]]:
    """Personas, and real users from their `control` ratings, by each procedure.

    Both are placed in one call, which compiles half as many programs as two: each rater is a
    problem of their own.

    **Arguments:**

    - `key`: of the random starts of SSR; Newton's method needs none.
    - `gram`: score forms of the whole catalogue.
    - `personas`, `control`: ratings of its items.
    - `procedures`: some of `PROCEDURES`.
    - `gap`: the least difference of two ratings that form a pair.
    - `store`: where finished procedures are kept, and read back; `None` for nowhere.
    - `say`: called with a text, the number of raters placed so far, and of all.

    **Returns:** placements of personas and of real users, by procedure.
    """
    everyone = _joined(personas, control)
    count, p = len(personas.users), gram.prototypes.shape[0]
    starts = jnp.concatenate(
        [
            init_mixture(purpose_key(key, purpose), len(table.users), p, gram.numerator.dtype)
            for purpose, table in (("personas", personas), ("control", control))
        ]
    )
    placed, real = {}, {}
    total = len(everyone.users) * len(procedures)
    for number, procedure in enumerate(procedures):
        before = number * len(everyone.users)

        def tell(done: int, _: int, procedure: str = procedure, before: int = before) -> None:
            say(f"placing personas and users, {procedure}", before + done, total)

        tell(0, 0)
        start = starts if procedure == "ssr" else None
        found = _placement(gram, everyone, procedure, start, gap, store, tell)
        placed[procedure] = jax.tree.map(lambda leaf: leaf[:count], found)
        real[procedure] = jax.tree.map(lambda leaf: leaf[count:], found)
    say("placing personas and users", total, total)
    return placed, real


def _placement(
    gram: ScoreGram,
    ratings: RatingTable,
    procedure: str,
    start: Float[Array, "n p"] | None,
    gap: float,
    store: Checkpoints | None,
    tell: Callable[[int, int], None],
) -> Placement:
    """`place_users`, or what it found before."""

    def compute() -> dict[str, np.ndarray]:
        found = place_users(gram, ratings, method=procedure, gap=gap, init=start, on_progress=tell)
        return {name: np.asarray(getattr(found, name)) for name in _COLUMNS}

    def unit() -> str:
        name = unit_key(
            ("preferences.user_placement",), procedure=procedure, start=start, gap=gap, gram=gram,
            ratings=[ratings.user, ratings.item, ratings.rating], users=len(ratings.users),
        )  # fmt: skip
        return f"placement-{procedure}-{name}"

    columns, _ = kept(store, unit, compute)
    return Placement(**{name: jnp.asarray(column) for name, column in columns.items()})


def _joined(first: RatingTable, second: RatingTable) -> RatingTable:
    """The raters of two tables of the same items, those of `first` first."""
    return dataclasses.replace(
        first,
        user=np.concatenate([first.user, second.user + np.int32(len(first.users))]),
        item=np.concatenate([first.item, second.item]),
        rating=np.concatenate([first.rating, second.rating]),
        time=np.concatenate([first.time, second.time]),
        users=(*(f"first {name}" for name in first.users), *second.users),
    )
