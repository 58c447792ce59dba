"""Ratings of items by users: one table, chronological splits, k-cores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..solvers.boundary import host_array
from ..solvers.checks import check_count
from ..tables.responses import identifiers, numeric_column, positions, some


@dataclass(frozen=True, eq=False)
class RatingTable:
    """k ratings of m items by n users, sorted by user and then time.

    **Arguments:**

    - `user`, `item`: (k,) positions in `users` and `items`, int32. A user rates an item once.
    - `rating`: (k,) finite numbers.
    - `time`: (k,) in seconds since 1970, NaN where unknown.
    - `users`, `items`: identifiers. A part of a table keeps those of the whole.
    - `texts`: a description of each item for a sentence encoder, "" where there is none; or empty.

    Made by [`rating_table`][] or a reader. Ratings of equal time keep the order of the input.
    """

    user: Int[np.ndarray, " k"]
    item: Int[np.ndarray, " k"]
    rating: Float[np.ndarray, " k"]
    time: Float[np.ndarray, " k"]
    users: tuple[str, ...]
    items: tuple[str, ...]
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user)

    def where(self, keep: Bool[np.ndarray, " k"]) -> "RatingTable":
        """Only some of the ratings, of the same users and items."""
        return replace(
            self,
            user=self.user[keep],
            item=self.item[keep],
            rating=self.rating[keep],
            time=self.time[keep],
        )

    def user_counts(self) -> Int[np.ndarray, " n"]:
        """Number of ratings of every user."""
        return np.bincount(self.user, minlength=len(self.users))

    def item_counts(self) -> Int[np.ndarray, " m"]:
        """Number of ratings of every item: its popularity."""
        return np.bincount(self.item, minlength=len(self.items))

    def compact(self) -> "RatingTable":
        """Without the users and items that have no rating."""
        user_ids, user = np.unique(self.user, return_inverse=True)
        item_ids, item = np.unique(self.item, return_inverse=True)
        return replace(
            self,
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            users=tuple(self.users[i] for i in user_ids),
            items=tuple(self.items[j] for j in item_ids),
            texts=tuple(self.texts[j] for j in item_ids) if self.texts else (),
        )

    def core(self, k: int = 5) -> "RatingTable":
        """The k-core: what is left when users and items with fewer than `k` ratings are removed
        until there are none. **Raises:** `ValueError` if nothing is left.

        **Example:**

            >>> from syndigits_jax.datasets import rating_table
            >>> users = ["ann", "ann", "bob", "bob", "eve"]
            >>> ratings = rating_table(users, list("xyxyz"), [5, 4, 3, 2, 1])
            >>> print(ratings.core(2).users)
            ('ann', 'bob')
        """
        check_count("k", k)
        table = self.compact()
        while len(table):
            keep = (table.user_counts() >= k)[table.user] & (table.item_counts() >= k)[table.item]
            if keep.all():
                return table
            table = table.where(keep).compact()
        raise ValueError(f"`k`: no users and items with at least {k} ratings each are left")

    def split(
        self, train: float = 0.8, validation: float = 0.1
    ) -> tuple["RatingTable", "RatingTable", "RatingTable"]:
        """(training, validation, test): each user's ratings cut in order of time.

        Of a user's c ratings the first ⌊c · train⌋, at least one, are for training, those up to
        ⌊c · (train + validation)⌋ for validation, the rest for test; so someone with five ratings
        has four, none and one at 80/10/10.

        **Raises:** `ValueError` if the shares are not positive or exceed one, or if a user with
        several ratings has one without a time.

        **Example:**

            >>> from syndigits_jax.datasets import rating_table
            >>> ratings = rating_table(["ann"] * 10, range(10), range(1, 11), time=range(10))
            >>> print([part.item.tolist() for part in ratings.split()])
            [[0, 1, 2, 3, 4, 5, 6, 7], [8], [9]]
        """
        if not (0 < train < 1 and validation >= 0 and train + validation <= 1):
            raise ValueError(
                f"`train` and `validation` must be shares of one, got {train} and {validation}"
            )
        counts = self.user_counts()
        undated = np.isnan(self.time) & (counts > 1)[self.user]
        if undated.any():
            names = [self.users[u] for u in np.unique(self.user[undated])]
            raise ValueError(
                f"`time` is missing for ratings of {len(names)} users ({some(names)}): "
                "a chronological split needs it"
            )
        rank = np.arange(len(self)) - (np.cumsum(counts) - counts)[self.user]
        # The rounding of a product such as 0.8 * 5 must not cost a rating.
        first = np.maximum(np.floor(counts * train + 1e-9), 1)[self.user]
        second = np.maximum(np.floor(counts * (train + validation) + 1e-9)[self.user], first)
        return (
            self.where(rank < first),
            self.where((rank >= first) & (rank < second)),
            self.where(rank >= second),
        )

    def matrix(
        self, items: Sequence[int] | Int[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, "n M"]:
        """Ratings of all users for `items` (positions; all by default), NaN where missing."""
        wanted = np.arange(len(self.items)) if items is None else np.asarray(items, dtype=int)
        if len(np.unique(wanted)) < len(wanted):
            raise ValueError("`items`: positions must differ from one another")
        column = np.full(len(self.items), -1)
        column[wanted] = np.arange(len(wanted))
        out = np.full((len(self.users), len(wanted)), np.nan)
        here = column[self.item] >= 0
        out[self.user[here], column[self.item[here]]] = self.rating[here]
        return out

    def with_items(self, items: Iterable[Any], texts: Iterable[str] = ()) -> "RatingTable":
        """The same ratings with a larger catalogue.

        **Raises:** `ValueError` if `items` lacks a rated item, or if `texts` has another length.
        """
        names, texts = identifiers(items, "items"), tuple(texts)
        if texts and len(texts) != len(names):
            raise ValueError(f"`texts` has {len(texts)} entries, but there are {len(names)} items")
        where = positions(names, self.items, "items").astype(np.int32)
        return replace(self, item=where[self.item], items=names, texts=texts)


def rating_table(
    user: Any,
    item: Any,
    rating: Any,
    time: Any = None,
    *,
    duplicates: str = "error",
) -> RatingTable:
    """A [`RatingTable`][] from parallel columns of identifiers, ratings and times (seconds).

    Users and items are listed in order of first appearance.

    **Arguments:** columns are sequences, arrays or columns of a data frame.

    - `user`, `item`: identifiers.
    - `rating`: finite numbers.
    - `time`: seconds since 1970, or dates without time zone; unknown by default.
    - `duplicates`: if a user rates an item more than once, `"error"` refuses the table and
      `"last"` keeps the last rating in time.

    **Raises:** `ValueError` for columns of different length, an empty table, missing identifiers,
    ratings that are not finite numbers, and repeated ratings.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> ratings = rating_table(["ann", "bob", "ann"], ["x", "x", "y"], [5, 3, 4])
        >>> print(ratings.users, ratings.items, ratings.matrix().tolist())
        ('ann', 'bob') ('x', 'y') [[5.0, 4.0], [3.0, nan]]
    """
    if duplicates not in ("error", "last"):
        raise ValueError(f"`duplicates` must be 'error' or 'last', got {duplicates!r}")
    columns = {"user": user, "item": item, "rating": rating}
    columns |= {} if time is None else {"time": time}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    if lengths["user"] == 0:
        raise ValueError("`rating`: the table has no ratings")

    users, user_code = _codes(user, "user")
    items, item_code = _codes(item, "item")
    value = numeric_column(_plain(rating), "rating", None, "ratings")
    if not np.isfinite(value).all():
        row = int(np.flatnonzero(~np.isfinite(value))[0])
        raise ValueError(f"`rating`: {value[row]} at row {row}; every rating must be a number")
    when = np.full(len(value), np.nan)
    if time is not None:
        when = _seconds(time)
    order = np.lexsort((when, user_code))  # stable; NaN comes last
    table = RatingTable(user_code[order], item_code[order], value[order], when[order], users, items)
    pair = table.user.astype(np.int64) * len(items) + table.item
    # The first of a reversed list is the last in time.
    _, last = np.unique(pair[::-1], return_index=True)
    if len(last) == len(pair):
        return table
    if duplicates == "error":
        keep = np.zeros(len(pair), bool)
        keep[len(pair) - 1 - last] = True
        row = int(np.flatnonzero(~keep)[0])
        raise ValueError(
            f"{len(pair) - len(last)} repeated ratings, one of item "
            f"{items[table.item[row]]!r} by user {users[table.user[row]]!r}; "
            "duplicates='last' keeps the last of each"
        )
    keep = np.zeros(len(pair), bool)
    keep[len(pair) - 1 - last] = True
    return table.where(keep)


def _seconds(time: Any) -> Float[np.ndarray, " k"]:
    """Times as numbers; dates in seconds since 1970."""
    cells = _plain(time)
    if cells.dtype.kind == "M":
        return (cells - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return numeric_column(cells, "time", None, "times")


def _plain(column: Any) -> np.ndarray:
    """A column as a NumPy array, from any kind of data frame."""
    return host_array("column", column)


def _codes(column: Any, argument: str) -> tuple[tuple[str, ...], Int[np.ndarray, " k"]]:
    """(identifiers in order of appearance, position of every entry)."""
    values = _plain(column)
    code: dict[Any, int] = {}
    try:
        positions = [code.setdefault(value, len(code)) for value in values.tolist()]
    except TypeError:  # a list or a mapping
        raise ValueError(f"`{argument}`: identifiers must be texts or numbers") from None
    try:
        names = identifiers(code, argument)
    except ValueError as error:
        raise ValueError(f"{error} (counted among the different ones)") from None
    return names, np.array(positions, dtype=np.int32)
