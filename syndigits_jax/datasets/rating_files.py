"""Readers of public rating data: MovieLens, Amazon Reviews 2018 and 2023."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..tables.compressed import opened_bytes
from ..tables.frames import as_pandas_columns, import_pandas, is_frame, place_of
from ..tables.responses import some
from .delimited import SEPARATORS, refuse_ragged, refuse_repeated
from .ratings import RatingTable, rating_table
from .text_tables import PARQUET, open_table, parquet_columns, suffix_of

PathOrPaths = str | PathLike[str] | Sequence[str | PathLike[str]]

_FIELDS = ("user_id", "parent_asin", "rating", "timestamp", "title", "store", "features")
_FIELDS += ("description",)
_TAGS = 10  # most frequent tags that describe a film


def read_columns(path: Path | Any, columns: Iterable[str] = ()) -> Any:
    """A table of ratings or items as a data frame: the text of a `.csv` or `.tsv` file, the values
    of a `.jsonl` file (these also `.gz`), a `.parquet` file or a data frame of any kind.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it cannot be read, has no rows,
    or lacks one of the `columns`.
    """
    frame = as_pandas_columns(path) if is_frame(path) else open_table(path, _READERS)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        path = place_of(path, "table")
        raise ValueError(f"{path}: no column {missing[0]!r}; there are {list(frame.columns)}")
    return frame


def _read_text(path: Path) -> Any:
    """All cells as text. Read by pandas for speed, though it fills short rows without warning."""
    pd, separator = import_pandas(), SEPARATORS[suffix_of(path)]
    form = {"sep": separator, "encoding": "utf-8-sig"}
    try:
        with opened_bytes(path) as file:
            frame = pd.read_csv(file, dtype=str, keep_default_na=False, **form)
    except (ValueError, OSError):
        refuse_ragged(path, separator)  # has a clearer message
        raise
    refuse_repeated(path, separator)
    last = frame.iloc[:, -1]
    # A short row has an empty last cell; with longer rows pandas makes the first column the index.
    if not isinstance(frame.index, pd.RangeIndex) or (last.isna() | (last == "")).any():
        refuse_ragged(path, separator)
    return frame


def _records(path: Path) -> Any:
    """The fields that are needed of every line; reviews have many more."""
    kept = []
    with io.TextIOWrapper(opened_bytes(path), "utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object of fields but {row!r:.80}")
            kept.append({name: row[name] for name in _FIELDS if name in row})
    return import_pandas().DataFrame(kept)


_READERS = {
    **dict.fromkeys(SEPARATORS, _read_text),
    **dict.fromkeys((".jsonl", ".json"), _records),
    **dict.fromkeys(PARQUET, parquet_columns),
}


def as_sentence(*parts: str) -> str:
    """The parts that are not empty, as one text."""
    return ". ".join(part for part in parts if part)


def film_text(title: str, genres: Sequence[str] = (), tags: Sequence[str] = ()) -> str:
    """The text about a film that a sentence encoder gets."""
    text = f"{title}. Genres: {', '.join(genres)}." if genres else f"{title}."
    return f"{text} Tags: {', '.join(tags)}." if tags else text


def load_movielens_ratings(folder: str | PathLike[str], *, tags: bool = True) -> RatingTable:
    """A MovieLens release: `ratings.csv`, `movies.csv` and, unless `tags=False`, `tags.csv`.

    Items are all films of `movies.csv`, rated or not. A film's text is its title, genres and ten
    most frequent tags. **Raises:** `FileNotFoundError`, and `ValueError` naming the
    file that lacks a column.
    """
    folder = Path(folder)
    ratings = read_columns(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"))
    movies = read_columns(folder / "movies.csv", ("movieId", "title", "genres"))
    tag_of = top_tags(folder / "tags.csv") if tags else {}
    columns = (ratings[name] for name in ("userId", "movieId", "rating", "timestamp"))
    table = _named(folder / "ratings.csv", *columns)
    absent = sorted(set(table.items) - set(movies["movieId"].astype(str)))
    if absent:
        raise ValueError(
            f"{folder / 'movies.csv'}: {len(absent)} rated films are not in it ({some(absent)})"
        )
    texts = [
        film_text(title, genres.split("|"), tag_of.get(film, ()))
        for film, title, genres in zip(
            movies["movieId"], movies["title"], movies["genres"], strict=True
        )
    ]
    return table.with_items(movies["movieId"], texts)


def top_tags(path: Path) -> dict[str, list[str]]:
    """The ten most frequent tags of each film, most frequent first, by `movieId`.

    **Raises:** `FileNotFoundError`, and `ValueError` naming a file that lacks a column.
    """
    given = read_columns(path, ("movieId", "tag"))
    counts: dict[str, dict[str, int]] = {}
    for film, tag in zip(given["movieId"], given["tag"].str.strip().str.lower(), strict=True):
        of_film = counts.setdefault(film, {})
        of_film[tag] = of_film.get(tag, 0) + 1
    ranked = {
        film: sorted(count.items(), key=lambda entry: (-entry[1], entry[0]))
        for film, count in counts.items()
    }
    return {film: [tag for tag, _ in tags[:_TAGS]] for film, tags in ranked.items()}


def load_amazon_2018(
    folder: str | PathLike[str], categories: str | Sequence[str] | None = None
) -> RatingTable:
    """Amazon Reviews 2018 by category: `<category>_ratings_5plus.csv` and `<category>_items.csv`.

    Categories (by default all in `folder`; also one by its name) are concatenated; a user of
    several is one user. An item's text is its title, brand and description. If a user rated an
    item more than once, the last rating counts. **Raises:** `FileNotFoundError` if a file is
    absent, `ValueError` naming a file that lacks a column or holds a bad value.
    """
    folder = Path(folder)
    ending = "_ratings_5plus.csv"
    if categories is None:
        categories = sorted(path.name[: -len(ending)] for path in folder.glob(f"*{ending}"))
    categories = [categories] if isinstance(categories, str) else categories
    if not categories:
        raise FileNotFoundError(f"no *{ending} in {folder}")
    pd = import_pandas()
    ratings = pd.concat(
        [
            read_columns(folder / f"{name}{ending}", ("user_id", "asin", "rating", "timestamp"))
            for name in categories
        ]
    )
    items = pd.concat(
        [
            read_columns(folder / f"{name}_items.csv", ("asin", "title", "brand", "description"))
            for name in categories
        ]
    ).drop_duplicates("asin")
    columns = (ratings[name] for name in ("user_id", "asin", "rating", "timestamp"))
    where = folder / (f"{categories[0]}{ending}" if len(categories) == 1 else f"*{ending}")
    table = _named(where, *columns, duplicates="last")
    texts = {
        asin: as_sentence(
            title.strip(), brand.strip() and f"Brand: {brand.strip()}", description.strip()
        )
        for asin, title, brand, description in zip(
            items["asin"], items["title"], items["brand"], items["description"], strict=True
        )
    }
    return table.with_items(table.items, [texts.get(asin, "") for asin in table.items])


def load_amazon_2023(ratings: PathOrPaths, items: PathOrPaths | None = None) -> RatingTable:
    """Amazon Reviews 2023 from its public files, one or several categories.

    **Arguments:**

    - `ratings`: `.csv` (`user_id, parent_asin, rating, timestamp`), `.jsonl` of reviews (the same
      fields and more), `.parquet`, possibly `.gz`. Times are in milliseconds, in `timestamp` or
      `timestamp_ms`.
    - `items`: files of item metadata (`parent_asin, title`, and if present `store`, `features`,
      `description`). By default texts are the titles in the rating files, if these have columns
      `title` and `category` (in files of reviews, `title` is that of the review).

    A user of several files is one user; of several ratings of one item the last counts.
    **Raises:** `FileNotFoundError`, and `ValueError` naming the file that lacks a column.
    """
    pd = import_pandas()
    frames, titles = [], {}
    for path in _paths(ratings):
        frame = read_columns(path, ("user_id", "parent_asin", "rating"))
        time = "timestamp_ms" if "timestamp_ms" in frame.columns else "timestamp"
        if time not in frame.columns:
            raise ValueError(f"{path}: no column 'timestamp' or 'timestamp_ms'")
        if {"title", "category"} <= set(frame.columns):
            titles.update(zip(frame["parent_asin"], frame["title"], strict=True))
        frames.append(
            frame[["user_id", "parent_asin", "rating", time]].set_axis(
                ["user", "item", "rating", "time"], axis=1
            )
        )
    for path in _paths(items) if items is not None else ():
        frame = read_columns(path, ("parent_asin", "title"))
        for row in frame.to_dict("records"):
            titles[row["parent_asin"]] = as_sentence(
                *(joined(row.get(name)) for name in ("title", "store", "features", "description"))
            )
    both = pd.concat(frames)
    where = ", ".join(str(path) for path in _paths(ratings))
    columns = (both[name] for name in ("user", "item", "rating", "time"))
    table = _named(where, *columns, duplicates="last")
    table = replace(table, time=table.time / 1000)
    return table.with_items(table.items, [titles.get(name, "") for name in table.items])


def _named(path: Any, *columns: Any, **options: Any) -> RatingTable:
    """`rating_table`, with error messages that name the file."""
    try:
        return rating_table(*columns, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _paths(value: PathOrPaths) -> list[Path]:
    return [Path(value)] if isinstance(value, str | PathLike) else [Path(path) for path in value]


def joined(value: Any) -> str:
    """A field of the metadata as text: a string, a list of strings, or nothing."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple | np.ndarray):
        return " ".join(str(part).strip() for part in value)
    return ""
