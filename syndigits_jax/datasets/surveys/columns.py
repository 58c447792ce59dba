"""The columns of a Qualtrics question: what its answers are called, coded and shown as.

What numbers mean is Qualtrics' own: `RecodeValues` are the codes of a choice, the choice's
identifier where there are none. They name the columns of a question with several answers.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...schema import Option, Question, Scale
from .markup import comparable, filled, plain
from .survey import ONLY_TEXT

Payload = Mapping[str, Any]
NO_ANSWER = {
    "DB": ONLY_TEXT,
    "Timing": "it is the time spent on a page",
    "Meta": "it describes the browser",
    "Captcha": "it is a captcha",
    "HotSpot": "it is answered by clicks on an image",
    "HeatMap": "it is answered by clicks on an image",
    "FileUpload": "it is answered by a file",
    "Draw": "it is answered by a drawing",
    "Signature": "it is answered by a drawing",
    "PGR": "it sorts items into groups",
    "DD": "it is a list of several levels",
    "HL": "it is answered by marks in a text",
    "TreeTesting": "it is answered by a path",
}
WORDS = "it is answered in words"
SELECTED = (Option(1, "Selected"), Option(0, "Not selected"))
_SEVERAL = ("MAVR", "MAHR", "MACOL", "MSB")


class NotRead(Exception):
    """A question without columns of numbers; its text is why."""


@dataclass(frozen=True)
class Column:
    """A column of numeric answers.

    **Arguments:** `loop`, `qid`, `part`, `choice`: where it is found in an export; `name`: its
    header there; `question`: what is asked; `kind`: "single", "several" (1 or 0) or "number";
    `codes`: of labels as they are compared; `excluded`: codes that count as missing; `block`: the
    identifier of its block; `sure`: everyone who was shown the block had to answer; `beyond`: the
    question has choices that exports leave out.
    """

    qid: str
    name: str
    question: Question
    kind: str
    loop: str = ""
    part: str = ""
    choice: str | None = None
    codes: Mapping[str, float] = field(default_factory=dict)
    excluded: frozenset[float] = frozenset()
    block: str = ""
    sure: bool = False
    beyond: bool = False

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """Where it is found in an export."""
        return self.loop, self.qid, self.part, self.choice


@dataclass(frozen=True)
class Choices:
    """The choices of a question in the order shown.

    **Arguments:** `labels`, `codes`, `suffixes`: by identifier; `texts`: codes of labels as they
    are compared; `excluded`, `unseen`: codes and identifiers of those excluded from analysis.
    """

    labels: Mapping[str, str]
    codes: Mapping[str, float]
    texts: Mapping[str, float]
    suffixes: Mapping[str, str]
    excluded: frozenset[float]
    unseen: frozenset[str] = frozenset()

    @property
    def options(self) -> tuple[Option, ...]:
        """With the labels of one code joined."""
        by_code: dict[float, list[str]] = {}
        for name, code in self.codes.items():
            by_code.setdefault(code, []).append(self.labels[name] or f"{code:g}")
        return tuple(Option(code, " / ".join(labels)) for code, labels in by_code.items())


@dataclass(frozen=True)
class Context:
    """What a question's columns depend on beside the question: its block, its loop, the survey."""

    payloads: Mapping[str, Payload]
    tags: Mapping[str, str]
    loop: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    block: str = ""
    block_name: str = ""
    sure: bool = False

    def text(self, markup: object, *, lines: bool = False) -> str:
        """Plain text with the loop's fields."""
        return filled(plain(markup, lines=lines), self.fields, self.tags)


def columns_of(payload: Payload, context: Context) -> list[Column]:
    """The columns of a question. **Raises:** [`NotRead`][] with the reason if it has none."""
    kind, selector = payload.get("QuestionType"), str(payload.get("Selector"))
    if kind == "SBS":
        found = list(_side_by_side(payload, context))
    elif kind == "MC":
        found = list(_several(payload, context) if selector in _SEVERAL else
                     _single(payload, context))  # fmt: skip
    elif kind == "Matrix":
        found = list(_matrix(payload, context))
    elif kind in ("Slider", "CS", "RO"):
        found = list(_numbers(payload, context))
    elif kind == "TE":
        found = [_number(payload, context)]
    else:
        raise NotRead(NO_ANSWER.get(str(kind), f"its type, {kind}, is none that is read"))
    if not found:
        raise NotRead("it has no choices")
    return found


def _tag(payload: Payload, context: Context) -> str:
    tag = str(payload.get("DataExportTag") or payload["QuestionID"]).strip()
    return f"{context.loop}_{tag}" if context.loop else tag


def _column(payload: Payload, context: Context, suffix: str, row: str, **more: Any) -> Column:
    """A column named by the question's tag and a suffix, asking its text and a row."""
    name = _tag(payload, context) + (f"_{suffix}" if suffix else "")
    text = context.text(payload.get("QuestionText"), lines=True)
    excluded = more.get("excluded", ())
    question = Question(
        identifier=name,
        text=f"{text} {row}".strip(),
        options=more.pop("options", ()),
        scale=more.pop("scale", None),
        refusal=next(iter(excluded)) if len(excluded) == 1 else None,
        block=context.block_name,
    )
    return Column(
        str(payload["QuestionID"]), name, question, loop=context.loop, block=context.block, **more
    )


def _single(payload: Payload, context: Context) -> Iterator[Column]:
    choices = _choices(payload, "Choice", context)
    if choices.labels:
        yield _column(
            payload, context, "", "", kind="single", options=choices.options,
            codes=choices.texts, excluded=choices.excluded,
        )  # fmt: skip


def _several(payload: Payload, context: Context) -> Iterator[Column]:
    choices = _choices(payload, "Choice", context)
    forced = (payload.get("Validation") or {}).get("Settings") or {}
    sure = context.sure and forced.get("ForceResponse") == "ON"
    sure = sure and not payload.get("DisplayLogic") and not payload.get("InPageDisplayLogic")
    beyond = bool(choices.unseen)
    for name, label in choices.labels.items():
        if name not in choices.unseen:
            yield _column(
                payload, context, choices.suffixes[name], f"- {label}", kind="several", choice=name,
                options=SELECTED, sure=sure, beyond=beyond, codes={comparable(label): 1.0},
            )  # fmt: skip


def _matrix(payload: Payload, context: Context) -> Iterator[Column]:
    selector, sub = str(payload.get("Selector")), str(payload.get("SubSelector"))
    if selector == "TE":
        raise NotRead(WORDS)
    for row, label in _rows(payload, context).items():
        if selector == "Bipolar" and ":" in label:
            label = " to ".join(part.strip() for part in label.split(":", 1))
        suffix = _row_suffix(payload, row)
        answers = _choices(payload, "Answer", context, row)
        if selector in ("CS", "RO") or sub == "MultipleAnswer":
            for name, of in answers.labels.items():
                several = sub == "MultipleAnswer"
                yield _column(
                    payload, context, f"{suffix}_{answers.suffixes[name]}", f"{label} {of}".strip(),
                    kind="several" if several else "number", part=row, choice=name,
                    options=SELECTED if several else (),
                )  # fmt: skip
        elif answers.labels:
            yield _column(
                payload, context, suffix, label, kind="single", part=row, options=answers.options,
                codes=answers.texts, excluded=answers.excluded,
            )  # fmt: skip


def _numbers(payload: Payload, context: Context) -> Iterator[Column]:
    """A number per choice: sliders, sums and ranks."""
    rows = _rows(payload, context)
    scale = _range(payload, len(rows))
    for row, label in rows.items():
        yield _column(
            payload, context, _row_suffix(payload, row), label, kind="number", part=row, scale=scale
        )


def _number(payload: Payload, context: Context) -> Column:
    """A text field that takes a number only."""
    settings = (payload.get("Validation") or {}).get("Settings") or {}
    if payload.get("Selector") == "FORM" or settings.get("ContentType") != "ValidNumber":
        raise NotRead(WORDS)
    limits = settings.get("ValidNumber") or {}
    step = 1.0 if str(limits.get("NumDecimals", "")).strip() == "0" else None
    scale = _scale(limits.get("Min"), limits.get("Max"), step)
    return _column(payload, context, "", "", kind="number", part="TEXT", scale=scale)


def _side_by_side(payload: Payload, context: Context) -> Iterator[Column]:
    parts = payload.get("AdditionalQuestions") or {}
    parts = dict(enumerate(parts, start=1)) if isinstance(parts, list) else parts
    for number, sub in parts.items():
        if not isinstance(sub, Mapping):
            continue
        qid = str(payload["QuestionID"])
        inner = {
            **sub,
            "QuestionID": f"{qid}#{number}",
            "DataExportTag": sub.get("DataExportTag") or f"{payload.get('DataExportTag')}#{number}",
            "Choices": sub.get("Choices") or payload.get("Choices"),
            "ChoiceOrder": sub.get("ChoiceOrder") or payload.get("ChoiceOrder"),
            "QuestionText": " ".join(
                part for part in (plain(payload.get("QuestionText"), lines=True),
                                  plain(sub.get("QuestionText"))) if part
            ),
        }  # fmt: skip
        try:
            yield from columns_of({**inner, "QuestionType": "Matrix"}, context)
        except NotRead:
            continue


def _choices(payload: Payload, which: str, context: Context, row: str = "") -> Choices:
    """The "Choice"s or "Answer"s of a question, also those carried forward from another."""
    given = payload.get(f"{which}s") or {}
    if row and isinstance(given, Mapping) and isinstance(given.get(row), Mapping):
        inner = given[row]
        given = inner if "Display" not in inner else given
    shown = _entries(given, payload.get(f"{which}Order"))
    dynamic = payload.get(f"Dynamic{which}s") or payload.get(f"Dynamic{which}sData")
    if dynamic:
        shown |= _carried(dynamic, context)
    recoded = payload.get("RecodeValues")
    recoded = recoded if isinstance(recoded, Mapping) and (which == "Answer" or row == "") else {}
    naming = payload.get("VariableNaming")
    naming = naming if isinstance(naming, Mapping) else {}
    analysed = payload.get("AnalyzeChoices")
    analysed = analysed if isinstance(analysed, Mapping) else {}
    labels, codes, texts, suffixes = {}, {}, {}, {}
    words = {name: _recoded(recoded, name, name.removeprefix("x")) for name in shown}
    numeric = [name for name in shown if _finite(words[name]) is not None]
    if len(numeric) > 1:  # a choice coded by a word ("NA") beside numbers is no answer
        shown = {name: shown[name] for name in numeric}
    coded = len(numeric) == len(shown)
    for position, (name, entry) in enumerate(shown.items(), start=1):
        display = entry.get("Display") if isinstance(entry, Mapping) else entry
        labels[name] = context.text(display)
        code = _finite(words[name]) if coded else float(position)
        assert code is not None
        codes[name] = code
        suffixes[name] = _recoded(recoded, name, name)
        for text in (display, labels[name], naming.get(name), None if coded else words[name]):
            if text is not None and comparable(str(text)):
                texts.setdefault(comparable(str(text)), code)
    unseen = frozenset(name for name in shown if str(analysed.get(name)).lower() == "no")
    unseen = unseen if len(unseen) < len(shown) else frozenset()
    excluded = frozenset(codes[name] for name in unseen)
    return Choices(labels, codes, texts, suffixes, excluded, unseen)


def _recoded(recoded: Mapping[str, Any], name: str, default: str) -> str:
    own = recoded.get(name)
    return default if own is None or not str(own).strip() else str(own).strip()


def _rows(payload: Payload, context: Context) -> dict[str, str]:
    """The rows of a matrix, or the items of a slider, by identifier."""
    shown = _entries(payload.get("Choices") or {}, payload.get("ChoiceOrder"))
    dynamic = payload.get("DynamicChoices") or payload.get("DynamicChoicesData")
    if dynamic:
        shown |= _carried(dynamic, context)
    return {
        name: context.text(entry.get("Display") if isinstance(entry, Mapping) else entry)
        for name, entry in shown.items()
    }


def _entries(given: Any, order: Any) -> dict[str, Any]:
    """Choices in the order shown, without those that the order no longer has."""
    if isinstance(given, list):
        given = dict(enumerate(given, start=1))
    by_name = {str(name): entry for name, entry in given.items()}
    order = list(order.values()) if isinstance(order, Mapping) else order
    names = [str(name) for name in order] if isinstance(order, list) and order else list(by_name)
    return {name: by_name[name] for name in names if name in by_name}


def _carried(dynamic: Any, context: Context) -> dict[str, Any]:
    where = dynamic.get("Locator") if isinstance(dynamic, Mapping) else None
    source = next((qid for qid in context.payloads if f"/{qid}/" in f"{where or ''}/"), None)
    if source is None:
        return {}
    other = context.payloads[source]
    which = "Answer" if "AnswerGroup" in str(where) or "Answers" in str(where) else "Choice"
    entries = _entries(other.get(f"{which}s") or {}, other.get(f"{which}Order"))
    return {f"x{name}": entry for name, entry in entries.items()}


def _row_suffix(payload: Payload, row: str) -> str:
    tags = payload.get("ChoiceDataExportTags")
    own = tags.get(row) if isinstance(tags, Mapping) else None
    return str(own).strip() if own else row


def _range(payload: Payload, items: int) -> Scale | None:
    kind, selector = payload.get("QuestionType"), str(payload.get("Selector"))
    own = payload.get("Configuration") or {}
    if kind == "RO":
        return _scale(1, items, 1.0, "ordinal")
    if kind == "CS":
        settings = (payload.get("Validation") or {}).get("Settings") or {}
        return _scale(0, settings.get("ChoiceTotal") or own.get("CSSliderMax"), None)
    if selector == "STAR":
        return _scale(0, own.get("StarCount") or 5, 1.0 if own.get("StarType") != "half" else 0.5)
    low, high = _finite(own.get("CSSliderMin", 0)), _finite(own.get("CSSliderMax", 100))
    lines = _finite(own.get("GridLines"))
    snaps = str(own.get("SnapToGrid")).lower() == "true"
    if snaps and lines and low is not None and high is not None:
        return _scale(low, high, (high - low) / lines)
    decimals = _finite(own.get("NumDecimals"))
    return _scale(low, high, None if decimals else 1.0)


def _scale(low: Any, high: Any, step: float | None, kind: str = "interval") -> Scale | None:
    ends = _finite(low), _finite(high)
    if ends[0] is None or ends[1] is None or ends[0] >= ends[1]:
        return None
    try:
        return Scale(ends[0], ends[1], step, kind)
    except ValueError:  # the steps do not lead to the end
        return Scale(ends[0], ends[1], None, kind)


def _finite(value: Any) -> float | None:
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def renamed(column: Column, name: str) -> Column:
    """The column with another name, also of its question."""
    return replace(column, name=name, question=replace(column.question, identifier=name))
