"""Personas from real users' ratings: histories to show as they are, or to write a persona from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from ...datasets.ratings import RatingTable, rating_table
from ...results.keys import Key, entropy
from ...schema import Persona
from ...solvers.checks import check_count
from ...tables.frame_table import FrameTable
from ...tables.frames import is_frame
from ...tables.responses import positions, some

Items = Mapping[str, Mapping[str, str]]
"""Fields of items (`title`, `genre`, `tags`, ...) by identifier, as from `datasets.read_items`."""

_LONGEST_TITLE, _LONGEST_SNIPPET = 80, 120  # characters, in a block of top items


def history_personas(
    ratings: Any,
    items: Items,
    *,
    shown: int = 250,
    asked: Iterable[str] | None = None,
    in_context: bool = False,
    as_text: bool = False,
    users: Iterable[str] | None = None,
    key: Key = 0,
) -> tuple[Persona, ...]:
    """Personas that consist of a user's rating history (SYN-DIGITS, section 3.3 and Figure 2).

    The history is a list of title-genre-tags-rating tuples, one per line, in the persona's
    `answers`. The slot `{history}` of a template leaves out the item that is asked.

    **Arguments:**

    - `ratings`: a [`RatingTable`][syndigits_jax.datasets.RatingTable], or a data frame of users by
      items, users in the index (of polars or Arrow the first column).
    - `items`: the fields of each item, by identifier.
    - `shown`: number of a user's ratings in the persona, chosen at random for each user
      independently; all of a user who has fewer.
    - `asked`: identifiers of the items that will be asked, which are never among those `shown`. The
      published study asks all users about the same 250 of 500 films. By default any item may be
      shown, and the others can be asked.
    - `in_context`: add the ratings of all items `asked` (by default, of all items that are not
      `shown`): the in-context baseline, whose templates leave out only the item that is asked.
      Without it, the zero-shot baseline.
    - `as_text`: put the history into the persona's text, for templates that only use `{persona}`.
      No item can be left out of a text, so the user must not be asked about items shown.
    - `users`: identifiers of the users, in this order; by default all with ratings.
    - `key`: a JAX random key or an integer, of the choice of ratings.

    **Returns:** one persona per user, with the user's identifier.

    **Raises:** `ValueError` naming the argument for unknown users or items, users without a rating
    to show, rated items that `items` does not have or that have no title, `shown` below 1, or
    `as_text` with `in_context`.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.respond import history_personas
        >>> ratings = rating_table(["ann", "ann"], ["1", "2"], [5, 3])
        >>> items = {"1": {"title": "Alien"}, "2": {"title": "Up"}}
        >>> persona = history_personas(ratings, items, asked=["2"])[0]
        >>> print(persona.identifier, persona.answers)
        ann {'1': '("Alien", "", "", 5)'}
    """
    check_count("shown", shown)
    if as_text and in_context:
        raise ValueError("`as_text`: the item asked cannot be left out of a text (`in_context`)")
    table = _rating_table(ratings)
    lines = _Lines(items)
    held = np.zeros(len(table.items), dtype=bool)
    if asked is not None:
        held[positions(table.items, asked, "asked")] = True
    starts, start = _starts(table), np.ravel(entropy(key)).tolist()
    personas, without = [], []
    for user in _users(table, users):
        mine = np.arange(starts[user], starts[user + 1])
        free = mine[~held[table.item[mine]]]
        name = table.users[user]
        if not len(free):
            without.append(name)
            continue
        # One generator per user, so that the choice does not depend on the other users.
        generator = np.random.default_rng([*start, *name.encode()])
        chosen = generator.permutation(len(free))[:shown]
        kept = np.zeros(len(mine), dtype=bool)
        kept[free[chosen] - starts[user]] = True
        if in_context:
            kept |= held[table.item[mine]] if asked is not None else True
        rated = [(table.items[table.item[row]], float(table.rating[row])) for row in mine[kept]]
        history = {item: lines(item, rating) for item, rating in rated}
        text = "\n".join(history.values()) if as_text else ""
        personas.append(Persona(name, text, {"seed": name}, {} if as_text else history))
    if without:
        raise ValueError(
            f"`ratings`: {len(without)} users have no rating to show ({some(without)}); leave them "
            "out with `users`, or ask about fewer items"
        )
    return tuple(personas)


def grounded_prompts(
    ratings: Any,
    items: Items,
    people: int | None = None,
    *,
    users: Iterable[str] | None = None,
    shown: int = 20,
    exclude: Iterable[str] = (),
    fewest: int = 10,
    category_label: str = "films",
    reviews: Mapping[tuple[str, str], str] | None = None,
    key: Key = 0,
) -> tuple[Persona, ...]:
    """Personas without a text, with attributes for the template `persona-grounded`.

    The behaviourally grounded condition of The Persona Fidelity Gap (section 4, appendix D): a
    real user's `shown` highest-rated items (for equal ratings the most recent first) with rating,
    category, truncated title and truncated review snippet, and the user's distribution of ratings.

    **Arguments:**

    - `ratings`, `items`: as in [`history_personas`][].
    - `people`: number of users, drawn at random among those with at least `fewest` ratings.
    - `users`: identifiers of the users; give either `people` or `users`.
    - `shown`: number of items shown.
    - `exclude`: identifiers of items that are ignored, such as those asked later.
    - `fewest`: the least ratings of a user who is drawn.
    - `category_label`: the kind of the items, as the prompt names it.
    - `reviews`: the user's review by (user, item); where there is none, the item's tags or
      description are shown instead.
    - `key`: a JAX random key or an integer, of the draw of users.

    **Returns:** one persona per user; its attribute `seed` is the user's identifier.

    **Raises:** `ValueError` naming the argument, also if fewer than `people` users have `fewest`
    ratings.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.respond import grounded_prompts
        >>> ratings = rating_table(["ann", "ann"], ["1", "2"], [5, 3])
        >>> items = {"1": {"title": "Alien"}, "2": {"title": "Up"}}
        >>> persona = grounded_prompts(ratings, items, users=["ann"])[0]
        >>> print(persona.attributes["seed"], sorted(persona.attributes))
        ann ['category_label', 'condition', 'n_reviews', 'rating_hist', 'seed', 'top_items_block']
    """
    check_count("shown", shown)
    if (people is None) == (users is None):
        raise ValueError("`people`: give either the number of users or their identifiers (`users`)")
    if people is not None:
        check_count("people", people)
    table = _rating_table(ratings)
    held = np.zeros(len(table.items), dtype=bool)
    # Excluded items may be without any rating.
    held[positions(table.items, set(exclude) & set(table.items), "exclude")] = True
    table = table.where(~held[table.item])
    chosen = _users(table, users) if people is None else _drawn(table, people, fewest, key)
    starts = _starts(table)
    personas = []
    for user in chosen:
        name = table.users[user]
        mine = np.arange(starts[user], starts[user + 1])
        if not len(mine):
            raise ValueError(f"`users`: {name!r} only has ratings of items to `exclude`")
        rating, time = table.rating[mine], table.time[mine]
        # The last key counts most; for equal times, the later row comes first.
        order = np.lexsort((-mine, -np.where(np.isnan(time), -np.inf, time), -rating))[:shown]
        block = [
            _top_line(items, name, table.items[j], value, reviews or {})
            for j, value in zip(table.item[mine][order], rating[order].tolist())
        ]
        values, counts = np.unique(rating, return_counts=True)
        spread = ", ".join(f"{v:g}: {c}" for v, c in zip(values, counts))
        attributes = {
            "seed": name,
            "condition": "grounded",
            "category_label": category_label,
            "top_items_block": "\n" + "\n".join(block),
            "rating_hist": spread,
            "n_reviews": str(len(mine)),
        }
        personas.append(Persona(f"grounded-{name}", attributes=attributes))
    return tuple(personas)


class _Lines:
    """The tuples that a history is made of."""

    def __init__(self, items: Items):
        self.items = items
        self.known: dict[str, str] = {}

    def __call__(self, item: str, rating: float) -> str:
        if item not in self.known:
            fields = _fields(self.items, item)
            parts = [fields["title"], fields.get("genre", ""), fields.get("tags", "")]
            quoted = [json.dumps(_one_line(part), ensure_ascii=False) for part in parts]
            self.known[item] = ", ".join(quoted)
        return f"({self.known[item]}, {rating:g})"


def _fields(items: Items, item: str) -> Mapping[str, str]:
    if item not in items:
        raise ValueError(f"`items`: nothing is known about the rated item {item!r}")
    if not items[item].get("title", "").strip():
        raise ValueError(f"`items`: item {item!r} has no title")
    return items[item]


def _top_line(
    items: Items, user: str, item: str, rating: float, reviews: Mapping[tuple[str, str], str]
) -> str:
    fields = _fields(items, item)
    parts = [
        f"{rating:g}",
        _one_line(fields.get("category") or fields.get("genre", "")),
        _truncated(fields["title"], _LONGEST_TITLE),
        _truncated(
            reviews.get((user, item), "") or fields.get("tags") or fields.get("description", ""),
            _LONGEST_SNIPPET,
        ),
    ]
    return "- " + " | ".join(part or "not stated" for part in parts)


def _one_line(text: str) -> str:
    # A line break in a title would look like another item.
    return " ".join(text.split())


def _truncated(text: str, longest: int) -> str:
    """One line of at most `longest` characters, cut between words where there are any."""
    text = _one_line(text)
    if len(text) <= longest:
        return text
    cut = text[: longest - 3]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut).rstrip() + "..."


def _rating_table(ratings: Any) -> RatingTable:
    if isinstance(ratings, RatingTable):
        return ratings
    if not is_frame(ratings):
        raise ValueError(
            f"`ratings` must be a RatingTable or a data frame, got {type(ratings).__name__}"
        )
    frame = FrameTable.read(ratings, "ratings", None)
    rows, columns = np.nonzero(~np.isnan(frame.values))
    if not len(rows):
        raise ValueError("`ratings`: the table has no ratings")
    names = [frame.users[i] for i in rows], [frame.questions[j] for j in columns]
    table = rating_table(*names, frame.values[rows, columns])
    return table.with_items(frame.questions)


def _starts(table: RatingTable) -> Int[np.ndarray, " n1"]:
    """Where each user's ratings start in the table, and where those of the last user end."""
    return np.concatenate([[0], np.cumsum(table.user_counts())])


def _users(table: RatingTable, users: Iterable[str] | None) -> Sequence[int]:
    if users is None:
        return np.flatnonzero(table.user_counts()).tolist()
    return positions(table.users, users, "users").tolist()


def _drawn(table: RatingTable, people: int, fewest: int, key: Key) -> Sequence[int]:
    enough = np.flatnonzero(table.user_counts() >= max(fewest, 1))
    if len(enough) < people:
        raise ValueError(
            f"`people`: {people} users wanted, but {len(enough)} have {fewest} ratings or more "
            "that may be shown"
        )
    return np.sort(np.random.default_rng(entropy(key)).permutation(enough)[:people]).tolist()
