"""Films and products as questions: tables of items to be rated."""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..schema import Option, Question, Scale
from ..tables.frames import is_frame, place_of
from ..tables.responses import positions
from .rating_files import top_tags
from .text_tables import read_rows, unique

STAR_OPTIONS = tuple(
    Option(half / 2, "1 star" if half == 2 else f"{half / 2:g} stars") for half in range(1, 11)
)
"""Ratings of MovieLens: half a star to five, in halves."""

PURCHASE_OPTIONS = (
    Option(1, "Definitely would NOT buy"),
    Option(2, "Probably would not buy"),
    Option(3, "Might or might not buy"),
    Option(4, "Probably would buy"),
    Option(5, "Definitely would buy"),
)
"""The scale of the Semantic Similarity Rating prompt (The Persona Fidelity Gap, appendix D)."""

_ANSWERS = {"stars": STAR_OPTIONS, "purchase": PURCHASE_OPTIONS}
_WORDING = {
    "stars": "How many stars would you give this film, from 0.5 to 5?",
    "purchase": "How likely would you be to purchase this product?",
}
# Names of the fields of items in other sources.
_FIELD = {
    "genres": "genre",
    "top_10_tags": "tags",
    "main_category": "category",
    "desc": "description",
}
_LISTS = ("genre", "tags")
_NO_GENRES = "(no genres listed)"


def film_questions(
    items: Any,
    *,
    answers: str | Sequence[Option] | Scale = "stars",
    wording: str | None = None,
    only: Iterable[str] | None = None,
) -> tuple[Question, ...]:
    """One question per film or product: rate it, or say whether you would buy it.

    **Arguments:**

    - `items`: a folder of a MovieLens release (or its `movies.csv`, with `tags.csv` beside it):
      the film's title, genre and the ten tags that most people gave it; or a table of your own
      (`.csv`, `.tsv`, `.parquet` or a data frame) with the identifier in the first column and
      texts such as `title`, `genre`, `tags`, `category`, `description` in the others. A first
      column called `title` is both, as in SYN-DIGITS' `top_movies_df.csv`.
    - `answers`: `"stars"` ([`STAR_OPTIONS`][]), `"purchase"` ([`PURCHASE_OPTIONS`][]), your own
      options, or a scale of numbers.
    - `wording`: what is asked; the title follows it, where there is one.
    - `only`: identifiers of the items wanted, in this order; all by default.

    Lists written with `|` or as Python lists are joined by commas.

    **Returns:** the questions, in the order of the items or of `only`.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file or argument that is wrong;
    `ImportError` without pandas.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.datasets import film_questions
        >>> films = pd.DataFrame({"id": [1], "title": ["Alien (1979)"], "genre": ["Horror|Sci-Fi"]})
        >>> question = film_questions(films, answers="stars")[0]
        >>> print(question.identifier, question.item["genre"], question.scale)
        1 Horror, Sci-Fi Scale(low=0.5, high=5.0, step=0.5, kind='ordinal')
    """
    if isinstance(answers, str) and answers not in _ANSWERS:
        raise ValueError(f"`answers` must be one of {tuple(_ANSWERS)}, options or a Scale")
    options = () if isinstance(answers, Scale) else answers
    options = _ANSWERS[options] if isinstance(options, str) else tuple(options)
    scale = answers if isinstance(answers, Scale) else None
    if scale is None and not options:
        raise ValueError("`answers`: there are no options")
    if wording is None:
        wording = _WORDING[answers if isinstance(answers, str) else "stars"]
        if not isinstance(answers, str):
            wording = "How would you rate this?"
    fields = read_items(items)
    names = tuple(fields)
    if only is not None:
        names = tuple(names[j] for j in positions(names, only, "only"))
    return tuple(
        Question(
            identifier=name,
            text=f"{wording} {fields[name].get('title', '')}".strip(),
            options=options,
            scale=scale,
            item=fields[name],
        )
        for name in names
    )


def read_items(items: Any) -> dict[str, dict[str, str]]:
    """The fields of every item, by identifier; `items` is as in [`film_questions`][].

    Empty fields are left out. **Raises:** as there.

    **Example:**

        >>> import pandas as pd
        >>> from syndigits_jax.datasets import read_items
        >>> films = pd.DataFrame({"id": [1], "title": ["Alien (1979)"], "genre": ["Horror"]})
        >>> print(read_items(films))
        {'1': {'title': 'Alien (1979)', 'genre': 'Horror'}}
    """
    if is_frame(items):
        return _items(place_of(items, "items"), *read_rows(items))
    path = Path(items)
    path = path / "movies.csv" if path.is_dir() else path
    header, rows = read_rows(path)
    found = _items(path, header, rows)
    if header[:3] == ("movieId", "title", "genres") and (path.parent / "tags.csv").is_file():
        tags = top_tags(path.parent / "tags.csv")
        for name, fields in found.items():
            if tags.get(name):
                fields["tags"] = ", ".join(tags[name])
    return found


def _items(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> dict[str, dict[str, str]]:
    if not rows:
        raise ValueError(f"{path}: there are no items")
    names = unique(path, [row[0].strip() for row in rows])
    fields = [_FIELD.get(name.lower(), name.lower()) for name in header]
    first = 0 if fields[0] == "title" else 1
    # The published table of films also holds human ratings, which no prompt may contain.
    known = [j for j in range(first, len(fields)) if not _is_count(fields[j], fields)]
    if not known:
        raise ValueError(
            f"{path}: has identifiers only; add a column such as title that says what an item is"
        )
    out = {}
    for name, row in zip(names, rows, strict=True):
        cells = {fields[j]: _listed(fields[j], row[j].strip()) for j in known}
        out[name] = {field: cell for field, cell in cells.items() if cell}
    return out


def _is_count(field: str, fields: Sequence[str]) -> bool:
    published = "avg_rating" in fields and "tags" in fields
    return published and (field == "avg_rating" or field.replace(".", "").isdigit())


def _listed(field: str, cell: str) -> str:
    if field not in _LISTS or not cell:
        return cell
    if cell == _NO_GENRES:
        return ""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            parts = ast.literal_eval(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return cell
        return ", ".join(str(part).strip() for part in parts)
    return ", ".join(part.strip() for part in cell.split("|"))
