"""Qualtrics' exports of answers: text tables with three header rows."""

import ast
import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..delimited import IMPORT_ID, SEPARATORS, opened_text, read_delimited
from .survey import ABOUT_RESPONSE, ORDER_SHOWN

_PLACE = re.compile(r"(?:(?P<loop>[^_]+)_)?(?P<qid>QID\d+(?:#\d+)?)(?:[_-](?P<part>.+))?")
SEEN = frozenset(("-99", "-99.0"))
"""What Qualtrics writes, if asked to, for a question that was seen and not answered."""
_RECORD, _FINISHED, _STATUS = "_recordId", "finished", "status"
_OWN = frozenset(
    (
        "startDate", "endDate", "status", "ipAddress", "progress", "duration", "finished",
        "recordedDate", "_recordId", "recipientLastName", "recipientFirstName", "recipientEmail",
        "externalDataReference", "locationLatitude", "locationLongitude", "distributionChannel",
        "userLanguage",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """What a column of an export is of: a question's part and choice, or a field of the survey."""

    field: str = ""
    loop: str = ""
    qid: str = ""
    part: str = ""
    choice: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """As in [`Column`][]`.key`."""
        return self.loop, self.qid, self.part, self.choice


@dataclass(frozen=True)
class Export:
    """The columns of an export, and the responses that count.

    **Arguments:** `names`, `texts`, `places`: of the columns; `rows`: cells; `notes`: what
    was left out.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    places: tuple[Place, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def cells(self, j: int) -> list[str]:
        """Column `j`."""
        return [row[j] for row in self.rows]


def is_export(path: Path) -> bool:
    """Whether a text table has Qualtrics' row of import identifiers under its header."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in SEPARATORS or not path.is_file():
        return False
    try:
        with opened_text(path) as file:
            rows = csv.reader(file, delimiter=SEPARATORS[suffixes[-1]])
            return any(_is_ids(row) for row, _ in zip(rows, range(3)))
    except (OSError, EOFError, ValueError, csv.Error, zlib.error):
        return False


def read_export(path: Path, *, unfinished: bool = False) -> Export:
    """An export's columns and responses, without previews, tests, spam and empty responses.

    **Raises:** `ValueError` naming the file if it cannot be read or has no row of import
    identifiers.
    """
    suffix = next(s for s in reversed([s.lower() for s in path.suffixes]) if s != ".gz")
    try:
        names, rows = read_delimited(path, SEPARATORS[suffix], utf_16=True)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from error
    at = next((i for i, row in enumerate(rows[:2]) if _is_ids(row)), None)
    if at is None:
        raise ValueError(
            f"{path}: has no row of import identifiers ({IMPORT_ID[0]}...) under its header, as "
            "Qualtrics' exports have; export the answers there as CSV with all header rows"
        )
    places = tuple(_place(cell) for cell in rows[at])
    texts = tuple(rows[0]) if at else tuple(names)
    names = tuple(name.strip() for name in names)
    kept, notes = _kept(rows[at + 1 :], places, unfinished)
    if not kept:
        raise ValueError(f"{path}: has no response that counts" + "".join(f"; {n}" for n in notes))
    return Export(names, texts, places, tuple(map(tuple, kept)), notes)


def identifier_column(export: Export, id_column: str | None, path: Path) -> int:
    """The column of people's identifiers.

    By default the response identifier, or else the one other column whose entries differ.

    **Raises:** `ValueError` naming the columns there are.
    """
    if id_column is not None:
        if id_column not in export.names:
            raise ValueError(f"{path}: no column {id_column!r} (`id_column`)")
        return export.names.index(id_column)
    fields = [place.field for place in export.places]
    if _RECORD in fields:
        return fields.index(_RECORD)
    able = []
    for j, place in enumerate(export.places):
        if place.field and place.field not in _OWN and "_DO" not in place.field:
            cells = [cell.strip() for cell in export.cells(j)]
            if all(cells) and len(set(cells)) == len(cells):
                able.append(j)
    if len(able) == 1:
        return able[0]
    which = ", ".join(repr(export.names[j]) for j in able) or "no column has an entry of its own"
    raise ValueError(f"{path}: which column identifies people? Give `id_column` ({which})")


def people_of(export: Export, id_column: int, path: Path) -> tuple[list[str], list[int], list[str]]:
    """(identifiers, their rows, notes): each person once, with the first response.

    **Raises:** `ValueError` if most responses would be left out.
    """
    seen: dict[str, int] = {}
    none = again = 0
    for i, cell in enumerate(export.cells(id_column)):
        name = cell.strip()
        if not name:
            none += 1
        elif name in seen:
            again += 1
        else:
            seen[name] = i
    name = export.names[id_column]
    if len(seen) < len(export.rows) / 2:
        raise ValueError(
            f"{path}: {none} of {len(export.rows)} responses have no {name!r}, and {again} one "
            "that another has too: is it what identifies people (`id_column`)?"
        )
    notes = []
    if none:
        notes.append(f"{_responses(none)} left out without a {name!r}.")
    if again:
        notes.append(f"{_responses(again)} left out as further ones of the same {name!r}.")
    return list(seen), list(seen.values()), notes


def _responses(count: int) -> str:
    return "1 response is" if count == 1 else f"{count} responses are"


def is_own(place: Place) -> str:
    """Why a column that is of no question is left out."""
    if "_DO" in place.field:
        return ORDER_SHOWN
    if place.field in _OWN:
        return ABOUT_RESPONSE
    return "it is embedded data"


def _is_ids(row: Sequence[str]) -> bool:
    return any(cell.strip().startswith(IMPORT_ID) for cell in row)


def _place(cell: str) -> Place:
    cell = cell.strip()
    content: object = None
    if cell.startswith("{"):
        try:
            content = json.loads(cell)
        except (ValueError, RecursionError):
            try:
                content = ast.literal_eval(cell)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                content = None
    if not isinstance(content, dict):
        content = {"ImportId": cell}
    where = str(content.get("ImportId") or "").strip()
    choice = content.get("choiceId")
    found = _PLACE.fullmatch(where)
    if found is None:
        return Place(field=where)
    part = found["part"] or ""
    choice = None if choice is None else str(choice)
    return Place("", found["loop"] or "", found["qid"], part, choice)


def _kept(
    rows: Sequence[Sequence[str]], places: Sequence[Place], unfinished: bool
) -> tuple[list[Sequence[str]], tuple[str, ...]]:
    """The responses that count, and what was left out."""
    fields = [place.field for place in places]
    status = fields.index(_STATUS) if _STATUS in fields else None
    finished = fields.index(_FINISHED) if _FINISHED in fields else None
    asked = [j for j, place in enumerate(places) if place.qid]
    out: Counter[str] = Counter()
    kept = []
    for row in rows:
        why = _unreal(row[status]) if status is not None else ""
        if not why and not any(row[j].strip() and row[j].strip() not in SEEN for j in asked):
            why = "empty"
        if not why and finished is not None and not unfinished and not _is_true(row[finished]):
            why = "not finished"
        out[why] += 1
        if not why:
            kept.append(row)
    said = ", ".join(f"{count} {why}" for why, count in out.items() if why)
    notes = (
        (f"{_responses(sum(n for w, n in out.items() if w))} left out: {said}.",) if said else ()
    )
    return kept, notes


def _unreal(status: str) -> str:
    """Why a response of this status does not count; "" if it does. The codes are bits."""
    text = status.strip().casefold()
    try:
        bits = int(float(text))
    except (ValueError, OverflowError):
        bits = 0
    if bits & 3 or "preview" in text or "test" in text:
        return "of previews and tests"
    return "of spam" if bits & 8 or "spam" in text else ""


def _is_true(cell: str) -> bool:
    return cell.strip().casefold() in ("1", "1.0", "true", "yes", "")
