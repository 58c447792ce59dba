"""Qualtrics questionnaires (`.qsf`): the columns that an export of their answers has."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .columns import Column, Context, NotRead, Payload, columns_of, renamed
from .markup import is_piped, plain
from .survey import LeftOut, distinct

_QID = re.compile(r"QID\d+")
TRASH = "it is in the survey's trash"
UNTOLD = "it is in a loop whose runs only the answers tell"


@dataclass(frozen=True)
class Questionnaire:
    """A questionnaire.

    **Arguments:** `columns`: of numeric answers, in the order of the survey; `left_out`: why a
    question has none, by name; `why`: the same by identifier; `contexts`: of the questions that the
    survey shows, by identifier; `payloads`: of all questions; `notes`: further sentences.
    """

    columns: tuple[Column, ...]
    left_out: Mapping[str, str]
    why: Mapping[str, str]
    contexts: Mapping[str, Context]
    payloads: Mapping[str, Payload]
    notes: tuple[str, ...]

    def of_loop(self, qid: str, loop: str) -> list[Column]:
        """The columns of a question in a loop that the questionnaire does not number itself.

        **Raises:** [`NotRead`][] with the reason if it has none.
        """
        context = self.contexts.get(qid)
        if context is None:
            return []
        looped = Context(
            context.payloads, context.tags, loop, {}, context.block, context.block_name
        )
        return columns_of(self.payloads[qid], looped)


def read_questionnaire(path: Path) -> Questionnaire:
    """A questionnaire from its file.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it is cut off, no JSON, or no
    questionnaire of Qualtrics, and its question or block that is not as Qualtrics writes them.
    """
    elements = _elements(path)
    reading = ["its list of elements"]
    try:
        return _questionnaire(elements, reading)
    except ValueError as error:
        raise ValueError(f"{path}: {reading[-1]}: {error}") from error
    except (AttributeError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path}: {reading[-1]} is not as Qualtrics writes it ({type(error).__name__}: "
            f"{error}); export the survey again"
        ) from error


def _questionnaire(elements: list[Mapping[str, Any]], reading: list[str]) -> Questionnaire:
    """The questionnaire of these elements; what is being read is added to `reading`."""
    payloads = {
        str(payload["QuestionID"]): payload
        for one in elements
        if one.get("Element") == "SQ" and isinstance(payload := one.get("Payload"), Mapping)
        and payload.get("QuestionID")
    }  # fmt: skip
    if not payloads:
        raise ValueError("there are no questions in it")
    tags = {qid: str(payload.get("DataExportTag") or qid) for qid, payload in payloads.items()}
    left_out, why = LeftOut(), {}
    columns: list[Column] = []
    contexts: dict[str, Context] = {}
    names: dict[str, int] = {}
    placed: set[str] = set()

    def leave(qid: str, reason: str) -> None:
        left_out.add(tags[qid], qid, reason)
        why[qid] = reason

    for block in _blocks(elements):
        reading.append(f"block {block.get('ID')}")
        inside = [qid for qid in _questions(block) if qid in payloads and qid not in placed]
        placed |= set(inside)
        if block.get("Type") == "Trash":
            for qid in inside:
                leave(qid, TRASH)
            continue
        identifier = str(block.get("ID"))
        name = plain(block.get("Description")) or identifier
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name} ({names[name]})"
        runs = _loops(block, payloads)
        for qid in () if runs else inside:
            contexts[qid] = Context(payloads, tags, "", {}, identifier, name)
            leave(qid, UNTOLD)
        for loop, fields in runs:
            for qid in inside:
                context = Context(
                    payloads, tags, loop, fields, identifier, name, sure=_shows_all(block)
                )
                contexts.setdefault(qid, context)
                reading.append(f"question {qid} ({tags[qid]})")
                try:
                    columns += columns_of(payloads[qid], context)
                except NotRead as reason:
                    leave(qid, str(reason))
    reading.append("a question")
    for qid in payloads:
        if qid not in placed:
            leave(qid, "it is in no block of the survey")
    new = distinct([one.name for one in columns], [_bare(one.qid) for one in columns])
    columns = [renamed(one, name) for one, name in zip(columns, new, strict=True)]
    notes = _notes(payloads, contexts, tags)
    return Questionnaire(tuple(columns), left_out, why, contexts, payloads, notes)


def _bare(qid: str) -> str:
    return qid.split("#")[0]


def _elements(path: Path) -> list[Mapping[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    start = path.read_bytes()
    if start.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path}: is a zip archive: unzip it, and give the .qsf in it")
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is not UTF-8 (byte {error.start + 1}): export the survey again"
        ) from None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        hint = "; it ends too early: cut off in a download?" if cut else ""
        raise ValueError(f"{path}: cannot be read as JSON ({error}){hint}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits; no end of brackets
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from None
    elements = content.get("SurveyElements") if isinstance(content, Mapping) else None
    if not isinstance(elements, list) or not all(isinstance(one, Mapping) for one in elements):
        raise ValueError(
            f"{path}: is JSON, but no questionnaire of Qualtrics (no list `SurveyElements`); "
            "export the survey there with Tools, Import/Export, Export Survey"
        )
    return elements


def _blocks(elements: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Blocks in the order in which the survey shows them, those that it does not show last."""
    given: list[Mapping[str, Any]] = []
    for one in elements:
        if one.get("Element") == "BL":
            payload = one.get("Payload") or []
            given += payload.values() if isinstance(payload, Mapping) else payload
    given = [block for block in given if isinstance(block, Mapping)]
    shown: dict[str, int] = {}
    for one in elements:
        if one.get("Element") == "FL":
            for identifier in _flow(one.get("Payload")):
                shown.setdefault(identifier, len(shown))
    return sorted(given, key=lambda block: shown.get(str(block.get("ID")), len(shown)))


def _flow(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _flow(one)
    elif isinstance(node, Mapping):
        if node.get("Type") in ("Block", "Standard") and node.get("ID"):
            yield str(node["ID"])
        yield from _flow(node.get("Flow") or [])


def _questions(block: Mapping[str, Any]) -> list[str]:
    elements = block.get("BlockElements") or []
    elements = elements.values() if isinstance(elements, Mapping) else elements
    return [
        str(one["QuestionID"])
        for one in elements
        if isinstance(one, Mapping) and one.get("Type") == "Question" and one.get("QuestionID")
    ]


def _loops(
    block: Mapping[str, Any], payloads: Mapping[str, Payload]
) -> list[tuple[str, dict[str, str]]]:
    """(prefix, fields) of each run of a block; one without a prefix if it is not a loop."""
    options = block.get("Options") or {}
    if str(options.get("Looping") or "None") == "None":
        return [("", {})]
    how = options.get("LoopingOptions")
    how = how if isinstance(how, Mapping) else {}
    runs: dict[str, dict[str, str]] = {}
    source = _QID.search(json.dumps({k: v for k, v in how.items() if k != "Static"}))
    if source and source[0] in payloads:
        choices = payloads[source[0]].get("Choices") or {}
        for name, entry in choices.items() if isinstance(choices, Mapping) else ():
            label = entry.get("Display") if isinstance(entry, Mapping) else entry
            runs[str(name)] = {"1": plain(label)}
    static = how.get("Static")
    if isinstance(static, list):
        static = dict(enumerate(static, start=1))
    for name, fields in (static or {}).items():
        fields = dict(enumerate(fields, 1)) if isinstance(fields, list) else fields
        own = {str(k): plain(v) for k, v in fields.items()} if isinstance(fields, Mapping) else {}
        if not source or str(name) in runs:
            runs.setdefault(str(name), {}).update(own)
    return list(runs.items())


def _shows_all(block: Mapping[str, Any]) -> bool:
    """Whether whoever is shown a question of a block is shown all of them."""
    random = str((block.get("Options") or {}).get("RandomizeQuestions") or "false")
    skips = any(
        isinstance(one, Mapping) and one.get("SkipLogic")
        for one in block.get("BlockElements") or []
    )
    return random in ("false", "All") and not skips


def _notes(
    payloads: Mapping[str, Payload], contexts: Mapping[str, Context], tags: Mapping[str, str]
) -> tuple[str, ...]:
    notes = []
    asked = {qid: str(payloads[qid].get("QuestionText") or "") for qid in contexts}
    piped = [tags[qid] for qid, text in asked.items() if is_piped(_looped(text, contexts[qid]))]
    if piped:
        notes.append(
            "Texts that differ by person are shown as [...]: "
            + ", ".join(dict.fromkeys(piped))
            + "."
        )
    images = [tags[qid] for qid, text in asked.items() if "<img" in text.lower()]
    if images:
        notes.append("Images are shown as [image]: " + ", ".join(dict.fromkeys(images)) + ".")
    return tuple(notes)


def _looped(text: str, context: Context) -> str:
    for name, value in context.fields.items():
        text = text.replace(f"${{lm://Field/{name}}}", value)
    return text
