"""A user's own ratings, items and persona ratings, read and matched for `measure_fidelity`."""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets.rating_files import as_sentence, joined, read_columns
from syndigits_jax.datasets.ratings import RatingTable, rating_table
from syndigits_jax.results.files import is_damage, what_failed
from syndigits_jax.solvers.boundary import is_missing
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.compressed import Archive
from syndigits_jax.tables.frames import Table, place_of
from syndigits_jax.tables.near_misses import hint, only_in
from syndigits_jax.tables.responses import identifiers, some

# Names of columns in public rating files.
USER_COLUMNS = ("user", "userid", "user_id")
_PERSONA = ("persona", "personaid", "persona_id", *USER_COLUMNS)
_ITEM = ("item", "itemid", "item_id", "movieid", "parent_asin", "asin")
_RATING = ("rating", "score", "stars")
_TIME = ("time", "timestamp", "date")
_SEED = ("seed", "seed_user")
_CONDITION = ("condition", "construction")


@dataclass(frozen=True, eq=False)
class RatedItems:
    """Real people's ratings of one catalogue of m items.

    - `ratings`: lists all items, in the order of the items file.
    - `texts`: (m,) the text of each item in the items file.
    - `dated`: whether the ratings have times; if not, their order in the file is used.
    - `codes`: of missing ratings, which the personas' ratings may hold too.
    """

    ratings: RatingTable
    texts: tuple[str, ...]
    dated: bool
    codes: MissingCodes


@dataclass(frozen=True, eq=False)
class FidelityData:
    """Input of `measure_fidelity`: ratings and persona ratings of one catalogue of m items.

    - `ratings`, `personas`: both tables list all items, in the order of the items file.
    - `texts`: (m,) the text of each item in the items file.
    - `seeds`: for each persona the real user it was made from, "" if none; or None.
    - `conditions`: for each persona the condition under which it was made; or None.
    - `dated`: whether the ratings have times; if not, their order in the file is used.
    """

    ratings: RatingTable
    personas: RatingTable
    texts: tuple[str, ...]
    seeds: tuple[str, ...] | None
    conditions: tuple[str, ...] | None
    dated: bool


def read_fidelity_files(
    ratings: Table, items: Table, personas: Table, *, missing: str | Iterable[Any] = ()
) -> FidelityData:
    """Read the three tables (`.csv`, `.tsv`, `.jsonl`, possibly `.gz`, `.parquet`, or data frames)
    and match them.

    - `ratings`: a row per rating, columns `user`, `item`, `rating` and, if known, `time` (a number
      that grows with time, such as seconds). The column names of MovieLens and Amazon files are
      accepted too.
    - `items`: a row per item: the identifier in the first column, texts in the others.
    - `personas`: a row per rating, columns `persona`, `item`, `rating`; for personas made from real
      users also `seed`, the user; for personas of several conditions also `condition`.
    - `missing`: what stands for a missing rating, as in
      [`read_table`][syndigits_jax.datasets.read_table]; its row is left out.

    **Raises:** `FileNotFoundError`, and `ValueError` naming the file for a column that is absent, a
    rating that is not a number, a repeated rating or identifier, items that the items file does not
    list, or seeds that are not among the users.
    """
    rated = read_rated_items(ratings, items, missing=MissingCodes.of(missing))
    return read_persona_ratings(personas, rated)


def read_persona_ratings(personas: Table, rated: RatedItems) -> FidelityData:
    """The ratings of personas, matched with those of real people.

    **Arguments:** `personas`: a table as in [`read_fidelity_files`][]; `rated`: as
    [`read_rated_items`][] returns it for codes of which it has not warned.

    **Raises:** as [`read_fidelity_files`][] does.
    """
    path, real = place_of(personas, "personas"), rated.ratings
    frame = without_missing(read_columns(personas), rated.codes)
    rated.codes.warn_unmet("either table of ratings")
    people, _ = read_rating_table(frame, path, _PERSONA, real.items)
    return FidelityData(
        real, people, rated.texts, _seeds(frame, path, people, real),
        _conditions(frame, path, people), rated.dated,
    )  # fmt: skip


def read_rated_items(
    ratings: Table,
    items: Table,
    *,
    missing: str | Iterable[Any] | MissingCodes = (),
    read: Callable[[Any], Any] = read_columns,
) -> RatedItems:
    """The ratings of all items in the items file, and the items' texts.

    **Arguments:**

    - `ratings`, `items`, `missing`: as in [`read_fidelity_files`][]. Where `missing` is a
      `MissingCodes`, the caller is to warn of those that do not occur.
    - `read`: reads a table.

    **Raises:** as [`read_fidelity_files`][] does.
    """
    codes = MissingCodes.of(missing)
    names, texts = read_item_table(read(items), place_of(items, "items"))
    place = place_of(ratings, "ratings")
    table, dated = read_rating_table(
        without_missing(read(ratings), codes), place, USER_COLUMNS, names
    )
    if codes is not missing:  # otherwise the caller reads another table with these codes
        codes.warn_unmet(str(place))
    return RatedItems(table, texts, dated, codes)


def read_embeddings(path: str | PathLike[str], count: int) -> Float[np.ndarray, "m e"]:
    """Text vectors of the items, one row per row of the items file, from `.npy` or `.npz`.

    An `.npz` holds one array, or one named `embeddings`.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file for another format or number of
    rows than `count`, or values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ValueError(f"{path}: expected embeddings as .npy or .npz")
    try:
        stored = _archived(path) if zipfile.is_zipfile(path) else _array(path)
        vectors = np.asarray(stored, np.float32)
    except Exception as error:
        if not is_damage(error):
            raise
        raise ValueError(f"{path}: cannot be read as embeddings ({what_failed(error)})") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ValueError(
            f"{path}: expected {count} rows, one per item in the order of the items file, got an "
            f"array of shape {vectors.shape}"
        )
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(f"{path}: the vector in row {int(np.flatnonzero(bad)[0])} is not finite")
    return vectors


def _array(path: Path) -> np.ndarray:
    # From an open file: NumPy would leave a damaged one open.
    with path.open("rb") as file:
        return np.load(file, allow_pickle=False)


def _archived(path: Path) -> np.ndarray:
    with Archive(path) as stored:
        names = {name.removesuffix(".npy"): name for name in stored.names}
        if len(names) > 1 and "embeddings" not in names:
            raise ValueError(f"it holds {[*names]}, none called 'embeddings'")
        return stored.array(names.get("embeddings", next(iter(names.values()), "")))


def without_missing(frame: Any, codes: MissingCodes) -> Any:
    """The rows of a table of ratings without those whose rating is a code for a missing one."""
    ratings = _column(frame, _RATING)
    if ratings is None or not codes:
        return frame
    return frame[[not codes.hit(rating) for rating in ratings.tolist()]]


def read_item_table(frame: Any, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Identifiers and texts of the items in a table. **Raises:** `ValueError` naming the file."""
    try:
        names = identifiers(frame.iloc[:, 0].tolist(), "items")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from None
    if len(names) < 2:
        raise ValueError(f"{path}: at least two items are needed to prefer one, got {len(names)}")
    columns = []
    for position, name in enumerate(frame.columns[1:]):
        cells = [joined(cell).replace("|", ", ") for cell in frame.iloc[:, position + 1].tolist()]
        label = "" if position == 0 else f"{str(name).capitalize()}: "
        columns.append([cell and label + cell for cell in cells])
    texts = tuple(as_sentence(*parts) for parts in zip(*columns, strict=True)) if columns else ()
    return names, texts or ("",) * len(names)


def _column(frame: Any, names: Sequence[str]) -> Any:
    """The first column with one of these names, or None."""
    known = {str(column).strip().lower(): column for column in reversed(list(frame.columns))}
    for name in names:
        if name in known:
            return frame[known[name]]
    return None


def read_rating_table(
    frame: Any, path: Path, rater: Sequence[str], items: tuple[str, ...]
) -> tuple[RatingTable, bool]:
    """The ratings in a table, and whether they have times.

    **Arguments:** `frame`: the table; `path`: its file, for error messages; `rater`: accepted names
    of the column of users; `items`: identifiers of the whole catalogue.

    **Raises:** `ValueError` naming the file.
    """
    columns = {}
    for names in (rater, _ITEM, _RATING):
        columns[names[0]] = _column(frame, names)
        if columns[names[0]] is None:
            raise ValueError(f"{path}: no column {names[0]!r}; there are {list(frame.columns)}")
    user, item, rating = columns.values()
    time = _column(frame, _TIME)
    try:
        when = np.arange(len(frame)) if time is None else time
        table = rating_table(user, item, rating, when)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    absent = sorted(set(table.items) - set(items))
    if absent:
        raise ValueError(
            f"{path}: {len(absent)} of its {len(table.items)} items are not in the items file "
            f"({some(absent)})" + hint(absent, only_in(items, table.items))
        )
    return table.with_items(items), time is not None


def _seeds(
    frame: Any, path: Path, personas: RatingTable, real: RatingTable
) -> tuple[str, ...] | None:
    known = set(real.users)

    def user(cell: Any) -> str:
        seed = "" if is_missing(cell) else _identifier(cell)
        # Whole numbers in a column with missing cells are read as 12.0.
        return seed if seed in known or not seed.endswith(".0") else seed.removesuffix(".0")

    seeds = _of_personas(frame, path, personas, _SEED, user)
    unknown = sorted({seed for seed in seeds or () if seed} - known)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} seeds are not among the users ({some(unknown)})"
            + hint(unknown, only_in(real.users, seeds or ()))
        )
    return seeds


def _conditions(frame: Any, path: Path, personas: RatingTable) -> tuple[str, ...] | None:
    def name(cell: Any) -> str:
        return "" if is_missing(cell) else str(cell).strip()

    conditions = _of_personas(frame, path, personas, _CONDITION, name)
    if conditions and any(conditions) and not all(conditions):
        nobody = personas.users[conditions.index("")]
        raise ValueError(f"{path}: persona {nobody!r} has no condition, others have")
    return conditions


def _of_personas(
    frame: Any,
    path: Path,
    personas: RatingTable,
    names: Sequence[str],
    read: Callable[[Any], str],
) -> tuple[str, ...] | None:
    """The value of a column for each persona, equal in all its rows; None without the column."""
    column = _column(frame, names)
    if column is None:
        return None
    found: dict[str, str] = {}
    persona = _column(frame, _PERSONA)
    position = {value: i for i, value in enumerate(dict.fromkeys(persona.tolist()))}
    for value, cell in zip(persona.tolist(), column.tolist(), strict=True):
        name, said = personas.users[position[value]], read(cell)
        if found.setdefault(name, said) != said:
            raise ValueError(
                f"{path}: persona {name!r} has two {names[0]}s, {found[name]!r} and {said!r}"
            )
    return tuple(found[name] for name in personas.users)


def _identifier(value: Any) -> str:
    text = str(value).strip()
    return identifiers([value], "seed")[0] if text else ""
