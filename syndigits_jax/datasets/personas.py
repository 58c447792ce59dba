"""Reading and writing of personas: JSON, JSON Lines and tables.

Four fields of text are checked here, line by line in long files, rather than by a library, on which
the readers of data would then depend.
"""

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from ..results.files import write_text
from ..schema import Persona
from ..tables.frames import is_frame, place_of
from .text_tables import (
    TABLES,
    as_text,
    entry_text,
    known_keys,
    parse_json,
    read_json,
    read_rows,
    suffix_of,
    text_mapping,
    unique,
    write_rows,
)

_FIELDS = ("identifier", "text", "attributes", "answers")
_FORMATS = ".json, .jsonl, .csv, .tsv or .parquet"


def read_personas(path: str | PathLike[str] | Any) -> tuple[Persona, ...]:
    """Personas, in the order of the file.

    - `.json`: a list of objects with the fields of [`Persona`][], of which only `identifier` is
      needed, or one object of texts (or such objects) by identifier, such as SYN-DIGITS'
      `personas.json`.
    - `.jsonl`: one such object a line.
    - `.csv`, `.tsv` (UTF-8, also `.gz`) or `.parquet`, or a data frame of pandas, polars or Arrow:
      a row per persona, the identifier in the first column, the text in the column `text`; the
      others are attributes, where not empty.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file and the entry or line that is
    wrong; `ImportError` without pandas (Parquet).

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.datasets import read_personas, write_personas
        >>> from syndigits_jax.schema import Persona
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "personas.csv"
        ...     write_personas(path, [Persona("p1", "A teacher from Ohio.", {"age": "45"})])
        ...     print(read_personas(path)[0].attributes)
        {'age': '45'}
    """
    table, path = path, place_of(path, "personas")
    suffix = suffix_of(path)
    if is_frame(table) or suffix in TABLES:
        personas = _from_table(table, path)
    elif suffix == ".jsonl":
        personas = _from_lines(path)
    elif suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict):
            entries = [(f"persona {name!r}", _named(name, x)) for name, x in content.items()]
        elif isinstance(content, list):
            entries = [(f"persona {i}", entry) for i, entry in enumerate(content, start=1)]
        else:
            raise ValueError(f"{path}: expected a list of personas, or texts by identifier")
        personas = tuple(_persona(path, where, entry) for where, entry in entries)
    else:
        raise ValueError(f"{path}: unknown format of personas; expected {_FORMATS}")
    if not personas:
        raise ValueError(f"{path}: there are no personas in it")
    unique(path, [persona.identifier for persona in personas])
    return personas


def write_personas(path: str | PathLike[str], personas: Iterable[Persona]) -> None:
    """Write personas so that [`read_personas`][] reads them back unchanged.

    The file is written completely or not at all. The suffix chooses the format: `.json`, `.jsonl`,
    or `.csv`, `.tsv` and `.parquet`, which hold no `answers`, and no attributes that are empty or
    named like another column.

    **Raises:** `ValueError` for another suffix, repeated identifiers, or what a table cannot hold.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.datasets import write_personas
        >>> from syndigits_jax.schema import Persona
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "personas.csv"
        ...     write_personas(path, [Persona("p1", "A teacher from Ohio.", {"age": "45"})])
        ...     print(path.read_text().splitlines())
        ['"identifier","text","age"', '"p1","A teacher from Ohio.","45"']
    """
    path, personas = Path(path), tuple(personas)
    suffix = check_personas_path(path)
    unique(path, [persona.identifier for persona in personas])
    if suffix in TABLES:
        _write_table(path, personas)
        return
    entries = [json.dumps(_entry(p), ensure_ascii=False) for p in personas]
    if suffix == ".jsonl":
        write_text(path, "".join(f"{entry}\n" for entry in entries))
    else:
        write_text(path, "[\n" + ",\n".join(entries) + "\n]\n")


def check_personas_path(path: str | PathLike[str]) -> str:
    """The suffix of a path that personas can be written to.

    **Raises:** `ValueError` for an unknown suffix or a folder.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*TABLES, ".json", ".jsonl"):
        raise ValueError(f"{path}: unknown format of personas; expected {_FORMATS}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder")
    return suffix


def _entry(persona: Persona) -> dict[str, Any]:
    entry: dict[str, Any] = {"identifier": persona.identifier, "text": persona.text}
    if persona.attributes:
        entry["attributes"] = dict(persona.attributes)
    if persona.answers:
        entry["answers"] = dict(persona.answers)
    return entry


def _named(name: str, entry: Any) -> Any:
    if isinstance(entry, dict):
        return entry | {"identifier": name} if "identifier" not in entry else entry
    return {"identifier": name, "text": entry}


def _persona(path: Path, where: str, entry: Any) -> Persona:
    try:
        entry = known_keys(entry, _FIELDS)
        if "identifier" not in entry:
            raise ValueError("it has no `identifier`")
        return Persona(
            identifier=as_text(entry["identifier"], "`identifier`"),
            text=entry_text(entry, "text"),
            attributes=text_mapping(entry.get("attributes") or {}, "`attributes`"),
            answers=text_mapping(entry.get("answers") or {}, "`answers`"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {where}: {error}") from error


def _from_lines(path: Path) -> tuple[Persona, ...]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    personas = []
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    entry = parse_json(line)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{path}: line {number} is not JSON ({error})") from error
                personas.append(_persona(path, f"line {number}", entry))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error})") from error
    return tuple(personas)


def _from_table(table: Any, path: Path) -> tuple[Persona, ...]:
    header, rows = read_rows(table)
    if "text" not in header[1:] and len(header) < 2:
        raise ValueError(f"{path}: has identifiers only; add a column 'text' or attributes")
    names = unique(path, [row[0] for row in rows])
    personas = []
    for name, row in zip(names, rows, strict=True):
        cells = dict(zip(header[1:], row[1:], strict=True))
        text = cells.pop("text", "")
        personas.append(Persona(name, text, {key: cell for key, cell in cells.items() if cell}))
    return tuple(personas)


def _write_table(path: Path, personas: tuple[Persona, ...]) -> None:
    columns = list(dict.fromkeys(key for p in personas for key in p.attributes))
    for persona in personas:
        if persona.answers:
            raise ValueError(
                f"{path}: persona {persona.identifier!r} has `answers`, which a table cannot hold; "
                "write .json or .jsonl"
            )
        empty = [key for key, value in persona.attributes.items() if not value]
        if empty:
            raise ValueError(
                f"{path}: attribute {empty[0]!r} of persona {persona.identifier!r} is empty, which "
                "a table cannot tell from none; write .json or .jsonl"
            )
    bad = [c for c in columns if c in ("identifier", "text") or c != c.strip() or not c]
    if bad:
        raise ValueError(f"{path}: an attribute called {bad[0]!r} cannot be a column; write .json")
    rows = ([p.identifier, p.text, *(p.attributes.get(c, "") for c in columns)] for p in personas)
    write_rows(path, ["identifier", "text", *columns], rows)
