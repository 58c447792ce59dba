"""The body of an HTTP answer: its JSON, decompressed and decoded, or a one-line error message."""

import contextlib
import email.utils
import html
import json
import math
import re
import time
import zlib
from collections.abc import Mapping
from datetime import UTC
from typing import Any

_LONGEST_RETRY_AFTER = 600.0
_LARGEST = 1 << 26  # bytes of a decompressed answer
_PLAIN = (b"{", b"[", b"<", b"d", b"")  # first bytes of JSON, HTML pages and events
_PAYLOAD = ("choices", "data", "models", "tokens", "prompt", "version")
_CODES = ("code", "status", "status_code", "statusCode", "http_status", "type")
_SAYING = ("message", "msg", "detail", "error_description", "description", "title", "reason")
# Error codes and types as regular expressions, for errors without an HTTP status.
_MEANINGS = (
    (402, "insufficient_quota|billing|payment|credit"),
    (429, "rate_?limit|too_?many|resource_?exhausted|overloaded|throttl"),
    (503, "unavailable|time_?out|server_?error|internal"),
    (401, "authentication|api_?key|unauthori|unauthenticated"),
    (403, "permission|forbidden"),
    (404, "not_?found"),
    (400, "invalid_?request|bad_?request|invalid_?argument|invalid_?parameter"),
)


def unpacked(content: bytes, encoding: str = "") -> bytes:
    """The decompressed body; the encoding that a server names may be wrong or absent.

    **Raises:** `ValueError` for an unknown encoding or a truncated body.
    """
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    if content[:2] == b"\x1f\x8b" and not names:
        names = ["gzip"]
    for name in reversed(names):
        try:
            if name not in ("gzip", "x-gzip", "deflate"):
                raise ValueError(f"its answer is compressed with {name!r}, which was not asked for")
            content = _inflated(content, name)
        except ValueError:
            # The body may be uncompressed after all.
            if name not in ("identity", "none") and content.lstrip()[:1] not in _PLAIN:
                raise
    return content


def _inflated(content: bytes, name: str) -> bytes:
    # gzip or zlib, recognised by their headers; "deflate" may also be without one.
    for bits in (47, -15) if name == "deflate" else (47,):
        whole, rest = b"", content
        try:
            while rest:
                unpacker = zlib.decompressobj(bits)
                whole += unpacker.decompress(rest, _LARGEST - len(whole) + 1)
                if len(whole) > _LARGEST:
                    raise ValueError(f"its answer is larger than {_LARGEST >> 20} MiB")
                if not unpacker.eof:
                    raise ValueError(f"its compressed answer ({name}) is cut short")
                rest = unpacker.unused_data if bits > 0 else b""
        except zlib.error:
            if whole:
                return whole  # bytes after the compressed part are ignored
            continue
        return whole
    raise ValueError(f"its answer is said to be compressed ({name}) and is not")


def read_json(content: bytes, content_type: str = "") -> Any:
    """The JSON of a body: in any encoding, with a byte-order mark, or as a stream of events.

    **Raises:** `ValueError` that describes a body without JSON.
    """
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(content)
    text = _decoded(content, content_type).strip()
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    if not text:
        raise ValueError("its answer is empty")
    if _is_html(text):
        raise ValueError(
            "its answer is an HTML page, not JSON (of a proxy, or the address is wrong): "
            f"{_page(text)!r}"
        )
    if events := _events(text):
        return _merged(events)
    raise ValueError(f"its answer is no JSON object: {' '.join(text.split())[:300]!r}")


def _decoded(content: bytes, content_type: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        charset = re.search(r"charset=\"?([\w.:-]+)", content_type)
        try:
            text = content.decode(charset[1] if charset else "utf-8", errors="replace")
        except LookupError:
            text = content.decode(errors="replace")
    return text.lstrip("\ufeff")


def _events(text: str) -> list[dict[str, Any]]:
    """The JSON objects of server-sent events, or of lines of JSON."""
    found, begun = [], ""
    for line in re.split(r"\r\n|\r|\n", text):
        line = line.strip()
        if not line:
            begun = ""
        if re.match(r":|(?:event|id|retry):", line):
            continue
        begun += re.sub(r"^data:\s*", "", line)
        try:
            event = json.loads(begun)
        except (ValueError, RecursionError):
            continue
        begun = ""
        if isinstance(event, dict):
            found.append(event)
    return found


def _merged(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events of a streamed chat merged into one answer."""
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    whole: dict[str, Any] = {"choices": [choice]}
    some = False
    for event in events:
        if said_error(event) is not None:
            return event
        if event.get("usage"):
            whole["usage"] = event["usage"]
        parts = event.get("choices")
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict) or part.get("index"):
                continue
            some = True
            if isinstance(part.get("message"), dict):
                message.update(part["message"])
            for field, value in _mapping(part.get("delta")).items():
                before = message.get(field)
                both = isinstance(before, str) and isinstance(value, str) and field != "role"
                message[field] = f"{before}{value}" if both else value or before
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            tokens = _mapping(part.get("logprobs")).get("content")
            if isinstance(tokens, list):
                choice.setdefault("logprobs", {"content": []})["content"].extend(tokens)
    return whole if some else events[-1]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def said_error(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """The error in an answer of HTTP 200: an HTTP status (0: unknown) and a message."""
    error = answer.get("error") or answer.get("errors")
    if any(answer.get(name) for name in _PAYLOAD):
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            return None
        error = first.get("error") or (first.get("finish_reason") == "error" and (error or first))
        if not error:
            return None
        if error is first:
            return 0, "the server broke off with the finish reason 'error'"
    elif not error:
        plain = any(isinstance(answer.get(name), str | list) for name in _SAYING[:3])
        if not plain and "error" not in (answer.get("object"), answer.get("status")):
            return None
        error = answer
    return _status(error) or _status(answer), in_words(error)


def _status(error: Any) -> int:
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, Mapping):
        return 0
    values = [error.get(name) for name in _CODES]
    for value in values:
        text = str(value).strip()
        if re.fullmatch(r"[45]\d\d(\.0)?", text):
            return int(text[:3])
    said = " ".join(value for value in values if isinstance(value, str))
    said = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s-]", "_", said).lower()
    return next((status for status, words in _MEANINGS if re.search(words, said)), 0)


def in_words(error: Any, depth: int = 0) -> str:
    """The message of an error object."""
    if depth > 4:
        return ""
    if isinstance(error, list | tuple):
        return "; ".join(filter(None, (in_words(one, depth + 1) for one in error[:3])))
    if not isinstance(error, Mapping):
        return " ".join(str(error).split())
    said = ""
    for name in (*_SAYING, "error", "errors"):
        if error.get(name) and (said := in_words(error[name], depth + 1)):
            break
    if place := error.get("loc"):  # the field at fault, in FastAPI's errors
        said = f"{'.'.join(map(str, place)) if isinstance(place, list) else place}: {said}"
    more = error.get("metadata")
    if isinstance(more, Mapping) and isinstance(more.get("raw"), str):  # behind a router
        said += f": {more['raw']}"
    return " ".join((said or json.dumps(error, default=str)).split())


def in_one_line(content: bytes, content_type: str = "") -> str:
    """The message in the body of an HTTP error."""
    text = _decoded(content, content_type)
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(text)
        return in_words(said) if said else ""
    return _page(text) if _is_html(text) else " ".join(text[:4000].split())


def _is_html(text: str) -> bool:
    return bool(re.match(r"\s*<(?:!doctype|html|head|body|center|h\d|\?xml|!--)", text, re.I))


def _page(text: str) -> str:
    """The title of an HTML page, or its text."""
    title = re.search(r"<(title|h1)[^>]*>(.*?)</\1>", text, re.I | re.S)
    text = title[2] if title else re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.I | re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())[:300]


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait by the header `Retry-After`, a number or a date; 0 without either."""
    value = str(headers.get("Retry-After", "")).strip()
    seconds = 0.0
    try:
        seconds = float(value)
    except ValueError:
        with contextlib.suppress(ValueError, TypeError, OverflowError, OSError):
            date = email.utils.parsedate_to_datetime(value)
            # A date without a time zone is in UTC, not in local time.
            date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
            seconds = date.timestamp() - time.time()
    if not value:
        with contextlib.suppress(ValueError):
            seconds = float(headers.get("retry-after-ms", "0")) / 1000
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if math.isfinite(seconds) else 0.0
