"""Pairs of ratings that differ by a gap: counted exactly, drawn uniformly, never listed.

With a user's ratings sorted, the items that one item beats are a prefix of them. Counting is then a
search per rating, and the g-th pair of all is found by two look-ups, so that the cost of a user
grows with their ratings, not with their pairs.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ..solvers.checks import check_count
from ..solvers.keys import PRNGKey, host_generator
from ._pair_loss import effective_gap


@runtime_checkable
class Ratings(Protocol):
    """What this module needs of a rating table; `datasets.RatingTable` is one."""

    @property
    def user(self) -> Int[np.ndarray, " k"]:
        """Position of each rating's user in `users`."""
        ...

    @property
    def item(self) -> Int[np.ndarray, " k"]:
        """Position of each rating's item in `items`."""
        ...

    @property
    def rating(self) -> Float[np.ndarray, " k"]:
        """The ratings; none missing."""
        ...

    @property
    def users(self) -> tuple[str, ...]:
        """Identifiers of the n users."""
        ...

    @property
    def items(self) -> tuple[str, ...]:
        """Identifiers of the m items."""
        ...


@dataclass(frozen=True, eq=False)
class Pairs:
    """q pairs: `user` prefers item `better` to item `worse`; positions, (q,) each, int32."""

    user: Int[np.ndarray, " q"]
    better: Int[np.ndarray, " q"]
    worse: Int[np.ndarray, " q"]

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class PairTable:
    """All pairs of n users, encoded by e entries sorted by user.

    Entry i stands for the pairs of item `better[i]` with `worse[first[i]:first[i] + c]`, where c =
    `cumulative[i + 1] - cumulative[i]`; `offset[u]` is where the pairs of user u begin.
    """

    better: Int[np.ndarray, " e"]
    first: Int[np.ndarray, " e"]
    cumulative: Int[np.ndarray, " e1"]
    worse: Int[np.ndarray, " l"]
    offset: Int[np.ndarray, " n1"]

    @property
    def counts(self) -> Int[np.ndarray, " n"]:
        """Pairs of every user, exactly."""
        return np.diff(self.offset)

    @property
    def total(self) -> int:
        """Pairs of all users."""
        return int(self.offset[-1])

    def at(self, pair: Int[np.ndarray, " q"]) -> tuple[np.ndarray, np.ndarray]:
        """(better, worse) item of pairs numbered 0 to `total` - 1, user by user."""
        entry = np.searchsorted(self.cumulative, pair, side="right") - 1
        return self.better[entry], self.worse[self.first[entry] + pair - self.cumulative[entry]]


def pair_table(ratings: Ratings, gap: float = 1.0) -> PairTable:
    """The pairs of items that a user rated `gap` or more apart, in O(k log k) for k ratings.

    **Raises:** `ValueError` for a gap that is not positive, columns of different length, ratings
    that are not finite, positions out of range, or an item that a user rated twice.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import pair_table
        >>> users, items = ["ann", "ann", "ann", "bob", "bob"], ["x", "y", "z", "x", "y"]
        >>> ratings = rating_table(users, items, [5, 3, 3, 1, 1])
        >>> print(pair_table(ratings, gap=1.0).counts)  # of Ann and of Bob
        [2 0]
    """
    return _implied([(ratings, ratings)], gap)


def held_out_pair_table(earlier: Ratings, held_out: Ratings, gap: float = 1.0) -> PairTable:
    """Pairs of a held-out item with any other item of the same user, held out or not.

    A small held-out part alone has hardly any pairs.

    **Arguments:** `earlier`: the ratings before all of `held_out`, such as the training part of a
    chronological split, with the same users and items; `held_out`: the later ratings; `gap`: as in
    [`pair_table`][].

    **Raises:** `ValueError` as [`pair_table`][], and if the tables differ in users or items or
    share a rating.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import held_out_pair_table
        >>> ratings = rating_table(["ann"] * 3, ["x", "y", "z"], [5, 3, 1], time=[1, 2, 3])
        >>> earlier, held_out = ratings.where(ratings.time < 3), ratings.where(ratings.time == 3)
        >>> print(held_out_pair_table(earlier, held_out).counts)
        [2]
    """
    if len(earlier.users) != len(held_out.users) or len(earlier.items) != len(held_out.items):
        raise ValueError(
            "`held_out`: users and items must be those of `earlier` (parts of one table); got "
            f"{len(held_out.users)} x {len(held_out.items)} and "
            f"{len(earlier.users)} x {len(earlier.items)}"
        )
    both = np.intersect1d(_cells(earlier), _cells(held_out))
    if both.size:
        raise ValueError(f"`held_out` shares {both.size} ratings with `earlier`")
    parts = [(held_out, held_out), (held_out, earlier), (earlier, held_out)]
    return _implied(parts, gap)


def sample_pairs(key: PRNGKey, table: PairTable, cap: int | None = 100) -> Pairs:
    """Up to `cap` pairs per user, all different, each pair of a user as likely as any other.

    Users with at most `cap` pairs give all of them (with `cap=None`, all users do). For the others,
    the ordered pairs are rotated by a random amount and cut into `cap` strata, each of which gives
    one pair: every pair has the probability `cap` / count, and the draw is spread over the user's
    ratings. The same key gives the same pairs with any version of JAX.

    **Raises:** `ValueError` if `cap` is not positive, or for more than 2³¹ pairs at once.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import pair_table, sample_pairs
        >>> ratings = rating_table(["ann"] * 3, ["x", "y", "z"], [5, 3, 1])
        >>> pairs = sample_pairs(table=pair_table(ratings), key=jax.random.key(0), cap=2)
        >>> print(pairs.user, (pairs.better < pairs.worse).all())
        [0 0] True
    """
    if cap is not None:
        check_count("cap", cap)
    counts = table.counts
    take = counts if cap is None else np.minimum(counts, cap)
    if int(take.sum()) >= 2**31:
        raise ValueError(f"`cap`: {int(take.sum())} pairs at once; give a smaller cap")
    rng = host_generator(key)
    turn = np.floor(rng.random(len(counts)) * counts).astype(np.int64)
    user = np.repeat(np.arange(len(counts), dtype=np.int32), take)
    place = np.arange(len(user)) - (np.cumsum(take) - take)[user]
    count, taken = counts[user], take[user]
    low = place * count // taken
    size = (place + 1) * count // taken - low
    pair = low + np.floor(rng.random(len(user)) * size).astype(np.int64) + turn[user]
    better, worse = table.at(table.offset[user] + pair % count)
    return Pairs(user, better, worse)


def _cells(ratings: Ratings) -> Int[np.ndarray, " k"]:
    return ratings.user.astype(np.int64) * len(ratings.items) + ratings.item


def _implied(parts: list[tuple[Ratings, Ratings]], gap: float) -> PairTable:
    """Pairs (a, b) with r_a - r_b ≥ gap, a in the first table of a part and b in the second."""
    gap = effective_gap(gap)
    for table in {id(t): t for part in parts for t in part}.values():
        check_ratings(table)
    n = len(parts[0][0].users)
    levels = np.unique(np.concatenate([t.rating for part in parts for t in part]))
    # An item beats all levels before this position.
    beaten = np.searchsorted(levels, levels - gap, side="right")
    stride = len(levels) + 1
    users, better, first, counts, worse, low_offset = [], [], [], [], [], 0
    for high, low in parts:
        low_key = low.user.astype(np.int64) * stride + np.searchsorted(levels, low.rating)
        order = np.argsort(low_key, kind="stable")
        low_key = low_key[order]
        user = high.user.astype(np.int64) * stride
        start = np.searchsorted(low_key, user)
        end = np.searchsorted(low_key, user + beaten[np.searchsorted(levels, high.rating)])
        some = end > start
        users.append(high.user[some])
        better.append(high.item[some])
        first.append(low_offset + start[some])
        counts.append((end - start)[some])
        worse.append(low.item[order])
        low_offset += len(low.item)
    user = np.concatenate(users)
    order = np.argsort(user, kind="stable")
    count = np.concatenate(counts)[order].astype(np.int64)
    cumulative = np.concatenate([[0], np.cumsum(count)])
    offset = cumulative[np.searchsorted(user[order], np.arange(n + 1))]
    return PairTable(
        np.concatenate(better)[order].astype(np.int32),
        np.concatenate(first)[order].astype(np.int64),
        cumulative,
        np.concatenate(worse).astype(np.int32),
        offset,
    )


def check_ratings(table: Ratings) -> None:
    """Check a rating table. **Raises:** `ValueError` as [`pair_table`][]."""
    lengths = {len(table.user), len(table.item), len(table.rating)}
    if len(lengths) > 1:
        raise ValueError(f"`ratings`: columns differ in length: {sorted(lengths)}")
    if not np.isfinite(table.rating).all():
        raise ValueError("`ratings` must be finite numbers; leave missing ratings out")
    for name, codes, size in (
        ("user", table.user, len(table.users)),
        ("item", table.item, len(table.items)),
    ):
        if len(codes) and not (codes.min() >= 0 and codes.max() < size):
            raise ValueError(f"`{name}`: positions must lie in 0 to {size - 1}")
    cells = _cells(table)
    if len(np.unique(cells)) < len(cells):
        raise ValueError("`ratings`: a user rated an item twice; keep one of the two")
