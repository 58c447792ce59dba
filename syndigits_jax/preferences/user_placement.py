"""Placement of users from all that they rated, by the same procedures as personas.

Users with trained mixtures and personas placed by SSR differ in procedure as well as in
preferences; users placed from their own ratings by SSR differ from personas in preferences alone.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..solvers.keys import PRNGKey
from .encoder import ScoreGram, init_mixture, user_embedding
from .pairs import Ratings, check_ratings
from .placement import Placement, place_newton, place_ssr

_STATIC = ("gap", "batch_size")
_PAIRS = 5_000_000  # of padding: two hundred steps of Adam take a second, as compiling does
_PLACERS = {
    "ssr": jax.jit(place_ssr, static_argnames=_STATIC),
    "newton": jax.jit(place_newton, static_argnames=_STATIC),
}


def place_users(
    gram: ScoreGram,
    ratings: Ratings,
    *,
    method: str = "ssr",
    key: PRNGKey | None = None,
    init: Float[Array, "n p"] | None = None,
    users: Bool[np.ndarray, " n"] | None = None,
    batch_entries: int = 1 << 17,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Placement:
    """Place every user of a rating table from all of their ratings, however many.

    Users are grouped by their number of ratings, so that a user with thousands does not slow down
    the others; few users are in few groups, as each group compiles a program.

    **Arguments:**

    - `gram`: score forms of the whole catalogue, (m, f): see `TrainedEncoder.gram`.
    - `ratings`: a `datasets.RatingTable`, such as the held-out part of a split.
    - `method`: `"ssr"`, see [`place_ssr`][] (needs `key` or `init`), or `"newton"`, see
      [`place_newton`][].
    - `key`, `init`: random or given (n, p) starts, as in the two.
    - `users`: place only these; the others are left at their start, with no pairs.
    - `batch_entries`: ratings solved together; bounds the memory.
    - `on_progress`: called with the number of users placed so far, and of all to be placed.
    - `settings`: further arguments of the method.

    **Returns:** a [`Placement`][] with one row per user of the table; users without a pair of
    ratings that differ by the gap are flagged `constant`.

    **Raises:** `ValueError` as the two, for another method, or if `gram` is not of the table's
    items.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import init_encoder, place_users, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, hidden=(), dim=5, dtype=float)
        >>> ratings = rating_table(["ann"] * 3 + ["bob"], ["x", "y", "z", "x"], [5, 3, 1, 2])
        >>> placed = place_users(score_gram(encoder, jnp.eye(3)), ratings, method="newton")
        >>> print(placed.pairs, placed.constant)
        [3. 0.] [False  True]
    """
    if method not in _PLACERS:
        raise ValueError(f"`method` must be 'ssr' or 'newton', got {method!r}")
    init = _checked_start(gram, ratings, method, key, init)
    n, p, dtype = len(ratings.users), gram.prototypes.shape[0], gram.numerator.dtype
    rows_of = _Rows.of(ratings)
    wanted = rows_of.counts > 0 if users is None else users & (rows_of.counts > 0)
    w = np.zeros((n, p), dtype) if init is None else np.array(init)
    out = {
        "status": np.zeros(n, np.int32),
        "steps": np.zeros(n, np.int32),
        "gradient_norm": np.zeros(n, dtype),
        "loss": np.zeros(n, dtype),
        "pairs": np.zeros(n, dtype),
    }
    place = functools.partial(_PLACERS[method], **settings)
    done = 0
    for width, size, part in _parts(rows_of.counts, wanted, batch_entries):
        # The last part repeats users, so that each width has one compiled shape.
        people = np.resize(part, size)
        items, values = rows_of.padded(people, width)
        placed = place(
            gram.take(jnp.asarray(items)),
            jnp.asarray(values, dtype),
            init=None if init is None else init[people],
            batch_size=size,
        )
        kept = slice(0, len(part))
        w[part] = np.asarray(placed.w)[kept]
        for name, column in out.items():
            column[part] = np.asarray(getattr(placed, name))[kept]
        done += len(part)
        if on_progress is not None:
            on_progress(done, int(wanted.sum()))
    logits = jnp.asarray(w)
    embedding = user_embedding(gram.prototypes, logits, gram.temperature)
    columns = {name: jnp.asarray(column) for name, column in out.items()}
    return Placement(logits, embedding=embedding, **columns)


def _checked_start(
    gram: ScoreGram,
    ratings: Ratings,
    method: str,
    key: PRNGKey | None,
    init: Float[Array, "n p"] | None,
) -> Float[Array, "n p"] | None:
    """The start, `None` for that of Newton's method; all arguments checked."""
    n, m, p = len(ratings.users), len(ratings.items), gram.prototypes.shape[0]
    if gram.numerator.shape[:-1] != (m,):
        raise ValueError(
            f"`gram` has items {gram.numerator.shape[:-1]}, but `ratings` has {m}; give the score "
            "forms of the whole catalogue"
        )
    check_ratings(ratings)
    if init is None and key is not None:
        init = init_mixture(key, n, p, gram.numerator.dtype)
    if method == "ssr" and init is None:
        raise ValueError("`key` or `init` is needed: SSR starts from random mixtures")
    if init is not None and init.shape != (n, p):
        raise ValueError(f"`init` must have shape {(n, p)}, users x prototypes, got {init.shape}")
    return init


def _parts(counts: Int[np.ndarray, " n"], wanted: Bool[np.ndarray, " n"], batch_entries: int):
    """(width, users per call, some users) until every wanted user has had a turn."""
    for width, members in _groups(counts, wanted):
        size = min(max(1, batch_entries // width), len(members))
        for first in range(0, len(members), size):
            yield width, size, members[first : first + size]


def _groups(
    counts: Int[np.ndarray, " n"], wanted: Bool[np.ndarray, " n"]
) -> list[tuple[int, Int[np.ndarray, " k"]]]:
    """(width, users with at most `width` ratings), every user in one group.

    Widths are powers of two. Each is a program to compile, so that a small group joins the next
    wider one, although its users' padding takes part in the computation there.
    """
    widths = 2 ** np.ceil(np.log2(np.maximum(counts, 8))).astype(int)
    found = np.unique(widths[wanted]).tolist()
    groups, members = [], np.zeros(0, int)
    for width, wider in zip(found, [*found[1:], None], strict=True):
        members = np.union1d(members, np.flatnonzero(wanted & (widths == width)))
        if wider is None or len(members) * (wider**2 - width**2) > _PAIRS:
            groups.append((width, members))
            members = np.zeros(0, int)
    return groups


@dataclass(frozen=True, eq=False)
class _Rows:
    """Ratings user by user: those of user u begin at `start[u]` and are `counts[u]`."""

    item: Int[np.ndarray, " k"]
    rating: Float[np.ndarray, " k"]
    start: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, ratings: Ratings) -> "_Rows":
        counts = np.bincount(ratings.user, minlength=len(ratings.users))
        order = np.argsort(ratings.user, kind="stable")
        start = np.cumsum(counts) - counts
        return cls(ratings.item[order], ratings.rating[order], start, counts)

    def padded(
        self, users: Int[np.ndarray, " b"], width: int
    ) -> tuple[Int[np.ndarray, "b M"], Float[np.ndarray, "b M"]]:
        """Each user's items and ratings as a row, padded with item 0 and NaN."""
        place = np.arange(width)[None, :]
        there = place < self.counts[users, None]
        at = np.where(there, self.start[users, None] + place, 0)
        return np.where(there, self.item[at], 0), np.where(there, self.rating[at], np.nan)
